//! How much memory the server has for itself: idle, and while ten clients move a GiB each, up and down.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::{Client, Method};

use crate::machine::{MemoryWatch, own_memory};
use crate::packages::noise;
use crate::peers::{self, Peer};
use crate::report::Report;
use crate::traffic::{self, Figures, Stopwatch, drain, succeeded};
use crate::{Plan, Result};

/// Clients at once.
const CLIENTS: usize = 10;

/// Parts of a body that are sent.
const PART: usize = 1 << 20;

/// How many of them: a GiB.
const PARTS: usize = 1024;

/// Measures it.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    report.section("Start and memory");
    let data = peers::fresh(plan, "memory")?;
    let peer = Peer::entrepot(&data).await?;
    report.at_most("first start, with everything to be set up: seconds to the first answer", peer.started.as_secs_f64(), 0.5)?;
    peer.stop()?;
    let peer = Peer::entrepot(&data).await?;
    report.at_most("start: seconds to the first answer", peer.started.as_secs_f64(), 0.1)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    report.at_most("idle: MiB of memory of its own", own_memory(peer.pid())?, 25.0)?;
    report.section("Ten clients move a GiB each, up and down");
    let client = traffic::client()?;
    let part = Bytes::from(noise(PART, 7));
    let figures = both_ways(&peer, &client, &part).await?;
    report.row("10 x 1 GiB up and down", "entrepot", &figures)?;
    report.at_most("ten clients with a GiB each, up and down: MiB of memory of its own", figures.memory, 150.0)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = Figures { memory: own_memory(peer.pid())?, ..Figures::default() };
    report.row("after it", "entrepot", &after)?;
    peer.stop()
}

/// Every client first sends a file of its own, then all read and write at the same time.
async fn both_ways(peer: &Peer, client: &Client, part: &Bytes) -> Result<Figures> {
    let upload = |round: usize, number: usize| {
        let part = part.clone();
        // Bodies differ in their first bytes, so that each is a file of its own.
        let first = Bytes::from(format!("{round:08}{number:08}"));
        let rest = (1..=PARTS).map(move |count| if count == PARTS { part.slice(..PART - 16) } else { part.clone() });
        let body = futures::stream::iter(std::iter::once(first).chain(rest).map(Ok::<_, std::io::Error>));
        peer.request(client, Method::PUT, &format!("/main/generic/memory/{number}-{round}.bin"))
            .header("Content-Length", PARTS * PART)
            .body(reqwest::Body::wrap_stream(body))
    };
    succeeded(upload(0, 0)).await?;
    let memory = MemoryWatch::begin(peer.pid());
    let watch = Stopwatch::begin(peer)?;
    let mut moves = futures::stream::FuturesUnordered::new();
    for number in 0..CLIENTS {
        let request = upload(1, number);
        moves.push(tokio::spawn(async move { succeeded(request).await.map(|_| ()).map_err(|error| error.to_string()) }));
        let request = client.get(format!("{}/main/generic/memory/0-0.bin", peer.base));
        moves.push(tokio::spawn(async move {
            let length = drain(request, None).await.map_err(|error| error.to_string())?;
            if length == (PARTS * PART) as u64 { Ok(()) } else { Err(format!("{length} bytes came")) }
        }));
    }
    while let Some(moved) = moves.next().await {
        moved??;
    }
    let figures = watch.end(2 * CLIENTS, (2 * CLIENTS * PARTS * PART) as u64)?;
    Ok(Figures { memory: memory.most().await?, ..figures })
}
