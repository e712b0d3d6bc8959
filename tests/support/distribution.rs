//! The CNCF distribution registry (2.8, as distributions package it): an upstream that everybody knows.
#![cfg(test)]

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{self, Running};

/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);
/// Another process may take the port that was found free.
const ATTEMPTS: usize = 3;

/// The registry on a port of its own, with an empty memory. It ends when this value is dropped.
pub(crate) struct Distribution {
    host: String,
    running: Running,
    folder: TempDir,
}

impl Distribution {
    /// Starts it.
    pub(crate) fn start() -> Self {
        for _ in 0..ATTEMPTS {
            if let Some(registry) = Self::attempt() {
                return registry;
            }
        }
        panic!("docker-registry found no free port {ATTEMPTS} times")
    }

    fn attempt() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = format!("version: 0.1\nlog: {{level: info}}\nstorage:\n  inmemory: {{}}\n  delete: {{enabled: true}}\nhttp: {{addr: '{host}'}}\n");
        std::fs::write(folder.path().join("config.yml"), config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("docker-registry");
        process::clean(&mut command);
        command.args(["serve", "config.yml"]).current_dir(folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("docker-registry cannot be run ({error}): run tests/run"));
        let mut registry = Self { host, running: Running::new(child), folder };
        let until = Instant::now() + PATIENCE;
        loop {
            if registry.log().contains("address already in use") || registry.running.wait(Duration::ZERO).is_some() {
                return None;
            }
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(registry);
            }
            assert!(Instant::now() < until, "docker-registry does not listen:\n{}", registry.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// What it wrote to its log: a line for each request.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}
