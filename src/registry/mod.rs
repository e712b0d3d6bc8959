//! The engine: hosted, proxy and group repositories, and the façade that formats see of them.
//!
//! One read interface, [`reader::Reader`], serves all three kinds: a proxy is a hosted repository that fills itself, a group
//! is the union of its members' answers. Documents, files and stamps are cached by the revision at which they were read, so a
//! commit makes every older cache line unreachable by moving the head: nothing is ever invalidated by name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use entrepot_kit::{Address, Error, Format, Result, Timestamp};
use parking_lot::RwLock;
use tokio::runtime::Handle;

use crate::access::Access;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store::blobs::BlobStore;
use crate::store::catalog::Catalog;
use crate::store::uploads::UploadStore;
use crate::upstream::{Fetch, Fetched};

pub mod artifactapi;
mod cache;
mod confine;
mod detached;
mod facade;
mod fill;
mod folders;
pub(crate) mod gather;
mod group;
mod hosted;
pub mod keys;
mod locks;
mod mend;
mod mirrors;
mod mount;
mod names;
pub mod news;
mod notes;
pub mod paths;
pub mod patterns;
mod permission;
pub(crate) mod prefetch;
mod proxy;
mod pulls;
pub mod purge;
pub mod quota;
pub mod reader;
pub mod reconcile;
mod restoration;
pub mod retention;
pub mod rules;
mod source;
pub mod table;
pub mod view;

pub use facade::{Context, Session};
pub use pulls::Use;
pub use table::{Repo, Table};
pub use view::{Moment, View};

/// What is told within this time is looked at together.
const AFTER_NEWS: std::time::Duration = std::time::Duration::from_millis(5);

/// What the engine is built from.
pub struct Parts {
    /// The catalog.
    pub catalog: Catalog,
    /// The blobs.
    pub blobs: Arc<dyn BlobStore>,
    /// Uploads in several requests.
    pub uploads: Arc<dyn UploadStore>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// The formats.
    pub formats: Vec<Arc<dyn Format>>,
    /// Seals the private keys of repositories.
    pub master_key: keys::MasterKey,
    /// The time.
    pub clock: Clock,
    /// Bytes of index documents and records that are held in memory.
    pub cache_bytes: u64,
    /// Most bytes of one uploaded or fetched file.
    pub max_upload: u64,
}

/// The engine. One per process.
pub struct Engine {
    /// The catalog.
    pub catalog: Catalog,
    /// The blobs.
    pub blobs: Arc<dyn BlobStore>,
    /// Uploads in several requests.
    pub uploads: Arc<dyn UploadStore>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// The formats.
    pub formats: Vec<Arc<dyn Format>>,
    /// The time.
    pub clock: Clock,
    /// Most bytes of one uploaded or fetched file.
    pub max_upload: u64,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Detached work that has not ended.
    detached: Arc<AtomicUsize>,
    pub(crate) keys: Arc<keys::Keys>,
    /// Itself, for work in the background.
    own: std::sync::Weak<Self>,
    /// Calls to caches in front.
    purges: purge::Purges,
    table: RwLock<Arc<Table>>,
    /// The catalog's epoch that the table was built at, or later.
    table_epoch: AtomicU64,
    /// How often blobs were marked as damaged, or unmarked, when that was looked at last. Entries in memory carry it in their key.
    damage: AtomicU64,
    /// What replicas tell each other.
    board: news::Board,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    cache: cache::Caches,
    locks: locks::KeyedLocks,
    /// The use of files that is not written down yet.
    notes: pulls::Notes,
    /// What repositories have, as far as somebody asked.
    quotas: quota::Quotas,
    fills: fill::Fills,
    /// Upstream indexes in memory at the same time: each may have tens of megabytes.
    indexes: tokio::sync::Semaphore,
    /// Files of upstreams that are looked into at the same time, each on a thread that waits for them.
    parts: tokio::sync::Semaphore,
    /// Prefetches that may run.
    prefetches: Arc<tokio::sync::Semaphore>,
    /// Work that must outlive a request (commits, fills) runs here, never on a web worker that may drop it.
    runtime: Handle,
}

