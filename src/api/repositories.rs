//! Repositories: their records and settings.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{delete, get, patch, post, web};
use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::{Action, Address, Error, Kind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::call::{Answer, Call, Found, MAX_BODY, Page, PageQuery, Refusal, created, done, ok, page_of};
use super::openapi::Refusals;
use super::tags::{self, Written};
use super::{systems, topology, upstream_change};
use crate::registry::paths::PATHS;
use crate::registry::purge::PURGE;
use crate::registry::quota::{QUOTA, Usage};
use crate::registry::reconcile::{Wanted, check};
use crate::registry::retention::RETENTION;
use crate::registry::table::{NAMESPACE, REDIRECT_DOWNLOADS, members};
use crate::registry::{Context, Engine};
use crate::store::model::{NewRepository, RepositoryRow};

/// What answers have and nobody sets.
const READ_ONLY: [&str; 4] = ["declared", "created", "revision", "usage"];
/// Settings that every format has.
const ENGINE_SETTINGS: [&str; 10] = ["upstream", "members", "publish_to", "rules", "patterns", PATHS, NAMESPACE, REDIRECT_DOWNLOADS, RETENTION, QUOTA];

/// How old the figures of a repository's usage may be.
const USAGE_AGE: Duration = Duration::from_secs(60);

/// What a repository is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RepositoryKind {
    /// Accepts publishes.
    Hosted,
    /// Pulls through and keeps what one upstream has.
    Proxy,
    /// An ordered union of others.
    Group,
}

impl From<RepositoryKind> for Kind {
    fn from(kind: RepositoryKind) -> Self {
        match kind {
            RepositoryKind::Hosted => Self::Hosted,
            RepositoryKind::Proxy => Self::Proxy,
            RepositoryKind::Group => Self::Group,
        }
    }
}

impl From<Kind> for RepositoryKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Hosted => Self::Hosted,
            Kind::Proxy => Self::Proxy,
            Kind::Group => Self::Group,
        }
    }
}

/// Settings, as in the configuration file. Those of the format stand beside these.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents what is checked by the engine and by the format")]
pub(super) struct Settings {
    /// Of a proxy: `url` or `preset` (`docker.io`, `ghcr.io`, `quay.io`, `registry.k8s.io`, `gcr.io`, `public.ecr.aws`), `username`, `password`,
    /// `token`, `token_hosts`, `ca_file`, `proxy`, `mutable_ttl`, `immutable_ttl`, `negative_ttl`, `frozen`,
    /// `allow_private` and more. Secrets are answered as `(set)`, and kept when that is sent back.
    upstream: Option<Map<String, Value>>,
    /// Of a group: its members in order, each `system/repository` or an object with `repository` and name rules.
    members: Option<Vec<Value>>,
    /// Of a group: the hosted member that takes what is published to the group.
    publish_to: Option<String>,
    /// Name rules: `allow`, `deny`, `reserve` and `merge`, lists of patterns with `*`.
    rules: Option<Map<String, Value>>,
    /// Of a proxy: regular expressions, one of which the name of a package must match to be mirrored; without them everything is.
    patterns: Option<Vec<String>>,
    /// Of a proxy: which paths it serves and how fresh each must be, by the regular expressions `immutable`, `mutable` and `anew`, and `check`.
    paths: Option<Map<String, Value>>,
    /// The registry whose content this repository stands for, as mirrors are asked for it (`?ns=docker.io`); a preset says it already.
    namespace: Option<String>,
    /// Whether downloads of larger files are sent on to the bucket by `307 Temporary Redirect`; nothing changes where bytes are local files.
    redirect_downloads: Option<bool>,
    /// What may go: `keep`, `older_than_days`, `not_pulled_days`, `protect` (regular expressions), `untagged_days`, `history_days`.
    retention: Option<Map<String, Value>>,
    /// Of a hosted repository: most bytes that it has.
    quota_bytes: Option<u64>,
}

/// What a repository has at the moment, each blob counted once. Up to a minute old.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Used {
    /// Bytes of its live files.
    bytes: u64,
    /// Different files among them.
    blobs: u64,
}

/// A repository.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Repository {
    /// Its system.
    system: String,
    /// Its name there.
    name: String,
    /// What it speaks.
    #[schema(example = "npm")]
    format: String,
    /// Hosted, proxy or group.
    kind: RepositoryKind,
    /// Its own tags.
    tags: Written,
    /// Its settings. Who may not manage it sees of an upstream the URL only, and of a group the members that it may read.
    #[serde(flatten)]
    #[schema(value_type = Settings)]
    settings: Map<String, Value>,
    /// Whether the configuration file declares it: then it can only be changed there.
    declared: bool,
    /// Its newest revision.
    revision: u64,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
    /// What it has; only where one hosted or proxy repository is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Used>,
}

