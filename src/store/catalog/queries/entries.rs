//! Paths: the entry at one, and listings.

use bytes::Bytes;
use diesel::prelude::*;
use entrepot_kit::{Algorithm, Digests, Entry, Listing, ListingItem, ListingPage, Sha256Digest, Timestamp};

use super::upstream::{STATE, StateValues, state};
use super::{Conn, at_view};
use crate::store::catalog::convert::{from_column, from_json, limit_column, prefix_end, sha256};
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::{blobs, entries, upstream_state};
use crate::store::model::{BlobFacts, StoredEntry};

/// Most items of one page.
const MOST: usize = 10_000;
/// Rows that one step of a folded listing reads.
const STRIDE: usize = 64;

type EntryColumns = (
    (entries::path, entries::package, entries::version, entries::blob, entries::content_type, entries::data, entries::created, entries::born),
    (blobs::size, blobs::digests),
);
const ENTRY: EntryColumns = (
    (entries::path, entries::package, entries::version, entries::blob, entries::content_type, entries::data, entries::created, entries::born),
    (blobs::size, blobs::digests),
);
type EntryValues = ((String, Option<String>, Option<String>, Vec<u8>, Option<String>, String, i64, i64), (i64, String));

fn entry_row(((path, package, version, blob, content_type, data, created, born), (size, digests)): EntryValues) -> QueryResult<(Entry, i64)> {
    let entry = Entry {
        path,
        digest: Some(sha256(&blob)?),
        size: Some(from_column(size)),
        digests: from_json("digests of a blob", &digests)?,
        content_type,
        data,
        created: Timestamp(created),
        package,
        version,
    };
    Ok((entry, born))
}

/// The live entry at a path.
pub(crate) fn entry(connection: &mut Conn, repository: i64, path: &str, at: Option<u64>) -> QueryResult<Option<StoredEntry>> {
    type Values = (EntryValues, (Option<Vec<u8>>, Option<String>, Option<i64>), Option<StateValues>);
    let origin = upstream_state::repository_id.eq(entries::repository_id).and(upstream_state::key.eq(entries::path));
    let query = entries::table
        .inner_join(blobs::table)
        .left_join(upstream_state::table.on(origin))
        .filter(entries::repository_id.eq(repository))
        .filter(entries::path.eq(path))
        .select((ENTRY, (blobs::inline, blobs::location, blobs::damaged), STATE.nullable()));
    let row: Option<Values> = at_view!(query, entries, at, |query| query.first(connection).optional()?);
    let Some((values, (inline, location, damaged), origin)) = row else { return Ok(None) };
    let (entry, born) = entry_row(values)?;
    Ok(Some(StoredEntry {
        entry,
        inline: inline.map(Bytes::from),
        location,
        damaged: damaged.is_some(),
        born: from_column(born),
        origin: origin.map(|values| state(path, values)),
    }))
}

/// Where a page begins.
enum From {
    /// Behind this path.
    Behind(String),
    /// At this path.
    At(String),
}

fn rows(connection: &mut Conn, repository: i64, from: &From, end: &str, limit: usize, at: Option<u64>) -> QueryResult<Vec<Entry>> {
    macro_rules! load {
        ($bound:expr) => {{
            let query = entries::table
                .inner_join(blobs::table)
                .filter(entries::repository_id.eq(repository))
                .filter($bound)
                .filter(entries::path.lt(end))
                .order(entries::path)
                .limit(limit_column(limit, MOST + 1))
                .select(ENTRY);
            at_view!(query, entries, at, |query| query.load::<EntryValues>(connection)?)
        }};
    }
    let rows = match from {
        From::Behind(path) => load!(entries::path.gt(path)),
        From::At(path) => load!(entries::path.ge(path)),
    };
    rows.into_iter().map(|row| Ok(entry_row(row)?.0)).collect()
}

/// What follows everything below a folder, whose path ends with a slash: `0` is the character behind the slash.
pub(super) fn behind_folder(folder: &str) -> String {
    format!("{}0", folder.strip_suffix('/').unwrap_or(folder))
}

