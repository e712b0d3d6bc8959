//! Every tool installs, from a hosted repository, a proxy of it and a group over that: with extras, hashes, yanked releases, releases for
//! other Pythons, and from source.
#![cfg(test)]

use std::path::Path;

use serde_json::json;

use super::Site;
use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::python::Project;

/// What an environment has: the versions of these packages, `-` for what is not there.
fn versions(home: &Home, environment: &Path, names: &[&str]) -> String {
    let script = format!(
        "import importlib.metadata as m\ndef v(n):\n    try: return m.version(n)\n    except m.PackageNotFoundError: return '-'\nprint(*map(v, {names:?}))"
    );
    home.run_in(environment, &script).succeeded().stdout.trim().to_owned()
}

/// A repository with what installers must choose from.
async fn stock(server: &TestServer, home: &Home) -> Site {
    let site = Site::of(server).await;
    let publish = |name: &str, version: &str, lines: &str| {
        let folder = home.built(&Project { name, version, lines });
        site.uv(home, &folder, &[]).succeeded();
    };
    publish("acme-base", "1.0", "requires-python = \">=3.8\"");
    publish("acme-base", "1.1", "requires-python = \">=3.8\"");
    publish("acme-base", "1.2", "requires-python = \">=3.8\"");
    publish("acme-base", "2.0", "requires-python = \">=99\"");
    publish("acme-base", "3.0rc1", "requires-python = \">=3.8\"");
    publish("acme-more", "1.0", "");
    publish("acme-app", "1.0", "dependencies = [\"acme-base\"]\nrequires-python = \">=3.8\"\n[project.optional-dependencies]\nmore = [\"acme-more>=1\"]");
    let source = home.built(&Project { name: "acme-source", version: "1.0", lines: "dependencies = [\"acme-base\"]\nrequires-python = \">=3.8\"" });
    site.twine(home, &source, &["dist/acme_source-1.0.tar.gz"]).succeeded();
    site.publish_backend(home);
    let yank = json!({"reason": "it breaks everything"});
    server.with_token(&site.token).json(http::Method::POST, "/main/pypi/manage/acme-base/1.2/yank", &yank).await.succeeded();
    site
}

const NAMES: [&str; 4] = ["acme-app", "acme-base", "acme-more", "acme-source"];
/// The newest of all that is final, not yanked, and for this Python.
const WANTED: &str = "1.0 1.1 1.0 1.0";

/// A server with a proxy of a repository, and a group over the proxy and a repository with nothing in it.
fn another(upstream: &str) -> TestServer {
    let upstream = format!("upstream = {{ url = {upstream:?}, allow_private = true }}");
    let repository = |name: &str, rest: &str| format!("[[repository]]\nname = {name:?}\nformat = \"pypi\"\ntags = {{ visibility = \"public\" }}\n{rest}\n");
    let config = [
        repository("pypi", ""),
        repository("pypi-remote", &format!("kind = \"proxy\"\n{upstream}")),
        repository("pypi-all", "kind = \"group\"\nmembers = [\"main/pypi\", \"main/pypi-remote\"]"),
    ];
    TestServer::builder().config(config.concat()).start()
}

