//! Garbage collection beside running uploads.
//!
//! 1. What no entry names is condemned. A commit that names it again revives it, under the lock of its row.
//! 2. What was condemned before the grace, and is named by nothing even under that lock, loses its row; then its bytes are removed, by
//!    their place. A commit that comes later finds no row and brings the bytes to another place, so the removal never meets them.
//! 3. Bytes at places that no row names are removed when they are old enough: until then a commit may be about to name them.
//!
//! A crash leaves bytes too many, never too few.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use entrepot_kit::{Result, Sha256Digest, Timestamp};
use futures::StreamExt as _;

use crate::jobs::pace::Pace;
use crate::store::blobs::{BlobStore, StoredObject};
use crate::store::catalog::Catalog;
use crate::store::model::BlobPlace;

/// The lease of whoever collects garbage. Work that needs all blobs to stay (a backup) takes it too.
pub const LEASE: &str = "gc";
/// Bytes that no row names are kept for so long at least: longer than any commit takes from its bytes to its row. Some S3 servers count
/// the age of an object from the beginning of its upload.
pub const LEAST_AGE: Duration = Duration::from_secs(24 * 3600);
/// What unfinished work left is removed after so long.
const UNFINISHED: Duration = Duration::from_secs(24 * 3600);
/// Blobs that are looked at in one question.
const STRETCH: usize = 1000;
/// Blobs that one transaction changes.
const SLICE: usize = 200;
/// Removals in the storage at the same time.
const AT_ONCE: usize = 8;
/// Places that are looked up in one question.
const PLACES: usize = 500;

/// What a run does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The time of the run.
    pub now: Timestamp,
    /// How long a blob stays condemned before it is removed.
    pub grace: Duration,
    /// How old bytes that no row names must be, besides the grace.
    pub least_age: Duration,
    /// How old what unfinished work left must be.
    pub unfinished: Duration,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl Plan {
    /// A run with a grace.
    #[must_use]
    pub fn new(now: Timestamp, grace: Duration) -> Self {
        Self { now, grace, least_age: LEAST_AGE, unfinished: UNFINISHED, dry_run: false }
    }

    fn before(&self, age: Duration) -> Timestamp {
        Timestamp(self.now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// A number of things and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Their bytes together.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What a run did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Blobs that were condemned now.
    pub condemned: u64,
    /// Condemned blobs that are named again.
    pub revived: u64,
    /// Blobs that were removed.
    pub removed: Amount,
    /// Files that no blob named, and that were removed.
    pub orphans: Amount,
    /// What unfinished work had left, and was removed.
    pub unfinished: u64,
    /// Condemned blobs that stay until their grace is over.
    pub kept: Amount,
    /// Files that no blob names, and that are too young to be removed.
    pub young: Amount,
    /// Files that could not be removed. The next run tries again.
    pub failed: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dry_run {
            writeln!(f, "dry run: nothing was changed; this is what would be done")?;
        }
        writeln!(f, "condemned: {} blobs that nothing names any more", self.condemned)?;
        writeln!(f, "revived: {} blobs that are named again", self.revived)?;
        writeln!(f, "removed: {} blobs, {} bytes", self.removed.count, self.removed.bytes)?;
        writeln!(f, "orphans removed: {} files that no blob names, {} bytes; {} unfinished uploads", self.orphans.count, self.orphans.bytes, self.unfinished)?;
        write!(
            f,
            "kept within the grace: {} blobs, {} bytes; {} files that no blob names, {} bytes",
            self.kept.count, self.kept.bytes, self.young.count, self.young.bytes
        )?;
        if self.failed > 0 {
            write!(f, "\nnot removed: {} files, because the storage failed; the next run tries again", self.failed)?;
        }
        Ok(())
    }
}

/// Removes what nothing names. Safe beside everything that servers do, and beside another run.
///
/// # Errors
/// Failures of the catalog and the storage; what was done until then is done.
pub async fn collect(catalog: &Catalog, blobs: &dyn BlobStore, plan: &Plan, pace: &mut Pace<'_>) -> Result<Outcome> {
    let mut run = Run { catalog, blobs, plan, outcome: Outcome { dry_run: plan.dry_run, ..Outcome::default() } };
    if !plan.dry_run {
        catalog.purge().await?;
        run.pardon(pace).await?;
    }
    run.condemn(pace).await?;
    if !plan.dry_run {
        run.remove(pace).await?;
        run.outcome.unfinished = blobs.sweep(plan.before(plan.unfinished)).await?;
    }
    run.sweep(pace).await?;
    Ok(run.outcome)
}

struct Run<'a> {
    catalog: &'a Catalog,
    blobs: &'a dyn BlobStore,
    plan: &'a Plan,
    outcome: Outcome,
}

