//! The order of what reaches the disk and what reaches the client, as the kernel sees it.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http::Method;
use tempfile::TempDir;

use crate::items::Item;
use crate::support::TestServer;
use crate::support::process::{self, Running};
use crate::token;

/// How long strace may take to attach, and a line to arrive in its file.
const PATIENCE: Duration = Duration::from_secs(60);

const CALLS: &str = "fsync,fdatasync,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,write,writev,pwrite64,pwritev,sendto,sendmsg";

/// strace, attached to a server.
struct Strace {
    folder: TempDir,
    _running: Running,
}

/// A system call: where in the trace it began and ended, and what was printed of it.
#[derive(Debug, Clone)]
struct Call {
    name: String,
    text: String,
    begun: usize,
    ended: usize,
}

impl Strace {
    fn attach(server: &TestServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let said = folder.path().join("said");
        let mut command = Command::new("strace");
        process::clean(&mut command);
        command.args(["-f", "-y", "-s", "64", "-e", &format!("trace={CALLS}"), "-p", &server.pid().to_string(), "-o"]).arg(folder.path().join("trace"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&said).unwrap());
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot run strace: {error}; tests/run installs it"));
        let mut running = Running::new(child);
        let until = Instant::now() + PATIENCE;
        while !std::fs::read_to_string(&said).unwrap().contains("attached") {
            let ended = running.wait(Duration::from_millis(50));
            assert!(
                ended.is_none() && Instant::now() < until,
                "strace cannot attach to the server (that needs root, or the same user and kernel.yama.ptrace_scope = 0): {ended:?} {}",
                std::fs::read_to_string(&said).unwrap()
            );
        }
        Self { folder, _running: running }
    }

    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(self.folder.path().join("trace")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The calls since a line, up to the first answer 201.
    fn until_created(&self, from: usize) -> Vec<Call> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut calls = calls(&self.lines());
            calls.retain(|call| call.begun >= from);
            if let Some(answer) = calls.iter().position(Call::answers) {
                calls.truncate(answer + 1);
                return calls;
            }
            assert!(Instant::now() < until, "strace saw no answer 201: {calls:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Reads a trace: calls of several threads, of which one may begin before another ends.
fn calls(lines: &[String]) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: Vec<(String, usize)> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((thread, rest)) = line.trim_start().split_once(' ') else { continue };
        let rest = rest.trim_start();
        if rest.starts_with("<... ") {
            if let Some(place) = open.iter().position(|(known, _)| known == thread) {
                let call = &mut calls[open.remove(place).1];
                call.text.push_str(rest);
                call.ended = at;
            }
            continue;
        }
        let Some((name, _)) = rest.split_once('(') else { continue };
        let unfinished = rest.ends_with("<unfinished ...>");
        if unfinished {
            open.push((thread.to_owned(), calls.len()));
        }
        calls.push(Call { name: name.to_owned(), text: rest.to_owned(), begun: at, ended: if unfinished { usize::MAX } else { at } });
    }
    calls
}

impl Call {
    fn answers(&self) -> bool {
        self.text.contains("\"HTTP/1.1 201")
    }

    fn succeeded(&self) -> bool {
        self.ended != usize::MAX && !self.text.contains(") = -1")
    }

    /// The file of its first descriptor.
    fn file(&self) -> Option<&Path> {
        let (_, rest) = self.text.split_once('<')?;
        rest.split_once('>').map(|(path, _)| Path::new(path))
    }

    /// The paths that it names.
    fn named(&self) -> Vec<PathBuf> {
        self.text.split('"').skip(1).step_by(2).map(PathBuf::from).collect()
    }

    fn is_sync_of(&self, file: &Path) -> bool {
        ["fsync", "fdatasync"].contains(&self.name.as_str()) && self.succeeded() && self.file() == Some(file)
    }

