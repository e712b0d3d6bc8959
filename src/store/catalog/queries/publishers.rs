//! Publishers: what identity tokens of an issuer are worth, and which of these were exchanged.

use diesel::dsl::count_star;
use diesel::prelude::*;
use entrepot_kit::accounts::Tags;
use entrepot_kit::{PrincipalKind, Timestamp};

use super::Conn;
use super::accounts::{create_principal, delete_principal, insert_token};
use super::repositories::bump_epoch;
use crate::store::catalog::convert::{from_json, to_json};
use crate::store::catalog::failure::{QueryError, QueryResult};
use crate::store::catalog::schema::{identity_tokens, principals, publishers, tokens};
use crate::store::model::{PublisherRow, TokenRow};

type PublisherColumns = (publishers::principal_id, principals::name, publishers::issuer, publishers::settings, publishers::declared, principals::created);
const PUBLISHER: PublisherColumns =
    (publishers::principal_id, principals::name, publishers::issuer, publishers::settings, publishers::declared, principals::created);
type PublisherValues = (i64, String, String, String, bool, i64);

fn publisher_row((principal, name, issuer, settings, declared, created): PublisherValues) -> QueryResult<PublisherRow> {
    Ok(PublisherRow { principal, name, issuer, settings: from_json("settings of a publisher", &settings)?, declared, created: Timestamp(created) })
}

/// Every publisher, by name.
pub(crate) fn list(connection: &mut Conn) -> QueryResult<Vec<PublisherRow>> {
    let rows = publishers::table.inner_join(principals::table).select(PUBLISHER).order(principals::name).load(connection)?;
    rows.into_iter().map(publisher_row).collect()
}

/// The publishers for identity tokens of an issuer, by name.
pub(crate) fn of_issuer(connection: &mut Conn, issuer: &str) -> QueryResult<Vec<PublisherRow>> {
    let own = publishers::table.inner_join(principals::table).filter(publishers::issuer.eq(issuer)).filter(principals::disabled.eq(false));
    let rows = own.select(PUBLISHER).order(principals::name).load(connection)?;
    rows.into_iter().map(publisher_row).collect()
}

/// Makes a publisher and its workload; `Conflict` when the name is taken or there are `most` already.
pub(crate) fn create(connection: &mut Conn, new: &PublisherRow, most: i64) -> QueryResult<PublisherRow> {
    let all: i64 = publishers::table.select(count_star()).first(connection)?;
    if all >= most {
        return Err(QueryError::conflict(format!("there are {most} publishers already: delete those that are not used")));
    }
    let workload = create_principal(connection, PrincipalKind::Workload, &new.name, &Tags::new(), None, new.created)?;
    diesel::insert_into(publishers::table)
        .values((
            publishers::principal_id.eq(workload.id),
            publishers::issuer.eq(&new.issuer),
            publishers::settings.eq(to_json(&new.settings)?),
            publishers::declared.eq(new.declared),
        ))
        .execute(connection)?;
    Ok(PublisherRow { principal: workload.id, ..new.clone() })
}

/// Deletes a publisher, its workload and the tokens of that; `false` when there is none of that number.
pub(crate) fn delete(connection: &mut Conn, principal: i64) -> QueryResult<bool> {
    if diesel::delete(publishers::table.find(principal)).execute(connection)? == 0 {
        return Ok(false);
    }
    delete_principal(connection, principal)?;
    Ok(true)
}

/// Notes whether the configuration file declares a publisher.
pub(crate) fn set_declared(connection: &mut Conn, principal: i64, declared: bool) -> QueryResult<()> {
    diesel::update(publishers::table.find(principal)).set(publishers::declared.eq(declared)).execute(connection)?;
    bump_epoch(connection)
}

/// Notes that an identity token was exchanged, and stores what it was exchanged for; `false` when it was exchanged before. What has
/// ended makes place first; `Conflict` when `most` tokens of the workload live already.
pub(crate) fn exchange(connection: &mut Conn, hash: &[u8], ends: Timestamp, row: &TokenRow, most: i64, now: Timestamp) -> QueryResult<bool> {
    diesel::delete(identity_tokens::table.filter(identity_tokens::ends.le(now.0))).execute(connection)?;
    let used = (identity_tokens::hash.eq(hash), identity_tokens::ends.eq(ends.0));
    if diesel::insert_into(identity_tokens::table).values(used).on_conflict_do_nothing().execute(connection)? == 0 {
        return Ok(false);
    }
    diesel::delete(tokens::table.filter(tokens::principal_id.eq(row.principal)).filter(tokens::expires.le(now.0))).execute(connection)?;
    let live: i64 = tokens::table.filter(tokens::principal_id.eq(row.principal)).filter(tokens::revoked.is_null()).select(count_star()).first(connection)?;
    if live >= most {
        return Err(QueryError::conflict(format!("{live} tokens of this publisher live already: wait until some have ended")));
    }
    insert_token(connection, row)?;
    Ok(true)
}
