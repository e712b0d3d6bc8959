//! Two replicas, of which one dies while it is in use: clients try again, reach the other, and find everything there.
#![cfg(test)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;

use crate::support::api::Api;
use crate::support::clients::Home;
use crate::support::{ADMIN_PASSWORD, TestServer};
use crate::token;

/// Each way, half of which goes through the replica that dies.
const AT_ONCE: usize = 6;
/// More than all buffers on the way hold, so that nobody is done before the end.
const SIZE: usize = 24 << 20;
/// How often a client tries again, as `curl --retry` does.
const ATTEMPTS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes that no other number has.
fn bytes(number: usize) -> Bytes {
    (0..SIZE / 8).flat_map(|at| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number as u64).to_le_bytes()).collect::<Vec<_>>().into()
}

/// Everybody waits in the middle until all are there and the replica is dead.
struct Middle {
    there: AtomicUsize,
    open: watch::Sender<bool>,
}

impl Middle {
    fn new() -> Self {
        Self { there: AtomicUsize::new(0), open: watch::Sender::new(false) }
    }

    async fn pass(&self) {
        self.there.fetch_add(1, Ordering::AcqRel);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }

    async fn wait_for(&self, number: usize) {
        let until = Instant::now() + PATIENCE;
        while self.there.load(Ordering::Acquire) < number {
            assert!(Instant::now() < until, "only {} of {number} are in the middle", self.there.load(Ordering::Acquire));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Uploads until it is acknowledged; gives the number of attempts.
async fn upload(api: &Api, middle: &std::sync::Arc<Middle>, path: &str, body: &Bytes) -> usize {
    for attempt in 1..=ATTEMPTS {
        let (first, rest) = (body.slice(..SIZE / 2), body.slice(SIZE / 2..));
        let middle = std::sync::Arc::clone(middle);
        let parts = futures::stream::once(async move { first }).chain(futures::stream::once(async move {
            middle.pass().await;
            rest
        }));
        let parts =
            parts.flat_map(|part| futures::stream::iter((0..part.len()).step_by(64 << 10).map(move |at| part.slice(at..part.len().min(at + (64 << 10))))));
        let request = api.request(Method::PUT, path).body(reqwest::Body::wrap_stream(parts.map(Ok::<_, std::io::Error>)));
        match request.send().await {
            Ok(reply) if reply.status().is_success() => return attempt,
            Ok(reply) => assert!(reply.status().is_server_error(), "{path}: {}", reply.status()),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path} was not taken in {ATTEMPTS} attempts")
}

/// Downloads until all is there, going on where it was broken off; gives the number of attempts.
async fn download(api: &Api, middle: &Middle, path: &str, wanted: &Bytes) -> usize {
    let mut got = Vec::with_capacity(SIZE);
    for attempt in 1..=ATTEMPTS {
        let mut request = api.request(Method::GET, path);
        if !got.is_empty() {
            request = request.header("range", format!("bytes={}-", got.len()));
        }
        if let Ok(reply) = request.send().await {
            match reply.status() {
                StatusCode::OK => got.clear(),
                StatusCode::PARTIAL_CONTENT => {}
                status => panic!("{path}: {status}"),
            }
            let mut body = reply.bytes_stream();
            while let Some(Ok(part)) = body.next().await {
                got.extend_from_slice(&part);
                if attempt == 1 && got.len() == part.len() {
                    middle.pass().await;
                }
            }
        }
        if got.len() == SIZE {
            assert!(got == wanted[..], "{path}: other bytes than were published");
            return attempt;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path} did not come in {ATTEMPTS} attempts")
}

/// Every file, as each replica gives it.
async fn all_there(server: &TestServer, files: &[(String, Bytes)]) {
    let reader = server.anonymous();
    for (path, body) in files {
        for _ in 0..2 {
            let reply = reader.get(path).await.succeeded();
            assert!(reply.body == *body, "{path}: other bytes than were acknowledged");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_dies_in_the_middle_of_uploads_and_downloads() {
    let mut server = TestServer::builder().replicas().start();
    let (admin, reader) = (server.admin(), server.anonymous());
    let files: Vec<(String, Bytes)> = (0..2 * AT_ONCE).map(|number| (format!("/main/generic/file-{number}"), bytes(number))).collect();
    let (old, new) = files.split_at(AT_ONCE);
    for (path, body) in old {
        admin.put(path, body.clone()).await.succeeded();
    }

    let middle = std::sync::Arc::new(Middle::new());
    let downloads = join_all(old.iter().map(|(path, body)| download(&reader, &middle, path, body)));
    let uploads = async {
        // Each way has the balancer to itself while it begins: it alternates, so half of each goes through either replica.
        middle.wait_for(AT_ONCE).await;
        join_all(new.iter().map(|(path, body)| upload(&admin, &middle, path, body))).await
    };
    let death = async {
        middle.wait_for(2 * AT_ONCE).await;
        server.kill_replica(0);
        middle.open.send_replace(true);
    };
    let (downloaded, uploaded, ()) = futures::join!(downloads, uploads, death);
    for (what, attempts) in [("downloads", downloaded), ("uploads", uploaded)] {
        println!("attempts of {what}: {attempts:?}");
        assert!(attempts.iter().any(|attempts| *attempts > 1), "no {what} were broken off: {attempts:?}");
        assert!(attempts.contains(&1), "no {what} went through the replica that lived: {attempts:?}");
    }
    all_there(&server, &files).await;

    // It comes back and takes part again; then the other one dies, and what it acknowledged is not its own.
    server.start_replica(0);
    all_there(&server, &files).await;
    server.kill_replica(1);
    all_there(&server, &files).await;
    for (path, _) in new {
        admin.delete(path).await.succeeded();
        reader.get(path).await.is(404);
    }
}

/// Publishes as somebody would who looks when the answer was lost: what is there counts, whoever was told.
fn publish(author: &Home, name: &str) {
    let folder = author.package(name, "1.0.0");
    let said = author.npm(&folder, &["publish"]);
    // The retry of a publish that was taken, but whose answer died with the replica, is told that the version exists.
    assert!(said.status.success() || said.text().contains("cannot publish over"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_publish_and_install_while_one_replica_after_the_other_dies() {
    const PACKAGES: usize = 12;
    let mut server = TestServer::builder().replicas().start();
    let (registry, token) = (server.url("/main/npm/"), token(&server).await);
    // The clients' own retries, without the ten seconds that npm waits before the first.
    let retry = |home: &Home| {
        let mut lines = std::fs::read_to_string(home.npmrc()).unwrap();
        lines.push_str("fetch-retries=5\nfetch-retry-mintimeout=200\nfetch-retry-maxtimeout=2000\n");
        std::fs::write(home.npmrc(), lines).unwrap();
    };
    let next = AtomicUsize::new(0);
    let published = AtomicUsize::new(0);
    let until = Instant::now() + PATIENCE;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..2 {
            threads.push(scope.spawn(|| {
                let author = Home::new();
                author.npm_registry(&registry, Some(&token));
                retry(&author);
                loop {
                    let number = next.fetch_add(1, Ordering::AcqRel);
                    if number >= PACKAGES {
                        return;
                    }
                    publish(&author, &format!("package-{number}"));
                    published.fetch_add(1, Ordering::AcqRel);
                }
            }));
        }
        threads.push(scope.spawn(|| {
            // Installs what is there, again and again, each time with an empty cache.
            loop {
                assert!(Instant::now() < until, "publishing does not come to an end");
                let known = published.load(Ordering::Acquire);
                let reader = Home::new();
                reader.npm_registry(&registry, None);
                retry(&reader);
                if known > 0 {
                    reader.npm(&reader.project("p"), &["install", "package-0"]).succeeded();
                }
                if known == PACKAGES {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }));
        let wait_for = |number: usize| {
            while published.load(Ordering::Acquire) < number && !threads.iter().any(|thread| thread.is_finished()) {
                assert!(Instant::now() < until, "{} packages were published", published.load(Ordering::Acquire));
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait_for(PACKAGES / 4);
        server.kill_replica(0);
        wait_for(PACKAGES / 2);
        server.start_replica(0);
        server.kill_replica(1);
        wait_for(PACKAGES);
        server.start_replica(1);
    });

    let reader = Home::new();
    reader.npm_registry(&registry, None);
    let dependencies: serde_json::Map<_, _> = (0..PACKAGES).map(|number| (format!("package-{number}"), json!("1.0.0"))).collect();
    let project = reader.npm_project("all", &json!({ "name": "all", "version": "1.0.0", "dependencies": dependencies }));
    reader.npm(&project, &["install"]).succeeded();
    for number in 0..PACKAGES {
        let script = format!("console.log(require('package-{number}'))");
        assert_eq!(reader.node(&project, &script).succeeded().stdout, "1.0.0\n");
    }
    let revision = server.admin().get("/api/v1/repositories/main/npm").await.succeeded().json()["revision"].as_u64();
    assert_eq!(revision, Some(PACKAGES as u64), "each was taken once");
}

/// curl as people call it in scripts.
#[tokio::test(flavor = "multi_thread")]
async fn curl_tries_again_and_reaches_the_other_replica() {
    let mut server = TestServer::builder().replicas().start();
    let home = Home::new();
    let folder = home.project("files");
    std::fs::write(folder.join("big"), &bytes(1)[..]).unwrap();
    let url = server.url("/main/generic/big");
    let put = format!("curl -sS --fail --retry 10 --retry-delay 1 --retry-all-errors --limit-rate 8M -u admin:{ADMIN_PASSWORD} -T big {url}");
    let get = format!("curl -sS --fail --retry 10 --retry-delay 1 --retry-all-errors --limit-rate 8M -C - -o copy {url}");
    std::thread::scope(|scope| {
        for line in [&put, &get] {
            let client = scope.spawn(|| home.shell(&folder, line).succeeded());
            // Whatever it is at: it comes through.
            std::thread::sleep(Duration::from_secs(1));
            server.kill_replica(0);
            client.join().unwrap();
            server.start_replica(0);
        }
    });
    assert!(std::fs::read(folder.join("copy")).unwrap() == bytes(1)[..], "other bytes than were uploaded");
}
