//! `restore`: an archive into an empty storage. The archive may be damaged, or made by somebody who means harm.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{Sha256Digest, Timestamp};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::archive::{CLOSING, Closing, KnownTable, LONGEST_LINE, MANIFEST, Manifest, Member, Reader, blob_member, rows_member};
use super::lease::{self, Lease};
use super::{Progress, Result, Storage, TransferError, archive_failed, digest_of, human, place_of, refused};
use crate::clock::Clock;
use crate::store::blobs::{BlobStore, StagedBlob, WriteSpec};
use crate::store::catalog::Catalog;
use crate::store::catalog::tables::{BLOBS, KEYS, META, Table, lasting};
use crate::store::catalog::transfer::{Clash, Filling, Row, Value};
use crate::store::model::BlobFacts;

/// Rows that are inserted at once.
const ROWS: usize = 200;
/// Bytes of rows that are inserted at once.
const BYTES: usize = 8 << 20;
/// Bytes of a blob that are passed on at once.
const CHUNK: usize = 256 * 1024;
/// Blobs that become durable at the same time.
const AT_ONCE: usize = 16;
/// Blobs whose places are noted at once.
const PLACED_AT_ONCE: usize = 64;

/// Says whether a sealed signing key, given with its purpose, can be opened; the words say why not.
pub type KeyCheck = Box<dyn Fn(&str, &[u8]) -> std::result::Result<(), String> + Send>;

/// What was restored, and proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// When the snapshot was taken.
    pub taken: Timestamp,
    /// The version of the server that took it.
    pub version: String,
    /// The rows of each table: in the archive, and counted again in the catalog.
    pub tables: Vec<(&'static str, u64)>,
    /// Blobs in files of their own.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Signing keys that the master key opens.
    pub keys: u64,
    /// The SHA-256 over the members of the archive.
    pub sha256: String,
}

/// Fills an empty storage from an archive. Until everything is there and proved, nobody serves from it; what an earlier restore left
/// half-way is removed first.
///
/// # Errors
/// When the storage is not empty, or the archive is not whole in every bit.
pub async fn restore(storage: &Storage, input: impl Read + Send + 'static, opens: KeyCheck, clock: &Clock, mut progress: Progress) -> Result<Restored> {
    let lease = Arc::new(Lease::take(&lease::FILLING, &storage.catalog, clock, &mut progress).await?);
    let restored = restored(storage, input, opens, Arc::clone(&lease), progress).await;
    let given_back = lease.give_back().await;
    let restored = restored?;
    given_back?;
    Ok(restored)
}

async fn restored(storage: &Storage, input: impl Read + Send + 'static, opens: KeyCheck, lease: Arc<Lease>, progress: Progress) -> Result<Restored> {
    let storage = storage.clone();
    let handle = Handle::current();
    let restoring = tokio::task::spawn_blocking(move || {
        let mut archive = tar::Archive::new(input);
        let mut reader = Reader::new(&mut archive)?;
        let mut first = reader
            .next()?
            .filter(|member| member.name == MANIFEST)
            .ok_or_else(|| refused("this is no backup of entrepot: it does not begin with a manifest.json"))?;
        let manifest: Manifest = first.document()?;
        reader.done(first)?;
        let tables = manifest.known_tables()?;
        if handle.block_on(storage.catalog.begin_filling(Filling::Restore))? {
            handle.block_on(empty(&storage))?;
        }
        Restore::new(handle, storage, tables, opens, lease, progress).run(&mut reader, &manifest)
    });
    restoring.await.map_err(|cause| refused(format!("the restore was aborted: {cause}")))?
}

/// Removes what a restore left that was cut off.
async fn empty(storage: &Storage) -> Result<()> {
    let mut after = None;
    loop {
        let rows = storage.catalog.rows(&BLOBS, after).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.0.iter().take(BLOBS.key).cloned().collect());
        for place in rows.iter().filter_map(|row| place_of(row).transpose()) {
            let place = place?;
            if place.location.is_some() {
                storage.blobs.remove(&place).await?;
            }
        }
    }
    for table in lasting().rev() {
        storage.catalog.clear(table).await?;
    }
    Ok(())
}

/// A restore on its way.
struct Restore {
    handle: Handle,
    catalog: Catalog,
    blobs: Arc<dyn BlobStore>,
    tables: Vec<KnownTable>,
    /// The rows that came, by table.
    rows: Vec<u64>,
    /// The table that comes, and how many members of it came.
    table: usize,
    parts: u32,
    opens: KeyCheck,
    keys: u64,
    /// The last blob that came.
    last: Option<Sha256Digest>,
    blob_count: u64,
    blob_bytes: u64,
    persisting: JoinSet<entrepot_kit::Result<BlobFacts>>,
    placed: Vec<BlobFacts>,
    lease: Arc<Lease>,
    progress: Progress,
}

