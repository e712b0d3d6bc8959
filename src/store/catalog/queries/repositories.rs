//! Systems and repositories, and the epoch that counts their changes.

use diesel::prelude::*;
use entrepot_kit::accounts::Tags;
use entrepot_kit::{Address, SystemName, Timestamp};

use super::prepared::Prepared;
use super::{Conn, for_change};
use crate::store::catalog::convert::{from_column, from_json, kind, kind_name, to_column, to_json};
use crate::store::catalog::failure::{QueryError, QueryResult, taken};
use crate::store::catalog::schema::{meta, repositories, systems};
use crate::store::model::{NewRepository, RepositoryRow, SystemRow};

/// The counter of changes to systems, repositories, principals, tokens and policies.
pub(crate) fn epoch(connection: &mut Conn) -> QueryResult<u64> {
    Ok(from_column(meta::table.find("epoch").select(meta::value).first(connection)?))
}

/// The epoch, and the heads of these repositories.
pub(crate) fn heads(connection: &mut Conn, ids: &[i64]) -> QueryResult<(u64, Vec<(i64, u64)>)> {
    let counter = meta::table.find("epoch").select(meta::value).single_value();
    let rows: Vec<(i64, i64, Option<i64>)> =
        repositories::table.filter(repositories::id.eq_any(ids)).select((repositories::id, repositories::head, counter)).load(connection)?;
    match rows.first().and_then(|(.., epoch)| *epoch) {
        Some(epoch) => Ok((from_column(epoch), rows.into_iter().map(|(id, head, _)| (id, from_column(head))).collect())),
        None => Ok((epoch(connection)?, Vec::new())),
    }
}

/// Counts one more change. Inside the transaction of that change.
pub(crate) fn bump_epoch(connection: &mut Conn) -> QueryResult<()> {
    diesel::update(meta::table.find("epoch")).set(meta::value.eq(meta::value + 1)).execute(connection)?;
    Ok(())
}

type SystemColumns = (systems::id, systems::name, systems::tags, systems::declared, systems::created, systems::quota_bytes);
const SYSTEM: SystemColumns = (systems::id, systems::name, systems::tags, systems::declared, systems::created, systems::quota_bytes);
type SystemValues = (i64, String, String, bool, i64, Option<i64>);

fn system_row((id, name, tags, declared, created, quota_bytes): SystemValues) -> QueryResult<SystemRow> {
    Ok(SystemRow {
        id,
        name: SystemName::parse(&name).map_err(|cause| QueryError::damaged("name of a system", cause))?,
        tags: from_json("tags", &tags)?,
        declared,
        created: Timestamp(created),
        quota_bytes: quota_bytes.map(from_column),
    })
}

/// Every system, by name.
pub(crate) fn systems(connection: &mut Conn) -> QueryResult<Vec<SystemRow>> {
    let rows = systems::table.select(SYSTEM).order(systems::name).load(connection)?;
    rows.into_iter().map(system_row).collect()
}

/// Makes a system.
pub(crate) fn create_system(connection: &mut Conn, name: &SystemName, tags: &Tags, declared: bool, now: Timestamp) -> QueryResult<SystemRow> {
    let row = diesel::insert_into(systems::table)
        .values((systems::name.eq(name.as_str()), systems::tags.eq(to_json(tags)?), systems::declared.eq(declared), systems::created.eq(now.0)))
        .returning(SYSTEM)
        .get_result(connection);
    let row = taken(row, || format!("there is a system {name} already"))?;
    bump_epoch(connection)?;
    system_row(row)
}

fn no_system(name: &SystemName) -> QueryError {
    QueryError::not_found(format!("there is no system {name}"))
}

/// Changes a system's tags, and whether it is declared.
pub(crate) fn update_system(connection: &mut Conn, name: &SystemName, tags: &Tags, declared: bool) -> QueryResult<()> {
    let changed = diesel::update(systems::table.filter(systems::name.eq(name.as_str())))
        .set((systems::tags.eq(to_json(tags)?), systems::declared.eq(declared)))
        .execute(connection)?;
    if changed == 0 {
        return Err(no_system(name));
    }
    bump_epoch(connection)
}

/// Sets most bytes that the hosted repositories of a system have together.
pub(crate) fn set_system_quota(connection: &mut Conn, name: &SystemName, quota_bytes: Option<u64>) -> QueryResult<()> {
    let changed =
        diesel::update(systems::table.filter(systems::name.eq(name.as_str()))).set(systems::quota_bytes.eq(quota_bytes.map(to_column))).execute(connection)?;
    if changed == 0 {
        return Err(no_system(name));
    }
    bump_epoch(connection)
}

/// Deletes a system without repositories; `false` as long as there are rows of deleted ones.
pub(crate) fn delete_system(connection: &mut Conn, name: &SystemName) -> QueryResult<bool> {
    let id: Option<i64> = systems::table.filter(systems::name.eq(name.as_str())).select(systems::id).first(connection).optional()?;
    let id = id.ok_or_else(|| no_system(name))?;
    let of_system = repositories::table.filter(repositories::system_id.eq(id));
    let (count, deleted): (i64, i64) =
        (of_system.count().get_result(connection)?, of_system.filter(repositories::deleted.is_not_null()).count().get_result(connection)?);
    if count > deleted {
        return Err(QueryError::conflict(format!("delete the repositories of the system {name} first: there are {}", count - deleted)));
    }
    if deleted > 0 {
        return Ok(false);
    }
    diesel::delete(systems::table.find(id)).execute(connection)?;
    bump_epoch(connection)?;
    Ok(true)
}