/// Lets tools install from all three kinds of repositories.
async fn from_everywhere(install: fn(&Home, &str)) {
    let (server, home) = (TestServer::start(), Home::new());
    let site = stock(&server, &home).await;
    let other = another(&site.index());
    for index in [site.index(), other.url("/main/pypi-remote/simple/"), other.url("/main/pypi-all/simple/")] {
        install(&Home::new(), &index);
    }
    for server in [&server, &other] {
        assert_eq!(server.log_lines(&["status=5"]), 0, "{}", server.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pypi_pip_and_uv_install() {
    from_everywhere(pip_and_uv).await;
}

fn pip_and_uv(home: &Home, index: &str) {
    let environment = home.environment("pip");
    home.pip(&environment, &["install", "--quiet", "--index-url", index, "acme-app[more]", "acme-source"]).succeeded();
    assert_eq!(versions(home, &environment, &NAMES), WANTED);
    let yanked = home.pip(&environment, &["install", "--index-url", index, "acme-base==1.2"]).succeeded();
    assert!(yanked.text().contains("it breaks everything"), "{yanked}");
    home.pip(&environment, &["install", "--index-url", index, "acme-base==2.0"]).failed();
    home.pip(&home.environment("binary"), &["install", "--index-url", index, "--only-binary", ":all:", "acme-app"]).succeeded();
    home.pip(&home.environment("binary-source"), &["install", "--index-url", index, "--only-binary", ":all:", "acme-source"]).failed();

    let environment = home.environment("uv");
    let into = environment.join("bin/python").display().to_string();
    let uv = |arguments: &[&str]| home.uv(home.path(), &[&["pip", "install", "--python", &into, "--default-index", index][..], arguments].concat());
    uv(&["acme-app[more]", "acme-source"]).succeeded();
    assert_eq!(versions(home, &environment, &NAMES), WANTED);
    let yanked = uv(&["acme-base==1.2"]).succeeded();
    assert!(yanked.text().contains("it breaks everything"), "{yanked}");
    uv(&["acme-base==2.0"]).failed();
    uv(&["--only-binary", ":all:", "--reinstall", "acme-app"]).succeeded();

    // Hashes as another tool wrote them down, and one that is wrong.
    std::fs::write(home.path().join("in.txt"), "acme-app[more]\nacme-source\n").unwrap();
    let locked =
        home.uv(home.path(), &["pip", "compile", "--quiet", "--generate-hashes", "--default-index", index, "--no-header", "in.txt"]).succeeded().stdout;
    assert!(locked.matches("sha256:").count() >= 7, "{locked}");
    let hashed = home.path().join("hashed.txt").display().to_string();
    // pip holds what it builds with against hashes too, and those are not in the file.
    let pip = |environment: &str| {
        let environment = home.environment(environment);
        home.pip(&environment, &["install", "--quiet", "--index-url", index, "flit_core"]).succeeded();
        (home.pip(&environment, &["install", "--quiet", "--require-hashes", "--no-build-isolation", "--index-url", index, "-r", &hashed]), environment)
    };
    std::fs::write(&hashed, &locked).unwrap();
    let (outcome, environment) = pip("hashes");
    outcome.succeeded();
    assert_eq!(versions(home, &environment, &NAMES), WANTED);
    uv(&["--reinstall", "--require-hashes", "-r", &hashed]).succeeded();
    let wrong: String = locked.lines().map(|line| if line.contains("sha256:") { flip(line) } else { line.to_owned() } + "\n").collect();
    std::fs::write(&hashed, wrong).unwrap();
    pip("wrong-hashes").0.failed();
    uv(&["--reinstall", "--no-cache", "--require-hashes", "-r", &hashed]).failed();
}

/// A line with another hash.
fn flip(line: &str) -> String {
    let (before, hash) = line.split_once("sha256:").unwrap();
    let other = if hash.starts_with('0') { '1' } else { '0' };
    format!("{before}sha256:{other}{}", hash.chars().skip(1).collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn pypi_poetry_and_pdm_install() {
    from_everywhere(projects).await;
}

fn projects(home: &Home, index: &str) {
    let table = "[project]\nname = \"mine\"\nversion = \"1.0\"\nrequires-python = \">=3.10,<4\"\ndependencies = [\"acme-app[more]\", \"acme-source\"]\n";

    let poetry = home.project("poetry");
    std::fs::write(
        poetry.join("pyproject.toml"),
        format!("{table}\n[tool.poetry]\npackage-mode = false\n\n[[tool.poetry.source]]\nname = \"ours\"\nurl = {index:?}\npriority = \"primary\"\n"),
    )
    .unwrap();
    home.poetry(&poetry, &["install", "--no-interaction"]).succeeded();
    assert_eq!(versions(home, &poetry.join(".venv"), &NAMES), WANTED);
    let lock = std::fs::read_to_string(poetry.join("poetry.lock")).unwrap();
    assert!(lock.contains("sha256:") && lock.contains(&index.trim_end_matches('/').to_owned()), "{lock}");

    let pdm = home.project("pdm");
    std::fs::write(
        pdm.join("pyproject.toml"),
        format!("{table}\n[tool.pdm]\ndistribution = false\n\n[[tool.pdm.source]]\nname = \"pypi\"\nurl = {index:?}\nverify_ssl = false\n"),
    )
    .unwrap();
    home.pdm(&pdm, &["install"]).succeeded();
    assert_eq!(versions(home, &pdm.join(".venv"), &NAMES), WANTED);

    let uv = home.project("uv");
    std::fs::write(uv.join("pyproject.toml"), format!("{table}\n[[tool.uv.index]]\nname = \"ours\"\nurl = {index:?}\ndefault = true\n")).unwrap();
    let mut sync = home.python_command("python", "uv", &uv);
    sync.env_remove("UV_NO_CONFIG").args(["sync"]);
    crate::support::process::run(sync, crate::support::clients::PATIENCE).succeeded();
    assert_eq!(versions(home, &uv.join(".venv"), &NAMES), WANTED);
}
