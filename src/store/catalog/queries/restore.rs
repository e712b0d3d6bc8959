//! What was deleted comes back: copies of what died last, with all that died in the same revision. The past stays as it was.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::commit::Change;
use super::{birth, entries as paths, packages as names, search};
use crate::store::catalog::convert::from_json;
use crate::store::catalog::failure::{QueryError, QueryResult};
use crate::store::catalog::schema::{entries, fragments, package_documents, repositories, revisions, versions};
use crate::store::model::HOUSEKEEPING;

/// How long what housekeeping ended comes back by itself when it is counted on, in milliseconds.
const LATELY: i64 = 24 * 3600 * 1000;

/// A package that was deleted, with its versions and entries.
pub(super) fn package(change: &mut Change<'_>, package: &str) -> QueryResult<()> {
    let Some(id) = names::identity(change.connection, change.repository, package)? else { return Err(no_package(package)) };
    if names::find_living(change.connection, change.repository, package)?.is_some() {
        return Err(QueryError::conflict(format!("the package {package:?} is there: nothing to restore")));
    }
    let died = document(change, package, id)?;
    check_remembered(change, died)?;
    let rows: Vec<i64> = versions::table
        .filter(versions::package_id.eq(id))
        .filter(versions::died.eq(died))
        .order((versions::ordinal, versions::id))
        .select(versions::id)
        .load(change.connection)?;
    for row in rows {
        copy_version(change, row)?;
    }
    let rows = entries::table
        .filter(entries::repository_id.eq(change.repository))
        .filter(entries::package.eq(package))
        .filter(entries::died.eq(died))
        .order(entries::id)
        .select(entries::id)
        .load(change.connection)?;
    copy_entries(change, rows)
}

/// A version that was deleted, with its entries, and its package's document if that is gone too.
pub(super) fn version(change: &mut Change<'_>, package: &str, version: &str) -> QueryResult<()> {
    let Some(id) = names::identity(change.connection, change.repository, package)? else { return Err(no_package(package)) };
    let last: Option<(i64, Option<i64>)> = versions::table
        .filter(versions::package_id.eq(id))
        .filter(versions::version.eq(version))
        .order(versions::born.desc())
        .select((versions::id, versions::died))
        .first(change.connection)
        .optional()?;
    let (row, died) = match last {
        None => return Err(QueryError::not_found(format!("there never was a version {version:?} of {package:?}"))),
        Some((_, None)) => return Err(QueryError::conflict(format!("the version {version:?} of {package:?} is there: nothing to restore"))),
        Some((row, Some(died))) => (row, died),
    };
    check_remembered(change, died)?;
    if names::find_living(change.connection, change.repository, package)?.is_none() {
        document(change, package, id)?;
    }
    copy_version(change, row)?;
    change.touch(package);
    let rows = entries::table
        .filter(entries::repository_id.eq(change.repository))
        .filter(entries::package.eq(package))
        .filter(entries::version.eq(version))
        .filter(entries::died.eq(died))
        .order(entries::id)
        .select(entries::id)
        .load(change.connection)?;
    copy_entries(change, rows)
}

/// An entry that was deleted.
pub(super) fn entry(change: &mut Change<'_>, path: &str) -> QueryResult<()> {
    if paths::living(change.connection, change.repository, path)?.is_some() {
        return Err(QueryError::conflict(format!("there is a file at {path:?}: nothing to restore")));
    }
    let last: Option<(i64, Option<i64>)> = entries::table
        .filter(entries::repository_id.eq(change.repository))
        .filter(entries::path.eq(path))
        .order(entries::born.desc())
        .select((entries::id, entries::died))
        .first(change.connection)
        .optional()?;
    let (row, died) = last.ok_or_else(|| QueryError::not_found(format!("there never was a file at {path:?}, or it is forgotten")))?;
    check_remembered(change, died.unwrap_or(i64::MAX))?;
    copy_entries(change, vec![row])
}

