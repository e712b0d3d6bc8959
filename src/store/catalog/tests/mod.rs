//! The catalog's suite, over SQLite and over a real PostgreSQL.

mod care;
mod changes;
mod edges;
mod faults;
mod housekeeping;
mod link;
mod publishers;
mod records;
mod schema;
pub(crate) mod server;
mod transfer;

use bytes::Bytes;
use entrepot_kit::accounts::Tags;
use entrepot_kit::{Address, Digests, Fragment, Kind, Sha256Digest, SystemName, Timestamp};

use super::Catalog;
use crate::store::model::{BlobFacts, Commit, NewBlob, NewRepository, NewRow, RepositoryRow};

/// Runs one function of the suite on both databases.
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let folder = tempfile::tempdir().expect("a folder");
                super::$case($crate::store::catalog::Catalog::open_sqlite(&folder.path().join("catalog.db")).await.expect("opened")).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let url = tokio::task::spawn_blocking($crate::store::catalog::tests::server::fresh_database).await.expect("a database");
                super::$case($crate::store::catalog::Catalog::open_postgres(&url).await.expect("opened")).await;
            })*
        }
    };
}
use on_both;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

async fn repository(catalog: &Catalog, address: &str) -> RepositoryRow {
    let address = Address::parse(address).expect("an address");
    if catalog.systems().await.expect("systems").iter().all(|system| system.name != address.system) {
        catalog.create_system(address.system.clone(), Tags::new(), false, NOW).await.expect("a system");
    }
    let new = NewRepository { address, format: String::from("npm"), kind: Kind::Hosted, tags: Tags::new(), settings: serde_json::json!({}), declared: false };
    catalog.create_repository(new, NOW).await.expect("a repository")
}

fn system(name: &str) -> SystemName {
    SystemName::parse(name).expect("a name")
}

fn commit(repository: &RepositoryRow, action: &str) -> Commit {
    Commit {
        repository: repository.id,
        principal: String::from("user:ann"),
        request_id: String::from("r-1"),
        now: NOW,
        action: action.to_owned(),
        subject: String::from("a subject"),
        preconditions: Vec::new(),
        deaths: Vec::new(),
        births: Vec::new(),
    }
}

fn blob(text: &str) -> NewBlob {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    NewBlob::New(BlobFacts { digest: Sha256Digest::of(&bytes), size: bytes.len() as u64, digests: Digests::new(), inline: Some(bytes), location: None })
}

fn entry(path: &str, of: Option<(&str, &str)>, text: &str) -> NewRow {
    NewRow::Entry {
        path: path.to_owned(),
        package: of.map(|(package, _)| package.to_owned()),
        version: of.map(|(_, version)| version.to_owned()),
        blob: blob(text),
        content_type: Some(String::from("text/plain")),
        data: String::new(),
    }
}

/// What a publish brings: the package, the version with a fragment, the file.
fn release(package: &str, version: &str) -> Vec<NewRow> {
    let fragment = Fragment { kind: "full", bytes: Bytes::from(format!("{package}@{version}")) };
    vec![
        NewRow::Package {
            package: package.to_owned(),
            document: format!("{{\"latest\":\"{version}\"}}"),
            terms: vec![package.to_owned(), String::from("shared")],
        },
        NewRow::Version { package: package.to_owned(), version: version.to_owned(), document: format!("{{\"v\":\"{version}\"}}"), fragments: vec![fragment] },
        entry(&format!("{package}/-/{version}.tgz"), Some((package, version)), &format!("bytes of {version}")),
    ]
}

async fn publish(catalog: &Catalog, repository: &RepositoryRow, package: &str, version: &str) -> u64 {
    catalog.commit(Commit { births: release(package, version), ..commit(repository, "publish") }).await.expect("published")
}
