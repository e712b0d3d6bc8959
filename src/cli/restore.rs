//! `restore`: what a backup holds, into an empty storage.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::transfer::{Use, count, failed, lock, not_opened, open, progress};
use crate::config::Config;
use crate::registry::keys::MasterKey;
use crate::server::{DataDirectory, StartError};
use crate::store::transfer::{KeyCheck, Restored, human, restore};

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The backup, or - for standard input.
    #[arg(value_name = "FILE|-")]
    source: PathBuf,
    /// The master key of the server that was backed up; it becomes the one of the data directory. Without it the data directory must have it.
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
}

/// Restores a backup and gives the proof.
///
/// # Errors
/// What is wrong, in words for the operator.
pub(super) async fn run(arguments: Arguments, config: Config) -> Result<String, Failure> {
    let input: Box<dyn Read + Send> = if arguments.source == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let opened = File::open(&arguments.source).map_err(|cause| Failure::Other(format!("cannot read {}: {cause}", arguments.source.display())))?;
        Box::new(BufReader::with_capacity(BUFFER, opened))
    };
    let directory = DataDirectory::open(&config.server.data).map_err(not_opened)?;
    let _lock = lock(&directory, "a backup is restored into an empty storage that nobody uses")?;
    let storage = open(&config, &directory, Use::Alone).await?;
    if let Some(file) = &arguments.master_key {
        let bytes = std::fs::read(file).map_err(|cause| Failure::Other(format!("cannot read {}: {cause}", file.display())))?;
        directory.adopt_master_key(&bytes).map_err(not_opened)?;
    }
    let opens = key_check(&directory).map_err(not_opened)?;
    let restored = restore(&storage, input, opens, progress("restore")).await.map_err(failed)?;
    Ok(proof(&restored, &config.server.data))
}

fn key_check(directory: &DataDirectory) -> Result<KeyCheck, StartError> {
    let path = directory.master_key_file();
    let key = directory.stored_master_key()?.map(|bytes| MasterKey::new(&bytes)).transpose()?;
    Ok(Box::new(move |purpose, sealed| match &key {
        Some(key) if key.opens(purpose, sealed) => Ok(()),
        Some(_) => {
            Err(format!("it is a signing key that was sealed by another master key than {}: bring the right one, with --master-key FILE", path.display()))
        }
        None => Err(format!("it is a signing key, sealed by a master key, and there is no {}: bring it, with --master-key FILE", path.display())),
    }))
}

fn proof(restored: &Restored, data: &Path) -> String {
    let taken = jiff::Timestamp::from_millisecond(restored.taken.0).unwrap_or_default();
    let mut lines = vec![format!("restored the backup of {taken}, made by version {}", restored.version)];
    lines.extend(restored.tables.iter().filter(|(_, rows)| *rows > 0).map(|(table, rows)| format!("  {table}: {}", count(*rows, "row", "rows"))));
    lines.push(format!("  {} in files of their own ({}): the SHA-256 of each is right", count(restored.blobs, "blob", "blobs"), human(restored.blob_bytes)));
    if restored.keys > 0 {
        lines.push(format!("  {}: the master key opens all", count(restored.keys, "signing key", "signing keys")));
    }
    lines.push(format!("  every blob has its bytes, every reference leads to a row, the archive is whole (SHA-256 {})", restored.sha256));
    lines.push(format!("start the server: entrepot serve --data {}", data.display()));
    lines.join("\n")
}
