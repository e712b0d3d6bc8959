//! A PostgreSQL server of the test process: started once, ended with it, with a fresh database for each test.

use std::io;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;

use crate::store::catalog::postgres::Conn;

/// Nobody: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

pub(super) struct Server {
    pub(super) port: u16,
    folder: PathBuf,
    /// Its standard input is the server's lifeline: it closes when this process ends, however it ends.
    _keeper: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The URL of a database that nobody else uses. Blocks.
pub(crate) fn fresh_database() -> String {
    let server = SERVER.get_or_init(Server::start);
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut connection = Conn::establish(&server.url("postgres")).expect("PostgreSQL takes connections");
    connection.batch_execute(&format!("CREATE DATABASE {name}")).expect("a database");
    server.url(&name)
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
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("entrepot-postgres-").tempdir().expect("a folder").keep();
        if is_root() {
            chown(&folder, Some(NOBODY), Some(NOBODY)).expect("a folder of another user");
        }
        let (bin, data) = (binaries(), folder.join("data"));
        let made =
            unprivileged(&bin.join("initdb")).args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "-D"]).arg(&data).current_dir("/").output();
        let made = made.expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        let mut server = unprivileged(&bin.join("postgres"));
        server.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "max_connections=200", "-k"]).arg(&folder).arg("-D").arg(&data);
        let keeper = keep(&server, &folder).expect("PostgreSQL is started");
        let server = Self { port, folder: folder.clone(), _keeper: keeper };
        for _ in 0..300 {
            if Conn::establish(&server.url("postgres")).is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("PostgreSQL did not start: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    /// A server that nobody else uses, for whoever wants to ill-treat it.
    pub(super) fn own() -> Self {
        Self::start()
    }

    /// Sends a signal to the server's first process. It is started again as soon as it has ended.
    pub(super) fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("a running server");
        let pid = pid.lines().next().expect("a process id").trim();
        let sent = Command::new("kill").args([signal, pid]).status().expect("kill runs");
        assert!(sent.success(), "kill {signal} {pid}");
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

/// Runs the server below a shell, which starts it again when it ends, until the end of the shell's input: then the server is ended by its
/// process id, and the folder removed. A server that was killed may leave processes behind; as long as they live it cannot start again.
fn keep(server: &Command, folder: &Path) -> io::Result<Child> {
    let script = r#"folder=$1; shift; exec 3<&0
        ( cat <&3 >/dev/null; : >"$folder/end"
          while [ -d "$folder/data" ]; do kill -INT "$(head -n 1 "$folder/data/postmaster.pid")"; sleep 1; done ) >/dev/null 2>&1 &
        until [ -e "$folder/end" ]; do "$@" >>"$folder/log" 2>&1 </dev/null 3<&-; sleep 0.2; done; rm -rf "$folder""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(folder).arg(server.get_program()).args(server.get_args());
    shell.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
