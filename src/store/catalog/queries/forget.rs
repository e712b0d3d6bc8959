//! Forgetting what died long ago, found by questions and removed in short slices: afterwards gc finds the bytes that only the past named.

use diesel::dsl::exists;
use diesel::prelude::*;

use super::{Conn, repositories as systems};
use crate::store::catalog::convert::{limit_column, to_column};
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::{entries, fragments, package_documents, packages, repositories, versions};
use crate::store::facts::{ForgettableRows, Forgetting, Forgotten};

/// Most rows of each table that are found at once.
const MOST: usize = 10_000;

/// Moves a repository's horizon: views before it are refused from now on, so that nobody sees half of one. `false`: it was there already.
pub(crate) fn set_horizon(connection: &mut Conn, repository: i64, horizon: u64) -> QueryResult<bool> {
    let horizon = to_column(horizon);
    let row = repositories::table.find(repository).filter(repositories::horizon.is_null().or(repositories::horizon.lt(horizon)));
    let moved = diesel::update(row).set(repositories::horizon.eq(horizon)).execute(connection)? > 0;
    if moved {
        systems::bump_epoch(connection)?;
    }
    Ok(moved)
}

macro_rules! dead_entries {
    ($what:expr) => {
        entries::table
            .filter(entries::repository_id.eq($what.repository))
            .filter(entries::died.le(to_column($what.died)))
            .filter(entries::version.is_null().or(entries::died.le(to_column($what.named))))
    };
}

/// Versions that died, and need not leave their name behind.
macro_rules! dead_versions {
    ($what:expr) => {{
        let later = diesel::alias!(versions as later);
        let replaced = later
            .filter(later.field(versions::package_id).eq(versions::package_id))
            .filter(later.field(versions::version).eq(versions::version))
            .filter(later.field(versions::born).gt(versions::born));
        let of_repository = packages::table.filter(packages::repository_id.eq($what.repository)).select(packages::id);
        versions::table
            .filter(versions::package_id.eq_any(of_repository))
            .filter(versions::died.le(to_column($what.died)))
            .filter(exists(replaced).or($what.reuses_versions.into_sql::<diesel::sql_types::Bool>()))
    }};
}

macro_rules! dead_documents {
    ($what:expr) => {
        package_documents::table
            .filter(package_documents::package_id.eq_any(packages::table.filter(packages::repository_id.eq($what.repository)).select(packages::id)))
            .filter(package_documents::died.le(to_column($what.died)))
    };
}

/// Versions that died, and of which only the name must stay.
macro_rules! wordy_names {
    ($what:expr) => {
        versions::table
            .filter(versions::package_id.eq_any(packages::table.filter(packages::repository_id.eq($what.repository)).select(packages::id)))
            .filter(versions::died.le(to_column($what.died)))
            .filter(versions::document.ne(""))
    };
}

/// How many rows there are to be forgotten, in whole or but for a name.
pub(crate) fn count(connection: &mut Conn, what: &Forgetting) -> QueryResult<Forgotten> {
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let gone: i64 = dead_versions!(what).count().get_result(connection)?;
    let emptied: i64 = match what.reuses_versions {
        true => 0,
        false => {
            let wordy_and_gone: i64 = dead_versions!(what).filter(versions::document.ne("")).count().get_result(connection)?;
            wordy_names!(what).count().get_result::<i64>(connection)? - wordy_and_gone
        }
    };
    Ok(Forgotten {
        entries: number(dead_entries!(what).count().get_result(connection)?),
        versions: number(gone + emptied),
        documents: number(dead_documents!(what).count().get_result(connection)?),
    })
}

/// The next rows to be forgotten; none: all is done. What died does not come back: it can be removed later, in another transaction.
pub(crate) fn rows(connection: &mut Conn, what: &Forgetting, limit: usize) -> QueryResult<ForgettableRows> {
    let limit = limit_column(limit, MOST);
    let entries = dead_entries!(what).select(entries::id).limit(limit).load(connection)?;
    let states: Vec<i64> = dead_versions!(what).select(versions::id).limit(limit).load(connection)?;
    // Only what is left when all others are gone: those need not be emptied first.
    let names = match what.reuses_versions || !states.is_empty() {
        true => Vec::new(),
        false => wordy_names!(what).select(versions::id).limit(limit).load(connection)?,
    };
    let documents = dead_documents!(what).select(package_documents::id).limit(limit).load(connection)?;
    Ok(ForgettableRows { entries, versions: states, names, documents })
}

/// Removes rows of the past.
pub(crate) fn remove(connection: &mut Conn, rows: &ForgettableRows) -> QueryResult<Forgotten> {
    let removed = |rows: usize| u64::try_from(rows).unwrap_or(0);
    let entries = diesel::delete(entries::table.filter(entries::id.eq_any(&rows.entries)).filter(entries::died.is_not_null())).execute(connection)?;
    diesel::delete(fragments::table.filter(fragments::version_id.eq_any(&rows.versions))).execute(connection)?;
    diesel::delete(fragments::table.filter(fragments::version_id.eq_any(&rows.names))).execute(connection)?;
    let states = diesel::delete(versions::table.filter(versions::id.eq_any(&rows.versions)).filter(versions::died.is_not_null())).execute(connection)?;
    // What is left of a version whose name stays taken: the name, and nothing that it said.
    let names = diesel::update(versions::table.filter(versions::id.eq_any(&rows.names))).set(versions::document.eq("")).execute(connection)?;
    let documents = package_documents::table.filter(package_documents::id.eq_any(&rows.documents)).filter(package_documents::died.is_not_null());
    let documents = diesel::delete(documents).execute(connection)?;
    Ok(Forgotten { entries: removed(entries), versions: removed(states + names), documents: removed(documents) })
}

/// Forgets files of a proxy that ended with a revision: they never change and can be fetched again, so the past needs no copy.
pub(crate) fn evicted(connection: &mut Conn, repository: i64, revision: u64, paths: &[String]) -> QueryResult<()> {
    let rows = entries::table.filter(entries::repository_id.eq(repository)).filter(entries::died.eq(to_column(revision))).filter(entries::path.eq_any(paths));
    diesel::delete(rows).execute(connection)?;
    Ok(())
}
