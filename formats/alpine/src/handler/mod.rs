//! What answers the routes.

pub(crate) mod get;
mod group;
mod index;
pub(crate) mod keys;
mod proxy;
pub(crate) mod put;
pub(crate) mod remove;

use entrepot_kit::{Error, Kind, PackageState, Precondition, Result};
use http::StatusCode;

pub(crate) use proxy::check as check_promise;

/// Attempts of a change that others overtake.
const ATTEMPTS: usize = 64;

/// Refuses early what a proxy or a group would refuse after the whole body.
fn hosted_only(kind: Kind) -> Result<()> {
    if kind == Kind::Hosted {
        return Ok(());
    }
    Err(Error::new(StatusCode::METHOD_NOT_ALLOWED, "this repository only passes on what others have: upload to a hosted one"))
}

/// Nothing is at the path.
fn missing(path: &str) -> Error {
    let hint = if path.ends_with(".adb") { "; indexes of apk 3's own kind are not served: apk 3 reads APKINDEX.tar.gz too" } else { "" };
    Error::not_found(format!("there is no {path:?} in this repository{hint}"))
}

/// That a package is as it was read.
fn at(package: &str, state: Option<&PackageState>) -> Precondition {
    Precondition::PackageAt { package: package.to_owned(), revision: state.map_or(0, |state| state.changed) }
}

/// The package was changed by others again and again.
fn overtaken(package: &str) -> Error {
    Error::unavailable(format!("the package {package:?} is being changed by many at once; try again"), 1)
}
