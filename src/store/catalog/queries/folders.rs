//! Folders with an index: when what lies below one was changed, and the fragments of what does.

use bytes::Bytes;
use diesel::dsl::{count_star, max};
use diesel::prelude::*;
use entrepot_kit::{FolderState, Piece, Pieces, Timestamp};

use super::Conn;
use super::entries::behind_folder;
use crate::store::catalog::convert::{from_column, limit_column, prefix_end, to_column};
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::{entries, fragments, packages, revisions, versions};

/// Most fragments that are read at once.
const MOST: usize = 1000;

/// What follows everything below a folder, also where that is the root.
fn end_of(folder: &str) -> String {
    if folder.is_empty() { prefix_end("") } else { behind_folder(folder) }
}

/// When something below a folder began or ended last (not before `horizon`: of what was before, nothing is remembered), and how many files
/// of versions lived then. `None` when nothing ever was there.
pub(crate) fn state(connection: &mut Conn, repository: i64, folder: &str, horizon: u64, at: Option<u64>) -> QueryResult<Option<FolderState>> {
    let at = at.map_or(i64::MAX, to_column);
    let below = || entries::table.filter(entries::repository_id.eq(repository)).filter(entries::path.gt(folder)).filter(entries::path.lt(end_of(folder)));
    let born: Option<i64> = below().filter(entries::born.le(at)).select(max(entries::born)).first(connection)?;
    let died: Option<i64> = below().filter(entries::died.le(at)).select(max(entries::died)).first(connection)?;
    let Some(changed) = born.max(died) else { return Ok(None) };
    let changed = changed.max(to_column(horizon));
    // From here on at that revision: what is committed meanwhile carries a later one.
    let files: i64 = below()
        .filter(entries::version.is_not_null())
        .filter(entries::born.le(changed))
        .filter(entries::died.is_null().or(entries::died.gt(changed)))
        .select(count_star())
        .first(connection)?;
    let time: Option<i64> = revisions::table
        .filter(revisions::repository_id.eq(repository))
        .filter(revisions::number.le(changed))
        .order(revisions::number.desc())
        .select(revisions::time)
        .first(connection)
        .optional()?;
    Ok(Some(FolderState { revision: from_column(changed), time: Timestamp(time.unwrap_or(0)), files: from_column(files) }))
}

/// Fragments of the versions whose files lie below a folder at a revision, in the order of the paths.
pub(crate) fn pieces(connection: &mut Conn, repository: i64, pieces: &Pieces, at: u64) -> QueryResult<Vec<Piece>> {
    let at = to_column(at);
    let from = pieces.after.as_deref().filter(|after| *after > pieces.folder.as_str()).unwrap_or(&pieces.folder);
    let rows: Vec<(String, String, Vec<u8>)> = entries::table
        .inner_join(packages::table.on(packages::repository_id.eq(entries::repository_id).and(entries::package.eq(packages::name.nullable()))))
        .inner_join(versions::table.on(versions::package_id.eq(packages::id).and(entries::version.eq(versions::version.nullable()))))
        .inner_join(fragments::table.on(fragments::version_id.eq(versions::id).and(fragments::kind.eq(pieces.kind))))
        .filter(entries::repository_id.eq(repository))
        .filter(entries::path.gt(from))
        .filter(entries::path.lt(end_of(&pieces.folder)))
        .filter(entries::born.le(at))
        .filter(entries::died.is_null().or(entries::died.gt(at)))
        .filter(versions::born.le(at))
        .filter(versions::died.is_null().or(versions::died.gt(at)))
        .order(entries::path)
        .limit(limit_column(pieces.limit, MOST))
        .select((entries::path, packages::name, fragments::bytes))
        .load(connection)?;
    Ok(rows.into_iter().map(|(path, package, bytes)| Piece { path, package, bytes: Bytes::from(bytes) }).collect())
}
