//! Packages and their versions, now and at any revision.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use diesel::prelude::*;
use entrepot_kit::{ALL_PACKAGES, Changes, PackageState, Records, Timestamp, VersionRecord, VersionState, listed};

use super::entries::behind_folder;
use super::{Conn, at_view};
use crate::store::catalog::convert::{from_column, limit_column, to_column};
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::{entries, fragments, package_changes, package_documents, packages, repositories, versions};

/// Most packages of one page.
const MOST: usize = 10_000;
/// Most versions by which an index document is amended: making it anew costs little more then.
const MOST_CHANGES: usize = 1000;

/// A package with its number.
pub(crate) struct Found {
    pub(crate) id: i64,
    pub(crate) state: PackageState,
}

type StateColumns = (packages::id, packages::name, packages::changed, packages::created, packages::modified, package_documents::document);
pub(super) const STATE: StateColumns = (packages::id, packages::name, packages::changed, packages::created, packages::modified, package_documents::document);
pub(super) type StateValues = (i64, String, i64, i64, i64, String);

pub(super) fn found((id, name, changed, created, modified, document): StateValues) -> Found {
    let state = PackageState { name, document, changed: from_column(changed), created: Timestamp(created), modified: Timestamp(modified) };
    Found { id, state }
}

/// Sets the last change to what it was at a revision.
fn as_of(connection: &mut Conn, found: &mut Found, at: Option<u64>) -> QueryResult<()> {
    let Some(at) = at.filter(|at| *at < found.state.changed) else { return Ok(()) };
    let (revision, time): (i64, i64) = package_changes::table
        .filter(package_changes::package_id.eq(found.id))
        .filter(package_changes::revision.le(to_column(at)))
        .order(package_changes::revision.desc())
        .select((package_changes::revision, package_changes::time))
        .first(connection)?;
    found.state.changed = from_column(revision);
    found.state.modified = Timestamp(time);
    Ok(())
}

/// A live package.
pub(crate) fn find(connection: &mut Conn, repository: i64, name: &str, at: Option<u64>) -> QueryResult<Option<Found>> {
    let query =
        packages::table.inner_join(package_documents::table).filter(packages::repository_id.eq(repository)).filter(packages::name.eq(name)).select(STATE);
    let row: Option<StateValues> = at_view!(query, package_documents, at, |query| query.first(connection).optional()?);
    let mut found = row.map(found);
    if let Some(found) = &mut found {
        as_of(connection, found, at)?;
    }
    Ok(found)
}

/// The state of a live package.
pub(crate) fn package(connection: &mut Conn, repository: i64, name: &str, at: Option<u64>) -> QueryResult<Option<PackageState>> {
    Ok(find(connection, repository, name, at)?.map(|found| found.state))
}

/// Whether a package is, or ever was.
pub(crate) fn package_known(connection: &mut Conn, repository: i64, name: &str) -> QueryResult<bool> {
    Ok(identity(connection, repository, name)?.is_some())
}

/// The number of a package that is, or was.
pub(crate) fn identity(connection: &mut Conn, repository: i64, name: &str) -> QueryResult<Option<i64>> {
    let query = packages::table.filter(packages::repository_id.eq(repository)).filter(packages::name.eq(name)).select(packages::id);
    Ok(query.first(connection).optional()?)
}

/// The revision that changed a live package last.
pub(crate) fn package_changed(connection: &mut Conn, repository: i64, name: &str, at: Option<u64>) -> QueryResult<Option<u64>> {
    let query = packages::table
        .inner_join(package_documents::table)
        .filter(packages::repository_id.eq(repository))
        .filter(packages::name.eq(name))
        .select((packages::id, packages::changed));
    let row: Option<(i64, i64)> = at_view!(query, package_documents, at, |query| query.first(connection).optional()?);
    let Some((id, changed)) = row else { return Ok(None) };
    let Some(at) = at.filter(|at| *at < from_column(changed)) else { return Ok(Some(from_column(changed))) };
    let revision: i64 = package_changes::table
        .filter(package_changes::package_id.eq(id))
        .filter(package_changes::revision.le(to_column(at)))
        .order(package_changes::revision.desc())
        .select(package_changes::revision)
        .first(connection)?;
    Ok(Some(from_column(revision)))
}

/// Live packages by name.
pub(crate) fn list(connection: &mut Conn, repository: i64, after: Option<&str>, limit: usize, at: Option<u64>) -> QueryResult<Vec<PackageState>> {
    let query = packages::table
        .inner_join(package_documents::table)
        .filter(packages::repository_id.eq(repository))
        .filter(packages::name.gt(after.unwrap_or_default()))
        .order(packages::name)
        .limit(limit_column(limit, MOST))
        .select(STATE);
    let rows: Vec<StateValues> = at_view!(query, package_documents, at, |query| query.load(connection)?);
    let mut states = Vec::with_capacity(rows.len());
    for row in rows {
        let mut found = found(row);
        as_of(connection, &mut found, at)?;
        states.push(found.state);
    }
    Ok(states)
}

