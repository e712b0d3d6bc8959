//! Revisions: one change, checked and applied inside one transaction.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use entrepot_kit::{Death, Precondition, Sha256Digest, Timestamp};

use super::prepared::Prepared;
use super::{Conn, birth, entries as paths, packages as names, repositories, restore, search};
use crate::store::catalog::convert::{from_column, sha256};
use crate::store::catalog::failure::{QueryError, QueryResult};
use crate::store::catalog::schema::{blobs, entries, package_changes, package_documents, packages, revisions, versions};
use crate::store::model::{Commit, NewRow};

/// Longest path or name, in bytes: what an index of either database takes.
pub(super) const MAX_NAME: usize = 2000;

/// A change while it is being applied.
pub(super) struct Change<'a> {
    pub(super) connection: &'a mut Conn,
    pub(super) repository: i64,
    pub(super) revision: i64,
    pub(super) time: i64,
    /// Packages that it touches, by name.
    touched: BTreeSet<String>,
    /// Packages that live in it because it wrote their documents, by name.
    pub(super) begun: BTreeMap<String, Begun>,
}

/// A package whose document was written by this change.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    /// Its number.
    pub(super) id: i64,
    /// Whether there was no package of that name, ever.
    pub(super) new: bool,
}

/// Applies a change and returns its revision.
pub(crate) fn commit(connection: &mut Conn, commit: &Commit) -> QueryResult<u64> {
    commit.births.iter().try_for_each(check_lengths)?;
    let (head, head_time) = repositories::lock_head(connection, commit.repository)?;
    let (revision, time) = (head + 1, commit.now.0.max(head_time + 1));
    let mut change = Change { connection, repository: commit.repository, revision, time, touched: BTreeSet::new(), begun: BTreeMap::new() };
    for precondition in &commit.preconditions {
        change.check(precondition)?;
    }
    // A blob is looked up by the path that leads to it before the change, which may end that path.
    let blobs = change.resolve_blobs(&commit.births)?;
    for death in &commit.deaths {
        change.end(death)?;
    }
    for (birth, blob) in commit.births.iter().zip(&blobs) {
        change.begin(birth, blob.as_deref())?;
    }
    change.mark_packages()?;
    diesel::insert_into(revisions::table)
        .values((
            revisions::repository_id.eq(commit.repository),
            revisions::number.eq(revision),
            revisions::time.eq(time),
            revisions::principal.eq(&commit.principal),
            revisions::action.eq(&commit.action),
            revisions::subject.eq(&commit.subject),
            revisions::request_id.eq(&commit.request_id),
        ))
        .execute(connection)?;
    repositories::set_head(connection, commit.repository, revision, time)?;
    Ok(from_column(revision))
}

fn check_lengths(birth: &NewRow) -> QueryResult<()> {
    let (first, second, third) = match birth {
        NewRow::Package { package, .. } | NewRow::RestoredPackage { package } => (package, None, None),
        NewRow::Version { package, version, .. } | NewRow::RestoredVersion { package, version } => (package, Some(version), None),
        NewRow::Entry { path, package, version, .. } => (path, package.as_ref(), version.as_ref()),
        NewRow::RestoredEntry { path } | NewRow::EntryAgain { path } => (path, None, None),
    };
    let names = second.map_or(0, String::len) + third.map_or(0, String::len);
    if first.len() > MAX_NAME || names > MAX_NAME {
        return Err(QueryError::conflict(format!("a path or name is longer than the {MAX_NAME} bytes that are kept")));
    }
    Ok(())
}

