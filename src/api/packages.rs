//! What is in a repository: packages and versions, listed and deleted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actix_web::{delete, get, web};
use entrepot_kit::{Action, Change, Death, Error, Kind, PackageState, Precondition, Sha256Digest, Timestamp, VersionState};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::call::{Answer, Call, Page, PageQuery, Refusal, done, ok, page_size};
use super::openapi::Refusals;
use crate::registry::reader::Reader;
use crate::registry::{Repo, View};
use crate::store::facts::Pulls;

/// Longest text that is searched for.
const MAX_SEARCH: usize = 256;

/// A package.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Package {
    /// Its name.
    name: String,
    /// When it was first published.
    #[schema(format = DateTime)]
    created: String,
    /// When it was changed last.
    #[schema(format = DateTime)]
    modified: String,
    /// The revision that changed it last.
    revision: u64,
    /// What its format says about it as a whole; only where one package is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<Box<RawValue>>,
}

/// A version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Version {
    /// Its name.
    version: String,
    /// When it was first published.
    #[schema(format = DateTime)]
    published: String,
    /// Whether it was deleted. Its name stays taken; it can be restored.
    deleted: bool,
    /// When it was asked for last, as far as that was written down: up to a minute ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    last_pulled: Option<String>,
    /// How often its files were downloaded.
    pulls: u64,
}

/// Which packages.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PackageQuery {
    /// Continue behind this: the `next` of the page before.
    after: Option<String>,
    /// At most so many items: 1 to 1000, 100 without it.
    limit: Option<usize>,
    /// Words to search for, each the beginning of a word of the package; best matches first.
    q: Option<String>,
}

fn shown(package: &PackageState) -> Package {
    let (created, modified) = (package.created.rfc3339(), package.modified.rfc3339());
    Package { name: package.name.clone(), created, modified, revision: package.changed, metadata: None }
}

/// The repository itself, or the members of a group that the caller may read.
async fn sources(call: &Call, repo: &Arc<Repo>, package: Option<&str>) -> Result<Vec<Arc<Repo>>, Refusal> {
    let reader = Reader::new(Arc::clone(call.engine()), call.context.caller.clone(), call.context.now, None);
    let mut sources = reader.readable(repo, package).await?;
    if let (Kind::Group, Some(name)) = (repo.kind(), package) {
        let candidates: Vec<i64> = call.engine().candidates(repo, name, true).await?.iter().map(|leaf| leaf.repo.id()).collect();
        sources.retain(|source| candidates.contains(&source.id()));
    }
    Ok(sources)
}

/// Whether the rules on the way to a source admit a name, and the caller may read the package there.
async fn visible(call: &Call, repo: &Arc<Repo>, source: &Arc<Repo>, name: &str) -> Result<bool, Refusal> {
    let leaves = repo.leaves.iter().filter(|leaf| leaf.repo.id() == source.id());
    let admitted = repo.rules.admits(name) && (repo.kind() != Kind::Group || leaves.into_iter().any(|leaf| leaf.rules.iter().all(|rules| rules.admits(name))));
    Ok(admitted && call.allows(Action::Read, &repo.target(Some(name))).await? && call.allows(Action::Read, &source.target(Some(name))).await?)
}

/// The packages of a repository that the caller may read, by name. A page may have fewer items than asked for and still have a `next`.
#[utoipa::path(
    tag = "packages", responses((status = 200, body = Page<Package>), Refusals),
    params(("system" = String, Path, description = "The system."), ("name" = String, Path, description = "The repository."), PackageQuery)
)]
#[get("/repositories/{system}/{name}/packages")]
pub(super) async fn list_packages(call: Call, path: web::Path<(String, String)>, query: web::Query<PackageQuery>) -> Answer {
    let repo = call.repo(&path.0, &path.1, Action::Read, None).await?;
    let limit = page_size(query.limit)?;
    let sources = sources(&call, &repo, None).await?;
    match &query.q {
        Some(text) => search(&call, &repo, &sources, text, query.after.as_deref(), limit).await,
        None => by_name(&call, &repo, &sources, query.after.clone(), limit).await,
    }
}

