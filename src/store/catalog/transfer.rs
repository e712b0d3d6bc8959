//! The catalog as rows of tables, for backup, restore and migration.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::tables::{Column, ColumnKind, Table};
use super::{Catalog, Database, Result, postgres, sqlite};
use crate::store::model::BlobFacts;

/// The name in `meta` that stands there as long as a catalog is being filled.
pub(super) const FILLING: &str = "filling";

/// Rows that are read at once.
const SLICE: usize = 200;

/// A value of a column, whatever the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A row, in the order of the columns of its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(pub Vec<Value>);

impl Value {
    /// As JSON; bytes in base64.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Number(number) => Json::from(*number),
            Self::Flag(flag) => Json::from(*flag),
            Self::Text(text) => Json::from(text.as_str()),
            Self::Bytes(bytes) => Json::from(STANDARD.encode(bytes)),
        }
    }

    /// From JSON; `None` when it is not what the column holds.
    #[must_use]
    pub fn from_json(column: &Column, json: Json) -> Option<Self> {
        Some(match (column.kind, json) {
            (_, Json::Null) if column.optional => Self::Null,
            (ColumnKind::Number, Json::Number(number)) => Self::Number(number.as_i64()?),
            (ColumnKind::Small, Json::Number(number)) => Self::Number(i64::from(i32::try_from(number.as_i64()?).ok()?)),
            (ColumnKind::Flag, Json::Bool(flag)) => Self::Flag(flag),
            (ColumnKind::Text, Json::String(text)) if !text.contains('\0') => Self::Text(text),
            (ColumnKind::Bytes, Json::String(text)) => Self::Bytes(STANDARD.decode(text).ok()?),
            _ => return None,
        })
    }

    /// The bytes that it holds, if it does.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The number that it holds, if it does.
    #[must_use]
    pub fn as_number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The text that it holds, if it does.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl Row {
    /// As a line of JSON.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!("{}\n", Json::Array(self.0.iter().map(Value::to_json).collect()))
    }

    /// The value of a column.
    #[must_use]
    pub fn get(&self, table: &Table, column: &str) -> Option<&Value> {
        self.0.get(table.position(column)?)
    }

    /// Sets the value of a column.
    pub fn set(&mut self, table: &Table, column: &str, value: Value) {
        if let Some(place) = table.position(column).and_then(|position| self.0.get_mut(position)) {
            *place = value;
        }
    }
}

/// What fills a catalog from elsewhere. Until it is done nobody may serve from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// `entrepot restore`.
    Restore,
    /// `entrepot migrate`.
    Migration,
}

impl Filling {
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Restore => 1,
            Self::Migration => 2,
        }
    }

    pub(super) fn from_number(number: i64) -> Self {
        if number == Self::Migration.number() { Self::Migration } else { Self::Restore }
    }

    /// The words for whoever wants to use the catalog meanwhile.
    #[must_use]
    pub fn unfinished(self) -> String {
        let (what, again) = match self {
            Self::Restore => ("a restore", "run `entrepot restore` again"),
            Self::Migration => ("a migration", "run `entrepot migrate` again"),
        };
        format!("{what} into this catalog is under way or was cut off, so that it holds only a part: {again}, or empty it")
    }
}

/// What a row does that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// It fails all.
    Refuse,
    /// It is replaced.
    Replace,
}

/// How much there is in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSummary {
    /// The table.
    pub table: &'static Table,
    /// Its rows.
    pub rows: u64,
    /// The highest number that it ever gave a row; 0 where rows have no numbers.
    pub highest: i64,
}

/// The catalog at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its tables, in the order in which their rows come.
    pub tables: Vec<TableSummary>,
}

/// Takes an export, on a thread that may block.
pub trait ExportSink: Send + 'static {
    /// What will come.
    ///
    /// # Errors
    /// Any one ends the export.
    fn begin(&mut self, snapshot: Snapshot) -> io::Result<()>;

    /// Some rows of a table.
    ///
    /// # Errors
    /// Any one ends the export.
    fn rows(&mut self, table: &'static Table, rows: Vec<Row>) -> io::Result<()>;

    /// A table has no more rows.
    ///
    /// # Errors
    /// Any one ends the export.
    fn end(&mut self, table: &'static Table) -> io::Result<()>;
}

/// A blob that the catalog has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub digest: Vec<u8>,
    /// Where its bytes are.
    pub location: Option<String>,
    /// Whether the catalog has the bytes.
    pub inline: bool,
}

