//! Work that no request waits for: idempotent, in slices, one process at a time by a lease.

pub mod gc;
pub mod pace;
pub mod retention;
#[cfg(test)]
mod stress;
pub mod verify;

use std::sync::Arc;
use std::time::Duration;

use entrepot_kit::{Address, Error, Result, Timestamp};

use crate::registry::Engine;
use pace::{Lease, Pace};

/// The longest that the server waits before it looks again whether a job is due.
const LOOK: Duration = Duration::from_secs(60);
/// How often uploads that are over are looked for.
const FORGETTING: Duration = Duration::from_secs(600);
/// The lease whose end is the time of the next run, whichever replica does it.
const NEXT_RUN: &str = "gc-next";

/// When the server removes garbage by itself.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Time between two runs; nothing: never.
    pub interval: Duration,
    /// How long garbage is kept.
    pub grace: Duration,
}

/// Runs the scheduled jobs until the process ends.
pub async fn run(engine: Arc<Engine>, schedule: Schedule) {
    if schedule.interval.is_zero() {
        return;
    }
    loop {
        tokio::time::sleep(schedule.interval.min(LOOK)).await;
        if let Err(error) = gc_when_due(&engine, schedule).await {
            tracing::warn!(%error, cause = ?std::error::Error::source(&error), "gc was not finished; it goes on at its next time");
        }
    }
}

/// Forgets uploads that nobody continues, until the process ends. Replicas need no lease for it: each upload is forgotten once.
pub async fn forget_uploads(engine: Arc<Engine>) {
    loop {
        tokio::time::sleep(FORGETTING).await;
        if let Err(error) = engine.uploads.expire(engine.now()).await {
            tracing::warn!(%error, cause = ?std::error::Error::source(&error), "uploads that are over could not be forgotten; they are at the next time");
        }
    }
}

/// Ends what the rules of repositories let go.
async fn keep_rules(engine: &Engine, now: Timestamp, pace: &mut Pace<'_>) -> Result<()> {
    engine.write_notes().await?;
    let run = retention::Run::of(engine, now, false);
    let mut tell = |report: retention::Report| {
        if !report.is_quiet() {
            tracing::info!("retention: {report}");
        }
    };
    let outcome = run.all(pace, &mut tell).await;
    // The horizons moved.
    engine.reload().await?;
    outcome
}

/// Does what the rules of one repository let go, or says what they would.
///
/// # Errors
/// 503 while gc, a backup or another run needs things to stay; failures of the catalog.
pub async fn keep_rules_of(engine: &Engine, address: &Address, dry_run: bool) -> Result<Option<retention::Report>> {
    engine.write_notes().await?;
    let lease = match dry_run {
        true => None,
        false => {
            let busy = || Error::unavailable("gc runs, or a backup needs everything to stay: try again in a minute", 60);
            Some(Lease::take(&engine.catalog, gc::LEASE, &engine.clock).await?.ok_or_else(busy)?)
        }
    };
    let row = engine.catalog.repositories().await?.into_iter().find(|row| row.address == *address);
    let mut pace = Pace::new(&|line| tracing::info!("retention: {line}"), lease);
    let outcome = match &row {
        Some(row) => retention::Run::of(engine, engine.now(), dry_run).repository(row, &mut pace).await,
        None => Ok(None),
    };
    pace.end().await;
    if !dry_run {
        engine.reload().await?;
    }
    outcome
}

/// One run, when it is time and no other replica does it.
async fn gc_when_due(engine: &Engine, schedule: Schedule) -> Result<()> {
    let (now, interval) = (engine.now(), i64::try_from(schedule.interval.as_millis()).unwrap_or(i64::MAX));
    // A holder of its own each time: nobody prolongs this lease, it is taken when it has ended.
    if !engine.catalog.take_lease(NEXT_RUN, &pace::holder()?, now, now.plus(interval)).await? {
        return Ok(());
    }
    let Some(lease) = Lease::take(&engine.catalog, gc::LEASE, &engine.clock).await? else {
        tracing::info!("gc does not run now: another process does it, or needs everything to stay");
        return Ok(());
    };
    let tell = |line: &str| tracing::info!("gc: {line}");
    let mut pace = Pace::new(&tell, Some(lease));
    let kept = keep_rules(engine, now, &mut pace).await;
    let outcome = gc::collect(&engine.catalog, &*engine.blobs, &gc::Plan::new(now, schedule.grace), &mut pace).await;
    pace.end().await;
    // Rules that could not be kept do not keep gc from its work.
    kept?;
    tracing::info!(outcome = outcome?.to_string().replace('\n', "; "), "gc ended");
    Ok(())
}
