//! Garbage: blobs that no entry names are condemned, and removed after a grace. Each step is a short slice; nothing waits long.
//!
//! A commit that uses a blob again revives it under the lock of its row (`birth::revive`), so that one of the two is first: either gc finds it
//! revived, or the commit finds it gone and brings the bytes anew, to another place. The foreign key of the entries is the last guard.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use entrepot_kit::{Sha256Digest, Timestamp};

use super::{Conn, for_change};
use crate::store::catalog::convert::{from_column, limit_column, sha256};
use crate::store::catalog::failure::{QueryError, QueryResult};
use crate::store::catalog::schema::{blobs, entries, uploads};
use crate::store::model::{BlobPlace, BlobStretch, Removal, UnnamedBlob};

/// Most blobs of one slice.
const MOST: usize = 1000;

/// The next blobs behind a digest, and those of them that no entry names.
pub(crate) fn stretch(connection: &mut Conn, after: Option<Sha256Digest>, limit: usize) -> QueryResult<BlobStretch> {
    let after = after.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default();
    // The end first, so that a slice is bounded however few of its blobs are unnamed.
    let keys: Vec<Vec<u8>> =
        blobs::table.filter(blobs::digest.gt(&after)).select(blobs::digest).order(blobs::digest).limit(limit_column(limit, MOST)).load(connection)?;
    let Some(last) = keys.last() else { return Ok(BlobStretch::default()) };
    let rows: Vec<(Vec<u8>, i64, Option<i64>)> = blobs::table
        .filter(blobs::digest.gt(&after))
        .filter(blobs::digest.le(last))
        .filter(diesel::dsl::not(exists(entries::table.filter(entries::blob.eq(blobs::digest)))))
        .select((blobs::digest, blobs::size, blobs::condemned))
        .order(blobs::digest)
        .load(connection)?;
    let unnamed = rows
        .into_iter()
        .map(|(digest, size, condemned)| Ok(UnnamedBlob { digest: sha256(&digest)?, size: from_column(size), condemned: condemned.map(Timestamp) }));
    Ok(BlobStretch { last: Some(sha256(last)?), unnamed: unnamed.collect::<QueryResult<_>>()? })
}

/// Those of some blobs that an entry names.
fn named(connection: &mut Conn, keys: &[Vec<u8>]) -> QueryResult<Vec<Vec<u8>>> {
    Ok(entries::table.filter(entries::blob.eq_any(keys)).select(entries::blob).distinct().load(connection)?)
}

/// Condemns those of these blobs that are not condemned, and that no entry names even now that their rows are locked.
pub(crate) fn condemn(connection: &mut Conn, digests: &[Sha256Digest], now: Timestamp) -> QueryResult<u64> {
    let keys: Vec<Vec<u8>> = digests.iter().map(|digest| digest.as_bytes().to_vec()).collect();
    let rows = blobs::table.filter(blobs::digest.eq_any(&keys)).filter(blobs::condemned.is_null()).select(blobs::digest).order(blobs::digest);
    let mut keys: Vec<Vec<u8>> = for_change!(rows).load(connection)?;
    let named = named(connection, &keys)?;
    keys.retain(|key| !named.contains(key));
    let condemned = diesel::update(blobs::table.filter(blobs::digest.eq_any(&keys))).set(blobs::condemned.eq(now.0)).execute(connection)?;
    Ok(u64::try_from(condemned).unwrap_or(0))
}

/// Condemned blobs that are named all the same: whoever named them did not revive them.
pub(crate) fn named_though_condemned(connection: &mut Conn, limit: usize) -> QueryResult<Vec<Sha256Digest>> {
    let keys: Vec<Vec<u8>> = blobs::table
        .filter(blobs::condemned.le(i64::MAX))
        .filter(exists(entries::table.filter(entries::blob.eq(blobs::digest))))
        .select(blobs::digest)
        .limit(limit_column(limit, MOST))
        .load(connection)?;
    keys.iter().map(|key| sha256(key)).collect()
}

/// Lifts the sentence on these blobs.
pub(crate) fn pardon(connection: &mut Conn, digests: &[Sha256Digest]) -> QueryResult<u64> {
    let keys: Vec<Vec<u8>> = digests.iter().map(|digest| digest.as_bytes().to_vec()).collect();
    let rows = blobs::table.filter(blobs::digest.eq_any(&keys)).filter(blobs::condemned.is_not_null());
    let pardoned = diesel::update(rows).set(blobs::condemned.eq(None::<i64>)).execute(connection)?;
    Ok(u64::try_from(pardoned).unwrap_or(0))
}

/// Removes the rows of some blobs that were condemned at `until` or before. Their bytes may go once this is committed.
pub(crate) fn remove(connection: &mut Conn, until: Timestamp, limit: usize) -> QueryResult<Removal> {
    let due = blobs::table.filter(blobs::condemned.le(until.0));
    let keys: Vec<Vec<u8>> = due.select(blobs::digest).order(blobs::condemned).limit(limit_column(limit, MOST)).load(connection)?;
    let looked_at = keys.len();
    // Locked in the order of the digests, as commits do it. What a commit revived meanwhile is not among them any more.
    let columns = (blobs::digest, blobs::size, blobs::location, blobs::inline.is_null());
    let rows: Vec<(Vec<u8>, i64, Option<String>, bool)> =
        for_change!(due.filter(blobs::digest.eq_any(&keys)).select(columns).order(blobs::digest)).load(connection)?;
    // Asked again under the locks: what was named while we waited for them is seen now.
    let locked: Vec<Vec<u8>> = rows.iter().map(|(digest, ..)| digest.clone()).collect();
    let named = named(connection, &locked)?;
    diesel::update(blobs::table.filter(blobs::digest.eq_any(&named))).set(blobs::condemned.eq(None::<i64>)).execute(connection)?;
    let mut removal = Removal { looked_at, revived: named.len() as u64, ..Removal::default() };
    let mut gone = Vec::with_capacity(rows.len());
    for (key, size, location, stored) in rows {
        if named.contains(&key) {
            continue;
        }
        removal.removed += 1;
        removal.bytes += from_column(size);
        if stored {
            removal.places.push(BlobPlace { digest: sha256(&key)?, size: from_column(size), location });
        }
        gone.push(key);
    }
    match diesel::delete(blobs::table.filter(blobs::digest.eq_any(&gone))).execute(connection) {
        Err(DieselError::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)) => {
            Err(QueryError::conflict("a blob was named while it was being removed: it stays"))
        }
        other => {
            other?;
            Ok(removal)
        }
    }
}

/// Those of these places that a blob is at, or an upload that is under way.
pub(crate) fn known_places(connection: &mut Conn, locations: &[String]) -> QueryResult<Vec<String>> {
    let mut known: Vec<String> = blobs::table.filter(blobs::location.eq_any(locations)).select(blobs::location.assume_not_null()).load(connection)?;
    known.extend(uploads::table.filter(uploads::location.eq_any(locations)).select(uploads::location.assume_not_null()).load::<String>(connection)?);
    // Files of the first version are named by the digest alone.
    let keys: Vec<Vec<u8>> = locations.iter().filter_map(|name| Sha256Digest::parse_hex(name)).map(|digest| digest.as_bytes().to_vec()).collect();
    if !keys.is_empty() {
        let unplaced = blobs::table.filter(blobs::digest.eq_any(&keys)).filter(blobs::location.is_null()).filter(blobs::inline.is_null());
        for key in unplaced.select(blobs::digest).load::<Vec<u8>>(connection)? {
            known.push(sha256(&key)?.hex());
        }
    }
    Ok(known)
}
