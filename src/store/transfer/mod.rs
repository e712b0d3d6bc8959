//! Everything that is stored, on its way to another place: [`backup()`] into an archive, [`restore()`] out of one, [`migrate()`] into
//! another storage.
//!
//! A catalog that is being filled says so until it is whole, and nobody serves from it before.

mod archive;
mod backup;
mod lease;
mod migrate;
mod restore;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entrepot_kit::{Error, Sha256Digest};
use futures::StreamExt as _;

use crate::store::blobs::{BlobStore, WriteSpec};
use crate::store::catalog::Catalog;
use crate::store::catalog::tables::BLOBS;
use crate::store::catalog::transfer::{Row, Value};
use crate::store::model::{BlobFacts, BlobPlace, CatalogError};

pub use backup::{BackedUp, backup};
pub use migrate::{Migrated, migrate};
pub use restore::{KeyCheck, Restored, restore};

/// Progress is told no more often than this.
const INTERVAL: Duration = Duration::from_secs(2);

/// Why something did not get to the other place.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// What is asked for is not possible, or an archive is not what it should be.
    #[error("{0}")]
    Refused(String),
    /// The catalog failed or refused.
    #[error("{}", explained(.0))]
    Catalog(#[from] CatalogError),
    /// The blob store failed.
    #[error("{}", explained(.0))]
    Blobs(#[from] Error),
    /// A file failed.
    #[error("{what}: {cause}")]
    File {
        /// Which, and what was done with it.
        what: String,
        /// What is wrong.
        cause: io::Error,
    },
}

type Result<T> = std::result::Result<T, TransferError>;

fn explained(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn refused(message: impl Into<String>) -> TransferError {
    TransferError::Refused(message.into())
}

fn archive_failed(cause: io::Error) -> TransferError {
    TransferError::File { what: String::from("the archive"), cause }
}

/// A catalog and the blobs that it knows.
#[derive(Clone)]
pub struct Storage {
    /// The catalog.
    pub catalog: Catalog,
    /// The blobs.
    pub blobs: Arc<dyn BlobStore>,
}

/// Tells how long work gets on.
pub struct Progress {
    tell: Box<dyn Fn(&str) + Send>,
    last: Option<Instant>,
}

impl Progress {
    /// Tells it to this.
    #[must_use]
    pub fn new(tell: impl Fn(&str) + Send + 'static) -> Self {
        Self { tell: Box::new(tell), last: None }
    }

    /// Says something in any case.
    pub(crate) fn say(&mut self, text: &str) {
        self.last = Some(Instant::now());
        (self.tell)(text);
    }

    /// Says how it stands, when that was not said lately.
    pub(crate) fn tick(&mut self, text: impl FnOnce() -> String) {
        if self.last.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.say(&text());
        }
    }
}

/// Bytes for people.
#[must_use]
pub fn human(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut size = (bytes, "bytes");
    let mut tenths = 0;
    for unit in units {
        if size.0 < 1024 {
            break;
        }
        tenths = size.0 % 1024 * 10 / 1024;
        size = (size.0 / 1024, unit);
    }
    if size.1 == "bytes" { format!("{bytes} bytes") } else { format!("{}.{tenths} {}", size.0, size.1) }
}

/// Where the bytes of a row of `blobs` are; `None` when the row has them itself, or they are known to be lost.
fn place_of(row: &Row) -> Result<Option<BlobPlace>> {
    let digest = digest_of(row)?;
    let size = row.get(&BLOBS, "size").and_then(Value::as_number).and_then(|size| u64::try_from(size).ok());
    let size = size.ok_or_else(|| refused(format!("the row of blob {digest} has no size")))?;
    let empty = |column| row.get(&BLOBS, column) == Some(&Value::Null);
    if !empty("inline") || !empty("damaged") {
        return Ok(None);
    }
    let location = row.get(&BLOBS, "location").and_then(Value::as_text).map(str::to_owned);
    Ok(Some(BlobPlace { digest, size, location }))
}

fn digest_of(row: &Row) -> Result<Sha256Digest> {
    let bytes = row.get(&BLOBS, "digest").and_then(Value::as_bytes).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(Sha256Digest::from_bytes).ok_or_else(|| refused("a row of the table blobs has no SHA-256"))
}

/// The advice for whoever has lost bytes.
fn lost(digest: Sha256Digest, what: &str) -> TransferError {
    refused(format!("blob {}: {what}. `entrepot verify` finds everything that is damaged, and notes it so that the rest can be copied", digest.hex()))
}

/// Copies the bytes of a blob into another store; they are held against their digest on the way.
async fn copy_blob(from: &Arc<dyn BlobStore>, to: &Arc<dyn BlobStore>, place: &BlobPlace) -> Result<BlobFacts> {
    let content = from.open(place).await.map_err(|error| lost(place.digest, &explained(&error)))?;
    let mut bytes = content.stream(None).await?;
    let mut writer = to.writer(WriteSpec { algorithms: Vec::new(), limit: place.size }).await?;
    while let Some(part) = bytes.next().await {
        writer.write(part.map_err(|error| lost(place.digest, &explained(&error)))?).await?;
    }
    let staged = writer.finish().await?;
    if staged.facts().digest != place.digest {
        return Err(lost(place.digest, "the stored bytes are others"));
    }
    Ok(to.persist(&staged).await?)
}
