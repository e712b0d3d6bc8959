//! The audit log, and the signing keys.

use diesel::prelude::*;
use entrepot_kit::Timestamp;

use super::repositories::bump_epoch;
use super::{Backend, Conn, for_change};
use crate::store::catalog::convert::limit_column;
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::{audit, keys, meta};
use crate::store::model::{AuditFilter, AuditRow, KeyRow};

/// Most lines of one page.
const MOST: usize = 10_000;

/// Adds lines to the audit log.
pub(crate) fn add_audit(connection: &mut Conn, rows: &[AuditRow]) -> QueryResult<()> {
    for row in rows {
        diesel::insert_into(audit::table)
            .values((
                audit::time.eq(row.time.0),
                audit::principal.eq(&row.principal),
                audit::action.eq(&row.action),
                audit::resource.eq(&row.resource),
                audit::outcome.eq(&row.outcome),
                audit::detail.eq(&row.detail),
                audit::request_id.eq(&row.request_id),
                audit::remote.eq(&row.remote),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// Lines of the audit log with their numbers, newest first.
pub(crate) fn audit_log(connection: &mut Conn, filter: &AuditFilter) -> QueryResult<Vec<(i64, AuditRow)>> {
    type Values = (i64, i64, String, String, String, String, String, String, String);
    // No line has a NUL, and PostgreSQL takes none in a text.
    if [&filter.principal, &filter.resource].into_iter().flatten().any(|text| text.contains('\0')) {
        return Ok(Vec::new());
    }
    let mut query = audit::table
        .filter(audit::id.lt(filter.before.unwrap_or(i64::MAX)))
        .order(audit::id.desc())
        .limit(limit_column(filter.limit, MOST))
        .select((audit::id, audit::time, audit::principal, audit::action, audit::resource, audit::outcome, audit::detail, audit::request_id, audit::remote))
        .into_boxed::<Backend>();
    if let Some(principal) = &filter.principal {
        query = query.filter(audit::principal.eq(principal));
    }
    if let Some(resource) = &filter.resource {
        query = query.filter(audit::resource.eq(resource));
    }
    let row = |(id, time, principal, action, resource, outcome, detail, request_id, remote): Values| {
        (id, AuditRow { time: Timestamp(time), principal, action, resource, outcome, detail, request_id, remote })
    };
    Ok(query.load(connection)?.into_iter().map(row).collect())
}

type KeyColumns = (keys::id, keys::purpose, keys::public, keys::sealed, keys::created, keys::expires);
const KEY: KeyColumns = (keys::id, keys::purpose, keys::public, keys::sealed, keys::created, keys::expires);
type KeyValues = (String, String, Vec<u8>, Vec<u8>, i64, Option<i64>);

fn key_row((id, purpose, public, sealed, created, expires): KeyValues) -> KeyRow {
    KeyRow { id, purpose, public, sealed, created: Timestamp(created), expires: expires.map(Timestamp) }
}

/// The keys of a purpose, newest first.
pub(crate) fn keys(connection: &mut Conn, purpose: &str) -> QueryResult<Vec<KeyRow>> {
    let rows = keys::table.filter(keys::purpose.eq(purpose)).order((keys::created.desc(), keys::id)).select(KEY).load(connection)?;
    Ok(rows.into_iter().map(key_row).collect())
}

/// Stores a key, unless its purpose has one that has not expired when the new one was made; gives back the one that is valid.
pub(crate) fn put_key(connection: &mut Conn, row: &KeyRow) -> QueryResult<KeyRow> {
    // Two replicas that make the first key at the same time take turns at this row.
    let _: i64 = for_change!(meta::table.find("epoch").select(meta::value)).first(connection)?;
    let valid = keys(connection, &row.purpose)?.into_iter().find(|key| key.expires.is_none_or(|expires| expires > row.created));
    if let Some(valid) = valid {
        return Ok(valid);
    }
    insert_key(connection, row)?;
    Ok(row.clone())
}

/// Stores a key that signs from now on, and lets the others of its purpose sign until a time. What holds keys in memory reads them again.
pub(crate) fn rotate_key(connection: &mut Conn, row: &KeyRow, others_until: Timestamp) -> QueryResult<()> {
    bump_epoch(connection)?;
    let others = keys::table.filter(keys::purpose.eq(&row.purpose)).filter(keys::expires.is_null().or(keys::expires.gt(others_until.0)));
    diesel::update(others).set(keys::expires.eq(others_until.0)).execute(connection)?;
    insert_key(connection, row)
}

fn insert_key(connection: &mut Conn, row: &KeyRow) -> QueryResult<()> {
    diesel::insert_into(keys::table)
        .values((
            keys::id.eq(&row.id),
            keys::purpose.eq(&row.purpose),
            keys::public.eq(&row.public),
            keys::sealed.eq(&row.sealed),
            keys::created.eq(row.created.0),
            keys::expires.eq(row.expires.map(|time| time.0)),
        ))
        .execute(connection)?;
    Ok(())
}
