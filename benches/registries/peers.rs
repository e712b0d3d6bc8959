//! The servers: ours with embedded defaults, nginx as the practical limit of serving files, verdaccio as the registry that people run.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::on_server_core;
use crate::{Plan, Result};

/// The password of our administrator. Nobody but this run can reach the server.
const PASSWORD: &str = "a password of the benchmark";

/// The release of verdaccio beside us.
const VERDACCIO: &str = "verdaccio@6";

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Peer {
    /// How tables call it.
    pub(crate) name: &'static str,
    /// `http://ADDRESS`.
    pub(crate) base: String,
    /// The time from its start to its first answer.
    pub(crate) started: Duration,
    /// Whether it wants user name and password for writes.
    guarded: bool,
    child: Child,
}

impl Peer {
    /// Starts ours, on a folder that may have data already.
    pub(crate) async fn entrepot(data: &Path) -> Result<Self> {
        fs::create_dir_all(data)?;
        let port = free_port()?;
        let mut command = on_server_core(env!("CARGO_BIN_EXE_entrepot"));
        command.arg("serve").arg("--data").arg(data).args(["--listen", &format!("127.0.0.1:{port}")]).env("ENTREPOT_ADMIN_PASSWORD", PASSWORD);
        Self::start("entrepot", command, port, &data.with_extension("log"), true).await
    }

    /// Starts nginx on a folder of files. Below `/gz/` it gives `NAME.gz` to clients that take gzip.
    pub(crate) async fn nginx(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("www/gz"))?;
        let port = free_port()?;
        let root = folder.display();
        fs::write(
            folder.join("nginx.conf"),
            format!(
                "user root; daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{\n  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n\
                 \x20 open_file_cache max=10000 inactive=60s; open_file_cache_valid 60s;\n\
                 \x20 server {{ listen 127.0.0.1:{port}; root {root}/www; location /gz/ {{ gzip_static always; }} }}\n}}\n"
            ),
        )?;
        let mut command = on_server_core("nginx");
        command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
        Self::start("nginx", command, port, &folder.join("log"), false).await
    }

    /// Starts verdaccio, installed by npm from its own configured registry at the first run.
    pub(crate) async fn verdaccio(data: &Path) -> Result<Self> {
        let program = install_verdaccio()?;
        fs::create_dir_all(data)?;
        let port = free_port()?;
        let root = data.display();
        fs::write(
            data.join("config.yaml"),
            format!(
                "storage: {root}/storage\nauth: {{htpasswd: {{file: {root}/htpasswd}}}}\nuplinks: {{}}\npackages:\n\
                 \x20 '**': {{access: $all, publish: $all, unpublish: $all}}\nmax_body_size: 300mb\nlog: {{type: stdout, format: json, level: error}}\n"
            ),
        )?;
        let mut command = on_server_core("node");
        command.arg(program).arg("-c").arg(data.join("config.yaml")).args(["-l", &format!("127.0.0.1:{port}")]).env("NODE_ENV", "production");
        Self::start("verdaccio", command, port, &data.join("log"), false).await
    }

    async fn start(name: &'static str, mut command: Command, port: u16, log: &Path, guarded: bool) -> Result<Self> {
        let output = File::create(log)?;
        let begin = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()?;
        let mut peer = Self { name, base: format!("http://127.0.0.1:{port}"), started: Duration::ZERO, guarded, child };
        let client = reqwest::Client::new();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = peer.child.try_wait()? {
                return Err(format!("{name} ended with {status}: see {}", log.display()).into());
            }
            // Any answer will do: nginx has no page at its root.
            if client.get(format!("{}/health", peer.base)).send().await.is_ok() {
                peer.started = begin.elapsed();
                return Ok(peer);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(format!("{name} does not answer: see {}", log.display()).into())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A request with what it wants to know of who writes.
    pub(crate) fn request(&self, client: &reqwest::Client, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = client.request(method, format!("{}{path}", self.base));
        if self.guarded { request.basic_auth("admin", Some(PASSWORD)) } else { request }
    }

    /// Ends it in good order.
    pub(crate) fn stop(mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Throws away what an earlier run left, but for its results.
pub(crate) fn clear(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A folder for data that is not there yet.
pub(crate) fn fresh(plan: &Plan, name: &str) -> Result<PathBuf> {
    let folder = plan.folder.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn install_verdaccio() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verdaccio");
    let program = folder.join("node_modules/verdaccio/bin/verdaccio");
    if !program.exists() {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("package.json"), r#"{"name": "peer", "version": "1.0.0", "private": true, "overrides": {"node-fetch": "2.7.0"}}"#)?;
        let installed = Command::new("npm").args(["install", "--no-audit", "--no-fund", VERDACCIO]).current_dir(&folder).status()?;
        if !installed.success() {
            return Err(format!("npm cannot install {VERDACCIO}").into());
        }
    }
    Ok(program)
}
