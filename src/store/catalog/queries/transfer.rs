//! Whole tables, read and written as they are: backup, restore, migration.

use diesel::connection::SimpleConnection as _;
use diesel::deserialize::{FromSql, QueryableByName};
use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::row::{Field as _, NamedRow};
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text};

use super::{Backend, Conn};
use crate::store::catalog::convert::{from_column, to_column};
use crate::store::catalog::failure::{QueryError, QueryResult};
use crate::store::catalog::schema::{blobs, meta};
use crate::store::catalog::tables::{Column, ColumnKind, Table, lasting};
use crate::store::catalog::transfer::{Clash, ExportSink, FILLING, Filling, Known, Row, Snapshot, TableSummary, Value};
use crate::store::model::BlobFacts;

/// Rows that are read at once.
const SLICE: usize = 200;

type Statement<'a> = BoxedSqlQuery<'a, Backend, SqlQuery>;

/// A row whose columns tell their kind by their first letter.
struct Raw(Row);

impl QueryableByName<Backend> for Raw {
    fn build<'a>(row: &impl NamedRow<'a, Backend>) -> diesel::deserialize::Result<Self> {
        let mut values = Vec::with_capacity(row.field_count());
        for index in 0..row.field_count() {
            let field = diesel::row::Row::get(row, index).ok_or("a row is shorter than it says")?;
            let kind = field.field_name().and_then(|name| name.chars().next()).and_then(kind_of).ok_or("a column has a name that was not asked for")?;
            let value = field.value();
            let value = match kind {
                ColumnKind::Number => <Option<i64> as FromSql<Nullable<BigInt>, Backend>>::from_nullable_sql(value)?.map(Value::Number),
                ColumnKind::Small => {
                    <Option<i32> as FromSql<Nullable<Integer>, Backend>>::from_nullable_sql(value)?.map(|number| Value::Number(i64::from(number)))
                }
                ColumnKind::Flag => <Option<bool> as FromSql<Nullable<Bool>, Backend>>::from_nullable_sql(value)?.map(Value::Flag),
                ColumnKind::Text => <Option<String> as FromSql<Nullable<Text>, Backend>>::from_nullable_sql(value)?.map(Value::Text),
                ColumnKind::Bytes => <Option<Vec<u8>> as FromSql<Nullable<Binary>, Backend>>::from_nullable_sql(value)?.map(Value::Bytes),
            };
            values.push(value.unwrap_or(Value::Null));
        }
        Ok(Self(Row(values)))
    }
}

fn letter(kind: ColumnKind) -> char {
    match kind {
        ColumnKind::Number => 'n',
        ColumnKind::Small => 's',
        ColumnKind::Flag => 'f',
        ColumnKind::Text => 't',
        ColumnKind::Bytes => 'b',
    }
}

fn kind_of(wanted: char) -> Option<ColumnKind> {
    [ColumnKind::Number, ColumnKind::Small, ColumnKind::Flag, ColumnKind::Text, ColumnKind::Bytes].into_iter().find(|kind| letter(*kind) == wanted)
}

fn bind<'a>(statement: Statement<'a>, column: &Column, value: &'a Value) -> QueryResult<Statement<'a>> {
    Ok(match (column.kind, value) {
        (ColumnKind::Number, Value::Number(number)) => statement.bind::<BigInt, _>(*number),
        (ColumnKind::Small, Value::Number(number)) => {
            statement.bind::<Integer, _>(i32::try_from(*number).map_err(|cause| QueryError::damaged(column.name, cause))?)
        }
        (ColumnKind::Flag, Value::Flag(flag)) => statement.bind::<Bool, _>(*flag),
        (ColumnKind::Text, Value::Text(text)) => statement.bind::<Text, _>(text.as_str()),
        (ColumnKind::Bytes, Value::Bytes(bytes)) => statement.bind::<Binary, _>(bytes.as_slice()),
        (ColumnKind::Number, Value::Null) => statement.bind::<Nullable<BigInt>, _>(None::<i64>),
        (ColumnKind::Small, Value::Null) => statement.bind::<Nullable<Integer>, _>(None::<i32>),
        (ColumnKind::Flag, Value::Null) => statement.bind::<Nullable<Bool>, _>(None::<bool>),
        (ColumnKind::Text, Value::Null) => statement.bind::<Nullable<Text>, _>(None::<String>),
        (ColumnKind::Bytes, Value::Null) => statement.bind::<Nullable<Binary>, _>(None::<Vec<u8>>),
        (kind, value) => return Err(QueryError::damaged(column.name, format!("{value:?} is not of the kind {kind:?}"))),
    })
}

