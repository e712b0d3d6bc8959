//! Systems: the namespaces, and their tags.

use actix_web::{delete, get, patch, post, web};
use entrepot_kit::accounts::Tags;
use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::{Action, Address, Error, SystemName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{Answer, Call, MAX_BODY, Page, PageQuery, Refusal, created, done, ok, page_of};
use super::openapi::Refusals;
use super::tags::{self, Written};
use crate::access::Target;
use crate::store::model::SystemRow;

/// A system.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct System {
    /// Its name.
    #[schema(example = "main")]
    name: String,
    /// Its tags.
    tags: Written,
    /// Whether the configuration file declares it: then it can only be changed there.
    declared: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
    /// Most bytes that its hosted repositories have together; without it as many as there is room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota_bytes: Option<u64>,
}

/// A system to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSystem {
    /// Its name: lower-case letters and digits, joined by single `.`, `_` or `-`.
    name: String,
    /// Its tags.
    #[serde(default)]
    tags: Written,
    /// Most bytes that its hosted repositories have together.
    quota_bytes: Option<u64>,
}

/// A change of a system.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SystemChange {
    /// Its new tags, in place of all that it has; without it they stay.
    tags: Option<Written>,
    /// Most bytes that its hosted repositories have together; `null` for no limit, without it that stays. Demands an administrator.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<u64>)]
    quota_bytes: Option<Option<u64>>,
}

/// Tells `null` from nothing.
fn named<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn shown(row: &SystemRow) -> System {
    System { name: row.name.to_string(), tags: tags::write(&row.tags), declared: row.declared, created: row.created.rfc3339(), quota_bytes: row.quota_bytes }
}

pub(super) fn target(row: &SystemRow) -> Target<'_> {
    Target { system: row.name.as_str(), system_tags: &row.tags, repository: None, package: None }
}

/// A system, for an action that the caller may do with it.
pub(super) async fn find(call: &Call, name: &str, action: Action) -> Result<SystemRow, Refusal> {
    let table = call.engine().table();
    let row = table.systems.get(name).ok_or_else(|| call.missing(name))?;
    call.demand(action, &target(row)).await?;
    Ok(row.clone())
}

fn check_not_declared(row: &SystemRow) -> Result<(), Refusal> {
    if row.declared {
        let name = &row.name;
        return Err(Error::conflict(format!("the system {name} is declared in the configuration file: change it there and start the server again")).into());
    }
    Ok(())
}

/// The systems that the caller may read, by name.
#[utoipa::path(tag = "systems", params(PageQuery), responses((status = 200, body = Page<System>), Refusals))]
#[get("/systems")]
pub(super) async fn list_systems(call: Call, query: web::Query<PageQuery>) -> Answer {
    let table = call.engine().table();
    let mut readable = Vec::new();
    for row in table.systems.values() {
        if call.allows(Action::Read, &target(row)).await? {
            readable.push(row);
        }
    }
    let page = page_of(readable, &query, |row| row.name.to_string())?;
    ok(&Page { items: page.items.into_iter().map(shown).collect(), next: page.next })
}

/// Makes a system. Demands an administrator.
#[utoipa::path(tag = "systems", request_body = NewSystem, responses((status = 201, body = System), Refusals))]
#[post("/systems")]
pub(super) async fn create_system(call: Call) -> Answer {
    call.administer()?;
    let new: NewSystem = call.json(MAX_BODY).await?;
    let (name, tags) = (SystemName::parse(&new.name)?, tags::read(new.tags)?);
    let now = call.context.now;
    let row = call
        .change("create-system", name.to_string(), |engine| async move {
            // `/v2/a/b/c` would be ambiguous.
            let taken = Address::new(DEFAULT_SYSTEM, name.as_str()).ok();
            if let Some(address) = taken
                && engine.catalog.repositories().await?.iter().any(|row| row.address == address)
            {
                return Err(Error::conflict(format!("the repository {address} has the name already: a system and a repository of main may not share one")));
            }
            let row = engine.catalog.create_system(name.clone(), tags, false, now).await?;
            if new.quota_bytes.is_some() {
                engine.catalog.set_system_quota(name, new.quota_bytes).await?;
            }
            Ok(SystemRow { quota_bytes: new.quota_bytes, ..row })
        })
        .await?;
    created(&shown(&row))
}

/// A system. Demands `read` on it.
#[utoipa::path(tag = "systems", params(("system" = String, Path, description = "Its name.")), responses((status = 200, body = System), Refusals))]
#[get("/systems/{system}")]
pub(super) async fn get_system(call: Call, path: web::Path<String>) -> Answer {
    ok(&shown(&find(&call, &path, Action::Read).await?))
}

/// Changes a system's tags or quota. Demands `manage` on it.
#[utoipa::path(
    tag = "systems", params(("system" = String, Path, description = "Its name.")), request_body = SystemChange,
    responses((status = 200, body = System), Refusals)
)]
#[patch("/systems/{system}")]
pub(super) async fn update_system(call: Call, path: web::Path<String>) -> Answer {
    let mut row = find(&call, &path, Action::Manage).await?;
    let change: SystemChange = call.json(MAX_BODY).await?;
    check_not_declared(&row)?;
    if change.quota_bytes.is_some() {
        // Who manages a system does not give it more of everybody's storage.
        call.administer()?;
    }
    let tags: Option<Tags> = change.tags.map(tags::read).transpose()?;
    if let Some(tags) = &tags {
        row.tags.clone_from(tags);
    }
    let (name, quota) = (row.name.clone(), change.quota_bytes);
    row.quota_bytes = quota.unwrap_or(row.quota_bytes);
    call.change("update-system", name.to_string(), |engine| async move {
        if let Some(tags) = tags {
            engine.catalog.update_system(name.clone(), tags, false).await?;
        }
        if let Some(quota) = quota {
            engine.catalog.set_system_quota(name, quota).await?;
        }
        Ok(())
    })
    .await?;
    ok(&shown(&row))
}

/// Deletes a system that has no repositories. Demands an administrator.
#[utoipa::path(tag = "systems", params(("system" = String, Path, description = "Its name.")), responses((status = 204), Refusals))]
#[delete("/systems/{system}")]
pub(super) async fn delete_system(call: Call, path: web::Path<String>) -> Answer {
    let row = find(&call, &path, Action::Manage).await?;
    call.administer()?;
    check_not_declared(&row)?;
    call.change("delete-system", row.name.to_string(), |engine| async move { Ok(engine.catalog.delete_system(row.name).await?) }).await?;
    done()
}
