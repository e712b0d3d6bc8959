//! Pulling through, and groups.

use entrepot_format_maven::metadata::Metadata;
use entrepot_format_maven::testing::{checksum, path, pom};
use entrepot_kit::{Algorithm, Kind};
use http::StatusCode;
use serde_json::{Value, json};

use super::{deploy, filled, house, release};
use crate::house::House;
use crate::raw::{self, Call};
use crate::upstream::{Reply, ScriptedUpstream};

/// A server with a proxy `alpha/mirror`, a hosted `alpha/maven`, a group `alpha/all` of both, and the repository behind the proxy.
struct Mirror {
    house: House,
    upstream: ScriptedUpstream,
}

impl Mirror {
    async fn start(settings: Value) -> Self {
        let (house, upstream) = (house().await, ScriptedUpstream::start().await);
        let mut all = json!({ "url": format!("{}/maven2", upstream.url()), "allow_private": true, "retries": 0 });
        for (name, value) in settings.as_object().expect("settings") {
            all[name] = value.clone();
        }
        house.repository("alpha/mirror", "maven", Kind::Proxy, true, json!({ "upstream": all })).await;
        house.repository("alpha/all", "maven", Kind::Group, true, json!({ "members": ["alpha/maven", "alpha/mirror"] })).await;
        Self { house, upstream }
    }

    async fn get(&self, path: &str) -> raw::Reply {
        self.house.call(Call::get(format!("/alpha/mirror/{path}"))).await
    }

    async fn group(&self, path: &str) -> raw::Reply {
        self.house.call(Call::get(format!("/alpha/all/{path}"))).await
    }

    fn has(&self, path: &str, reply: Reply) {
        self.upstream.answer(&format!("/maven2/{path}"), reply);
    }

    fn count(&self, path: &str) -> usize {
        self.upstream.count(&format!("/maven2/{path}"))
    }
}

pub(super) fn versions(artifact: &str, versions: &[&str]) -> Reply {
    let versions = versions.iter().map(|version| (*version).to_owned()).collect();
    let document = Metadata {
        group: String::from("com.acme"),
        artifact: artifact.to_owned(),
        versions,
        last_updated: String::from("20260101000000"),
        ..Metadata::default()
    };
    Reply::bytes(document.render())
}