impl Run<'_> {
    async fn pardon(&mut self, pace: &mut Pace<'_>) -> Result<()> {
        loop {
            let pardoned = self.catalog.pardon_blobs(SLICE).await?;
            if pardoned == 0 {
                return Ok(());
            }
            self.outcome.revived += pardoned;
            pace.step(|| format!("{} blobs are named again", self.outcome.revived)).await?;
        }
    }

    /// Walks over all blobs and condemns what nothing names.
    async fn condemn(&mut self, pace: &mut Pace<'_>) -> Result<()> {
        let (mut last, mut walked) = (None, 0_usize);
        let due = self.plan.before(self.plan.grace);
        loop {
            let stretch = self.catalog.blob_stretch(last, STRETCH).await?;
            let Some(end) = stretch.last else { return Ok(()) };
            last = Some(end);
            walked += STRETCH;
            let mut fresh: Vec<Sha256Digest> = Vec::new();
            for blob in stretch.unnamed {
                if blob.condemned.is_none() {
                    fresh.push(blob.digest);
                }
                match blob.condemned.unwrap_or(self.plan.now) {
                    since if since > due => self.outcome.kept.add(blob.size),
                    _ if self.plan.dry_run => self.outcome.removed.add(blob.size),
                    _ => {}
                }
            }
            for slice in fresh.chunks(SLICE) {
                self.outcome.condemned += match self.plan.dry_run {
                    true => slice.len() as u64,
                    false => self.catalog.condemn_blobs(slice.to_vec(), self.plan.now).await?,
                };
            }
            pace.step(|| format!("looked at {walked} blobs, {} condemned", self.outcome.condemned)).await?;
        }
    }

    /// Removes what was condemned before the grace: rows first, then bytes.
    async fn remove(&mut self, pace: &mut Pace<'_>) -> Result<()> {
        let due = self.plan.before(self.plan.grace);
        loop {
            let removal = self.catalog.remove_blobs(due, SLICE).await?;
            if removal.looked_at == 0 {
                return Ok(());
            }
            self.outcome.revived += removal.revived;
            self.outcome.removed.count += removal.removed;
            self.outcome.removed.bytes += removal.bytes;
            self.erase(removal.places).await;
            pace.step(|| format!("removed {} blobs, {} bytes", self.outcome.removed.count, self.outcome.removed.bytes)).await?;
        }
    }

    /// Removes bytes that no row names any more; says how many were removed.
    async fn erase(&mut self, places: Vec<BlobPlace>) -> Amount {
        let blobs = self.blobs;
        let mut outcomes = futures::stream::iter(places).map(|place| async move { (blobs.remove(&place).await, place) }).buffer_unordered(AT_ONCE);
        let mut erased = Amount::default();
        while let Some((outcome, place)) = outcomes.next().await {
            match outcome {
                Ok(()) => erased.add(place.size),
                Err(error) => {
                    tracing::warn!(digest = %place.digest, location = ?place.location, %error, cause = ?std::error::Error::source(&error), "gc could not remove a file");
                    self.outcome.failed += 1;
                }
            }
        }
        erased
    }

    /// Removes bytes that no row names and that are old enough.
    async fn sweep(&mut self, pace: &mut Pace<'_>) -> Result<()> {
        let blobs = self.blobs;
        let mut chunks = blobs.list().chunks(PLACES);
        let mut listed = 0_usize;
        while let Some(chunk) = chunks.next().await {
            let objects = chunk.into_iter().collect::<Result<Vec<_>>>()?;
            listed += objects.len();
            self.sweep_some(objects).await?;
            pace.step(|| format!("looked at {listed} files, {} that no blob names removed", self.outcome.orphans.count)).await?;
        }
        Ok(())
    }

    async fn sweep_some(&mut self, objects: Vec<StoredObject>) -> Result<()> {
        let old = self.plan.before(self.plan.grace.max(self.plan.least_age));
        let mut places = Vec::new();
        for object in unnamed(self.catalog, objects).await? {
            if object.modified > old {
                self.outcome.young.add(object.size);
            } else if self.plan.dry_run {
                self.outcome.orphans.add(object.size);
            } else {
                places.push(object.place());
            }
        }
        let erased = self.erase(places).await;
        self.outcome.orphans.count += erased.count;
        self.outcome.orphans.bytes += erased.bytes;
        Ok(())
    }
}

/// Those of some stored objects that no row names.
///
/// # Errors
/// Failures of the catalog.
pub(super) async fn unnamed(catalog: &Catalog, objects: Vec<StoredObject>) -> Result<Vec<StoredObject>> {
    let known: HashSet<String> = catalog.known_places(objects.iter().map(|object| object.location.clone()).collect()).await?.into_iter().collect();
    Ok(objects.into_iter().filter(|object| !known.contains(&object.location)).collect())
}
