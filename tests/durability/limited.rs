//! Two replicas within the memory that the manifests give them, while ten large files come in and ten go out.
//!
//! `ENTREPOT_TEST_BODY_MEBIBYTES` says how large they are.
#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use http::Method;
use sha2::{Digest as _, Sha256};

use crate::support::TestServer;
use crate::support::api::Api;
use crate::support::process::{own_memory, variable};
use crate::token;

const MIB: u64 = 1 << 20;
/// `resources.limits.memory` of the chart.
const LIMIT: u64 = 512 * MIB;
/// Each way.
const AT_ONCE: usize = 10;
/// What is sent at once, and the room on the disk that is left alone.
const PART: usize = 64 << 10;
const LEFT_ALONE: u64 = 3 << 30;

fn mebibytes() -> u64 {
    variable("ENTREPOT_TEST_BODY_MEBIBYTES").map_or(24, |text| text.parse().unwrap())
}

/// A body of so many bytes that no other number has, and that takes no room until it is sent.
fn parts(number: usize, size: u64) -> impl Iterator<Item = Bytes> {
    let block: Vec<u8> = (0..PART as u64 / 8).flat_map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    (0..size / PART as u64).map(move |at| {
        let mut part = block.clone();
        part[..8].copy_from_slice(&at.to_le_bytes());
        part[8..16].copy_from_slice(&(number as u64).to_le_bytes());
        part.into()
    })
}

fn digest(number: usize, size: u64) -> Vec<u8> {
    let mut digest = Sha256::new();
    parts(number, size).for_each(|part| digest.update(&part));
    digest.finalize().to_vec()
}

async fn upload(api: &Api, path: &str, number: usize, size: u64) {
    let body = reqwest::Body::wrap_stream(futures::stream::iter(parts(number, size).map(Ok::<_, std::io::Error>)));
    let request = api.request(Method::PUT, path).header("content-length", size).body(body);
    api.send(request).await.succeeded();
}

async fn download(api: &Api, path: &str) -> (u64, Vec<u8>) {
    let answer = api.request(Method::GET, path).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    let (mut digest, mut size, mut body) = (Sha256::new(), 0, answer.bytes_stream());
    while let Some(part) = body.next().await {
        let part = part.unwrap_or_else(|error| panic!("{path} after {size} bytes: {error}"));
        size += part.len() as u64;
        digest.update(&part);
    }
    (size, digest.finalize().to_vec())
}

/// Looks at the processes' own memory until it is stopped, and gives the most of any.
fn watch(pids: Vec<u32>) -> (Arc<AtomicBool>, std::thread::JoinHandle<u64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let watching = std::thread::spawn(move || {
        let mut most = 0;
        while !stopped.load(Ordering::Relaxed) {
            most = pids.iter().map(|pid| own_memory(*pid)).fold(most, u64::max);
            std::thread::sleep(Duration::from_millis(20));
        }
        most
    });
    (stop, watching)
}

/// How many of the uploads may be of bytes that nobody has yet: each is spooled, lies in the bucket in parts and then whole.
fn distinct(size: u64) -> usize {
    let place = rustix::fs::statvfs(std::env::temp_dir()).unwrap();
    let free = place.f_bavail * place.f_frsize;
    let spooled = size * (AT_ONCE as u64 + 1) + LEFT_ALONE;
    assert!(free > spooled + 2 * size, "{AT_ONCE} uploads of {} MiB need more room than the {} MiB that are free", size / MIB, free / MIB);
    usize::try_from((free - spooled) / (2 * size)).unwrap().clamp(1, AT_ONCE)
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_serve_ten_uploads_and_downloads_in_the_memory_of_the_manifests() {
    let values = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes/deployment.yaml")).unwrap();
    assert!(values.contains(&format!("memory: {}Mi", LIMIT / MIB)), "the manifests have another limit");
    let size = mebibytes() * MIB;
    let distinct = distinct(size);
    let server = TestServer::builder().replicas().within(LIMIT).start();
    let pids = server.pids();
    let each = server.each_with_token(&token(&server).await);
    let (first, stored) = (digest(0, size), "/main/generic/stored.bin");
    upload(&each[0], stored, 0, size).await;

    let (stop, watching) = watch(pids.clone());
    let begun = Instant::now();
    let downloads = join_all((0..AT_ONCE).map(|number| download(&each[number % 2], stored)));
    // Bytes that are there are taken in, spooled and hashed all the same.
    let body = |number: usize| if number < distinct { number + 1 } else { 0 };
    let uploads = join_all((0..AT_ONCE).map(async |number| upload(&each[number % 2], &format!("/main/generic/{number}.bin"), body(number), size).await));
    let (downloaded, _) = futures::join!(downloads, uploads);
    let took = begun.elapsed();
    stop.store(true, Ordering::Relaxed);
    let most = watching.join().unwrap();

    for found in downloaded {
        assert!(found == (size, first.clone()), "a download has other bytes");
    }
    // The other replica has what one took in.
    for number in 0..distinct.min(3) {
        let found = download(&each[(number + 1) % 2], &format!("/main/generic/{number}.bin")).await;
        assert!(found == (size, digest(number + 1, size)), "{number}.bin has other bytes");
    }
    let confinements = server.confinements();
    let peaks: Vec<_> = confinements.iter().filter_map(|group| group.peak()).map(|peak| format!("{} MiB", peak / MIB)).collect();
    println!(
        "{AT_ONCE} downloads and {AT_ONCE} uploads ({distinct} of new bytes) of {} MiB each at the same time, by two replicas of {} MiB, held to that by {}: {:.1} s, {:.0} MiB/s; \
         own memory at most {} MiB; with the pages of files at most {}",
        size / MIB,
        LIMIT / MIB,
        confinements[0].how(),
        took.as_secs_f64(),
        (2 * AT_ONCE as u64 * size / MIB) as f64 / took.as_secs_f64(),
        most / MIB,
        if peaks.is_empty() { String::from("unknown") } else { peaks.join(" and ") }
    );
    assert!(confinements.iter().all(|group| group.killed() == 0), "the kernel killed a replica");
    assert_eq!(server.pids(), pids);
    assert!(most < LIMIT, "a replica has {} MiB of its own", most / MIB);
}
