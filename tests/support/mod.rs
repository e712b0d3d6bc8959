//! What the tests share: a server of its own for each test, and real clients in fresh homes.

pub(crate) mod alpine;
pub(crate) mod api;
pub(crate) mod balancer;
pub(crate) mod clients;
mod confinement;
pub(crate) mod distribution;
pub(crate) mod engine;
pub(crate) mod forwarder;
pub(crate) mod gpg;
pub(crate) mod images;
pub(crate) mod maven;
pub(crate) mod process;
pub(crate) mod python;
mod replica;
pub(crate) mod storage;

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use api::Api;
use balancer::Balancer;
use confinement::Confinement;
use replica::Replica;
use storage::{Between, Shared};

/// How long a command may take.
const COMMAND_PATIENCE: Duration = Duration::from_secs(300);
/// The password of the user `admin` on every test server.
pub(crate) const ADMIN_PASSWORD: &str = "correct-horse-battery";

/// How a test server is set up.
pub(crate) struct Builder {
    config: String,
    environment: Vec<(String, String)>,
    /// A data directory elsewhere, which may hold data already. It stays when the server goes.
    pub(crate) data: Option<PathBuf>,
    replicas: bool,
    between: Option<Between>,
    by_variables: bool,
    within: Option<u64>,
}

impl Builder {
    /// The text of its configuration file, instead of an empty one (which means the built-in defaults).
    pub(crate) fn config(mut self, text: impl Into<String>) -> Self {
        self.config = text.into();
        self
    }

    /// Two replicas on PostgreSQL and S3, on whatever storage the other tests run.
    pub(crate) fn replicas(mut self) -> Self {
        self.replicas = true;
        self
    }

    /// Something of the test's between the replicas and what they work on.
    pub(crate) fn through(mut self, between: Between) -> Self {
        self.between = Some(between);
        self
    }

    /// Replicas learn of PostgreSQL and S3 by the variables of other programs, and by nothing else.
    pub(crate) fn by_variables(mut self) -> Self {
        self.by_variables = true;
        self
    }

    /// Each of its processes has so many bytes of memory.
    pub(crate) fn within(mut self, bytes: u64) -> Self {
        self.within = Some(bytes);
        self
    }

    /// A variable that it sees.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// One process on a data directory of its own, on whatever storage the other tests run.
    pub(crate) fn alone(mut self) -> Self {
        self.replicas = false;
        self
    }

    /// Starts it in a fresh directory and waits until it is ready.
    pub(crate) fn start(self) -> TestServer {
        let folder = tempfile::tempdir().unwrap();
        let pair = self.replicas.then(|| Pair::new(self.between, self.by_variables));
        let mut environment = self.environment;
        environment.extend(pair.iter().flat_map(Pair::environment));
        let folders: Vec<_> = match pair {
            None => vec![folder.path().to_owned()],
            Some(_) => (1..=storage::REPLICAS).map(|number| folder.path().join(format!("replica-{number}"))).collect(),
        };
        let (config, data) = (folder.path().join("config.toml"), self.data);
        let within = self.within;
        let replica = |folder: &PathBuf| Replica::new(folder, data.as_deref(), &config, &environment).within(within.map(Confinement::new));
        let replicas = folders.iter().map(replica).collect();
        let mut server = TestServer { replicas, pair, address: String::new(), folder };
        server.configure(&self.config);
        server.launch("127.0.0.1:0");
        server
    }
}

/// The repositories that a page about a client shows as configuration.
pub(crate) fn repositories_of(page: &str) -> String {
    let mut config = String::new();
    let mut inside = false;
    for line in page.lines() {
        inside = line == "    [[repository]]" || (inside && (line.starts_with("    ") || line.is_empty()));
        if inside {
            config.push_str(line.trim());
            config.push('\n');
        }
    }
    config
}

/// A hosted, a proxy and a group repository of a format, named `npm`, `npm-remote` and `npm-all`, all of them public; `upstream` is what stands
/// in the proxy's `upstream = { … }`.
pub(crate) fn three_repositories(format: &str, upstream: &str) -> String {
    format!(
        r#"
[[repository]]
name = "{format}"
format = "{format}"
tags = {{ visibility = "public" }}

[[repository]]
name = "{format}-remote"
format = "{format}"
kind = "proxy"
tags = {{ visibility = "public" }}
upstream = {{ {upstream} }}

[[repository]]
name = "{format}-all"
format = "{format}"
kind = "group"
tags = {{ visibility = "public" }}
members = ["main/{format}", "main/{format}-remote"]
"#
    )
}

/// A configuration with which a line of the log is there before the answer that it is about.
fn log_at_once(text: &str) -> String {
    const SECTION: &str = "[log]\n";
    let at_once = format!("{SECTION}delay = 0\n");
    if text.contains(SECTION) { text.replacen(SECTION, &at_once, 1) } else { format!("{text}\n{at_once}") }
}

/// What makes two processes one server.
struct Pair {
    balancer: Balancer,
    shared: Shared,
    by_variables: bool,
}

impl Pair {
    fn new(between: Option<Between>, by_variables: bool) -> Self {
        let mut shared = Shared::new();
        if let Some(between) = between {
            shared.through(between);
        }
        Self { balancer: Balancer::start(), shared, by_variables }
    }

    /// What tells the replicas where everything is, as far as the environment does.
    fn environment(&self) -> Vec<(String, String)> {
        if self.by_variables { self.shared.variables() } else { vec![(String::from("ENTREPOT_DATABASE_URL"), self.shared.database_url())] }
    }

