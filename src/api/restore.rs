//! The past of a repository: who changed what, and bringing back what was deleted.

use actix_web::{get, post, web};
use entrepot_kit::{Action, Change, Error, Kind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::call::{Answer, Call, MAX_BODY, Page, ok, page_size};
use super::openapi::Refusals;
use crate::registry::View;
use crate::store::model::{NewRow, RevisionRow};

/// A change of a repository.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Revision {
    /// Its number.
    revision: u64,
    /// When.
    #[schema(format = DateTime)]
    time: String,
    /// Who.
    #[schema(example = "user:alice")]
    principal: String,
    /// What.
    #[schema(example = "publish")]
    action: String,
    /// About what.
    subject: String,
    /// The request that asked for it.
    request_id: String,
}

/// That something came back.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Restored {
    /// The revision that brought it back.
    revision: u64,
}

/// An entry to be brought back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryToRestore {
    /// Its path in the repository.
    path: String,
}

/// Which part of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Revisions before this one: the `next` of the page before.
    before: Option<u64>,
    /// At most so many items: 1 to 1000, 100 without it.
    limit: Option<usize>,
}

fn shown(row: RevisionRow) -> Revision {
    let RevisionRow { number, time, principal, action, subject, request_id } = row;
    Revision { revision: number, time: time.rfc3339(), principal, action, subject, request_id }
}

/// Brings a deleted package back, with the versions and files that were deleted with it. Demands `delete` on it.
#[utoipa::path(
    tag = "packages", responses((status = 200, body = Restored), Refusals),
    params(
        ("system" = String, Path, description = "The system."), ("name" = String, Path, description = "The repository."),
        ("package" = String, Path, description = "The package, its slashes as %2f.")
    )
)]
#[post("/repositories/{system}/{name}/packages/{package}/restore")]
pub(super) async fn restore_package(call: Call, path: web::Path<(String, String, String)>) -> Answer {
    let (system, name, package) = path.into_inner();
    restore(&call, &system, &name, &package, &package, NewRow::RestoredPackage { package: package.clone() }).await
}

/// Brings a deleted version back, with its files, and its package if that is gone too. Demands `delete` on the package.
#[utoipa::path(
    tag = "packages", responses((status = 200, body = Restored), Refusals),
    params(
        ("system" = String, Path, description = "The system."), ("name" = String, Path, description = "The repository."),
        ("package" = String, Path, description = "The package, its slashes as %2f."), ("version" = String, Path, description = "The version.")
    )
)]
#[post("/repositories/{system}/{name}/packages/{package}/versions/{version}/restore")]
pub(super) async fn restore_version(call: Call, path: web::Path<(String, String, String, String)>) -> Answer {
    let (system, name, package, version) = path.into_inner();
    let subject = format!("{package} {version}");
    restore(&call, &system, &name, &package, &subject, NewRow::RestoredVersion { package: package.clone(), version }).await
}

/// Brings a deleted file back. Demands `delete` on the package that it belongs to, or on its path.
#[utoipa::path(
    tag = "packages", request_body = EntryToRestore, responses((status = 200, body = Restored), Refusals),
    params(("system" = String, Path, description = "The system."), ("name" = String, Path, description = "The repository."))
)]
#[post("/repositories/{system}/{name}/entries/restore")]
pub(super) async fn restore_entry(call: Call, path: web::Path<(String, String)>) -> Answer {
    let (system, name) = path.into_inner();
    let repo = call.repo(&system, &name, Action::Read, None).await?;
    let entry: EntryToRestore = call.json(MAX_BODY).await?;
    // Those are the engine's own: kept upstream documents.
    if entry.path.starts_with('/') {
        return Err(Error::bad_request("path is written without a slash at its beginning").into());
    }
    let package = repo.format.package_of(&entry.path).unwrap_or_else(|| entry.path.clone());
    restore(&call, &system, &name, &package, &entry.path, NewRow::RestoredEntry { path: entry.path.clone() }).await
}

async fn restore(call: &Call, system: &str, name: &str, package: &str, subject: &str, row: NewRow) -> Answer {
    let repo = call.repo(system, name, Action::Delete, Some(package)).await?;
    View { repo: repo.clone(), moment: None }.check_writable()?;
    // A document that it leads to may have ended later, and what that needs.
    let rows = call.engine().restoration(&repo, package, row).await?;
    let revision = call.manage(&repo, package, Change::new("restore", subject), rows).await?;
    ok(&Restored { revision })
}

/// The revisions of a repository, newest first. Demands `read`; what concerns packages that the caller may not read is left out.
#[utoipa::path(
    tag = "packages", responses((status = 200, body = Page<Revision>), Refusals),
    params(("system" = String, Path, description = "The system."), ("name" = String, Path, description = "The repository."), HistoryQuery)
)]
#[get("/repositories/{system}/{name}/history")]
pub(super) async fn history(call: Call, path: web::Path<(String, String)>, query: web::Query<HistoryQuery>) -> Answer {
    let repo = call.repo(&path.0, &path.1, Action::Read, None).await?;
    let limit = page_size(query.limit)?;
    if repo.kind() == Kind::Group {
        return Err(Error::not_found("a group has no revisions of its own: ask for the history of its members").into());
    }
    let mut rows = call.catalog().history(repo.id(), query.before, limit + 1).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| row.number.to_string());
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        // A subject is a package, alone or with a version behind it, or a path.
        let package = row.subject.split(' ').next().unwrap_or_default().to_owned();
        let readable = call.allows(Action::Read, &repo.target(Some(&package))).await? && call.allows(Action::Read, &repo.target(Some(&row.subject))).await?;
        if readable {
            items.push(shown(row));
        }
    }
    ok(&Page { items, next })
}
