//! What answers the routes.

pub(crate) mod bundle;
mod catalog;
mod commit;
pub(crate) mod get;
mod media;
mod notes;
pub(crate) mod put;
pub(crate) mod remove;
pub(crate) mod seal;
pub(crate) mod staging;

use entrepot_kit::{Error, Kind, PackageState, Precondition, Request, Result};
use http::StatusCode;

/// Attempts of a change that others overtake.
const ATTEMPTS: usize = 64;

/// The path of a request that changes something.
fn writable_path(kind: Kind, request: &Request) -> Result<String> {
    if kind != Kind::Hosted {
        let error = Error::new(StatusCode::METHOD_NOT_ALLOWED, "this repository only passes on what others have: deploy to a hosted one");
        return Err(error.with_reason("Deploy to a hosted repository"));
    }
    let path = request.path.joined();
    if request.path.segments().iter().any(|segment| segment.contains('/')) {
        return Err(Error::bad_request("a path has no encoded slash here"));
    }
    Ok(path)
}

/// That a package is as it was read.
fn at(package: &str, state: Option<&PackageState>) -> Precondition {
    Precondition::PackageAt { package: package.to_owned(), revision: state.map_or(0, |state| state.changed) }
}

/// The package was changed by others again and again.
fn overtaken(what: &str) -> Error {
    Error::unavailable(format!("{what:?} is being changed by many at once; try again"), 1)
}

/// Words under which a package is found.
fn terms(package: &str) -> Vec<String> {
    let package = package.to_lowercase();
    let mut terms: Vec<String> = vec![package.clone()];
    terms.extend(package.split(':').map(str::to_owned));
    terms.extend(package.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned));
    terms.dedup();
    terms
}
