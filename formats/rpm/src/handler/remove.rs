//! `DELETE`: a package, by its path or by what it is, or a folder with all that lies below it.

use std::collections::{BTreeMap, BTreeSet};

use entrepot_kit::route::Answer;
use entrepot_kit::{Change, Death, Delete, Error, Precondition, Read, Repository, Request, Resource, Response, Result};
use http::StatusCode;

use super::{ATTEMPTS, extras, missing, overtaken, writable_path};
use crate::repodata;

/// Removes a package, or what was uploaded beside packages; the history keeps both.
pub(crate) fn delete(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        let path = writable_path(repository.kind(), &request)?;
        if path.is_empty() {
            return Err(Error::bad_request("this would delete every package of the repository: name a file or a folder"));
        }
        if request.path.trailing_slash() {
            return folder(&repository, &format!("{path}/")).await;
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

/// Most files of a folder that goes in one change.
const MOST: usize = 20_000;

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

async fn folder(repository: &Repository<Delete>, folder: &str) -> Result<Response> {
    // To delete is to learn what was there.
    let reader = repository.grant::<Read>(&Resource::Repository).await?;
    for _ in 0..ATTEMPTS {
        let files = reader.files_below(folder, MOST).await?;
        if files.is_empty() {
            return Err(Error::not_found(format!("there is no folder {folder:?} in this repository")));
        }
        let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut change = Change::new("delete", folder);
        for file in files {
            match (file.package, file.version) {
                (Some(package), Some(version)) => drop(packages.entry(package).or_default().insert(version)),
                _ => change = change.end(Death::Entry(file.path)),
            }
        }
        for (package, versions) in packages {
            let Some(state) = repository.package(&package).await? else { continue };
            let is_all = repository.versions(&package).await?.iter().all(|known| !known.live || versions.contains(&known.version));
            change = change.only_if(Precondition::PackageAt { package: package.clone(), revision: state.changed });
            if is_all {
                change = change.end(Death::Package(package));
            } else {
                let deaths = versions.into_iter().map(|version| Death::Version { package: package.clone(), version });
                change.deaths.extend(deaths);
            }
        }
        match repository.commit(change).await {
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            other => return other.map(|_| Response::empty(StatusCode::NO_CONTENT)),
        }
    }
    Err(overtaken(folder))
}
