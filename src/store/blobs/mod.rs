//! Blobs: immutable bytes under their SHA-256, stored once for the whole server.
//!
//! A body is spooled and hashed in one pass by a [`BlobWriter`], which gives a [`StagedBlob`]; [`BlobStore::persist`] makes its bytes
//! durable before the commit that names them. Bodies of up to [`INLINE_LIMIT`] bytes stay in memory and travel into the catalog with that
//! commit: no file, no extra sync.

mod content;
mod files;
mod places;
mod s3;
mod spool;
mod staging;
#[cfg(test)]
mod suite;

use std::sync::Arc;

use async_trait::async_trait;
use entrepot_kit::records::Content;
use entrepot_kit::{Algorithm, Error, Result, Timestamp};
use futures::stream::BoxStream;
use http::StatusCode;

pub use crate::store::model::INLINE_LIMIT;
use crate::store::model::{BlobFacts, BlobPlace};
pub use content::inline;
pub use files::FileBlobs;
pub use s3::{S3Blobs, S3Settings};
pub use spool::{BlobTail, BlobWriter, StagedBlob};

/// How a body is spooled.
#[derive(Debug, Clone)]
pub struct WriteSpec {
    /// Hashes besides SHA-256.
    pub algorithms: Vec<Algorithm>,
    /// Most bytes; one more is 413.
    pub limit: u64,
}

/// Where blobs live.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Begins to spool a body.
    ///
    /// # Errors
    /// Failures of the storage.
    async fn writer(&self, spec: WriteSpec) -> Result<BlobWriter>;

    /// Makes a staged blob durable at a place of its own, and says what the catalog needs to know of it. Doing it again gives the
    /// same place. A place is never used for other bytes, nor a second time for the same, so that a removal never meets an arrival.
    ///
    /// # Errors
    /// 507 when the storage is full, and other failures of it.
    async fn persist(&self, staged: &StagedBlob) -> Result<BlobFacts>;

    /// Opens a durable blob.
    ///
    /// # Errors
    /// 500 when it is missing or has another size than the catalog says: both mean that the storage lost something. Where looking costs a
    /// request the error comes with the first stream or read.
    async fn open(&self, place: &BlobPlace) -> Result<Arc<dyn Content>>;

    /// Removes a blob. One that is not there is no error.
    ///
    /// # Errors
    /// Failures of the storage.
    async fn remove(&self, place: &BlobPlace) -> Result<()>;

    /// Everything that is stored, in no certain order, read as it is asked for.
    fn list(&self) -> BoxStream<'_, Result<StoredObject>>;
}

/// Bytes in a blob store, whether the catalog knows of them or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Where it lies, as [`BlobPlace::location`]; the digest in hexadecimal for files of the first version.
    pub location: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
}

/// The answer for a failure of the file system.
pub(crate) fn storage_failed(cause: std::io::Error) -> Error {
    match cause.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::new(StatusCode::INSUFFICIENT_STORAGE, "the server's storage is full: nothing was stored").with_retry_after(60).with_source(cause)
        }
        _ => Error::internal(cause),
    }
}