/// An entry that somebody counts on who saw it: it lives, or housekeeping ended it so lately that nobody could know.
pub(super) fn again(change: &mut Change<'_>, path: &str) -> QueryResult<()> {
    if paths::living(change.connection, change.repository, path)?.is_some() {
        return Ok(());
    }
    let ended = revisions::repository_id.eq(entries::repository_id).and(entries::died.eq(revisions::number.nullable()));
    let last: Option<(i64, String, i64)> = entries::table
        .inner_join(revisions::table.on(ended))
        .filter(entries::repository_id.eq(change.repository))
        .filter(entries::path.eq(path))
        .order(entries::born.desc())
        .select((entries::id, revisions::action, revisions::time))
        .first(change.connection)
        .optional()?;
    match last {
        Some((row, action, time)) if action == HOUSEKEEPING && time > change.time - LATELY => copy_entries(change, vec![row]),
        _ => Err(QueryError::conflict(format!("there is no file at {path:?} any more"))),
    }
}

/// Refuses to bring back what may be gone in part.
fn check_remembered(change: &mut Change<'_>, died: i64) -> QueryResult<()> {
    let horizon: Option<i64> = repositories::table.find(change.repository).select(repositories::horizon).first(change.connection)?;
    if horizon.is_some_and(|horizon| died <= horizon) {
        return Err(QueryError::not_found(String::from("it was deleted too long ago: what it had is forgotten (retention.history_days)")));
    }
    Ok(())
}

fn no_package(package: &str) -> QueryError {
    QueryError::not_found(format!("there never was a package {package:?}, or it is forgotten"))
}

/// Brings a package's last document back, and says when it died.
fn document(change: &mut Change<'_>, package: &str, id: i64) -> QueryResult<i64> {
    let last: Option<(Option<i64>, String, String)> = package_documents::table
        .filter(package_documents::package_id.eq(id))
        .order(package_documents::born.desc())
        .select((package_documents::died, package_documents::document, package_documents::terms))
        .first(change.connection)
        .optional()?;
    let (died, document, terms) = last.ok_or_else(|| no_package(package))?;
    change.insert_document(id, &document, &terms)?;
    let terms: Vec<String> = from_json("search terms", &terms)?;
    let terms: Vec<&str> = terms.iter().map(String::as_str).collect();
    search::replace_terms(change.connection, change.repository, id, &terms)?;
    change.touch(package);
    died.ok_or_else(|| QueryError::damaged("package", "a dead package has a live document"))
}

fn copy_version(change: &mut Change<'_>, row: i64) -> QueryResult<()> {
    let (package, version, document, published, ordinal): (i64, String, String, i64, i64) = versions::table
        .find(row)
        .select((versions::package_id, versions::version, versions::document, versions::published, versions::ordinal))
        .first(change.connection)?;
    let copy = change.insert_version(package, &version, &document, published, ordinal)?;
    fragments::table
        .filter(fragments::version_id.eq(row))
        .select((copy.into_sql::<BigInt>(), fragments::kind, fragments::bytes))
        .insert_into(fragments::table)
        .into_columns((fragments::version_id, fragments::kind, fragments::bytes))
        .execute(change.connection)?;
    Ok(())
}

/// Copies dead entries. What lives at a path by now stays.
fn copy_entries(change: &mut Change<'_>, rows: Vec<i64>) -> QueryResult<()> {
    type Values = (String, Option<String>, Option<String>, Vec<u8>, Option<String>, String, i64);
    for row in rows {
        let (path, package, version, blob, content_type, data, created): Values = entries::table
            .find(row)
            .select((entries::path, entries::package, entries::version, entries::blob, entries::content_type, entries::data, entries::created))
            .first(change.connection)?;
        let new = birth::NewEntry {
            path: &path,
            package: package.as_deref(),
            version: version.as_deref(),
            blob: &blob,
            content_type: content_type.as_deref(),
            data: &data,
        };
        birth::insert_entry(change.connection, change.repository, &new, created, change.revision, birth::Existing::Wins)?;
        if let Some(package) = &package {
            change.touch(package);
        }
    }
    Ok(())
}