/// A repository to be made.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct WantedRepository {
    /// Its system; `main` without it.
    system: Option<String>,
    /// Its name there.
    name: String,
    /// What it speaks.
    format: String,
    /// Hosted, proxy or group.
    kind: RepositoryKind,
    /// Its tags.
    #[serde(default)]
    tags: Written,
    /// Its settings.
    #[serde(flatten)]
    #[schema(value_type = Settings)]
    settings: Map<String, Value>,
}

/// A change of a repository (RFC 7396): what is named is set, `null` removes it, the rest stays.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RepositoryChange {
    /// Its new tags, in place of all that it has.
    tags: Option<Written>,
    /// Settings to change. `upstream` is merged field by field, everything else is replaced.
    #[serde(flatten)]
    #[schema(value_type = Settings)]
    settings: Map<String, Value>,
}

fn shown(row: &RepositoryRow, revision: u64) -> Repository {
    let mut settings = row.settings.as_object().cloned().unwrap_or_default();
    if let Some(upstream) = settings.get_mut("upstream") {
        crate::upstream::hide_secrets(upstream);
    }
    crate::registry::purge::hide_secret(&mut settings);
    Repository {
        system: row.address.system.to_string(),
        name: row.address.repository.to_string(),
        format: row.format.clone(),
        kind: row.kind.into(),
        tags: tags::write(&row.tags),
        settings,
        declared: row.declared,
        revision,
        created: row.created.rfc3339(),
        usage: None,
    }
}

/// Refuses what neither the engine nor the format knows: a misspelt setting must not pass for one that counts.
fn check_names(format: &str, settings: &Map<String, Value>, engine: &Engine) -> Result<()> {
    let own = engine.formats.iter().find(|known| known.id() == format).map(|known| known.setting_names()).unwrap_or_default();
    let is_known = |field: &str, value: &Value| ENGINE_SETTINGS.contains(&field) || own.contains(&field) || (field == PURGE && value.is_null());
    match settings.iter().map(|(field, value)| (field.as_str(), value)).find(|(field, value)| !is_known(field, value)).map(|(field, _)| field) {
        None => Ok(()),
        // Its secret goes to a host that nobody but the operator may choose.
        Some(PURGE) => Err(Error::bad_request("purge can be set in the configuration file only")),
        Some(field) => {
            let known = ENGINE_SETTINGS.iter().chain(own).copied().collect::<Vec<_>>().join(", ");
            Err(Error::bad_request(format!("unknown field `{field}`: the settings of a {format} repository are {known}")))
        }
    }
}

/// A record as this caller may see it.
async fn shown_to(call: &Call, found: &Found) -> std::result::Result<Repository, Refusal> {
    let table = call.engine().table();
    let row = &found.row;
    let mut shown = shown(row, table.get(&row.address).map_or(row.head, |repo| repo.head().max(row.head)));
    if call.allows(Action::Manage, &found.target()).await? {
        return Ok(shown);
    }
    if let Some(Value::Object(upstream)) = shown.settings.get_mut("upstream") {
        upstream.retain(|field, _| field == "url" || field == "preset");
    }
    let mut readable = Vec::new();
    for member in members(&row.settings).unwrap_or_default() {
        if let Some(repo) = table.get(&member.repository)
            && call.allows(Action::Read, &repo.target(None)).await?
        {
            readable.push(Value::String(member.repository.to_string()));
        }
    }
    let visible = |setting: &Value| readable.contains(setting);
    if shown.settings.get("publish_to").is_some_and(|setting| !visible(setting)) {
        shown.settings.remove("publish_to");
    }
    if let Some(listed) = shown.settings.get_mut("members") {
        *listed = Value::Array(readable);
    }
    Ok(shown)
}

fn check_not_declared(row: &RepositoryRow) -> Result<()> {
    if row.declared {
        let message = format!("{} is declared in the configuration file: change it there and start the server again", row.address);
        return Err(Error::conflict(message));
    }
    Ok(())
}

/// The repositories that the caller may read, by address.
#[utoipa::path(tag = "repositories", params(PageQuery), responses((status = 200, body = Page<Repository>), Refusals))]
#[get("/repositories")]
pub(super) async fn list_repositories(call: Call, query: web::Query<PageQuery>) -> Answer {
    let table = call.engine().table();
    let mut readable = Vec::new();
    for row in call.catalog().repositories().await? {
        let system_tags = table.systems.get(row.address.system.as_str()).map(|system| system.tags.clone()).unwrap_or_default();
        let found = Found { row, system_tags };
        if call.allows(Action::Read, &found.target()).await? {
            readable.push(found);
        }
    }
    readable.sort_by_cached_key(|found| found.row.address.to_string());
    let page = page_of(readable, &query, |found| found.row.address.to_string())?;
    let mut items = Vec::with_capacity(page.items.len());
    for found in &page.items {
        items.push(shown_to(&call, found).await?);
    }
    ok(&Page { items, next: page.next })
}

