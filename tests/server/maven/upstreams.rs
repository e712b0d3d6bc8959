//! What several upstreams have in a group, and what an upstream is not asked for.

use entrepot_format_maven::document::VersionDocument;
use entrepot_format_maven::metadata::Metadata;
use entrepot_format_maven::testing::path;
use entrepot_kit::Kind;
use http::StatusCode;
use serde_json::{Value, json};

use super::filled;
use super::proxy::{listed, versions};
use crate::house::House;
use crate::raw::{self, Call};
use crate::upstream::{Reply, ScriptedUpstream};

/// A server with two proxies, `alpha/one` and `alpha/two`, and a group `alpha/all` of a hosted repository and them.
struct Two {
    house: House,
    one: ScriptedUpstream,
    two: ScriptedUpstream,
}

impl Two {
    async fn start(upstream: Value) -> Self {
        Self::with(upstream, json!({})).await
    }

    async fn with(upstream: Value, settings: Value) -> Self {
        Self::on(House::start().await, upstream, settings).await
    }

    async fn on(house: House, upstream: Value, settings: Value) -> Self {
        let (one, two) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
        house.repository("alpha/maven", "maven", Kind::Hosted, true, json!({})).await;
        for (name, server) in [("alpha/one", &one), ("alpha/two", &two)] {
            let mut all = settings.clone();
            all["upstream"] = upstream.clone();
            all["upstream"]["url"] = format!("{}/maven2", server.url()).into();
            all["upstream"]["allow_private"] = true.into();
            all["upstream"]["retries"] = 0.into();
            house.repository(name, "maven", Kind::Proxy, true, all).await;
        }
        house.repository("alpha/all", "maven", Kind::Group, true, json!({ "members": ["alpha/maven", "alpha/one", "alpha/two"] })).await;
        Self { house, one, two }
    }

    async fn get(&self, repository: &str, path: &str) -> raw::Reply {
        self.house.call(Call::get(format!("/alpha/{repository}/{path}"))).await
    }
}

fn has(upstream: &ScriptedUpstream, path: &str, reply: Reply) {
    upstream.answer(&format!("/maven2/{path}"), reply);
}

fn count(upstream: &ScriptedUpstream, path: &str) -> usize {
    upstream.count(&format!("/maven2/{path}"))
}

