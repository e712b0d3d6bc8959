//! A backup is taken while publishers publish, and restored; a migration is killed, and goes on.
#![cfg(test)]

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::items::{Item, Outcome, PACKAGES};
use crate::support::ADMIN_PASSWORD;
use crate::support::api::Api;
use crate::support::process::{self, Output, Running};
use crate::support::storage::Shared;

/// Publishers at the same time.
const PUBLISHERS: usize = 8;
/// Requests at the same time of whoever looks at what is there.
const READERS: usize = 4;
/// How long a command or the start of a server may take: a dev build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A folder with a configuration file and the data that it describes.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self::with("")
    }

    fn with(config: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let mut config: toml::Table = config.parse().unwrap();
        let server = config.entry("server").or_insert_with(|| toml::Table::new().into());
        server.as_table_mut().unwrap().insert(String::from("data"), place.data().to_str().unwrap().into());
        std::fs::write(place.config(), config.to_string()).unwrap();
        place
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entrepot"));
        process::clean(&mut command);
        command.current_dir(self.folder.path()).arg("--config").arg(self.config()).args(arguments);
        command
    }

    /// Runs a command of the server's.
    fn run(&self, arguments: &[&str]) -> Output {
        process::run(self.command(arguments), PATIENCE)
    }

    /// Starts the server and waits until it is ready.
    fn serve(&self) -> Server {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("server.log")).unwrap();
        command.env("ENTREPOT_ADMIN_PASSWORD", ADMIN_PASSWORD).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let running = Running::new(child);
        let mut lines = BufReader::new(output).lines();
        let base = lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix("listening on ").map(|url| url.trim().to_owned()));
        let base = base.unwrap_or_else(|| panic!("the server did not start:\n{}", std::fs::read_to_string(self.folder.path().join("server.log")).unwrap()));
        Server { running, base }
    }

    /// Files in its folder of blobs.
    fn blob_files(&self) -> usize {
        fn files(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
        }
        files(&self.data().join("blobs/sha256"))
    }
}

/// A server that runs.
struct Server {
    running: Running,
    base: String,
}

impl Server {
    fn api(&self, token: &str) -> Api {
        Api::bearer(&self.base, token)
    }

    fn admin(&self) -> Api {
        Api::basic(&self.base, "admin", ADMIN_PASSWORD)
    }

    fn stop(self) {
        self.running.ask_to_end();
        self.running.has_ended(PATIENCE);
    }
}

fn items(round: usize, number: usize) -> Vec<Item> {
    (0..number).map(|number| Item { round, number }).collect()
}

async fn publish(api: &Api, items: &[Item]) {
    let publishing = futures::stream::iter(items).for_each_concurrent(PUBLISHERS, |item| async move {
        assert!(matches!(item.publish(api).await, Outcome::Acknowledged), "{item:?}");
    });
    publishing.await;
}

/// Those that can be read. Panics at one whose bytes are others.
async fn readable(api: &Api, items: &[Item]) -> Vec<Item> {
    let reading = futures::stream::iter(items).map(|item| async move { item.read(api).await.unwrap().then_some(*item) });
    reading.buffer_unordered(READERS).filter_map(std::future::ready).collect().await
}

async fn all_are_there(api: &Api, items: &[Item]) {
    assert_eq!(readable(api, items).await.len(), items.len());
}

/// A document of a package, without the server's address.
async fn packument(server: &Server, token: &str, package: &str) -> String {
    let reply = server.api(token).get(&format!("/main/npm/{package}")).await.succeeded();
    String::from_utf8(reply.body.to_vec()).unwrap().replace(&server.base, "")
}

/// Publishes until it is told to stop; gives what was acknowledged so far.
struct Publishers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<Item>>>,
    tasks: JoinSet<()>,
}

