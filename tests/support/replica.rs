//! One server process, on a folder and a port of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::confinement::Confinement;
use super::process::{self, Running};

/// The built program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_entrepot");

/// How long a server may take until it is ready, or has ended: a dev build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process, which may be away.
pub(crate) struct Replica {
    folder: PathBuf,
    data: PathBuf,
    config: PathBuf,
    environment: Vec<(String, String)>,
    running: Option<Running>,
    lines: Option<mpsc::Receiver<String>>,
    address: Option<SocketAddr>,
    starts: usize,
    // Behind the process: a group can only go without one.
    confinement: Option<Confinement>,
}

impl Replica {
    /// One that is not started yet, with a configuration file and variables; its data is in its folder, unless they are elsewhere.
    pub(crate) fn new(folder: &Path, data: Option<&Path>, config: &Path, environment: &[(String, String)]) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let data = data.map_or_else(|| folder.join("data"), Path::to_owned);
        let (folder, config) = (folder.to_owned(), config.to_owned());
        Self { folder, data, config, environment: environment.to_vec(), running: None, lines: None, address: None, starts: 0, confinement: None }
    }

    /// The same within a confinement.
    pub(crate) fn within(mut self, confinement: Option<Confinement>) -> Self {
        self.confinement = confinement;
        self
    }

    /// What holds it to its memory.
    pub(crate) fn confinement(&self) -> Option<&Confinement> {
        self.confinement.as_ref()
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
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
        self.ask_to_end();
        self.has_ended();
    }

    /// Asks it to end (`kill -TERM`).
    pub(crate) fn ask_to_end(&self) {
        self.running.as_ref().unwrap().ask_to_end();
    }

    /// Waits until it has ended by itself, and well.
    #[track_caller]
    pub(crate) fn has_ended(&mut self) {
        self.running.take().unwrap().has_ended(PATIENCE);
    }

    /// Begins to start it; it is ready after [`Self::wait`].
    pub(crate) fn begin(&mut self, listen: &str, password: &str) {
        self.starts += 1;
        let log = File::create(self.log_file(self.starts)).unwrap();
        let mut command = match self.confinement.as_ref().and_then(Confinement::entrance) {
            None => self.program(),
            Some(entrance) => {
                // From its first page on.
                let mut command = Command::new("sh");
                command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(entrance).arg(PROGRAM);
                self.prepared(command)
            }
        };
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

    /// The built program with the configuration of this server.
    pub(crate) fn program(&self) -> Command {
        self.prepared(Command::new(PROGRAM))
    }

    /// A command in this server's folder and environment.
    fn prepared(&self, mut command: Command) -> Command {
        process::clean(&mut command);
        command.current_dir(&self.folder).env("RUST_BACKTRACE", "1").env("ENTREPOT_CONFIG", &self.config).env("ENTREPOT_DATA", self.data());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Waits until it is ready.
    pub(crate) fn wait(&mut self) {
        let lines = self.lines.take().unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some((_, address)) = line.strip_prefix("listening on http").and_then(|rest| rest.split_once("://")) {
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
