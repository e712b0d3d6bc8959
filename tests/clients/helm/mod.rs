//! Helm 3 and Helm 4 against hosted, proxy and group repositories, classically and as artifacts.
#![cfg(test)]

mod artifacts;
mod classic;
mod docs;
mod purge;
mod registry;

use std::path::{Path, PathBuf};

use crate::support::clients::{Home, PATIENCE, installed};
use crate::support::process::{self, Output};
use crate::support::{ADMIN_PASSWORD, TestServer, three_repositories};

/// The Helms that `tests/run` installed.
pub(crate) const HELMS: [&str; 2] = ["helm3", "helm4"];
/// Who signs charts.
const SIGNER: &str = "Test Signer <signer@example.com>";

/// A Helm in a home of its own.
pub(crate) struct Helm {
    home: Home,
    version: &'static str,
    /// Where it works.
    pub(crate) folder: PathBuf,
}

impl Helm {
    pub(crate) fn new(version: &'static str) -> Self {
        let home = Home::new();
        let folder = home.project("charts");
        Self { home, version, folder }
    }

    pub(crate) fn program(version: &str) -> PathBuf {
        let program = installed().join(version).join("helm");
        assert!(program.exists(), "{version} is not installed: {} is missing; run tests/run", program.display());
        program
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_in(&self.folder, arguments)
    }

    fn run_in(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = self.home.command(Self::program(self.version), folder);
        command.args(arguments).env("no_proxy", "*").env("GNUPGHOME", self.keys());
        process::run(command, PATIENCE)
    }

    fn keys(&self) -> PathBuf {
        self.home.path().join("gnupg")
    }

    /// A chart that Helm itself made, packaged; gives the file.
    fn package(&self, name: &str, version: &str, more: &[&str]) -> PathBuf {
        if !self.folder.join(name).exists() {
            self.run(&["create", name]).succeeded();
        }
        self.run(&[&["package", name, "--version", version, "--app-version", "1.10"], more].concat()).succeeded();
        self.folder.join(format!("{name}-{version}.tgz"))
    }

    /// A key to sign with, in the form that Helm reads; gives the ring of public and that of secret keys.
    fn signing_keys(&self) -> (String, String) {
        std::fs::create_dir_all(self.keys()).unwrap();
        let (public, secret) = (self.home.path().join("public.gpg"), self.home.path().join("secret.gpg"));
        let line = format!(
            "chmod 700 \"$GNUPGHOME\"; gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key '{SIGNER}' rsa2048 sign never; \
             gpg --batch --quiet --export > {}; gpg --batch --quiet --pinentry-mode loopback --passphrase '' --export-secret-keys > {}; gpgconf --kill all",
            public.display(),
            secret.display()
        );
        let mut command = self.home.command("bash", &self.folder);
        command.env("GNUPGHOME", self.keys()).args(["-euo", "pipefail", "-c", &line]);
        process::run(command, PATIENCE).succeeded();
        (public.display().to_string(), secret.display().to_string())
    }

    /// What `helm cm-push` sends: a form in chunks, with the whole path of the file as its name.
    fn cm_push(&self, api: &str, file: &Path) -> Output {
        let form = format!("chart=@{0};filename={0}", file.display());
        let mut command = self.home.command("curl", &self.folder);
        command.args(["--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--user", &format!("admin:{ADMIN_PASSWORD}")]);
        command.args(["--header", "Transfer-Encoding: chunked", "--form", &form, api]);
        process::run(command, PATIENCE)
    }

    /// Adds a repository under a name.
    pub(crate) fn add(&self, name: &str, url: &str) {
        self.run(&["repo", "add", name, url]).succeeded();
    }

    /// The charts that a search finds, with their newest versions.
    pub(crate) fn search(&self, text: &str) -> Vec<(String, String)> {
        let found = self.run(&["search", "repo", text, "--versions", "--devel", "--output", "json"]).succeeded().json();
        let text = |item: &serde_json::Value, key: &str| item[key].as_str().unwrap().to_owned();
        found.as_array().unwrap().iter().map(|item| (text(item, "name"), text(item, "version"))).collect()
    }

    /// A new folder to pull into.
    fn target(&self, name: &str) -> PathBuf {
        let folder = self.home.path().join("pulled").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}

/// A server with a hosted repository, and a proxy and a group in front of the hosted one of another server.
fn pair() -> (TestServer, TestServer) {
    let origin = TestServer::start();
    let upstream = format!("url = {:?}, mutable_ttl = 0", origin.url("/main/helm"));
    let server = TestServer::builder().config(three_repositories("helm", &upstream)).start();
    (origin, server)
}

#[track_caller]
fn same(one: &Path, other: &Path) {
    let read = |path: &Path| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(read(one) == read(other), "{} and {} differ", one.display(), other.display());
}
