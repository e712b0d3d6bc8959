//! Blobs: immutable bytes under their SHA-256, stored once for the whole server.
//!
//! A body is spooled and hashed in one pass by a [`BlobWriter`], which gives a [`StagedBlob`]; [`BlobStore::persist`] makes its bytes
//! durable before the commit that names them. Bodies of up to [`INLINE_LIMIT`] bytes stay in memory and travel into the catalog with that
//! commit: no file, no extra sync.

mod content;
mod files;
mod piece;
mod places;
pub(crate) mod s3;
mod spool;
mod staging;
#[cfg(test)]
mod suite;

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_kit::records::Content;
use entrepot_kit::{Algorithm, Error, Result, Sha256Digest, Timestamp};
use futures::stream::BoxStream;

pub use crate::store::model::INLINE_LIMIT;
use crate::store::model::{BlobFacts, BlobPlace};
pub use content::inline;
pub use files::FileBlobs;
pub use s3::{S3Blobs, S3Settings};
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

    /// The length of what lies at a blob's place; `None` when nothing does. A failure says nothing of the bytes.
    ///
    /// # Errors
    /// Failures of the storage.
    async fn look(&self, place: &BlobPlace) -> Result<Option<u64>>;

    /// Removes what unfinished work left before a time (spooled bodies, uploads in parts); says how many.
    ///
    /// # Errors
    /// Failures of the storage.
    async fn sweep(&self, before: Timestamp) -> Result<u64> {
        let _ = before;
        Ok(0)
    }

    /// Everything that is stored, in no certain order, read as it is asked for.
    fn list(&self) -> BoxStream<'_, Result<StoredObject>>;

    /// Bytes as a file without a name, for the kernel to send; `None` where blobs are no files. It is never made durable.
    ///
    /// # Errors
    /// Failures of the storage.
    async fn nameless(&self, bytes: Bytes) -> Result<Option<Arc<File>>> {
        let _ = bytes;
        Ok(None)
    }

    /// Whether bodies can be taken in at the moment: a cheap look, asked for every few seconds.
    ///
    /// # Errors
    /// What is wrong, in words for the operator.
    async fn ready(&self) -> Result<()> {
        Ok(())
    }
}

/// Bytes in a blob store, whether the catalog knows of them or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Where it lies, as [`BlobPlace::location`]; the digest in hexadecimal for files of the first version.
    pub location: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written, or got its name.
    pub modified: Timestamp,
}

impl StoredObject {
    /// Its place, for a removal.
    #[must_use]
    pub fn place(&self) -> BlobPlace {
        // Stores whose places do not begin with the digest do not look at it either.
        let digest = self.location.get(..64).and_then(Sha256Digest::parse_hex).unwrap_or_else(|| Sha256Digest::from_bytes([0; 32]));
        BlobPlace { digest, size: self.size, location: Some(self.location.clone()) }
    }
}

/// An object that is being put together from parts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ObjectParts {
    /// Where the object will lie.
    pub location: String,
    /// The storage's own name of the upload.
    pub upload: String,
}

/// A part that the storage has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// Its number.
    pub number: i32,
    /// The tag that names its bytes.
    pub tag: String,
    /// Its length in bytes.
    pub size: u64,
}

/// A blob store that takes objects in parts, from whichever replica has the next one.
#[async_trait]
pub trait PartStore: BlobStore {
    /// A place that no object has, or had.
    ///
    /// # Errors
    /// Failures of the operating system's randomness.
    fn new_location(&self) -> Result<String>;

    /// Begins an object.
    ///
    /// # Errors
    /// Failures of the storage.
    async fn begin_parts(&self) -> Result<ObjectParts>;

    /// Stores a part, and gives the tag that names these bytes. All parts but the last have at least 5 MiB.
    ///
    /// # Errors
    /// Failures of the storage.
    async fn send_part(&self, parts: &ObjectParts, number: i32, bytes: Bytes) -> Result<String>;

    /// Puts the object together from these parts, in the order of their numbers. Doing it again changes nothing.
    ///
    /// # Errors
    /// Failures of the storage.
    async fn complete_parts(&self, parts: &ObjectParts, list: &[(i32, String)], size: u64) -> Result<()>;

    /// A URL at which whoever knows it can store a part of exactly this many bytes, for a while.
    ///
    /// # Errors
    /// Failures of the storage's credentials.
    async fn sign_part(&self, parts: &ObjectParts, number: i32, size: u64) -> Result<String>;

    /// The parts that are there, in the order of their numbers; `None` when the object was put together, or its parts were removed.
    ///
    /// # Errors
    /// Failures of the storage.
    async fn list_parts(&self, parts: &ObjectParts) -> Result<Option<Vec<StoredPart>>>;

    /// Removes the parts of an object that was not put together. Those that are not there are no error.
    ///
    /// # Errors
    /// Failures of the storage.
    async fn abort_parts(&self, parts: &ObjectParts) -> Result<()>;

    /// Stores a whole object at a place from [`Self::new_location`].
    ///
    /// # Errors
    /// Failures of the storage.
    async fn put(&self, location: &str, bytes: Bytes) -> Result<()>;
}

/// The answer for a failure of the file system.
pub(crate) fn storage_failed(cause: std::io::Error) -> Error {
    match cause.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::storage_full().with_source(cause),
        _ => Error::internal(cause),
    }
}
