//! Quotas: most bytes that a repository, or the hosted repositories of a system, have.
//!
//! Nothing is counted at the moment of a commit: a counter would be a row that every publish waits for, and one that bulk deletions,
//! restorations and crashes would make lie. What a repository has is added up from its live paths, each blob once, along an index; the
//! figure is used for a while, with what this process took in since on top. Before anything is refused it is added up anew. What other
//! replicas take in meanwhile is seen with the next figure: that much a quota can be overrun.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entrepot_kit::{Error, Kind, Result, Sha256Digest};
use parking_lot::Mutex;
use serde_json::Value;

use crate::registry::{Engine, Repo};

/// The setting of a repository.
pub(crate) const QUOTA: &str = "quota_bytes";

/// How long a figure is used at least, and how many times as long as it took to add it up.
const FRESH: Duration = Duration::from_secs(10);
const TIMES: u32 = 50;
/// How old a figure may be by which something is refused.
const JUST_NOW: Duration = Duration::from_secs(1);
/// Paths of one question.
const STRETCH: usize = 10_000;

/// What a repository has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes that live paths lead to, each blob once.
    pub bytes: u64,
    /// Those blobs.
    pub blobs: u64,
}

/// A figure, and what was taken in since it was begun.
#[derive(Clone, Copy)]
struct Figure {
    usage: Usage,
    at: Instant,
    took: Duration,
}

#[derive(Default)]
struct Account {
    figure: Option<Figure>,
    /// Bytes that were let in ever, and those of them that were not taken in after all or are in the figure.
    begun: u64,
    settled: u64,
    running: u64,
}

/// What is known of repositories.
#[derive(Default)]
pub(crate) struct Quotas(Mutex<HashMap<i64, Account>>);

/// Reads the setting.
///
/// # Errors
/// 400 when it is no number of bytes.
pub(crate) fn quota(settings: &Value) -> Result<Option<u64>> {
    let Some(value) = settings.get(QUOTA) else { return Ok(None) };
    let number = value.as_u64().filter(|number| i64::try_from(*number).is_ok());
    number.map(Some).ok_or_else(|| Error::bad_request(format!("{QUOTA} is a number of bytes")))
}

/// Bytes that are on their way in. Whatever becomes of them, they are accounted for.
pub(crate) struct Admission {
    engine: Arc<Engine>,
    repository: i64,
    bytes: u64,
    taken: bool,
}

impl Admission {
    /// They are in.
    pub(crate) fn taken(mut self) {
        self.taken = true;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(account) = self.engine.quotas.0.lock().get_mut(&self.repository) {
            account.running = account.running.saturating_sub(self.bytes);
            if !self.taken {
                account.settled = account.settled.saturating_add(self.bytes);
            }
        }
    }
}

impl Engine {
    /// What a repository has, as it was not longer than `age` ago, and what this process let in since.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn usage(&self, repository: i64, age: Option<Duration>) -> Result<Usage> {
        if let Some(usage) = self.known_usage(repository, age) {
            return Ok(usage);
        }
        let _one_at_a_time = self.locks.lock(&format!("usage/{repository}")).await;
        if let Some(usage) = self.known_usage(repository, age) {
            return Ok(usage);
        }
        let begun = Instant::now();
        // What ended before this is in the figure; what runs may be or not, and counts.
        let settled = {
            let mut quotas = self.quotas.0.lock();
            let account = quotas.entry(repository).or_default();
            account.begun.saturating_sub(account.running)
        };
        let (mut usage, mut after) = (Usage::default(), None);
        loop {
            let stretch = self.catalog.held_stretch(repository, after, STRETCH).await?;
            usage.bytes += stretch.bytes;
            usage.blobs += stretch.blobs;
            match stretch.last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let mut quotas = self.quotas.0.lock();
        let account = quotas.entry(repository).or_default();
        account.settled = account.settled.max(settled);
        account.figure = Some(Figure { usage, at: begun, took: begun.elapsed() });
        Ok(account.now(usage))
    }

