//! The catalog: what there is, in a database. The only place with SQL.
//!
//! Every query is written once, in `queries/`, and compiled twice: for SQLite (one machine, nothing to install) and for
//! PostgreSQL (any number of replicas). Nothing but queries happens inside a transaction, and a change that was begun is
//! finished even when whoever asked for it goes away.

use std::path::Path;
use std::sync::Arc;

use entrepot_kit::accounts::Tags;
use entrepot_kit::{
    Algorithm, Changes, FolderState, Listing, ListingPage, PackageState, Piece, Pieces, PrincipalKind, Records, Sha256Digest, SystemName, Timestamp,
    VersionState,
};

use crate::store::model::{
    AuditFilter, AuditRow, BlobFacts, CatalogError, Commit, KeyRow, NewRepository, NewRow, NewWebLogin, PolicyRow, PrincipalRow, PublisherRow, RepositoryRow,
    RevisionRow, StoredEntry, SystemRow, TokenRow, UploadRow, UpstreamState, VersionSpan, WebLoginStanding,
};

mod convert;
mod failure;
mod patience;
mod postgres;
mod reading;
mod schema;
mod sqlite;
pub mod tables;
#[cfg(test)]
pub(crate) mod tests;

type Result<T> = std::result::Result<T, CatalogError>;

/// Slices of deleted repositories that the deletion of their system waits for.
const PURGED_AT_ONCE: usize = 100;

enum Database {
    Sqlite(sqlite::Database),
    Postgres(postgres::Database),
}

/// What the database has to do at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Connections that there may be.
    pub connections: usize,
    /// Connections that are in use.
    pub used: usize,
    /// Questions that wait for a connection.
    pub waiting: usize,
    /// Changes that wait for SQLite's one writer.
    pub writes_waiting: usize,
}

/// A handle to the catalog; clones share it.
#[derive(Clone)]
pub struct Catalog(Arc<Database>);

/// Runs `queries::$module::$query(connection, $arguments…)` of the database that is used.
macro_rules! forward {
    ($self:ident.$mode:ident($module:ident::$query:ident $(, $argument:expr)*)) => {
        match &*$self.0 {
            Database::Sqlite(database) => database.$mode(move |connection| sqlite::queries::$module::$query(connection $(, $argument)*)).await,
            Database::Postgres(database) => database.$mode(move |connection| postgres::queries::$module::$query(connection $(, $argument)*)).await,
        }
    };
}

mod care;
mod housekeeping;
pub mod transfer;

async fn opened<T: Send + 'static>(open: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(open).await.map_err(CatalogError::internal)?
}

// All methods fail with `Unavailable` when the database cannot be used at the moment and with `Internal` when it is damaged.
#[expect(clippy::missing_errors_doc, reason = "said once for all above; what else a method refuses is in its own words")]
impl Catalog {
    /// Opens the SQLite database in `file`, or makes it, and brings its schema up to date.
    pub async fn open_sqlite(file: &Path) -> Result<Self> {
        Self::open_sqlite_at_rest(file).await?.wake().await
    }

    /// Connects to a PostgreSQL database and brings its schema up to date.
    pub async fn open_postgres(url: &str) -> Result<Self> {
        Self::open_postgres_at_rest(url).await?.wake().await
    }

    /// Opens a SQLite database whose rows nobody but the caller changes: nothing is purged, and it may be half filled.
    pub async fn open_sqlite_at_rest(file: &Path) -> Result<Self> {
        let file = file.to_owned();
        Ok(Self(Arc::new(Database::Sqlite(opened(move || sqlite::Database::open(&file)).await?))))
    }

    /// Connects to a PostgreSQL database in the same way.
    pub async fn open_postgres_at_rest(url: &str) -> Result<Self> {
        let url = url.to_owned();
        Ok(Self(Arc::new(Database::Postgres(opened(move || postgres::Database::open(&url)).await?))))
    }

    /// Begins the work behind a catalog that is used. `Conflict` while it is only half filled.
    async fn wake(self) -> Result<Self> {
        if let Some(filling) = self.filling().await? {
            return Err(CatalogError::Conflict(filling.unfinished()));
        }
        self.purge_behind();
        Ok(self)
    }

