//! `gc`: ends what the rules of repositories let go, and removes what nothing names.

use std::time::Duration;

use clap::Args;

use super::Failure;
use super::storage::{self, failed};
use crate::clock;
use crate::config::Config;
use crate::jobs::gc::{LEASE, LEAST_AGE, Plan, collect};
use crate::jobs::pace::{Lease, Pace};
use crate::jobs::retention::Run;
use crate::server::storage::Storage;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// Seconds that a blob is kept after nothing named it any more, instead of the configured gc.grace.
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u64>,
    /// Files that no blob names are kept for so many seconds at least, whatever the grace: a publish may be about to name them. Less
    /// than the longest publish takes from its last byte to its answer is safe only while no server runs.
    #[arg(long, value_name = "SECONDS", default_value_t = LEAST_AGE.as_secs())]
    least_age: u64,
}

/// Runs it and gives the summary.
///
/// # Errors
/// What is wrong, in words for the operator.
pub(super) async fn run(arguments: Arguments, config: &Config, tell: &(dyn Fn(&str) + Send + Sync)) -> Result<String, Failure> {
    let Storage { records, blobs, .. } = storage::open(config).await?;
    let catalog = records.catalog;
    let clock = clock::system();
    let plan = Plan {
        least_age: Duration::from_secs(arguments.least_age),
        dry_run: arguments.dry_run,
        ..Plan::new(clock(), Duration::from_secs(arguments.grace.unwrap_or(config.gc.grace)))
    };
    let lease = match plan.dry_run {
        true => None,
        false => {
            let busy =
                || Failure::Other(String::from("gc runs already, or a backup needs everything to stay; try again later (two minutes after its end at most)"));
            Some(Lease::take(&catalog, LEASE, &clock).await.map_err(failed)?.ok_or_else(busy)?)
        }
    };
    let mut pace = Pace::new(tell, lease);
    let mut lines = Vec::new();
    let outcome = async {
        let formats = crate::formats::all();
        let retention = Run { catalog: &catalog, blobs: &*blobs, formats: &formats, now: plan.now, dry_run: plan.dry_run, engine: None };
        retention.all(&mut pace, &mut |report| lines.extend((!report.is_quiet()).then(|| format!("retention of {report}")))).await?;
        collect(&catalog, &*blobs, &plan, &mut pace).await
    };
    let outcome = outcome.await;
    pace.end().await;
    let outcome = outcome.map_err(failed)?;
    lines.push(outcome.to_string());
    let text = lines.join("\n");
    if outcome.failed > 0 { Err(Failure::Other(text)) } else { Ok(text) }
}
