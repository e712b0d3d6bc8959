//! Unpublish: what a client does in three requests, each of which can be repeated.

use entrepot_kit::route::Answer;
use entrepot_kit::{Change, Death, Delete, Error, PackageState, Precondition, Repository, Request, Response, Result, VersionState, blocking};
use http::StatusCode;

use super::{changed, not_found, package, parse_stored, refuse_proxy, stale, tag::package_birth};
use crate::attachments::MAX_OUTLINE;
use crate::name::NpmName;
use crate::packument;
use crate::publish::{Put, package_document, parse_rev, read_put};
use crate::raw::RawObject;
use crate::version::natural_latest;

/// `PUT /{package}/-rev/{rev}`: the packument without the versions that shall go. Nothing else of it is taken.
pub(crate) fn versions(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        refuse_proxy(repository.kind())?;
        let name = package(request.captures.get("package"))?;
        let state = current(&repository, &name, request.captures.get("rev")).await?;
        let outline = request.body.collect(MAX_OUTLINE).await?;
        let reader = name.clone();
        let Put::Edit(edit) = blocking(move || read_put(&reader, &outline, None)).await? else {
            return Err(Error::bad_request("this request takes a packument"));
        };
        let Some(kept) = edit.versions else {
            return Err(Error::not_implemented("who may change a package is decided by the server's policies; its maintainers are not edited here"));
        };
        let kept: std::collections::HashSet<String> = kept.into_iter().map(|(version, _)| version).collect();
        let live: Vec<VersionState> = repository.versions(name.as_str()).await?.into_iter().filter(|version| version.live).collect();
        let (remaining, removed): (Vec<_>, Vec<_>) = live.into_iter().partition(|version| kept.contains(&version.version));
        if removed.is_empty() {
            return changed(StatusCode::OK, &name, state.changed);
        }
        let revision = repository.commit(plan(&name, &state, &remaining, &removed, &repository.principal().name)?).await?;
        changed(StatusCode::CREATED, &name, revision)
    })
}

/// Without its last version a package is gone. A tag whose version is gone goes too, but for `latest`, which moves.
fn plan(name: &NpmName, state: &PackageState, remaining: &[VersionState], removed: &[VersionState], principal: &str) -> Result<Change> {
    let subject = removed.iter().take(20).fold(name.as_str().to_owned(), |subject, version| format!("{subject} {}", version.version));
    let mut change = Change::new("unpublish", subject).only_if(Precondition::PackageAt { package: name.as_str().to_owned(), revision: state.changed });
    let versions = || remaining.iter().map(|version| version.version.as_str());
    let Some(natural) = natural_latest(versions()) else { return Ok(change.end(Death::Package(name.as_str().to_owned()))) };
    let mut tags = RawObject::parse(&state.document).map(|document| packument::tags(&document)).unwrap_or_default();
    tags.retain(|_, version| versions().any(|live| live == version));
    let moved = !tags.contains_key("latest");
    let latest = tags.entry(String::from("latest")).or_insert_with(|| natural.to_owned());
    let shown = match remaining.iter().find(|version| version.version == *latest).filter(|_| moved) {
        Some(version) => Some(parse_stored(&version.document)?),
        None => None,
    };
    change.deaths = removed.iter().map(|version| Death::Version { package: name.as_str().to_owned(), version: version.version.clone() }).collect();
    Ok(change.begin(package_birth(name, package_document(Some(&state.document), &tags, shown.as_ref(), principal))?))
}

/// `DELETE /{package}/-rev/{rev}`: the package with all its versions.
pub(crate) fn all(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        refuse_proxy(repository.kind())?;
        let name = package(request.captures.get("package"))?;
        let state = current(&repository, &name, request.captures.get("rev")).await?;
        let change = Change::new("unpublish", name.as_str())
            .only_if(Precondition::PackageAt { package: name.as_str().to_owned(), revision: state.changed })
            .end(Death::Package(name.as_str().to_owned()));
        let revision = repository.commit(change).await?;
        changed(StatusCode::OK, &name, revision)
    })
}

/// `DELETE /{package}/-/{file}/-rev/{rev}`: the client's last step. The version, and its file with it, is gone already.
pub(crate) fn file(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        refuse_proxy(repository.kind())?;
        let name = package(request.captures.get("package"))?;
        let file = request.captures.get("file");
        let version = file.strip_prefix(name.base()).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| rest.strip_suffix(".tgz"));
        if let Some(version) = version
            && repository.version(name.as_str(), version).await?.is_some_and(|state| state.live)
        {
            return Err(Error::conflict(format!("the version {version} lives; remove it from the package first, as `npm unpublish` does")));
        }
        Response::json(StatusCode::OK, &serde_json::json!({"ok": true}))
    })
}

/// The package as the client read it, or 409.
async fn current(repository: &Repository<Delete>, name: &NpmName, rev: &str) -> Result<PackageState> {
    let state = repository.package(name.as_str()).await?.ok_or_else(not_found)?;
    if parse_rev(rev) == Some(state.changed) { Ok(state) } else { Err(stale()) }
}
