//! Maven 3.8, the newest 3 and the newest 4, Gradle and Ivy: deploying, resolving, and how they order versions.
#![cfg(test)]

mod builds;
mod deploys;
mod gradle;
mod ivy;
mod versions;

use std::path::PathBuf;

use crate::support::clients::Home;
use crate::support::maven::{default_repository, release, settings, write};
use crate::support::{self, TestServer};

/// A hosted, a proxy and a group repository of Maven.
fn three_repositories(upstream: &str) -> String {
    support::three_repositories("maven", &format!("url = {upstream:?}, mutable_ttl = 86400, negative_ttl = 86400"))
}

fn repositories() -> String {
    three_repositories(&default_repository())
}

/// A `settings.xml` of a client that comes to a server by this URL.
async fn settings_file(server: &TestServer, home: &Home, url: &str) -> PathBuf {
    let file = home.path().join("settings.xml");
    write(&file, &settings(url, &crate::token(server).await));
    file
}

/// Deploys the release of the fixtures' project, which a real Maven built.
async fn deploy_release(server: &TestServer) {
    let release = release();
    assert!(release.iter().any(|(name, _)| name.ends_with("/lib-1.0.jar")), "tests/run builds it");
    let admin = server.admin();
    for (name, bytes) in release {
        admin.put(&format!("/main/maven/{name}"), bytes).await.is(201);
    }
}