const PREFIXES: &str = ".meta/prefixes.txt";

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_cannot_have_is_not_asked_for() {
    let two = Two::start(json!({})).await;
    has(&two.one, PREFIXES, Reply::bytes("## repository-prefixes/2.0\n/com/acme\n"));
    let (inside, outside) = (path("com.acme", "lib", "1.0", ".jar"), path("org.example", "lib", "1.0", ".jar"));
    for file in [&inside, &outside] {
        has(&two.one, file, Reply::bytes(filled("x")));
    }
    has(&two.one, "org/example/lib/maven-metadata.xml", versions("lib", &["1.0"]));
    assert_eq!(two.get("one", &inside).await.body, filled("x"));
    for absent in [outside.as_str(), "org/example/lib/maven-metadata.xml", "org/example/lib/1-SNAPSHOT/maven-metadata.xml"] {
        assert_eq!(two.get("one", absent).await.status, StatusCode::NOT_FOUND, "{absent}");
        assert_eq!(count(&two.one, absent), 0, "{absent} is asked for");
    }
    assert_eq!(two.get("one", "com/maven-metadata.xml").await.status, StatusCode::NOT_FOUND);
    assert_eq!(count(&two.one, "com/maven-metadata.xml"), 1, "plugins of a group may be above its prefix");
    assert_eq!(count(&two.one, PREFIXES), 1, "the list is fresh for a while");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_prefixes_are_asked_for_again() {
    let two = Two::start(json!({ "mutable_ttl": 0 })).await;
    let list = |prefix: &str| Reply::bytes(format!("## repository-prefixes/2.0\n{prefix}\n"));
    let file = path("org.example", "lib", "1.0", ".jar");
    has(&two.one, PREFIXES, list("/com/acme"));
    has(&two.one, &file, Reply::bytes(filled("x")));
    assert_eq!(two.get("one", &file).await.status, StatusCode::NOT_FOUND);
    has(&two.one, PREFIXES, list("/org/example"));
    assert_eq!(two.get("one", &file).await.body, filled("x"));
    // What is here already stays here.
    has(&two.one, PREFIXES, list("/com/acme"));
    assert_eq!(two.get("one", &file).await.body, filled("x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_prefixes_that_say_nothing_are_passed_over() {
    let lists = [
        Reply::status(404),
        Reply::status(403),
        Reply::status(500),
        Reply::bytes("<!DOCTYPE html><html>Sign in</html>").header("Content-Type", "text/html"),
        Reply::bytes("## repository-prefixes/2.0\n"),
        Reply::bytes("## repository-prefixes/2.0\n@ unsupported\n"),
        Reply::bytes("## repository-prefixes/2.0\ncom/acme\n"),
    ];
    for (number, list) in lists.into_iter().enumerate() {
        let two = Two::start(json!({})).await;
        has(&two.one, PREFIXES, list);
        for artifact in ["a", "b"] {
            let file = path("org.example", artifact, "1.0", ".jar");
            has(&two.one, &file, Reply::bytes(filled(artifact)));
            assert_eq!(two.get("one", &file).await.body, filled(artifact), "list {number}");
        }
    }
    // One that says less than is there can be told to count for nothing.
    let two = Two::with(json!({}), json!({ "upstream_prefixes": "ignore" })).await;
    let file = path("org.example", "lib", "1.0", ".jar");
    has(&two.one, PREFIXES, Reply::bytes("## repository-prefixes/2.0\n/com/acme\n"));
    has(&two.one, &file, Reply::bytes(filled("x")));
    assert_eq!(two.get("one", &file).await.body, filled("x"));
    assert_eq!(count(&two.one, PREFIXES), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_comes_from_one_upstream() {
    let two = Two::start(json!({})).await;
    let file = |version: &str, ending: &str| path("com.acme", "lib", version, ending);
    let pom = |whose: &str| format!("<project><!-- {whose} --></project>");
    has(&two.one, "com/acme/lib/maven-metadata.xml", versions("lib", &["1.0", "3.0"]));
    has(&two.two, "com/acme/lib/maven-metadata.xml", versions("lib", &["1.0", "2.0"]));
    for version in ["1.0", "2.0"] {
        has(&two.one, &file(version, ".pom"), Reply::bytes(pom("one")));
        has(&two.one, &file(version, "-sources.jar"), Reply::bytes(filled("one")));
        has(&two.two, &file(version, ".pom"), Reply::bytes(pom("two")));
        has(&two.two, &file(version, ".jar"), Reply::bytes(filled("two")));
    }
    // The first file decides: the group's first proxy has no jar.
    assert_eq!(two.get("all", &file("1.0", ".jar")).await.body, filled("two"));
    assert_eq!(two.get("all", &file("1.0", ".pom")).await.text(), pom("two"));
    assert_eq!(two.get("all", &file("1.0", "-sources.jar")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(two.get("one", &file("1.0", "-sources.jar")).await.body, filled("one"), "by itself it gives what it has");
    // So does what is kept, whoever fetched it.
    assert_eq!(two.get("two", &file("2.0", ".jar")).await.body, filled("two"));
    assert_eq!(two.get("all", &file("2.0", ".pom")).await.text(), pom("two"));
    // Another release may be another's, and the list is that of all.
    has(&two.one, &file("3.0", ".jar"), Reply::bytes(filled("one")));
    assert_eq!(two.get("all", &file("3.0", ".jar")).await.body, filled("one"));
    assert_eq!(listed(&two.get("all", "com/acme/lib/maven-metadata.xml").await), ["1.0", "2.0", "3.0"]);
}

fn snapshot(stamp: &str, kinds: &[&str]) -> Metadata {
    let mut document = VersionDocument::default();
    kinds.iter().for_each(|kind| document.add(stamp, "", kind));
    document.metadata("com.acme:lib", "1.1-SNAPSHOT").expect("metadata")
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_several_upstreams_are_joined() {
    let at = "com/acme/lib/1.1-SNAPSHOT/maven-metadata.xml";
    let (older, newer) = (snapshot("20260101.000000-7", &["pom", "jar", "zip"]), snapshot("20260102.000000-2", &["pom", "jar"]));
    // Of one that alone has it, it is passed on.
    let alone = Two::start(json!({})).await;
    has(&alone.two, at, Reply::bytes(older.render()));
    assert_eq!(alone.get("all", at).await.body, older.render());
    let two = Two::start(json!({ "mutable_ttl": 0 })).await;
    has(&two.one, at, Reply::bytes(older.render()));
    has(&two.two, at, Reply::bytes(newer.render()));
    let reply = two.get("all", at).await;
    let found = Metadata::parse(&reply.body).unwrap();
    assert_eq!((found.snapshot, found.last_updated), (newer.snapshot.clone(), newer.last_updated.clone()));
    let mut values: Vec<_> = found.files.iter().map(|file| (file.extension.as_str(), file.value.as_str())).collect();
    values.sort_unstable();
    assert_eq!(values, [("jar", "1.1-20260102.000000-2"), ("pom", "1.1-20260102.000000-2"), ("zip", "1.1-20260101.000000-7")]);
    let sum = two.get("all", &format!("{at}.sha1")).await.text();
    assert_eq!(sum, reply.header("x-checksum-sha1"));
    // Each file from whoever has it.
    for (upstream, stamp, kind) in [(&two.one, "20260101.000000-7", "zip"), (&two.two, "20260102.000000-2", "jar")] {
        let file = format!("com/acme/lib/1.1-SNAPSHOT/lib-1.1-{stamp}.{kind}");
        has(upstream, &file, Reply::bytes(filled(stamp)));
        assert_eq!(two.get("all", &file).await.body, filled(stamp));
    }
    // One of them is gone: what was kept of it still counts.
    two.two.stop().await;
    assert_eq!(two.get("all", at).await.body, reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missing_is_asked_for_again_when_the_metadata_says_more() {
    // Each replica remembers by itself.
    let two = Two::on(House::alone_with(|_| {}).await, json!({ "mutable_ttl": 0 }), json!({})).await;
    let (metadata, file) = ("com/acme/lib/maven-metadata.xml", path("com.acme", "lib", "2.0", ".jar"));
    has(&two.one, metadata, versions("lib", &["1.0"]));
    assert_eq!(listed(&two.get("one", metadata).await), ["1.0"]);
    for _ in 0..3 {
        assert_eq!(two.get("one", &file).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(count(&two.one, &file), 1);
    has(&two.one, &file, Reply::bytes(filled("2.0")));
    assert_eq!(two.get("one", &file).await.status, StatusCode::NOT_FOUND, "remembered for an hour");
    has(&two.one, metadata, versions("lib", &["1.0", "2.0"]));
    assert_eq!(listed(&two.get("one", metadata).await), ["1.0", "2.0"]);
    assert_eq!(two.get("one", &file).await.body, filled("2.0"));
    assert_eq!(count(&two.one, &file), 2);
}
