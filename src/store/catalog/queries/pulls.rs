//! When files were asked for last, and how often they were downloaded.

use diesel::dsl::{case_when, exists};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use entrepot_kit::{Sha256Digest, Timestamp};

use super::Conn;
use crate::store::catalog::convert::{from_column, limit_column, sha256, to_column};
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::{entries, meta, pulls, repositories};
use crate::store::facts::{PathPulls, Pulls};

/// Most rows that are removed at once.
const MOST: usize = 1000;
/// Most files of a package whose use is told.
const MOST_TOLD: i64 = 100_000;
/// Since when the use of files is known.
const SINCE: &str = "pulls_since";

/// Adds to what is known. What was noted of a repository that is gone is dropped. The rows come ordered: two replicas never wait for each
/// other.
pub(crate) fn add(connection: &mut Conn, rows: &[PathPulls]) -> QueryResult<()> {
    let ids: Vec<i64> = rows.iter().map(|row| row.repository).collect();
    let living: Vec<i64> =
        repositories::table.filter(repositories::id.eq_any(&ids)).filter(repositories::deleted.is_null()).select(repositories::id).load(connection)?;
    for row in rows.iter().filter(|row| living.contains(&row.repository)) {
        let (last, downloads) = (row.pulls.last.0, to_column(row.pulls.downloads));
        diesel::insert_into(pulls::table)
            .values((pulls::repository_id.eq(row.repository), pulls::path.eq(&row.path), pulls::last.eq(last), pulls::downloads.eq(downloads)))
            .on_conflict((pulls::repository_id, pulls::path))
            .do_update()
            .set((
                pulls::last.eq(case_when(pulls::last.lt(last), last.into_sql::<BigInt>()).otherwise(pulls::last)),
                pulls::downloads.eq(pulls::downloads + downloads),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// Since when the use of files is written down.
pub(crate) fn since(connection: &mut Conn) -> QueryResult<Timestamp> {
    let since: Option<i64> = meta::table.find(SINCE).select(meta::value).first(connection).optional()?;
    Ok(Timestamp(since.unwrap_or(0)))
}

/// How the files of a package were used: version, bytes, use. Those that were not are left out.
pub(crate) fn of_package(connection: &mut Conn, repository: i64, package: &str) -> QueryResult<Vec<(Option<String>, Sha256Digest, Pulls)>> {
    let rows: Vec<(Option<String>, Vec<u8>, i64, i64)> = entries::table
        .inner_join(pulls::table.on(pulls::repository_id.eq(entries::repository_id).and(pulls::path.eq(entries::path))))
        .filter(entries::repository_id.eq(repository))
        .filter(entries::package.eq(package))
        .filter(entries::died.is_null())
        .limit(MOST_TOLD)
        .select((entries::version, entries::blob, pulls::last, pulls::downloads))
        .load(connection)?;
    let row = |(version, blob, last, downloads): (Option<String>, Vec<u8>, i64, i64)| {
        Ok((version, sha256(&blob)?, Pulls { last: Timestamp(last), downloads: from_column(downloads) }))
    };
    rows.into_iter().map(row).collect()
}

/// The versions whose live files have these bytes are told by their files: version and bytes.
pub(crate) fn named_blobs(connection: &mut Conn, repository: i64, package: &str) -> QueryResult<Vec<(String, Sha256Digest)>> {
    let rows: Vec<(String, Vec<u8>)> = entries::table
        .filter(entries::repository_id.eq(repository))
        .filter(entries::package.eq(package))
        .filter(entries::version.is_not_null())
        .filter(entries::died.is_null())
        .limit(MOST_TOLD)
        .select((entries::version.assume_not_null(), entries::blob))
        .load(connection)?;
    rows.into_iter().map(|(version, blob)| Ok((version, sha256(&blob)?))).collect()
}

/// Removes what is known of paths that no row of the repository has any more; says how many.
pub(crate) fn forget(connection: &mut Conn, repository: i64, limit: usize) -> QueryResult<u64> {
    let of_repository = pulls::table.filter(pulls::repository_id.eq(repository));
    let there = entries::table.filter(entries::repository_id.eq(pulls::repository_id)).filter(entries::path.eq(pulls::path));
    let keys: Vec<String> = of_repository.filter(diesel::dsl::not(exists(there))).select(pulls::path).limit(limit_column(limit, MOST)).load(connection)?;
    let removed = diesel::delete(of_repository.filter(pulls::path.eq_any(&keys))).execute(connection)?;
    Ok(u64::try_from(removed).unwrap_or(0))
}
