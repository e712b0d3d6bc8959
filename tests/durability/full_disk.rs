//! A disk that is full: what cannot be stored is refused in words, what is stored is served, and the server needs no help afterwards.
#![cfg(test)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use entrepot_format_npm::testing::{Archive, manifest, publish_body};
use http::StatusCode;
use tempfile::TempDir;

use crate::items::noise;
use crate::raw::{self, Call, Reply};
use crate::support::TestServer;
use crate::support::process;
use crate::{on_data, token, verified};

/// Size of the disk in MiB: room for the first start, the ballast and some publishes.
const SIZE: usize = 40;
const BALLAST: usize = 16 << 20;
/// More publishes than the disk has room for.
const MORE_THAN_ENOUGH: usize = 1000;

/// A small file system of its own. It is unmounted when this value is dropped, also by a test that fails.
struct SmallDisk {
    folder: TempDir,
}

fn run(program: &str, arguments: &[&str], path: &Path) -> process::Output {
    let mut command = Command::new(program);
    command.args(arguments).arg(path);
    process::run(command, Duration::from_secs(60))
}

impl SmallDisk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = run("mount", &["-t", "tmpfs", "-o", &format!("size={SIZE}m"), "entrepot-test"], folder.path());
        assert!(mounted.status.success(), "a small disk cannot be mounted; that needs root: {mounted}");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file until it has `most` bytes or the disk is full.
    fn fill(&self, name: &str, most: usize) {
        let mut file = std::fs::File::create(self.path(name)).unwrap();
        for _ in 0..most / 1024 {
            if file.write_all(&[7; 1024]).is_err() {
                return;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if !run("umount", &[], self.folder.path()).status.success() {
            // Somebody still holds a file: it goes when they do.
            run("umount", &["--lazy"], self.folder.path());
        }
    }
}

/// A publish, and the way to read it back.
#[derive(Clone)]
struct Thing {
    number: usize,
    package: bool,
    size: usize,
}

impl Thing {
    fn bytes(&self) -> Vec<u8> {
        let filling = noise(self.number as u64, self.size);
        if !self.package {
            return filling;
        }
        let manifest = manifest("full", &self.version());
        Archive::new().file("package/package.json", manifest.to_string().as_bytes()).file("package/filling.bin", &filling).finish()
    }

    fn version(&self) -> String {
        format!("1.0.{}", self.number)
    }

    fn path(&self) -> String {
        if self.package { format!("/main/npm/full/-/full-{}.tgz", self.version()) } else { format!("/main/generic/full/{}.bin", self.number) }
    }

    async fn publish(&self, server: &TestServer, token: &str) -> Reply {
        let call = if self.package {
            let body = publish_body(&manifest("full", &self.version()), &self.bytes(), "latest").to_string();
            Call::put("/main/npm/full", body).with("content-type", "application/json")
        } else {
            Call::put(self.path(), self.bytes())
        };
        raw::send(server.address(), &call.with_token(token)).await.unwrap()
    }

    async fn read(&self, server: &TestServer) -> Reply {
        raw::send(server.address(), &Call::get(self.path())).await.unwrap()
    }
}

/// What was acknowledged and what was refused.
#[derive(Default)]
struct Notes {
    next: usize,
    there: Vec<Thing>,
    refused: Vec<Thing>,
}

impl Notes {
    fn thing(&mut self, package: bool, size: usize) -> Thing {
        self.next += 1;
        Thing { number: self.next, package, size }
    }

    /// Notes an answer; a refusal must say what is wrong and when to come again.
    fn note(&mut self, thing: Thing, reply: &Reply) -> bool {
        if reply.status.is_success() {
            self.there.push(thing);
            return true;
        }
        let text = reply.text();
        assert_eq!(reply.status, StatusCode::INSUFFICIENT_STORAGE, "{}: {text}", thing.path());
        assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{}: {:?}", thing.path(), reply.headers);
        assert!(text.contains("storage is full"), "{}: {text}", thing.path());
        self.refused.push(thing);
        false
    }

    /// Publishes until one is refused.
    async fn until_refused(&mut self, server: &TestServer, token: &str, package: bool, size: usize) {
        for _ in 0..MORE_THAN_ENOUGH {
            let thing = self.thing(package, size);
            let reply = thing.publish(server, token).await;
            if !self.note(thing, &reply) {
                return;
            }
        }
        panic!("{MORE_THAN_ENOUGH} publishes of {size} bytes were taken by a disk of {SIZE} MiB");
    }

    /// Everything acknowledged is there byte for byte, and nothing of what was refused.
    async fn hold(&self, server: &TestServer) {
        for thing in &self.there {
            let reply = thing.read(server).await;
            assert!(reply.status == StatusCode::OK && reply.body == thing.bytes(), "{}: {} with {} bytes", thing.path(), reply.status, reply.body.len());
        }
        for thing in &self.refused {
            assert_eq!(thing.read(server).await.status, StatusCode::NOT_FOUND, "{} was refused", thing.path());
        }
        let packument = raw::send(server.address(), &Call::get("/main/npm/full")).await.unwrap().json();
        let versions = packument["versions"].as_object().unwrap();
        let wanted: Vec<_> = self.there.iter().filter(|thing| thing.package).map(Thing::version).collect();
        assert!(wanted.iter().all(|version| versions.contains_key(version)) && versions.len() == wanted.len(), "{:?} and not {wanted:?}", versions.keys());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_in_words_and_loses_nothing() {
    let disk = SmallDisk::mount();
    let mut server = on_data(disk.path("data"));
    let token = token(&server).await;
    let mut notes = Notes::default();
    for (package, size) in [(true, 1000), (true, 100_000), (false, 500), (false, 200_000)] {
        let thing = notes.thing(package, size);
        let reply = thing.publish(&server, &token).await;
        assert!(notes.note(thing, &reply), "{}", reply.text());
    }
    disk.fill("ballast", BALLAST);

    // Bytes in files, then bytes in the catalog, until neither has room.
    notes.until_refused(&server, &token, false, 1 << 20).await;
    notes.until_refused(&server, &token, true, 1 << 20).await;
    disk.fill("rest", SIZE << 20);
    notes.until_refused(&server, &token, true, 30_000).await;
    notes.until_refused(&server, &token, false, 30_000).await;
    // Together they share transactions: one that fails must not make another look as if it had succeeded.
    let things: Vec<_> = (0..16).map(|number| notes.thing(number % 2 == 0, 20_000 + 10_000 * (number % 7))).collect();
    let replies = futures::future::join_all(things.iter().map(|thing| thing.publish(&server, &token))).await;
    for (thing, reply) in things.into_iter().zip(&replies) {
        // Those of one package may overtake each other as long as some are taken.
        if reply.status != StatusCode::CONFLICT {
            notes.note(thing, reply);
        }
    }
    notes.hold(&server).await;
    raw::send(server.address(), &Call::get("/health/ready")).await.map(|reply| assert_eq!(reply.status, StatusCode::OK)).unwrap();

    // Reading goes on even over a crash on the full disk.
    server.restart();
    notes.hold(&server).await;

    // With room again, the same server takes what it refused.
    for name in ["ballast", "rest"] {
        std::fs::remove_file(disk.path(name)).unwrap();
    }
    for thing in std::mem::take(&mut notes.refused) {
        let reply = thing.publish(&server, &token).await;
        if thing.size <= 1 << 20 {
            assert!(notes.note(thing, &reply), "{}", reply.text());
        }
    }
    notes.hold(&server).await;
    verified(&server);
    server.restart();
    notes.hold(&server).await;
}
