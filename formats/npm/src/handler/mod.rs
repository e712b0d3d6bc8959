//! What answers the routes.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod keys;
pub(crate) mod read;
pub(crate) mod search;
pub(crate) mod tag;
pub(crate) mod unpublish;
pub(crate) mod write;

use entrepot_kit::{Error, Kind, Response, Result, Timestamp};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::name::NpmName;

/// Largest body of the small requests: logins, tokens, tags.
pub(crate) const SMALL: usize = 64 << 10;
/// Attempts of a change that others overtake.
pub(crate) const ATTEMPTS: usize = 16;

/// The package that a request names, as it may have been published long ago.
pub(crate) fn package(text: &str) -> Result<NpmName> {
    NpmName::parse_lenient(text).ok_or_else(not_found)
}

/// What npm says of packages that do not exist.
pub(crate) fn not_found() -> Error {
    Error::not_found("Not found")
}

/// The package was changed by others again and again.
pub(crate) fn overtaken(name: &NpmName) -> Error {
    Error::unavailable(format!("the package {:?} is being changed by many at once; try again", name.as_str()), 1)
}

/// Someone changed the package since the client read it.
pub(crate) fn stale() -> Error {
    Error::conflict("the package changed since it was read; try again")
}

/// Refuses early what a proxy would refuse after the whole body.
pub(crate) fn refuse_proxy(kind: Kind) -> Result<()> {
    if kind == Kind::Proxy {
        return Err(Error::new(StatusCode::METHOD_NOT_ALLOWED, "this repository only passes on what its upstream has; publish to a hosted one"));
    }
    Ok(())
}

/// The answer to a change.
pub(crate) fn changed(status: StatusCode, name: &NpmName, revision: u64) -> Result<Response> {
    Response::json(status, &json!({"ok": true, "success": true, "id": name.as_str(), "rev": revision.to_string()}))
}

/// A stored document, which was written by us.
pub(crate) fn parse_stored(document: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(document).map_err(Error::internal)
}

/// An optional time in JSON.
pub(crate) fn time(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| time.rfc3339().into())
}
