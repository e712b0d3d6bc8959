//! A PostgreSQL server of the test process, with a fresh database for each test.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;

use super::keeper::Kept;

/// Nobody: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;
/// A pool of each of two replicas, for every test that runs at the same time. Nothing here must outlive the machine.
const SETTINGS: [&str; 5] = ["max_connections=400", "fsync=off", "full_page_writes=off", "shared_buffers=64MB", "unix_socket_directories="];

static SERVER: OnceLock<Kept> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);
static RETIRED: Mutex<Vec<(Instant, String)>> = Mutex::new(Vec::new());
/// How long a database is kept after its test.
const RETIREMENT: Duration = Duration::from_secs(10);

/// A database that nobody else uses. It goes some time after this value is dropped.
pub(super) struct Database {
    name: String,
    url: String,
}

impl Database {
    /// Makes one. Blocks.
    pub(super) fn fresh() -> Self {
        let server = SERVER.get_or_init(start);
        drop_retired(server);
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        execute(server.port, format!("CREATE DATABASE {name} TEMPLATE template0")).unwrap_or_else(|error| panic!("no database: {error}"));
        Self { url: url(server.port, &name), name }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        RETIRED.lock().unwrap().push((Instant::now(), std::mem::take(&mut self.name)));
    }
}

/// Drops the databases of tests that ended a while ago: a server within a test's own process may still look into its database while
/// the test ends, and would wait for it.
fn drop_retired(server: &Kept) {
    let due: Vec<_> = RETIRED.lock().unwrap().extract_if(.., |(since, _)| since.elapsed() > RETIREMENT).collect();
    for (_, name) in due {
        // What stays only takes room until the server ends: no reason to fail a test.
        if let Err(error) = execute(server.port, format!("DROP DATABASE {name} WITH (FORCE)")) {
            eprintln!("{name} stays for now: {error}");
        }
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

/// Runs one statement. The connection has a runtime of its own, which must not begin within a test's: hence the thread.
fn execute(port: u16, statement: String) -> Result<(), String> {
    let run = move || {
        let mut connection = AsyncConnectionWrapper::<AsyncPgConnection>::establish(&url(port, "postgres")).map_err(|error| error.to_string())?;
        connection.batch_execute(&statement).map_err(|error| error.to_string())
    };
    std::thread::spawn(run).join().map_err(|_| String::from("the client panicked"))?
}

/// The folder with `initdb` and `postgres`.
fn binaries() -> PathBuf {
    let told = Command::new("pg_config").arg("--bindir").output().ok().map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let known = ["/usr/local/bin", "/usr/bin"].map(PathBuf::from);
    let found = told.into_iter().chain(installed).chain(known).find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists());
    found.expect("PostgreSQL's initdb and postgres are needed: apt-get install postgresql")
}

/// A program of PostgreSQL, as another user than root.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "--"]).arg(program);
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A folder with an empty cluster in it.
fn cluster() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("entrepot-postgres-").tempdir().unwrap().keep();
    if is_root() {
        chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mut command = unprivileged(&binaries().join("initdb"));
    command.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "-D"]).arg(folder.join("data")).current_dir("/");
    let made = command.output().unwrap_or_else(|error| panic!("cannot run initdb: {error}"));
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    folder
}

fn start() -> Kept {
    let command = |port: u16, folder: &Path| {
        let mut command = unprivileged(&binaries().join("postgres"));
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-D"]).arg(folder.join("data"));
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        command
    };
    Kept::start("PostgreSQL", "INT", cluster, command, |port| execute(port, String::from("SELECT 1")).is_ok()).0
}
