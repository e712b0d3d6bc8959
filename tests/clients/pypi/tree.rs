//! A real tree of packages through a proxy and a group, with the upstream and without it.
#![cfg(test)]

use std::path::Path;

use super::downloads;
use crate::support::clients::Home;
use crate::support::process::Output;
use crate::support::python::machine_index;
use crate::support::{TestServer, three_repositories};

/// A port that nobody listens at.
const NOWHERE: &str = "http://127.0.0.1:1/simple/";
/// What is installed: tools with many dependencies.
const WANTED: [&str; 3] = ["poetry==2.1.3", "twine==6.1.0", "hatch==1.14.1"];
/// Packages that these come to, at least.
const LEAST: usize = 40;

/// A hosted, a proxy and a group repository. Where this machine's index and its files are is the machine's business.
fn config(upstream: &str) -> String {
    three_repositories("pypi", &format!("url = {upstream:?}, mutable_ttl = 0, allow_private = true"))
}

fn pip(home: &Home, environment: &Path, index: &str, what: &[&str]) -> Output {
    home.pip(environment, &[&["install", "--quiet", "--only-binary", ":all:", "--index-url", index][..], what].concat())
}

fn uv(home: &Home, environment: &Path, index: &str, what: &[&str]) -> Output {
    let into = environment.join("bin/python").display().to_string();
    home.uv(home.path(), &[&["pip", "install", "--quiet", "--only-binary", ":all:", "--python", &into, "--default-index", index][..], what].concat())
}

/// What an environment has, a line each.
fn installed(home: &Home, environment: &Path) -> Vec<String> {
    let into = environment.join("bin/python").display().to_string();
    let frozen = home.uv(home.path(), &["pip", "freeze", "--python", &into]).succeeded().stdout;
    frozen.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pypi_a_tree_comes_through_a_group_with_and_without_its_upstream() {
    let mut server = TestServer::builder().config(config(&machine_index())).start();
    let index = server.url("/main/pypi-all/simple/");
    let first = Home::new();
    let environment = first.environment("pip");
    pip(&first, &environment, &index, &WANTED).succeeded();
    let tree = installed(&first, &environment);
    assert!(tree.len() >= LEAST, "{} packages: {tree:?}", tree.len());
    let (whole, metadata) = downloads(&server);
    assert!(metadata >= tree.len() && whole <= tree.len() + 2, "{whole} files and {metadata} pieces of metadata for {} packages", tree.len());
    let with_uv = first.environment("uv");
    uv(&first, &with_uv, &index, &WANTED).succeeded();

    server.reconfigure(&config(NOWHERE));
    let index = server.url("/main/pypi-all/simple/");
    let second = Home::new();
    let environment = second.environment("pip");
    pip(&second, &environment, &index, &tree.iter().map(String::as_str).collect::<Vec<_>>()).succeeded();
    assert_eq!(installed(&second, &environment), tree, "the same without the upstream");
    let environment = second.environment("uv");
    uv(&second, &environment, &index, &WANTED).succeeded();
    assert_eq!(installed(&second, &environment), installed(&first, &with_uv));
    // pip waits as long as it is told before it asks again.
    let missing = pip(&second, &second.environment("missing"), &index, &["--retries", "0", "a-name-that-nobody-asked-for-before"]).failed();
    assert!(missing.text().contains("503") || missing.text().contains("Could not find"), "{missing}");
    assert_eq!(server.log_lines(&["status=500"]), 0, "{}", server.log());
}
