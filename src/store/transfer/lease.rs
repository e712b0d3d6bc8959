//! Leases for work on a whole storage: that of gc, held by whatever needs that no blob goes away meanwhile, and that of filling.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Progress, Result, refused};
use crate::clock::Clock;
use crate::store::catalog::Catalog;

/// A lease, and how it is held.
pub(super) struct Kind {
    name: &'static str,
    /// How long it outlives a holder that was killed, in milliseconds.
    lifetime: i64,
    /// How often it is prolonged.
    interval: Duration,
    /// What is done by whoever holds it.
    work: &'static str,
}

/// The one that gc and we share.
pub(super) const GC: Kind = Kind { name: "gc", lifetime: 120_000, interval: Duration::from_secs(20), work: "gc or another backup" };
/// That of whoever fills a catalog. Whoever was killed is to be followed soon.
pub(super) const FILLING: Kind = Kind { name: "filling", lifetime: 20_000, interval: Duration::from_secs(4), work: "another restore or migration" };

/// How often one that another holds is asked for again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is asked for in all.
const ATTEMPTS: u32 = 7200;

/// A lease that is held, and prolonged until this value goes.
pub(super) struct Lease {
    catalog: Catalog,
    kind: &'static Kind,
    holder: String,
    lost: Arc<AtomicBool>,
    prolonging: JoinHandle<()>,
}

impl Lease {
    /// Takes it; waits for another holder.
    pub(super) async fn take(kind: &'static Kind, catalog: &Catalog, clock: &Clock, progress: &mut Progress) -> Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|cause| refused(format!("no random number: {cause}")))?;
        // Behind the lock of a data directory there is only one at a time: it goes on as whoever was killed before it.
        let alone = kind.name == FILLING.name && !catalog.is_shared();
        let holder = if alone { String::from("transfer") } else { format!("transfer-{}", hex::encode(random)) };
        let mut attempts = 0;
        while !take(kind, catalog, clock, &holder).await? {
            attempts += 1;
            if attempts > ATTEMPTS {
                return Err(refused(format!("{} did not end within an hour: try again later", kind.work)));
            }
            progress.tick(|| format!("{} runs, or was cut off just now: waiting for its end", kind.work));
            tokio::time::sleep(PAUSE).await;
        }
        let lost = Arc::new(AtomicBool::new(false));
        let prolonging = tokio::spawn({
            let (catalog, clock, holder, lost) = (catalog.clone(), Arc::clone(clock), holder.clone(), Arc::clone(&lost));
            async move {
                loop {
                    tokio::time::sleep(kind.interval).await;
                    // A database that cannot be reached for a while is no loss as long as nobody else gets the lease.
                    if let Ok(false) = take(kind, &catalog, &clock, &holder).await {
                        lost.store(true, Ordering::Relaxed);
                    }
                }
            }
        });
        Ok(Self { catalog: catalog.clone(), kind, holder, lost, prolonging })
    }

    /// Fails once somebody else had it.
    pub(super) fn check(&self) -> Result<()> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(refused(format!("the catalog could not be reached for a while, and {} began meanwhile: begin again", self.kind.work)));
        }
        Ok(())
    }

    /// Gives it back.
    pub(super) async fn give_back(&self) -> Result<()> {
        self.prolonging.abort();
        Ok(self.catalog.give_lease_back(self.kind.name, &self.holder).await?)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.prolonging.abort();
    }
}

async fn take(kind: &Kind, catalog: &Catalog, clock: &Clock, holder: &str) -> Result<bool> {
    let now = clock();
    Ok(catalog.take_lease(kind.name, holder, now, now.plus(kind.lifetime)).await?)
}