    fn known_usage(&self, repository: i64, age: Option<Duration>) -> Option<Usage> {
        let quotas = self.quotas.0.lock();
        let account = quotas.get(&repository)?;
        let figure = account.figure?;
        let most = age.unwrap_or_else(|| FRESH.max(figure.took * TIMES));
        (figure.at.elapsed() < most).then(|| account.now(figure.usage))
    }

    /// What the hosted repositories of a system have, each for itself. Caches have quotas of their own.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn system_usage(&self, system: &str, age: Option<Duration>) -> Result<Usage> {
        let table = self.table();
        let mut all = Usage::default();
        for repo in table.iter().filter(|repo| repo.kind() == Kind::Hosted && repo.address().system.as_str() == system) {
            let usage = self.usage(repo.id(), age).await?;
            all.bytes = all.bytes.saturating_add(usage.bytes);
            all.blobs += usage.blobs;
        }
        Ok(all)
    }

    /// Refuses where there is no room for so many bytes more; for none, where it is full.
    pub(crate) async fn check_quota(&self, repo: &Repo, more: u64) -> Result<()> {
        let fits = |used: u64, quota: u64| if more == 0 { used < quota } else { used.saturating_add(more) <= quota };
        if let Some(quota) = repo.quota
            && !fits(self.usage(repo.id(), None).await?.bytes, quota)
        {
            let used = self.usage(repo.id(), Some(JUST_NOW)).await?.bytes;
            if !fits(used, quota) {
                return Err(full(&repo.address().to_string(), used, quota, more));
            }
        }
        let system = repo.address().system.as_str();
        let quota = self.table().systems.get(system).and_then(|row| row.quota_bytes);
        if let Some(quota) = quota
            && !fits(self.system_usage(system, None).await?.bytes, quota)
        {
            let used = self.system_usage(system, Some(JUST_NOW)).await?.bytes;
            if !fits(used, quota) {
                return Err(full(&format!("the system {system}"), used, quota, more));
            }
        }
        Ok(())
    }

    fn has_quota(&self, repo: &Repo) -> bool {
        repo.quota.is_some() || self.table().systems.get(repo.address().system.as_str()).is_some_and(|row| row.quota_bytes.is_some())
    }

    /// Lets blobs in, those that are not there yet counted; `None` where nothing is limited.
    pub(crate) async fn admit(self: &Arc<Self>, repo: &Repo, blobs: Vec<(Sha256Digest, u64)>) -> Result<Option<Admission>> {
        if !self.has_quota(repo) {
            return Ok(None);
        }
        let mut sizes: HashMap<Sha256Digest, u64> = blobs.into_iter().collect();
        for held in self.catalog.held_of(repo.id(), sizes.keys().copied().collect()).await? {
            sizes.remove(&held);
        }
        let bytes = sizes.values().fold(0_u64, |sum, size| sum.saturating_add(*size));
        if bytes > 0 {
            self.check_quota(repo, bytes).await?;
        }
        let mut quotas = self.quotas.0.lock();
        let account = quotas.entry(repo.id()).or_default();
        account.begun = account.begun.saturating_add(bytes);
        account.running = account.running.saturating_add(bytes);
        Ok(Some(Admission { engine: Arc::clone(self), repository: repo.id(), bytes, taken: false }))
    }
}

impl Account {
    /// A figure and what was let in since.
    fn now(&self, figure: Usage) -> Usage {
        Usage { bytes: figure.bytes.saturating_add(self.begun.saturating_sub(self.settled)), ..figure }
    }
}

fn full(what: &str, used: u64, quota: u64, more: u64) -> Error {
    let asked = if more > 0 { format!(", and {more} more are too many") } else { String::new() };
    let message = format!("{what} has {used} of the {quota} bytes that it may have ({QUOTA}){asked}: delete something, or ask for a larger quota");
    Error::forbidden(message).with_policy(QUOTA)
}
