//! gc while the same bytes are published, deleted and published again: no blob that is named may ever be lost.
//!
//! The same function runs on every storage, and on a store that breaks the protocol, where it must find losses: else it would prove nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_kit::accounts::Tags;
use entrepot_kit::records::Content;
use entrepot_kit::{Address, BaseUrl, Birth, BlobSource, Change, Facade as _, Kind, Result, StageSpec, Staged as _, SystemName, Timestamp};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;

use super::gc::{Plan, collect};
use super::pace::Pace;
use super::verify::{self, verify};
use crate::access::{Access, Caller, RequestFacts, Settings};
use crate::clock;
use crate::registry::keys::MasterKey;
use crate::registry::reader::Reader;
use crate::registry::{Context, Engine, Parts, Session, View};
use crate::store::blobs::{BlobStore, BlobWriter, FileBlobs, StagedBlob, StoredObject, WriteSpec, inline};
use crate::store::catalog::Catalog;
use crate::store::catalog::tests::server::fresh_database;
use crate::store::model::{BlobFacts, BlobPlace, NewRepository};

/// Different bodies for each publisher: few, so that everybody publishes what another one has just deleted, and more than are named at a time.
const BODIES: usize = 3;
/// Bytes of each, at least: more than what lives in the catalog.
const SIZE: usize = 70 * 1024;
/// Who publishes, on each replica.
const PUBLISHERS: usize = 3;
/// Repositories that each of them makes, fills and deletes, at least: it goes on until gc, too, has had its turns.
const ROUNDS: usize = 25;
const MOST_ROUNDS: usize = 1000;
/// Blobs that gc must have removed meanwhile.
const REMOVED: u64 = 20;
/// Files in each.
const FILES: usize = 2;

/// What a replica works on.
type Storage = (Catalog, Arc<dyn BlobStore>);

/// What the publishers and collectors of one run share.
#[derive(Default)]
struct Findings {
    losses: Mutex<Vec<String>>,
    published: AtomicU64,
    removed: AtomicU64,
    done: AtomicBool,
}

fn body(number: usize) -> Bytes {
    (0..SIZE + number).map(|index| (index * 31 + index / 253 + number * 7) as u8).collect::<Vec<_>>().into()
}

async fn engine((catalog, blobs): Storage) -> Arc<Engine> {
    let settings = Settings { argon2_memory_kib: 64, ..Settings::default() };
    let access = Access::new(catalog.clone(), settings, clock::system()).await.expect("access");
    let master_key = MasterKey::new(&[7; MasterKey::LENGTH]).expect("a key");
    let uploads = Arc::new(crate::store::uploads::LocalUploads::new(Arc::clone(&blobs)));
    let parts = Parts {
        catalog,
        blobs,
        uploads,
        access,
        formats: crate::formats::all(),
        master_key,
        clock: clock::system(),
        cache_bytes: 1 << 20,
        max_upload: 1 << 30,
    };
    Engine::new(parts).await.expect("an engine")
}

/// Publishes bytes as a request does.
async fn publish(engine: &Arc<Engine>, address: &Address, path: &str, bytes: &Bytes) -> Result<()> {
    let (caller, facts) = (Caller::anonymous(), RequestFacts::default());
    let view = View { repo: engine.repo(address).expect("a repository"), moment: None };
    let accounts = engine.access.accounts(&caller, &facts);
    let base = BaseUrl { origin: String::from("http://server.example"), path: String::new() };
    let session = Session::new(Arc::clone(engine), view, base, Context { caller, now: engine.now(), facts }, accounts);
    let mut staging = session.stage(StageSpec { algorithms: Vec::new(), limit: None }).await?;
    staging.write(bytes.clone()).await?;
    let staged = staging.finish().await?;
    let birth = Birth::Entry { path: path.to_owned(), package: None, version: None, blob: BlobSource::Staged(staged), content_type: None, data: String::new() };
    session.commit(Change::new("publish", path).begin(birth)).await.map(drop)
}

