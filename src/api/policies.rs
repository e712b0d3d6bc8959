//! Policies: rules in Cedar beside the default ones. All of it demands an administrator.

use actix_web::{delete, get, put, web};
use entrepot_kit::Error;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{Answer, Call, Page, PageQuery, Refusal, done, ok, page_of};
use super::openapi::Refusals;
use crate::store::model::PolicyRow;

/// Largest body with a policy.
const MAX_POLICY: usize = 256 * 1024;

/// A policy.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Policy {
    /// Its name.
    name: String,
    /// Its rules, in Cedar.
    text: String,
    /// When it was written last.
    #[schema(format = DateTime)]
    updated: String,
}

/// A policy to be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyText {
    /// Its rules, in Cedar, for the schema at `/api/v1/access/schema`.
    #[schema(example = "permit (principal, action == Action::\"read\", resource in System::\"main\");")]
    text: String,
}

/// A policy that was written.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WrittenPolicy {
    /// Its name.
    name: String,
    /// The names of its rules, as explanations and `X-Artifact-Policy` give them.
    rules: Vec<String>,
    /// What may surprise its author.
    warnings: Vec<String>,
}

fn shown(row: PolicyRow) -> Policy {
    Policy { name: row.name, text: row.text, updated: row.updated.rfc3339() }
}

/// The policies beside the default ones, by name.
#[utoipa::path(tag = "access", params(PageQuery), responses((status = 200, body = Page<Policy>), Refusals))]
#[get("/policies")]
pub(super) async fn list_policies(call: Call, query: web::Query<PageQuery>) -> Answer {
    let policies = call.administer()?.policies().await?;
    ok(&page_of(policies.into_iter().map(shown), &query, |policy| policy.name.clone())?)
}

/// A policy.
#[utoipa::path(tag = "access", params(("name" = String, Path, description = "Its name.")), responses((status = 200, body = Policy), Refusals))]
#[get("/policies/{name}")]
pub(super) async fn get_policy(call: Call, path: web::Path<String>) -> Answer {
    ok(&shown(call.administer()?.policy(&path).await?))
}

/// Adds or replaces a policy, after checking it against the schema. It counts at once.
#[utoipa::path(
    tag = "access", params(("name" = String, Path, description = "Its name.")),
    request_body(content((PolicyText = "application/json"), (String = "text/plain")), description = "As JSON, or the text alone."),
    responses((status = 200, body = WrittenPolicy), Refusals)
)]
#[put("/policies/{name}")]
pub(super) async fn put_policy(call: Call, path: web::Path<String>) -> Answer {
    let admin = call.administer()?;
    let text = text_of(&call).await?;
    let name = path.into_inner();
    let report = call.engine().detached(async move { admin.put_policy(&name, &text).await }).await?;
    ok(&WrittenPolicy { name: report.name, rules: report.rules, warnings: report.warnings })
}

async fn text_of(call: &Call) -> Result<String, Refusal> {
    if call.sends_json() {
        return Ok(call.json::<PolicyText>(MAX_POLICY).await?.text);
    }
    let body = call.bytes(MAX_POLICY).await?;
    String::from_utf8(body.to_vec()).map_err(|_| Error::bad_request("the policy is not UTF-8").into())
}

/// Deletes a policy. This counts at once.
#[utoipa::path(tag = "access", params(("name" = String, Path, description = "Its name.")), responses((status = 204), Refusals))]
#[delete("/policies/{name}")]
pub(super) async fn delete_policy(call: Call, path: web::Path<String>) -> Answer {
    let (admin, name) = (call.administer()?, path.into_inner());
    call.engine().detached(async move { admin.delete_policy(&name).await }).await?;
    done()
}
