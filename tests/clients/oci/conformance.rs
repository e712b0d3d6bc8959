//! The conformance suite of the distribution specification, whole.
#![cfg(test)]
#![expect(clippy::string_slice, reason = "a test may cut texts that it made itself")]

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Site, had_no_errors, start};
use crate::support::clients::Home;
use crate::support::images::go_client;
use crate::support::process;

/// How long one run may take: nine hundred tests on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);
/// What the suite leaves out by itself, in every version: images some of whose layers are missing. The issue wants them refused.
const SPARSE: &str = "Sparse Manifests";

/// What a run of the suite found.
#[derive(Debug, Default)]
struct Report {
    /// The tests by their status, each with what it said.
    tests: BTreeMap<String, Vec<String>>,
    /// What each group of requests and each kind of data came to.
    groups: BTreeMap<String, String>,
    printed: String,
    succeeded: bool,
}

impl Report {
    fn count(&self, status: &str) -> usize {
        self.tests.get(status).map_or(0, Vec::len)
    }

    /// Groups that came to this.
    fn groups_that(&self, status: &str) -> Vec<&str> {
        self.groups.iter().filter(|(_, found)| *found == status).map(|(name, _)| name.as_str()).collect()
    }
}

/// What stands between two texts.
fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let from = line.find(before)? + before.len();
    Some(&line[from..from + line[from..].find(after)?])
}

/// Runs the suite as this version of the specification has it.
fn run(site: &Site, version: &str) -> Report {
    let home = Home::new();
    let results = home.path().join("results");
    let mut command = home.command(go_client("conformance"), home.path());
    command.env("OCI_REGISTRY", &site.host).env("OCI_TLS", "disabled").env("OCI_VERSION", version).env("OCI_RESULTS_DIR", &results);
    command.env("OCI_REPO1", "team/secret/conformance/one").env("OCI_REPO2", "team/secret/conformance/two");
    command.env("OCI_USERNAME", site.user).env("OCI_PASSWORD", &site.password);
    let output = process::run(command, PATIENCE);
    let read = |name: &str| std::fs::read_to_string(results.join(name)).unwrap_or_else(|error| panic!("{name}: {error}: {output}"));
    let mut report = Report { succeeded: output.status.success(), printed: output.text(), ..Report::default() };
    // That report calls skipped what the version leaves out: the other one knows both words.
    let is_disabled = |name: &str| output.stdout.contains(&format!(" OCI Conformance Test/{name}: Disabled\n"));
    for test in read("junit.xml").split("<testcase ").skip(1) {
        let name = between(test, "name=\"", "\"").unwrap().trim_start_matches("OCI Conformance Test/").to_owned();
        let status = between(test, "status=\"", "\"").unwrap();
        let status = if status == "skipped" && is_disabled(&name) { "disabled" } else { status }.to_owned();
        let said = between(test, "<system-out>", "</system-out>").unwrap_or_default();
        report.tests.entry(status).or_default().push(format!("{name}: {said}"));
    }
    let yaml = read("results.yaml");
    let (_, groups) = yaml.split_once("\napis:\n").unwrap_or_else(|| panic!("no results in\n{yaml}"));
    report.groups = groups.lines().filter_map(|line| line.trim().split_once(": ")).map(|(name, status)| (name.to_owned(), status.to_owned())).collect();
    report
}

/// Passes it whole: nothing fails, and nothing is left out but what the version itself leaves out.
fn passes(version: &str, left_out: &[&str]) {
    let server = start();
    let report = run(&Site::of(&server), version);
    println!(
        "conformance {version}: {} passed, {} skipped, {} failed, {} broken; left out: {:?}",
        report.count("passed"),
        report.count("skipped"),
        report.count("failure"),
        report.count("error"),
        report.groups_that("Disabled"),
    );
    for status in ["failure", "error", "skipped"] {
        assert_eq!(report.tests.get(status), None, "{version}: {status}, of {} tests\n{}", report.count("passed"), report.printed);
    }
    assert!(report.succeeded, "{}", report.printed);
    assert!(report.count("passed") > 600, "only {} tests ran\n{}", report.count("passed"), report.printed);
    assert_eq!(report.groups_that("Disabled"), left_out, "{version}");
    assert_eq!(report.groups_that("Pass").len() + left_out.len(), report.groups.len(), "{:?}", report.groups);
    had_no_errors(&server);
}

#[test]
fn specification_1_1() {
    passes("1.1", &["Blob upload cancel", "Manifest put with tag params", SPARSE, "Tag Param", "Tag Param sha512"]);
}

/// With cancelled uploads, digests in headers and tags as parameters.
#[test]
fn specification_of_today() {
    passes("dev", &[SPARSE]);
}
