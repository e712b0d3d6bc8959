//! Principals, tokens and policies.

use diesel::prelude::*;
use entrepot_kit::accounts::Tags;
use entrepot_kit::{PrincipalKind, Timestamp};

use super::Conn;
use super::repositories::bump_epoch;
use crate::store::catalog::convert::{from_json, principal_kind, principal_kind_name, to_json};
use crate::store::catalog::failure::{QueryError, QueryResult, taken};
use crate::store::catalog::schema::{policies, principals, tokens};
use crate::store::model::{PolicyRow, PrincipalRow, TokenRow};

type PrincipalColumns =
    (principals::id, principals::kind, principals::name, principals::tags, principals::password_hash, principals::disabled, principals::created);
const PRINCIPAL: PrincipalColumns =
    (principals::id, principals::kind, principals::name, principals::tags, principals::password_hash, principals::disabled, principals::created);
type PrincipalValues = (i64, String, String, String, Option<String>, bool, i64);

fn principal_row((id, kind, name, tags, password_hash, disabled, created): PrincipalValues) -> QueryResult<PrincipalRow> {
    let (kind, tags) = (principal_kind(&kind)?, from_json("tags", &tags)?);
    Ok(PrincipalRow { id, kind, name, tags, password_hash, disabled, created: Timestamp(created) })
}

/// Every principal, by kind and name.
pub(crate) fn principals(connection: &mut Conn) -> QueryResult<Vec<PrincipalRow>> {
    let rows = principals::table.select(PRINCIPAL).order((principals::kind, principals::name)).load(connection)?;
    rows.into_iter().map(principal_row).collect()
}

/// The principal of a kind and name.
pub(crate) fn principal(connection: &mut Conn, kind: PrincipalKind, name: &str) -> QueryResult<Option<PrincipalRow>> {
    let query = principals::table.filter(principals::kind.eq(principal_kind_name(kind))).filter(principals::name.eq(name));
    query.select(PRINCIPAL).first(connection).optional()?.map(principal_row).transpose()
}

/// The principal of a number.
pub(crate) fn principal_by_id(connection: &mut Conn, id: i64) -> QueryResult<Option<PrincipalRow>> {
    principals::table.find(id).select(PRINCIPAL).first(connection).optional()?.map(principal_row).transpose()
}

/// Makes a principal.
pub(crate) fn create_principal(
    connection: &mut Conn,
    kind: PrincipalKind,
    name: &str,
    tags: &Tags,
    password_hash: Option<&str>,
    now: Timestamp,
) -> QueryResult<PrincipalRow> {
    let row = diesel::insert_into(principals::table)
        .values((
            principals::kind.eq(principal_kind_name(kind)),
            principals::name.eq(name),
            principals::tags.eq(to_json(tags)?),
            principals::password_hash.eq(password_hash),
            principals::disabled.eq(false),
            principals::created.eq(now.0),
        ))
        .returning(PRINCIPAL)
        .get_result(connection);
    let row = taken(row, || format!("there is a {} {name:?} already", principal_kind_name(kind)))?;
    bump_epoch(connection)?;
    principal_row(row)
}

fn no_principal() -> QueryError {
    QueryError::not_found("there is no such principal")
}

/// Writes a principal's tags, password and whether it may sign in.
pub(crate) fn update_principal(connection: &mut Conn, row: &PrincipalRow) -> QueryResult<()> {
    let changed = diesel::update(principals::table.find(row.id))
        .set((principals::tags.eq(to_json(&row.tags)?), principals::password_hash.eq(&row.password_hash), principals::disabled.eq(row.disabled)))
        .execute(connection)?;
    if changed == 0 {
        return Err(no_principal());
    }
    bump_epoch(connection)
}

/// Deletes a principal and its tokens.
pub(crate) fn delete_principal(connection: &mut Conn, id: i64) -> QueryResult<()> {
    diesel::delete(tokens::table.filter(tokens::principal_id.eq(id))).execute(connection)?;
    if diesel::delete(principals::table.find(id)).execute(connection)? == 0 {
        return Err(no_principal());
    }
    bump_epoch(connection)
}

