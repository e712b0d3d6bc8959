//! Every blob, who needs it, and the marks of those that are damaged.

use bytes::Bytes;
use diesel::prelude::*;
use entrepot_kit::{Address, Algorithm, Digests, Sha256Digest, Timestamp};

use super::{Conn, for_change, repositories as counters};
use crate::store::catalog::convert::{from_column, from_json, kind, limit_column, sha256};
use crate::store::catalog::failure::{QueryError, QueryResult};
use crate::store::catalog::schema::{blobs, entries, meta, repositories, systems};
use crate::store::model::{BlobFacts, BlobRow, Need};

/// Most rows of one page; each may hold inline bytes.
const MOST: usize = 200;
/// Counts the marks that were set or lifted, so that whoever holds entries in memory looks again.
const DAMAGE: &str = "damage";

type Columns = (blobs::digest, blobs::size, blobs::digests, blobs::inline, blobs::location, blobs::damaged);
const COLUMNS: Columns = (blobs::digest, blobs::size, blobs::digests, blobs::inline, blobs::location, blobs::damaged);
type Values = (Vec<u8>, i64, String, Option<Vec<u8>>, Option<String>, Option<i64>);

fn row((digest, size, digests, inline, location, damaged): Values) -> QueryResult<BlobRow> {
    let mut digests: Digests = from_json("digests of a blob", &digests)?;
    digests.insert(Algorithm::Sha256, digest.clone());
    let facts = BlobFacts { digest: sha256(&digest)?, size: from_column(size), digests, inline: inline.map(Bytes::from), location };
    Ok(BlobRow { facts, damaged: damaged.map(Timestamp) })
}

/// A page of all blobs, by digest.
pub(crate) fn page(connection: &mut Conn, after: Option<Sha256Digest>, limit: usize) -> QueryResult<Vec<BlobRow>> {
    let after = after.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default();
    let query = blobs::table.filter(blobs::digest.gt(after)).order(blobs::digest).limit(limit_column(limit, MOST)).select(COLUMNS);
    query.load::<Values>(connection)?.into_iter().map(row).collect()
}

/// One blob, damaged or not.
pub(crate) fn one(connection: &mut Conn, digest: Sha256Digest) -> QueryResult<Option<BlobRow>> {
    blobs::table.find(digest.as_bytes().as_slice()).select(COLUMNS).first::<Values>(connection).optional()?.map(row).transpose()
}

/// Entries that need a blob, of the present first.
pub(crate) fn needs(connection: &mut Conn, digest: Sha256Digest, limit: usize) -> QueryResult<Vec<Need>> {
    let rows: Vec<(String, String, String, String, Option<i64>)> = entries::table
        .inner_join(repositories::table.on(repositories::id.eq(entries::repository_id)))
        .inner_join(systems::table.on(systems::id.eq(repositories::system_id)))
        .filter(entries::blob.eq(digest.as_bytes().as_slice()))
        .filter(repositories::deleted.is_null())
        .order((entries::died.is_not_null(), systems::name, repositories::name, entries::path))
        .limit(limit_column(limit, MOST))
        .select((systems::name, repositories::name, repositories::kind, entries::path, entries::died))
        .load(connection)?;
    let need = |(system, repository, of, path, died): (String, String, String, String, Option<i64>)| {
        let address = Address::new(&system, &repository).map_err(|cause| QueryError::damaged("address", cause))?;
        Ok(Need { address, kind: kind(&of)?, path, live: died.is_none() })
    };
    rows.into_iter().map(need).collect()
}

/// Marks a blob as damaged, or lifts the mark, while its bytes are still those that were looked at; `false` when nothing changed.
pub(crate) fn mark(connection: &mut Conn, digest: Sha256Digest, location: Option<&str>, damaged: Option<Timestamp>) -> QueryResult<bool> {
    let row = blobs::table.find(digest.as_bytes().as_slice());
    let found: Option<(Option<String>, Option<i64>)> = for_change!(row.select((blobs::location, blobs::damaged))).first(connection).optional()?;
    if found.is_none_or(|(at, marked)| at.as_deref() != location || marked.is_some() == damaged.is_some()) {
        return Ok(false);
    }
    diesel::update(row).set(blobs::damaged.eq(damaged.map(|time| time.0))).execute(connection)?;
    let counted = diesel::update(meta::table.find(DAMAGE)).set(meta::value.eq(meta::value + 1)).execute(connection)?;
    if counted == 0 {
        diesel::insert_into(meta::table).values((meta::name.eq(DAMAGE), meta::value.eq(1))).execute(connection)?;
    }
    counters::bump_epoch(connection)?;
    Ok(true)
}

/// Gives a damaged blob the bytes that were brought; `false` when it is not damaged, or gone.
pub(crate) fn mend(connection: &mut Conn, brought: &BlobFacts) -> QueryResult<bool> {
    let row = blobs::table.filter(blobs::digest.eq(brought.digest.as_bytes().as_slice())).filter(blobs::damaged.is_not_null());
    let mended = (blobs::damaged.eq(None::<i64>), blobs::location.eq(&brought.location), blobs::inline.eq(brought.inline.as_deref()));
    Ok(diesel::update(row).set(mended).execute(connection)? > 0)
}

/// How many marks were set or lifted so far.
pub(crate) fn damage(connection: &mut Conn) -> QueryResult<u64> {
    let count: Option<i64> = meta::table.find(DAMAGE).select(meta::value).first(connection).optional()?;
    Ok(count.map_or(0, from_column))
}