pub(super) fn listed(reply: &raw::Reply) -> Vec<String> {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    Metadata::parse(&reply.body).expect("metadata").versions
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_are_fetched_once_and_outlive_their_upstream() {
    let mirror = Mirror::start(json!({})).await;
    let (file, bytes) = (path("com.acme", "lib", "1.0", ".jar"), filled("x"));
    mirror.has(&file, Reply::bytes(bytes.clone()).header("X-Checksum-SHA1", checksum(&bytes, Algorithm::Sha1)));
    mirror.has("com/acme/lib/maven-metadata.xml", versions("lib", &["1.0"]));
    assert_eq!(mirror.get(&file).await.body, bytes);
    assert_eq!(listed(&mirror.get("com/acme/lib/maven-metadata.xml").await), ["1.0"]);
    mirror.upstream.stop().await;
    let reply = mirror.get(&file).await;
    assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, &bytes[..]));
    for (name, algorithm) in [("md5", Algorithm::Md5), ("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512)] {
        assert_eq!(reply.header(&format!("x-checksum-{name}")), checksum(&bytes, algorithm));
        assert_eq!(mirror.get(&format!("{file}.{name}")).await.text(), checksum(&bytes, algorithm));
    }
    assert_eq!(listed(&mirror.get("com/acme/lib/maven-metadata.xml").await), ["1.0"]);
    assert_eq!(mirror.count(&file), 1);
    assert_eq!(mirror.count(&format!("{file}.sha1")), 0, "the header said it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_its_checksum_says_is_not_kept() {
    let mirror = Mirror::start(json!({})).await;
    let bytes = filled("x");
    for (artifact, header, beside) in [("header", Some("0".repeat(40)), None), ("file", None, Some("0".repeat(40)))] {
        let file = path("com.acme", artifact, "1.0", ".jar");
        let reply = Reply::bytes(bytes.clone());
        mirror.has(
            &file,
            match header {
                Some(sum) => reply.header("X-Checksum-SHA1", sum),
                None => reply,
            },
        );
        if let Some(sum) = beside {
            mirror.has(&format!("{file}.sha1"), Reply::bytes(sum));
        }
        // What was sent before its end was found wrong ends without its end.
        let outcome = raw::send(&mirror.house.host, &Call::get(format!("/alpha/mirror/{file}"))).await;
        assert!(outcome.as_ref().map_or(true, |reply| reply.status.is_server_error()), "{artifact}: {outcome:?}");
        mirror.has(&file, Reply::bytes(bytes.clone()).header("X-Checksum-SHA1", checksum(&bytes, Algorithm::Sha1)));
        assert_eq!(mirror.get(&file).await.body, bytes, "{artifact}");
    }
    // Many upstreams have neither for some files.
    let file = path("com.acme", "neither", "1.0", ".jar");
    mirror.has(&file, Reply::bytes(bytes.clone()));
    assert_eq!(mirror.get(&file).await.body, bytes);
    assert_eq!(mirror.count(&format!("{file}.sha1")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_for_people_are_never_kept_as_files() {
    let mirror = Mirror::start(json!({})).await;
    let page = || Reply::bytes("<!DOCTYPE html><html><body>Please sign in</body></html>").header("Content-Type", "text/html");
    // It is asked for before any file, and would be remembered as missing.
    mirror.has(".meta/prefixes.txt", page());
    let right =
        [(path("com.acme", "lib", "1.0", ".jar"), filled("x")), (path("com.acme", "lib", "1.0", ".pom"), pom("com.acme", "lib", "1.0", "jar").into_bytes())];
    for (file, bytes) in right {
        mirror.has(&file, page());
        assert_eq!(mirror.get(&file).await.status, StatusCode::BAD_GATEWAY, "{file}");
        mirror.has(&file, Reply::bytes(bytes.clone()));
        assert_eq!(mirror.get(&file).await.body, bytes, "{file}");
    }
    for path in ["com/acme/lib/maven-metadata.xml", "com/acme/lib/1-SNAPSHOT/maven-metadata.xml", ".meta/prefixes.txt"] {
        mirror.has(path, page());
        assert_eq!(mirror.get(path).await.status, StatusCode::BAD_GATEWAY, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_asked_for_once() {
    let mirror = Mirror::start(json!({})).await;
    let file = path("com.acme", "lib", "1.0", ".jar");
    for _ in 0..3 {
        assert_eq!(mirror.get(&file).await.status, StatusCode::NOT_FOUND);
        assert_eq!(mirror.get("com/acme/lib/maven-metadata.xml").await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!((mirror.count(&file), mirror.count("com/acme/lib/maven-metadata.xml")), (1, 1));
    for own in [".checksums/x", "com/acme/lib/1.0/lib-1.0.jar.sha1"] {
        assert_eq!(mirror.get(own).await.status, StatusCode::NOT_FOUND);
        assert_eq!(mirror.count(own), 0, "{own} is never asked for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_are_passed_on_by_proxies_and_not_by_groups() {
    let mirror = Mirror::start(json!({})).await;
    let text = "## repository-prefixes/2.0\n/com/acme\n";
    mirror.has(".meta/prefixes.txt", Reply::bytes(text));
    assert_eq!(mirror.get(".meta/prefixes.txt").await.text(), text);
    assert_eq!(mirror.group(".meta/prefixes.txt").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_asked_for_again() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 })).await;
    let folder = "com/acme/lib/1.1-SNAPSHOT";
    for number in 1..=2 {
        let stamp = format!("2026010{number}.000000-{number}");
        let mut document = entrepot_format_maven::document::VersionDocument::default();
        document.add(&stamp, "", "pom");
        document.add(&stamp, "", "jar");
        let shown = document.metadata("com.acme:lib", "1.1-SNAPSHOT").expect("metadata");
        mirror.has(&format!("{folder}/maven-metadata.xml"), Reply::bytes(shown.render()));
        mirror.has(&format!("{folder}/lib-1.1-{stamp}.jar"), Reply::bytes(filled(&stamp)));
        for reply in [mirror.get(&format!("{folder}/maven-metadata.xml")).await, mirror.group(&format!("{folder}/maven-metadata.xml")).await] {
            assert_eq!(Metadata::parse(&reply.body).expect("metadata").snapshot, shown.snapshot, "{}", reply.text());
        }
        assert_eq!(mirror.group(&format!("{folder}/lib-1.1-{stamp}.jar")).await.body, filled(&stamp));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_joins_what_it_may_and_keeps_names_to_itself() {
    let mirror = Mirror::start(json!({})).await;
    let house = &mirror.house;
    release(house, "ours", "1.0").await;
    let snapshot = "com/acme/ours/1.1-SNAPSHOT/ours-1.1-20260101.000000-1.pom";
    deploy(house, snapshot, "<project/>").await;
    mirror.has("com/acme/ours/maven-metadata.xml", versions("ours", &["9.0"]));
    mirror.has("com/acme/theirs/maven-metadata.xml", versions("theirs", &["2.0"]));
    let file = path("com.acme", "theirs", "2.0", ".jar");
    mirror.has(&file, Reply::bytes(filled("theirs")));
    assert_eq!(listed(&mirror.group("com/acme/ours/maven-metadata.xml").await), ["1.0", "1.1-SNAPSHOT"]);
    assert_eq!(listed(&mirror.group("com/acme/theirs/maven-metadata.xml").await), ["2.0"]);
    assert_eq!(mirror.group(&file).await.body, filled("theirs"));
    assert_eq!(mirror.group(&path("com.acme", "ours", "1.0", ".jar")).await.body, filled("1.0"));
    for absent in [path("com.acme", "ours", "9.0", ".jar"), String::from("com/acme/ours/9-SNAPSHOT/maven-metadata.xml")] {
        assert_eq!(mirror.group(&absent).await.status, StatusCode::NOT_FOUND, "{absent}");
    }
    let told: Vec<String> = mirror.upstream.seen().into_iter().map(|seen| seen.target).filter(|target| target.contains("ours")).collect();
    assert!(told.is_empty(), "a name of ours was sent upstream: {told:?}");
    // A second hosted member: its versions are listed beside ours.
    house.repository("alpha/more", "maven", Kind::Hosted, true, json!({})).await;
    house.repository("alpha/both", "maven", Kind::Group, true, json!({ "members": ["alpha/maven", "alpha/more"] })).await;
    for ending in [".jar", ".pom"] {
        let body = if ending == ".jar" { filled("2.0") } else { pom("com.acme", "ours", "2.0", "jar").into_bytes() };
        let reply = house.call_as("bob", Call::put(format!("/alpha/more/{}", path("com.acme", "ours", "2.0", ending)), body)).await;
        assert_eq!(reply.status, StatusCode::CREATED);
    }
    let both = house.call(Call::get("/alpha/both/com/acme/ours/maven-metadata.xml")).await;
    assert_eq!(listed(&both), ["1.0", "1.1-SNAPSHOT", "2.0"]);
}
