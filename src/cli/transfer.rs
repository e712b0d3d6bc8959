//! What `backup`, `restore` and `migrate` share: opening storages and telling how it goes.

use std::fs::File;
use std::io::Write as _;

use secrecy::ExposeSecret as _;

use super::Failure;
use crate::config::Config;
use crate::server::storage::{Settings, open_at_rest};
use crate::server::{DataDirectory, StartError};
use crate::store::transfer::{Progress, Storage, TransferError};

/// Opens a storage as it lies there.
pub(super) async fn open(config: &Config, directory: &DataDirectory) -> Result<Storage, Failure> {
    let (catalog, blobs) = open_at_rest(&Settings::from_config(config), directory).await.map_err(not_opened)?;
    Ok(Storage { catalog, blobs })
}

/// The master key of a storage, if there is one yet.
pub(super) fn master_key(config: &Config, directory: &DataDirectory) -> Result<Option<Vec<u8>>, Failure> {
    match &config.server.master_key {
        Some(key) => hex::decode(key.expose_secret()).map(Some).map_err(|_| Failure::Other(String::from("server.master_key is not hexadecimal"))),
        None => directory.stored_master_key().map_err(not_opened),
    }
}

/// Opens a data directory that a server has, or had.
pub(super) fn existing(config: &Config) -> Result<DataDirectory, Failure> {
    if !config.server.data.is_dir() {
        return Err(Failure::Other(format!("there is no data directory {}", config.server.data.display())));
    }
    DataDirectory::open(&config.server.data).map_err(not_opened)
}

/// Makes sure that no server runs on a data directory.
pub(super) fn lock(directory: &DataDirectory, why: &str) -> Result<File, Failure> {
    directory.lock().map_err(|error| match error {
        StartError::Locked(path) => Failure::Other(format!("an entrepot serves from {}: {why}; stop it first", path.display())),
        other => not_opened(other),
    })
}

pub(super) fn not_opened(error: StartError) -> Failure {
    Failure::Other(error.to_string())
}

pub(super) fn failed(error: TransferError) -> Failure {
    Failure::Other(error.to_string())
}

/// Tells how it goes on standard error.
pub(super) fn progress(command: &'static str) -> Progress {
    Progress::new(move |text| {
        // A closed standard error leaves nobody to tell.
        let _ = writeln!(std::io::stderr(), "{command}: {text}");
    })
}

/// `1 blob`, `2 blobs`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
