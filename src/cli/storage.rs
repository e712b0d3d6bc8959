//! Opening what a server stores, for commands that may run beside it.

use std::sync::Arc;

use entrepot_kit::Error;

use super::Failure;
use crate::config::Config;
use crate::server::DataDirectory;
use crate::store::blobs::{BlobStore, FileBlobs};
use crate::store::catalog::Catalog;

/// The catalog and the blobs.
pub(super) struct Storage {
    pub(super) catalog: Catalog,
    pub(super) blobs: Arc<dyn BlobStore>,
}

/// Opens the storage that the configuration names. It must be there.
///
/// # Errors
/// What is wrong, in words for the operator.
pub(super) async fn open(config: &Config) -> Result<Storage, Failure> {
    if !config.server.data.exists() {
        return Err(Failure::Other(format!("there is no data directory {}: name it with --data or --config", config.server.data.display())));
    }
    let directory = DataDirectory::open(&config.server.data).map_err(|error| Failure::Other(error.to_string()))?;
    if !directory.database().exists() {
        return Err(Failure::Other(format!("{} holds no data of a server: name another directory with --data or --config", config.server.data.display())));
    }
    let catalog = Catalog::open_sqlite(&directory.database()).await.map_err(|error| failed(error.into()))?;
    Ok(Storage { catalog, blobs: Arc::new(FileBlobs::beside(&directory.blobs())) })
}

/// An error in words for the operator.
pub(super) fn failed(error: Error) -> Failure {
    use std::error::Error as _;
    Failure::Other(error.source().map_or_else(|| error.message().to_owned(), |cause| format!("{}: {cause}", error.message())))
}
