//! Why something is allowed or not, and what policies can talk about.

use actix_web::{HttpResponse, get, post};
use entrepot_kit::{Action, Address, Error, PrincipalKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{Answer, Call, MAX_BODY, Refusal, ok};
use super::openapi::Refusals;
use super::systems;
use super::tokens::TokenAction;
use crate::access::Caller;

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// `user:alice`, `robot:ci` or `anonymous`; a name alone is a user's. The caller itself without it; about others an administrator asks.
    #[schema(example = "user:alice")]
    principal: Option<String>,
    /// With this token of the principal (its public part) instead of the password.
    token: Option<String>,
    /// What it would do.
    action: TokenAction,
    /// To what: `system`, `system/repository` or `system/repository:package`.
    #[schema(example = "main/npm:left-pad")]
    resource: String,
}

/// A decision with its reasons.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explanation {
    /// Who.
    principal: String,
    /// What.
    action: &'static str,
    /// To what.
    resource: String,
    /// `allow` or `deny`.
    #[schema(example = "allow")]
    decision: &'static str,
    /// The same as a truth value.
    allowed: bool,
    /// The rules that decided: those that permit, or those that forbid; none when no rule permits.
    rules: Vec<String>,
    /// Whether a rule forbids it, in contrast to no rule permitting it.
    forbidden: bool,
    /// Whether the rules permit it and only the token in use does not.
    outside_scope: bool,
    /// How many rules could concern it and were evaluated.
    evaluated: usize,
    /// The same in a sentence.
    reason: String,
}

/// Reads `user:alice`, `robot:ci`, `anonymous` or `alice`.
fn principal(text: &str) -> Result<(PrincipalKind, &str), Refusal> {
    match text.split_once(':') {
        Some(("user", name)) => Ok((PrincipalKind::User, name)),
        Some(("robot", name)) => Ok((PrincipalKind::Robot, name)),
        None if text == "anonymous" => Ok((PrincipalKind::Anonymous, text)),
        None => Ok((PrincipalKind::User, text)),
        Some(_) => Err(Error::bad_request(format!("{text:?} names no principal: write user:name, robot:name or anonymous")).into()),
    }
}

/// Whom the question is about.
async fn subject(call: &Call, question: &Question) -> Result<Caller, Refusal> {
    let own = &call.context.caller;
    match &question.principal {
        None if question.token.is_none() => Ok(own.clone()),
        Some(name) if *name == own.name() && question.token.is_none() => Ok(own.clone()),
        named => {
            let name = named.clone().unwrap_or_else(|| own.name());
            let (kind, name) = principal(&name)?;
            Ok(call.administer()?.as_caller(kind, name, question.token.as_deref()).await?)
        }
    }
}

/// Decides, and says why. For oneself it demands `read` on what is asked about, for others an administrator.
#[utoipa::path(tag = "access", request_body = Question, responses((status = 200, body = Explanation), Refusals))]
#[post("/access/explain")]
pub(super) async fn explain(call: Call) -> Answer {
    if call.context.caller.is_anonymous() {
        return Err(Error::unauthorized("sign in to ask what is allowed").into());
    }
    let question: Question = call.json(MAX_BODY).await?;
    let subject = subject(&call, &question).await?;
    let action = Action::from(question.action);
    let explanation = match question.resource.split_once('/') {
        None => {
            let system = systems::find(&call, &question.resource, Action::Read).await?;
            call.access().explain(&subject, action, &systems::target(&system)).await?
        }
        Some((system, rest)) => {
            let (name, package) = rest.split_once(':').map_or((rest, None), |(name, package)| (name, Some(package)));
            Address::new(system, name).map_err(|_| call.missing(&question.resource))?;
            let found = call.record(system, name, Action::Read).await?;
            let mut target = found.target();
            target.package = package;
            call.demand(Action::Read, &target).await?;
            call.access().explain(&subject, action, &target).await?
        }
    };
    let crate::access::Explanation { principal, action, resource, allowed, rules, forbidden, outside_scope, evaluated, reason } = explanation;
    let decision = if allowed { "allow" } else { "deny" };
    ok(&Explanation { principal, action, resource, decision, allowed, rules, forbidden, outside_scope, evaluated, reason })
}

/// What policies can talk about: the Cedar schema.
#[utoipa::path(tag = "access", responses((status = 200, body = String, content_type = "text/plain"), Refusals))]
#[get("/access/schema")]
pub(super) async fn schema() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(crate::access::SCHEMA)
}
