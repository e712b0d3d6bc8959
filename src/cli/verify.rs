//! `verify`: holds the catalog against the stored bytes.

use clap::Args;

use super::Failure;
use super::storage::{self, failed};
use crate::clock;
use crate::config::Config;
use crate::jobs::pace::Pace;
use crate::jobs::verify::{Plan, verify};
use crate::server::storage::Storage;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Mark what is damaged, so that proxies fetch it again and a publish of the same bytes brings it back; unmark what is sound again.
    #[arg(long)]
    repair: bool,
    /// Only look whether the bytes are there and how many they are; do not read them.
    #[arg(long)]
    quick: bool,
}

/// Runs it; what it finds goes to `print`, a line at a time. Gives the summary, and whether nothing is missing or damaged.
///
/// # Errors
/// What is wrong, in words for the operator.
pub(super) async fn run(
    arguments: Arguments,
    config: &Config,
    print: &(dyn Fn(&str) + Send + Sync),
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<(String, bool), Failure> {
    let Storage { records, blobs, .. } = storage::open(config).await?;
    let catalog = records.catalog;
    let plan = Plan { now: clock::system()(), repair: arguments.repair, quick: arguments.quick };
    let outcome = verify(&catalog, &blobs, &plan, print, &mut Pace::new(tell, None)).await.map_err(failed)?;
    Ok((outcome.to_string(), outcome.is_sound()))
}