type TokenColumns = (
    tokens::id,
    tokens::principal_id,
    tokens::name,
    tokens::secret_hash,
    tokens::repositories,
    tokens::actions,
    tokens::created,
    tokens::expires,
    tokens::revoked,
    tokens::workload,
);
const TOKEN: TokenColumns = (
    tokens::id,
    tokens::principal_id,
    tokens::name,
    tokens::secret_hash,
    tokens::repositories,
    tokens::actions,
    tokens::created,
    tokens::expires,
    tokens::revoked,
    tokens::workload,
);
type TokenValues = (String, i64, String, Vec<u8>, String, String, i64, Option<i64>, Option<i64>, Option<String>);

fn token_row((id, principal, name, secret_hash, repositories, actions, created, expires, revoked, workload): TokenValues) -> QueryResult<TokenRow> {
    Ok(TokenRow {
        id,
        principal,
        name,
        secret_hash,
        repositories: from_json("scope of a token", &repositories)?,
        actions: from_json("scope of a token", &actions)?,
        created: Timestamp(created),
        expires: expires.map(Timestamp),
        revoked: revoked.map(Timestamp),
        workload,
    })
}

/// The tokens of a principal, newest first, revoked and expired ones among them.
pub(crate) fn tokens(connection: &mut Conn, principal: i64) -> QueryResult<Vec<TokenRow>> {
    let rows = tokens::table.filter(tokens::principal_id.eq(principal)).order((tokens::created.desc(), tokens::id)).select(TOKEN).load(connection)?;
    rows.into_iter().map(token_row).collect()
}

/// The token of an id, whatever its state.
pub(crate) fn token(connection: &mut Conn, id: &str) -> QueryResult<Option<TokenRow>> {
    tokens::table.find(id).select(TOKEN).first(connection).optional()?.map(token_row).transpose()
}

/// Stores a token.
pub(crate) fn create_token(connection: &mut Conn, row: &TokenRow) -> QueryResult<()> {
    insert_token(connection, row)?;
    bump_epoch(connection)
}

/// The same where nobody can know of the token before: nothing that is remembered changes by it.
pub(super) fn insert_token(connection: &mut Conn, row: &TokenRow) -> QueryResult<()> {
    if principal_by_id(connection, row.principal)?.is_none() {
        return Err(no_principal());
    }
    let inserted = diesel::insert_into(tokens::table)
        .values((
            tokens::id.eq(&row.id),
            tokens::principal_id.eq(row.principal),
            tokens::name.eq(&row.name),
            tokens::secret_hash.eq(&row.secret_hash),
            tokens::repositories.eq(to_json(&row.repositories)?),
            tokens::actions.eq(to_json(&row.actions)?),
            tokens::created.eq(row.created.0),
            tokens::expires.eq(row.expires.map(|time| time.0)),
            tokens::revoked.eq(row.revoked.map(|time| time.0)),
            tokens::workload.eq(&row.workload),
        ))
        .execute(connection);
    taken(inserted, || String::from("there is a token of that id already"))?;
    Ok(())
}

/// Revokes a token; `false` when there is none or it was revoked before.
pub(crate) fn revoke_token(connection: &mut Conn, id: &str, now: Timestamp) -> QueryResult<bool> {
    let live = tokens::table.find(id).filter(tokens::revoked.is_null());
    let revoked = diesel::update(live).set(tokens::revoked.eq(now.0)).execute(connection)? > 0;
    if revoked {
        bump_epoch(connection)?;
    }
    Ok(revoked)
}

/// Every policy, by name.
pub(crate) fn policies(connection: &mut Conn) -> QueryResult<Vec<PolicyRow>> {
    let rows: Vec<(String, String, i64)> =
        policies::table.order(policies::name).select((policies::name, policies::text, policies::updated)).load(connection)?;
    Ok(rows.into_iter().map(|(name, text, updated)| PolicyRow { name, text, updated: Timestamp(updated) }).collect())
}

/// Writes a policy, new or in place of the one of that name.
pub(crate) fn put_policy(connection: &mut Conn, row: &PolicyRow) -> QueryResult<()> {
    let values = (policies::text.eq(&row.text), policies::updated.eq(row.updated.0));
    diesel::insert_into(policies::table)
        .values((policies::name.eq(&row.name), values))
        .on_conflict(policies::name)
        .do_update()
        .set(values)
        .execute(connection)?;
    bump_epoch(connection)
}

/// Deletes a policy; `false` when there is none of that name.
pub(crate) fn delete_policy(connection: &mut Conn, name: &str) -> QueryResult<bool> {
    let deleted = diesel::delete(policies::table.find(name)).execute(connection)? > 0;
    if deleted {
        bump_epoch(connection)?;
    }
    Ok(deleted)
}