impl Restore {
    fn new(handle: Handle, storage: Storage, tables: Vec<KnownTable>, opens: KeyCheck, lease: Arc<Lease>, progress: Progress) -> Self {
        let rows = vec![0; tables.len()];
        Self {
            handle,
            catalog: storage.catalog,
            blobs: storage.blobs,
            tables,
            rows,
            table: 0,
            parts: 0,
            opens,
            keys: 0,
            last: None,
            blob_count: 0,
            blob_bytes: 0,
            persisting: JoinSet::new(),
            placed: Vec::new(),
            lease,
            progress,
        }
    }

    fn run<R: Read>(mut self, reader: &mut Reader<'_, R>, manifest: &Manifest) -> Result<Restored> {
        loop {
            let Some(mut member) = reader.next()? else { return Err(refused("the archive has no closing.json: it was cut off")) };
            if member.name == CLOSING {
                let closing: Closing = member.document()?;
                let (members, sha256) = reader.sealed();
                let expected = Closing { rows: self.rows.iter().sum(), blobs: self.blob_count, blob_bytes: self.blob_bytes, members, sha256 };
                if closing != expected {
                    return Err(refused(
                        "the archive is not what was written: its counts, or the SHA-256 over its members, are others than its closing.json says",
                    ));
                }
                reader.done(member)?;
                if let Some(member) = reader.next()? {
                    return Err(refused(format!("the archive goes on behind its end, with {:?}", member.name)));
                }
                return self.end(manifest, closing);
            }
            if member.name.starts_with("tables/") {
                self.rows(&mut member)?;
            } else {
                self.blob(&mut member)?;
            }
            reader.done(member)?;
        }
    }

    /// A member with rows.
    fn rows(&mut self, member: &mut Member<'_, impl Read>) -> Result<()> {
        while self.last.is_none() {
            let Some(known) = self.tables.get(self.table) else { break };
            if member.name == rows_member(known.table.name, self.parts + 1) {
                self.parts += 1;
                return self.rows_of_table(member);
            }
            self.end_of_table()?;
        }
        Err(refused(format!("the archive has a member that does not belong there: {:?}", member.name)))
    }

    /// No more rows come of the present table.
    fn end_of_table(&mut self) -> Result<()> {
        if let (Some(known), Some(came)) = (self.tables.get(self.table), self.rows.get(self.table)) {
            if known.rows != *came {
                return Err(refused(format!("the archive has {came} rows of the table {} instead of {}", known.table.name, known.rows)));
            }
            self.table += 1;
            self.parts = 0;
        }
        Ok(())
    }

    fn rows_of_table(&mut self, member: &mut Member<'_, impl Read>) -> Result<()> {
        let name = member.name.clone();
        let Some(known) = self.tables.get(self.table) else { return Ok(()) };
        let (table, width) = (known.table, known.columns.len());
        let columns = known.columns.clone();
        let mut lines = BufReader::new(member);
        let (mut rows, mut bytes, mut number) = (Vec::new(), 0, 0_u64);
        loop {
            let mut line = Vec::new();
            (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(archive_failed)?;
            if line.is_empty() || rows.len() >= ROWS || bytes >= BYTES {
                number += rows.len() as u64;
                let clash = if table.name == META.name { Clash::Replace } else { Clash::Refuse };
                self.handle.block_on(self.catalog.insert(table, std::mem::take(&mut rows), clash)).map_err(|error| impossible(table, error.into()))?;
                bytes = 0;
            }
            if line.is_empty() {
                break;
            }
            let wrong = |why: &str| refused(format!("the archive's {name} has a line that cannot be a row of {}: {why}", table.name));
            let values: Vec<serde_json::Value> = serde_json::from_slice(&line).map_err(|cause| wrong(&cause.to_string()))?;
            if values.len() != width || line.last() != Some(&b'\n') {
                return Err(wrong("it has another number of columns, or no end"));
            }
            let mut row = Row(vec![Value::Null; table.columns.len()]);
            for (place, column) in &columns {
                let value = values.get(*place).and_then(|value| Value::from_json(column, value.clone()));
                row.set(table, column.name, value.ok_or_else(|| wrong(&format!("the column {} holds something else", column.name)))?);
            }
            self.check(table, &row).map_err(|error| wrong(&error.to_string()))?;
            bytes += line.len();
            rows.push(row);
        }
        if let Some(count) = self.rows.get_mut(self.table) {
            *count += number;
        }
        let all: u64 = self.rows.iter().sum();
        self.progress.tick(|| format!("{all} rows, in table {}", table.name));
        Ok(())
    }

    /// What must hold of a row besides the kinds of its columns.
    fn check(&mut self, table: &Table, row: &Row) -> Result<()> {
        if table.name == META.name && row.get(table, "name").and_then(Value::as_text) == Some("filling") {
            return Err(refused("an archive does not say that it is half filled"));
        }
        if table.name == KEYS.name {
            let (purpose, sealed) = (row.get(table, "purpose").and_then(Value::as_text), row.get(table, "sealed").and_then(Value::as_bytes));
            (self.opens)(purpose.unwrap_or_default(), sealed.unwrap_or_default()).map_err(TransferError::Refused)?;
            self.keys += 1;
        }
        if table.name == BLOBS.name {
            let digest = digest_of(row)?;
            if row.get(table, "location") != Some(&Value::Null) {
                return Err(refused("an archive does not say where bytes are"));
            }
            if let Some(Value::Bytes(bytes)) = row.get(table, "inline") {
                let size = row.get(table, "size").and_then(Value::as_number).and_then(|size| usize::try_from(size).ok());
                if Sha256Digest::of(bytes) != digest || size != Some(bytes.len()) {
                    return Err(refused(format!("the bytes of blob {} are others", digest.hex())));
                }
            }
        }
        Ok(())
    }

    /// A member with the bytes of a blob.
    fn blob(&mut self, member: &mut Member<'_, impl Read>) -> Result<()> {
        self.end_of_tables()?;
        let foreign = || refused(format!("the archive has a member that does not belong there: {:?}", member.name));
        let hex = member.name.rsplit('/').next().and_then(|hex| hex::decode(hex).ok());
        let digest = hex.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Sha256Digest::from_bytes).ok_or_else(foreign)?;
        if member.name != blob_member(digest) || self.last.is_some_and(|last| last >= digest) {
            return Err(foreign());
        }
        self.last = Some(digest);
        let staged = self.spool(member)?;
        let facts = staged.facts();
        if facts.digest != digest {
            return Err(refused(format!("the archive's {} has other bytes than its name says", member.name)));
        }
        self.blob_count += 1;
        self.blob_bytes += facts.size;
        let blobs = Arc::clone(&self.blobs);
        self.persisting.spawn_on(async move { blobs.persist(&staged).await }, &self.handle);
        while self.persisting.len() >= AT_ONCE {
            self.persisted()?;
        }
        let (count, bytes) = (self.blob_count, self.blob_bytes);
        self.progress.tick(|| format!("{count} blobs, {}", human(bytes)));
        Ok(())
    }