    fn is_move(&self) -> bool {
        ["rename", "link"].iter().any(|name| self.name.starts_with(name)) && self.succeeded()
    }
}

/// The first call after a line that is what is looked for, or a panic that says what is missing.
#[track_caller]
fn first<'a>(calls: &'a [Call], after: usize, what: &str, wanted: impl Fn(&Call) -> bool) -> &'a Call {
    calls.iter().find(|call| call.begun > after && wanted(call)).unwrap_or_else(|| panic!("no {what} after line {after} of:\n{calls:#?}"))
}

/// Makes sure that the catalog's log was written and synced after a line, and before the answer began. Gives the line of the first write.
fn catalog_is_synced_before_the_answer(calls: &[Call], wal: &Path, after: usize) -> usize {
    let written = first(calls, after, "write to the catalog's log", |call| call.name.starts_with("pwrite") && call.file() == Some(wal));
    let synced = first(calls, written.ended, "sync of the catalog's log", |call| call.is_sync_of(wal));
    let answer = calls.last().unwrap();
    assert!(answer.answers() && synced.ended < answer.begun, "the answer began before the catalog was synced: {synced:?} {answer:?}");
    written.begun
}

/// Makes sure of the whole order for bytes that live in a file of their own.
fn file_is_synced_before_the_answer(calls: &[Call], data: &Path) {
    let moved = first(calls, 0, "move of a blob to its name", |call| call.is_move() && call.text.contains("/blobs/"));
    let (source, target) = (moved.named().remove(0), moved.named().pop().unwrap());
    assert!(target.starts_with(data.join("blobs")), "{target:?}");
    let synced = calls.iter().find(|call| call.is_sync_of(&source)).unwrap_or_else(|| panic!("the bytes of {source:?} were not synced:\n{calls:#?}"));
    assert!(synced.ended < moved.begun, "the blob got its name before its bytes were synced: {synced:?} {moved:?}");
    let folder = first(calls, moved.ended, "sync of the blob's folder", |call| call.is_sync_of(target.parent().unwrap()));
    let committed = catalog_is_synced_before_the_answer(calls, &data.join("entrepot.db-wal"), folder.ended);
    for made in calls.iter().filter(|call| call.name.starts_with("mkdir") && call.succeeded()) {
        let parent = made.named().pop().unwrap().parent().unwrap().to_owned();
        let synced = first(calls, made.ended, "sync of a new folder's parent", |call| call.is_sync_of(&parent));
        assert!(synced.ended < committed, "a folder was new and its name not yet durable: {made:?} {synced:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn file_folder_and_catalog_are_synced_before_the_answer() {
    let server = TestServer::builder().alone().start();
    // The trace shows paths as the kernel knows them.
    let data = server.data().canonicalize().unwrap();
    let token = token(&server).await;
    let api = server.with_token(&token);
    let strace = Strace::attach(&server);
    let from = || strace.lines().len();

    let start = from();
    api.request(Method::PUT, "/main/generic/big.bin").body(crate::items::noise(1, 3 << 20)).send().await.unwrap().error_for_status().unwrap();
    file_is_synced_before_the_answer(&strace.until_created(start), &data);

    // A package whose bytes are a file, and one whose bytes are in the catalog.
    let [large, small] = [2, 4].map(|number| Item { round: 0, number });
    assert!(large.is_package() && large.bytes().len() > 65_536 && small.is_package() && small.bytes().len() < 65_536);
    let start = from();
    assert!(matches!(large.publish(&api).await, crate::items::Outcome::Acknowledged));
    file_is_synced_before_the_answer(&strace.until_created(start), &data);
    let start = from();
    assert!(matches!(small.publish(&api).await, crate::items::Outcome::Acknowledged));
    let calls = strace.until_created(start);
    assert!(!calls.iter().any(Call::is_move), "a small package needs no file");
    catalog_is_synced_before_the_answer(&calls, &data.join("entrepot.db-wal"), start.saturating_sub(1));
}
