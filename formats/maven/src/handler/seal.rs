//! Releases that take no more files: by their age, or because somebody said so.

use entrepot_kit::route::Answer;
use entrepot_kit::{Access, Change, Death, Error, Manage, Precondition, Publish, Repository, Request, Response, Result, Timestamp};
use http::StatusCode;

use super::commit::own_entry;
use super::{ATTEMPTS, overtaken, writable_path};
use crate::coordinates::{SEALED, release_of_folder, version_folder};
use crate::settings;

/// The mark of a release that is sealed.
pub(crate) fn mark(package: &str, version: &str) -> String {
    format!("{SEALED}{}", version_folder(package, version))
}

/// Refuses more files of a release that is sealed.
///
/// # Errors
/// 409 with the reason.
pub(crate) async fn check<A: Access>(repository: &Repository<A>, package: &str, version: &str, published: Timestamp) -> Result<()> {
    let sealed = |why: String| {
        Err(Error::conflict(format!("{package} {version} takes no more files: {why}; deploy another version"))
            .with_reason("This version is sealed and takes no more files: deploy another version"))
    };
    if let Some(hours) = settings::sealed_by_age(repository, published) {
        return sealed(format!("its first came more than {hours} hours ago"));
    }
    match repository.stored(&mark(package, version)).await? {
        Some(mark) => sealed(format!("it was sealed at {}", mark.created.rfc3339())),
        None => Ok(()),
    }
}

/// The release that a request names by its folder.
fn release<A: Access>(repository: &Repository<A>, request: &Request) -> Result<(String, String)> {
    writable_path(repository.kind(), request)?;
    let folder = request.captures.get("path");
    let release = release_of_folder(folder).map(|(package, version)| (package, version.to_owned()));
    release.ok_or_else(|| Error::bad_request(format!("{folder:?} is not the folder of a release, such as com/acme/lib/1.0: only releases are sealed")))
}

/// `POST .sealed/{folder}`: a release takes no more files.
pub(crate) fn seal(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        let (package, version) = release(&repository, &request)?;
        let path = mark(&package, &version);
        for _ in 0..ATTEMPTS {
            if !repository.version(&package, &version).await?.is_some_and(|found| found.live) {
                return Err(Error::not_found(format!("there is no {package} {version} in this repository")));
            }
            if repository.stored(&path).await?.is_some() {
                return Ok(Response::empty(StatusCode::NO_CONTENT));
            }
            let change = Change::new("seal", format!("{package} {version}"))
                .only_if(Precondition::VersionLive { package: package.clone(), version: version.clone() })
                .only_if(Precondition::EntryAbsent(path.clone()))
                .begin(own_entry(&repository, path.clone(), &package, &version, String::new()).await?);
            match repository.commit(change).await {
                Err(error) if error.status() == StatusCode::CONFLICT => {}
                other => return other.map(|_| Response::empty(StatusCode::NO_CONTENT)),
            }
        }
        Err(overtaken(&package))
    })
}

/// `DELETE .sealed/{folder}`: it takes files again, where its age allows it.
pub(crate) fn unseal(repository: Repository<Manage>, request: Request) -> Answer {
    Box::pin(async move {
        let (package, version) = release(&repository, &request)?;
        let path = mark(&package, &version);
        if repository.stored(&path).await?.is_none() {
            return Err(Error::not_found(format!("{package} {version} is not sealed")));
        }
        repository.commit(Change::new("unseal", format!("{package} {version}")).end(Death::Entry(path))).await?;
        Ok(Response::empty(StatusCode::NO_CONTENT))
    })
}