async fn by_name(call: &Call, repo: &Arc<Repo>, sources: &[Arc<Repo>], after: Option<String>, limit: usize) -> Answer {
    let mut found = BTreeMap::new();
    for source in sources {
        for package in call.catalog().packages(source.id(), after.clone(), limit + 1, None).await? {
            found.entry(package.name.clone()).or_insert_with(Vec::new).push((source, package));
        }
    }
    let next = if found.len() > limit { found.keys().nth(limit - 1).cloned() } else { None };
    let mut items = Vec::new();
    for (name, places) in found.into_iter().take(limit) {
        for (source, package) in places {
            if visible(call, repo, source, &name).await? {
                items.push(shown(&package));
                break;
            }
        }
    }
    ok(&Page { items, next })
}

async fn search(call: &Call, repo: &Arc<Repo>, sources: &[Arc<Repo>], text: &str, after: Option<&str>, limit: usize) -> Answer {
    if text.len() > MAX_SEARCH {
        return Err(Error::bad_request(format!("q is longer than {MAX_SEARCH} bytes")).into());
    }
    let from = after.map_or(Ok(0), str::parse::<usize>);
    let from = from.map_err(|_| Error::bad_request("with q, after is the next of the page before"))?;
    let ids: Vec<i64> = sources.iter().map(|source| source.id()).collect();
    let (found, total) = if ids.is_empty() { (Vec::new(), 0) } else { call.catalog().search(&ids, text, from, limit).await? };
    let behind = from.saturating_add(found.len());
    let next = (!found.is_empty() && (behind as u64) < total).then(|| behind.to_string());
    let mut items: Vec<Package> = Vec::new();
    for (id, package) in found {
        let Some(source) = sources.iter().find(|source| source.id() == id) else { continue };
        if items.iter().all(|item| item.name != package.name) && visible(call, repo, source, &package.name).await? {
            items.push(shown(&package));
        }
    }
    ok(&Page { items, next })
}

fn no_package(repo: &Repo, package: &str) -> Refusal {
    Error::not_found(format!("{} has no package {package:?}", repo.address())).into()
}

/// A package.
#[utoipa::path(
    tag = "packages", responses((status = 200, body = Package), Refusals),
    params(
        ("system" = String, Path, description = "The system."), ("name" = String, Path, description = "The repository."),
        ("package" = String, Path, description = "The package, its slashes as %2f.")
    )
)]
#[get("/repositories/{system}/{name}/packages/{package}")]
pub(super) async fn get_package(call: Call, path: web::Path<(String, String, String)>) -> Answer {
    let (system, name, package) = path.into_inner();
    let repo = call.repo(&system, &name, Action::Read, Some(&package)).await?;
    for source in sources(&call, &repo, Some(&package)).await? {
        if let Some(state) = call.catalog().package(source.id(), &package, None).await? {
            let mut answer = shown(&state);
            answer.metadata = RawValue::from_string(state.document).ok();
            return ok(&answer);
        }
    }
    Err(no_package(&repo, &package))
}

/// The versions of a package in their format's order, deleted ones among them.
#[utoipa::path(
    tag = "packages", responses((status = 200, body = Page<Version>), Refusals),
    params(
        ("system" = String, Path, description = "The system."), ("name" = String, Path, description = "The repository."),
        ("package" = String, Path, description = "The package, its slashes as %2f."), PageQuery
    )
)]
#[get("/repositories/{system}/{name}/packages/{package}/versions")]
pub(super) async fn list_versions(call: Call, path: web::Path<(String, String, String)>, query: web::Query<PageQuery>) -> Answer {
    let (system, name, package) = path.into_inner();
    let repo = call.repo(&system, &name, Action::Read, Some(&package)).await?;
    let limit = page_size(query.limit)?;
    let mut versions: Vec<VersionState> = Vec::new();
    for source in sources(&call, &repo, Some(&package)).await? {
        for version in call.catalog().versions(source.id(), &package).await? {
            match versions.iter_mut().find(|known| known.version == version.version) {
                Some(known) if !known.live && version.live => *known = version,
                Some(_) => {}
                None => versions.push(version),
            }
        }
    }
    if versions.is_empty() {
        return Err(no_package(&repo, &package));
    }
    let order = |one: &str, other: &str| repo.format.version_order(one, other).then_with(|| one.cmp(other));
    versions.sort_by(|one, other| order(&one.version, &other.version));
    let behind = |version: &VersionState| query.after.as_deref().is_none_or(|after| order(&version.version, after).is_gt());
    let used = used(&call, &repo, &package).await?;
    let mut items: Vec<_> = versions.iter().filter(|version| behind(version)).take(limit + 1).map(|version| shown_version(version, &used)).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    ok(&Page { next: items.last().filter(|_| more).map(|last| last.version.clone()), items })
}

