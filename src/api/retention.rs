//! What the rules of a repository let go, on demand.

use std::sync::Arc;

use actix_web::{post, web};
use entrepot_kit::{Action, Error};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::call::{Answer, Call, ok};
use super::openapi::Refusals;
use crate::jobs::keep_rules_of;
use crate::jobs::retention::{Report, What};

/// How the rules are held to.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RetentionQuery {
    /// `true`: only say what would go.
    #[serde(default)]
    dry_run: bool,
}

/// Something that goes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GoneItem {
    /// `version`, `document` (a manifest that nothing holds), `part` (bytes that no document needs), `file` or `package`.
    kind: &'static str,
    /// Its package; empty for files that belong to none.
    package: String,
    /// Its version or path.
    name: String,
}

/// A version or file that stays.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StayingItem {
    /// Its package; empty for files that belong to none.
    package: String,
    /// Its version or path.
    name: String,
    /// Why: `protected`, `among the newest`, `published lately`, `pulled lately`, `named by the package`, `its subject lives`, `no rule`.
    reason: &'static str,
}

/// A number of things.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Counted {
    /// Of which kind, or why.
    what: &'static str,
    /// How many.
    count: u64,
}

/// What went, or would go, and what stays.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RetentionReport {
    /// Whether nothing was changed.
    dry_run: bool,
    /// What goes, at most the first 1000.
    gone: Vec<GoneItem>,
    /// How much goes of each kind.
    gone_counts: Vec<Counted>,
    /// What stays, at most the first 1000.
    stays: Vec<StayingItem>,
    /// How much stays, by reason.
    stays_counts: Vec<Counted>,
    /// Rows of the past that are forgotten: after that, gc frees their bytes.
    forgotten: u64,
    /// Packages that were left alone this time: they changed again and again meanwhile, or are too large.
    passed_over: u64,
}

fn shown(report: Report) -> RetentionReport {
    let gone = |gone: crate::jobs::retention::Gone| GoneItem { kind: gone.what.name(), package: gone.package, name: gone.name };
    let stays = |stays: crate::jobs::retention::Stays| StayingItem { package: stays.package, name: stays.name, reason: stays.reason.text() };
    RetentionReport {
        dry_run: report.dry_run,
        gone: report.gone.into_iter().map(gone).collect(),
        gone_counts: report.gone_of.into_iter().map(|(what, count)| Counted { what: What::name(what), count }).collect(),
        stays: report.stays.into_iter().map(stays).collect(),
        stays_counts: report.stays_for.into_iter().map(|(reason, count)| Counted { what: reason.text(), count }).collect(),
        forgotten: report.forgotten.rows(),
        passed_over: report.passed_over,
    }
}

/// Ends now what the repository's `retention` lets go, or says what that would be. Demands `manage` on it. What ended can be restored as long as
/// its history is kept.
#[utoipa::path(
    tag = "repositories", responses((status = 200, body = RetentionReport), Refusals),
    params(("system" = String, Path, description = "Its system."), ("name" = String, Path, description = "Its name."), RetentionQuery)
)]
#[post("/repositories/{system}/{name}/retention")]
pub(super) async fn keep_rules(call: Call, path: web::Path<(String, String)>, query: web::Query<RetentionQuery>) -> Answer {
    let repo = call.repo(&path.0, &path.1, Action::Manage, None).await?;
    let (engine, address, dry_run) = (Arc::clone(call.engine()), repo.address().clone(), query.dry_run);
    let work = async move { keep_rules_of(&engine, &address, dry_run).await };
    let report = call.engine().detached(work).await?;
    let none = || Error::conflict(format!("{} has no rules: set retention = {{ keep = …, older_than_days = …, … }}", repo.address()));
    ok(&shown(report.ok_or_else(none)?))
}
