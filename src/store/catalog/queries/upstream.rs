//! What upstreams said.

use diesel::prelude::*;
use entrepot_kit::Timestamp;

use super::Conn;
use crate::store::catalog::failure::{QueryError, QueryResult};
use crate::store::catalog::schema::upstream_state;
use crate::store::model::UpstreamState;

use super::commit::MAX_NAME;

pub(super) type StateColumns = (upstream_state::url, upstream_state::etag, upstream_state::last_modified, upstream_state::checked, upstream_state::status);
pub(super) const STATE: StateColumns =
    (upstream_state::url, upstream_state::etag, upstream_state::last_modified, upstream_state::checked, upstream_state::status);
pub(super) type StateValues = (String, Option<String>, Option<String>, i64, i32);

pub(super) fn state(key: &str, (url, etag, last_modified, checked, status): StateValues) -> UpstreamState {
    UpstreamState { key: key.to_owned(), url, etag, last_modified, checked: Timestamp(checked), status }
}

/// What the upstream said of a path.
pub(crate) fn get(connection: &mut Conn, repository: i64, key: &str) -> QueryResult<Option<UpstreamState>> {
    let values: Option<StateValues> = upstream_state::table.find((repository, key)).select(STATE).first(connection).optional()?;
    Ok(values.map(|values| state(key, values)))
}

/// Remembers what the upstream said of a path.
pub(crate) fn put(connection: &mut Conn, repository: i64, state: &UpstreamState) -> QueryResult<()> {
    if state.key.len() > MAX_NAME {
        return Err(QueryError::conflict(format!("the path is longer than the {MAX_NAME} bytes that are kept")));
    }
    // Only an open repository: one that is being removed gets no new rows.
    super::repositories::head(connection, repository)?;
    let values = (
        upstream_state::url.eq(&state.url),
        upstream_state::etag.eq(&state.etag),
        upstream_state::last_modified.eq(&state.last_modified),
        upstream_state::checked.eq(state.checked.0),
        upstream_state::status.eq(state.status),
    );
    diesel::insert_into(upstream_state::table)
        .values((upstream_state::repository_id.eq(repository), upstream_state::key.eq(&state.key), values))
        .on_conflict((upstream_state::repository_id, upstream_state::key))
        .do_update()
        .set(values)
        .execute(connection)?;
    Ok(())
}