impl Change<'_> {
    /// Notes that a package is changed by this revision.
    pub(super) fn touch(&mut self, package: &str) {
        if !self.touched.contains(package) {
            self.touched.insert(package.to_owned());
        }
    }

    fn check(&mut self, precondition: &Precondition) -> QueryResult<()> {
        match precondition {
            Precondition::PackageAt { package, revision } => {
                let changed = names::package_changed(self.connection, self.repository, package, None)?.unwrap_or(0);
                if changed != *revision {
                    return Err(QueryError::conflict(format!("the package {package:?} was changed by somebody else meanwhile")));
                }
            }
            Precondition::VersionNew { package, version } => {
                if names::version(self.connection, self.repository, package, version)?.is_some() {
                    return Err(QueryError::conflict(format!("the version {version:?} of {package:?} exists, or existed: its name stays taken")));
                }
            }
            Precondition::VersionLive { package, version } => {
                if !names::version(self.connection, self.repository, package, version)?.is_some_and(|state| state.live) {
                    return Err(QueryError::conflict(format!("the version {version:?} of {package:?} is gone")));
                }
            }
            Precondition::EntryAbsent(path) => {
                if paths::living(self.connection, self.repository, path)?.is_some() {
                    return Err(QueryError::conflict(format!("there is a file at {path:?} already")));
                }
            }
            Precondition::EntryIs { path, digest } => {
                let living = paths::living(self.connection, self.repository, path)?;
                let actual = living.map(|living| sha256(&living.blob)).transpose()?;
                if actual != Some(*digest) {
                    return Err(QueryError::conflict(format!("the file at {path:?} was changed by somebody else meanwhile")));
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, death: &Death) -> QueryResult<()> {
        match death {
            Death::Package(package) => self.end_package(package),
            Death::Version { package, version } => self.end_version(package, version),
            Death::Entry(path) => {
                if let Some(living) = paths::living(self.connection, self.repository, path)? {
                    paths::end(self.connection, living.id, self.revision)?;
                    if let Some(package) = living.package {
                        self.touch(&package);
                    }
                }
                Ok(())
            }
            Death::Blob { package, folder, digest } => self.end_blob(package, folder, *digest),
            Death::Folder(prefix) => self.end_folder(prefix),
        }
    }

    fn end_package(&mut self, package: &str) -> QueryResult<()> {
        if let Some(id) = names::identity(self.connection, self.repository, package)? {
            let documents = package_documents::table.filter(package_documents::package_id.eq(id)).filter(package_documents::died.is_null());
            let ended = diesel::update(documents).set(package_documents::died.eq(self.revision)).execute(self.connection)?;
            if ended > 0 {
                search::remove_terms(self.connection, id)?;
                self.touch(package);
            }
            let live = versions::table.filter(versions::package_id.eq(id)).filter(versions::died.is_null());
            diesel::update(live).set(versions::died.eq(self.revision)).execute(self.connection)?;
        }
        let live = entries::table.filter(entries::repository_id.eq(self.repository)).filter(entries::package.eq(package)).filter(entries::died.is_null());
        let ended = diesel::update(live).set(entries::died.eq(self.revision)).execute(self.connection)?;
        if ended > 0 {
            self.touch(package);
        }
        Ok(())
    }

    fn end_version(&mut self, package: &str, version: &str) -> QueryResult<()> {
        let mut ended = 0;
        if let Some(id) = names::identity(self.connection, self.repository, package)? {
            let live = versions::table.filter(versions::package_id.eq(id)).filter(versions::version.eq(version)).filter(versions::died.is_null());
            ended += diesel::update(live).set(versions::died.eq(self.revision)).execute(self.connection)?;
        }
        let live = entries::table
            .filter(entries::repository_id.eq(self.repository))
            .filter(entries::package.eq(package))
            .filter(entries::version.eq(version))
            .filter(entries::died.is_null());
        ended += diesel::update(live).set(entries::died.eq(self.revision)).execute(self.connection)?;
        if ended > 0 {
            self.touch(package);
        }
        Ok(())
    }

    fn end_blob(&mut self, package: &str, folder: &str, digest: Sha256Digest) -> QueryResult<()> {
        let living = entries::table
            .filter(entries::blob.eq(digest.as_bytes().as_slice()))
            .filter(entries::repository_id.eq(self.repository))
            .filter(entries::package.eq(package))
            .filter(entries::path.gt(folder.to_owned()))
            .filter(entries::path.lt(paths::behind_folder(folder)))
            .filter(entries::died.is_null());
        let rows: Vec<(i64, Option<String>)> = living.select((entries::id, entries::version)).load(self.connection)?;
        for (id, version) in rows {
            paths::end(self.connection, id, self.revision)?;
            if let Some(version) = version {
                self.end_version(package, &version)?;
            }
            self.touch(package);
        }
        Ok(())
    }

    fn end_folder(&mut self, prefix: &str) -> QueryResult<()> {
        let Some(folder) = prefix.strip_suffix('/').filter(|folder| !folder.is_empty()) else {
            return Err(QueryError::conflict(format!("{prefix:?} is not the path of a folder")));
        };
        let below = || {
            entries::table
                .filter(entries::repository_id.eq(self.repository))
                .filter(entries::path.gt(prefix.to_owned()))
                .filter(entries::path.lt(format!("{folder}0")))
                .filter(entries::died.is_null())
        };
        let packages: Vec<Option<String>> = below().filter(entries::package.is_not_null()).select(entries::package).distinct().load(self.connection)?;
        diesel::update(below()).set(entries::died.eq(self.revision)).execute(self.connection)?;
        for package in packages.into_iter().flatten() {
            self.touch(&package);
        }
        Ok(())
    }

    fn begin(&mut self, birth: &NewRow, blob: Option<&[u8]>) -> QueryResult<()> {
        match birth {
            NewRow::Package { package, document, terms } => self.begin_package(package, document, terms),
            NewRow::Version { package, version, document, fragments } => self.begin_version(package, version, document, fragments),
            NewRow::Entry { path, package, version, content_type, data, .. } => {
                let blob = blob.ok_or_else(|| QueryError::damaged("change", "an entry without a blob"))?;
                let new = birth::NewEntry { path, package: package.as_deref(), version: version.as_deref(), blob, content_type: content_type.as_deref(), data };
                self.begin_entry(&new)
            }
            NewRow::RestoredPackage { package } => restore::package(self, package),
            NewRow::RestoredVersion { package, version } => restore::version(self, package, version),
            NewRow::RestoredEntry { path } => restore::entry(self, path),
            NewRow::EntryAgain { path } => restore::again(self, path),
        }
    }

    /// Writes this revision into every package that it touched. A proxy's files may name packages that have no row.
    fn mark_packages(&mut self) -> QueryResult<()> {
        for package in std::mem::take(&mut self.touched) {
            let begun = self.begun.get(&package).copied();
            let id = match begun {
                Some(begun) => Some(begun.id),
                None => names::identity(self.connection, self.repository, &package)?,
            };
            let Some(id) = id else { continue };
            // A new one has them from its insertion.
            if !begun.is_some_and(|begun| begun.new) {
                let marks = (packages::changed.eq(self.revision), packages::modified.eq(self.time));
                let update = diesel::update(packages::table.find(id)).set(marks);
                Prepared(update.returning(packages::id)).get_result::<i64>(self.connection)?;
            }
            diesel::insert_into(package_changes::table)
                .values((package_changes::package_id.eq(id), package_changes::revision.eq(self.revision), package_changes::time.eq(self.time)))
                .execute(self.connection)?;
        }
        Ok(())
    }
}

/// Keeps an immutable file of an upstream: no revision. What lives at the path wins.
pub(crate) fn keep(connection: &mut Conn, repository: i64, row: &NewRow, now: Timestamp) -> QueryResult<()> {
    let NewRow::Entry { path, package, version, content_type, data, .. } = row else {
        return Err(QueryError::conflict("only files are kept without a revision"));
    };
    check_lengths(row)?;
    repositories::head(connection, repository)?;
    let born = match paths::living(connection, repository, path)? {
        Some(living) => return mend_kept(connection, repository, row, now, &living),
        // A file that was deleted and fetched again is seen from that deletion on.
        None => paths::last_death(connection, repository, path)?.unwrap_or(0),
    };
    let mut change = Change { connection, repository, revision: born, time: now.0, touched: BTreeSet::new(), begun: BTreeMap::new() };
    let blobs = change.resolve_blobs(std::slice::from_ref(row))?;
    let blob = blobs.first().and_then(Option::as_deref).ok_or_else(|| QueryError::damaged("change", "an entry without a blob"))?;
    let new = birth::NewEntry { path, package: package.as_deref(), version: version.as_deref(), blob, content_type: content_type.as_deref(), data };
    birth::insert_entry(connection, repository, &new, now.0, born, birth::Existing::Wins)
}

/// What lives at the path of a kept file stays, unless its bytes are lost: then it is what was fetched now.
fn mend_kept(connection: &mut Conn, repository: i64, row: &NewRow, now: Timestamp, living: &paths::Living) -> QueryResult<()> {
    let damaged: bool = blobs::table.find(&living.blob).select(blobs::damaged.is_not_null()).first(connection)?;
    if !damaged {
        return Ok(());
    }
    let mut change = Change { connection, repository, revision: living.born, time: now.0, touched: BTreeSet::new(), begun: BTreeMap::new() };
    let fetched = change.resolve_blobs(std::slice::from_ref(row))?;
    if let Some(Some(blob)) = fetched.first()
        && *blob != living.blob
    {
        diesel::update(entries::table.find(living.id)).set(entries::blob.eq(blob)).execute(connection)?;
    }
    Ok(())
}
