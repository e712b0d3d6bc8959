//! A real tree of packages through a proxy and a group, with the upstream and without it.
#![cfg(test)]
#![expect(clippy::string_slice, reason = "a test may cut texts that it made itself")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::clients::{Home, machine_registry};
use crate::{three_repositories, token};

/// A port that nobody listens at.
const NOWHERE: &str = "http://127.0.0.1:1/";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Npm,
    Pnpm,
    Yarn1,
    Yarn4,
}

const ALL: [Client; 4] = [Client::Npm, Client::Pnpm, Client::Yarn1, Client::Yarn4];

impl Client {
    fn lock_file(self) -> &'static str {
        match self {
            Self::Npm => "package-lock.json",
            Self::Pnpm => "pnpm-lock.yaml",
            Self::Yarn1 | Self::Yarn4 => "yarn.lock",
        }
    }
}

/// A project in a home whose caches are empty.
struct Project {
    home: Home,
    folder: PathBuf,
    client: Client,
}

impl Project {
    /// With a lock file, or without one.
    fn new(client: Client, registry: &str, manifest: &Value, lock: Option<&str>) -> Self {
        let home = Home::new();
        home.npm_registry(registry, None);
        let folder = home.npm_project("tree", manifest);
        if let Some(lock) = lock {
            std::fs::write(folder.join(client.lock_file()), lock).unwrap();
        }
        if client == Client::Yarn4 {
            home.yarn4_registry(&folder, registry, None);
        }
        Self { home, folder, client }
    }

    /// Installs; with a lock file exactly what that says.
    fn install(&self, locked: bool) -> crate::support::process::Output {
        let (home, folder) = (&self.home, &self.folder);
        match (self.client, locked) {
            (Client::Npm, false) => home.npm(folder, &["install"]),
            (Client::Npm, true) => home.npm(folder, &["ci"]),
            (Client::Pnpm, false) => home.pnpm(folder, &["install", "--no-frozen-lockfile"]),
            (Client::Pnpm, true) => home.pnpm(folder, &["install", "--frozen-lockfile"]),
            (Client::Yarn1, false) => home.yarn1(folder, &["install"]),
            (Client::Yarn1, true) => home.yarn1(folder, &["install", "--frozen-lockfile"]),
            (Client::Yarn4, false) => home.yarn4(folder, &["install", "--no-immutable"]),
            (Client::Yarn4, true) => home.yarn4(folder, &["install", "--immutable"]),
        }
    }

    fn lock(&self) -> String {
        std::fs::read_to_string(self.folder.join(self.client.lock_file())).unwrap()
    }

    /// Makes sure that what was installed can be used.
    fn runs(&self, packages: &[&str]) {
        for package in packages {
            self.home.node(&self.folder, &format!("require({package:?})")).succeeded();
        }
    }
}

/// The checksums in a lock file, of whatever client.
fn checksums(lock: &str) -> BTreeSet<String> {
    let checksum = |line: &str| {
        let from = line.find("sha512-").or_else(|| line.find("checksum: "))?;
        let rest = &line[from..];
        Some(rest[..rest.find(['"', '}', ',']).unwrap_or(rest.len())].trim().to_owned())
    };
    lock.lines().filter_map(checksum).collect()
}