/// Makes a repository. Demands `manage` on the system; `allow_private`, `ca_file` and `proxy` of an upstream demand an administrator.
#[utoipa::path(tag = "repositories", request_body = WantedRepository, responses((status = 201, body = Repository), Refusals))]
#[post("/repositories")]
pub(super) async fn create_repository(call: Call) -> Answer {
    if call.context.caller.is_anonymous() {
        return Err(Error::unauthorized("sign in to make a repository").into());
    }
    let new: WantedRepository = call.json(MAX_BODY).await?;
    let system = systems::find(&call, new.system.as_deref().unwrap_or(DEFAULT_SYSTEM), Action::Manage).await?;
    if let Some(field) = READ_ONLY.iter().find(|field| new.settings.contains_key(**field)) {
        return Err(Error::bad_request(format!("{field} cannot be set")).into());
    }
    let mut settings = new.settings;
    settings.retain(|_, value| !value.is_null());
    if let Some(upstream) = settings.remove("upstream") {
        settings.insert(String::from("upstream"), upstream_change::merge(None, upstream)?);
    }
    let wanted =
        Wanted { address: Address::new(system.name.as_str(), &new.name)?, format: new.format, kind: new.kind.into(), tags: tags::read(new.tags)?, settings };
    check(&wanted, &call.engine().formats)?;
    check_names(&wanted.format, &wanted.settings, call.engine())?;
    let context = call.context.clone();
    let row = call.change("create-repository", wanted.address.to_string(), |engine| create(engine, context, wanted)).await?;
    created(&shown(&row, row.head))
}

async fn create(engine: Arc<Engine>, context: Context, wanted: Wanted) -> Result<RepositoryRow> {
    demand_administrator(&engine, &context, None, wanted.settings.get("upstream"))?;
    topology::check(&engine, &context, &wanted, &[], &engine.catalog.repositories().await?).await?;
    let new = NewRepository {
        address: wanted.address,
        format: wanted.format,
        kind: wanted.kind,
        tags: wanted.tags,
        settings: Value::Object(wanted.settings),
        declared: false,
    };
    Ok(engine.catalog.create_repository(new, context.now).await?)
}

/// An upstream that reaches further than its system's managers may is an administrator's, and so is every change of it.
fn demand_administrator(engine: &Arc<Engine>, context: &Context, before: Option<&Value>, after: Option<&Value>) -> Result<()> {
    if before != after && after.is_some_and(upstream_change::needs_administrator) {
        let explained = |error: Error| match error.status() {
            http::StatusCode::FORBIDDEN => Error::forbidden("an upstream with allow_private, ca_file or proxy can be set by an administrator only"),
            _ => error,
        };
        engine.access.admin(&context.caller, &context.facts).map(drop).map_err(explained)?;
    }
    Ok(())
}

/// A repository. Demands `read` on it.
#[utoipa::path(
    tag = "repositories", responses((status = 200, body = Repository), Refusals),
    params(("system" = String, Path, description = "Its system."), ("name" = String, Path, description = "Its name."))
)]
#[get("/repositories/{system}/{name}")]
pub(super) async fn get_repository(call: Call, path: web::Path<(String, String)>) -> Answer {
    let found = call.record(&path.0, &path.1, Action::Read).await?;
    let mut shown = shown_to(&call, &found).await?;
    if found.row.kind != Kind::Group {
        let Usage { bytes, blobs } = call.engine().usage(found.row.id, Some(USAGE_AGE)).await?;
        shown.usage = Some(Used { bytes, blobs });
    }
    ok(&shown)
}

/// Changes a repository's tags and settings. Demands `manage` on it; what reaches further, an administrator.
#[utoipa::path(
    tag = "repositories", request_body = RepositoryChange, responses((status = 200, body = Repository), Refusals),
    params(("system" = String, Path, description = "Its system."), ("name" = String, Path, description = "Its name."))
)]
#[patch("/repositories/{system}/{name}")]
pub(super) async fn update_repository(call: Call, path: web::Path<(String, String)>) -> Answer {
    let found = call.record(&path.0, &path.1, Action::Manage).await?;
    let change: RepositoryChange = call.json(MAX_BODY).await?;
    let (context, address) = (call.context.clone(), found.row.address.to_string());
    let row = call.change("update-repository", address, |engine| update(engine, context, found.row.id, change)).await?;
    let revision = call.engine().repo(&row.address).map_or(row.head, |repo| repo.head().max(row.head));
    ok(&shown(&row, revision))
}

