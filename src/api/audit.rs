//! The audit log: every denied request and every change. Demands an administrator.

use actix_web::{get, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::call::{Answer, Call, Page, ok, page_size};
use super::openapi::Refusals;
use crate::store::model::{AuditFilter, AuditRow};

/// A line of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Line {
    /// Its number.
    id: i64,
    /// When.
    #[schema(format = DateTime)]
    time: String,
    /// Who.
    #[schema(example = "user:alice")]
    principal: String,
    /// What.
    action: String,
    /// To what.
    #[schema(example = "main/npm:left-pad")]
    resource: String,
    /// `changed`, `denied` or `failed`.
    outcome: String,
    /// Why, or how.
    detail: String,
    /// The request.
    request_id: String,
    /// Where the request came from.
    remote: String,
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Of this principal only.
    principal: Option<String>,
    /// About this resource only.
    resource: Option<String>,
    /// Lines before this one: the `next` of the page before.
    before: Option<i64>,
    /// At most so many items: 1 to 1000, 100 without it.
    limit: Option<usize>,
}

/// The audit log, newest first.
#[utoipa::path(tag = "audit", params(AuditQuery), responses((status = 200, body = Page<Line>), Refusals))]
#[get("/audit")]
pub(super) async fn audit_log(call: Call, query: web::Query<AuditQuery>) -> Answer {
    call.administer()?;
    let limit = page_size(query.limit)?;
    let AuditQuery { principal, resource, before, .. } = query.into_inner();
    // Lines are written in batches: whoever looks wants the newest as well.
    call.access().audit().flush().await;
    let mut rows = call.catalog().audit_log(AuditFilter { principal, resource, before, limit: limit + 1 }).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(id, _)| id.to_string());
    ok(&Page { items: rows.into_iter().map(shown).collect(), next })
}

fn shown((id, row): (i64, AuditRow)) -> Line {
    let AuditRow { time, principal, action, resource, outcome, detail, request_id, remote } = row;
    Line { id, time: time.rfc3339(), principal, action, resource, outcome, detail, request_id, remote }
}
