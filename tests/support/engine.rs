//! A docker engine with its containerd, in a folder of its own.
//!
//! One serves all tests of a process: starting it takes longer than most of them. Whatever tests do there does not meet, as each server has
//! a port of its own, which is part of every name, and each image bytes of its own.
#![cfg(test)]

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long it may take until it answers: the machine may be busy with everything else.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ends the engine when its own input ends, which is when the test process closes it or is gone; then takes away what the engine mounted, and
/// the folder.
const KEEPER: &str = r#"folder=$1; shift
"$@" >"$folder/log" 2>&1 </dev/null & engine=$!
cat >/dev/null
kill -TERM "$engine"; wait "$engine"
while read -r _ _ _ _ place _; do
    case "$place" in "$folder"/*) umount -l "$place" ;; esac
done </proc/self/mountinfo
rm -rf "$folder""#;

/// The engine. It ends soon after this value is dropped, or with the test process.
pub(crate) struct Engine {
    folder: PathBuf,
    /// Its standard input is the engine's lifeline.
    _keeper: Child,
}

impl Engine {
    /// The one that all tests share.
    pub(crate) fn shared() -> &'static Self {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        ENGINE.get_or_init(|| Self::start(&[]))
    }

    /// One that asks a mirror for the images of Docker Hub.
    pub(crate) fn with_mirror(url: &str) -> Self {
        Self::start(&["--registry-mirror", url])
    }

    fn start(more: &[&str]) -> Self {
        // Short: sockets lie below it.
        let folder = tempfile::Builder::new().prefix("ep-docker-").tempdir_in("/tmp").unwrap().keep();
        std::fs::write(folder.join("daemon.json"), "{}").unwrap();
        let place = |name: &str| folder.join(name).display().to_string();
        let mut shell = Command::new("sh");
        super::process::clean(&mut shell);
        shell.args(["-c", KEEPER, "sh"]).arg(&folder).args(["dockerd", "--config-file", &place("daemon.json"), "--data-root", &place("data")]);
        shell.args(["--exec-root", &place("exec"), "--pidfile", &place("pid"), "-H", &format!("unix://{}", place("docker.sock"))]);
        // Nothing runs in it, so it needs no network; and layers as plain folders work on every file system.
        shell.args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]).args(more);
        // Interrupting the tests at the keyboard must not end the shell before the engine.
        shell.process_group(0).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let keeper = shell.spawn().unwrap_or_else(|error| panic!("cannot run sh: {error}"));
        let engine = Self { folder, _keeper: keeper };
        let until = Instant::now() + PATIENCE;
        while !engine.answers() {
            let log = std::fs::read_to_string(engine.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < until && !log.contains("not found"), "dockerd did not start (it needs root; tests/run installs it):\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        engine
    }

    fn answers(&self) -> bool {
        let mut command = Command::new("docker");
        command.args(["--host", &self.host(), "version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.folder.join("docker.sock").exists() && command.status().is_ok_and(|status| status.success()) && self.containerd().exists()
    }

    /// Its address for docker.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.join("docker.sock").display())
    }

    /// The socket of its containerd.
    pub(crate) fn containerd(&self) -> PathBuf {
        self.folder.join("exec/containerd/containerd.sock")
    }
}
