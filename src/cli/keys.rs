//! `admin key`: the keys with which repositories sign.

use clap::{Args, Subcommand};
use entrepot_kit::armor::armored;
use entrepot_kit::{Address, KeyKind, PublicKey};

use super::Failure;
use super::admin::refused;
use crate::clock;
use crate::config::Config;
use crate::registry::keys::Keys;
use crate::server::storage;
use crate::store::model::AuditRow;

/// Days that an old key goes on signing, unless said otherwise.
const DAYS: u16 = 30;
/// The milliseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the keys of a repository, newest first.
    List {
        /// The repository: system/name.
        #[arg(value_parser = address)]
        repository: Address,
    },
    /// Print the public key of a repository, of all its keys the newest.
    Export(Of),
    /// Make another key. The old one signs beside it for a while, so that clients can be given the new one first.
    Rotate {
        #[command(flatten)]
        of: Of,
        /// Days that the old key goes on signing. 0 where it is in wrong hands: clients that trust it only are cut off at once.
        #[arg(long, value_name = "DAYS", default_value_t = DAYS)]
        overlap_days: u16,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Of {
    /// The repository: system/name.
    #[arg(value_parser = address)]
    repository: Address,
    /// Which kind of key, where it has several: rsa or openpgp.
    #[arg(long, value_parser = kind)]
    kind: Option<KeyKind>,
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.message().to_owned())
}

fn kind(text: &str) -> Result<KeyKind, String> {
    KeyKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| String::from("use one of: rsa, openpgp"))
}

/// Runs a command and gives what it prints: never anything private.
pub(super) async fn run(command: Command, config: &Config) -> Result<String, Failure> {
    let now = (clock::system())();
    let opened = storage::open_keys(&storage::Settings::from_config(config), now).await;
    let (records, master) = opened.map_err(|error| Failure::Other(error.to_string()))?;
    let keys = Keys::new(records.catalog.clone(), master);
    let (Command::List { repository } | Command::Export(Of { repository, .. }) | Command::Rotate { of: Of { repository, .. }, .. }) = &command;
    let rows = records.catalog.repositories().await.map_err(|error| refused(error.into()))?;
    let row = rows.iter().find(|row| row.address == *repository);
    let id = row.ok_or_else(|| Failure::Other(format!("there is no repository {repository}")))?.id;
    let mut found: Vec<(KeyKind, Vec<PublicKey>)> = Vec::new();
    for kind in KeyKind::ALL {
        found.push((kind, keys.public_of(id, kind).await.map_err(refused)?));
    }
    found.retain(|(_, keys)| !keys.is_empty());
    match command {
        Command::List { .. } => {
            let line = |kind: KeyKind, key: &PublicKey| {
                let until = key.expires.map_or_else(|| String::from("signs"), |end| format!("signs until {}", end.rfc3339()));
                format!("{} {} made {} {until}", kind.name(), key.id, key.created.rfc3339())
            };
            Ok(found.iter().flat_map(|(kind, keys)| keys.iter().map(|key| line(*kind, key))).collect::<Vec<_>>().join("\n"))
        }
        Command::Export(of) => {
            let kind = chosen(&of, &found)?;
            let key = found.iter().find(|(known, _)| *known == kind).and_then(|(_, keys)| keys.first());
            let key = key.ok_or_else(|| Failure::Other(format!("{} has no key of that kind yet", of.repository)))?;
            match kind {
                KeyKind::Rsa => Ok(key.pem().trim_end().to_owned()),
                KeyKind::OpenPgp => Ok(armored("PUBLIC KEY BLOCK", &key.bytes).trim_end().to_owned()),
            }
        }
        Command::Rotate { of, overlap_days } => {
            let kind = chosen(&of, &found)?;
            let key = keys.rotate(id, kind, i64::from(overlap_days) * DAY, now).await.map_err(refused)?;
            let row = AuditRow {
                time: now,
                principal: String::from("operator"),
                action: String::from("rotate-key"),
                resource: of.repository.to_string(),
                outcome: String::from("changed"),
                detail: format!("{} {}", kind.name(), key.id),
                request_id: String::new(),
                remote: String::new(),
            };
            records.catalog.audit(vec![row]).await.map_err(|error| refused(error.into()))?;
            Ok(format!("{} signs with the {} key {} from now on; older ones for {overlap_days} days more", of.repository, kind.name(), key.id))
        }
    }
}

/// The kind that is meant: the only one that there is, unless it is named.
fn chosen(of: &Of, found: &[(KeyKind, Vec<PublicKey>)]) -> Result<KeyKind, Failure> {
    match (of.kind, found) {
        (Some(kind), _) if found.iter().any(|(known, _)| *known == kind) => Ok(kind),
        (None, [(kind, _)]) => Ok(*kind),
        (_, []) | (Some(_), _) => Err(Failure::Other(format!("{} has no such key yet: one is made when a client asks for what it signs", of.repository))),
        (None, _) => Err(Failure::Other(format!("{} has keys of several kinds: name one with --kind", of.repository))),
    }
}