type VersionColumns = (versions::version, versions::published, versions::died, versions::document);
const VERSION: VersionColumns = (versions::version, versions::published, versions::died, versions::document);

fn version_state((version, published, died, document): (String, i64, Option<i64>, String)) -> VersionState {
    VersionState { version, document, published: Timestamp(published), live: died.is_none() }
}

/// The newest state of a version, live or deleted.
pub(crate) fn version(connection: &mut Conn, repository: i64, package: &str, version: &str) -> QueryResult<Option<VersionState>> {
    let row = versions::table
        .inner_join(packages::table)
        .filter(packages::repository_id.eq(repository))
        .filter(packages::name.eq(package))
        .filter(versions::version.eq(version))
        .order(versions::born.desc())
        .select(VERSION)
        .first(connection)
        .optional()?;
    Ok(row.map(version_state))
}

/// The newest states of all versions, live and deleted, in the order of their first publication.
pub(crate) fn versions(connection: &mut Conn, repository: i64, package: &str) -> QueryResult<Vec<VersionState>> {
    let Some(id) = identity(connection, repository, package)? else { return Ok(Vec::new()) };
    let later = diesel::alias!(versions as later);
    let replaced = later
        .filter(later.field(versions::package_id).eq(versions::package_id))
        .filter(later.field(versions::version).eq(versions::version))
        .filter(later.field(versions::born).gt(versions::born));
    let rows = versions::table
        .filter(versions::package_id.eq(id))
        .filter(diesel::dsl::not(diesel::dsl::exists(replaced)))
        .order((versions::ordinal, versions::id))
        .select(VERSION)
        .load(connection)?;
    Ok(rows.into_iter().map(version_state).collect())
}

type Live = (String, i64, Option<Vec<u8>>, i64, i64);

fn record((version, published, bytes, ..): Live) -> VersionRecord {
    VersionRecord { version, published: Some(Timestamp(published)), bytes: bytes.map_or_else(Bytes::new, Bytes::from) }
}

/// All that an index document of a package is made of.
///
/// The present is read as the view at the package's last change: whatever is committed between these queries carries a
/// later revision and is not seen, so that the stamp always tells the truth.
pub(crate) fn records(connection: &mut Conn, repository: i64, package: &str, kind: &str, at: Option<u64>) -> QueryResult<Option<Records>> {
    let Some(Found { id, state }) = find(connection, repository, package, at)? else { return Ok(None) };
    let at = to_column(state.changed);
    let mut live: Vec<Live> = versions::table
        .left_join(fragments::table.on(fragments::version_id.eq(versions::id).and(fragments::kind.eq(kind))))
        .filter(versions::package_id.eq(id))
        .filter(versions::born.le(at))
        .filter(versions::died.is_null().or(versions::died.gt(at)))
        .select((versions::version, versions::published, fragments::bytes.nullable(), versions::ordinal, versions::id))
        .load(connection)?;
    // Sorted here: the database would carry every fragment through its sorter.
    live.sort_unstable_by_key(|(.., ordinal, id)| (*ordinal, *id));
    let dead: Vec<(String, i64)> = versions::table
        .filter(versions::package_id.eq(id))
        .filter(versions::died.le(at))
        .order((versions::ordinal, versions::id))
        .select((versions::version, versions::published))
        .load(connection)?;
    let names: HashSet<&str> = live.iter().map(|(version, ..)| version.as_str()).collect();
    let mut deleted: Vec<(String, Timestamp)> = Vec::new();
    let mut places = HashMap::new();
    for (version, published) in dead.into_iter().filter(|(version, _)| !names.contains(version.as_str())) {
        // The last time that it was published counts.
        match places.get(&version).and_then(|place: &usize| deleted.get_mut(*place)) {
            Some((_, time)) => *time = Timestamp(published),
            None => {
                places.insert(version.clone(), deleted.len());
                deleted.push((version, Timestamp(published)));
            }
        }
    }
    let versions = live.into_iter().map(record).collect();
    Ok(Some(Records {
        package: state.name,
        document: state.document,
        versions,
        deleted,
        created: Some(state.created),
        modified: Some(state.modified),
        stamp: state.changed.to_string(),
    }))
}

