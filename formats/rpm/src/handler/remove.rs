//! `DELETE`: a package, by its path or by what it is.

use entrepot_kit::route::Answer;
use entrepot_kit::{Change, Death, Delete, Error, Precondition, Repository, Request, Response, Result};
use http::StatusCode;

use super::{ATTEMPTS, extras, missing, overtaken, writable_path};
use crate::repodata;

/// Removes a package, or what was uploaded beside packages; the history keeps both.
pub(crate) fn delete(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        let path = writable_path(repository.kind(), &request)?;
        if request.path.trailing_slash() || path.is_empty() {
            return Err(Error::bad_request("packages are deleted one by one: name a file"));
        }
        if let Some((_, name)) = repodata::split(&path)
            && repository.stored(&path).await?.is_none_or(|entry| entry.version.is_none())
        {
            return extras::delete(&repository, &path, name).await;
        }
        let path = match repository.stored(&path).await? {
            Some(_) => path,
            None => by_coordinates(request.path.segments()).unwrap_or(path),
        };
        remove(&repository, &path).await
    })
}

/// `{group}/package/{name}/{version}/{architecture}` as a path.
fn by_coordinates(segments: &[String]) -> Option<String> {
    let (group, rest) = segments.split_at_checked(segments.len().checked_sub(4)?)?;
    let [word, name, version, arch] = rest else { return None };
    let folder: String = group.iter().map(|segment| format!("{segment}/")).collect();
    (word == "package").then(|| format!("{folder}{name}-{version}.{arch}.rpm"))
}

async fn remove(repository: &Repository<Delete>, path: &str) -> Result<Response> {
    for _ in 0..ATTEMPTS {
        let entry = repository.stored(path).await?.ok_or_else(|| missing(path))?;
        let change = Change::new("delete", path);
        let change = match (entry.package, entry.version) {
            (Some(package), Some(version)) => {
                let state = repository.package(&package).await?.ok_or_else(|| missing(path))?;
                let others = repository.versions(&package).await?;
                let is_last = !others.iter().any(|other| other.live && other.version != version);
                // On the condition that nobody publishes another version meanwhile.
                let change = change.only_if(Precondition::PackageAt { package: package.clone(), revision: state.changed });
                change.end(if is_last { Death::Package(package) } else { Death::Version { package, version } })
            }
            _ => change.end(Death::Entry(path.to_owned())),
        };
        match repository.commit(change).await {
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            other => return other.map(|_| Response::empty(StatusCode::NO_CONTENT)),
        }
    }
    Err(overtaken(path))
}
