//! The load harness: our release binary beside nginx with the same bytes and beside verdaccio, by the processor's time that each uses.
//!
//! `cargo bench --bench registries` builds what it needs, runs everything in under ten minutes, prints tables and the goals, and writes
//! every figure as a line of JSON. `cargo bench --bench registries -- publishes memory` runs some parts, `-- --million` fills a repository
//! with a million packages as well. docs/performance.md tells the method.
//!
//! Every server is held on the first core and the load on the second, and servers are measured in alternation: machines are noisy, and
//! *requests per CPU second* of two servers in one run compare where throughput does not.

mod documents;
mod growth;
mod machine;
mod many;
mod memory;
mod packages;
mod peers;
mod proxy;
mod report;
mod traffic;
mod transfers;

use std::path::{Path, PathBuf};

use report::Report;

/// Whatever went wrong; a harness ends at the first mishap and says it.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What a run is asked for.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Parts that were named; none means all.
    parts: Vec<String>,
    /// How often the servers take turns at a case.
    pub(crate) rounds: usize,
    /// How long a case of reads is kept up, in seconds.
    pub(crate) seconds: u64,
    /// Whether a repository is filled with a million packages as well.
    pub(crate) million: bool,
    /// Where servers keep their data and results are written.
    pub(crate) folder: PathBuf,
}

/// The parts, in their order.
const PARTS: [&str; 7] = ["documents", "blobs", "writes", "growth", "memory", "proxy", "many"];

impl Plan {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut plan = Self { parts: Vec::new(), rounds: 3, seconds: 2, million: false, folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join("registries") };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| format!("{argument} needs a number"));
            match argument.as_str() {
                // What cargo itself says.
                "--bench" => {}
                "--rounds" => plan.rounds = usize::try_from(number()?.max(1))?,
                "--seconds" => plan.seconds = number()?.max(1),
                "--million" => plan.million = true,
                part if PARTS.contains(&part) => plan.parts.push(argument),
                _ => return Err(format!("{argument} is none of {PARTS:?}, --rounds N, --seconds N, --million").into()),
            }
        }
        Ok(plan)
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|named| named == part)
    }
}

fn main() -> Result<()> {
    let plan = Plan::read(std::env::args().skip(1))?;
    machine::check_tools()?;
    machine::take_core()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(&plan))
}

async fn run(plan: &Plan) -> Result<()> {
    peers::clear(&plan.folder)?;
    let mut report = Report::begin(&plan.folder)?;
    if plan.has("documents") || plan.has("blobs") {
        documents::run(plan, &mut report).await?;
    }
    if plan.has("writes") {
        transfers::run(plan, &mut report).await?;
    }
    if plan.has("growth") {
        growth::run(plan, &mut report).await?;
    }
    if plan.has("memory") {
        memory::run(plan, &mut report).await?;
    }
    if plan.has("proxy") {
        proxy::run(plan, &mut report).await?;
    }
    if plan.has("many") {
        many::run(plan, &mut report).await?;
    }
    peers::clear(&plan.folder)?;
    report.end()
}
