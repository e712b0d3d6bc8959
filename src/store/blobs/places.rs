//! The names of stored blobs: `<digest>-<unique>`, never used twice. Those of the first version have no `-<unique>`.

use entrepot_kit::{Error, Result, Sha256Digest};

use crate::store::model::BlobPlace;

/// A name for a blob that no other has, or had.
pub(super) fn unique_name(digest: &Sha256Digest) -> Result<String> {
    let mut unique = [0; 8];
    getrandom::fill(&mut unique).map_err(|cause| Error::internal(cause.to_string()))?;
    Ok(format!("{digest}-{}", hex::encode(unique), digest = digest.hex()))
}

/// The name of a stored blob.
///
/// # Errors
/// 500 when it is not one of ours.
pub(super) fn location(place: &BlobPlace) -> Result<String> {
    let name = place.location.clone().unwrap_or_else(|| place.digest.hex());
    // Names come from the catalog; one that is not ours must not lead anywhere.
    if !name.starts_with(&place.digest.hex()) || !name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Err(Error::internal(format!("{name:?} is not the name of blob {}", place.digest)));
    }
    Ok(name)
}
