//! The load itself: reads by wrk, writes by clients of our own.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::{Client, RequestBuilder, StatusCode};

use crate::machine;
use crate::peers::Peer;
use crate::{Plan, Result};

/// What a server did in a stretch of time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// Requests, publishes, whatever was counted.
    pub(crate) operations: f64,
    /// Bytes that were moved, where they are the point.
    pub(crate) bytes: f64,
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds of the server's processor time.
    pub(crate) cpu: f64,
    /// The share of the core that others used: over 0.15 the throughput means little.
    pub(crate) others: f64,
    /// The most of the server's own memory, in MiB, where it was watched.
    pub(crate) memory: f64,
}

impl Figures {
    /// Operations for each second of the server's processor time.
    pub(crate) fn per_cpu_second(&self) -> f64 {
        self.operations / self.cpu.max(0.001)
    }

    /// Milliseconds of the server's processor time for each operation.
    pub(crate) fn cpu_milliseconds(&self) -> f64 {
        self.cpu * 1000.0 / self.operations.max(1.0)
    }

    /// Seconds of the server's processor time for each GiB.
    pub(crate) fn cpu_per_gib(&self) -> f64 {
        self.cpu / (self.bytes / f64::from(1 << 30)).max(f64::MIN_POSITIVE)
    }

    /// Milliseconds for each operation, as a client sees it.
    pub(crate) fn milliseconds(&self) -> f64 {
        self.wall * 1000.0 / self.operations.max(1.0)
    }

    /// Operations a second.
    pub(crate) fn rate(&self) -> f64 {
        self.operations / self.wall.max(f64::MIN_POSITIVE)
    }

    /// The figures that say something, with their names.
    pub(crate) fn named(&self) -> Vec<(&'static str, f64)> {
        let mut named = Vec::new();
        if self.bytes > 0.0 {
            named.extend([("CPU s/GiB", self.cpu_per_gib()), ("MiB/s", self.bytes / f64::from(1 << 20) / self.wall)]);
        } else {
            named.extend([("1/CPU s", self.per_cpu_second()), ("CPU ms", self.cpu_milliseconds()), ("1/s", self.rate())]);
        }
        named.push(("others", self.others));
        if self.memory > 0.0 {
            named.push(("MiB", self.memory));
        }
        named
    }

    /// The one in the middle by what it costs.
    pub(crate) fn median(mut all: Vec<Self>) -> Self {
        all.sort_by(|left, right| left.cpu_milliseconds().total_cmp(&right.cpu_milliseconds()));
        all.get(all.len() / 2).copied().unwrap_or_default()
    }
}

/// Takes the time of a server while something is done to it.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    pid: u32,
    begun: Instant,
    cpu: f64,
    busy: f64,
}

impl Stopwatch {
    /// Starts.
    pub(crate) fn begin(peer: &Peer) -> Result<Self> {
        let pid = peer.pid();
        Ok(Self { pid, busy: machine::busy()?, cpu: machine::cpu(pid)?, begun: Instant::now() })
    }

    /// What it cost so far.
    pub(crate) fn end(&self, operations: usize, bytes: u64) -> Result<Figures> {
        let wall = self.begun.elapsed().as_secs_f64();
        let cpu = machine::cpu(self.pid)? - self.cpu;
        let others = ((machine::busy()? - self.busy - cpu) / wall).max(0.0);
        Ok(Figures { operations: operations as f64, bytes: bytes as f64, wall, cpu, others, memory: 0.0 })
    }
}

/// A case of reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read<'a> {
    /// Path at the server, with a leading slash.
    pub(crate) path: &'a str,
    /// Headers besides wrk's own.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// Connections that are kept busy.
    pub(crate) connections: usize,
    /// Bytes of a body, where they are the point.
    pub(crate) size: u64,
}

/// Reads one thing over and over, in turns, and gives for each server the round in the middle.
pub(crate) fn compare(plan: &Plan, readings: &[(&Peer, Read<'_>)]) -> Result<Vec<Figures>> {
    for (peer, read) in readings {
        wrk(peer, read, 1)?;
    }
    let mut rounds = vec![Vec::new(); readings.len()];
    for _ in 0..plan.rounds {
        for ((peer, read), figures) in readings.iter().zip(&mut rounds) {
            figures.push(wrk(peer, read, plan.seconds)?);
        }
    }
    Ok(rounds.into_iter().map(Figures::median).collect())
}

fn wrk(peer: &Peer, read: &Read<'_>, seconds: u64) -> Result<Figures> {
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{}", read.connections), &format!("-d{seconds}s"), "--timeout", "30s"]);
    for (name, value) in read.headers {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    let watch = Stopwatch::begin(peer)?;
    let output = command.arg(format!("{}{}", peer.base, read.path)).output()?;
    let figures = watch.end(0, 0)?;
    let text = String::from_utf8(output.stdout)?;
    if let Some(line) = text.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors")) {
        return Err(format!("{} failed at {}: {}", peer.name, read.path, line.trim()).into());
    }
    let line = text.lines().find(|line| line.contains(" requests in ")).ok_or_else(|| format!("wrk said: {text}"))?;
    let operations: f64 = line.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(Figures { operations, bytes: operations * read.size as f64, ..figures })
}

/// Sends requests that were prepared, at most so many at once, each of which must succeed.
pub(crate) async fn send_all(peer: &Peer, at_once: usize, requests: Vec<RequestBuilder>) -> Result<Figures> {
    let watch = Stopwatch::begin(peer)?;
    let count = requests.len();
    let mut answers = futures::stream::iter(requests).map(|request| async move { succeeded(request).await.map(|_| ()) }).buffer_unordered(at_once);
    while let Some(answer) = answers.next().await {
        answer?;
    }
    watch.end(count, 0)
}

/// Sends a request that must succeed, and gives its body as it came.
pub(crate) async fn succeeded(request: RequestBuilder) -> Result<bytes::Bytes> {
    let answer = request.send().await?;
    let (status, url) = (answer.status(), answer.url().clone());
    let body = answer.bytes().await?;
    if status.is_success() { Ok(body) } else { Err(refusal(status, &url, &body)) }
}

fn refusal(status: StatusCode, url: &reqwest::Url, body: &[u8]) -> Box<dyn std::error::Error> {
    format!("{url}: {status} {}", String::from_utf8_lossy(body.get(..300).unwrap_or(body))).into()
}

/// Reads a body and throws it away. Gives its length.
pub(crate) async fn drain(request: RequestBuilder, arrived: Option<Arc<AtomicUsize>>) -> Result<u64> {
    let answer = request.send().await?.error_for_status()?;
    let mut parts = answer.bytes_stream();
    let mut length = 0;
    while let Some(part) = parts.next().await {
        length += part?.len() as u64;
        if let Some(arrived) = &arrived {
            arrived.store(usize::try_from(length)?, Ordering::Relaxed);
        }
    }
    Ok(length)
}

/// A client with connections of its own, patient enough for the largest bodies.
pub(crate) fn client() -> Result<Client> {
    Ok(Client::builder().timeout(Duration::from_secs(300)).build()?)
}