    /// A configuration with what all replicas must share.
    fn configuration(&self, text: &str) -> String {
        let Ok(mut config) = text.parse::<toml::Table>() else { return text.to_owned() };
        let mut section = |name: &str| match config.entry(name).or_insert_with(|| toml::Table::new().into()) {
            toml::Value::Table(table) => std::mem::take(table),
            other => panic!("[{name}] is {other}"),
        };
        let (mut server, mut blobs) = (section("server"), section("blobs"));
        server.insert(String::from("master_key"), self.shared.master_key().into());
        if !self.by_variables {
            blobs.extend(self.shared.blobs());
        }
        config.insert(String::from("server"), server.into());
        config.insert(String::from("blobs"), blobs.into());
        config.to_string()
    }
}

/// The built server in a directory of its own: one process, or two replicas behind a balancer. It ends, and its directory goes, when
/// this value is dropped.
pub(crate) struct TestServer {
    // In this order: processes end before what they work on goes.
    replicas: Vec<Replica>,
    pair: Option<Pair>,
    address: String,
    folder: TempDir,
}

impl TestServer {
    /// A server to be set up.
    pub(crate) fn builder() -> Builder {
        Builder {
            config: String::new(),
            environment: Vec::new(),
            data: None,
            replicas: storage::wants_replicas(),
            between: None,
            by_variables: false,
            within: None,
        }
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
        self.replicas.iter().map(Replica::log).collect()
    }

    /// How many lines of the log contain all these texts.
    pub(crate) fn log_lines(&self, texts: &[&str]) -> usize {
        self.log().lines().filter(|line| texts.iter().all(|text| line.contains(text))).count()
    }

    /// Its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.replicas.iter().map(Replica::pid).collect()
    }

    /// Bytes that its processes wrote, to files and to other programs.
    pub(crate) fn written(&self) -> u64 {
        let of = |pid: u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
            text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse::<u64>().unwrap()
        };
        self.pids().into_iter().map(of).sum()
    }

    /// What holds its processes to their memory.
    pub(crate) fn confinements(&self) -> Vec<&Confinement> {
        self.replicas.iter().filter_map(Replica::confinement).collect()
    }

    /// Ends it as a power cut would (`kill -9`).
    pub(crate) fn kill(&mut self) {
        self.replicas.iter_mut().for_each(Replica::kill);
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.replicas.iter_mut().for_each(Replica::stop);
    }

    /// Starts it again on the same data and at the same address; kills it before if it runs.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let address = self.address.clone();
        self.launch(&address);
    }

    /// Starts it again with another configuration file.
    pub(crate) fn reconfigure(&mut self, config: &str) {
        self.configure(config);
        self.stop();
        self.restart();
    }

    /// Ends one replica as a power cut would; the balancer finds out by itself.
    pub(crate) fn kill_replica(&mut self, number: usize) {
        self.replicas[number].kill();
    }

    /// Starts one replica again.
    pub(crate) fn start_replica(&mut self, number: usize) {
        self.replicas[number].begin("127.0.0.1:0", ADMIN_PASSWORD);
        self.replicas[number].wait();
        self.balance();
    }

    /// The data directory, or that of the first replica.
    pub(crate) fn data(&self) -> PathBuf {
        self.replicas[0].data()
    }

    /// Runs a command on its storage, whether it runs or not.
    pub(crate) fn command(&self, arguments: &[&str]) -> process::Output {
        let mut command = self.replicas[0].program();
        command.args(arguments);
        process::run(command, COMMAND_PATIENCE)
    }

    /// The same beside other things that a test does.
    pub(crate) async fn command_beside(&self, arguments: &[&str]) -> process::Output {
        let mut command = self.replicas[0].program();
        command.args(arguments);
        tokio::task::spawn_blocking(move || process::run(command, COMMAND_PATIENCE)).await.unwrap()
    }

    /// Asks it to end (`kill -TERM`).
    pub(crate) fn ask_to_end(&self) {
        self.replicas.iter().for_each(Replica::ask_to_end);
    }

    /// Waits until it has ended by itself, and well.
    #[track_caller]
    pub(crate) fn has_ended(&mut self) {
        self.replicas.iter_mut().for_each(Replica::has_ended);
    }

    /// Its process; of a pair, the first.
    pub(crate) fn pid(&self) -> u32 {
        self.replicas[0].pid()
    }

    /// A client of each process, past the balancer.
    pub(crate) fn each_with_token(&self, token: &str) -> Vec<Api> {
        self.replicas.iter().filter_map(Replica::address).map(|address| Api::bearer(&format!("http://{address}"), token)).collect()
    }

    fn configure(&self, config: &str) {
        let text = self.pair.as_ref().map_or_else(|| config.to_owned(), |pair| pair.configuration(config));
        std::fs::write(self.folder.path().join("config.toml"), log_at_once(&text)).unwrap();
    }

    fn launch(&mut self, listen: &str) {
        // Replicas take ports as they come: the address that clients know is the balancer's.
        let listen = if self.pair.is_some() { "127.0.0.1:0" } else { listen };
        // All at once, as machines do that come back after a power cut.
        self.replicas.iter_mut().for_each(|replica| replica.begin(listen, ADMIN_PASSWORD));
        self.replicas.iter_mut().for_each(Replica::wait);
        self.balance();
    }

    /// Where clients find it from now on.
    fn balance(&mut self) {
        let addresses: Vec<_> = self.replicas.iter().filter_map(Replica::address).collect();
        self.address = match &self.pair {
            None => addresses[0].to_string(),
            Some(pair) => {
                pair.balancer.send_to(addresses);
                pair.balancer.address().to_string()
            }
        };
    }
}
