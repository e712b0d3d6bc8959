//! Where the servers of a test keep their things: SQLite and files, or PostgreSQL and S3 behind two replicas.
//!
//! `ENTREPOT_TEST_STORAGE=replicas` runs every test on the second: a real PostgreSQL and a real S3 server, one of each for the test
//! process, and in them a database and a bucket for each test.
#![cfg(test)]

mod keeper;
mod postgres;
pub(crate) mod redis;
mod tests;
mod versitygw;

use std::net::SocketAddr;

use postgres::Database;
use versitygw::Bucket;

/// Which storage the tests are to run on.
const VARIABLE: &str = "ENTREPOT_TEST_STORAGE";
/// How many servers share one storage.
pub(crate) const REPLICAS: usize = 2;

/// Whether every test server is to be a pair on PostgreSQL and S3.
#[expect(clippy::disallowed_methods, reason = "tests are told by a variable on which storage they run")]
pub(crate) fn wants_replicas() -> bool {
    match std::env::var(VARIABLE).as_deref() {
        Err(_) | Ok("" | "embedded") => false,
        Ok("replicas") => true,
        Ok(other) => panic!("{VARIABLE} is {other:?}: leave it out, or say embedded or replicas"),
    }
}

/// A database and a bucket that nobody else uses; they go when this value is dropped.
pub(crate) struct Shared {
    database: Database,
    bucket: Bucket,
    master_key: String,
    /// Where the servers find PostgreSQL and S3, when that is not where they are.
    detour: Option<[SocketAddr; 2]>,
}

/// Gives addresses that stand in front of those of PostgreSQL and S3.
pub(crate) type Between = Box<dyn FnOnce([SocketAddr; 2]) -> [SocketAddr; 2]>;

impl Shared {
    /// Makes both, and starts their servers when this is the first test that asks. Blocks.
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).unwrap();
        Self { database: Database::fresh(), bucket: Bucket::fresh(), master_key: hex::encode(key), detour: None }
    }

    /// Lets the servers reach it only through something of the test's.
    pub(crate) fn through(&mut self, between: Between) {
        let address = |text: &str| text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let database = self.database.url().split(['@', '/']).nth(3).map(address).unwrap();
        let blobs = self.bucket.settings()["endpoint"].as_str().and_then(|url| url.strip_prefix("http://")).map(address).unwrap();
        self.detour = Some(between([database, blobs]));
    }

    /// `postgres://…`
    pub(crate) fn database_url(&self) -> String {
        let url = self.database.url();
        match (&self.detour, url.rsplit_once('@').and_then(|(user, rest)| Some((user, rest.split_once('/')?.1)))) {
            (Some([database, _]), Some((user, name))) => format!("{user}@{database}/{name}"),
            _ => url.to_owned(),
        }
    }

    /// Both as other programs are told of them: `DBHOST`, `MINIO_ENDPOINT` and so on.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let url = self.database_url();
        let (place, name) = url.split_once('@').and_then(|(_, place)| place.split_once('/')).unwrap();
        let (host, port) = place.split_once(':').unwrap();
        let blobs = self.blobs();
        let blob = |name: &str| blobs[name].as_str().unwrap().trim_start_matches("http://");
        // PostgreSQL trusts everybody here; a password must get there all the same.
        let database = [("DBHOST", host), ("DBPORT", port), ("DBUSER", "postgres"), ("DBPASS", "p@ss/w:rd%?#"), ("DBNAME", name)];
        let keys = [("MINIO_ACCESS_KEY", blob("access_key")), ("MINIO_SECRET_KEY", blob("secret_key"))];
        let objects = [("MINIO_ENDPOINT", blob("endpoint")), ("MINIO_BUCKET", blob("bucket")), ("MINIO_SECURE", "false")];
        database.into_iter().chain(keys).chain(objects).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The key that all replicas must share, in hexadecimal.
    pub(crate) fn master_key(&self) -> &str {
        &self.master_key
    }

    /// The table `[blobs]` of the configuration.
    pub(crate) fn blobs(&self) -> toml::Table {
        let mut settings = self.bucket.settings();
        if let Some([_, blobs]) = self.detour {
            settings.insert(String::from("endpoint"), format!("http://{blobs}").into());
        }
        settings
    }
}