impl Engine {
    /// Builds the engine on the current multi-thread runtime and loads the repositories.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn new(parts: Parts) -> Result<Arc<Self>> {
        let keys = Arc::new(keys::Keys::new(parts.catalog.clone(), parts.master_key));
        parts.access.use_keys(Arc::clone(&keys));
        let engine = Arc::new_cyclic(|own| Self {
            own: std::sync::Weak::clone(own),
            purges: purge::Purges::default(),
            metrics: Metrics::new((parts.clock)()),
            detached: Arc::default(),
            keys,
            catalog: parts.catalog,
            blobs: parts.blobs,
            uploads: parts.uploads,
            access: parts.access,
            formats: parts.formats,
            clock: parts.clock,
            max_upload: parts.max_upload,
            table: RwLock::default(),
            table_epoch: AtomicU64::new(0),
            damage: AtomicU64::new(0),
            board: news::Board::default(),
            reloading: tokio::sync::Mutex::default(),
            cache: cache::Caches::new(parts.cache_bytes),
            locks: locks::KeyedLocks::default(),
            notes: pulls::Notes::default(),
            quotas: quota::Quotas::default(),
            fills: fill::Fills::default(),
            indexes: tokio::sync::Semaphore::new(4),
            parts: tokio::sync::Semaphore::new(16),
            prefetches: Arc::new(tokio::sync::Semaphore::new(prefetch::AT_ONCE)),
            runtime: Handle::current(),
        });
        engine.reload().await?;
        Ok(engine)
    }

    /// The repositories as of now.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read())
    }

    /// The repository at an address.
    #[must_use]
    pub fn repo(&self, address: &Address) -> Option<Arc<Repo>> {
        self.table.read().get(address).cloned()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Reads systems and repositories again, after a change of either.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn reload(&self) -> Result<()> {
        let _one_at_a_time = self.reloading.lock().await;
        self.reload_alone().await
    }

    /// Under the lock, so that an older table never takes the place of a newer one.
    async fn reload_alone(&self) -> Result<()> {
        // Read first: a change after this makes the next look reload once more.
        let epoch = self.catalog.epoch().await?;
        self.damage.store(self.catalog.damage().await?, Ordering::Release);
        // A key that another process rotated is among the changes.
        self.keys.forget();
        let (systems, rows) = (self.catalog.systems().await?, self.catalog.repositories().await?);
        let (table, problems) = Table::build(systems, rows, &self.formats, &self.table());
        for problem in problems {
            tracing::error!(problem, "a repository cannot be served");
        }
        *self.table.write() = Arc::new(table);
        self.table_epoch.store(epoch, Ordering::Release);
        self.board.tell(&self.metrics, news::News::Epoch(epoch));
        Ok(())
    }

    /// Sees what other replicas wrote before a request is answered: policies, repositories, and the revisions of the repository that it
    /// is about and of the members of that. Costs one small question to PostgreSQL, and nothing on one machine, where
    /// [`Self::watch`] sees what commands write.
    ///
    /// # Errors
    /// 503 when the catalog cannot be reached.
    pub async fn catch_up(&self, address: Option<&Address>) -> Result<()> {
        if !self.catalog.is_shared() {
            return Ok(());
        }
        let table = self.table();
        let known = address.and_then(|address| table.get(address));
        let repos = || known.iter().flat_map(|repo| std::iter::once(*repo).chain(repo.leaves.iter().map(|leaf| &leaf.repo)));
        let (epoch, heads) = self.catalog.heads(repos().map(|repo| repo.id()).collect()).await?;
        for repo in repos() {
            if let Some((_, head)) = heads.iter().find(|(id, _)| *id == repo.id()) {
                repo.advance(*head);
            }
        }
        if epoch > self.access.epoch() {
            self.access.refresh().await?;
        }
        if epoch > self.table_epoch.load(Ordering::Acquire) {
            let _one_at_a_time = self.reloading.lock().await;
            if epoch > self.table_epoch.load(Ordering::Acquire) {
                self.reload_alone().await?;
            }
        }
        Ok(())
    }

    /// Notices what other processes wrote: four times a second, and whenever another replica tells of a change, a look at the database's own
    /// change counter, and a reload when it moved. Runs until the process ends.
    pub async fn watch(self: Arc<Self>) {
        let mut seen = self.catalog.data_version().await.ok();
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(250));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                // However much is told: a look at a time.
                () = self.board.news() => tokio::time::sleep(AFTER_NEWS).await,
            }
            let outcome = async {
                let version = self.catalog.data_version().await?;
                if seen.replace(version) != Some(version) {
                    self.reload().await?;
                    self.access.refresh().await?;
                }
                self.look_at_heard().await?;
                Ok::<_, Error>(())
            };
            if let Err(error) = outcome.await {
                seen = None;
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "the catalog could not be asked for changes");
            }
        }
    }

    /// Makes another key for a repository's documents; the ones before sign beside it for `overlap` milliseconds.
    ///
    /// # Errors
    /// Failures of the key store.
    pub async fn rotate_key(&self, repo: &Repo, kind: entrepot_kit::KeyKind, overlap: i64) -> Result<entrepot_kit::PublicKey> {
        let made = self.keys.rotate(repo.id(), kind, overlap, self.now()).await?;
        // Answers that were just given are signed by the old one only.
        self.reload().await?;
        Ok(made)
    }

    /// Asks an upstream, and counts what came of it.
    pub(crate) async fn ask(&self, repo: &Repo, fetch: &Fetch<'_>) -> Result<Fetched> {
        let upstream = repo.upstream()?;
        let begun = Instant::now();
        let outcome = upstream.fetch(fetch).await;
        self.metrics.asked(&outcome, begun.elapsed());
        if let Some(allowance) = upstream.allowance() {
            self.metrics.allowance(upstream.settings().namespace(), allowance);
        }
        Ok(outcome?)
    }
}
