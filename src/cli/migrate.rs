//! `migrate`: from the storage of one configuration into that of another.

use std::path::PathBuf;

use clap::Args;

use super::transfer::{Use, count, existing, failed, lock, not_opened, open, progress};
use super::{Failure, load};
use crate::config::{Config, Environment, Flags};
use crate::server::DataDirectory;
use crate::store::transfer::{Migrated, human, migrate};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file that describes the new storage. The environment and the other flags describe the old one only.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Migrates and says what was copied.
///
/// # Errors
/// What is wrong, in words for the operator.
pub(super) async fn run(arguments: Arguments, config: Config) -> Result<String, Failure> {
    let new = load(&Flags { config: Some(arguments.to.clone()), ..Flags::default() }, &Environment::default())?;
    if !config.database.url.is_sqlite() {
        return Err(Failure::Other(String::from(
            "migrate copies the embedded storage of a data directory, whose server it can be sure is stopped. For PostgreSQL use backup and restore",
        )));
    }
    let directory = existing(&config)?;
    if !directory.database().is_file() {
        return Err(Failure::Other(format!("there is no catalog {}", directory.database().display())));
    }
    let _lock = lock(&directory, "nothing may be published while everything is copied")?;
    let target = DataDirectory::open(&new.server.data).map_err(not_opened)?;
    let same = directory.is(&target);
    if same && new.database.url.is_sqlite() {
        return Err(Failure::Other(format!("{} describes the same storage: server.data is {}", arguments.to.display(), config.server.data.display())));
    }
    let _target_lock = if same { None } else { Some(lock(&target, "a migration fills an empty storage that nobody uses")?) };
    let from = open(&config, &directory, Use::Alone).await?;
    let to = open(&new, &target, Use::Alone).await?;
    if let Some(key) = directory.stored_master_key().map_err(not_opened)? {
        target.adopt_master_key(&key).map_err(not_opened)?;
    }
    let migrated = migrate(&from, &to, progress("migrate")).await.map_err(failed)?;
    Ok(summary(&migrated, &arguments, &target, &config))
}

fn summary(migrated: &Migrated, arguments: &Arguments, target: &DataDirectory, config: &Config) -> String {
    let mut lines = vec![String::from("everything was copied, and is the same on both sides:")];
    lines.extend(migrated.tables.iter().filter(|(_, rows)| *rows > 0).map(|(table, rows)| format!("  {table}: {}", count(*rows, "row", "rows"))));
    let before = if migrated.known > 0 { format!(", {} by earlier runs", migrated.known) } else { String::new() };
    lines.push(format!(
        "  {} with bytes of their own ({}){before}: the SHA-256 of each is right",
        count(migrated.copied, "blob", "blobs"),
        human(migrated.copied_bytes)
    ));
    if migrated.damaged > 0 {
        lines.push(format!("  {} whose bytes were lost before: entrepot verify lists them", count(migrated.damaged, "blob", "blobs")));
    }
    lines.push(format!("the master key is in {}; every replica needs the same", target.master_key_file().display()));
    lines.push(format!(
        "start the server: entrepot serve --config {}; {} is as it was, and must not be served any more",
        arguments.to.display(),
        config.server.data.display()
    ));
    lines.join("\n")
}
