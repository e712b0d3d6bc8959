//! Uploads in several requests, each of which may reach another replica.

use bytes::Bytes;
use diesel::dsl::count_star;
use diesel::prelude::*;
use entrepot_kit::Timestamp;

use super::{Conn, for_change};
use crate::store::catalog::convert::{from_column, limit_column, to_column};
use crate::store::catalog::failure::{QueryError, QueryResult};
use crate::store::catalog::schema::{repositories, uploads};
use crate::store::model::UploadRow;

type Columns = (
    uploads::id,
    uploads::repository_id,
    uploads::principal,
    uploads::touched,
    uploads::step,
    uploads::size,
    uploads::open,
    uploads::location,
    uploads::hashes,
    uploads::state,
    uploads::tail,
);
const UPLOAD: Columns = (
    uploads::id,
    uploads::repository_id,
    uploads::principal,
    uploads::touched,
    uploads::step,
    uploads::size,
    uploads::open,
    uploads::location,
    uploads::hashes,
    uploads::state,
    uploads::tail,
);
type Values = (String, i64, String, i64, i64, i64, bool, Option<String>, Vec<u8>, String, Vec<u8>);

fn row((id, repository, principal, touched, step, size, open, location, hashes, state, tail): Values) -> UploadRow {
    let (touched, size, tail) = (Timestamp(touched), from_column(size), Bytes::from(tail));
    UploadRow { id, repository, principal, touched, step, size, open, location, hashes, state, tail }
}

/// Begins an upload; `false` when its principal has `most` that are open in the repository.
pub(crate) fn begin(connection: &mut Conn, new: &UploadRow, most: i64) -> QueryResult<bool> {
    // Locked, so that the repository cannot be purged meanwhile.
    let repository = repositories::table.find(new.repository).filter(repositories::deleted.is_null()).select(repositories::id);
    let found: Option<i64> = for_change!(repository).first(connection).optional()?;
    found.ok_or_else(|| QueryError::not_found("the repository is gone"))?;
    let mine = uploads::table.filter(uploads::repository_id.eq(new.repository)).filter(uploads::principal.eq(&new.principal)).filter(uploads::open.eq(true));
    let unfinished: i64 = mine.select(count_star()).first(connection)?;
    if unfinished >= most {
        return Ok(false);
    }
    diesel::insert_into(uploads::table)
        .values((
            uploads::id.eq(&new.id),
            uploads::repository_id.eq(new.repository),
            uploads::principal.eq(&new.principal),
            uploads::touched.eq(new.touched.0),
            uploads::step.eq(new.step),
            uploads::size.eq(to_column(new.size)),
            uploads::parts.eq(0),
            uploads::open.eq(new.open),
            uploads::location.eq(&new.location),
            uploads::hashes.eq(&new.hashes),
            uploads::state.eq(&new.state),
            uploads::tail.eq(new.tail.as_ref()),
        ))
        .execute(connection)?;
    Ok(true)
}

/// The upload of an id.
pub(crate) fn find(connection: &mut Conn, id: &str) -> QueryResult<Option<UploadRow>> {
    Ok(uploads::table.find(id).select(UPLOAD).first(connection).optional()?.map(row))
}

/// A number for the next part, that no other part of the upload has; `None` when the upload is gone.
pub(crate) fn next_part(connection: &mut Conn, id: &str) -> QueryResult<Option<i64>> {
    let query = diesel::update(uploads::table.find(id)).set(uploads::parts.eq(uploads::parts + 1)).returning(uploads::parts);
    Ok(query.get_result(connection).optional()?)
}

/// Writes the new state of an upload, unless somebody else did since `row` was read. `row.step` is the step that was read.
pub(crate) fn advance(connection: &mut Conn, row: &UploadRow) -> QueryResult<bool> {
    let unchanged = uploads::table.find(&row.id).filter(uploads::step.eq(row.step));
    let changed = diesel::update(unchanged)
        .set((
            uploads::touched.eq(row.touched.0),
            uploads::step.eq(row.step + 1),
            uploads::size.eq(to_column(row.size)),
            uploads::open.eq(row.open),
            uploads::location.eq(&row.location),
            uploads::hashes.eq(&row.hashes),
            uploads::state.eq(&row.state),
            uploads::tail.eq(row.tail.as_ref()),
        ))
        .execute(connection)?;
    Ok(changed > 0)
}

/// Forgets an upload, unless somebody changed it since `step` was read.
pub(crate) fn remove(connection: &mut Conn, id: &str, step: i64) -> QueryResult<bool> {
    Ok(diesel::delete(uploads::table.find(id).filter(uploads::step.eq(step))).execute(connection)? > 0)
}

/// Some uploads that nobody touched since a time.
pub(crate) fn untouched_since(connection: &mut Conn, time: Timestamp, limit: usize) -> QueryResult<Vec<UploadRow>> {
    let query = uploads::table.filter(uploads::touched.le(time.0)).order(uploads::touched).limit(limit_column(limit, 1000)).select(UPLOAD);
    Ok(query.load(connection)?.into_iter().map(row).collect())
}
