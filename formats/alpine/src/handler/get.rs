//! `GET`: packages, indexes, folders.

use entrepot_kit::route::Answer;
use entrepot_kit::{File, Kind, Read, Repository, Request, Resource, Response, Result, listing};

use super::{group, index, missing, proxy};
use crate::index::GZIP;
use crate::place::{self, Folder, Place};

/// Answers with what the path leads to.
pub(crate) fn get(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let path = request.path.joined();
        if request.path.trailing_slash() {
            return listing::get(&repository, request, &path, None).await;
        }
        if request.path.segments().iter().any(|segment| segment.contains('/')) {
            return Err(missing(&path));
        }
        match place::place(&path) {
            Some(Place::Index(folder)) => match repository.kind() {
                // As it came, with the signatures that it came with.
                Kind::Proxy => Ok(Response::file(proxy::index(&repository, &folder).await?.ok_or_else(|| missing(&path))?)),
                Kind::Hosted | Kind::Group => Ok(Response::document(index::document(&repository, &folder).await?.ok_or_else(|| missing(&path))?)),
            },
            Some(Place::Package(folder, file)) => {
                if let Some((name, _)) = place::split(&file) {
                    repository.grant::<Read>(&Resource::Package(name.to_owned())).await?;
                }
                let found = package(&repository, &folder, &file).await?;
                Ok(Response::file(found.ok_or_else(|| missing(&path))?))
            }
            None => Err(missing(&path)),
        }
    })
}

/// The file of a package; one that fits all architectures is found below each.
pub(super) async fn package(repository: &Repository<Read>, folder: &Folder, file: &str) -> Result<Option<File>> {
    match repository.kind() {
        Kind::Proxy => proxy::package(repository, folder, file).await,
        Kind::Group => group::package(repository, folder, file).await,
        Kind::Hosted => {
            if let Some(found) = repository.entry(&(folder.path() + file)).await? {
                return Ok(Some(found));
            }
            repository.entry(&(folder.noarch().path() + file)).await
        }
    }
}

/// The media type of an index.
pub(super) fn typed(mut file: File) -> File {
    file.entry.content_type = Some(GZIP.to_owned());
    file
}
