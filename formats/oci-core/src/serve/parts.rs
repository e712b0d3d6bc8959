//! The blobs that a manifest names: they must be in its image.

use std::collections::BTreeSet;

use entrepot_kit::{Birth, Change, Error, Publish, Repository, Result};
use http::StatusCode;

use crate::Manifest;
use crate::error::MANIFEST_BLOB_UNKNOWN;

/// Where the blobs of a manifest are, each once.
#[must_use]
pub fn paths(image: &str, manifest: &Manifest) -> BTreeSet<String> {
    manifest.blobs().map(|descriptor| format!("{image}/blobs/{}", descriptor.digest)).collect()
}

/// Sees that the blobs of a manifest are in its image. Those that housekeeping took lately come back: the client may have seen them before
/// that, and sent nothing again.
///
/// # Errors
/// 400 naming a blob that is not in the image; failures of the store.
pub async fn demand(repository: &Repository<Publish>, image: &str, manifest: &Manifest) -> Result<()> {
    for path in paths(image, manifest) {
        if repository.stored(&path).await?.is_some() {
            continue;
        }
        let digest = path.rsplit('/').next().unwrap_or_default();
        let again = Change::new("publish", format!("{image} {digest}")).begin(Birth::Again(path.clone()));
        match repository.commit(again).await {
            Ok(_) => {}
            Err(error) if error.status() == StatusCode::CONFLICT => {
                let why = format!("the manifest names {digest}, which is not in {image}: push it (or mount it) first");
                return Err(Error::bad_request(why).with_code(MANIFEST_BLOB_UNKNOWN));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
