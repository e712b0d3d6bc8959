//! What a restarted, killed or unreachable PostgreSQL means for those who use the catalog.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::link::{Link, State};
use super::server::{Server, fresh_database};
use super::{commit, release, repository};
use crate::store::catalog::Catalog;
use crate::store::model::{CatalogError, Commit, RepositoryRow};

/// More than any call may take: a place, then the work with a connection, and what a busy machine adds.
const BOUND: Duration = Duration::from_secs(90);
/// How long the test waits for things to go on.
const PATIENCE: Duration = Duration::from_secs(120);
const WRITERS: usize = 6;

/// Writers that commit without end, and note the revisions that were acknowledged.
struct Writers {
    ended: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    running: JoinSet<Vec<(String, u64)>>,
}

impl Writers {
    fn start(catalog: &Catalog, row: &RepositoryRow) -> Self {
        let mut writers = Self { ended: Arc::default(), acknowledged: Arc::default(), running: JoinSet::new() };
        for writer in 0..WRITERS {
            let (catalog, row) = (catalog.clone(), row.clone());
            let (ended, acknowledged) = (Arc::clone(&writers.ended), Arc::clone(&writers.acknowledged));
            writers.running.spawn(async move {
                let (mut noted, mut number) = (Vec::new(), 0);
                while !ended.load(Ordering::SeqCst) {
                    number += 1;
                    let (package, version) = (format!("p{writer}"), format!("1.0.{number}"));
                    let subject = format!("{package} {version}");
                    let wanted = Commit { births: release(&package, &version), subject: subject.clone(), ..commit(&row, "publish") };
                    match bounded(catalog.commit(wanted)).await {
                        Ok(revision) => {
                            noted.push((subject, revision));
                            acknowledged.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(CatalogError::Unavailable(_)) => {}
                        Err(other) => panic!("{subject}: {other:?}"),
                    }
                    // Whoever reads gets an answer too, or is told to come again.
                    match bounded(catalog.head(row.id)).await {
                        Ok(_) | Err(CatalogError::Unavailable(_)) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
                noted
            });
        }
        writers
    }

    /// Waits until so many more commits have been acknowledged.
    async fn go_on(&self, more: usize) {
        let (wanted, until) = (self.acknowledged.load(Ordering::SeqCst) + more, Instant::now() + PATIENCE);
        while self.acknowledged.load(Ordering::SeqCst) < wanted {
            assert!(Instant::now() < until, "commits do not go on: {} of {wanted}", self.acknowledged.load(Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends them and makes sure that each acknowledged commit is there, once, under its number.
    async fn hold(mut self, catalog: &Catalog, row: &RepositoryRow) {
        self.ended.store(true, Ordering::SeqCst);
        let mut noted = Vec::new();
        while let Some(ended) = self.running.join_next().await {
            noted.extend(ended.expect("a writer"));
        }
        let mut there: HashMap<String, Vec<u64>> = HashMap::new();
        let history = catalog.history(row.id, None, 1_000_000).await.expect("the history");
        for (place, revision) in history.iter().rev().enumerate() {
            assert_eq!(revision.number, place as u64 + 1, "revisions without gaps");
            there.entry(revision.subject.clone()).or_default().push(revision.number);
        }
        for (subject, revision) in &noted {
            assert_eq!(there.get(subject), Some(&vec![*revision]), "{subject}");
            let (package, version) = subject.split_once(' ').expect("a package and a version");
            assert!(catalog.version(row.id, package, version).await.expect("an answer").is_some(), "{subject}");
            let entry = catalog.entry(row.id, &format!("{package}/-/{version}.tgz"), None).await.expect("an answer").expect("the file");
            assert_eq!(entry.inline.as_deref(), Some(format!("bytes of {version}").as_bytes()), "{subject}");
        }
        assert!(there.values().all(|revisions| revisions.len() == 1), "a commit was applied twice");
        assert_eq!(catalog.head(row.id).await.expect("an answer").0, history.len() as u64);
    }
}

async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, work).await.expect("an answer within bounds")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the work")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_or_dies_loses_nothing_acknowledged() {
    let server = Arc::new(blocking(Server::own).await);
    let catalog = Catalog::open_postgres(&server.url("postgres")).await.expect("opened");
    let row = repository(&catalog, "main/npm").await;
    let writers = Writers::start(&catalog, &row);
    // At once without asking anybody, then killed, then politely.
    for signal in ["-QUIT", "-KILL", "-INT"] {
        writers.go_on(30).await;
        let server = Arc::clone(&server);
        blocking(move || server.signal(signal)).await;
    }
    writers.go_on(30).await;
    writers.hold(&catalog, &row).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_fails_is_told_in_time_and_recovers() {
    let (link, url) = linked().await;
    let catalog = Catalog::open_postgres(&url).await.expect("opened");
    let row = repository(&catalog, "main/npm").await;
    let writers = Writers::start(&catalog, &row);
    for (state, seconds) in [(State::Cut, 2), (State::Stalled, 10), (State::Cut, 10)] {
        writers.go_on(30).await;
        link.set(state);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        link.set(State::Open);
    }
    writers.go_on(30).await;
    writers.hold(&catalog, &row).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_ever_for_a_silent_server() {
    let (link, url) = linked().await;
    let catalog = Catalog::open_postgres(&url).await.expect("opened");
    let row = repository(&catalog, "main/npm").await;
    link.set(State::Stalled);
    let wanted = Commit { births: release("left-pad", "1.0.0"), ..commit(&row, "publish") };
    let (written, read) = tokio::join!(bounded(catalog.commit(wanted)), bounded(catalog.head(row.id)));
    assert!(matches!(written, Err(CatalogError::Unavailable(_))), "{written:?}");
    assert!(matches!(read, Err(CatalogError::Unavailable(_))), "{read:?}");
    let told = entrepot_kit::Error::from(written.expect_err("checked above"));
    assert!(told.status() == http::StatusCode::SERVICE_UNAVAILABLE && told.retry_after().is_some(), "{told:?}");
    link.set(State::Open);
    let until = Instant::now() + PATIENCE;
    while bounded(catalog.head(row.id)).await.is_err() {
        assert!(Instant::now() < until, "the catalog does not recover");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_found_out() {
    let (link, url) = linked().await;
    let catalog = Catalog::open_postgres(&url).await.expect("opened");
    let row = repository(&catalog, "main/npm").await;
    for number in 1..=5 {
        let lost_before = link.lost();
        link.set(State::CommitsUnanswered);
        let version = format!("1.0.{number}");
        let wanted = Commit { births: release("left-pad", &version), ..commit(&row, "publish") };
        let (revision, ()) = tokio::join!(bounded(catalog.commit(wanted)), async {
            let until = Instant::now() + PATIENCE;
            while link.lost() < lost_before + 1 {
                assert!(Instant::now() < until, "no COMMIT came by");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            link.set(State::Open);
        });
        assert_eq!(revision.expect("the server did it"), number);
    }
    assert_eq!(catalog.history(row.id, None, 100).await.expect("the history").len(), 5, "none was done twice");
}

/// A database behind a network that can fail.
async fn linked() -> (Link, String) {
    let url = blocking(fresh_database).await;
    let (before, database) = url.rsplit_once('/').expect("a database");
    let port = before.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let link = Link::to(port).await;
    let url = format!("postgres://postgres@{}/{database}", link.address);
    (link, url)
}
