//! What answers the requests of container clients alike in every format: blobs, their uploads, lists of tags and of referrers.

pub mod blob;
pub mod extension;
pub mod parts;
pub mod referrers;
pub mod route;
pub mod tags;
pub mod upload;

use entrepot_kit::{Error, Request, Result};
use http::HeaderName;

use crate::error::{NAME_INVALID, PAGINATION_NUMBER_INVALID};
use crate::name::{LONGEST_NAME, check_name};

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The image that a request is about.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub fn image(request: &Request) -> Result<String> {
    let image = request.captures.get("image");
    check_name(image)?;
    Ok(image.to_owned())
}

/// The image that a request makes, or adds to: with the host before it, its name must be one that all clients take.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub fn new_image(request: &Request) -> Result<String> {
    let image = image(request)?;
    let host = request.base.origin.split_once("://").map_or("", |(_, host)| host);
    let whole = host.len() + 1 + full_name(request, &image).len();
    if whole > LONGEST_NAME {
        return Err(Error::bad_request(format!("{host}/{} is longer than the {LONGEST_NAME} characters that clients take", full_name(request, &image)))
            .with_code(NAME_INVALID));
    }
    Ok(image)
}

/// The name of an image as clients write it behind the host.
#[must_use]
pub fn full_name(request: &Request, image: &str) -> String {
    name_below(&request.base.path, image)
}

/// The same, from the path below which the repository's images are.
#[must_use]
pub fn name_below(base: &str, image: &str) -> String {
    let repository = base.trim_start_matches("/v2").trim_start_matches('/');
    if repository.is_empty() { image.to_owned() } else { format!("{repository}/{image}") }
}

/// The number of items that a page shall have at most.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub fn page_size(request: &Request) -> Result<Option<usize>> {
    let malformed = |text: &str| {
        let shown: String = text.chars().take(40).collect();
        Error::bad_request(format!("n is the most items of a page, not {shown:?}")).with_code(PAGINATION_NUMBER_INVALID)
    };
    let Some(text) = request.query.get("n") else { return Ok(None) };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed(text));
    }
    // What is too large for a number is more than any page has.
    Ok(Some(text.parse().unwrap_or(usize::MAX)))
}
