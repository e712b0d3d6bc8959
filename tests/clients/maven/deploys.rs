//! A project of several modules is deployed, deployed again, and built upon.

use std::path::Path;

use entrepot_format_maven::metadata::Metadata;

use super::{repositories, settings_file};
use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::forwarder::Forwarder;
use crate::support::maven::write;

const RELEASE: &str = "1.0";
const SNAPSHOT: &str = "2.0-SNAPSHOT";

/// A release and a snapshot of a project of the fixtures, in one build.
fn both(home: &Home, fixture: &str, server: &str) -> std::path::PathBuf {
    let folder = home.maven_project("both", fixture, "", server);
    for (place, version) in [("release", RELEASE), ("snapshot", SNAPSHOT)] {
        home.maven_project(fixture, &format!("{fixture}/{place}"), version, server);
    }
    folder
}

/// A snapshot and a release are deployed while an answer is lost, deployed once more, and resolved; other bytes are refused, and the client says why.
async fn deploys_and_builds_upon(client: &str) {
    let server = TestServer::builder().config(repositories()).start();
    let home = Home::new();
    let forwarder = Forwarder::start(server.address());
    let settings = settings_file(&server, &home, &forwarder.url()).await;
    let mvn = |folder: &Path, local: &str, arguments: &[&str]| home.mvn(client, folder, &settings, local, arguments);
    home.with_plugins("m2");

    // What the client makes of a lost answer is its own affair: whether it asks again or fails, all is well the next time.
    let project = both(&home, "project", &forwarder.url());
    forwarder.lose("/com/acme/lib/1.0/lib-1.0.jar");
    let first = mvn(&project, "m2", &["deploy"]);
    println!("{client}: the deployment whose answer was lost {}", if first.status.success() { "succeeded" } else { "failed" });
    mvn(&project, "m2", &["deploy"]).succeeded();
    let refused: Vec<_> = forwarder.passed().into_iter().filter(|passed| passed.method == "PUT" && passed.status >= 400 && passed.status != 401).collect();
    assert!(refused.is_empty(), "{refused:?}");

    let api = server.anonymous();
    for (artifact, endings) in
        [("parent", &[".pom"][..]), ("bom", &[".pom"]), ("acme-maven-plugin", &[".pom", ".jar"]), ("lib", &[".pom", ".jar", "-sources.jar", "-javadoc.jar"])]
    {
        let versions = api.get(&format!("/main/maven-all/com/acme/{artifact}/maven-metadata.xml")).await.succeeded();
        assert_eq!(Metadata::parse(&versions.body).unwrap().versions, [RELEASE, SNAPSHOT], "{artifact}");
        for ending in endings {
            api.get(&format!("/main/maven/com/acme/{artifact}/1.0/{artifact}-1.0{ending}")).await.succeeded();
            api.get(&format!("/main/maven/com/acme/{artifact}/{SNAPSHOT}/{artifact}-{SNAPSHOT}{ending}")).await.succeeded();
        }
    }

    // With a local repository that has nothing of ours: by the bill of materials, and the plugins by their prefix and by their version.
    home.with_plugins("consumer-m2");
    let consumer = both(&home, "consumer", &forwarder.url());
    let greeting = format!("com.acme:acme-maven-plugin:{SNAPSHOT}:greet");
    let built = mvn(&consumer, "consumer-m2", &["package", "acme:greet", &greeting]).succeeded();
    for version in [RELEASE, SNAPSHOT] {
        assert!(built.text().contains(&format!("greetings from {version}")), "{built}");
    }

    // The snapshot comes first and is taken; the release has other bytes now.
    write(&project.join("release/lib/src/main/java/com/acme/More.java"), "package com.acme;\n\n/** More. */\npublic interface More {}\n");
    let refused = mvn(&project, "m2", &["deploy", "-Dmaven.javadoc.skip"]).failed();
    assert!(refused.text().contains("409"), "{refused}");
    // The transport of 4 shows neither the line with the status nor the body of an answer to a PUT.
    assert!(client == "maven4" || refused.text().contains("exists with other bytes and is not replaced"), "{refused}");
    let builds = api.get(&format!("/main/maven/com/acme/lib/{SNAPSHOT}/maven-metadata.xml")).await.succeeded();
    assert_eq!(Metadata::parse(&builds.body).unwrap().snapshot.map(|(_, number)| number), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn maven_3_8_deploys_and_builds_upon_it() {
    deploys_and_builds_upon("mvn").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maven_3_9_deploys_and_builds_upon_it() {
    deploys_and_builds_upon("maven3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maven_4_deploys_and_builds_upon_it() {
    deploys_and_builds_upon("maven4").await;
}
