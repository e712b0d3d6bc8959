//! `migrate`: from one storage into another, as often begun again as it takes.

use futures::{StreamExt as _, TryStreamExt as _};

use super::lease::{self, Lease};
use super::{Progress, Result, Storage, copy_blob, digest_of, human, place_of, refused};
use crate::clock::Clock;
use crate::store::catalog::tables::{BLOBS, META, Table, lasting};
use crate::store::catalog::transfer::{Clash, Filling, Row, Value};

/// Blobs that are copied at the same time.
const AT_ONCE: usize = 8;

/// What was copied, and proved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migrated {
    /// The rows of each table, the same on both sides.
    pub tables: Vec<(&'static str, u64)>,
    /// Blobs whose bytes were copied by this run.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Blobs that an earlier run had copied.
    pub known: u64,
    /// Blobs whose bytes were lost before.
    pub damaged: u64,
}

/// Copies everything from one storage, which nobody may use meanwhile, into an empty one, or one in which an earlier run was cut off. Until
/// everything is there and proved, nobody serves from the target.
///
/// # Errors
/// When the target is not empty, or something cannot be read or written.
pub async fn migrate(source: &Storage, target: &Storage, clock: &Clock, mut progress: Progress) -> Result<Migrated> {
    let lease = Lease::take(&lease::FILLING, &target.catalog, clock, &mut progress).await?;
    let migrated = migrated(source, target, &lease, progress).await;
    let given_back = lease.give_back().await;
    let migrated = migrated?;
    given_back?;
    Ok(migrated)
}

async fn migrated(source: &Storage, target: &Storage, lease: &Lease, mut progress: Progress) -> Result<Migrated> {
    if let Some(filling) = source.catalog.filling().await? {
        return Err(refused(format!("the source: {}", filling.unfinished())));
    }
    let again = target.catalog.begin_filling(Filling::Migration).await?;
    if again {
        progress.say("going on with a migration that was cut off");
    }
    let mut migrated = Migrated::default();
    copy_blobs(source, target, &mut migrated, &mut progress).await?;
    progress.say("all blobs are there; copying the other rows");
    let copied = copy_rows(source, target, &mut progress).await;
    let stale = match copied {
        Ok(()) => {
            progress.say("everything is there; both sides are compared");
            difference(source, target).await?
        }
        // New rows may contradict those that an earlier run copied.
        Err(_) if again => Some("unknown"),
        Err(error) => return Err(error),
    };
    if let Some(table) = stale {
        // The source was in use since an earlier run, which copied rows that were others then.
        progress.say(&format!("the source was changed since it was copied (table {table}): its rows are copied again"));
        for table in others().rev() {
            target.catalog.clear(table).await?;
        }
        copy_rows(source, target, &mut progress).await?;
        if let Some(table) = difference(source, target).await? {
            return Err(refused(format!("the table {table} changes while it is copied: nothing may use the source meanwhile")));
        }
    }
    let missing = target.catalog.blobs_without_bytes().await?;
    if missing > 0 {
        return Err(refused(format!("{missing} blobs have no bytes in the target")));
    }
    let summaries = source.catalog.summaries().await?;
    migrated.tables = summaries.iter().map(|summary| (summary.table.name, summary.rows)).collect();
    let counters = source.catalog.rows(&META, None).await?;
    target.catalog.insert(&META, counters, Clash::Replace).await?;
    lease.check()?;
    target
        .catalog
        .end_filling(summaries.into_iter().filter(|summary| summary.table.numbered).map(|summary| (summary.table, summary.highest)).collect())
        .await?;
    Ok(migrated)
}

/// The tables that are copied as they are.
fn others() -> impl DoubleEndedIterator<Item = &'static Table> {
    lasting().filter(|table| table.name != META.name && table.name != BLOBS.name)
}

fn key(table: &Table, rows: &[Row]) -> Option<Vec<Value>> {
    rows.last().map(|last| last.0.iter().take(table.key).cloned().collect())
}

/// Copies the bytes that are not there yet, and then their rows: a row in the target means that its bytes are there.
async fn copy_blobs(source: &Storage, target: &Storage, migrated: &mut Migrated, progress: &mut Progress) -> Result<()> {
    let all = source.catalog.summaries().await?.into_iter().find(|summary| summary.table.name == BLOBS.name).map_or(0, |summary| summary.rows);
    let (mut seen, mut after) = (0, None);
    loop {
        let rows = source.catalog.rows(&BLOBS, after).await?;
        let Some(last) = key(&BLOBS, &rows) else { return Ok(()) };
        after = Some(last);
        seen += rows.len() as u64;
        let digests = rows.iter().map(|row| digest_of(row).map(|digest| digest.as_bytes().to_vec())).collect::<Result<Vec<_>>>()?;
        let known = target.catalog.known_blobs(digests).await?;
        let mut copying = futures::stream::iter(rows.into_iter().map(|mut row| {
            let known = known.iter().find(|known| row.get(&BLOBS, "digest").and_then(Value::as_bytes) == Some(&known.digest)).cloned();
            async move {
                let Some(place) = place_of(&row)? else {
                    row.set(&BLOBS, "location", known.and_then(|known| known.location).map_or(Value::Null, Value::Text));
                    return Ok((row, 0, false));
                };
                if let Some(location) = known.and_then(|known| known.location) {
                    row.set(&BLOBS, "location", Value::Text(location));
                    return Ok((row, 0, true));
                }
                let facts = copy_blob(&source.blobs, &target.blobs, &place).await?;
                row.set(&BLOBS, "location", facts.location.map_or(Value::Null, Value::Text));
                row.set(&BLOBS, "inline", facts.inline.map_or(Value::Null, |bytes| Value::Bytes(bytes.to_vec())));
                Ok::<_, super::TransferError>((row, place.size, true))
            }
        }))
        .buffered(AT_ONCE);
        let mut part = Vec::new();
        while let Some((row, bytes, apart)) = copying.try_next().await? {
            let inline = row.get(&BLOBS, "inline") != Some(&Value::Null);
            migrated.damaged += u64::from(!inline && !apart);
            migrated.copied += u64::from(bytes > 0);
            migrated.known += u64::from(apart && bytes == 0);
            migrated.copied_bytes += bytes;
            part.push(row);
            progress.tick(|| format!("{} blobs copied ({}), {seen} of {all} looked at", migrated.copied, human(migrated.copied_bytes)));
            if part.len() >= AT_ONCE {
                target.catalog.insert(&BLOBS, std::mem::take(&mut part), Clash::Replace).await?;
            }
        }
        target.catalog.insert(&BLOBS, part, Clash::Replace).await?;
    }
}

/// Copies the rows behind those that are there.
async fn copy_rows(source: &Storage, target: &Storage, progress: &mut Progress) -> Result<()> {
    for table in others() {
        let (mut number, mut after) = (0, target.catalog.last_key(table).await?);
        loop {
            let rows = source.catalog.rows(table, after).await?;
            let Some(last) = key(table, &rows) else { break };
            after = Some(last);
            number += rows.len();
            target.catalog.insert(table, rows, Clash::Refuse).await?;
            progress.tick(|| format!("{number} rows of table {}", table.name));
        }
    }
    Ok(())
}

/// A table whose rows are not the same on both sides.
async fn difference(source: &Storage, target: &Storage) -> Result<Option<&'static str>> {
    for table in others() {
        if source.catalog.fingerprint(table).await? != target.catalog.fingerprint(table).await? {
            return Ok(Some(table.name));
        }
    }
    Ok(None)
}
