//! What begins with a revision: packages, versions, entries and their blobs.

use diesel::prelude::*;
use entrepot_kit::{Algorithm, Digests, Fragment};

use super::commit::{Begun, Change};
use super::prepared::Prepared;
use super::{Conn, entries as paths, search, verify};
use crate::store::catalog::convert::{from_json, other_digests, to_column, to_json};
use crate::store::catalog::failure::{QueryError, QueryResult};
use crate::store::catalog::schema::{blobs, entries, fragments, package_documents, packages, versions};
use crate::store::model::{BlobFacts, CatalogError, NewBlob, NewRow};

/// An entry to be inserted.
pub(super) struct NewEntry<'a> {
    pub(super) path: &'a str,
    pub(super) package: Option<&'a str>,
    pub(super) version: Option<&'a str>,
    pub(super) blob: &'a [u8],
    pub(super) content_type: Option<&'a str>,
    pub(super) data: &'a str,
}

/// What happens when something lives at the path already.
#[derive(PartialEq, Eq)]
pub(super) enum Existing {
    /// It cannot be: it was ended before.
    Ended,
    /// It stays, and the new entry is dropped.
    Wins,
}

/// Inserts an entry.
pub(super) fn insert_entry(connection: &mut Conn, repository: i64, new: &NewEntry<'_>, created: i64, born: i64, existing: Existing) -> QueryResult<()> {
    let insert = diesel::insert_into(entries::table).values((
        entries::repository_id.eq(repository),
        entries::path.eq(new.path),
        entries::package.eq(new.package),
        entries::version.eq(new.version),
        entries::blob.eq(new.blob),
        entries::content_type.eq(new.content_type),
        entries::data.eq(new.data),
        entries::created.eq(created),
        entries::born.eq(born),
    ));
    match existing {
        Existing::Ended => insert.execute(connection)?,
        Existing::Wins => insert.on_conflict_do_nothing().execute(connection)?,
    };
    Ok(())
}

/// Makes a blob known, or adds to what is known of it. Afterwards the transaction holds its row: gc waits, and finds it in use.
fn insert_blob(connection: &mut Conn, facts: &BlobFacts, now: i64) -> QueryResult<()> {
    let key = facts.digest.as_bytes().as_slice();
    let digests = other_digests(&facts.digests);
    // Twice at most: a row that gc removes between the two statements makes place for ours.
    for _ in 0..3 {
        let inserted = diesel::insert_into(blobs::table)
            .values((
                blobs::digest.eq(key),
                blobs::size.eq(to_column(facts.size)),
                blobs::digests.eq(to_json(&digests)?),
                blobs::inline.eq(facts.inline.as_deref()),
                blobs::location.eq(&facts.location),
                blobs::created.eq(now),
                blobs::sha512.eq(digests.get(Algorithm::Sha512)),
            ))
            .on_conflict(blobs::digest)
            .do_nothing()
            .execute(connection)?;
        if inserted > 0 || (revive(connection, facts, Some(facts))? && add_digests(connection, key, &digests)?) {
            return Ok(());
        }
    }
    Err(QueryError::damaged("blob", "its row comes and goes"))
}

/// Keeps a known blob: it is not condemned any more, and mended when the same bytes were brought again. `false` when it is gone.
fn revive(connection: &mut Conn, facts: &BlobFacts, brought: Option<&BlobFacts>) -> QueryResult<bool> {
    let row = blobs::table.find(facts.digest.as_bytes().as_slice());
    let kept = diesel::update(row.filter(blobs::damaged.is_null())).set(blobs::condemned.eq(None::<i64>)).execute(connection)?;
    if kept > 0 {
        return Ok(true);
    }
    let Some(brought) = brought else { return Ok(false) };
    // Mended by somebody else meanwhile, or now; in both cases it is there, and this transaction holds its row.
    verify::mend(connection, brought)?;
    Ok(diesel::update(row).set(blobs::condemned.eq(None::<i64>)).execute(connection)? > 0)
}

