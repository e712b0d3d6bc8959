//! What answers the routes.

pub(crate) mod api;
mod artifact;
pub(crate) mod commit;
pub(crate) mod files;
pub(crate) mod index;
mod made;
pub(crate) mod manifest;
pub(crate) mod upload;

use entrepot_kit::{Error, Kind, Request, Result};
use http::StatusCode;

use crate::name;

/// Attempts of a change that others overtake.
pub(crate) const ATTEMPTS: usize = 64;

/// Refuses early what a proxy or a group would refuse after the whole body.
pub(crate) fn hosted_only(kind: Kind) -> Result<()> {
    if kind == Kind::Hosted {
        return Ok(());
    }
    Err(Error::new(StatusCode::METHOD_NOT_ALLOWED, "this repository only passes on what others have: upload to a hosted one"))
}

/// The chart that a request is about.
pub(crate) fn chart_name(request: &Request) -> Result<String> {
    let name = request.captures.get("name");
    if name::is_name(name) { Ok(name.to_owned()) } else { Err(crate::index::no_chart(name)) }
}

/// The chart is changed by others again and again.
pub(crate) fn overtaken(name: &str) -> Error {
    Error::unavailable(format!("the chart {name:?} is being changed by many at once; try again"), 1)
}
