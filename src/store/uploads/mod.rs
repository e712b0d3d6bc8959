//! Uploads in several requests: in the process where blobs are local files, in the catalog and as S3 parts where they are not.

mod local;
mod shared;

use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use entrepot_kit::{Body, DirectParts, Error, NewUpload, Result, Timestamp, Upload};
use http::StatusCode;

use crate::store::blobs::StagedBlob;

pub use local::LocalUploads;
pub use shared::SharedUploads;

/// An upload that nobody continues for so long is forgotten, in milliseconds.
pub const LIFETIME: i64 = 24 * 60 * 60 * 1000;
/// One whose bytes were committed is remembered so long, in milliseconds: a client whose answer was lost asks again soon.
pub const COMMITTED_LIFETIME: i64 = 10 * 60 * 1000;
/// Unfinished uploads of one principal in one repository.
pub const MOST: usize = 1000;

/// Whose uploads: a principal's in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The repository's number.
    pub repository: i64,
    /// The principal, as the history names it.
    pub principal: String,
}

/// Where uploads are kept. What each method does and refuses is said of [`entrepot_kit::Uploads`].
#[async_trait]
pub trait UploadStore: Send + Sync {
    /// Begins an upload of at most `limit` bytes.
    async fn begin(&self, owner: &Owner, new: NewUpload, limit: u64, now: Timestamp) -> Result<Upload>;
    /// How an upload stands.
    async fn find(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<Upload>;
    /// Takes the next bytes.
    async fn append(&self, owner: &Owner, id: &str, offset: u64, body: Body, now: Timestamp) -> Result<Upload>;
    /// Ends the bytes.
    async fn finish(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<Arc<StagedBlob>>;
    /// Notes that the bytes were committed.
    async fn committed(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<()>;
    /// Where the client sends parts itself.
    async fn direct_parts(&self, owner: &Owner, id: &str, length: u64, numbers: RangeInclusive<u32>, now: Timestamp) -> Result<DirectParts> {
        let _ = (owner, id, length, numbers, now);
        Err(no_parts())
    }
    /// Makes what clients sent one object, and reads the next piece of it back.
    async fn assemble(&self, owner: &Owner, id: &str, length: u64, now: Timestamp) -> Result<Upload> {
        let _ = (owner, id, length, now);
        Err(no_parts())
    }
    /// Forgets an upload.
    async fn cancel(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<()>;
    /// Forgets a few of those that are over; how many.
    async fn expire(&self, now: Timestamp) -> Result<usize>;
}

fn no_such_upload() -> Error {
    Error::not_found("there is no such upload: it was finished or cancelled long ago, or nobody continued it for a day; begin a new one")
}

fn no_parts() -> Error {
    Error::not_implemented("bytes are local files here, which take no parts from clients: send them to the server by PATCH")
}

fn elsewhere(offset: u64) -> Error {
    Error::conflict(format!("the upload stands at byte {offset}: ask for its offset and go on there"))
}

fn busy() -> Error {
    Error::conflict("another request is continuing this upload: wait for it, ask for the offset and go on there").with_retry_after(1)
}

fn too_many() -> Error {
    let message = format!("there are {MOST} unfinished uploads here already: finish or cancel some, or wait until they are forgotten");
    Error::new(StatusCode::TOO_MANY_REQUESTS, message).with_retry_after(60)
}

fn over(limit: u64) -> Error {
    Error::too_large(format!("the file is larger than the {limit} bytes that are allowed"))
}

/// An unguessable name.
fn random_id() -> Result<String> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).map_err(|cause| Error::internal(cause.to_string()))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests;