/// Reads a file as a request does, and says what is wrong with it.
async fn check(engine: &Arc<Engine>, address: &Address, path: &str, bytes: &Bytes) -> std::result::Result<(), String> {
    let failed = |error: entrepot_kit::Error| format!("{address}:{path}: {error}: {:?}", std::error::Error::source(&error));
    engine.catch_up(Some(address)).await.map_err(failed)?;
    let repo = engine.repo(address).ok_or_else(|| format!("{address} is unknown"))?;
    let reader = Reader::new(Arc::clone(engine), Caller::anonymous(), engine.now(), None);
    let file = reader.entry(&repo, path).await.map_err(failed)?.ok_or_else(|| format!("{address}:{path} is not there"))?;
    let chunks: Vec<Bytes> = file.content.stream(None).await.map_err(failed)?.try_collect().await.map_err(failed)?;
    if chunks.concat() == *bytes { Ok(()) } else { Err(format!("{address}:{path} has other bytes")) }
}

/// Makes repositories, fills them with what others publish too, looks at everything again and again, and deletes them; keeps the last.
async fn publisher(engines: Vec<Arc<Engine>>, number: usize, until_loss: bool, findings: Arc<Findings>) {
    let (own, other) = (&engines[number % engines.len()], &engines[(number + 1) % engines.len()]);
    let mut state = number as u64 + 1;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("a small number")
    };
    for round in 0.. {
        let enough = if until_loss {
            !findings.losses.lock().is_empty() || findings.done.load(Ordering::Relaxed)
        } else {
            round + 1 >= ROUNDS && (findings.removed.load(Ordering::Relaxed) > REMOVED || round > MOST_ROUNDS)
        };
        let address = Address::parse(&format!("main/r{number}-{round}")).expect("an address");
        let new = NewRepository {
            address: address.clone(),
            format: String::from("generic"),
            kind: Kind::Hosted,
            tags: Tags::new(),
            settings: serde_json::json!({}),
            declared: false,
        };
        let row = own.catalog.create_repository(new, own.now()).await.expect("a repository");
        own.reload().await.expect("reloaded");
        let files: Vec<(String, Bytes)> = (0..FILES).map(|file| (format!("f{file}"), body(random() % (BODIES * PUBLISHERS * engines.len())))).collect();
        for (path, bytes) in &files {
            let mut outcome = publish(own, &address, path, bytes).await;
            for _ in 0..5 {
                // As clients do who are told to come again.
                if !outcome.as_ref().is_err_and(|error| error.retry_after().is_some()) {
                    break;
                }
                outcome = publish(own, &address, path, bytes).await;
            }
            outcome.unwrap_or_else(|error| panic!("{address}:{path}: {error}: {:?}", std::error::Error::source(&error)));
            findings.published.fetch_add(1, Ordering::Relaxed);
        }
        for engine in [own, other, own] {
            for (path, bytes) in &files {
                if let Err(loss) = check(engine, &address, path, bytes).await {
                    findings.losses.lock().push(loss);
                }
            }
            tokio::time::sleep(Duration::from_millis((random() % 5) as u64)).await;
        }
        if enough {
            return;
        }
        own.catalog.delete_repository(row.id, own.now()).await.expect("deleted");
        own.reload().await.expect("reloaded");
    }
}

