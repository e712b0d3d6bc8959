//! What long work does between its slices: it says how far it is, and keeps its lease.

use std::time::Duration;

use entrepot_kit::{Error, Result};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::store::catalog::Catalog;

/// Time between two lines about the progress.
const TALK: Duration = Duration::from_secs(5);
/// How long a lease lasts that nobody prolongs, in milliseconds.
const LEASE: i64 = 120_000;
/// Time after which it is prolonged.
const PROLONG: Duration = Duration::from_secs(20);

/// A name for whoever holds a lease, unlike any other.
///
/// # Errors
/// When the machine gives no random bytes.
pub fn holder() -> Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|cause| Error::internal(cause.to_string()))?;
    Ok(format!("{}-{}", std::process::id(), hex::encode(random)))
}

/// The right to be the only one who does something. It ends by itself when its process dies.
pub struct Lease {
    catalog: Catalog,
    name: &'static str,
    holder: String,
    clock: Clock,
    prolonged: Instant,
}

impl Lease {
    /// Takes a lease; `None` while somebody else has it.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn take(catalog: &Catalog, name: &'static str, clock: &Clock) -> Result<Option<Self>> {
        let mut lease = Self { catalog: catalog.clone(), name, holder: holder()?, clock: clock.clone(), prolonged: Instant::now() };
        Ok(lease.take_again().await?.then_some(lease))
    }

    async fn take_again(&mut self) -> Result<bool> {
        let now = (self.clock)();
        self.prolonged = Instant::now();
        Ok(self.catalog.take_lease(self.name, &self.holder, now, now.plus(LEASE)).await?)
    }

    async fn keep(&mut self) -> Result<()> {
        if self.prolonged.elapsed() >= PROLONG && !self.take_again().await? {
            return Err(Error::unavailable(format!("another process took over ({}): this one ends", self.name), 1));
        }
        Ok(())
    }

    async fn give_back(self) {
        if let Err(error) = self.catalog.give_lease_back(self.name, &self.holder).await {
            tracing::debug!(%error, "a lease was not given back: it ends by itself");
        }
    }
}

/// The pace of long work.
pub struct Pace<'a> {
    tell: &'a (dyn Fn(&str) + Send + Sync),
    told: Instant,
    lease: Option<Lease>,
}

impl<'a> Pace<'a> {
    /// Work that tells its progress to `tell`, under a lease where it needs one.
    #[must_use]
    pub fn new(tell: &'a (dyn Fn(&str) + Send + Sync), lease: Option<Lease>) -> Self {
        Self { tell, told: Instant::now(), lease }
    }

    /// To be called after each slice.
    ///
    /// # Errors
    /// 503 when the lease was lost.
    pub async fn step(&mut self, progress: impl FnOnce() -> String) -> Result<()> {
        if self.told.elapsed() >= TALK {
            self.told = Instant::now();
            (self.tell)(&progress());
        }
        match &mut self.lease {
            Some(lease) => lease.keep().await,
            None => Ok(()),
        }
    }

    /// Says something at once.
    pub fn say(&self, line: &str) {
        (self.tell)(line);
    }

    /// Ends the work: the lease is free again.
    pub async fn end(self) {
        if let Some(lease) = self.lease {
            lease.give_back().await;
        }
    }
}
