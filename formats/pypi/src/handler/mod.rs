//! What answers the routes.

pub(crate) mod commit;
pub(crate) mod files;
pub(crate) mod form;
pub(crate) mod legacy;
pub(crate) mod manage;
pub(crate) mod namespaces;
pub(crate) mod project;
pub(crate) mod simple;
pub(crate) mod upload;

use entrepot_kit::path::encode_path;
use entrepot_kit::{Error, Kind, Request, Response, Result};
use http::StatusCode;
use http::header::LOCATION;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::name;

/// Attempts of a change that others overtake.
pub(crate) const ATTEMPTS: usize = 64;

/// The project that a request names: in its normal form, or the way to that.
pub(crate) enum Named {
    /// It is in its normal form.
    Project(String),
    /// Another spelling of this.
    OtherSpelling(String),
}

/// The project that a request names.
pub(crate) fn named(request: &Request) -> Result<Named> {
    let written = request.captures.get("project");
    let project = name::project(written).ok_or_else(|| Error::not_found(format!("{written:?} is no name of a project")))?;
    Ok(if project == written { Named::Project(project) } else { Named::OtherSpelling(project) })
}

/// The project that a request names in its normal form: what changes things, or gives files, takes no other.
pub(crate) fn project(request: &Request) -> Result<String> {
    match named(request)? {
        Named::Project(project) => Ok(project),
        Named::OtherSpelling(project) => Err(Error::not_found(format!("projects are named in their normal form here: {project}"))),
    }
}

/// Sends a client on to a path of this repository, with the query as it came.
pub(crate) fn redirect(request: &Request, path: &str) -> Response {
    let mut location = format!("{}/{}", request.base.path, encode_path(path.trim_end_matches('/')));
    if path.ends_with('/') {
        location.push('/');
    }
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    for (at, (key, value)) in request.query.pairs().enumerate() {
        location.push(if at == 0 { '?' } else { '&' });
        location.push_str(&encode(key));
        location.push('=');
        location.push_str(&encode(value));
    }
    Response::empty(StatusCode::MOVED_PERMANENTLY).with_header(LOCATION, &location)
}

/// Refuses early what a proxy or a group would refuse after the whole body.
pub(crate) fn hosted_only(kind: Kind) -> Result<()> {
    if kind == Kind::Hosted {
        return Ok(());
    }
    let error = Error::new(StatusCode::METHOD_NOT_ALLOWED, "this repository only passes on what others have: upload to a hosted one");
    Err(error.with_reason("Upload to a hosted repository"))
}

/// There is no such project.
pub(crate) fn no_project(project: &str) -> Error {
    Error::not_found(format!("there is no project {project:?} here"))
}

/// The project was changed by others again and again.
pub(crate) fn overtaken(project: &str) -> Error {
    Error::unavailable(format!("the project {project:?} is being changed by many at once; try again"), 1)
}
