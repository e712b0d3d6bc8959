//! What the tests share: a server of its own for each test, and real clients in fresh homes.

pub(crate) mod api;
pub(crate) mod clients;
pub(crate) mod process;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use api::Api;
use process::Running;

/// The password of the user `admin` on every test server.
pub(crate) const ADMIN_PASSWORD: &str = "correct-horse-battery";

/// How long a server may take until it is ready: a dev build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a test server is set up.
pub(crate) struct Builder {
    config: String,
    environment: Vec<(String, String)>,
    /// A data directory elsewhere, which may hold data already. It stays when the server goes.
    pub(crate) data: Option<PathBuf>,
}

impl Builder {
    /// The text of its configuration file, instead of an empty one (which means the built-in defaults).
    pub(crate) fn config(mut self, text: impl Into<String>) -> Self {
        self.config = text.into();
        self
    }

    /// Starts it in a fresh directory and waits until it is ready.
    pub(crate) fn start(self) -> TestServer {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), &self.config).unwrap();
        let data = self.data.unwrap_or_else(|| folder.path().join("data"));
        let mut server = TestServer { folder, data, environment: self.environment, running: None, address: String::new(), starts: 0 };
        server.launch("127.0.0.1:0");
        server
    }
}

/// The built server in a directory of its own. It ends, and its directory goes, when this value is dropped.
pub(crate) struct TestServer {
    folder: TempDir,
    data: PathBuf,
    environment: Vec<(String, String)>,
    running: Option<Running>,
    address: String,
    starts: usize,
}

impl TestServer {
    /// A server to be set up.
    pub(crate) fn builder() -> Builder {
        Builder { config: String::new(), environment: Vec::new(), data: None }
    }

    /// A server with the default configuration.
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The URL of a path that begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// A client of the management API as `admin`.
    pub(crate) fn admin(&self) -> Api {
        Api::basic(&self.url(""), "admin", ADMIN_PASSWORD)
    }

    /// A client of the management API with a token.
    pub(crate) fn with_token(&self, token: &str) -> Api {
        Api::bearer(&self.url(""), token)
    }

    /// A client of the management API without credentials.
    pub(crate) fn anonymous(&self) -> Api {
        Api::anonymous(&self.url(""))
    }

    /// Everything that it wrote to its log, over all its starts.
    pub(crate) fn log(&self) -> String {
        (1..=self.starts).map(|start| std::fs::read_to_string(self.log_file(start)).unwrap()).collect()
    }

    /// How many lines of the log contain all these texts.
    pub(crate) fn log_lines(&self, texts: &[&str]) -> usize {
        self.log().lines().filter(|line| texts.iter().all(|text| line.contains(text))).count()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().pid()
    }

    /// Ends it as a power cut would (`kill -9`).
    pub(crate) fn kill(&mut self) {
        self.running.take().unwrap().kill();
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

    /// Starts it again on the same data and at the same address; kills it before if it runs.
    pub(crate) fn restart(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
        let address = self.address.clone();
        self.launch(&address);
    }

    /// Starts it again with another configuration file.
    pub(crate) fn reconfigure(&mut self, config: &str) {
        std::fs::write(self.folder.path().join("config.toml"), config).unwrap();
        self.stop();
        self.restart();
    }

    fn log_file(&self, start: usize) -> PathBuf {
        self.folder.path().join(format!("server-{start}.log"))
    }

    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entrepot"));
        process::clean(&mut command);
        command.current_dir(self.folder.path()).env("RUST_BACKTRACE", "1");
        command.env("ENTREPOT_CONFIG", self.folder.path().join("config.toml")).env("ENTREPOT_DATA", self.data());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn launch(&mut self, listen: &str) {
        self.starts += 1;
        let log = File::create(self.log_file(self.starts)).unwrap();
        let mut command = self.program();
        command.args(["serve", "--listen", listen]).env("ENTREPOT_ADMIN_PASSWORD", ADMIN_PASSWORD);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let mut running = Running::new(child);
        let (send, lines) = mpsc::channel();
        // Reads on until the server ends, so that it never writes into a closed pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens once the server is ready.
                let _ = send.send(line);
            }
        });
        let until = Instant::now() + PATIENCE;
        loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some((_, address)) = line.strip_prefix("listening on http").and_then(|rest| rest.split_once("://")) {
                        self.address = address.trim().to_owned();
                        self.running = Some(running);
                        return;
                    }
                }
                Err(reason) => {
                    running.kill_now();
                    panic!("the server did not start ({reason}); its log:\n{}", self.log());
                }
            }
        }
    }
}
