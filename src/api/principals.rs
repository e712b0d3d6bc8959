//! Users and robots. All of it demands an administrator.

use actix_web::{delete, get, patch, post, web};
use entrepot_kit::PrincipalKind;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{Answer, Call, MAX_BODY, Page, PageQuery, Refusal, created, done, ok, page_of};
use super::openapi::Refusals;
use super::tags::{self, Written};
use crate::access::{Admin, NewRobot, NewUser, PrincipalInfo};

/// A user or robot.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Principal {
    /// Its name.
    name: String,
    /// Its tags.
    tags: Written,
    /// Whether it can do nothing for now.
    disabled: bool,
    /// Whether it can sign in with a password.
    has_password: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
}

/// A user to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedUser {
    /// The name that it signs in with.
    name: String,
    /// Its password; without one it has tokens only.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<SecretString>,
    /// Its tags.
    #[serde(default)]
    tags: Written,
}

/// A robot to be made. It has tokens only.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedRobot {
    /// Its name.
    name: String,
    /// Its tags.
    #[serde(default)]
    tags: Written,
}

/// A change of a user: what is not named stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserChange {
    /// Its new password. Its tokens stay.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<SecretString>,
    /// Its new tags, in place of all that it has.
    tags: Option<Written>,
    /// Whether it can do nothing for now, neither by password nor by token.
    disabled: Option<bool>,
}

/// A change of a robot: what is not named stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RobotChange {
    /// Its new tags, in place of all that it has.
    tags: Option<Written>,
    /// Whether it can do nothing for now.
    disabled: Option<bool>,
}

fn shown(info: PrincipalInfo) -> Principal {
    let PrincipalInfo { name, tags, disabled, has_password, created, .. } = info;
    Principal { name, tags: tags::write(&tags), disabled, has_password, created: created.rfc3339() }
}

async fn list(call: &Call, kind: PrincipalKind, query: &PageQuery) -> Answer {
    let principals = call.administer()?.principals(kind).await?;
    let mut shown: Vec<_> = principals.into_iter().map(shown).collect();
    shown.sort_by(|one, other| one.name.cmp(&other.name));
    ok(&page_of(shown, query, |principal| principal.name.clone())?)
}

/// Makes what was asked for to its end, even when the caller goes away between two steps.
async fn detached<T: Send + 'static>(call: &Call, work: impl Future<Output = entrepot_kit::Result<T>> + Send + 'static) -> Result<T, Refusal> {
    Ok(call.engine().detached(work).await?)
}

async fn update(call: &Call, admin: Admin, kind: PrincipalKind, name: String, change: UserChange) -> Answer {
    let tags = change.tags.map(tags::read).transpose()?;
    let changed = async move {
        admin.principal(kind, &name).await?;
        if let Some(password) = change.password {
            admin.set_password(&name, &password).await?;
        }
        if let Some(tags) = tags {
            admin.set_tags(kind, &name, tags).await?;
        }
        if let Some(disabled) = change.disabled {
            admin.set_disabled(kind, &name, disabled).await?;
        }
        admin.principal(kind, &name).await
    };
    ok(&shown(detached(call, changed).await?))
}

async fn remove(call: &Call, kind: PrincipalKind, name: String) -> Answer {
    let admin = call.administer()?;
    detached(call, async move { admin.delete(kind, &name).await }).await?;
    done()
}

/// The users, by name.
#[utoipa::path(tag = "principals", params(PageQuery), responses((status = 200, body = Page<Principal>), Refusals))]
#[get("/users")]
pub(super) async fn list_users(call: Call, query: web::Query<PageQuery>) -> Answer {
    list(&call, PrincipalKind::User, &query).await
}

/// Makes a user.
#[utoipa::path(tag = "principals", request_body = WantedUser, responses((status = 201, body = Principal), Refusals))]
#[post("/users")]
pub(super) async fn create_user(call: Call) -> Answer {
    let admin = call.administer()?;
    let wanted: WantedUser = call.json(MAX_BODY).await?;
    let new = NewUser { name: wanted.name, password: wanted.password, tags: tags::read(wanted.tags)? };
    created(&shown(detached(&call, async move { admin.create_user(new).await }).await?))
}

/// A user.
#[utoipa::path(tag = "principals", params(("name" = String, Path, description = "Its name.")), responses((status = 200, body = Principal), Refusals))]
#[get("/users/{name}")]
pub(super) async fn get_user(call: Call, path: web::Path<String>) -> Answer {
    ok(&shown(call.administer()?.principal(PrincipalKind::User, &path).await?))
}

/// Changes a user's password or tags, or disables it.
#[utoipa::path(
    tag = "principals", params(("name" = String, Path, description = "Its name.")), request_body = UserChange,
    responses((status = 200, body = Principal), Refusals)
)]
#[patch("/users/{name}")]
pub(super) async fn update_user(call: Call, path: web::Path<String>) -> Answer {
    let admin = call.administer()?;
    let change: UserChange = call.json(MAX_BODY).await?;
    update(&call, admin, PrincipalKind::User, path.into_inner(), change).await
}

/// Deletes a user and its tokens. What it published stays.
#[utoipa::path(tag = "principals", params(("name" = String, Path, description = "Its name.")), responses((status = 204), Refusals))]
#[delete("/users/{name}")]
pub(super) async fn delete_user(call: Call, path: web::Path<String>) -> Answer {
    remove(&call, PrincipalKind::User, path.into_inner()).await
}

/// The robots, by name.
#[utoipa::path(tag = "principals", params(PageQuery), responses((status = 200, body = Page<Principal>), Refusals))]
#[get("/robots")]
pub(super) async fn list_robots(call: Call, query: web::Query<PageQuery>) -> Answer {
    list(&call, PrincipalKind::Robot, &query).await
}

/// Makes a robot. Give it a token with `POST /tokens`.
#[utoipa::path(tag = "principals", request_body = WantedRobot, responses((status = 201, body = Principal), Refusals))]
#[post("/robots")]
pub(super) async fn create_robot(call: Call) -> Answer {
    let admin = call.administer()?;
    let wanted: WantedRobot = call.json(MAX_BODY).await?;
    let new = NewRobot { name: wanted.name, tags: tags::read(wanted.tags)? };
    created(&shown(detached(&call, async move { admin.create_robot(new).await }).await?))
}

/// A robot.
#[utoipa::path(tag = "principals", params(("name" = String, Path, description = "Its name.")), responses((status = 200, body = Principal), Refusals))]
#[get("/robots/{name}")]
pub(super) async fn get_robot(call: Call, path: web::Path<String>) -> Answer {
    ok(&shown(call.administer()?.principal(PrincipalKind::Robot, &path).await?))
}

/// Changes a robot's tags, or disables it.
#[utoipa::path(
    tag = "principals", params(("name" = String, Path, description = "Its name.")), request_body = RobotChange,
    responses((status = 200, body = Principal), Refusals)
)]
#[patch("/robots/{name}")]
pub(super) async fn update_robot(call: Call, path: web::Path<String>) -> Answer {
    let admin = call.administer()?;
    let RobotChange { tags, disabled } = call.json(MAX_BODY).await?;
    update(&call, admin, PrincipalKind::Robot, path.into_inner(), UserChange { password: None, tags, disabled }).await
}

/// Deletes a robot and its tokens. What it published stays.
#[utoipa::path(tag = "principals", params(("name" = String, Path, description = "Its name.")), responses((status = 204), Refusals))]
#[delete("/robots/{name}")]
pub(super) async fn delete_robot(call: Call, path: web::Path<String>) -> Answer {
    remove(&call, PrincipalKind::Robot, path.into_inner()).await
}
