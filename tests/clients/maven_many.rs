//! An artifact that grows: its last versions cost what its first did, in what the server writes.
#![cfg(test)]

use entrepot_format_maven::metadata::Metadata;
use entrepot_format_maven::testing::{checksum, jar, path, pom};
use entrepot_kit::Algorithm;

use crate::support::TestServer;

/// Versions of the artifact, and how many of them are looked at together.
const VERSIONS: usize = 500;
const WINDOW: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn maven_the_last_version_of_an_artifact_costs_what_the_tenth_did() {
    let server = TestServer::start();
    let api = server.with_token(&super::token(&server).await);
    let mut marks = Vec::new();
    let mut versions = Vec::new();
    for number in 0..VERSIONS {
        if [10, 10 + WINDOW, VERSIONS - WINDOW].contains(&number) {
            marks.push(server.written());
        }
        let version = format!("1.{number}");
        let file = jar(&[("filling.txt", version.as_bytes())]);
        let pom = pom("com.acme", "grows", &version, "jar").into_bytes();
        for (ending, bytes) in [(".jar", file), (".pom", pom)] {
            let path = format!("/main/maven/{}", path("com.acme", "grows", &version, ending));
            let sum = checksum(&bytes, Algorithm::Sha1);
            api.put(&path, bytes).await.succeeded();
            api.put(&format!("{path}.sha1"), sum).await.succeeded();
        }
        // What the client sends after it grows by itself; what the server makes of that does not.
        versions.push(version);
        let own = Metadata { group: String::from("com.acme"), artifact: String::from("grows"), versions: versions.clone(), ..Metadata::default() };
        api.put("/main/maven/com/acme/grows/maven-metadata.xml", own.render()).await.succeeded();
    }
    let (first, last) = (marks[1] - marks[0], server.written() - marks[2]);
    println!("{WINDOW} versions from the tenth on wrote {first} bytes, the last {WINDOW} of {VERSIONS} wrote {last}");
    assert!(last * 2 <= first * 3, "{WINDOW} versions from the tenth on wrote {first} bytes, the last {WINDOW} of {VERSIONS} wrote {last}");
    let shown = api.get("/main/maven/com/acme/grows/maven-metadata.xml").await.succeeded();
    assert_eq!(Metadata::parse(&shown.body).unwrap().versions.len(), VERSIONS);
}
