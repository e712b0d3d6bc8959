//! What S3 says when something is wrong, in the server's words.

use std::error::Error as StdError;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use entrepot_kit::Error;
use http::StatusCode;

/// What servers call a storage without room; the protocol has no word for it.
const FULL: [&str; 6] =
    ["InsufficientStorage", "InsufficientStorageSpace", "QuotaExceeded", "StorageFull", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"];
/// What is missing when an object or an upload is; the last one without a body.
const MISSING: [&str; 3] = ["NoSuchKey", "NoSuchUpload", "NotFound"];
/// Seconds after which it is worth to try again.
const AGAIN: u32 = 5;
/// The same when somebody has to do something first.
const AGAIN_LATER: u32 = 60;

/// Why S3 did not do something, told apart as far as it matters.
pub(super) enum Reason {
    /// It has no such object or upload.
    Missing,
    /// The object is not the one that was meant (412), or has no such range (416).
    Different,
    /// It has no room.
    Full,
    /// It refuses this caller.
    Refused,
    /// It is away, overloaded or broken.
    Away,
}

/// Tells why.
pub(super) fn reason<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Reason {
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    match (status, error.code().unwrap_or_default()) {
        (507, _) => Reason::Full,
        (_, code) if FULL.contains(&code) => Reason::Full,
        // Another 404 says nothing of the object: the bucket is gone, or this is not the server.
        (404, code) if MISSING.contains(&code) => Reason::Missing,
        (412 | 416, _) => Reason::Different,
        // A request that took too long on its way is answered like a wrong one. Every name is used once: a conflict is the server's own.
        (_, "RequestTimeout" | "BadDigest" | "IncompleteBody" | "SlowDown") | (0 | 408 | 409 | 429 | 500.., _) => Reason::Away,
        _ => Reason::Refused,
    }
}

/// The same with everything that is known of it, for the log.
pub(super) fn explained<E: ProvideErrorMetadata + StdError + 'static>(doing: &str, error: &SdkError<E>) -> String {
    if let Some(response) = error.raw_response() {
        let (code, message) = (error.code().unwrap_or("without a code"), error.message().unwrap_or("without a message"));
        return format!("S3: {doing}: {} {code}: {message}", response.status().as_u16());
    }
    let causes = std::iter::successors(Some(error as &dyn StdError), |error| (*error).source());
    format!("S3: {doing}: {}", causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

/// The answer for it.
pub(super) fn failed<E: ProvideErrorMetadata + StdError + 'static>(doing: &str, error: SdkError<E>) -> Error {
    let cause = explained(doing, &error);
    match reason(&error) {
        Reason::Full => {
            Error::new(StatusCode::INSUFFICIENT_STORAGE, "the server's storage is full: nothing was stored").with_retry_after(AGAIN_LATER).with_source(cause)
        }
        Reason::Away => away(cause),
        Reason::Refused => Error::unavailable("the server's storage refuses the server; its log says why", AGAIN_LATER).with_source(cause),
        Reason::Missing | Reason::Different => Error::internal(cause),
    }
}

/// The answer while S3 cannot be used.
pub(super) fn away(cause: String) -> Error {
    Error::unavailable("the server's storage cannot be used at the moment; try again", AGAIN).with_source(cause)
}
