//! The page about RPM packages: its commands, in their order, as they are printed there.
#![cfg(test)]

use std::path::Path;

use super::{Machine, Workshop, file_name};
use crate::support::TestServer;
use crate::support::process;

/// Programs whose lines on the page are run.
const RUN: [&str; 3] = ["curl ", "dnf ", "zypper "];

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients/rpm.md")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_page_says_what_works() {
    let (workshop, server, machine) = (Workshop::new(), TestServer::start(), Machine::new());
    let token = crate::token(&server).await;
    let folder = workshop.home.path().join("here");
    std::fs::create_dir(&folder).unwrap();
    let package = workshop.plain("tool", "1.0");
    std::fs::copy(&package, folder.join(file_name(&package))).unwrap();
    std::fs::copy(&workshop.key, folder.join("RPM-GPG-KEY-acme")).unwrap();
    std::fs::write(folder.join("updateinfo.xml"), "<updates></updates>").unwrap();
    std::fs::write(folder.join("comps.xml"), "<comps></comps>").unwrap();
    let page = page();
    let lines: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| RUN.iter().any(|program| line.starts_with(program))).collect();
    assert!(lines.len() >= 12, "{lines:?}");
    let place = |name: &str| machine.home.path().join(name).display().to_string();
    for line in lines {
        let mut run = line.replace("SERVER", &server.url("")).replace("TOKEN", &token).replace("/etc/yum.repos.d", &place("repos.d"));
        if let Some(rest) = run.strip_prefix("dnf ") {
            let fixed: Vec<String> = machine.dnf_command().get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
            run = format!("dnf {} {rest}", fixed.join(" "));
        } else if let Some(rest) = run.strip_prefix("zypper ") {
            run = format!("zypper --root {} --non-interactive --gpg-auto-import-keys {rest}", place("zypper-root"));
        }
        let mut shell = machine.home.command("bash", &folder);
        shell.env("no_proxy", "*").args(["-euo", "pipefail", "-c", &run]);
        process::run(shell, super::PATIENCE).succeeded();
    }
    assert!(machine.root("usr/bin/tool").exists());
}

/// The settings of the page are taken by the server.
#[test]
fn rpm_page_shows_settings_that_are_taken() {
    let page = page();
    let mut config = String::new();
    let mut inside = false;
    for line in page.lines() {
        inside = line == "    [[repository]]" || (inside && (line.starts_with("    ") || line.is_empty()));
        if inside {
            config.push_str(line.trim());
            config.push('\n');
        }
    }
    assert_eq!(config.matches("[[repository]]").count(), 4, "{config}");
    TestServer::builder().config(config).start();
}
