//! PostgreSQL and S3 fail in every way while publishers publish and readers read through two replicas.
#![cfg(test)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http::StatusCode;
use tokio::task::JoinSet;

use crate::items::Item;
use crate::link::{Link, State};
use crate::support::TestServer;
use crate::support::api::Api;
use crate::{token, verified};

const PUBLISHERS: usize = 4;
const READERS: usize = 2;
/// More than any answer may take, on a busy machine.
const BOUND: Duration = Duration::from_secs(120);
/// How long the test waits for things to go on after a fault.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two requests of the same client: the test is about faults, not about load.
const PAUSE: Duration = Duration::from_millis(200);

/// Clients that go on without end, and what was acknowledged to them.
#[derive(Default)]
struct Clients {
    ended: AtomicBool,
    next: AtomicUsize,
    acknowledged: Mutex<Vec<Item>>,
    /// Answers that told the client to come again.
    refused: AtomicUsize,
    /// Downloads that broke off.
    broken: AtomicUsize,
}

impl Clients {
    /// Publishes an item, again and again until that is acknowledged.
    async fn publish(&self, api: &Api, item: Item) {
        let mut was_refused = false;
        loop {
            let answer = tokio::time::timeout(BOUND, item.send(api)).await.unwrap_or_else(|_| panic!("{item:?}: no answer within {BOUND:?}"));
            let answer = answer.unwrap_or_else(|error| panic!("{item:?}: no answer: {error:?}"));
            let status = answer.status();
            if status.is_success() {
                return;
            }
            if status.is_server_error() {
                self.is_clear(&format!("{item:?}"), &answer);
                was_refused = true;
            } else {
                let text = answer.text().await.unwrap_or_default();
                // What was done without having been acknowledged is refused as published before: so npm's protocol wants it.
                if status == StatusCode::FORBIDDEN && text.contains("previously published") && was_refused && item.is_package() {
                    return;
                }
                // Else another version of the package came in between.
                assert!(status == StatusCode::CONFLICT && item.is_package(), "{item:?}: {status} {text}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes sure that an answer of failure says what the client is to do.
    fn is_clear(&self, what: &str, answer: &reqwest::Response) {
        let (status, again) = (answer.status(), answer.headers().get("retry-after"));
        assert!(status == StatusCode::SERVICE_UNAVAILABLE && again.is_some(), "{what}: {status}, Retry-After: {again:?}");
        self.refused.fetch_add(1, Ordering::SeqCst);
    }

    /// Reads an item: all of it, or not without notice.
    async fn read(&self, api: &Api, item: Item) {
        let reading = async {
            let answer = api.request(http::Method::GET, &item.url()).send().await.unwrap_or_else(|error| panic!("{item:?}: no answer: {error:?}"));
            if answer.status().is_server_error() {
                return self.is_clear(&format!("reading {item:?}"), &answer);
            }
            assert_eq!(answer.status(), StatusCode::OK, "{item:?} was acknowledged");
            match answer.bytes().await {
                Ok(bytes) => assert!(bytes == item.bytes(), "{item:?}: {} bytes, and not the right ones", bytes.len()),
                Err(_) => drop(self.broken.fetch_add(1, Ordering::SeqCst)),
            }
        };
        tokio::time::timeout(BOUND, reading).await.unwrap_or_else(|_| panic!("reading {item:?} does not end within {BOUND:?}"));
    }

    fn number(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until so many more publishes were acknowledged. Clients that fail end the test here.
    async fn go_on(&self, more: usize, running: &mut JoinSet<()>) {
        let (wanted, until) = (self.number() + more, Instant::now() + PATIENCE);
        while self.number() < wanted {
            while let Some(ended) = running.try_join_next() {
                ended.unwrap();
            }
            assert!(Instant::now() < until, "publishing does not go on: {} of {wanted}", self.number());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn start(self: &Arc<Self>, server: &TestServer, token: &str) -> JoinSet<()> {
        let mut running = JoinSet::new();
        for _ in 0..PUBLISHERS {
            let (clients, api) = (Arc::clone(self), server.with_token(token));
            running.spawn(async move {
                while !clients.ended.load(Ordering::SeqCst) {
                    let item = Item { round: 0, number: clients.next.fetch_add(1, Ordering::SeqCst) };
                    clients.publish(&api, item).await;
                    clients.acknowledged.lock().unwrap().push(item);
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        for reader in 0..READERS {
            let (clients, api) = (Arc::clone(self), server.with_token(token));
            running.spawn(async move {
                let mut turn = reader;
                while !clients.ended.load(Ordering::SeqCst) {
                    let item = {
                        let acknowledged = clients.acknowledged.lock().unwrap();
                        acknowledged.get(turn * 7 % acknowledged.len().max(1)).copied()
                    };
                    if let Some(item) = item {
                        clients.read(&api, item).await;
                    }
                    turn += 1;
                    tokio::time::sleep(PAUSE / 4).await;
                }
            });
        }
        running
    }
}

/// Runs clients through faults of one of the links (0: PostgreSQL, 1: S3), and looks at everything afterwards.
async fn survives(which: usize, faults: &[(State, u64)]) {
    let links = Arc::new(Mutex::new(Vec::new()));
    let made = Arc::clone(&links);
    let between = move |targets: [std::net::SocketAddr; 2]| {
        let new = targets.map(Link::to);
        let addresses = [new[0].address, new[1].address];
        made.lock().unwrap().extend(new);
        addresses
    };
    let mut server = TestServer::builder().replicas().through(Box::new(between)).start();
    let links = std::mem::take(&mut *links.lock().unwrap());
    let (token, link) = (token(&server).await, &links[which]);
    let clients = Arc::new(Clients::default());
    let mut running = clients.start(&server, &token);
    for (state, seconds) in faults {
        clients.go_on(20, &mut running).await;
        let (harmed, refused, broken) = (link.harmed(), clients.refused.load(Ordering::SeqCst), clients.broken.load(Ordering::SeqCst));
        link.set(*state);
        tokio::time::sleep(Duration::from_secs(*seconds)).await;
        link.set(State::Open);
        clients.go_on(10, &mut running).await;
        println!(
            "{state:?} for {seconds} s: {} answers harmed, {} told to come again, {} downloads broken",
            link.harmed() - harmed,
            clients.refused.load(Ordering::SeqCst) - refused,
            clients.broken.load(Ordering::SeqCst) - broken
        );
    }
    clients.ended.store(true, Ordering::SeqCst);
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    let acknowledged = std::mem::take(&mut *clients.acknowledged.lock().unwrap());
    for api in server.each_with_token(&token) {
        let api = &api;
        let reading = futures::stream::iter(&acknowledged).for_each_concurrent(4, |item| async move {
            assert_eq!(item.read(api).await, Ok(true), "{item:?} was acknowledged");
        });
        reading.await;
    }
    server.stop();
    verified(&server);
    println!("{} acknowledged, all there on both replicas", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_s3_fails() {
    let answers = [(State::AnswersLost, 6), (State::Failing(3), 4), (State::Failing(1), 5), (State::BrokenOff(40_000), 5), (State::Slow(3), 8)];
    survives(1, &answers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_network_to_s3_fails() {
    survives(1, &[(State::Cut, 10), (State::Stalled, 10)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_network_to_postgresql_fails() {
    survives(0, &[(State::Cut, 2), (State::Stalled, 10), (State::Cut, 10)]).await;
}
