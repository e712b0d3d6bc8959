//! What happened to a repository and to the versions of a package.

use diesel::prelude::*;
use entrepot_kit::Timestamp;

use super::Conn;
use crate::store::catalog::convert::{from_column, limit_column, to_column};
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::{packages, revisions, versions};
use crate::store::model::{RevisionRow, VersionSpan};

/// Most rows of one page.
const MOST: usize = 10_000;

/// The newest revision that was there at a time; 0 before the first.
pub(crate) fn revision_at(connection: &mut Conn, repository: i64, time: Timestamp) -> QueryResult<u64> {
    let number: Option<i64> = revisions::table
        .filter(revisions::repository_id.eq(repository))
        .filter(revisions::time.le(time.0))
        .order(revisions::time.desc())
        .select(revisions::number)
        .first(connection)
        .optional()?;
    Ok(number.map_or(0, from_column))
}

/// Revisions, newest first.
pub(crate) fn history(connection: &mut Conn, repository: i64, before: Option<u64>, limit: usize) -> QueryResult<Vec<RevisionRow>> {
    let rows: Vec<(i64, i64, String, String, String, String)> = revisions::table
        .filter(revisions::repository_id.eq(repository))
        .filter(revisions::number.lt(before.map_or(i64::MAX, to_column)))
        .order(revisions::number.desc())
        .limit(limit_column(limit, MOST))
        .select((revisions::number, revisions::time, revisions::principal, revisions::action, revisions::subject, revisions::request_id))
        .load(connection)?;
    let row = |(number, time, principal, action, subject, request_id)| RevisionRow {
        number: from_column(number),
        time: Timestamp(time),
        principal,
        action,
        subject,
        request_id,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// The states that the versions of a package had, newest first.
pub(crate) fn version_history(connection: &mut Conn, repository: i64, package: &str, limit: usize) -> QueryResult<Vec<VersionSpan>> {
    let rows: Vec<(String, i64, i64, Option<i64>)> = versions::table
        .inner_join(packages::table)
        .filter(packages::repository_id.eq(repository))
        .filter(packages::name.eq(package))
        .order((versions::born.desc(), versions::id.desc()))
        .limit(limit_column(limit, MOST))
        .select((versions::version, versions::published, versions::born, versions::died))
        .load(connection)?;
    let span = |(version, published, born, died): (_, _, _, Option<i64>)| VersionSpan {
        version,
        published: Timestamp(published),
        born: from_column(born),
        died: died.map(from_column),
    };
    Ok(rows.into_iter().map(span).collect())
}