async fn update(engine: Arc<Engine>, context: Context, id: i64, change: RepositoryChange) -> Result<RepositoryRow> {
    let rows = engine.catalog.repositories().await?;
    let row = rows.iter().find(|row| row.id == id).ok_or_else(|| Error::not_found("the repository was deleted meanwhile"))?;
    check_not_declared(row)?;
    let stored = row.settings.as_object().cloned().unwrap_or_default();
    let change_of_settings = without_fixed(row, change.settings)?;
    // What is stored was checked when it came, perhaps by a version that knew it: only what is changed is asked about.
    check_names(&row.format, &change_of_settings, &engine)?;
    let settings = merged(&stored, change_of_settings)?;
    let tags = change.tags.map_or_else(|| Ok(row.tags.clone()), tags::read)?;
    let wanted = Wanted { address: row.address.clone(), format: row.format.clone(), kind: row.kind, tags, settings };
    check(&wanted, &engine.formats)?;
    demand_administrator(&engine, &context, stored.get("upstream"), wanted.settings.get("upstream"))?;
    let before: Vec<_> = members(&row.settings).unwrap_or_default().into_iter().map(|member| member.repository).collect();
    topology::check(&engine, &context, &wanted, &before, &rows).await?;
    let changed = RepositoryRow { tags: wanted.tags, settings: Value::Object(wanted.settings), ..row.clone() };
    engine.catalog.update_repository(id, changed.tags.clone(), changed.settings.clone(), false).await?;
    Ok(changed)
}

/// Drops what a change repeats of what never changes, so that an answer can be edited and sent back.
fn without_fixed(row: &RepositoryRow, mut change: Map<String, Value>) -> Result<Map<String, Value>> {
    for field in READ_ONLY {
        change.remove(field);
    }
    let kind = serde_json::to_value(row.kind).map_err(Error::internal)?;
    let fixed = [
        ("system", Value::from(row.address.system.as_str())),
        ("name", Value::from(row.address.repository.as_str())),
        ("format", Value::from(row.format.as_str())),
        ("kind", kind),
    ];
    for (field, value) in fixed {
        if change.remove(field).is_some_and(|wanted| wanted != value) {
            return Err(Error::bad_request(format!("the {field} of a repository never changes: make another repository")));
        }
    }
    Ok(change)
}

fn merged(stored: &Map<String, Value>, change: Map<String, Value>) -> Result<Map<String, Value>> {
    let mut settings = stored.clone();
    for (field, value) in change {
        if value.is_null() {
            settings.remove(&field);
        } else if field == "upstream" {
            let upstream = upstream_change::merge(stored.get("upstream"), value)?;
            settings.insert(field, upstream);
        } else {
            settings.insert(field, value);
        }
    }
    Ok(settings)
}

/// Deletes a repository with all that is in it. Demands `manage` on it.
#[utoipa::path(
    tag = "repositories", responses((status = 204), Refusals),
    params(("system" = String, Path, description = "Its system."), ("name" = String, Path, description = "Its name."))
)]
#[delete("/repositories/{system}/{name}")]
pub(super) async fn delete_repository(call: Call, path: web::Path<(String, String)>) -> Answer {
    let found = call.record(&path.0, &path.1, Action::Manage).await?;
    check_not_declared(&found.row)?;
    let (context, row) = (call.context.clone(), found.row);
    call.change("delete-repository", row.address.to_string(), |engine| async move {
        topology::check_unused(&engine, &context, &row.address, &engine.catalog.repositories().await?).await?;
        engine.catalog.delete_repository(row.id, context.now).await?;
        Ok(())
    })
    .await?;
    done()
}

#[cfg(test)]
mod tests {
    use super::merged;
    use serde_json::{Map, Value, json};

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_change_replaces_removes_and_leaves() {
        let stored = map(json!({"upstream": {"url": "https://registry.example/", "token": "t"}, "rules": {"deny": ["a"]}, "overwrite": true}));
        let change = map(json!({"upstream": {"mutable_ttl": 1, "token": "(set)"}, "rules": {"allow": ["b"]}, "overwrite": null}));
        let after = json!({"upstream": {"url": "https://registry.example/", "token": "t", "mutable_ttl": 1}, "rules": {"allow": ["b"]}});
        assert_eq!(Value::Object(merged(&stored, change).unwrap()), after);
    }
}