/// What became of a live package since a revision, with the fragments of one kind: seen as [`records`] sees it. `None` where that is not
/// known any more, or is more than an index document is amended by.
pub(crate) fn changes(connection: &mut Conn, repository: i64, package: &str, kind: &str, since: u64, at: Option<u64>) -> QueryResult<Option<Changes>> {
    let Some(Found { id, state }) = find(connection, repository, package, at)? else { return Ok(None) };
    if since >= state.changed {
        return Ok(None);
    }
    let (since, at) = (to_column(since), to_column(state.changed));
    let most = limit_column(MOST_CHANGES + 1, MOST);
    let mut begun: Vec<Live> = versions::table
        .left_join(fragments::table.on(fragments::version_id.eq(versions::id).and(fragments::kind.eq(kind))))
        .filter(versions::package_id.eq(id))
        .filter(versions::born.gt(since))
        .filter(versions::born.le(at))
        .filter(versions::died.is_null().or(versions::died.gt(at)))
        .select((versions::version, versions::published, fragments::bytes.nullable(), versions::ordinal, versions::id))
        .limit(most)
        .load(connection)?;
    begun.sort_unstable_by_key(|(.., ordinal, id)| (*ordinal, *id));
    let mut ended: Vec<String> = versions::table
        .filter(versions::package_id.eq(id))
        .filter(versions::died.gt(since))
        .filter(versions::died.le(at))
        .select(versions::version)
        .limit(most)
        .load(connection)?;
    // Looked at last: what is forgotten by then was there when the rows were read, or the horizon says so now.
    let horizon: Option<i64> = repositories::table.find(repository).select(repositories::horizon).first(connection)?;
    if horizon.is_some_and(|horizon| horizon > since) || begun.len().max(ended.len()) > MOST_CHANGES {
        return Ok(None);
    }
    let live: HashSet<&str> = begun.iter().map(|(version, ..)| version.as_str()).collect();
    ended.retain(|version| !live.contains(version.as_str()));
    Ok(Some(Changes {
        package: state.name,
        document: state.document,
        versions: begun.into_iter().map(record).collect(),
        ended,
        created: Some(state.created),
        modified: Some(state.modified),
    }))
}

/// The same where the fragments are those of the files in a folder, in the order of their names.
pub(crate) fn file_records(connection: &mut Conn, repository: i64, package: &str, folder: &str, at: Option<u64>) -> QueryResult<Option<Records>> {
    let Some(Found { state, .. }) = find(connection, repository, package, at)? else { return Ok(None) };
    let at = to_column(state.changed);
    let mut files: Vec<(String, String, i64)> = entries::table
        .filter(entries::repository_id.eq(repository))
        .filter(entries::path.gt(folder))
        .filter(entries::path.lt(behind_folder(folder)))
        .filter(entries::package.eq(package))
        .filter(entries::data.ne(""))
        .filter(entries::born.le(at))
        .filter(entries::died.is_null().or(entries::died.gt(at)))
        .select((entries::path, entries::data, entries::created))
        .load(connection)?;
    files.sort_unstable();
    let record = |(path, data, created): (String, String, i64)| VersionRecord {
        version: path.strip_prefix(folder).unwrap_or(&path).to_owned(),
        published: Some(Timestamp(created)),
        bytes: data.into(),
    };
    Ok(Some(Records {
        package: state.name,
        document: state.document,
        versions: files.into_iter().map(record).collect(),
        deleted: Vec::new(),
        created: Some(state.created),
        modified: Some(state.modified),
        stamp: state.changed.to_string(),
    }))
}

/// What an index of all packages is made of that lists their versions. Versions without a fragment of that kind are left out.
pub(crate) fn all_records(connection: &mut Conn, repository: i64, kind: &str, at: Option<u64>) -> QueryResult<Records> {
    let query = versions::table
        .inner_join(packages::table)
        .inner_join(fragments::table)
        .filter(packages::repository_id.eq(repository))
        .filter(fragments::kind.eq(kind))
        .select((packages::name, versions::version, versions::published, fragments::bytes, versions::id));
    let mut rows: Vec<(String, String, i64, Vec<u8>, i64)> = at_view!(query, versions, at, |query| query.load(connection)?);
    // Sorted here: the database would carry every fragment through its sorter.
    rows.sort_unstable_by(|one, other| (&one.0, one.4).cmp(&(&other.0, other.4)));
    let modified = rows.iter().map(|(_, _, published, ..)| Timestamp(*published)).max();
    let versions = rows.into_iter().map(|(package, version, published, bytes, _)| VersionRecord {
        version: listed(&package, &version),
        published: Some(Timestamp(published)),
        bytes: bytes.into(),
    });
    Ok(Records { package: ALL_PACKAGES.to_owned(), versions: versions.collect(), modified, ..Records::default() })
}

/// The names of all packages that are, or ever were.
pub(crate) fn known_packages(connection: &mut Conn, repository: i64) -> QueryResult<Vec<String>> {
    Ok(packages::table.filter(packages::repository_id.eq(repository)).select(packages::name).load(connection)?)
}

/// The number of a live package.
pub(super) fn find_living(connection: &mut Conn, repository: i64, name: &str) -> QueryResult<Option<i64>> {
    let query = packages::table
        .inner_join(package_documents::table)
        .filter(packages::repository_id.eq(repository))
        .filter(packages::name.eq(name))
        .filter(package_documents::died.is_null())
        .select(packages::id);
    Ok(query.first(connection).optional()?)
}