type RepositoryColumns = (
    repositories::id,
    (systems::name, repositories::name),
    repositories::format,
    repositories::kind,
    repositories::tags,
    repositories::settings,
    repositories::declared,
    repositories::head,
    repositories::head_time,
    repositories::created,
    repositories::horizon,
);
const REPOSITORY: RepositoryColumns = (
    repositories::id,
    (systems::name, repositories::name),
    repositories::format,
    repositories::kind,
    repositories::tags,
    repositories::settings,
    repositories::declared,
    repositories::head,
    repositories::head_time,
    repositories::created,
    repositories::horizon,
);
type RepositoryValues = (i64, (String, String), String, String, String, String, bool, i64, i64, i64, Option<i64>);

fn repository_row(
    (id, (system, name), format, kind_text, tags, settings, declared, head, head_time, created, horizon): RepositoryValues,
) -> QueryResult<RepositoryRow> {
    Ok(RepositoryRow {
        id,
        address: Address::new(&system, &name).map_err(|cause| QueryError::damaged("address of a repository", cause))?,
        format,
        kind: kind(&kind_text)?,
        tags: from_json("tags", &tags)?,
        settings: from_json("settings of a repository", &settings)?,
        declared,
        head: from_column(head),
        head_time: Timestamp(head_time),
        created: Timestamp(created),
        horizon: horizon.map_or(0, from_column),
    })
}

/// Every repository that was not deleted, by address.
pub(crate) fn repositories(connection: &mut Conn) -> QueryResult<Vec<RepositoryRow>> {
    let rows = repositories::table
        .inner_join(systems::table)
        .filter(repositories::deleted.is_null())
        .select(REPOSITORY)
        .order((systems::name, repositories::name))
        .load(connection)?;
    rows.into_iter().map(repository_row).collect()
}

/// Makes a repository.
pub(crate) fn create_repository(connection: &mut Conn, new: &NewRepository, now: Timestamp) -> QueryResult<RepositoryRow> {
    let system: Option<i64> =
        for_change!(systems::table.filter(systems::name.eq(new.address.system.as_str())).select(systems::id)).first(connection).optional()?;
    let system = system.ok_or_else(|| no_system(&new.address.system))?;
    let id = diesel::insert_into(repositories::table)
        .values((
            repositories::system_id.eq(system),
            repositories::name.eq(new.address.repository.as_str()),
            repositories::format.eq(&new.format),
            repositories::kind.eq(kind_name(new.kind)),
            repositories::tags.eq(to_json(&new.tags)?),
            repositories::settings.eq(to_json(&new.settings)?),
            repositories::declared.eq(new.declared),
            repositories::head.eq(0),
            repositories::head_time.eq(0),
            repositories::created.eq(now.0),
        ))
        .returning(repositories::id)
        .get_result::<i64>(connection);
    let id = taken(id, || format!("there is a repository {} already", new.address))?;
    bump_epoch(connection)?;
    let row = repositories::table.inner_join(systems::table).filter(repositories::id.eq(id)).select(REPOSITORY).first(connection)?;
    repository_row(row)
}

fn no_repository() -> QueryError {
    QueryError::not_found("there is no such repository any more")
}

/// Changes a repository's tags and settings, and whether it is declared.
pub(crate) fn update_repository(connection: &mut Conn, id: i64, tags: &Tags, settings: &serde_json::Value, declared: bool) -> QueryResult<()> {
    let changed = diesel::update(repositories::table.find(id).filter(repositories::deleted.is_null()))
        .set((repositories::tags.eq(to_json(tags)?), repositories::settings.eq(to_json(settings)?), repositories::declared.eq(declared)))
        .execute(connection)?;
    if changed == 0 {
        return Err(no_repository());
    }
    bump_epoch(connection)
}

/// Marks a repository as deleted: its name is free at once, its rows are removed by and by.
pub(crate) fn delete_repository(connection: &mut Conn, id: i64, now: Timestamp) -> QueryResult<()> {
    let changed =
        diesel::update(repositories::table.find(id).filter(repositories::deleted.is_null())).set(repositories::deleted.eq(now.0)).execute(connection)?;
    if changed == 0 {
        return Err(no_repository());
    }
    bump_epoch(connection)
}

/// A repository's newest revision and its time.
pub(crate) fn head(connection: &mut Conn, id: i64) -> QueryResult<(u64, Timestamp)> {
    let row: Option<(i64, i64)> = repositories::table
        .find(id)
        .filter(repositories::deleted.is_null())
        .select((repositories::head, repositories::head_time))
        .first(connection)
        .optional()?;
    let (head, time) = row.ok_or_else(no_repository)?;
    Ok((from_column(head), Timestamp(time)))
}

/// The same, locked against other writers until the end of the transaction.
pub(crate) fn lock_head(connection: &mut Conn, id: i64) -> QueryResult<(i64, i64)> {
    let query = repositories::table.find(id).filter(repositories::deleted.is_null()).select((repositories::head, repositories::head_time));
    let row = for_change!(query).first(connection).optional()?;
    row.ok_or_else(no_repository)
}

/// Moves the head.
pub(crate) fn set_head(connection: &mut Conn, id: i64, head: i64, time: i64) -> QueryResult<()> {
    let update = diesel::update(repositories::table.find(id)).set((repositories::head.eq(head), repositories::head_time.eq(time)));
    Prepared(update.returning(repositories::id)).get_result::<i64>(connection)?;
    Ok(())
}