/// Adds digests that were not known yet. `true`, for the sake of the caller.
fn add_digests(connection: &mut Conn, key: &[u8], digests: &Digests) -> QueryResult<bool> {
    if digests.is_empty() {
        return Ok(true);
    }
    let known: String = blobs::table.find(key).select(blobs::digests).first(connection)?;
    let mut known: Digests = from_json("digests of a blob", &known)?;
    let missing: Vec<_> = digests.algorithms().filter(|algorithm| known.get(*algorithm).is_none()).collect();
    if !missing.is_empty() {
        for algorithm in missing {
            known.insert(algorithm, digests.get(algorithm).unwrap_or_default().to_vec());
        }
        let sha512 = known.get(Algorithm::Sha512);
        diesel::update(blobs::table.find(key)).set((blobs::digests.eq(to_json(&known)?), blobs::sha512.eq(sha512))).execute(connection)?;
    }
    Ok(true)
}

impl Change<'_> {
    /// The blob of each birth that has one. Blobs are inserted in the order of their digests, so that two changes on
    /// PostgreSQL never wait for each other.
    pub(super) fn resolve_blobs(&mut self, births: &[NewRow]) -> QueryResult<Vec<Option<Vec<u8>>>> {
        let mut brought: Vec<(&BlobFacts, bool)> = Vec::new();
        let mut resolved = Vec::with_capacity(births.len());
        for birth in births {
            resolved.push(match birth {
                NewRow::Entry { blob: NewBlob::New(facts), .. } => {
                    brought.push((facts, true));
                    Some(facts.digest.as_bytes().to_vec())
                }
                NewRow::Entry { blob: NewBlob::Known(facts), .. } => {
                    brought.push((facts, false));
                    Some(facts.digest.as_bytes().to_vec())
                }
                NewRow::Entry { blob: NewBlob::Entry(path), .. } => {
                    let living = paths::living(self.connection, self.repository, path)?;
                    Some(living.ok_or_else(|| QueryError::conflict(format!("there is no file at {path:?} any more")))?.blob)
                }
                _ => None,
            });
        }
        brought.sort_by_key(|(facts, _)| facts.digest);
        for (facts, new) in brought {
            if new {
                insert_blob(self.connection, facts, self.time)?;
            } else if revive(self.connection, facts, None)? {
                add_digests(self.connection, facts.digest.as_bytes(), &other_digests(&facts.digests))?;
            } else {
                return Err(QueryError::Verdict(CatalogError::BlobGone(facts.digest)));
            }
        }
        Ok(resolved)
    }

    /// A package, made when its name is new.
    fn identify(&mut self, package: &str) -> QueryResult<Begun> {
        if let Some(begun) = self.begun.get(package) {
            return Ok(Begun { new: false, ..*begun });
        }
        if let Some(id) = super::packages::identity(self.connection, self.repository, package)? {
            return Ok(Begun { id, new: false });
        }
        let id = diesel::insert_into(packages::table)
            .values((
                packages::repository_id.eq(self.repository),
                packages::name.eq(package),
                packages::created.eq(self.time),
                packages::changed.eq(self.revision),
                packages::modified.eq(self.time),
                packages::ordinals.eq(0),
            ))
            .returning(packages::id)
            .get_result(self.connection)?;
        Ok(Begun { id, new: true })
    }

    pub(super) fn begin_package(&mut self, package: &str, document: &str, terms: &[String]) -> QueryResult<()> {
        let begun = self.identify(package)?;
        let id = begun.id;
        let kept = search::kept_terms(terms);
        let terms = to_json(&kept)?;
        if begun.new {
            search::insert_terms(self.connection, self.repository, id, &kept)?;
        } else if !self.replace_document(id, document, &terms, &kept)? {
            self.touch(package);
            return Ok(());
        }
        self.begun.entry(package.to_owned()).or_insert(begun);
        self.insert_document(id, document, &terms)?;
        self.touch(package);
        Ok(())
    }

    /// Makes place for a document of a known package; `false` when the living one says the same.
    fn replace_document(&mut self, id: i64, document: &str, terms: &str, kept: &[&str]) -> QueryResult<bool> {
        let live = package_documents::table.filter(package_documents::package_id.eq(id)).filter(package_documents::died.is_null());
        let columns = (package_documents::id, package_documents::born, package_documents::terms.eq(terms), package_documents::document.eq(document));
        let living: Option<(i64, i64, bool, bool)> = live.select(columns).first(self.connection).optional()?;
        let same_terms = living.is_some_and(|(_, _, same, _)| same);
        if !same_terms {
            search::replace_terms(self.connection, self.repository, id, kept)?;
        }
        match living {
            Some((.., same_document)) if same_terms && same_document => return Ok(false),
            Some((row, born, ..)) if born == self.revision => {
                diesel::delete(package_documents::table.find(row)).execute(self.connection)?;
            }
            Some((row, ..)) => {
                let update = diesel::update(package_documents::table.find(row)).set(package_documents::died.eq(self.revision));
                Prepared(update.returning(package_documents::id)).get_result::<i64>(self.connection)?;
            }
            None => {}
        }
        Ok(true)
    }

    pub(super) fn insert_document(&mut self, package: i64, document: &str, terms: &str) -> QueryResult<()> {
        diesel::insert_into(package_documents::table)
            .values((
                package_documents::package_id.eq(package),
                package_documents::document.eq(document),
                package_documents::terms.eq(terms),
                package_documents::born.eq(self.revision),
            ))
            .execute(self.connection)?;
        Ok(())
    }

    pub(super) fn begin_version(&mut self, package: &str, version: &str, document: &str, pieces: &[Fragment]) -> QueryResult<()> {
        let found = match self.begun.get(package) {
            Some(begun) => begun.id,
            None => super::packages::find_living(self.connection, self.repository, package)?
                .ok_or_else(|| QueryError::conflict(format!("there is no package {package:?} for the version {version:?}")))?,
        };
        let live = versions::table.filter(versions::package_id.eq(found)).filter(versions::version.eq(version)).filter(versions::died.is_null());
        let living: Option<(i64, i64, i64, i64)> =
            live.select((versions::id, versions::born, versions::published, versions::ordinal)).first(self.connection).optional()?;
        let (published, ordinal) = match living {
            Some((row, born, published, ordinal)) => {
                if born == self.revision {
                    diesel::delete(fragments::table.filter(fragments::version_id.eq(row))).execute(self.connection)?;
                    diesel::delete(versions::table.find(row)).execute(self.connection)?;
                } else {
                    diesel::update(versions::table.find(row)).set(versions::died.eq(self.revision)).execute(self.connection)?;
                }
                (published, ordinal)
            }
            None => (self.time, self.next_ordinal(found)?),
        };
        let row = self.insert_version(found, version, document, published, ordinal)?;
        for piece in pieces {
            diesel::insert_into(fragments::table)
                .values((fragments::version_id.eq(row), fragments::kind.eq(piece.kind), fragments::bytes.eq(piece.bytes.as_ref())))
                .execute(self.connection)?;
        }
        self.touch(package);
        Ok(())
    }

    fn next_ordinal(&mut self, package: i64) -> QueryResult<i64> {
        let count = diesel::update(packages::table.find(package)).set(packages::ordinals.eq(packages::ordinals + 1)).returning(packages::ordinals);
        Ok(Prepared(count).get_result(self.connection)?)
    }

    pub(super) fn insert_version(&mut self, package: i64, version: &str, document: &str, published: i64, ordinal: i64) -> QueryResult<i64> {
        let row = diesel::insert_into(versions::table)
            .values((
                versions::package_id.eq(package),
                versions::version.eq(version),
                versions::document.eq(document),
                versions::published.eq(published),
                versions::ordinal.eq(ordinal),
                versions::born.eq(self.revision),
            ))
            .returning(versions::id)
            .get_result(self.connection)?;
        Ok(row)
    }

    /// A path. The time of its publication is kept only as long as its bytes are: clients ask whether it changed since.
    pub(super) fn begin_entry(&mut self, new: &NewEntry<'_>) -> QueryResult<()> {
        let mut created = self.time;
        if let Some(living) = paths::living(self.connection, self.repository, new.path)? {
            if living.blob == new.blob {
                created = living.created;
            }
            if living.born == self.revision {
                diesel::delete(entries::table.find(living.id)).execute(self.connection)?;
            } else {
                paths::end(self.connection, living.id, self.revision)?;
            }
            if let Some(package) = &living.package {
                self.touch(package);
            }
        }
        insert_entry(self.connection, self.repository, new, created, self.revision, Existing::Ended)?;
        if let Some(package) = new.package {
            self.touch(package);
        }
        Ok(())
    }
}
