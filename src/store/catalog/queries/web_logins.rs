//! Sign-ins through a browser that a command-line client waits for.

use diesel::dsl::count_star;
use diesel::prelude::*;
use entrepot_kit::Timestamp;

use super::Conn;
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::web_logins;
use crate::store::model::{NewWebLogin, WebLoginStanding};

/// Begins a sign-in; `false` when too many wait in all, or from its network. What is over makes place first.
pub(crate) fn start(connection: &mut Conn, new: &NewWebLogin, now: Timestamp, most: i64, most_of_network: i64) -> QueryResult<bool> {
    diesel::delete(web_logins::table.filter(web_logins::ends.le(now.0))).execute(connection)?;
    let all: i64 = web_logins::table.select(count_star()).first(connection)?;
    let of_network: i64 = web_logins::table.filter(web_logins::network.eq(&new.network)).select(count_star()).first(connection)?;
    if all >= most || (!new.network.is_empty() && of_network >= most_of_network) {
        return Ok(false);
    }
    diesel::insert_into(web_logins::table)
        .values((
            web_logins::poll_hash.eq(&new.poll_hash),
            web_logins::page.eq(&new.page),
            web_logins::network.eq(&new.network),
            web_logins::ends.eq(new.ends.0),
        ))
        .execute(connection)?;
    Ok(true)
}

/// Whether a page still waits for somebody.
pub(crate) fn waits(connection: &mut Conn, page: &str, now: Timestamp) -> QueryResult<bool> {
    let waiting = web_logins::table.filter(web_logins::page.eq(page)).filter(web_logins::ends.gt(now.0)).filter(web_logins::principal_id.is_null());
    let found: Option<i64> = waiting.select(web_logins::ends).first(connection).optional()?;
    Ok(found.is_some())
}

/// Notes who signed in, once; `false` when nobody waits any more.
pub(crate) fn complete(connection: &mut Conn, page: &str, principal: i64, token: Option<&str>, now: Timestamp) -> QueryResult<bool> {
    let waiting = web_logins::table.filter(web_logins::page.eq(page)).filter(web_logins::ends.gt(now.0)).filter(web_logins::principal_id.is_null());
    Ok(diesel::update(waiting).set((web_logins::principal_id.eq(principal), web_logins::token_id.eq(token))).execute(connection)? > 0)
}

/// How a sign-in stands.
pub(crate) fn standing(connection: &mut Conn, poll_hash: &[u8], now: Timestamp) -> QueryResult<WebLoginStanding> {
    let row: Option<(Option<i64>, Option<String>)> = web_logins::table
        .find(poll_hash)
        .filter(web_logins::ends.gt(now.0))
        .select((web_logins::principal_id, web_logins::token_id))
        .first(connection)
        .optional()?;
    Ok(match row {
        None => WebLoginStanding::Gone,
        Some((None, _)) => WebLoginStanding::Waiting,
        Some((Some(principal), token)) => WebLoginStanding::Done { principal, token },
    })
}

/// Ends a sign-in; `false` when somebody else did.
pub(crate) fn end(connection: &mut Conn, poll_hash: &[u8]) -> QueryResult<bool> {
    Ok(diesel::delete(web_logins::table.find(poll_hash)).execute(connection)? > 0)
}
