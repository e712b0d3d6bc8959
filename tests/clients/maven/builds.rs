//! An application with many artifacts of others is built through a proxy, once more without its upstream, and from a group.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{repositories, three_repositories};
use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::forwarder::{Forwarder, Passed};
use crate::support::maven::{MAVENS, settings, write};
use crate::support::process;

/// Fewest artifacts that the application is made of.
const FEWEST: usize = 60;

/// Builds the application with an empty local repository, every Maven beside the others, each through a forwarder of its own; gives what they asked for.
fn build(server: &str, home: &Home, repository: &str, without: &str) -> Vec<Vec<Passed>> {
    let one = |client: &str| {
        let forwarder = Forwarder::without(server, without);
        let place = format!("{client}-{repository}-{}", without.len());
        let folder = home.maven_project("application", &place, "", "");
        let settings_file = folder.join("settings.xml");
        write(&settings_file, &settings(&forwarder.url(), "none").replace("/main/maven-all/", &format!("/main/{repository}/")));
        home.mvn(client, &folder, &settings_file, &format!("{place}-m2"), &["package"]).succeeded();
        let artifacts = class_path(&folder.join("target/application-1.jar"));
        assert!(artifacts.len() >= FEWEST, "{client}: {artifacts:?}");
        println!("{client} built the application of {} artifacts from {repository}", artifacts.len());
        forwarder.passed()
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = MAVENS.iter().map(|client| scope.spawn(|| one(client))).collect();
        running.into_iter().map(|running| running.join().expect("it is built")).collect()
    })
}

/// The jars that the manifest of a jar names.
fn class_path(jar: &Path) -> BTreeSet<String> {
    let mut command = Command::new("unzip");
    command.arg("-p").arg(jar).arg("META-INF/MANIFEST.MF");
    let manifest = process::run(command, Duration::from_secs(60)).succeeded().stdout.replace("\r\n", "\n").replace("\n ", "");
    let line = manifest.lines().find_map(|line| line.strip_prefix("Class-Path: ")).expect("a class path");
    line.split(' ').map(str::to_owned).collect()
}

/// How many files were asked for that are there, and how many checksums of files.
fn counts(passed: &[Passed]) -> (usize, usize) {
    let found = passed.iter().filter(|passed| passed.method == "GET" && passed.status == 200);
    let checksums = found.clone().filter(|passed| [".md5", ".sha1", ".sha256", ".sha512"].iter().any(|ending| passed.target.ends_with(ending))).count();
    (found.count() - checksums, checksums)
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_outlive_the_upstream_of_their_artifacts_and_need_half_the_requests() {
    let mut server = TestServer::builder().config(repositories()).start();
    let home = Home::new();
    build(server.address(), &home, "maven-remote", "");
    // The upstream is gone; nothing listens there.
    server.reconfigure(&three_repositories("http://127.0.0.1:9/"));
    let without = build(server.address(), &home, "maven-remote", "x-checksum-");
    let with = build(server.address(), &home, "maven-all", "");
    for ((client, without), with) in MAVENS.into_iter().zip(&without).zip(&with) {
        let (files, checksums) = counts(without);
        let (files_with, checksums_with) = counts(with);
        println!("{client}: {} requests with our X-Checksum headers, {} without them, for {files} files", with.len(), without.len());
        assert_eq!((files, checksums), (files_with, files), "{client} asks for every file and for its checksum");
        // The transport of 3.8 knows nothing of the headers.
        let expected = if client == "mvn" { files } else { 0 };
        assert_eq!(checksums_with, expected, "{client}");
        if client != "mvn" {
            assert!(with.len() * 2 <= without.len() + 4, "{client}: {} and {} requests", with.len(), without.len());
        }
    }
}
