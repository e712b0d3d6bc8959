//! Warming an image.

use std::time::Duration;

use entrepot_kit::Kind;
use http::Method;
use serde_json::{Value, json};

use super::{INDEX, Mirror, digest, manifest, publish};
use crate::house::PASSWORD;
use crate::raw::{Call, Reply as Answer};
use crate::upstream::Reply;

async fn prefetch(mirror: &Mirror, user: &str, query: &str, body: Value) -> Answer {
    let mut call = Call::new(Method::POST, format!("/api/v1/repositories/alpha/hub/prefetch{query}")).with("Content-Type", "application/json");
    call.body = body.to_string().into();
    mirror.house.call(if user.is_empty() { call } else { call.signed(user, PASSWORD) }).await
}

/// An index of two platforms; the second one's image has a layer of its own.
async fn mirror() -> (Mirror, Vec<String>) {
    let mirror = Mirror::start(json!({ "mutable_ttl": 3600 }), json!({})).await;
    let (one, two) = (manifest(&[b"shared", b"one"]), manifest(&[b"shared", b"two"]));
    publish(&mirror.upstream, "a/b", "one", &one, &[b"shared", b"one"]);
    publish(&mirror.upstream, "a/b", "two", &two, &[b"two"]);
    let child = |digest: &str, architecture: &str| json!({ "mediaType": super::IMAGE, "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": architecture} });
    let absent = digest(b"never published");
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [child(&digest(&one), "amd64"), child(&digest(&two), "arm64"), child(&absent, "s390x")]
    });
    mirror.upstream.answer("/v2/a/b/manifests/latest", Reply::bytes(index.to_string()).header("Content-Type", INDEX));
    let paths = ["shared", "one", "two"].map(|layer| format!("a/b/blobs/{}", digest(layer.as_bytes())));
    (mirror, paths.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_warmed_for_one_platform_or_for_all() {
    let (mirror, layers) = mirror().await;
    let image = |platforms: Value| json!({ "package": "a/b", "version": "latest", "platforms": platforms });
    let reply = prefetch(&mirror, "alpha-owner", "?wait=true", image(json!(["linux/amd64"]))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let done = reply.json();
    // Index, manifest, configuration, two layers.
    assert_eq!((&done["files"], &done["fetched"], &done["missing"]), (&json!(5), &json!(5), &json!(0)), "{done}");
    assert_eq!(mirror.upstream.count(&format!("/v2/{}", layers[2])), 0);
    let reply = prefetch(&mirror, "alpha-owner", "?wait=true", image(json!([]))).await.json();
    assert_eq!((&reply["files"], &reply["fetched"], &reply["missing"]), (&json!(7), &json!(2), &json!(1)), "{reply}");
    mirror.upstream.stop().await;
    for layer in &layers {
        mirror.bytes(layer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefetch_goes_on_by_itself() {
    let (mirror, layers) = mirror().await;
    let reply = prefetch(&mirror, "alpha-owner", "", json!({ "package": "a/b", "version": "latest" })).await;
    assert_eq!((reply.status.as_u16(), reply.json()), (202, json!({ "status": "running" })));
    tokio::time::timeout(Duration::from_secs(60), async {
        while layers.iter().any(|layer| mirror.upstream.count(&format!("/v2/{layer}")) == 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("every layer is fetched");
}

#[tokio::test(flavor = "multi_thread")]
async fn not_everybody_may_and_not_everything_can_be_prefetched() {
    let (mirror, _) = mirror().await;
    let image = json!({ "package": "a/b", "version": "latest" });
    mirror.house.user("reader", &[("system", "alpha")]).await;
    for (user, expected) in [("", 401), ("reader", 403)] {
        assert_eq!(prefetch(&mirror, user, "", image.clone()).await.status.as_u16(), expected, "{user}");
    }
    assert_eq!(mirror.upstream.seen().len(), 0);
    for (body, expected) in [
        (json!({ "package": "a/b", "version": "absent" }), 404),
        (json!({ "package": "a/b", "version": "-x" }), 400),
        (json!({ "package": "../b", "version": "latest" }), 400),
        (json!({ "package": "a/b", "version": "latest", "platforms": ["linux"] }), 400),
        (json!({ "package": "a/b", "version": "latest", "platform": [] }), 400),
    ] {
        assert_eq!(prefetch(&mirror, "alpha-owner", "?wait=true", body.clone()).await.status.as_u16(), expected, "{body}");
    }
    mirror.house.repository("alpha/own", "oci", Kind::Hosted, true, json!({})).await;
    let mut call = Call::new(Method::POST, "/api/v1/repositories/alpha/own/prefetch").with("Content-Type", "application/json");
    call.body = image.to_string().into();
    assert_eq!(mirror.house.call_as("alpha-owner", call).await.status.as_u16(), 400);
}
