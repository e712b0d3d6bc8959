//! Pulling through, and groups.

use entrepot_format_helm::testing::{chart, prov};
use entrepot_kit::{Kind, Sha256Digest};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{house, publish, versions};
use crate::house::House;
use crate::raw::{self, Call};
use crate::upstream::{Reply, ScriptedUpstream};

/// A server with a proxy `alpha/mirror`, a hosted `alpha/helm`, a group `alpha/all` of both, and the repository behind the proxy.
struct Mirror {
    house: House,
    upstream: ScriptedUpstream,
}

impl Mirror {
    async fn start(settings: Value) -> Self {
        let (house, upstream) = (house().await, ScriptedUpstream::start().await);
        let mut all = json!({ "url": format!("{}/stable", upstream.url()), "allow_private": true, "retries": 0 });
        for (name, value) in settings.as_object().expect("settings") {
            all[name] = value.clone();
        }
        house.repository("alpha/mirror", "helm", Kind::Proxy, true, json!({ "upstream": all })).await;
        house.repository("alpha/all", "helm", Kind::Group, true, json!({ "members": ["alpha/helm", "alpha/mirror"] })).await;
        Self { house, upstream }
    }

    async fn get(&self, path: &str) -> raw::Reply {
        self.house.call(Call::get(format!("/alpha/mirror/{path}"))).await
    }

    async fn group(&self, path: &str) -> raw::Reply {
        self.house.call(Call::get(format!("/alpha/all/{path}"))).await
    }

    fn has(&self, path: &str, reply: Reply) {
        self.upstream.answer(&format!("/stable/{path}"), reply);
    }

    fn count(&self, path: &str) -> usize {
        self.upstream.count(&format!("/stable/{path}"))
    }
}

