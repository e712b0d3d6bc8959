//! Opening what a server stores, for commands that may run beside it.

use entrepot_kit::Error;

use super::Failure;
use crate::clock;
use crate::config::Config;
use crate::server::storage::{Settings, Storage, Who, open_records};

/// Opens the storage that the configuration names. It must be there.
///
/// # Errors
/// What is wrong, in words for the operator.
pub(super) async fn open(config: &Config) -> Result<Storage, Failure> {
    let settings = existing(config)?;
    crate::server::storage::open(&settings, Who::Command, clock::system()()).await.map_err(|error| Failure::Other(error.to_string()))
}

/// Brings the tables up to date, as a server does at its start.
///
/// # Errors
/// What is wrong, in words for the operator.
pub(super) async fn update_tables(config: &Config) -> Result<String, Failure> {
    open_records(&existing(config)?).await.map_err(|error| Failure::Other(error.to_string()))?;
    Ok(String::from("the tables are up to date"))
}

fn existing(config: &Config) -> Result<Settings, Failure> {
    let settings = Settings::from_config(config);
    if !settings.exists() {
        let data = config.server.data.display();
        return Err(Failure::Other(match config.server.data.exists() {
            true => format!("{data} holds no data of a server: name another directory with --data or --config"),
            false => format!("there is no data directory {data}: name it with --data or --config"),
        }));
    }
    Ok(settings)
}

/// An error in words for the operator.
pub(super) fn failed(error: Error) -> Failure {
    use std::error::Error as _;
    Failure::Other(error.source().map_or_else(|| error.message().to_owned(), |cause| format!("{}: {cause}", error.message())))
}