impl Publishers {
    fn start(server: &Server, token: &str, round: usize) -> Self {
        let (stop, acknowledged, next) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<Item>>>::default(), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..PUBLISHERS {
            let (api, stop, acknowledged, next) = (server.api(token), Arc::clone(&stop), Arc::clone(&acknowledged), Arc::clone(&next));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let item = Item { round, number: next.fetch_add(1, Ordering::Relaxed) };
                    assert!(matches!(item.publish(&api).await, Outcome::Acknowledged), "{item:?}");
                    acknowledged.lock().unwrap().push(item);
                }
            });
        }
        Self { stop, acknowledged, tasks }
    }

    fn acknowledged(&self) -> Vec<Item> {
        self.acknowledged.lock().unwrap().clone()
    }

    async fn wait_for(&self, number: usize) {
        let until = Instant::now() + PATIENCE;
        while self.acknowledged().len() < number {
            assert!(Instant::now() < until, "the publishers do not get on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(mut self) -> Vec<Item> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.acknowledged()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_while_publishing_restores_to_a_whole_server() {
    let place = Place::new();
    let server = place.serve();
    let admin = server.admin();
    let token = admin.create_token("a test", &[], &[]).await;
    let user = json!({ "name": "bob", "password": "a long enough secret", "tags": { "system": ["main"], "role": ["publisher"] } });
    admin.json(Method::POST, "/api/v1/users", &user).await.succeeded();
    let policy = json!({ "text": "forbid(principal, action == Action::\"delete\", resource);" });
    admin.json(Method::PUT, "/api/v1/policies/keep-all", &policy).await.succeeded();
    let before = items(0, 70);
    publish(&server.api(&token), &before).await;
    let head = server.api(&token).get("/main/generic/old.txt").await;
    assert_eq!(head.status, 404);
    server.api(&token).put("/main/generic/old.txt", "what was once").await.succeeded();
    let generic = admin.get("/api/v1/repositories/main/generic").await.succeeded().json();
    let revision = generic["head"].as_u64().or_else(|| generic["revision"].as_u64()).unwrap_or_else(|| panic!("no revision in {generic}"));
    let old = format!("/main/generic.at-r{revision}/old.txt");
    admin.delete("/main/generic/old.txt").await.succeeded();

    let publishers = Publishers::start(&server, &token, 1);
    publishers.wait_for(20).await;
    let sure = publishers.acknowledged();
    let file = place.folder.path().join("backup.tar");
    let (command, taken) = (place.command(&["backup", file.to_str().unwrap()]), tokio::task::spawn_blocking);
    let said = taken(move || process::run(command, PATIENCE)).await.unwrap().succeeded();
    assert!(said.stdout.contains("backup.tar: ") && said.stdout.contains("master-key"), "{said}");
    assert!(!place.folder.path().join("backup.tar.part").exists());
    let meanwhile = publishers.acknowledged().len();
    publishers.wait_for(meanwhile + 1).await;
    let published = publishers.end().await;
    println!(
        "{} acknowledged before the backup, {} when it ended, {} in all",
        before.len() + sure.len(),
        before.len() + meanwhile,
        before.len() + published.len()
    );

    // Archives that are not whole, into a place of their own: nobody serves from it, until a good one is restored there.
    let key = place.data().join("master-key");
    let key = ["--master-key", key.to_str().unwrap()];
    let bytes = std::fs::metadata(&file).unwrap().len();
    let target = Place::new();
    for (what, change) in [("cut", 0), ("flipped", bytes / 2), ("flipped", bytes / 3)] {
        let bad = target.folder.path().join("bad.tar");
        std::fs::copy(&file, &bad).unwrap();
        let mut opened = std::fs::File::options().read(true).write(true).open(&bad).unwrap();
        if what == "cut" {
            opened.set_len(bytes * 2 / 3).unwrap();
        } else {
            // Within the content of a member: a block of zeros between members means nothing.
            let mut block = [0; 1];
            let mut at = change;
            while block == [0] {
                at += 1;
                opened.seek(SeekFrom::Start(at)).unwrap();
                opened.read_exact(&mut block).unwrap();
            }
            opened.seek(SeekFrom::Start(at)).unwrap();
            opened.write_all(&[block[0] ^ 0x10]).unwrap();
        }
        let said = target.run(&[&["restore", bad.to_str().unwrap()], key.as_slice()].concat()).failed();
        assert!(said.stderr.contains("archive"), "{said}");
        let refused = target.run(&["serve", "--listen", "127.0.0.1:0"]).failed();
        assert!(refused.stderr.contains("restore"), "{refused}");
    }
    let proof = target.run(&[&["restore", file.to_str().unwrap()], key.as_slice()].concat()).succeeded();
    println!("{}", proof.stdout);
    assert!(proof.stdout.contains("every blob has its bytes"), "{proof}");
    let again = target.run(&[&["restore", file.to_str().unwrap()], key.as_slice()].concat()).failed();
    assert!(again.stderr.contains("not empty"), "{again}");
    let running = place.run(&["restore", file.to_str().unwrap()]).failed();
    assert!(running.stderr.contains("stop it first"), "{running}");

    let restored = target.serve();
    let api = &restored.api(&token);
    all_are_there(api, &before).await;
    all_are_there(api, &sure).await;
    for number in 0..PACKAGES / 2 {
        let package = Item { round: 0, number: 2 * number }.package();
        assert_eq!(packument(&restored, &token, &package).await, packument(&server, &token, &package).await);
    }
    // Whatever came while the backup was taken is there as a whole, or not at all.
    let there = readable(api, &published).await;
    for item in published.iter().filter(|item| item.is_package()) {
        let reply = api.get(&format!("/main/npm/{}", item.package())).await;
        let listed = reply.status == 200 && reply.json()["versions"].get(item.version()).is_some();
        assert_eq!(listed, there.contains(item), "{item:?} is half there");
    }
    assert_eq!(api.get(&old).await.is(200).body, "what was once");
    api.get("/main/generic/old.txt").await.is(404);
    let bob = Api::basic(&restored.base, "bob", "a long enough secret");
    assert_eq!(bob.get("/main/npm/-/whoami").await.is(200).json()["username"], "bob");
    assert_eq!(restored.admin().get("/api/v1/policies/keep-all").await.is(200).json()["text"], policy["text"]);
    publish(api, &items(2, 10)).await;
    all_are_there(api, &items(2, 10)).await;
    restored.stop();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_through_a_pipe() {
    let place = Place::new();
    let server = place.serve();
    let token = server.admin().create_token("a test", &[], &[]).await;
    let published = items(0, 12);
    publish(&server.api(&token), &published).await;
    let target = Place::new();
    std::fs::create_dir(target.data()).unwrap();
    std::fs::copy(place.data().join("master-key"), target.data().join("master-key")).unwrap();
    let mut writer = place.command(&["backup", "-"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut reader = target.command(&["restore", "-"]);
    let output = reader.stdin(writer.stdout.take().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(writer.wait().unwrap().success());
    let restored = target.serve();
    all_are_there(&restored.api(&token), &published).await;
    restored.stop();

    // Into a folder; without the key nothing is restored.
    let said = place.run(&["backup", place.folder.path().to_str().unwrap()]).succeeded();
    let file = said.stdout.split(": ").next().unwrap();
    assert!(file.contains("entrepot-backup-") && Path::new(file).is_file(), "{said}");
    let other = Place::new();
    let said = other.run(&["restore", file]).failed();
    assert!(said.stderr.contains("--master-key FILE"), "{said}");
    server.stop();
}

/// Runs a migration and kills it once enough files are there; `false` when it was through before.
fn migrate_and_kill(source: &Place, target: &Place, files: usize) -> bool {
    let mut command = source.command(&["migrate", "--to", target.config().to_str().unwrap()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "the migration failed");
            return false;
        }
        if target.blob_files() >= files {
            child.kill().unwrap();
            return !child.wait().unwrap().success();
        }
        assert!(Instant::now() < until, "the migration does not get on");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_killed_goes_on() {
    let source = Place::new();
    let server = source.serve();
    let token = server.admin().create_token("a test", &[], &[]).await;
    let published = items(0, 260);
    publish(&server.api(&token), &published).await;
    let target = Place::new();
    let said = source.run(&["migrate", "--to", target.config().to_str().unwrap()]).failed();
    assert!(said.stderr.contains("stop it first"), "{said}");
    let head = server.admin().get("/api/v1/repositories/main/npm").await.succeeded().json();
    server.stop();
    let said = source.run(&["migrate", "--to", source.config().to_str().unwrap()]).failed();
    assert!(said.stderr.contains("the same storage"), "{said}");

    // Killed twice in the middle; a machine that is through before anybody can kill it tries again.
    let all = source.blob_files();
    let mut target = target;
    let mut attempts = 0;
    while !(migrate_and_kill(&source, &target, 2) && migrate_and_kill(&source, &target, all / 2)) {
        attempts += 1;
        assert!(attempts < 20, "the migration is always through before it can be killed");
        target = Place::new();
    }
    let half = target.blob_files();
    assert!(half < all, "it was killed at the end, not in the middle");
    let refused = target.run(&["serve", "--listen", "127.0.0.1:0"]).failed();
    assert!(refused.stderr.contains("migrat"), "{refused}");
    let said = source.run(&["migrate", "--to", target.config().to_str().unwrap()]).succeeded();
    println!("{half} of {all} files after two kills\n{}\n{}", said.stderr, said.stdout);
    assert!(said.stdout.contains("by earlier runs") && said.stdout.contains("the same on both sides"), "{said}");
    let again = source.run(&["migrate", "--to", target.config().to_str().unwrap()]).failed();
    assert!(again.stderr.contains("not empty"), "{again}");

    let migrated = target.serve();
    all_are_there(&migrated.api(&token), &published).await;
    assert_eq!(migrated.admin().get("/api/v1/repositories/main/npm").await.succeeded().json(), head);
    publish(&migrated.api(&token), &items(1, 10)).await;
    migrated.stop();
}

/// A configuration of the storage that replicas share.
fn shared_config(shared: &Shared, master_key: &str) -> String {
    let mut config = toml::Table::new();
    config.insert(String::from("server"), toml::Table::from_iter([(String::from("master_key"), master_key.into())]).into());
    config.insert(String::from("database"), toml::Table::from_iter([(String::from("url"), shared.database_url().into())]).into());
    config.insert(String::from("blobs"), shared.blobs().into());
    config.to_string()
}

/// Runs a migration and kills it when it says this; `false` when it ended before.
fn migrate_and_kill_at(source: &Place, target: &Place, text: &str) -> bool {
    let mut command = source.command(&["migrate", "--to", target.config().to_str().unwrap()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        said += &line;
        if line.contains(text) {
            child.kill().unwrap();
            return !child.wait().unwrap().success();
        }
    }
    assert!(child.wait().unwrap().success(), "{said}");
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_server_moves_to_postgres_and_s3_and_back() {
    let source = Place::new();
    let server = source.serve();
    let token = server.admin().create_token("a test", &[], &[]).await;
    let published = items(0, 90);
    publish(&server.api(&token), &published).await;
    server.stop();
    let shared = tokio::task::spawn_blocking(Shared::new).await.unwrap();
    let wrong = Place::with(&shared_config(&shared, shared.master_key()));
    let said = source.run(&["migrate", "--to", wrong.config().to_str().unwrap()]).failed();
    assert!(said.stderr.contains("od -An"), "{said}");

    let key = hex::encode(std::fs::read(source.data().join("master-key")).unwrap());
    let first = Place::with(&shared_config(&shared, &key));
    let second = Place::with(&shared_config(&shared, &key));
    assert!(migrate_and_kill_at(&source, &first, "blobs copied"), "it was through before its first blob");
    let refused = first.run(&["serve", "--listen", "127.0.0.1:0"]).failed();
    assert!(refused.stderr.contains("migrat"), "{refused}");
    if migrate_and_kill_at(&source, &first, "all blobs are there") {
        let said = source.run(&["migrate", "--to", first.config().to_str().unwrap()]).succeeded();
        println!("{}\n{}", said.stderr, said.stdout);
        assert!(said.stdout.contains("by earlier runs"), "{said}");
    }
    let replicas = [first.serve(), second.serve()];
    for replica in &replicas {
        all_are_there(&replica.api(&token), &published).await;
    }
    publish(&replicas[0].api(&token), &items(1, 20)).await;
    all_are_there(&replicas[1].api(&token), &items(1, 20)).await;

    // And back: a backup of what the replicas share, taken while they publish, restored on one machine.
    let publishers = Publishers::start(&replicas[1], &token, 2);
    publishers.wait_for(10).await;
    let sure = publishers.acknowledged();
    let file = first.folder.path().join("backup.tar");
    let command = first.command(&["backup", file.to_str().unwrap()]);
    let said = tokio::task::spawn_blocking(move || process::run(command, PATIENCE)).await.unwrap().succeeded();
    println!("{}", said.stdout);
    publishers.end().await;
    let home = Place::new();
    let key_file = home.folder.path().join("key");
    std::fs::write(&key_file, format!("{key}\n")).unwrap();
    let proof = home.run(&["restore", file.to_str().unwrap(), "--master-key", key_file.to_str().unwrap()]).succeeded();
    println!("{}", proof.stdout);
    let restored = home.serve();
    for items in [published, items(1, 20), sure] {
        all_are_there(&restored.api(&token), &items).await;
    }
    restored.stop();
    for replica in replicas {
        replica.stop();
    }

    // The same archive into a database and a bucket of their own.
    let other = tokio::task::spawn_blocking(Shared::new).await.unwrap();
    let other = (Place::with(&shared_config(&other, &key)), other);
    other.0.run(&["restore", file.to_str().unwrap()]).succeeded();
    let restored = other.0.serve();
    all_are_there(&restored.api(&token), &items(1, 20)).await;
    publish(&restored.api(&token), &items(3, 10)).await;
    restored.stop();
}