/// An index as other servers write it: YAML, with keys that not everybody knows.
fn upstream_index(entries: &[(&str, &str, &str, &[u8])]) -> String {
    let mut text = String::from("apiVersion: v1\ngenerated: \"2026-01-01T00:00:00.123456789+01:00\"\nextra: x\nentries:\n");
    let mut last = "";
    for (name, version, url, bytes) in entries {
        if *name != last {
            text.push_str(&format!("  {name}:\n"));
        }
        last = name;
        let digest = Sha256Digest::of(bytes);
        text.push_str(&format!(
            "  - apiVersion: v2\n    name: {name}\n    version: {version}\n    created: 2026-01-01T00:00:00.123456789Z\n    digest: {digest}\n    other: 1\n    urls:\n    - {url}\n"
        ));
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_come_from_wherever_the_index_says_and_outlive_their_upstream() {
    let mirror = Mirror::start(json!({})).await;
    let elsewhere = ScriptedUpstream::start().await;
    let [one, two, three, four] = ["1.0.0", "2.0.0", "3.0.0+x", "4.0.0"].map(|version| chart("web", version, "theirs"));
    mirror.has(
        "index.yaml",
        Reply::bytes(upstream_index(&[
            ("web", "1.0.0", "web-1.0.0.tgz", &one),
            ("web", "2.0.0", &format!("{}/stable/files/two.tgz", mirror.upstream.url()), &two),
            ("web", "3.0.0+x", &format!("{}/three.tgz?sig=1", elsewhere.url()), &three),
            ("web", "4.0.0", "/root/four.tgz", &four),
            ("web", "bad version", "x.tgz", b"x"),
            ("oci", "1.0.0", "oci://registry.example/charts/oci:1.0.0", b"x"),
        ])),
    );
    mirror.has("web-1.0.0.tgz", Reply::bytes(one.clone()));
    mirror.has("web-1.0.0.tgz.prov", Reply::bytes(prov("web", "1.0.0", &one)));
    mirror.has("files/two.tgz", Reply::bytes(two.clone()));
    elsewhere.answer("/three.tgz?sig=1", Reply::bytes(three.clone()));
    mirror.upstream.answer("/root/four.tgz", Reply::bytes(four.clone()));
    for reply in [mirror.get("index.yaml").await, mirror.group("index.yaml").await] {
        let index = reply.json();
        assert_eq!(versions(&index, "web"), ["4.0.0", "3.0.0+x", "2.0.0", "1.0.0"], "{index}");
        assert_eq!(index["entries"]["web"][1]["urls"], json!(["charts/web/web-3.0.0+x.tgz"]));
        assert_eq!(index["entries"]["web"][1]["other"], Value::Null);
        assert_eq!(index["entries"]["oci"][0]["urls"], json!(["oci://registry.example/charts/oci:1.0.0"]), "what is no file stays where it is");
        assert_eq!(index["generated"], "2025-12-31T23:00:00.123Z");
    }
    for (version, bytes) in [("1.0.0", &one), ("2.0.0", &two), ("3.0.0+x", &three), ("4.0.0", &four)] {
        for path in [format!("charts/web/web-{version}.tgz"), format!("charts/web-{version}.tgz")] {
            let reply = mirror.get(&path).await;
            assert_eq!((reply.status, &reply.body), (StatusCode::OK, &bytes::Bytes::from(bytes.clone())), "{path}");
        }
        assert_eq!(mirror.group(&format!("charts/web/web-{version}.tgz")).await.body, *bytes);
    }
    assert_eq!(mirror.get("charts/web/web-1.0.0.tgz.prov").await.text(), prov("web", "1.0.0", &one));
    assert_eq!(mirror.get("charts/web/web-2.0.0.tgz.prov").await.status, StatusCode::NOT_FOUND);
    assert_eq!(mirror.get("charts/web/web-9.0.0.tgz").await.status, StatusCode::NOT_FOUND);
    assert_eq!((mirror.count("index.yaml"), mirror.count("web-1.0.0.tgz")), (1, 1));
    assert_eq!(mirror.get("api/charts/web").await.json().as_array().map(Vec::len), Some(4));
    mirror.upstream.stop().await;
    elsewhere.stop().await;
    assert_eq!(versions(&mirror.get("index.yaml").await.json(), "web").len(), 4);
    for (version, bytes) in [("1.0.0", &one), ("3.0.0+x", &three)] {
        assert_eq!(mirror.get(&format!("charts/web/web-{version}.tgz")).await.body, *bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_than_were_promised_are_not_kept() {
    let mirror = Mirror::start(json!({})).await;
    let right = chart("web", "1.0.0", "right");
    mirror.has("index.yaml", Reply::bytes(upstream_index(&[("web", "1.0.0", "web-1.0.0.tgz", &right)])));
    mirror.has("web-1.0.0.tgz", Reply::bytes(chart("web", "1.0.0", "wrong")));
    let outcome = raw::send(&mirror.house.host, &Call::get("/alpha/mirror/charts/web/web-1.0.0.tgz")).await;
    assert!(outcome.as_ref().map_or(true, |reply| reply.status.is_server_error()), "{outcome:?}");
    mirror.has("web-1.0.0.tgz", Reply::bytes("<html>Please sign in</html>"));
    assert_eq!(mirror.get("charts/web/web-1.0.0.tgz").await.status, StatusCode::BAD_GATEWAY);
    mirror.has("web-1.0.0.tgz", Reply::bytes(right.clone()));
    assert_eq!(mirror.get("charts/web/web-1.0.0.tgz").await.body, right);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_asked_for_again_and_a_page_takes_not_its_place() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 })).await;
    let bytes = chart("web", "1.0.0", "theirs");
    let first = upstream_index(&[("web", "1.0.0", "web-1.0.0.tgz", &bytes)]);
    mirror.has("index.yaml", Reply::bytes(first).etag("\"one\""));
    let before = mirror.get("index.yaml").await;
    let revision = mirror.house.head("alpha/mirror");
    let again = mirror.get("index.yaml").await;
    assert_eq!((again.header("etag"), mirror.house.head("alpha/mirror")), (before.header("etag"), revision));
    let asked: Vec<_> = mirror.upstream.seen().into_iter().filter(|seen| seen.target == "/stable/index.yaml").collect();
    assert!(asked.len() >= 2 && asked[1..].iter().all(|seen| seen.header("if-none-match") == Some("\"one\"")), "{asked:?}");
    mirror.has("index.yaml", Reply::bytes("<!DOCTYPE html><html>Please sign in</html>").header("Content-Type", "text/html"));
    assert_eq!(versions(&mirror.get("index.yaml").await.json(), "web"), ["1.0.0"]);
    mirror.has("index.yaml", Reply::bytes(upstream_index(&[("web", "1.1.0", "web-1.1.0.tgz", &bytes), ("web", "1.0.0", "web-1.0.0.tgz", &bytes)])));
    assert_eq!(versions(&mirror.get("index.yaml").await.json(), "web"), ["1.1.0", "1.0.0"]);
    let past = mirror.house.call(Call::get(format!("/alpha/mirror.at-r{revision}/index.yaml"))).await;
    assert_eq!(versions(&past.json(), "web"), ["1.0.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_joins_members_and_keeps_names_to_itself() {
    let mirror = Mirror::start(json!({})).await;
    let house = &mirror.house;
    let ours = publish(house, "web", "1.0.0").await;
    let theirs = chart("theirs", "1.0.0", "theirs");
    mirror.has("index.yaml", Reply::bytes(upstream_index(&[("theirs", "1.0.0", "t.tgz", &theirs), ("web", "9.0.0", "w.tgz", b"evil")])));
    mirror.has("t.tgz", Reply::bytes(theirs.clone()));
    let index = mirror.group("index.yaml").await.json();
    assert_eq!((versions(&index, "web"), versions(&index, "theirs")), (vec![String::from("1.0.0")], vec![String::from("1.0.0")]));
    assert_eq!(mirror.group("charts/web/web-1.0.0.tgz").await.body, ours);
    assert_eq!(mirror.group("charts/theirs-1.0.0.tgz").await.body, theirs);
    assert_eq!(mirror.group("charts/web/web-9.0.0.tgz").await.status, StatusCode::NOT_FOUND);
    assert_eq!(mirror.count("w.tgz"), 0, "a name of ours is not asked for");
    // A name that becomes ours is theirs no longer.
    publish(house, "theirs", "0.1.0").await;
    assert_eq!(versions(&mirror.group("index.yaml").await.json(), "theirs"), ["0.1.0"]);
    // Hosted members: the union, and of one version that of the first.
    house.repository("alpha/more", "helm", Kind::Hosted, true, json!({})).await;
    house.repository("alpha/both", "helm", Kind::Group, true, json!({ "members": ["alpha/helm", "alpha/more"] })).await;
    for version in ["1.0.0", "2.0.0"] {
        let body = chart("web", version, "more");
        let reply = house.call_as("bob", Call { body: body.into(), ..Call::new(Method::POST, "/alpha/more/api/charts") }).await;
        assert_eq!(reply.status, StatusCode::CREATED);
    }
    let both = house.call(Call::get("/alpha/both/index.yaml")).await.json();
    assert_eq!(versions(&both, "web"), ["2.0.0", "1.0.0"]);
    assert_eq!(both["entries"]["web"][1]["digest"], Sha256Digest::of(&ours).hex());
    assert_eq!(house.call(Call::get("/alpha/both/charts/web/web-1.0.0.tgz")).await.body, ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_of_a_classic_upstream_are_pulled_as_artifacts() {
    let mirror = Mirror::start(json!({})).await;
    let (plain, signed) = (chart("web", "1.0.0", "x"), chart("web", "2.0.0+x", "x"));
    mirror.has("index.yaml", Reply::bytes(upstream_index(&[("web", "1.0.0", "one.tgz", &plain), ("web", "2.0.0+x", "two.tgz", &signed)])));
    mirror.has("one.tgz", Reply::bytes(plain.clone()));
    mirror.has("two.tgz", Reply::bytes(signed.clone()));
    mirror.has("two.tgz.prov", Reply::bytes(prov("web", "2.0.0+x", &signed)));
    let registry = async |repository: &str, path: &str| mirror.house.call(Call::get(format!("/v2/alpha/{repository}/{path}"))).await;
    let mut seen = Vec::new();
    for repository in ["mirror", "all"] {
        let tags = registry(repository, "web/tags/list").await;
        assert_eq!(tags.json(), json!({ "name": format!("alpha/{repository}/web"), "tags": ["1.0.0", "2.0.0_x"] }));
        for (tag, layers) in [("1.0.0", vec![plain.clone()]), ("2.0.0_x", vec![signed.clone(), prov("web", "2.0.0+x", &signed).into_bytes()])] {
            let reply = registry(repository, &format!("web/manifests/{tag}")).await;
            assert_eq!(reply.status, StatusCode::OK, "{repository} {tag}: {}", reply.text());
            let digest = reply.header("docker-content-digest").to_owned();
            assert_eq!(digest, format!("sha256:{}", Sha256Digest::of(&reply.body)));
            let head = mirror.house.call(Call::new(Method::HEAD, format!("/v2/alpha/{repository}/web/manifests/{tag}"))).await;
            assert_eq!(head.header("content-length"), reply.body.len().to_string());
            assert_eq!(registry(repository, &format!("web/manifests/{digest}")).await.body, reply.body, "{repository} {tag}");
            let manifest = reply.json();
            for (at, bytes) in layers.iter().enumerate() {
                let named = manifest["layers"][at]["digest"].as_str().expect("a digest");
                assert_eq!(registry(repository, &format!("web/blobs/{named}")).await.body, *bytes, "{repository} {tag} {at}");
            }
            let config = registry(repository, &format!("web/blobs/{}", manifest["config"]["digest"].as_str().expect("a digest"))).await;
            assert_eq!((config.status, config.json()["name"].clone()), (StatusCode::OK, json!("web")));
            seen.push(digest);
        }
    }
    assert_eq!(seen[..2], seen[2..], "the same record makes the same manifest");
    assert_eq!(registry("mirror", "web/manifests/9.0.0").await.status, StatusCode::NOT_FOUND);
    assert_eq!(registry("mirror", "none/tags/list").await.status, StatusCode::NOT_FOUND);
    assert_eq!((mirror.count("one.tgz"), mirror.count("two.tgz")), (1, 1));
    mirror.upstream.stop().await;
    assert_eq!(registry("mirror", "web/manifests/2.0.0_x").await.header("docker-content-digest"), seen[1]);
}
