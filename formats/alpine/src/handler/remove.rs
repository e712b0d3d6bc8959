//! `DELETE`: a package's file. Its name stays taken: clients may have it.

use entrepot_kit::route::Answer;
use entrepot_kit::{Change, Death, Delete, Precondition, Repository, Request, Resource, Response, Result};
use http::StatusCode;

use super::put::package_at;
use super::{ATTEMPTS, at, hosted_only, missing, overtaken};
use crate::place;

/// Removes a package; the history keeps it.
pub(crate) fn delete(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        hosted_only(repository.kind())?;
        let path = request.path.joined();
        let (folder, file) = package_at(&path)?;
        let (package, version) = place::split(&file).ok_or_else(|| missing(&path))?;
        let repository = repository.grant::<Delete>(&Resource::Package(package.to_owned())).await?;
        for _ in 0..ATTEMPTS {
            match repository.commit(plan(&repository, &path, package, &place::version(version, &folder)).await?).await {
                Ok(_) => return Ok(Response::empty(StatusCode::NO_CONTENT)),
                Err(error) if error.status() == StatusCode::CONFLICT => {}
                Err(error) => return Err(error),
            }
        }
        Err(overtaken(package))
    })
}

async fn plan(repository: &Repository<Delete>, path: &str, package: &str, version: &str) -> Result<Change> {
    let state = repository.package(package).await?;
    let digest = repository.stored(path).await?.and_then(|entry| entry.digest).ok_or_else(|| missing(path))?;
    let change = Change::new("delete", format!("{package} {version}")).only_if(Precondition::EntryIs { path: path.to_owned(), digest });
    let has_others = repository.versions(package).await?.iter().any(|found| found.live && found.version != version);
    if has_others {
        return Ok(change.end(Death::Version { package: package.to_owned(), version: version.to_owned() }));
    }
    // What comes meanwhile must not go with the package.
    Ok(change.only_if(at(package, state.as_ref())).end(Death::Package(package.to_owned())))
}
