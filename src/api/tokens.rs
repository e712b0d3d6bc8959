//! Tokens: the caller's own, and those of others for an administrator.

use std::sync::Arc;

use actix_web::{delete, get, post, web};
use entrepot_kit::{Action, Error, PrincipalKind, TokenInfo, TokenRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::call::{Answer, Call, MAX_BODY, Page, PageQuery, Refusal, created, done, ok, page_of};
use super::openapi::Refusals;

/// What a token may be for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TokenAction {
    /// See and download.
    Read,
    /// Add something new.
    Publish,
    /// Replace something that exists.
    Overwrite,
    /// Remove.
    Delete,
    /// Change settings.
    Manage,
}

impl From<TokenAction> for Action {
    fn from(action: TokenAction) -> Self {
        match action {
            TokenAction::Read => Self::Read,
            TokenAction::Publish => Self::Publish,
            TokenAction::Overwrite => Self::Overwrite,
            TokenAction::Delete => Self::Delete,
            TokenAction::Manage => Self::Manage,
        }
    }
}

/// A token as it is listed: without its secret, which nobody knows any more.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Token {
    /// The public part of the token.
    id: String,
    /// Its name, for people.
    name: String,
    /// The repositories that it is for; empty for all that its owner may use.
    #[schema(example = json!(["alpha/*"]))]
    repositories: Vec<String>,
    /// What it is for; empty for all that its owner may do.
    #[schema(value_type = Vec<TokenAction>)]
    actions: Vec<&'static str>,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
    /// When it ends.
    #[schema(format = DateTime)]
    expires: Option<String>,
}

/// A token to be made. It can do what its owner can, within these bounds.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedToken {
    /// Its name, for people.
    #[serde(default)]
    name: String,
    /// Patterns of `system/repository` with `*`; all without it.
    #[serde(default)]
    #[schema(example = json!(["alpha/*"]))]
    repositories: Vec<String>,
    /// What it is for; everything without it.
    #[serde(default)]
    actions: Vec<TokenAction>,
    /// Its life in seconds; the server has a default and a maximum.
    expires_in: Option<u64>,
    /// For this user instead of the caller. Demands an administrator.
    user: Option<String>,
    /// For this robot instead of the caller. Demands an administrator.
    robot: Option<String>,
}

/// A token that was made: the only time that it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewToken {
    /// Its public part, for listing and revoking it.
    id: String,
    /// The token itself.
    token: String,
}

/// Whose tokens.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TokenQuery {
    /// Continue behind this: the `next` of the page before.
    after: Option<String>,
    /// At most so many items: 1 to 1000, 100 without it.
    limit: Option<usize>,
    /// Those of this user. Demands an administrator.
    user: Option<String>,
    /// Those of this robot. Demands an administrator.
    robot: Option<String>,
}

/// Whom a request names; `None`: the caller itself.
fn owner(user: Option<String>, robot: Option<String>) -> Result<Option<(PrincipalKind, String)>, Refusal> {
    match (user, robot) {
        (None, None) => Ok(None),
        (Some(name), None) => Ok(Some((PrincipalKind::User, name))),
        (None, Some(name)) => Ok(Some((PrincipalKind::Robot, name))),
        (Some(_), Some(_)) => Err(Error::bad_request("name a user or a robot, not both").into()),
    }
}

fn shown(info: TokenInfo) -> Token {
    let actions = info.actions.into_iter().map(Action::name).collect();
    let TokenInfo { id, name, repositories, created, expires, .. } = info;
    Token { id, name, repositories, actions, created: created.rfc3339(), expires: expires.map(entrepot_kit::Timestamp::rfc3339) }
}

/// The caller's live tokens, by id; for an administrator also those of others.
#[utoipa::path(tag = "tokens", params(TokenQuery), responses((status = 200, body = Page<Token>), Refusals))]
#[get("/tokens")]
pub(super) async fn list_tokens(call: Call, query: web::Query<TokenQuery>) -> Answer {
    let TokenQuery { after, limit, user, robot } = query.into_inner();
    let mut tokens = match owner(user, robot)? {
        None => call.access().own_tokens(&call.context.caller).await?,
        Some((kind, name)) => call.administer()?.tokens(kind, &name).await?,
    };
    tokens.sort_by(|one, other| one.id.cmp(&other.id));
    ok(&page_of(tokens.into_iter().map(shown), &PageQuery { after, limit }, |token| token.id.clone())?)
}

/// Makes a token for the caller, or as an administrator for somebody else.
#[utoipa::path(tag = "tokens", request_body = WantedToken, responses((status = 201, body = NewToken), Refusals))]
#[post("/tokens")]
pub(super) async fn create_token(call: Call) -> Answer {
    if call.context.caller.is_anonymous() {
        return Err(Error::unauthorized("sign in to make a token").into());
    }
    let WantedToken { name, repositories, actions, expires_in, user, robot } = call.json(MAX_BODY).await?;
    let wanted = TokenRequest { name, repositories, actions: actions.into_iter().map(Action::from).collect(), expires_in };
    let made = match owner(user, robot)? {
        None => call.access().create_own_token(&call.context.caller, wanted, &call.context.facts).await?,
        Some((kind, name)) => call.administer()?.create_token(kind, &name, wanted).await?,
    };
    created(&NewToken { id: made.info.id, token: made.secret })
}

/// Revokes a token, which ends at once: one of the caller's own, or as an administrator anybody's.
#[utoipa::path(tag = "tokens", params(("id" = String, Path, description = "Its public part.")), responses((status = 204), Refusals))]
#[delete("/tokens/{id}")]
pub(super) async fn revoke_token(call: Call, path: web::Path<String>) -> Answer {
    let (access, context, id) = (Arc::clone(call.access()), call.context.clone(), path.into_inner());
    let revoked = async move {
        let (caller, facts) = (&context.caller, &context.facts);
        if access.revoke_own_token(caller, &id, facts).await? {
            return Ok(());
        }
        if caller.is_administrator() {
            return access.admin(caller, facts)?.revoke_token(&id).await;
        }
        // The same for a token that is somebody else's and for none.
        Err(Error::not_found("you have no such token"))
    };
    call.engine().detached(revoked).await?;
    done()
}