/// Collects without any grace until everybody has published enough.
async fn collector(engine: Arc<Engine>, findings: Arc<Findings>) {
    while !findings.done.load(Ordering::Relaxed) {
        let plan = Plan::new(engine.now(), Duration::ZERO);
        let outcome = collect(&engine.catalog, &*engine.blobs, &plan, &mut Pace::new(&|_| {}, None)).await.expect("collected");
        findings.removed.fetch_add(outcome.removed.count, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Publishes, deletes and collects at the same time on all these replicas, and gives what was found.
async fn stress(replicas: Vec<Storage>, until_loss: bool) -> (Arc<Findings>, Vec<Arc<Engine>>) {
    let (catalog, _) = replicas.first().expect("a replica");
    catalog.create_system(SystemName::parse("main").expect("a name"), Tags::new(), false, clock::system()()).await.expect("a system");
    let mut engines = Vec::new();
    for replica in replicas {
        engines.push(engine(replica).await);
    }
    let findings = Arc::new(Findings::default());
    let collectors: Vec<_> = engines.iter().map(|engine| tokio::spawn(collector(Arc::clone(engine), Arc::clone(&findings)))).collect();
    let mut publishers: Vec<_> =
        (0..PUBLISHERS * engines.len()).map(|number| tokio::spawn(publisher(engines.clone(), number, until_loss, Arc::clone(&findings)))).collect();
    if until_loss {
        // So long, at most: a test that catches nothing must fail, not hang.
        let all = futures::future::join_all(publishers.iter_mut());
        let _ = tokio::time::timeout(Duration::from_secs(60), all).await;
        findings.done.store(true, Ordering::Relaxed);
        publishers.retain(|publisher| !publisher.is_finished());
    }
    for publisher in publishers {
        publisher.await.expect("a publisher ends well");
    }
    findings.done.store(true, Ordering::Relaxed);
    for collector in collectors {
        collector.await.expect("a collector ends well");
    }
    (findings, engines)
}

/// The whole test of a storage.
async fn nothing_is_lost(replicas: Vec<Storage>) {
    let (findings, engines) = stress(replicas, false).await;
    let (published, removed) = (findings.published.load(Ordering::Relaxed), findings.removed.load(Ordering::Relaxed));
    assert_eq!(*findings.losses.lock(), Vec::<String>::new(), "lost, of {published} published");
    assert!(removed > REMOVED, "gc removed only {removed} blobs: this was no stress");
    let engine = engines.first().expect("an engine");
    // At the end all is quiet: then the stored files and the catalog are the same set.
    let later = Timestamp(engine.now().0 + 10_000);
    let plan = Plan { least_age: Duration::ZERO, ..Plan::new(later, Duration::ZERO) };
    let outcome = collect(&engine.catalog, &*engine.blobs, &plan, &mut Pace::new(&|_| {}, None)).await.expect("collected");
    let plan = verify::Plan { now: later, repair: false, quick: false };
    let found = Mutex::new(Vec::new());
    let verified =
        verify(&engine.catalog, &engine.blobs, &plan, &|line| found.lock().push(line.to_owned()), &mut Pace::new(&|_| {}, None)).await.expect("verified");
    assert!(verified.is_sound() && verified.orphans.count == 0 && verified.blobs.count > 0, "{outcome}\n{verified}\n{:?}", found.lock());
    assert_eq!(engine.blobs.list().count().await as u64, verified.blobs.count);
    println!("published {published}, removed {removed} meanwhile; at the end {outcome}; {verified}");
}

async fn postgres() -> String {
    tokio::task::spawn_blocking(fresh_database).await.expect("a database")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_on_sqlite_and_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = Catalog::open_sqlite(&folder.path().join("catalog.db")).await.expect("opened");
    nothing_is_lost(vec![(catalog, Arc::new(FileBlobs::open(&folder.path().join("blobs")).await.expect("opened")))]).await;
}

/// As the command beside a server: another process, as far as SQLite can tell.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_on_sqlite_and_files_to_a_command_beside_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("catalog.db");
    let catalog = Catalog::open_sqlite(&file).await.expect("opened");
    let command = Catalog::open_sqlite(&file).await.expect("opened again");
    let blobs: Arc<dyn BlobStore> = Arc::new(FileBlobs::open(&folder.path().join("blobs")).await.expect("opened"));
    let beside = FileBlobs::open(&folder.path().join("blobs")).await.expect("opened");
    let done = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&done);
    let collecting = tokio::spawn(async move {
        while !ended.load(Ordering::Relaxed) {
            collect(&command, &beside, &Plan::new(clock::system()(), Duration::ZERO), &mut Pace::new(&|_| {}, None)).await.expect("collected");
        }
    });
    nothing_is_lost(vec![(catalog, blobs)]).await;
    done.store(true, Ordering::Relaxed);
    collecting.await.expect("the command ends well");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_on_postgres_and_two_replicas() {
    let (folder, url) = (tempfile::tempdir().expect("a folder"), postgres().await);
    let mut replicas: Vec<Storage> = Vec::new();
    for _ in 0..2 {
        let blobs = FileBlobs::open(&folder.path().join("blobs")).await.expect("opened");
        replicas.push((Catalog::open_postgres(&url).await.expect("opened"), Arc::new(blobs)));
    }
    nothing_is_lost(replicas).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_on_postgres_and_s3_and_two_replicas() {
    let (url, settings) = (postgres().await, crate::store::blobs::s3::tests::fresh().await);
    let (mut replicas, mut staging): (Vec<Storage>, Vec<_>) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = crate::store::blobs::S3Blobs::open(&settings, folder.path()).await.expect("opened");
        replicas.push((Catalog::open_postgres(&url).await.expect("opened"), Arc::new(blobs)));
        staging.push(folder);
    }
    nothing_is_lost(replicas).await;
}

/// A store as one would write it at first: bytes lie under their digest. So what arrives and what is being removed share a place.
struct ContentAddressed {
    spool: FileBlobs,
    objects: Mutex<HashMap<String, Bytes>>,
    arrivals: AtomicU64,
}

#[async_trait]
impl BlobStore for ContentAddressed {
    async fn writer(&self, spec: WriteSpec) -> Result<BlobWriter> {
        self.spool.writer(spec).await
    }

    async fn persist(&self, staged: &StagedBlob) -> Result<BlobFacts> {
        let (location, mut bytes) = (staged.digest().hex(), Vec::new());
        staged.reader().await?.read_to_end(&mut bytes).expect("read");
        self.objects.lock().insert(location.clone(), bytes.into());
        self.arrivals.fetch_add(1, Ordering::Relaxed);
        Ok(BlobFacts { location: Some(location), ..staged.facts().clone() })
    }

    async fn open(&self, place: &BlobPlace) -> Result<Arc<dyn Content>> {
        let found = self.objects.lock().get(&place.digest.hex()).cloned();
        found.map(inline).ok_or_else(|| entrepot_kit::Error::internal(format!("blob {}: no such object", place.digest)))
    }

    async fn look(&self, place: &BlobPlace) -> Result<Option<u64>> {
        Ok(self.objects.lock().get(&place.digest.hex()).map(|bytes| bytes.len() as u64))
    }

    async fn remove(&self, place: &BlobPlace) -> Result<()> {
        // As slow as it must be for somebody to bring the same bytes meanwhile.
        let before = self.arrivals.load(Ordering::Relaxed);
        for _ in 0..50 {
            if self.arrivals.load(Ordering::Relaxed) > before + 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.objects.lock().remove(&place.digest.hex());
        Ok(())
    }

    fn list(&self) -> BoxStream<'_, Result<StoredObject>> {
        let objects = self
            .objects
            .lock()
            .iter()
            .map(|(location, bytes)| Ok(StoredObject { location: location.clone(), size: bytes.len() as u64, modified: clock::system()() }))
            .collect::<Vec<_>>();
        futures::stream::iter(objects).boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stress_test_catches_a_broken_protocol() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = Catalog::open_sqlite(&folder.path().join("catalog.db")).await.expect("opened");
    let spool = FileBlobs::open(&folder.path().join("blobs")).await.expect("opened");
    let naive = ContentAddressed { spool, objects: Mutex::default(), arrivals: AtomicU64::new(0) };
    let (findings, _engines) = stress(vec![(catalog, Arc::new(naive))], true).await;
    let losses = findings.losses.lock();
    assert!(losses.iter().any(|loss| loss.contains("no such object")), "nothing was lost, although identical bytes share a place: {losses:?}");
    println!("{} losses in {} publishes; the first: {}", losses.len(), findings.published.load(Ordering::Relaxed), losses.first().map_or("", String::as_str));
}
