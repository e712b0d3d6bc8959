//! An S3 server of the test process (versitygw over a folder), with a fresh bucket for each test.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::keeper::Kept;

const ACCESS_KEY: &str = "entrepot-tests";
const SECRET_KEY: &str = "the secret key of the tests";
const REGION: &str = "us-east-1";
/// Where versitygw says that it is ready.
const HEALTH: &str = "/-/health";

static SERVER: OnceLock<(Kept, PathBuf)> = OnceLock::new();
static BUCKETS: AtomicU32 = AtomicU32::new(0);

/// A bucket that nobody else uses. It goes when this value is dropped.
pub(super) struct Bucket {
    name: String,
}

impl Bucket {
    /// Makes one. Blocks.
    pub(super) fn fresh() -> Self {
        let (_, folder) = SERVER.get_or_init(start);
        let bucket = Self { name: format!("test-{}", BUCKETS.fetch_add(1, Ordering::Relaxed)) };
        // Every folder below its root is a bucket.
        std::fs::create_dir(folder.join("objects").join(&bucket.name)).unwrap();
        bucket
    }

    /// The table `[blobs]` of a configuration that uses it.
    pub(super) fn settings(&self) -> toml::Table {
        let (server, _) = SERVER.get_or_init(start);
        let mut table = toml::Table::new();
        let mut set = |name: &str, value: toml::Value| table.insert(name.to_owned(), value);
        set("kind", "s3".into());
        set("bucket", self.name.clone().into());
        set("region", REGION.into());
        set("endpoint", format!("http://127.0.0.1:{}", server.port).into());
        // Another name of the same host: clients take it for another, and must not send it their credentials.
        set("public_endpoint", format!("http://localhost:{}", server.port).into());
        set("path_style", true.into());
        set("access_key", ACCESS_KEY.into());
        set("secret_key", SECRET_KEY.into());
        table
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let Some((_, folder)) = SERVER.get() else { return };
        for part in ["objects", "metadata"] {
            // A bucket without objects has no folder there. What stays only takes room until the server ends.
            let _ = std::fs::remove_dir_all(folder.join(part).join(&self.name));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests are told by variables where clients are installed")]
fn program() -> PathBuf {
    let home = || std::env::var("HOME").map(|home| format!("{home}/.cache/entrepot-ci/clients")).unwrap_or_default();
    let clients = std::env::var("ENTREPOT_TEST_CLIENTS").ok().filter(|value| !value.is_empty()).unwrap_or_else(home);
    let program = Path::new(&clients).join("versitygw/versitygw");
    assert!(program.exists(), "versitygw is not installed: {} is missing; run tests/run", program.display());
    program
}

fn start() -> (Kept, PathBuf) {
    let folder = || {
        let folder = tempfile::Builder::new().prefix("entrepot-s3-").tempdir().unwrap().keep();
        for part in ["objects", "metadata"] {
            std::fs::create_dir(folder.join(part)).unwrap();
        }
        folder
    };
    let command = |port: u16, folder: &Path| {
        let mut command = Command::new(program());
        command.args(["--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", REGION, "--port", &format!("127.0.0.1:{port}")]);
        // Metadata in files: not every file system has attributes. Connections are kept alive, as those of other S3 servers are.
        command.args(["--keep-alive", "--quiet", "--health", HEALTH, "posix", "--sidecar"]).arg(folder.join("metadata")).arg(folder.join("objects"));
        command
    };
    Kept::start("versitygw", "KILL", folder, command, is_healthy)
}

fn is_healthy(port: u16) -> bool {
    let ask = || {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.write_all(format!("GET {HEALTH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
