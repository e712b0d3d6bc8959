//! A first fetch through a proxy: how much it adds, and when its first bytes arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::packages::noise;
use crate::peers::{self, Peer};
use crate::report::Report;
use crate::traffic::{self, drain, succeeded};
use crate::{Plan, Result};

/// MiB of the file.
const LENGTH: usize = 100;

/// Time for each MiB at the upstream: it sends 100 MiB a second.
const PACE: Duration = Duration::from_millis(10);

/// MiB that a withholding upstream gives before it waits.
const FIRST: usize = 4;

/// Measures both.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    report.section("A first fetch of 100 MiB through a proxy");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let upstream = format!("http://{}", listener.local_addr()?);
    let gate = Arc::new(Notify::new());
    let task = tokio::spawn(serve(listener, Arc::clone(&gate)));
    let peer = Peer::entrepot(&peers::fresh(plan, "proxy")?).await?;
    let client = traffic::client()?;
    let upstream_settings = json!({ "url": format!("{upstream}/"), "allow_private": true });
    let body =
        json!({ "system": "main", "name": "through", "format": "generic", "kind": "proxy", "tags": { "visibility": "public" }, "upstream": upstream_settings });
    let create = peer.request(&client, Method::POST, "/api/v1/repositories").header("Content-Type", "application/json").body(body.to_string());
    succeeded(create).await?;
    let mut ratios = Vec::new();
    for round in 0..plan.rounds {
        let direct = timed(&client, &format!("{upstream}/paced/{round}")).await?;
        let through = timed(&client, &format!("{}/main/through/paced/{round}", peer.base)).await?;
        ratios.push(through / direct);
    }
    ratios.sort_by(f64::total_cmp);
    report.at_most(
        "first fetch of 100 MiB through a proxy: times a fetch from its upstream",
        ratios.get(ratios.len() / 2).copied().unwrap_or_default(),
        1.2,
    )?;
    let arrived = Arc::new(AtomicUsize::new(0));
    let fetch = tokio::spawn({
        let (request, arrived) = (client.get(format!("{}/main/through/withheld", peer.base)), Arc::clone(&arrived));
        async move { drain(request, Some(arrived)).await.map_err(|error| error.to_string()) }
    });
    let begun = Instant::now();
    while arrived.load(Ordering::Relaxed) < FIRST << 20 && begun.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let while_withheld = arrived.load(Ordering::Relaxed);
    gate.notify_one();
    fetch.await??;
    report.at_least("bytes that arrive while the upstream withholds the rest: part of what it gave", while_withheld as f64 / (FIRST << 20) as f64, 0.9)?;
    task.abort();
    peer.stop()
}

async fn timed(client: &reqwest::Client, url: &str) -> Result<f64> {
    let begun = Instant::now();
    let length = drain(client.get(url), None).await?;
    if length == (LENGTH << 20) as u64 { Ok(begun.elapsed().as_secs_f64()) } else { Err(format!("{url}: {length} bytes").into()) }
}

/// An upstream that keeps its pace, or waits in the middle when it is asked for `/withheld`.
async fn serve(listener: TcpListener, gate: Arc<Notify>) -> std::io::Result<()> {
    let part = Bytes::from(noise(1 << 20, 9));
    loop {
        let (stream, _) = listener.accept().await?;
        let (part, gate) = (part.clone(), Arc::clone(&gate));
        tokio::spawn(async move {
            // A client that leaves is its own affair.
            let _ = answer(stream, &part, &gate).await;
        });
    }
}

async fn answer(mut stream: TcpStream, part: &[u8], gate: &Notify) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let withheld = head.starts_with(b"GET /withheld");
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", LENGTH << 20);
    stream.write_all(answer.as_bytes()).await?;
    if head.starts_with(b"HEAD ") {
        return stream.shutdown().await;
    }
    let begun = Instant::now();
    for sent in 0..LENGTH {
        if withheld && sent == FIRST {
            gate.notified().await;
        }
        if !withheld {
            tokio::time::sleep((PACE * u32::try_from(sent).unwrap_or_default()).saturating_sub(begun.elapsed())).await;
        }
        stream.write_all(part).await?;
    }
    stream.shutdown().await
}
