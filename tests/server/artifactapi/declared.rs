//! The file: how it is named, that `check` covers it, and that a changed one is taken over while the server runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use http::StatusCode;
use tempfile::TempDir;

use crate::operations::until;
use crate::support::{TestServer, process};
use crate::upstream::{Reply, ScriptedUpstream};

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    // As editors and Kubernetes do: never half of it.
    std::fs::write(folder.join("new"), text).unwrap();
    std::fs::rename(folder.join("new"), &file).unwrap();
    file
}

fn check(arguments: &[&str], environment: &[(&str, &Path)], folder: &Path) -> process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entrepot"));
    process::clean(&mut command);
    command.arg("check").args(arguments).current_dir(folder);
    command.envs(environment.iter().copied());
    process::run(command, std::time::Duration::from_secs(60))
}

#[test]
fn the_file_is_named_by_the_configuration_a_flag_or_the_environment() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    write(&folder.path().join("etc"), "remotes.yaml", "remotes:\n  one:\n    base_url: https://a.example\n");
    write(&folder.path().join("etc"), "config.toml", "repository = []\n[artifactapi]\nremotes = \"remotes.yaml\"\n");
    let two = write(folder.path(), "two.toml", "[remotes.one]\ntype = \"local\"\n[remotes.two]\nbase_url = \"https://a.example\"\n");
    let declares = |output: process::Output, count: &str| {
        let output = output.succeeded();
        assert!(output.stdout.contains(&format!("declares 1 system and {count}")), "{}", output.stdout);
    };
    let config = ["--config", "etc/config.toml"];
    declares(check(&config, &[], folder.path()), "1 repository");
    declares(check(&[&config[..], &["--remotes", "two.toml"]].concat(), &[], folder.path()), "2 repositories");
    declares(check(&config, &[("ENTREPOT_REMOTES", &two)], folder.path()), "2 repositories");
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let folder = TempDir::new().unwrap();
    let file =
        write(folder.path(), "remotes.yaml", "remotes:\n  one:\n    base_url: https://a.example\n    immutable_patterns:\n      - \"[\"\n    colour: red\n");
    let output = check(&["--remotes", &file.display().to_string()], &[], folder.path());
    assert!(!output.status.success());
    let at = |line: u32, text: &str| output.stderr.contains(&format!("remotes.yaml:{line}: {text}"));
    assert!(at(5, "remotes.one.immutable_patterns: \"[\" is no regular expression") && at(6, "unknown name \"colour\" in remotes.one"), "{}", output.stderr);
    let output = check(&["--remotes", "nowhere.yaml"], &[], folder.path());
    assert!(output.stderr.contains("artifactapi.remotes: cannot read nowhere.yaml"), "{}", output.stderr);
    write(folder.path(), "system.yaml", "remotes:\n  main:\n    base_url: https://a.example\n");
    assert!(check(&["--remotes", "system.yaml"], &[], folder.path()).stderr.contains("system.yaml:2: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_taken_over_without_a_restart() {
    let (folder, upstream) = (TempDir::new().unwrap(), ScriptedUpstream::start().await);
    upstream.answer("/a", Reply::bytes("bytes"));
    let remote = |name: &str, lines: &str| format!("  {name}:\n    base_url: {}\n{lines}", upstream.url());
    let file = write(folder.path(), "remotes.yaml", &format!("remotes:\n{}", remote("one", "")));
    let server = TestServer::builder().config(format!("[artifactapi]\nremotes = {:?}\n", file.display().to_string())).start();
    let status = async |path: &str| reqwest::get(server.url(path)).await.unwrap().status();
    assert_eq!((status("/api/one/a").await, status("/api/two/a").await), (StatusCode::OK, StatusCode::UNAUTHORIZED));
    let repository = server.admin().get("/api/v1/repositories/main/one").await.succeeded().json();
    assert_eq!((repository["declared"].as_bool(), repository["tags"]["visibility"].as_str()), (Some(true), Some("public")), "{repository}");

    write(folder.path(), "remotes.yaml", &format!("remotes:\n{}{}", remote("one", "    immutable_patterns: ['^b']\n"), remote("two", "")));
    until("the second remote is there", async || status("/api/two/a").await == StatusCode::OK).await;
    until("the first has patterns", async || status("/api/one/a").await == StatusCode::FORBIDDEN).await;

    write(folder.path(), "remotes.yaml", "remotes:\n  one:\n    colour: red\n");
    until("the broken file is noticed", async || server.log_lines(&["ERROR", "remotes.yaml:3: unknown name", "still counts"]) > 0).await;
    assert_eq!((status("/api/two/a").await, status("/api/one/a").await), (StatusCode::OK, StatusCode::FORBIDDEN), "what it said before still counts");

    write(folder.path(), "remotes.yaml", &format!("remotes:\n{}{}", remote("one", ""), remote("two", "")));
    until("the good one is taken", async || status("/api/one/a").await == StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_keeps_the_server_from_starting() {
    let folder = TempDir::new().unwrap();
    let file = write(folder.path(), "remotes.yaml", "remotes:\n  one: {}\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_entrepot"));
    process::clean(&mut command);
    command.args(["serve", "--listen", "127.0.0.1:0", "--remotes"]).arg(&file).current_dir(folder.path());
    let output = tokio::task::spawn_blocking(move || process::run(command, std::time::Duration::from_secs(60))).await.unwrap();
    assert!(!output.status.success() && output.stderr.contains("remotes.yaml:2: remotes.one has no base_url"), "{}", output.stderr);
}
