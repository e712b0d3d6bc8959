//! Blobs: configurations, layers and whatever else manifests name.

use entrepot_kit::{Birth, BlobSource};
use entrepot_kit::{Change, Death, Delete, Error, File, Publish, Read, Repository, Request, Response, Result, Staged};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use std::sync::Arc;

use super::{CONTENT_DIGEST, image};
use crate::Digest;
use crate::error::BLOB_UNKNOWN;
use crate::layout;

/// The answer for a blob that is not in this image. Whether it is in another one does not count, and does not show.
#[must_use]
pub fn no_blob(image: &str, digest: &str) -> Error {
    let shown: String = digest.chars().take(200).collect();
    Error::not_found(format!("{image} has no blob {shown:?}")).with_code(BLOB_UNKNOWN)
}

/// `GET` and `HEAD` of a blob.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn get(repository: Repository<Read>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let digest = Digest::demand(request.captures.get("digest"))?;
    let found = repository.entry(&layout::blob(&image, &digest)).await?;
    let file = found.ok_or_else(|| no_blob(&image, request.captures.get("digest")))?;
    // Its name is its digest: whatever else changes, these bytes do not.
    let response = Response::file(File { mutable: false, ..file });
    Ok(response.with_header(CONTENT_DIGEST, &digest.to_string()).with_header(CONTENT_TYPE, "application/octet-stream"))
}

/// `DELETE`: from this image only.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn delete(repository: Repository<Delete>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let digest = Digest::demand(request.captures.get("digest"))?;
    let path = layout::blob(&image, &digest);
    if repository.stored(&path).await?.is_none() {
        return Err(no_blob(&image, request.captures.get("digest")));
    }
    repository.commit(Change::new("delete", path.clone()).end(Death::Entry(path))).await?;
    Ok(Response::empty(StatusCode::ACCEPTED))
}

/// Puts staged bytes into an image.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn link(repository: &Repository<Publish>, image: &str, digest: &Digest, staged: Arc<dyn Staged>) -> Result<()> {
    let birth = Birth::Entry {
        path: layout::blob(image, digest),
        package: Some(image.to_owned()),
        version: None,
        blob: BlobSource::Staged(staged),
        content_type: None,
        data: String::new(),
    };
    repository.keep(birth).await
}

/// The answer to a blob that came in, whichever way.
#[must_use]
pub fn created(request_base: &str, image: &str, digest: &Digest) -> Response {
    let location = format!("{request_base}/{}", layout::blob(image, digest));
    let response = Response::empty(StatusCode::CREATED).with_header(http::header::LOCATION, &location);
    response.with_header(CONTENT_DIGEST, &digest.to_string())
}
