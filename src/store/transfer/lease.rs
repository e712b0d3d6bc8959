//! The lease of gc, held by whatever needs that no blob goes away meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Progress, Result, refused};
use crate::clock::Clock;
use crate::store::catalog::Catalog;

/// The name that gc and we share.
const NAME: &str = "gc";
/// How long the lease outlives a holder that was killed, in milliseconds.
const LIFETIME: i64 = 120_000;
/// How often it is prolonged.
const INTERVAL: Duration = Duration::from_secs(20);
/// How often one that another holds is asked for again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is asked for in all.
const ATTEMPTS: u32 = 7200;

/// A lease that is held, and prolonged until this value goes.
pub(super) struct Lease {
    catalog: Catalog,
    holder: String,
    lost: Arc<AtomicBool>,
    prolonging: JoinHandle<()>,
}

impl Lease {
    /// Takes it; waits for a gc that runs.
    pub(super) async fn take(catalog: &Catalog, clock: &Clock, progress: &mut Progress) -> Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|cause| refused(format!("no random number: {cause}")))?;
        let holder = format!("backup-{}", hex::encode(random));
        let mut attempts = 0;
        while !take(catalog, clock, &holder).await? {
            attempts += 1;
            if attempts > ATTEMPTS {
                return Err(refused("gc, or another backup, did not end within an hour: try again later"));
            }
            progress.tick(|| String::from("gc or another backup runs: waiting for its end"));
            tokio::time::sleep(PAUSE).await;
        }
        let lost = Arc::new(AtomicBool::new(false));
        let prolonging = tokio::spawn({
            let (catalog, clock, holder, lost) = (catalog.clone(), Arc::clone(clock), holder.clone(), Arc::clone(&lost));
            async move {
                loop {
                    tokio::time::sleep(INTERVAL).await;
                    // A database that cannot be reached for a while is no loss as long as nobody else gets the lease.
                    if let Ok(false) = take(&catalog, &clock, &holder).await {
                        lost.store(true, Ordering::Relaxed);
                    }
                }
            }
        });
        Ok(Self { catalog: catalog.clone(), holder, lost, prolonging })
    }

    /// Fails once somebody else had it.
    pub(super) fn check(&self) -> Result<()> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(refused("the catalog could not be reached for minutes, and gc began meanwhile: what it removed may be missing here. Begin again"));
        }
        Ok(())
    }

    /// Gives it back.
    pub(super) async fn give_back(&self) -> Result<()> {
        self.prolonging.abort();
        Ok(self.catalog.give_lease_back(NAME, &self.holder).await?)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.prolonging.abort();
    }
}

async fn take(catalog: &Catalog, clock: &Clock, holder: &str) -> Result<bool> {
    let now = clock();
    Ok(catalog.take_lease(NAME, holder, now, now.plus(LIFETIME)).await?)
}
