//! What lives, and how it is used: what retention decides by.

use diesel::dsl::max;
use diesel::prelude::*;
use entrepot_kit::{Sha256Digest, Timestamp};

use super::{Conn, packages as names};
use crate::store::catalog::convert::{from_column, limit_column, sha256};
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::{blobs, entries, pulls, repositories, revisions, versions};
use crate::store::facts::{DeadEntry, HeldStretch, LiveEntry, LiveVersion, PackageFacts, Pulls};

/// Most paths of one answer.
const MOST: usize = 250_000;
/// Most blobs of one stretch.
const MOST_HELD: usize = 20_000;

type EntryValues = ((String, Option<String>, Option<String>, Vec<u8>, Option<String>, i64), i64, Option<(i64, i64)>);

fn entry(((path, package, version, blob, content_type, created), size, used): EntryValues) -> QueryResult<LiveEntry> {
    Ok(LiveEntry {
        path,
        package,
        version,
        blob: sha256(&blob)?,
        size: from_column(size),
        content_type,
        created: Timestamp(created),
        pulls: used.map(|(last, downloads)| Pulls { last: Timestamp(last), downloads: from_column(downloads) }),
    })
}

macro_rules! live_entries {
    ($repository:expr) => {
        entries::table
            .inner_join(blobs::table)
            .left_join(pulls::table.on(pulls::repository_id.eq(entries::repository_id).and(pulls::path.eq(entries::path))))
            .filter(entries::repository_id.eq($repository))
            .filter(entries::died.is_null())
            .select((
                (entries::path, entries::package, entries::version, entries::blob, entries::content_type, entries::created),
                blobs::size,
                (pulls::last, pulls::downloads).nullable(),
            ))
    };
}

/// All that lives in a package; `None` when there is none of that name. The last change is read first: whoever changes something on the
/// condition that it still is the last knows all that is here.
pub(crate) fn package(connection: &mut Conn, repository: i64, package: &str, limit: usize) -> QueryResult<Option<PackageFacts>> {
    let Some(names::Found { id, state }) = names::find(connection, repository, package, None)? else { return Ok(None) };
    let live: Vec<(String, i64)> = versions::table
        .filter(versions::package_id.eq(id))
        .filter(versions::died.is_null())
        .order(versions::ordinal)
        .select((versions::version, versions::published))
        .load(connection)?;
    let most = limit.min(MOST);
    let rows: Vec<EntryValues> = live_entries!(repository).filter(entries::package.eq(package)).limit(limit_column(most + 1, MOST + 1)).load(connection)?;
    let too_many = rows.len() > most;
    let mut entries = if too_many { Vec::new() } else { rows.into_iter().map(entry).collect::<QueryResult<Vec<_>>>()? };
    entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    let versions = live.into_iter().map(|(version, published)| LiveVersion { version, published: Timestamp(published) }).collect();
    let released = released(connection, repository, package)?;
    Ok(Some(PackageFacts { package: package.to_owned(), changed: state.changed, document: state.document, versions, entries, released, too_many }))
}

/// When bytes lost a version that led to them, for the last time.
fn released(connection: &mut Conn, repository: i64, package: &str) -> QueryResult<Vec<(Sha256Digest, Timestamp)>> {
    let died = revisions::repository_id.eq(entries::repository_id).and(entries::died.eq(revisions::number.nullable()));
    let rows: Vec<(Vec<u8>, Option<i64>)> = entries::table
        .inner_join(revisions::table.on(died))
        .filter(entries::repository_id.eq(repository))
        .filter(entries::package.eq(package))
        .filter(entries::version.is_not_null())
        .filter(entries::died.is_not_null())
        .group_by(entries::blob)
        .select((entries::blob, max(revisions::time)))
        .limit(limit_column(MOST, MOST))
        .load(connection)?;
    rows.into_iter().map(|(blob, time)| Ok((sha256(&blob)?, Timestamp(time.unwrap_or(0))))).collect()
}

/// A page of the live paths of a repository, by path.
pub(crate) fn files(connection: &mut Conn, repository: i64, after: &str, limit: usize) -> QueryResult<Vec<LiveEntry>> {
    let rows: Vec<EntryValues> =
        live_entries!(repository).filter(entries::path.gt(after)).order(entries::path).limit(limit_column(limit, MOST)).load(connection)?;
    rows.into_iter().map(entry).collect()
}

/// The paths of a package at which nothing lives any more, as far as they are remembered: the last bytes of each.
pub(crate) fn dead(connection: &mut Conn, repository: i64, package: &str, limit: usize) -> QueryResult<Vec<DeadEntry>> {
    let horizon: Option<i64> = repositories::table.find(repository).select(repositories::horizon).first(connection)?;
    let later = diesel::alias!(entries as later);
    let replaced = later
        .filter(later.field(entries::repository_id).eq(entries::repository_id))
        .filter(later.field(entries::path).eq(entries::path))
        .filter(later.field(entries::born).gt(entries::born));
    let rows: Vec<(String, Option<String>, Vec<u8>)> = entries::table
        .filter(entries::repository_id.eq(repository))
        .filter(entries::package.eq(package))
        .filter(entries::died.gt(horizon.unwrap_or(0)))
        .filter(diesel::dsl::not(diesel::dsl::exists(replaced)))
        .limit(limit_column(limit, MOST))
        .select((entries::path, entries::version, entries::blob))
        .load(connection)?;
    rows.into_iter().map(|(path, version, blob)| Ok(DeadEntry { path, version, blob: sha256(&blob)? })).collect()
}

/// The next blobs that live paths of a repository lead to, each once, and their bytes.
pub(crate) fn held(connection: &mut Conn, repository: i64, after: Option<Sha256Digest>, limit: usize) -> QueryResult<HeldStretch> {
    let after = after.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default();
    let rows: Vec<(Vec<u8>, i64)> = entries::table
        .inner_join(blobs::table)
        .filter(entries::repository_id.eq(repository))
        .filter(entries::died.is_null())
        .filter(entries::blob.gt(after))
        .order(entries::blob)
        .limit(limit_column(limit, MOST_HELD))
        .select((entries::blob, blobs::size))
        .load(connection)?;
    let mut stretch = HeldStretch::default();
    let mut before: Option<&Vec<u8>> = None;
    for (blob, size) in &rows {
        // Others of the same blob follow at once, here or behind the end of this stretch, where they are passed over.
        if before != Some(blob) {
            stretch.blobs += 1;
            stretch.bytes += from_column(*size);
        }
        before = Some(blob);
    }
    stretch.last = before.map(|blob| sha256(blob)).transpose()?;
    Ok(stretch)
}

/// Those of these blobs that a live path of the repository leads to.
pub(crate) fn held_of(connection: &mut Conn, repository: i64, digests: &[Sha256Digest]) -> QueryResult<Vec<Sha256Digest>> {
    let mut held = Vec::new();
    for digest in digests {
        let key = digest.as_bytes().as_slice();
        let live = entries::table.filter(entries::repository_id.eq(repository)).filter(entries::blob.eq(key)).filter(entries::died.is_null());
        if live.select(entries::id).first::<i64>(connection).optional()?.is_some() {
            held.push(*digest);
        }
    }
    Ok(held)
}