    /// What the database has to do at the moment: for those who watch the server.
    #[must_use]
    pub fn load(&self) -> Load {
        match &*self.0 {
            Database::Sqlite(database) => database.load(),
            Database::Postgres(database) => database.load(),
        }
    }

    /// A counter that every change to systems, repositories, principals, tokens and policies moves.
    pub async fn epoch(&self) -> Result<u64> {
        forward!(self.read(repositories::epoch))
    }

    /// Whether other processes serve from this catalog too, so that every request looks whether they changed something.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(&*self.0, Database::Postgres(_))
    }

    /// The epoch, and the newest revisions of these repositories, in one look.
    pub async fn heads(&self, repositories: Vec<i64>) -> Result<(u64, Vec<(i64, u64)>)> {
        forward!(self.read(repositories::heads, &repositories))
    }

    /// A number that differs after another process changed something that this one may hold in memory. On SQLite it moves
    /// with every foreign write and never with an own one; on PostgreSQL it is the epoch.
    pub async fn data_version(&self) -> Result<i64> {
        match &*self.0 {
            Database::Sqlite(database) => database.data_version().await,
            Database::Postgres(_) => Ok(convert::to_column(self.epoch().await?)),
        }
    }

    /// Every system, by name.
    pub async fn systems(&self) -> Result<Vec<SystemRow>> {
        forward!(self.read(repositories::systems))
    }

    /// Makes a system; `Conflict` when the name is taken.
    pub async fn create_system(&self, name: SystemName, tags: Tags, declared: bool, now: Timestamp) -> Result<SystemRow> {
        forward!(self.write(repositories::create_system, &name, &tags, declared, now))
    }

    /// Changes a system; `NotFound` when there is none of that name.
    pub async fn update_system(&self, name: SystemName, tags: Tags, declared: bool) -> Result<()> {
        forward!(self.write(repositories::update_system, &name, &tags, declared))
    }

    /// Deletes a system; `Conflict` while it has repositories, or very many rows of deleted ones.
    pub async fn delete_system(&self, name: SystemName) -> Result<()> {
        for _ in 0..PURGED_AT_ONCE {
            let asked = name.clone();
            if forward!(self.write(repositories::delete_system, &asked))? {
                return Ok(());
            }
            self.purge_slice().await?;
        }
        Err(CatalogError::Conflict(format!("what was in the deleted repositories of {name} is still being removed; try again in a minute")))
    }

    /// Every repository that was not deleted, by address.
    pub async fn repositories(&self) -> Result<Vec<RepositoryRow>> {
        forward!(self.read(repositories::repositories))
    }

    /// Makes a repository; `NotFound` without its system, `Conflict` when the address is taken.
    pub async fn create_repository(&self, new: NewRepository, now: Timestamp) -> Result<RepositoryRow> {
        forward!(self.write(repositories::create_repository, &new, now))
    }

    /// Changes a repository.
    pub async fn update_repository(&self, id: i64, tags: Tags, settings: serde_json::Value, declared: bool) -> Result<()> {
        forward!(self.write(repositories::update_repository, id, &tags, &settings, declared))
    }

    /// Deletes a repository. It is gone, and its address free, at once; its rows are removed by and by.
    pub async fn delete_repository(&self, id: i64, now: Timestamp) -> Result<()> {
        forward!(self.write(repositories::delete_repository, id, now))?;
        self.purge_behind();
        Ok(())
    }

    /// Removes the rows of deleted repositories in the background: after a deletion, and at the start for what an ended process
    /// left. It holds the catalog only weakly, so that it never outlives its user by more than a slice.
    fn purge_behind(&self) {
        let catalog = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(catalog) = catalog.upgrade().map(Self) {
                match catalog.purge_slice().await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(%error, cause = ?std::error::Error::source(&error), "the rows of a deleted repository stay until the next start");
                        break;
                    }
                }
            }
        });
    }

    async fn purge_slice(&self) -> Result<bool> {
        forward!(self.write(purge::slice))
    }

    /// A repository's newest revision and its time.
    pub async fn head(&self, repository: i64) -> Result<(u64, Timestamp)> {
        forward!(self.read(repositories::head, repository))
    }

    /// The newest revision that was there at a time; 0 before the first.
    pub async fn revision_at(&self, repository: i64, time: Timestamp) -> Result<u64> {
        forward!(self.read(history::revision_at, repository, time))
    }

    /// The state of a live package, now or at a revision.
    pub async fn package(&self, repository: i64, name: &str, at: Option<u64>) -> Result<Option<PackageState>> {
        let name = name.to_owned();
        forward!(self.read(packages::package, repository, &name, at))
    }

    /// Whether a package of that name is, or ever was.
    pub async fn package_known(&self, repository: i64, name: &str) -> Result<bool> {
        let name = name.to_owned();
        forward!(self.read(packages::package_known, repository, &name))
    }

    /// The revision that changed a live package last: the cheap name of its state.
    pub async fn package_changed(&self, repository: i64, name: &str, at: Option<u64>) -> Result<Option<u64>> {
        let name = name.to_owned();
        forward!(self.read(packages::package_changed, repository, &name, at))
    }

    /// Live packages by name, behind `after`.
    pub async fn packages(&self, repository: i64, after: Option<String>, limit: usize, at: Option<u64>) -> Result<Vec<PackageState>> {
        forward!(self.read(packages::list, repository, after.as_deref(), limit, at))
    }

    /// The newest state of a version, live or deleted.
    pub async fn version(&self, repository: i64, package: &str, version: &str) -> Result<Option<VersionState>> {
        let (package, version) = (package.to_owned(), version.to_owned());
        forward!(self.read(packages::version, repository, &package, &version))
    }

    /// All versions of a package, live and deleted, in the order of their first publication.
    pub async fn versions(&self, repository: i64, package: &str) -> Result<Vec<VersionState>> {
        let package = package.to_owned();
        forward!(self.read(packages::versions, repository, &package))
    }

    /// What an index document of a live package is made of, now or at a revision, with the fragments of one kind.
    pub async fn records(&self, repository: i64, package: &str, kind: &'static str, at: Option<u64>) -> Result<Option<Records>> {
        let package = package.to_owned();
        forward!(self.read(packages::records, repository, &package, kind, at))
    }

    /// What became of a live package since a revision, until now or another revision; `None` where that cannot be said.
    pub async fn changes(&self, repository: i64, package: &str, kind: &'static str, since: u64, at: Option<u64>) -> Result<Option<Changes>> {
        let package = package.to_owned();
        forward!(self.read(packages::changes, repository, &package, kind, since, at))
    }

    /// What an index document of a live package is made of, now or at a revision, where that is the files of a folder.
    pub async fn file_records(&self, repository: i64, package: &str, folder: &str, at: Option<u64>) -> Result<Option<Records>> {
        let (package, folder) = (package.to_owned(), folder.to_owned());
        forward!(self.read(packages::file_records, repository, &package, &folder, at))
    }

    /// What lies below a folder: when it was changed last, and how many files of versions there are. Revisions before `horizon` are forgotten.
    pub async fn folder(&self, repository: i64, folder: &str, horizon: u64, at: Option<u64>) -> Result<Option<FolderState>> {
        let folder = folder.to_owned();
        forward!(self.read(folders::state, repository, &folder, horizon, at))
    }

    /// Fragments of the packages below a folder, at a revision.
    pub async fn pieces(&self, repository: i64, pieces: Pieces, at: u64) -> Result<Vec<Piece>> {
        forward!(self.read(folders::pieces, repository, &pieces, at))
    }

    /// What an index document of all packages is made of that lists their versions: the fragments of one kind of whatever lives.
    pub async fn all_records(&self, repository: i64, kind: &'static str, at: Option<u64>) -> Result<Records> {
        forward!(self.read(packages::all_records, repository, kind, at))
    }

    /// The names of all packages that are, or ever were.
    pub async fn known_packages(&self, repository: i64) -> Result<Vec<String>> {
        forward!(self.read(packages::known_packages, repository))
    }

    /// The live entry at a path, now or at a revision.
    pub async fn entry(&self, repository: i64, path: &str, at: Option<u64>) -> Result<Option<StoredEntry>> {
        let path = path.to_owned();
        forward!(self.read(entries::entry, repository, &path, at))
    }

    /// A page of live paths, now or at a revision.
    pub async fn entries(&self, repository: i64, listing: &Listing, at: Option<u64>) -> Result<ListingPage> {
        let listing = listing.clone();
        forward!(self.read(entries::list, repository, &listing, at))
    }

    /// Live packages of these repositories that a text finds, with their repository, and how many there are in all.
    pub async fn search(&self, repositories: &[i64], text: &str, from: usize, size: usize) -> Result<(Vec<(i64, PackageState)>, u64)> {
        let (repositories, text) = (repositories.to_vec(), text.to_owned());
        forward!(self.read(search::search, &repositories, &text, from, size))
    }

    /// What is known of a blob whose bytes are there.
    pub async fn blob(&self, digest: Sha256Digest) -> Result<Option<BlobFacts>> {
        forward!(self.read(entries::blob, digest))
    }

    /// Where the bytes of a blob lie; `None` when there is no such blob, whatever its state.
    pub async fn blob_location(&self, digest: Sha256Digest) -> Result<Option<Option<String>>> {
        forward!(self.read(entries::blob_location, digest))
    }

    /// The revisions of a repository, newest first, before a number.
    pub async fn history(&self, repository: i64, before: Option<u64>, limit: usize) -> Result<Vec<RevisionRow>> {
        forward!(self.read(history::history, repository, before, limit))
    }

    /// The states that the versions of a package had, newest first.
    pub async fn version_history(&self, repository: i64, package: &str, limit: usize) -> Result<Vec<VersionSpan>> {
        let package = package.to_owned();
        forward!(self.read(history::version_history, repository, &package, limit))
    }

    /// Applies a change, all of it or nothing, and returns its revision once it is durable. `Conflict` when a precondition
    /// does not hold, `NotFound` when the repository is gone.
    pub async fn commit(&self, commit: Commit) -> Result<u64> {
        forward!(self.write(commit::commit, &commit))
    }

    /// Keeps an immutable file of an upstream without a revision. What lives at that path wins, quietly.
    pub async fn keep(&self, repository: i64, row: NewRow, now: Timestamp) -> Result<()> {
        forward!(self.write(commit::keep, repository, &row, now))
    }

    /// Live files of packages whose bytes have this SHA-256 or SHA-512: repository, package and path.
    pub async fn holders(&self, algorithm: Algorithm, digest: Vec<u8>, limit: usize) -> Result<Vec<(i64, String, String)>> {
        forward!(self.read(entries::holders, algorithm, &digest, limit))
    }

    /// What the upstream of a proxy said of a path.
    pub async fn upstream_state(&self, repository: i64, key: &str) -> Result<Option<UpstreamState>> {
        let key = key.to_owned();
        forward!(self.read(upstream::get, repository, &key))
    }

    /// Remembers what the upstream of a proxy said of a path.
    pub async fn put_upstream_state(&self, repository: i64, state: UpstreamState) -> Result<()> {
        forward!(self.write(upstream::put, repository, &state))
    }

    /// Every principal, by kind and name.
    pub async fn principals(&self) -> Result<Vec<PrincipalRow>> {
        forward!(self.read(accounts::principals))
    }

    /// The principal of a kind and name.
    pub async fn principal(&self, kind: PrincipalKind, name: &str) -> Result<Option<PrincipalRow>> {
        let name = name.to_owned();
        forward!(self.read(accounts::principal, kind, &name))
    }

    /// The principal of a number.
    pub async fn principal_by_id(&self, id: i64) -> Result<Option<PrincipalRow>> {
        forward!(self.read(accounts::principal_by_id, id))
    }

    /// Makes a principal; `Conflict` when its kind has one of that name.
    pub async fn create_principal(&self, kind: PrincipalKind, name: &str, tags: Tags, password_hash: Option<String>, now: Timestamp) -> Result<PrincipalRow> {
        let name = name.to_owned();
        forward!(self.write(accounts::create_principal, kind, &name, &tags, password_hash.as_deref(), now))
    }

    /// Writes the tags, the password and the `disabled` of the principal with this row's number.
    pub async fn update_principal(&self, row: PrincipalRow) -> Result<()> {
        forward!(self.write(accounts::update_principal, &row))
    }

    /// Deletes a principal and its tokens.
    pub async fn delete_principal(&self, id: i64) -> Result<()> {
        forward!(self.write(accounts::delete_principal, id))
    }

    /// The tokens of a principal, newest first, revoked and expired ones among them.
    pub async fn tokens(&self, principal: i64) -> Result<Vec<TokenRow>> {
        forward!(self.read(accounts::tokens, principal))
    }

    /// The token of an id, whatever its state.
    pub async fn token(&self, id: &str) -> Result<Option<TokenRow>> {
        let id = id.to_owned();
        forward!(self.read(accounts::token, &id))
    }

    /// Stores a token.
    pub async fn create_token(&self, row: TokenRow) -> Result<()> {
        forward!(self.write(accounts::create_token, &row))
    }

    /// Revokes a token; `false` when there is none or it was revoked before.
    pub async fn revoke_token(&self, id: &str, now: Timestamp) -> Result<bool> {
        let id = id.to_owned();
        forward!(self.write(accounts::revoke_token, &id, now))
    }

    /// Every publisher, by name.
    pub async fn publishers(&self) -> Result<Vec<PublisherRow>> {
        forward!(self.read(publishers::list))
    }

    /// The publishers for identity tokens of an issuer, by name.
    pub async fn publishers_of(&self, issuer: &str) -> Result<Vec<PublisherRow>> {
        let issuer = issuer.to_owned();
        forward!(self.read(publishers::of_issuer, &issuer))
    }

    /// Makes a publisher and its workload, whose number `new.principal` does not say yet; `Conflict` when the name is taken or there are
    /// `most` already.
    pub async fn create_publisher(&self, new: PublisherRow, most: i64) -> Result<PublisherRow> {
        forward!(self.write(publishers::create, &new, most))
    }

    /// Deletes a publisher, its workload and the tokens of that; `false` when there is none.
    pub async fn delete_publisher(&self, principal: i64) -> Result<bool> {
        forward!(self.write(publishers::delete, principal))
    }

    /// Notes whether the configuration file declares a publisher.
    pub async fn set_publisher_declared(&self, principal: i64, declared: bool) -> Result<()> {
        forward!(self.write(publishers::set_declared, principal, declared))
    }

    /// Notes that an identity token was exchanged, until it ends by itself, and stores the token of ours that was given for it; `false` when
    /// it was exchanged before, anywhere. `Conflict` when `most` tokens of the workload live already.
    pub async fn exchange(&self, hash: Vec<u8>, ends: Timestamp, row: TokenRow, most: i64, now: Timestamp) -> Result<bool> {
        forward!(self.write(publishers::exchange, &hash, ends, &row, most, now))
    }

    /// Every policy, by name.
    pub async fn policies(&self) -> Result<Vec<PolicyRow>> {
        forward!(self.read(accounts::policies))
    }

    /// Writes a policy, new or in place of the one of that name.
    pub async fn put_policy(&self, row: PolicyRow) -> Result<()> {
        forward!(self.write(accounts::put_policy, &row))
    }

    /// Deletes a policy; `false` when there is none of that name.
    pub async fn delete_policy(&self, name: &str) -> Result<bool> {
        let name = name.to_owned();
        forward!(self.write(accounts::delete_policy, &name))
    }

    /// Adds lines to the audit log.
    pub async fn audit(&self, rows: Vec<AuditRow>) -> Result<()> {
        forward!(self.write(logs::add_audit, &rows))
    }

    /// Lines of the audit log with their numbers, newest first.
    pub async fn audit_log(&self, filter: AuditFilter) -> Result<Vec<(i64, AuditRow)>> {
        forward!(self.read(logs::audit_log, &filter))
    }

    /// The signing keys of a purpose, newest first.
    pub async fn keys(&self, purpose: &str) -> Result<Vec<KeyRow>> {
        let purpose = purpose.to_owned();
        forward!(self.read(logs::keys, &purpose))
    }

    /// Takes, or prolongs, the lease of some work that one process at a time does; `false` while another holder has it.
    pub async fn take_lease(&self, name: &str, holder: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        forward!(self.write(leases::take, &name, &holder, now, until))
    }

    /// Gives a lease back before its end.
    pub async fn give_lease_back(&self, name: &str, holder: &str) -> Result<()> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        forward!(self.write(leases::give_back, &name, &holder))
    }

    /// Begins a sign-in through a browser; `false` when too many wait, in all or from its network.
    pub async fn start_web_login(&self, new: NewWebLogin, now: Timestamp, most: i64, most_of_network: i64) -> Result<bool> {
        forward!(self.write(web_logins::start, &new, now, most, most_of_network))
    }

    /// Whether the page of a sign-in still waits for somebody.
    pub async fn web_login_waits(&self, page: &str, now: Timestamp) -> Result<bool> {
        let page = page.to_owned();
        forward!(self.read(web_logins::waits, &page, now))
    }

    /// Notes who signed in; `false` when nobody waits any more.
    pub async fn complete_web_login(&self, page: &str, principal: i64, token: Option<String>, now: Timestamp) -> Result<bool> {
        let page = page.to_owned();
        forward!(self.write(web_logins::complete, &page, principal, token.as_deref(), now))
    }

    /// How a sign-in stands. A finished one is told once, whoever asks and wherever.
    pub async fn poll_web_login(&self, poll_hash: Vec<u8>, now: Timestamp) -> Result<WebLoginStanding> {
        let asked = poll_hash.clone();
        let standing = forward!(self.read(web_logins::standing, &asked, now))?;
        if matches!(standing, WebLoginStanding::Done { .. }) && !forward!(self.write(web_logins::end, &poll_hash))? {
            return Ok(WebLoginStanding::Gone);
        }
        Ok(standing)
    }

    /// Begins an upload; `false` when its principal has `most` that are open in the repository, `NotFound` when that is gone.
    pub async fn begin_upload(&self, row: UploadRow, most: i64) -> Result<bool> {
        forward!(self.write(uploads::begin, &row, most))
    }

    /// The upload of an id.
    pub async fn upload(&self, id: &str) -> Result<Option<UploadRow>> {
        let id = id.to_owned();
        forward!(self.read(uploads::find, &id))
    }

    /// A number for the next part of an upload, that no other part of it has; `None` when the upload is gone.
    pub async fn next_upload_part(&self, id: &str) -> Result<Option<i64>> {
        let id = id.to_owned();
        forward!(self.write(uploads::next_part, &id))
    }

    /// Writes the new state of an upload; `false` when somebody else changed it since the row was read, at `row.step`.
    pub async fn advance_upload(&self, row: UploadRow) -> Result<bool> {
        forward!(self.write(uploads::advance, &row))
    }

    /// Forgets an upload; `false` when somebody changed it since `step` was read.
    pub async fn remove_upload(&self, id: &str, step: i64) -> Result<bool> {
        let id = id.to_owned();
        forward!(self.write(uploads::remove, &id, step))
    }

    /// Some uploads that nobody touched since a time.
    pub async fn uploads_untouched_since(&self, time: Timestamp, limit: usize) -> Result<Vec<UploadRow>> {
        forward!(self.read(uploads::untouched_since, time, limit))
    }

    /// Stores a key unless its purpose has a valid one; gives back the one that is valid.
    pub async fn put_key(&self, row: KeyRow) -> Result<KeyRow> {
        forward!(self.write(logs::put_key, &row))
    }

    /// Stores a key that signs from now on; the others of its purpose sign until a time.
    pub async fn rotate_key(&self, row: KeyRow, others_until: Timestamp) -> Result<()> {
        forward!(self.write(logs::rotate_key, &row, others_until))
    }
}
