//! Errors in the words of the specification: `{"errors": [{"code", "message", "detail"}]}`.

use bytes::Bytes;
use entrepot_kit::Error;
use http::StatusCode;
use serde_json::json;

/// The blob is not in this repository.
pub const BLOB_UNKNOWN: &str = "BLOB_UNKNOWN";
/// The upload cannot go on like this.
pub const BLOB_UPLOAD_INVALID: &str = "BLOB_UPLOAD_INVALID";
/// There is no such upload, or it belongs to somebody else.
pub const BLOB_UPLOAD_UNKNOWN: &str = "BLOB_UPLOAD_UNKNOWN";
/// The digest is malformed, or not that of the bytes.
pub const DIGEST_INVALID: &str = "DIGEST_INVALID";
/// The manifest names something that is not in this repository.
pub const MANIFEST_BLOB_UNKNOWN: &str = "MANIFEST_BLOB_UNKNOWN";
/// The manifest cannot be taken as it is.
pub const MANIFEST_INVALID: &str = "MANIFEST_INVALID";
/// There is no such manifest.
pub const MANIFEST_UNKNOWN: &str = "MANIFEST_UNKNOWN";
/// The name is malformed.
pub const NAME_INVALID: &str = "NAME_INVALID";
/// There is no such repository.
pub const NAME_UNKNOWN: &str = "NAME_UNKNOWN";
/// Lengths contradict each other, or a limit.
pub const SIZE_INVALID: &str = "SIZE_INVALID";
/// The tag is malformed.
pub const TAG_INVALID: &str = "TAG_INVALID";
/// The caller may not do this.
pub const DENIED: &str = "DENIED";
/// The range is none that can be given or taken.
pub const RANGE_INVALID: &str = "RANGE_INVALID";
/// `n` is no number of items.
pub const PAGINATION_NUMBER_INVALID: &str = "PAGINATION_NUMBER_INVALID";

/// The code of a status whose raiser gave none.
fn code_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
        StatusCode::FORBIDDEN | StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => DENIED,
        StatusCode::NOT_FOUND | StatusCode::GONE => NAME_UNKNOWN,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => "UNSUPPORTED",
        StatusCode::PAYLOAD_TOO_LARGE => SIZE_INVALID,
        StatusCode::RANGE_NOT_SATISFIABLE => RANGE_INVALID,
        StatusCode::TOO_MANY_REQUESTS => "TOOMANYREQUESTS",
        status if status.is_client_error() => NAME_INVALID,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => "UNAVAILABLE",
        _ => "UNKNOWN",
    }
}

/// The media type and body of an error.
#[must_use]
pub fn render_error(error: &Error) -> (&'static str, Bytes) {
    let code = error.code().unwrap_or_else(|| code_of(error.status()));
    let detail = error.policy().map_or_else(|| json!({}), |rule| json!({ "policy": rule }));
    let body = json!({ "errors": [{ "code": code, "message": error.message(), "detail": detail }] });
    ("application/json", body.to_string().into())
}
