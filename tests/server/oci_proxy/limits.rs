//! Signing in at the upstream, and what it says of its limits.

use serde_json::json;

use super::{Mirror, digest, manifest, publish};
use crate::raw::Call;
use crate::upstream::{Reply, ScriptedUpstream};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_costs_one_token() {
    let mirror = Mirror::start(json!({ "username": "robot", "password": "hunter2" }), json!({})).await;
    let (document, layer) = (manifest(&[b"layer"]), format!("a/blobs/{}", digest(b"layer")));
    let challenge = format!("Bearer realm=\"{}/token\",service=\"s\",scope=\"repository:a:pull\"", mirror.upstream.url());
    mirror.upstream.answer("/token", Reply::bytes(r#"{"token":"t","expires_in":300}"#).guarded("Basic cm9ib3Q6aHVudGVyMg==", "Basic"));
    mirror.upstream.answer("/v2/a/manifests/1", Reply::bytes(document.clone()).guarded("Bearer t", &challenge));
    mirror.upstream.answer(&format!("/v2/{layer}"), Reply::bytes("layer").guarded("Bearer t", &challenge));
    assert_eq!(mirror.bytes("a/manifests/1").await, document);
    assert_eq!(mirror.bytes(&layer).await, "layer");
    assert_eq!((mirror.upstream.count("/token"), mirror.upstream.count(&format!("/v2/{layer}"))), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_do_not_follow_a_realm_to_another_host() {
    let (mirror, thief) = (Mirror::start(json!({ "username": "robot", "password": "hunter2" }), json!({})).await, ScriptedUpstream::start().await);
    thief.answer("/token", Reply::bytes(r#"{"token":"t"}"#));
    let challenge = format!("Bearer realm=\"{}/token\",service=\"s\"", thief.url());
    mirror.upstream.answer("/v2/a/manifests/1", Reply::bytes(manifest(&[])).guarded("Bearer t", challenge));
    let error = mirror.entry("a/manifests/1").await.map(drop).unwrap_err();
    assert_eq!(error.status(), http::StatusCode::BAD_GATEWAY);
    assert!(error.message().contains("token_hosts") && !error.message().contains("127.0.0.1"), "{}", error.message());
    assert_eq!(thief.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limits_are_figures() {
    let mirror = Mirror::start(json!({ "preset": "docker.io" }), json!({})).await;
    publish(&mirror.upstream, "library/alpine", "3", &manifest(&[]), &[]);
    let reply = Reply::bytes(manifest(&[])).header("ratelimit-limit", "100;w=21600").header("ratelimit-remaining", "99;w=21600");
    mirror.upstream.answer("/v2/library/alpine/manifests/3", reply);
    mirror.bytes("alpine/manifests/3").await;
    let figures = mirror.house.engine().metrics.render(mirror.house.engine()).await.unwrap();
    for line in ["entrepot_upstream_ratelimit_limit{registry=\"docker.io\"} 100", "entrepot_upstream_ratelimit_remaining{registry=\"docker.io\"} 99"] {
        assert!(figures.lines().any(|known| known == line), "{line} is not in\n{figures}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_mirror_is_said_when_it_is_made() {
    let house = crate::house::House::start().await;
    let make = async |format: &str, kind: &str, more: serde_json::Value| {
        let mut body = json!({ "system": "alpha", "name": "mirror", "format": format, "kind": kind });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut call = Call::new(http::Method::POST, "/api/v1/repositories").with("Content-Type", "application/json");
        call.body = body.to_string().into();
        house.call_as("admin", call).await
    };
    for (format, kind, more, expected) in [
        ("oci", "proxy", json!({ "upstream": { "preset": "dockerhub" } }), "upstream.preset"),
        ("npm", "proxy", json!({ "upstream": { "preset": "docker.io" } }), "speaks oci"),
        ("oci", "proxy", json!({ "upstream": { "preset": "docker.io", "token_hosts": ["https://x/"] } }), "token_hosts"),
        ("oci", "proxy", json!({ "upstream": { "preset": "docker.io" }, "patterns": ["("] }), "patterns"),
        ("oci", "hosted", json!({ "patterns": ["a"] }), "patterns"),
        ("oci", "hosted", json!({ "namespace": "https://docker.io" }), "namespace"),
    ] {
        let reply = make(format, kind, more).await;
        assert!(reply.status == 400 && reply.text().contains(expected), "{expected}: {} {}", reply.status, reply.text());
    }
    let reply = make("oci", "proxy", json!({ "upstream": { "preset": "docker.io", "username": "u", "password": "p" }, "patterns": ["^library/"] })).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(reply.json()["upstream"], json!({ "preset": "docker.io", "username": "u", "password": "(set)" }));
}