#[expect(clippy::missing_errors_doc, reason = "as for the other methods of the catalog")]
impl Catalog {
    /// Gives all lasting tables, as they are at one moment, to a sink. `Conflict` while the catalog is being filled.
    pub async fn export<S: ExportSink>(&self, sink: S) -> Result<S> {
        forward!(self.read_at_once(transfer::export, sink))
    }

    /// Whether the catalog is being filled from elsewhere, and by what.
    pub async fn filling(&self) -> Result<Option<Filling>> {
        forward!(self.read(transfer::filling))
    }

    /// Marks an empty catalog as being filled; `Conflict` when it is not empty. `true` when the same work was begun before.
    pub async fn begin_filling(&self, by: Filling) -> Result<bool> {
        forward!(self.write(transfer::begin_filling, by))
    }

    /// Makes a filled catalog whole: new rows are numbered behind these numbers, caches begin anew, it may be served.
    pub async fn end_filling(&self, highest: Vec<(&'static Table, i64)>) -> Result<()> {
        forward!(self.write(transfer::end_filling, &highest))
    }

    /// Removes the rows of a table of a catalog that is being filled.
    pub async fn clear(&self, table: &'static Table) -> Result<()> {
        forward!(self.write(transfer::clear, table))
    }

    /// The next rows of a table, in the order of its key, and the key to go on behind.
    pub async fn rows(&self, table: &'static Table, after: Option<Vec<Value>>) -> Result<Vec<Row>> {
        forward!(self.read(transfer::slice, table, after.as_deref(), SLICE))
    }

    /// The greatest key of a table.
    pub async fn last_key(&self, table: &'static Table) -> Result<Option<Vec<Value>>> {
        forward!(self.read(transfer::last_key, table))
    }

    /// Adds rows to a table.
    pub async fn insert(&self, table: &'static Table, rows: Vec<Row>, clash: Clash) -> Result<()> {
        forward!(self.write(transfer::insert, table, &rows, clash))
    }

    /// How many rows each lasting table has, and the highest number that it ever gave.
    pub async fn summaries(&self) -> Result<Vec<TableSummary>> {
        forward!(self.read(transfer::summaries))
    }

    /// Notes where the bytes of blobs are that have none yet; `Conflict` for a blob that is not known or has bytes.
    pub async fn place_blobs(&self, placed: Vec<BlobFacts>) -> Result<()> {
        forward!(self.write(transfer::place_blobs, &placed))
    }

    /// Which of these blobs are known, and where their bytes are.
    pub async fn known_blobs(&self, digests: Vec<Vec<u8>>) -> Result<Vec<Known>> {
        forward!(self.read(transfer::known_blobs, &digests))
    }

    /// How many blobs have no bytes although they are not known to be damaged.
    pub async fn blobs_without_bytes(&self) -> Result<u64> {
        forward!(self.read(transfer::blobs_without_bytes))
    }

    /// How many references between rows lead nowhere.
    pub async fn broken_references(&self) -> Result<u64> {
        forward!(self.read(transfer::broken_references))
    }

    /// How many rows a table has, and the SHA-256 over all of them in the order of their keys: the same for the same rows,
    /// whatever the database.
    pub async fn fingerprint(&self, table: &'static Table) -> Result<(u64, [u8; 32])> {
        let (mut hasher, mut number, mut after) = (Sha256::new(), 0, None);
        loop {
            let rows = self.rows(table, after).await?;
            let Some(last) = rows.last() else { return Ok((number, hasher.finalize().into())) };
            after = Some(last.0.iter().take(table.key).cloned().collect());
            number += rows.len() as u64;
            rows.iter().for_each(|row| hasher.update(row.to_line()));
        }
    }
}
