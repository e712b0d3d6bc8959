//! Extensions of the protocol: none yet, said in the way that clients ask.

use entrepot_kit::{Response, Result};
use http::StatusCode;
use serde_json::json;

/// `GET …/_oci/ext/discover`.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub fn discover() -> Result<Response> {
    Response::json(StatusCode::OK, &json!({ "extensions": [] }))
}
