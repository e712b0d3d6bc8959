//! One server process, on a folder and a port of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::process::{self, Running};

/// How long a server may take until it is ready, or has ended: a dev build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process, which may be away.
pub(crate) struct Replica {
    folder: PathBuf,
    config: PathBuf,
    environment: Vec<(String, String)>,
    running: Option<Running>,
    lines: Option<mpsc::Receiver<String>>,
    address: Option<SocketAddr>,
    starts: usize,
}

impl Replica {
    /// One that is not started yet, with a configuration file and variables.
    pub(crate) fn new(folder: &Path, config: &Path, environment: &[(String, String)]) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let (folder, config) = (folder.to_owned(), config.to_owned());
        Self { folder, config, environment: environment.to_vec(), running: None, lines: None, address: None, starts: 0 }
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().pid()
    }

    /// Where it listens, once it is ready.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Everything that it wrote to its log, over all its starts.
    pub(crate) fn log(&self) -> String {
        (1..=self.starts).map(|start| std::fs::read_to_string(self.log_file(start)).unwrap()).collect()
    }

    /// Ends it as a power cut would (`kill -9`); one that is away stays so.
    pub(crate) fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.running.take().unwrap().terminate(PATIENCE);
    }

    /// Begins to start it; it is ready after [`Self::wait`].
    pub(crate) fn begin(&mut self, listen: &str, password: &str) {
        self.starts += 1;
        let log = File::create(self.log_file(self.starts)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_entrepot"));
        process::clean(&mut command);
        command.current_dir(&self.folder).env("RUST_BACKTRACE", "1").env("ENTREPOT_CONFIG", &self.config).env("ENTREPOT_DATA", self.data());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(["serve", "--listen", listen]).env("ENTREPOT_ADMIN_PASSWORD", password);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        self.running = Some(Running::new(child));
        let (send, lines) = mpsc::channel();
        // Reads on until the server ends, so that it never writes into a closed pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens once the server is ready.
                let _ = send.send(line);
            }
        });
        self.lines = Some(lines);
    }

    /// Waits until it is ready.
    pub(crate) fn wait(&mut self) {
        let lines = self.lines.take().unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(address) = line.strip_prefix("listening on http://") {
                        self.address = Some(address.trim().parse().unwrap());
                        return;
                    }
                }
                Err(reason) => {
                    self.kill();
                    panic!("the server did not start ({reason}); its log:\n{}", self.log());
                }
            }
        }
    }

    fn log_file(&self, start: usize) -> PathBuf {
        self.folder.join(format!("server-{start}.log"))
    }
}
