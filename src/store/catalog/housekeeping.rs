//! Housekeeping: what lives and how it is used, what is forgotten, how much there is.

use entrepot_kit::{Sha256Digest, SystemName, Timestamp};

use super::{Catalog, Database, Result, postgres, sqlite};
use crate::store::facts::{DeadEntry, ForgettableRows, Forgetting, Forgotten, HeldStretch, LiveEntry, PackageFacts, PathPulls, Pulls};

#[expect(clippy::missing_errors_doc, reason = "as for all questions to the catalog")]
impl Catalog {
    /// Adds to what is known of the use of files. The rows are ordered by repository and path, each once.
    pub async fn add_pulls(&self, rows: Vec<PathPulls>) -> Result<()> {
        forward!(self.write(pulls::add, &rows))
    }

    /// Since when the use of files is written down.
    pub async fn pulls_since(&self) -> Result<Timestamp> {
        forward!(self.read(pulls::since))
    }

    /// How the live files of a package were used: version, bytes, use. Those that were not are left out.
    pub async fn package_pulls(&self, repository: i64, package: &str) -> Result<Vec<(Option<String>, Sha256Digest, Pulls)>> {
        let package = package.to_owned();
        forward!(self.read(pulls::of_package, repository, &package))
    }

    /// The bytes of the live files of each version of a package.
    pub async fn version_blobs(&self, repository: i64, package: &str) -> Result<Vec<(String, Sha256Digest)>> {
        let package = package.to_owned();
        forward!(self.read(pulls::named_blobs, repository, &package))
    }

    /// Removes what is known of the use of paths that are no more; says of how many. 0: there are no more.
    pub async fn forget_pulls(&self, repository: i64, limit: usize) -> Result<u64> {
        forward!(self.write(pulls::forget, repository, limit))
    }

    /// All that lives in a package; `None` when there is none of that name.
    pub async fn package_facts(&self, repository: i64, package: &str, limit: usize) -> Result<Option<PackageFacts>> {
        let package = package.to_owned();
        forward!(self.read(facts::package, repository, &package, limit))
    }

    /// A page of the live paths of a repository, by path, the engine's own among them.
    pub async fn file_facts(&self, repository: i64, after: &str, limit: usize) -> Result<Vec<LiveEntry>> {
        let after = after.to_owned();
        forward!(self.read(facts::files, repository, &after, limit))
    }

    /// The paths of a package at which nothing lives any more, as far as they are remembered.
    pub async fn dead_entries(&self, repository: i64, package: &str, limit: usize) -> Result<Vec<DeadEntry>> {
        let package = package.to_owned();
        forward!(self.read(facts::dead, repository, &package, limit))
    }

    /// The next blobs that live paths of a repository lead to, each once, and their bytes.
    pub async fn held_stretch(&self, repository: i64, after: Option<Sha256Digest>, limit: usize) -> Result<HeldStretch> {
        forward!(self.read(facts::held, repository, after, limit))
    }

    /// Those of these blobs that a live path of the repository leads to.
    pub async fn held_of(&self, repository: i64, digests: Vec<Sha256Digest>) -> Result<Vec<Sha256Digest>> {
        forward!(self.read(facts::held_of, repository, &digests))
    }

    /// Moves a repository's horizon: views before it are refused from now on.
    pub async fn set_horizon(&self, repository: i64, horizon: u64) -> Result<bool> {
        forward!(self.write(forget::set_horizon, repository, horizon))
    }

    /// How many rows there are to be forgotten.
    pub async fn count_forgettable(&self, what: Forgetting) -> Result<Forgotten> {
        forward!(self.read(forget::count, &what))
    }

    /// The next rows to be forgotten; none: all is done.
    pub async fn forgettable(&self, what: Forgetting, limit: usize) -> Result<ForgettableRows> {
        forward!(self.read(forget::rows, &what, limit))
    }

    /// Forgets rows. The horizon must have been moved before.
    pub async fn forget(&self, rows: ForgettableRows) -> Result<Forgotten> {
        forward!(self.write(forget::remove, &rows))
    }

    /// Forgets files of a proxy that ended with a revision and can be fetched again.
    pub async fn forget_evicted(&self, repository: i64, revision: u64, paths: Vec<String>) -> Result<()> {
        forward!(self.write(forget::evicted, repository, revision, &paths))
    }

    /// Sets most bytes that the hosted repositories of a system have together; `None`: as many as there is room for.
    pub async fn set_system_quota(&self, name: SystemName, quota_bytes: Option<u64>) -> Result<()> {
        forward!(self.write(repositories::set_system_quota, &name, quota_bytes))
    }
}
