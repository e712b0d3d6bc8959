//! `DELETE`: a file, or a folder with all that lies below it.

use entrepot_kit::{Change, Death, Delete, Error, Precondition, Read, Repository, Request, Resource, Response, Result};
use http::StatusCode;

use crate::upload::{check_conditions, is_folder, writable_path};

/// Removes a file or a folder; the history keeps both.
pub(crate) async fn delete(repository: Repository<Delete>, request: Request) -> Result<Response> {
    let path = writable_path(repository.kind(), &request)?;
    if path.is_empty() {
        return Err(Error::bad_request("this would delete every file of the repository: name a file or a folder"));
    }
    // To delete is to learn what was there.
    let reader = repository.grant::<Read>(&Resource::Repository).await?;
    let file = if request.path.trailing_slash() { None } else { reader.entry(&path).await?.map(|file| file.entry) };
    check_conditions(&request.headers, file.as_ref())?;
    let change = match file.and_then(|entry| entry.digest) {
        Some(digest) => Change::new("delete", path.clone()).only_if(Precondition::EntryIs { path: path.clone(), digest }).end(Death::Entry(path)),
        None if is_folder(&reader, &path).await? => Change::new("delete", format!("{path}/")).end(Death::Folder(format!("{path}/"))),
        None => return Err(Error::not_found(format!("there is no file or folder {path:?} in this repository"))),
    };
    repository.commit(change).await?;
    Ok(Response::empty(StatusCode::NO_CONTENT))
}
