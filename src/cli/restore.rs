//! `restore`: what a backup holds, into an empty storage.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::transfer::{count, failed, lock, master_key, not_opened, open, progress};
use crate::clock;
use crate::config::Config;
use crate::registry::keys::MasterKey;
use crate::server::DataDirectory;
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
    let storage = open(&config, &directory).await?;
    if let Some(file) = &arguments.master_key {
        if config.server.master_key.is_some() {
            return Err(Failure::Other(String::from("server.master_key is set, and is the master key: leave --master-key out")));
        }
        let bytes = std::fs::read(file).map_err(|cause| Failure::Other(format!("cannot read {}: {cause}", file.display())))?;
        // The key of a shared storage is kept in hexadecimal.
        let bytes = hex::decode(bytes.trim_ascii()).unwrap_or(bytes);
        directory.adopt_master_key(&bytes).map_err(not_opened)?;
    }
    let opens = key_check(&config, &directory)?;
    let restored = restore(&storage, input, opens, &clock::system(), progress("restore")).await.map_err(failed)?;
    Ok(proof(&restored, &config.server.data))
}

fn key_check(config: &Config, directory: &DataDirectory) -> Result<KeyCheck, Failure> {
    let (name, advice) = match &config.server.master_key {
        Some(_) => (String::from("server.master_key"), "set the one of the server that was backed up"),
        None => (directory.master_key_file().display().to_string(), "bring the one of the server that was backed up, with --master-key FILE"),
    };
    let key = master_key(config, directory)?.map(|bytes| MasterKey::new(&bytes)).transpose().map_err(|error| Failure::Other(error.to_string()))?;
    Ok(Box::new(move |purpose, sealed| match &key {
        Some(key) if key.opens(purpose, sealed) => Ok(()),
        Some(_) => Err(format!("it was sealed by another master key than {name}: {advice}")),
        None => Err(format!("it was sealed by a master key, and there is no {name}: {advice}")),
    }))
}

fn proof(restored: &Restored, data: &Path) -> String {
    let taken = jiff::Timestamp::from_millisecond(restored.taken.0).unwrap_or_default();
    let mut lines = vec![format!("restored the backup of {taken}, made by version {}", restored.version)];
    lines.extend(restored.tables.iter().filter(|(_, rows)| *rows > 0).map(|(table, rows)| format!("  {table}: {}", count(*rows, "row", "rows"))));
    lines.push(format!("  {} in files of their own ({}): the SHA-256 of each is right", count(restored.blobs, "blob", "blobs"), human(restored.blob_bytes)));
    if restored.keys > 0 {
        lines.push(format!("  {}: the master key opens all", count(restored.keys, "sealed key", "sealed keys")));
    }
    lines.push(format!("  every blob has its bytes, every reference leads to a row, the archive is whole (SHA-256 {})", restored.sha256));
    lines.push(format!("start the server, with data in {}: entrepot serve", data.display()));
    lines.join("\n")
}