/// How the versions of a package were used, under whichever name of their bytes.
async fn used(call: &Call, repo: &Arc<Repo>, package: &str) -> Result<HashMap<String, Pulls>, Refusal> {
    let mut used: HashMap<String, Pulls> = HashMap::new();
    for source in sources(call, repo, Some(package)).await? {
        let mut by_blob: HashMap<Sha256Digest, Pulls> = HashMap::new();
        let mut by_version: HashMap<String, Vec<Sha256Digest>> = HashMap::new();
        for (_, blob, pulls) in call.catalog().package_pulls(source.id(), package).await? {
            let known = by_blob.entry(blob).or_default();
            *known = known.and(pulls);
        }
        if by_blob.is_empty() {
            continue;
        }
        for (version, blob) in call.catalog().version_blobs(source.id(), package).await? {
            by_version.entry(version).or_default().push(blob);
        }
        for (version, blobs) in by_version {
            for pulls in blobs.iter().filter_map(|blob| by_blob.get(blob)) {
                let known = used.entry(version.clone()).or_default();
                *known = known.and(*pulls);
            }
        }
    }
    Ok(used)
}

fn shown_version(state: &VersionState, used: &HashMap<String, Pulls>) -> Version {
    let VersionState { version, published, live, .. } = state;
    let pulls = used.get(version);
    Version {
        version: version.clone(),
        published: Timestamp::rfc3339(*published),
        deleted: !live,
        last_pulled: pulls.map(|pulls| pulls.last.rfc3339()),
        pulls: pulls.map_or(0, |pulls| pulls.downloads),
    }
}

/// The live state of a package that is going to be changed.
pub(super) async fn live(call: &Call, repo: &Arc<Repo>, package: &str) -> Result<PackageState, Refusal> {
    View { repo: Arc::clone(repo), moment: None }.check_writable()?;
    call.catalog().package(repo.id(), package, None).await?.ok_or_else(|| no_package(repo, package))
}

/// Deletes a package with its versions and files. It can be restored. Demands `delete` on it.
#[utoipa::path(
    tag = "packages", responses((status = 204), Refusals),
    params(
        ("system" = String, Path, description = "The system."), ("name" = String, Path, description = "The repository."),
        ("package" = String, Path, description = "The package, its slashes as %2f.")
    )
)]
#[delete("/repositories/{system}/{name}/packages/{package}")]
pub(super) async fn delete_package(call: Call, path: web::Path<(String, String, String)>) -> Answer {
    let (system, name, package) = path.into_inner();
    let repo = call.repo(&system, &name, Action::Delete, Some(&package)).await?;
    live(&call, &repo, &package).await?;
    call.manage(&repo, &package, Change::new("delete", &package).end(Death::Package(package.clone())), Vec::new()).await?;
    done()
}

/// Deletes a version with its files; with the last one the package. It can be restored. Demands `delete` on the package.
#[utoipa::path(
    tag = "packages", responses((status = 204), Refusals),
    params(
        ("system" = String, Path, description = "The system."), ("name" = String, Path, description = "The repository."),
        ("package" = String, Path, description = "The package, its slashes as %2f."), ("version" = String, Path, description = "The version.")
    )
)]
#[delete("/repositories/{system}/{name}/packages/{package}/versions/{version}")]
pub(super) async fn delete_version(call: Call, path: web::Path<(String, String, String, String)>) -> Answer {
    let (system, name, package, version) = path.into_inner();
    let repo = call.repo(&system, &name, Action::Delete, Some(&package)).await?;
    let state = live(&call, &repo, &package).await?;
    let versions = call.catalog().versions(repo.id(), &package).await?;
    if !versions.iter().any(|known| known.live && known.version == version) {
        return Err(Error::not_found(format!("{package:?} has no version {version:?}")).into());
    }
    let only = versions.iter().filter(|known| known.live).count() == 1;
    let death = if only { Death::Package(package.clone()) } else { Death::Version { package: package.clone(), version: version.clone() } };
    // What was found out above still holds, or nothing happens.
    let unchanged = Precondition::PackageAt { package: package.clone(), revision: state.changed };
    call.manage(&repo, &package, Change::new("delete", format!("{package} {version}")).only_if(unchanged).end(death), Vec::new()).await?;
    done()
}
