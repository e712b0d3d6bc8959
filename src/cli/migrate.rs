//! `migrate`: from the storage of one configuration into that of another.

use std::path::{Path, PathBuf};

use clap::Args;

use super::transfer::{count, existing, failed, lock, master_key, not_opened, open, progress};
use super::{Failure, load};
use crate::clock;
use crate::config::{Config, Environment, Flags};
use crate::server::DataDirectory;
use crate::store::transfer::{Migrated, human, migrate};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file that describes the new storage. Secrets in the environment (ENTREPOT_DATABASE_URL, ENTREPOT_MASTER_KEY,
    /// ENTREPOT_S3_…, DBHOST …, MINIO_ENDPOINT …) are those of the new one, ENTREPOT_CONFIG, ENTREPOT_DATA and the other flags describe the old one.
    /// Without it nothing is copied: the tables of the storage are brought up to date, as servers do it themselves when they start.
    #[arg(long, value_name = "FILE")]
    pub(super) to: Option<PathBuf>,
}

/// Migrates and says what was copied.
///
/// # Errors
/// What is wrong, in words for the operator.
pub(super) async fn run(to_file: &Path, config: Config, environment: &Environment) -> Result<String, Failure> {
    let new = load(&Flags { config: Some(to_file.to_owned()), ..Flags::default() }, environment)?;
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
        return Err(Failure::Other(format!("{} describes the same storage: server.data is {}", to_file.display(), config.server.data.display())));
    }
    let _target_lock = if same { None } else { Some(lock(&target, "a migration fills an empty storage that nobody uses")?) };
    let from = open(&config, &directory).await?;
    let to = open(&new, &target).await?;
    if let Some(key) = master_key(&config, &directory)? {
        if new.server.master_key.is_none() {
            target.adopt_master_key(&key).map_err(not_opened)?;
        } else if master_key(&new, &target)?.is_none_or(|new| new != key) {
            let file = directory.master_key_file();
            return Err(Failure::Other(format!(
                "server.master_key of the new storage is not the master key of the old one, which sealed its keys: take that over. This prints it: \
                 od -An -v -tx1 {} | tr -d ' \\n'",
                file.display()
            )));
        }
    }
    let migrated = migrate(&from, &to, &clock::system(), progress("migrate")).await.map_err(failed)?;
    Ok(summary(&migrated, to_file, &target, &config))
}

fn summary(migrated: &Migrated, to_file: &Path, target: &DataDirectory, config: &Config) -> String {
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
    if target.master_key_file().is_file() {
        lines.push(format!("the master key is in {}", target.master_key_file().display()));
    }
    lines.push(format!(
        "start the server: entrepot serve --config {}; {} is as it was, and must not be served any more",
        to_file.display(),
        config.server.data.display()
    ));
    lines.join("\n")
}