    fn spool(&self, member: &mut Member<'_, impl Read>) -> Result<StagedBlob> {
        let mut writer = self.handle.block_on(self.blobs.writer(WriteSpec { algorithms: Vec::new(), limit: member.size }))?;
        loop {
            let mut part = Vec::with_capacity(CHUNK);
            member.take(CHUNK as u64).read_to_end(&mut part).map_err(archive_failed)?;
            if part.is_empty() {
                return Ok(self.handle.block_on(writer.finish())?);
            }
            self.handle.block_on(writer.write(Bytes::from(part)))?;
        }
    }

    /// Waits until one more blob is durable, and notes its place.
    fn persisted(&mut self) -> Result<()> {
        let Some(done) = self.handle.block_on(self.persisting.join_next()) else { return Ok(()) };
        self.placed.push(done.map_err(|cause| refused(format!("the restore was aborted: {cause}")))??);
        if self.placed.len() >= PLACED_AT_ONCE { self.note() } else { Ok(()) }
    }

    fn note(&mut self) -> Result<()> {
        Ok(self.handle.block_on(self.catalog.place_blobs(std::mem::take(&mut self.placed)))?)
    }

    /// No more rows come.
    fn end_of_tables(&mut self) -> Result<()> {
        while self.table < self.tables.len() {
            self.end_of_table()?;
        }
        Ok(())
    }

    /// Proves that everything is there, and lets it be served.
    fn end(mut self, manifest: &Manifest, closing: Closing) -> Result<Restored> {
        self.end_of_tables()?;
        while !self.persisting.is_empty() {
            self.persisted()?;
        }
        self.note()?;
        self.progress.say("everything is there; it is counted again");
        let missing = self.handle.block_on(self.catalog.blobs_without_bytes())?;
        if missing > 0 {
            return Err(refused(format!("the archive lacks the bytes of {missing} blobs")));
        }
        let broken = self.handle.block_on(self.catalog.broken_references())?;
        if broken > 0 {
            return Err(refused(format!("{broken} rows of the archive refer to rows that are not there")));
        }
        let counted = self.handle.block_on(self.catalog.summaries())?;
        let mut tables = Vec::new();
        for known in &self.tables {
            let found = counted.iter().find(|summary| summary.table == known.table).map_or(0, |summary| summary.rows);
            // A table of counters may have more of them than the archive.
            if found != known.rows && known.table.name != META.name {
                return Err(refused(format!("the table {} has {found} rows instead of {}", known.table.name, known.rows)));
            }
            tables.push((known.table.name, found));
        }
        let highest = self.tables.iter().filter(|known| known.table.numbered).map(|known| (known.table, known.highest)).collect();
        self.lease.check()?;
        self.handle.block_on(self.catalog.end_filling(highest))?;
        Ok(Restored {
            taken: Timestamp(manifest.time),
            version: manifest.version.clone(),
            tables,
            blobs: self.blob_count,
            blob_bytes: self.blob_bytes,
            keys: self.keys,
            sha256: closing.sha256,
        })
    }
}

/// Rows that the database does not take: twice the same key, a reference that leads nowhere.
fn impossible(table: &Table, error: TransferError) -> TransferError {
    refused(format!("the archive's rows of the table {} cannot be inserted: {error}", table.name))
}
