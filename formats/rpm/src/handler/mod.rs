//! What answers the routes.

mod beside;
mod extras;
mod generation;
pub(crate) mod get;
mod group;
mod memory;
mod proxy;
pub(crate) mod put;
pub(crate) mod remove;
mod sign;

use entrepot_kit::{Error, Kind, Request, Result};
use http::StatusCode;

/// Attempts of a change that others overtake.
const ATTEMPTS: usize = 64;

/// The path of a request that changes something.
fn writable_path(kind: Kind, request: &Request) -> Result<String> {
    if kind != Kind::Hosted {
        return Err(Error::new(StatusCode::METHOD_NOT_ALLOWED, "a proxy or group repository takes no changes: send them to a hosted repository"));
    }
    if request.path.segments().iter().any(|segment| segment.contains('/')) {
        return Err(Error::bad_request("a path has no encoded slash here"));
    }
    Ok(request.path.joined())
}

/// Somebody else changed it again and again.
fn overtaken(what: &str) -> Error {
    Error::unavailable(format!("{what:?} is being changed by many at once; try again"), 1)
}

/// Words under which a package is found.
fn terms(package: &str) -> Vec<String> {
    let package = package.to_lowercase();
    let mut terms: Vec<String> = vec![package.clone()];
    terms.extend(package.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned));
    terms.dedup();
    terms
}

/// There is no such file.
fn missing(path: &str) -> Error {
    Error::not_found(format!("there is no file {path:?} in this repository"))
}
