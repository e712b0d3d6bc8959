//! Blobs: immutable bytes under their SHA-256, stored once for the whole server.
//!
//! A body is spooled and hashed in one pass by a [`BlobWriter`], which gives a [`StagedBlob`]; [`BlobStore::persist`] makes its bytes
//! durable before the commit that names them. Bodies of up to [`INLINE_LIMIT`] bytes stay in memory and travel into the catalog with that
//! commit: no file, no extra sync.

mod content;
mod files;
mod spool;
#[cfg(test)]
mod suite;

use std::sync::Arc;

use async_trait::async_trait;
use entrepot_kit::records::Content;
use entrepot_kit::{Algorithm, Error, Result, Sha256Digest};
use http::StatusCode;

pub use crate::store::model::INLINE_LIMIT;
pub use content::inline;
pub use files::FileBlobs;
pub use spool::{BlobTail, BlobWriter, StagedBlob, bodies};

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

    /// Makes a staged blob durable under its digest. Doing it again, or for bytes that are there already, changes nothing.
    ///
    /// # Errors
    /// 507 when the storage is full, and other failures of it.
    async fn persist(&self, staged: &StagedBlob) -> Result<()>;

    /// Opens a durable blob.
    ///
    /// # Errors
    /// 500 when it is missing or has another size than the catalog says: both mean that the storage lost something.
    async fn open(&self, digest: &Sha256Digest, size: u64) -> Result<Arc<dyn Content>>;

    /// Whether bodies can be taken in at the moment: a cheap look, asked for every few seconds.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    async fn ready(&self) -> Result<()> {
        Ok(())
    }
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
