//! `DELETE`: a package's file, or all below a folder. Names stay taken: clients may have the files.

use std::collections::{BTreeMap, BTreeSet};

use entrepot_kit::route::Answer;
use entrepot_kit::{Change, Death, Delete, Error, Precondition, Read, Repository, Request, Resource, Response, Result};
use http::StatusCode;

use super::{ATTEMPTS, at, hosted_only, missing, overtaken};

/// Most files that go in one change.
const MOST: usize = 20_000;

/// Removes packages; the history keeps them.
pub(crate) fn delete(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        hosted_only(repository.kind())?;
        let mut path = request.path.joined();
        if path.is_empty() {
            return Err(Error::bad_request("this would delete every package of the repository: name a file or a folder"));
        }
        if request.path.trailing_slash() {
            path.push('/');
        }
        // To delete is to learn what was there.
        let reader = repository.grant::<Read>(&Resource::Repository).await?;
        for _ in 0..ATTEMPTS {
            let change = plan(&repository, &reader, &path).await?;
            match repository.commit(change).await {
                Ok(_) => return Ok(Response::empty(StatusCode::NO_CONTENT)),
                Err(error) if error.status() == StatusCode::CONFLICT => {}
                Err(error) => return Err(error),
            }
        }
        Err(overtaken(&path))
    })
}

async fn plan(repository: &Repository<Delete>, reader: &Repository<Read>, path: &str) -> Result<Change> {
    let files = if path.ends_with('/') { reader.files_below(path, MOST).await? } else { repository.stored(path).await?.into_iter().collect() };
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        if let (Some(package), Some(version)) = (file.package, file.version) {
            packages.entry(package).or_default().insert(version);
        }
    }
    if packages.is_empty() {
        return Err(missing(path));
    }
    let mut change = Change::new("delete", path);
    for (package, versions) in packages {
        repository.grant::<Delete>(&Resource::Package(package.clone())).await?;
        let state = repository.package(&package).await?;
        let are_all = repository.versions(&package).await?.iter().all(|known| !known.live || versions.contains(&known.version));
        if are_all {
            // What comes meanwhile must not go with the package.
            change = change.only_if(at(&package, state.as_ref())).end(Death::Package(package));
            continue;
        }
        for version in versions {
            change = change.only_if(Precondition::VersionLive { package: package.clone(), version: version.clone() });
            change = change.end(Death::Version { package: package.clone(), version });
        }
    }
    Ok(change)
}
