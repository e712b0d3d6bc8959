//! Removing the rows of deleted repositories, in slices, so that no other write waits long.

use diesel::prelude::*;

use super::{Conn, for_change};
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::{
    entries, fragments, package_changes, package_documents, packages, pulls, repositories, revisions, search_terms, uploads, upstream_state, versions,
};

/// Rows that one slice removes of the table that it is at.
const SLICE: i64 = 250;

/// Removes a slice; `false` when nothing is left to remove.
pub(crate) fn slice(connection: &mut Conn) -> QueryResult<bool> {
    // Locked, so that two replicas take turns instead of removing the same rows.
    let query = repositories::table.filter(repositories::deleted.is_not_null()).select(repositories::id).order(repositories::id);
    let deleted: Option<i64> = for_change!(query).first(connection).optional()?;
    let Some(repository) = deleted else { return Ok(false) };
    let removed = some_packages(connection, repository)?
        || some_entries(connection, repository)?
        || some_pulls(connection, repository)?
        || some_upstream_states(connection, repository)?
        || some_uploads(connection, repository)?
        || some_revisions(connection, repository)?;
    if !removed {
        diesel::delete(repositories::table.find(repository)).execute(connection)?;
    }
    Ok(true)
}

/// Versions of a few packages, and the packages once they have none.
fn some_packages(connection: &mut Conn, repository: i64) -> QueryResult<bool> {
    let of_repository = packages::table.filter(packages::repository_id.eq(repository));
    let few: Vec<i64> = of_repository.select(packages::id).order(packages::name).limit(SLICE / 5).load(connection)?;
    let rows: Vec<i64> = versions::table.filter(versions::package_id.eq_any(&few)).select(versions::id).limit(SLICE).load(connection)?;
    if !rows.is_empty() {
        diesel::delete(fragments::table.filter(fragments::version_id.eq_any(&rows))).execute(connection)?;
        diesel::delete(versions::table.filter(versions::id.eq_any(&rows))).execute(connection)?;
        return Ok(true);
    }
    diesel::delete(search_terms::table.filter(search_terms::package_id.eq_any(&few))).execute(connection)?;
    diesel::delete(package_changes::table.filter(package_changes::package_id.eq_any(&few))).execute(connection)?;
    diesel::delete(package_documents::table.filter(package_documents::package_id.eq_any(&few))).execute(connection)?;
    Ok(diesel::delete(packages::table.filter(packages::id.eq_any(&few))).execute(connection)? > 0)
}

fn some_entries(connection: &mut Conn, repository: i64) -> QueryResult<bool> {
    let rows: Vec<i64> = entries::table.filter(entries::repository_id.eq(repository)).select(entries::id).limit(SLICE).load(connection)?;
    Ok(diesel::delete(entries::table.filter(entries::id.eq_any(&rows))).execute(connection)? > 0)
}

fn some_pulls(connection: &mut Conn, repository: i64) -> QueryResult<bool> {
    let of_repository = pulls::table.filter(pulls::repository_id.eq(repository));
    let paths: Vec<String> = of_repository.select(pulls::path).limit(SLICE).load(connection)?;
    Ok(diesel::delete(of_repository.filter(pulls::path.eq_any(&paths))).execute(connection)? > 0)
}

fn some_upstream_states(connection: &mut Conn, repository: i64) -> QueryResult<bool> {
    let of_repository = upstream_state::table.filter(upstream_state::repository_id.eq(repository));
    let keys: Vec<String> = of_repository.select(upstream_state::key).limit(SLICE).load(connection)?;
    Ok(diesel::delete(of_repository.filter(upstream_state::key.eq_any(&keys))).execute(connection)? > 0)
}

/// Their bytes are found by gc, which knows of no row that names them any more.
fn some_uploads(connection: &mut Conn, repository: i64) -> QueryResult<bool> {
    let of_repository = uploads::table.filter(uploads::repository_id.eq(repository));
    let ids: Vec<String> = of_repository.select(uploads::id).limit(SLICE).load(connection)?;
    Ok(diesel::delete(uploads::table.filter(uploads::id.eq_any(&ids))).execute(connection)? > 0)
}

fn some_revisions(connection: &mut Conn, repository: i64) -> QueryResult<bool> {
    let of_repository = revisions::table.filter(revisions::repository_id.eq(repository));
    let numbers: Vec<i64> = of_repository.select(revisions::number).order(revisions::number).limit(SLICE).load(connection)?;
    Ok(diesel::delete(of_repository.filter(revisions::number.eq_any(&numbers))).execute(connection)? > 0)
}