fn joined<T>(parts: impl IntoIterator<Item = T>, text: impl Fn(T) -> String) -> String {
    parts.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

/// The key's columns, in the order of bytes on both databases.
fn key_of(table: &Table, direction: &str) -> String {
    let ordered = |column: &Column| if column.kind == ColumnKind::Text { super::BYTEWISE } else { "" };
    joined(table.key_columns(), |column| format!("\"{}\"{}{direction}", column.name, ordered(column)))
}

fn columns_of(columns: &[Column]) -> String {
    joined(columns.iter().enumerate(), |(index, column)| format!("\"{}\" AS {}{index}", column.name, letter(column.kind)))
}

/// The rows behind a key, in the order of the key.
pub(crate) fn slice(connection: &mut Conn, table: &Table, after: Option<&[Value]>, limit: usize) -> QueryResult<Vec<Row>> {
    let mut conditions = Vec::new();
    if table.name == "meta" {
        conditions.push(format!("name <> '{FILLING}'"));
    }
    if after.is_some() {
        conditions.push(format!("({}) > ({})", key_of(table, ""), joined(1..=table.key, |number| format!("${number}"))));
    }
    let condition = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let text = format!("SELECT {} FROM \"{}\" {condition} ORDER BY {} LIMIT {limit}", columns_of(table.columns), table.name, key_of(table, ""));
    let mut statement = diesel::sql_query(text).into_boxed::<Backend>();
    for (column, value) in table.key_columns().iter().zip(after.unwrap_or_default()) {
        statement = bind(statement, column, value)?;
    }
    let rows: Vec<Raw> = statement.load(connection)?;
    Ok(rows.into_iter().map(|raw| raw.0).collect())
}

/// The greatest key of a table.
pub(crate) fn last_key(connection: &mut Conn, table: &Table) -> QueryResult<Option<Vec<Value>>> {
    let text = format!("SELECT {} FROM \"{}\" ORDER BY {} LIMIT 1", columns_of(table.key_columns()), table.name, key_of(table, " DESC"));
    let rows: Vec<Raw> = diesel::sql_query(text).load(connection)?;
    Ok(rows.into_iter().next().map(|raw| raw.0.0))
}

/// Adds rows.
pub(crate) fn insert(connection: &mut Conn, table: &Table, rows: &[Row], clash: Clash) -> QueryResult<()> {
    for rows in rows.chunks(SLICE) {
        let width = table.columns.len();
        let places = joined(0..rows.len(), |row| format!("({})", joined(1..=width, |place| format!("${}", row * width + place))));
        let names = joined(table.columns, |column| format!("\"{}\"", column.name));
        let clash = match clash {
            Clash::Refuse => String::new(),
            Clash::Replace => {
                let others = joined(table.columns.iter().skip(table.key), |column| format!("\"{0}\" = excluded.\"{0}\"", column.name));
                format!(" ON CONFLICT ({}) DO UPDATE SET {others}", joined(table.key_columns(), |column| format!("\"{}\"", column.name)))
            }
        };
        let mut statement = diesel::sql_query(format!("INSERT INTO \"{}\" ({names}) VALUES {places}{clash}", table.name)).into_boxed::<Backend>();
        for row in rows {
            if row.0.len() != width {
                return Err(QueryError::damaged("row on its way in", format!("it has {} columns instead of {width}", row.0.len())));
            }
            for (column, value) in table.columns.iter().zip(&row.0) {
                statement = bind(statement, column, value)?;
            }
        }
        statement.execute(connection)?;
    }
    Ok(())
}

/// How many rows a table has.
pub(crate) fn count(connection: &mut Conn, table: &Table) -> QueryResult<u64> {
    let condition = if table.name == "meta" { format!("WHERE name <> '{FILLING}'") } else { String::new() };
    let rows: Vec<Raw> = diesel::sql_query(format!("SELECT count(*) AS n0 FROM \"{}\" {condition}", table.name)).load(connection)?;
    match rows.first().map(|raw| raw.0.0.as_slice()) {
        Some([Value::Number(number)]) => Ok(from_column(*number)),
        _ => Err(QueryError::damaged("count", "there is none")),
    }
}

/// How many rows each table has, and the highest number that each ever gave.
pub(crate) fn summaries(connection: &mut Conn) -> QueryResult<Vec<TableSummary>> {
    lasting()
        .map(|table| {
            let highest = if table.numbered { super::highest(connection, table)? } else { 0 };
            Ok(TableSummary { table, rows: count(connection, table)?, highest })
        })
        .collect()
}

/// Gives everything to the sink, in one transaction: all of one moment.
pub(crate) fn export<S: ExportSink>(connection: &mut Conn, mut sink: S) -> QueryResult<S> {
    let stopped = |cause: std::io::Error| QueryError::Verdict(crate::store::model::CatalogError::internal(cause));
    connection.batch_execute(super::SNAPSHOT)?;
    if let Some(filling) = filling(connection)? {
        return Err(QueryError::conflict(filling.unfinished()));
    }
    let tables = summaries(connection)?;
    sink.begin(Snapshot { tables }).map_err(stopped)?;
    for table in lasting() {
        let mut rows = slice(connection, table, None, SLICE)?;
        while let Some(last) = rows.last() {
            let after: Vec<Value> = last.0.iter().take(table.key).cloned().collect();
            sink.rows(table, rows).map_err(stopped)?;
            rows = slice(connection, table, Some(&after), SLICE)?;
        }
        sink.end(table).map_err(stopped)?;
    }
    Ok(sink)
}

/// Whether the catalog is being filled from elsewhere, and by what.
pub(crate) fn filling(connection: &mut Conn) -> QueryResult<Option<Filling>> {
    let number: Option<i64> = meta::table.find(FILLING).select(meta::value).first(connection).optional()?;
    Ok(number.map(Filling::from_number))
}

/// Marks an empty catalog as being filled. Tells whether it was before.
pub(crate) fn begin_filling(connection: &mut Conn, by: Filling) -> QueryResult<bool> {
    if let Some(before) = filling(connection)? {
        return if before == by { Ok(true) } else { Err(QueryError::conflict(before.unfinished())) };
    }
    for table in lasting().filter(|table| table.name != "meta") {
        if !slice(connection, table, None, 1)?.is_empty() {
            return Err(QueryError::conflict(format!("the target is not empty: its table {} has rows", table.name)));
        }
    }
    diesel::insert_into(meta::table).values((meta::name.eq(FILLING), meta::value.eq(by.number()))).execute(connection)?;
    Ok(false)
}

/// Removes the rows of a table that is being filled.
pub(crate) fn clear(connection: &mut Conn, table: &Table) -> QueryResult<()> {
    if filling(connection)?.is_none() {
        return Err(QueryError::conflict("the catalog is not being filled: nothing of it is removed"));
    }
    if table.name == "meta" {
        return Ok(());
    }
    diesel::sql_query(format!("DELETE FROM \"{}\"", table.name)).execute(connection)?;
    Ok(())
}

/// Notes where the bytes of blobs are. Refuses blobs that are not known, or have bytes already.
pub(crate) fn place_blobs(connection: &mut Conn, placed: &[BlobFacts]) -> QueryResult<()> {
    for facts in placed {
        let waiting = blobs::table
            .find(facts.digest.as_bytes().as_slice())
            .filter(blobs::inline.is_null())
            .filter(blobs::location.is_null())
            .filter(blobs::damaged.is_null());
        let changed = diesel::update(waiting.filter(blobs::size.eq(to_column(facts.size))))
            .set((blobs::inline.eq(facts.inline.as_deref()), blobs::location.eq(&facts.location)))
            .execute(connection)?;
        if changed == 0 {
            return Err(QueryError::conflict(format!("no blob of {} bytes waits for the bytes of {}", facts.size, facts.digest)));
        }
    }
    Ok(())
}

/// Which of these blobs are known, and where their bytes are.
pub(crate) fn known_blobs(connection: &mut Conn, digests: &[Vec<u8>]) -> QueryResult<Vec<Known>> {
    let rows: Vec<(Vec<u8>, Option<String>, bool)> =
        blobs::table.filter(blobs::digest.eq_any(digests)).select((blobs::digest, blobs::location, blobs::inline.is_not_null())).load(connection)?;
    Ok(rows.into_iter().map(|(digest, location, inline)| Known { digest, location, inline }).collect())
}

/// Blobs that are not damaged and yet have no bytes.
pub(crate) fn blobs_without_bytes(connection: &mut Conn) -> QueryResult<u64> {
    let missing = blobs::table.filter(blobs::inline.is_null()).filter(blobs::location.is_null()).filter(blobs::damaged.is_null());
    let number: i64 = missing.select(count_star()).first(connection)?;
    Ok(from_column(number))
}

/// References that lead nowhere.
pub(crate) fn broken_references(connection: &mut Conn) -> QueryResult<u64> {
    super::broken_references(connection)
}

/// Makes a filled catalog whole: new rows are numbered behind the old ones, caches begin anew, it may be served.
pub(crate) fn end_filling(connection: &mut Conn, highest: &[(&'static Table, i64)]) -> QueryResult<()> {
    for (table, number) in highest {
        super::continue_behind(connection, table, *number)?;
    }
    super::repositories::bump_epoch(connection)?;
    if diesel::delete(meta::table.find(FILLING)).execute(connection)? == 0 {
        return Err(QueryError::conflict("the catalog is not being filled any more"));
    }
    Ok(())
}