/// Installs with all clients at the same time, each in an empty home, and gives the lock files.
fn install_all(registry: &str, manifest: &Value, locks: Option<&[String]>, packages: &[&str]) -> Vec<String> {
    std::thread::scope(|scope| {
        let runs: Vec<_> = ALL
            .iter()
            .enumerate()
            .map(|(index, client)| {
                let lock = locks.map(|locks| locks[index].as_str());
                scope.spawn(move || {
                    let project = Project::new(*client, registry, manifest, lock);
                    project.install(lock.is_some()).succeeded();
                    project.runs(packages);
                    project.lock()
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

fn tree() -> Value {
    json!({
        "name": "tree", "version": "1.0.0", "private": true, "license": "Apache-2.0",
        "dependencies": { "express": "^4.18.0", "@isaacs/cliui": "^8.0.2", "chalk": "^4.1.2", "semver": "^7.5.0" },
    })
}

const USED: [&str; 4] = ["express", "@isaacs/cliui", "chalk", "semver"];

#[tokio::test(flavor = "multi_thread")]
async fn npm_trees_install_with_and_without_the_upstream() {
    let registry = machine_registry();
    let mut server = TestServer::builder().config(three_repositories(&registry, 300)).start();
    let (proxy, group) = (server.url("/main/npm-remote/"), server.url("/main/npm-all/"));

    let from_proxy = install_all(&proxy, &tree(), None, &USED);
    for (client, lock) in ALL.iter().zip(&from_proxy) {
        let found = checksums(lock).len();
        assert!(found >= 60, "{client:?} installed {found} packages only:\n{lock}");
    }

    let author = Home::new();
    author.npm_registry(&server.url("/main/npm/"), Some(&token(&server).await));
    author.npm(&author.package("@acme/own", "1.0.0"), &["publish"]).succeeded();
    let mut with_own = tree();
    with_own["dependencies"]["@acme/own"] = json!("^1.0.0");
    let used = [&USED[..], &["@acme/own"]].concat();
    let from_group = install_all(&group, &with_own, None, &used);
    for ((client, proxied), grouped) in ALL.iter().zip(&from_proxy).zip(&from_group) {
        let (proxied, grouped) = (checksums(proxied), checksums(grouped));
        assert!(proxied.is_subset(&grouped), "{client:?}: the group gives other packages than the proxy");
        assert_eq!(grouped.len(), proxied.len() + 1, "{client:?}");
    }

    // From here on every answer comes from what was kept, long after its time.
    server.reconfigure(&three_repositories(NOWHERE, 0));
    let without = install_all(&group, &with_own, None, &used);
    for ((client, before), after) in ALL.iter().zip(&from_group).zip(&without) {
        assert_eq!(checksums(before), checksums(after), "{client:?}");
    }
    let locked = install_all(&group, &with_own, Some(&from_group), &used);
    assert_eq!(locked, from_group, "an install by a lock file changes nothing in it");
    install_all(&proxy, &tree(), Some(&from_proxy), &USED);

    let tampered: Vec<String> = from_group.iter().map(|lock| tampered(lock)).collect();
    for (client, lock) in ALL.iter().zip(&tampered) {
        let project = Project::new(*client, &group, &with_own, Some(lock));
        let refused = project.install(true).failed().text();
        assert!(
            ["EINTEGRITY", "TARBALL_INTEGRITY", "Integrity check failed", "YN0018", "integrity"].iter().any(|word| refused.contains(word)),
            "{client:?}: {refused}"
        );
    }
    missing_is_an_error_that_passes(&server, &proxy);
}

/// The lock file with the last digits of its first checksum changed.
fn tampered(lock: &str) -> String {
    let first = lock.lines().find_map(|line| checksums(line).pop_first()).unwrap();
    let cut = first.len() - 8;
    let other = if first.contains("checksum") { "00000000" } else { "AAAAAA==" };
    lock.replace(&first, &format!("{}{other}", &first[..cut]))
}

/// A package that was never fetched is not "not there" while the upstream cannot be reached: npm would remember that.
fn missing_is_an_error_that_passes(server: &TestServer, proxy: &str) {
    let home = Home::new();
    home.npm_registry(proxy, None);
    let refused = home.npm(&home.project("p"), &["view", "left-pad", "--fetch-retries=0"]).failed().text();
    assert!(refused.contains("E503"), "{refused}");
    assert_eq!(server.log_lines(&["ERROR"]), 0, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_installs_the_past() {
    let server = TestServer::start();
    let token = token(&server).await;
    let author = Home::new();
    author.npm_registry(&server.url("/main/npm/"), Some(&token));
    let publish = |name: &str, version: &str, dependencies: Value| {
        let folder = author.npm_project(&format!("{name}-{version}"), &json!({ "name": name, "version": version, "dependencies": dependencies }));
        std::fs::write(folder.join("index.js"), format!("module.exports = {version:?};\n")).unwrap();
        author.npm(&folder, &["publish"]).succeeded();
    };
    publish("leaf", "1.0.0", json!({}));
    publish("trunk", "1.0.0", json!({ "leaf": "^1.0.0" }));
    let revision = server.admin().get("/api/v1/repositories/main/npm").await.succeeded().json()["revision"].as_u64().unwrap();
    assert_eq!(revision, 2);
    publish("leaf", "1.1.0", json!({}));
    publish("trunk", "1.1.0", json!({ "leaf": "^1.1.0" }));
    author.npm(&author.project("p"), &["unpublish", "leaf@1.0.0", "--force"]).succeeded();
    server.admin().delete("/api/v1/repositories/main/npm/packages/trunk").await.succeeded();

    let install = |registry: &str| {
        let home = Home::new();
        home.npm_registry(&server.url(registry), None);
        let project = home.npm_project("old", &json!({ "name": "old", "version": "1.0.0", "dependencies": { "trunk": "*" } }));
        let output = home.npm(&project, &["install"]);
        (home, project, output)
    };
    let (_, _, output) = install("/main/npm/");
    assert!(output.failed().text().contains("E404"));
    for (number, version) in [(revision, "1.0.0"), (4, "1.1.0"), (5, "1.1.0")] {
        let (home, project, output) = install(&format!("/main/npm.at-r{number}/"));
        output.succeeded();
        let script = "console.log(require('trunk/package.json').version, require('leaf'))";
        assert_eq!(home.node(&project, script).succeeded().stdout, format!("{version} {version}\n"), "at revision {number}");
        home.npm(&project, &["ci"]).succeeded();
    }
}