/// A page of the paths below a prefix. Folders are skipped over, not read: what lies below them costs nothing.
pub(crate) fn list(connection: &mut Conn, repository: i64, listing: &Listing, at: Option<u64>) -> QueryResult<ListingPage> {
    let end = if listing.prefix.is_empty() { prefix_end("") } else { behind_folder(&listing.prefix) };
    let limit = listing.limit.min(MOST);
    let mut from = match &listing.after {
        Some(after) if after.ends_with('/') => From::At(behind_folder(after)),
        Some(after) if *after > listing.prefix => From::Behind(after.clone()),
        _ => From::Behind(listing.prefix.clone()),
    };
    let mut page = ListingPage::default();
    loop {
        let wanted = (limit + 1).saturating_sub(page.items.len());
        let stride = if listing.recursive { wanted } else { wanted.min(STRIDE) };
        let rows = rows(connection, repository, &from, &end, stride, at)?;
        let exhausted = rows.len() < stride;
        let mut skip: Option<String> = None;
        for entry in rows {
            if skip.as_ref().is_some_and(|skip| entry.path < *skip) {
                continue;
            }
            let rest = entry.path.strip_prefix(listing.prefix.as_str()).unwrap_or(&entry.path);
            let folder = if listing.recursive { None } else { rest.split_once('/').map(|(name, _)| format!("{}{name}/", listing.prefix)) };
            from = From::Behind(entry.path.clone());
            match folder {
                Some(folder) => {
                    skip = Some(behind_folder(&folder));
                    page.items.push(ListingItem::Folder(folder));
                }
                None => {
                    skip = None;
                    page.items.push(ListingItem::File(entry));
                }
            }
            if page.items.len() > limit {
                page.items.truncate(limit);
                page.more = true;
                return Ok(page);
            }
        }
        if exhausted {
            return Ok(page);
        }
        if let Some(skip) = skip {
            from = From::At(skip);
        }
    }
}

/// What is known of a blob whose bytes are there.
pub(crate) fn blob(connection: &mut Conn, digest: Sha256Digest) -> QueryResult<Option<BlobFacts>> {
    type Values = (i64, String, Option<Vec<u8>>, Option<String>);
    let row: Option<Values> = blobs::table
        .find(digest.as_bytes().as_slice())
        .filter(blobs::damaged.is_null())
        .select((blobs::size, blobs::digests, blobs::inline, blobs::location))
        .first(connection)
        .optional()?;
    let Some((size, digests, inline, location)) = row else { return Ok(None) };
    let mut digests: Digests = from_json("digests of a blob", &digests)?;
    digests.insert(Algorithm::Sha256, digest.as_bytes().to_vec());
    Ok(Some(BlobFacts { digest, size: from_column(size), digests, inline: inline.map(Bytes::from), location }))
}

/// Live files of packages whose bytes have a SHA-256 or SHA-512: repository, package and path.
pub(crate) fn holders(connection: &mut Conn, algorithm: Algorithm, digest: &[u8], limit: usize) -> QueryResult<Vec<(i64, String, String)>> {
    let key: Option<Vec<u8>> = match algorithm {
        Algorithm::Sha512 => blobs::table.filter(blobs::sha512.eq(digest)).select(blobs::digest).first(connection).optional()?,
        _ => Some(digest.to_vec()),
    };
    let Some(key) = key else { return Ok(Vec::new()) };
    let query = entries::table
        .filter(entries::blob.eq(key))
        .filter(entries::died.is_null())
        .filter(entries::package.is_not_null())
        .limit(limit_column(limit, MOST))
        .select((entries::repository_id, entries::package.assume_not_null(), entries::path));
    Ok(query.load(connection)?)
}

/// Where the bytes of a blob lie; `None` when there is no such blob.
pub(crate) fn blob_location(connection: &mut Conn, digest: Sha256Digest) -> QueryResult<Option<Option<String>>> {
    Ok(blobs::table.find(digest.as_bytes().as_slice()).select(blobs::location).first(connection).optional()?)
}

/// A live entry as a change finds it.
pub(super) struct Living {
    pub(super) id: i64,
    pub(super) blob: Vec<u8>,
    pub(super) package: Option<String>,
    pub(super) created: i64,
    pub(super) born: i64,
}

/// The live entry at a path, for a change.
pub(super) fn living(connection: &mut Conn, repository: i64, path: &str) -> QueryResult<Option<Living>> {
    let row = entries::table.filter(entries::repository_id.eq(repository)).filter(entries::path.eq(path)).filter(entries::died.is_null()).select((
        entries::id,
        entries::blob,
        entries::package,
        entries::created,
        entries::born,
    ));
    Ok(row.first(connection).optional()?.map(|(id, blob, package, created, born)| Living { id, blob, package, created, born }))
}

/// The revision at which what was at a path died last.
pub(super) fn last_death(connection: &mut Conn, repository: i64, path: &str) -> QueryResult<Option<i64>> {
    let died: Option<Option<i64>> = entries::table
        .filter(entries::repository_id.eq(repository))
        .filter(entries::path.eq(path))
        .order(entries::born.desc())
        .select(entries::died)
        .first(connection)
        .optional()?;
    Ok(died.flatten())
}

/// Ends a path at a revision.
pub(super) fn end(connection: &mut Conn, id: i64, revision: i64) -> QueryResult<()> {
    diesel::update(entries::table.find(id)).set(entries::died.eq(revision)).execute(connection)?;
    Ok(())
}
