//! Writes: large uploads by the processor's time for each GiB, small publishes by what each costs.

use reqwest::{Client, Method};

use crate::machine::{MemoryWatch, own_memory};
use crate::packages::{SMALL, noise, npm_publish};
use crate::peers::{self, Peer};
use crate::report::Report;
use crate::traffic::{self, Figures, Stopwatch, send_all, succeeded};
use crate::{Plan, Result};

/// Bytes of a large upload.
const LARGE: usize = 100 << 20;

/// Small publishes to ours, one after the other and then eight at once.
const PUBLISHES: usize = 1000;

/// Those to verdaccio, which takes long.
const PUBLISHES_BESIDE: usize = 200;

/// Measures both.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let entrepot = Peer::entrepot(&peers::fresh(plan, "writes")?).await?;
    let verdaccio = Peer::verdaccio(&peers::fresh(plan, "verdaccio")?).await?;
    let client = traffic::client()?;
    report.section("Uploads of 100 MiB");
    let put = uploads(plan, &entrepot, |round| {
        let path = format!("/main/generic/bench/{round}.bin");
        Ok(entrepot.request(&client, Method::PUT, &path).body(noise(LARGE, 100 + round)))
    })
    .await?;
    report.row("plain PUT of 100 MiB", "entrepot", &put)?;
    report.at_most("plain PUT of 100 MiB: CPU seconds per GiB", put.cpu_per_gib(), 1.8)?;
    let publish = uploads(plan, &entrepot, |round| npm_publish(&entrepot, &client, "/main/npm", &format!("large-{round}"), "1.0.0", LARGE)).await?;
    report.row("npm publish of 100 MiB", "entrepot", &publish)?;
    report.at_most("npm publish of 100 MiB: CPU seconds per GiB", publish.cpu_per_gib(), 8.0)?;
    report.at_most("uploads of 100 MiB: MiB by which the server grows", put.memory.max(publish.memory), 30.0)?;
    let once = Plan { parts: Vec::new(), rounds: 1, seconds: 1, million: false, folder: plan.folder.clone() };
    let theirs = uploads(&once, &verdaccio, |_| npm_publish(&verdaccio, &client, "", "large", "1.0.0", LARGE)).await?;
    report.row("npm publish of 100 MiB", "verdaccio", &theirs)?;
    publishes(report, &client, &entrepot, &verdaccio).await?;
    entrepot.stop()?;
    verdaccio.stop()
}

/// Uploads something large once in each round. `memory` of what it gives is by how much the server grew.
async fn uploads(plan: &Plan, peer: &Peer, prepare: impl Fn(u64) -> Result<reqwest::RequestBuilder>) -> Result<Figures> {
    let mut rounds = Vec::new();
    for round in 0..plan.rounds as u64 {
        let request = prepare(round)?;
        let before = own_memory(peer.pid())?;
        let memory = MemoryWatch::begin(peer.pid());
        let watch = Stopwatch::begin(peer)?;
        succeeded(request).await?;
        let figures = watch.end(1, LARGE as u64)?;
        rounds.push(Figures { memory: (memory.most().await? - before).max(0.0), ..figures });
    }
    Ok(Figures::median(rounds))
}

async fn publishes(report: &mut Report, client: &Client, entrepot: &Peer, verdaccio: &Peer) -> Result<()> {
    report.section("Small publishes");
    let mut measured = Vec::new();
    for at_once in [1, 8] {
        for (peer, root, count) in [(entrepot, "/main/npm", PUBLISHES), (verdaccio, "", PUBLISHES_BESIDE)] {
            let requests: Result<Vec<_>> = (0..count).map(|i| npm_publish(peer, client, root, &format!("small-{at_once}-{i}"), "1.0.0", SMALL)).collect();
            let figures = send_all(peer, at_once, requests?).await?;
            report.row(&format!("publish, {at_once} at a time"), peer.name, &figures)?;
            measured.push(figures);
        }
    }
    let [ours, theirs, ours_at_once, theirs_at_once] = measured.as_slice() else { return Err("four cases were to be measured".into()) };
    report.at_most("small publish: part of verdaccio's CPU", ours.cpu_milliseconds() / theirs.cpu_milliseconds(), 0.2)?;
    report.at_most("small publish, 8 at a time: part of verdaccio's CPU", ours_at_once.cpu_milliseconds() / theirs_at_once.cpu_milliseconds(), 0.2)?;
    report.at_least("small publish, 8 at a time: times verdaccio's rate", ours_at_once.rate() / theirs_at_once.rate(), 3.0)
}
