//! `package: docker`: images below `/v2/{remote}/`.

use http::StatusCode;
use serde_json::json;

use super::Caching;
use crate::oci_proxy::{IMAGE, digest, manifest, publish};
use crate::raw::Call;
use crate::upstream::Reply;

const LAYER: &[u8] = b"a layer";

async fn hub(lines: &str) -> (Caching, bytes::Bytes) {
    let caching = Caching::start(&format!("  hub:\n    base_url: UPSTREAM\n    package: docker\n{lines}")).await;
    let document = manifest(&[LAYER]);
    publish(&caching.upstream, "library/app", "1", &document, &[LAYER]);
    caching.upstream.answer("/v2/library/app/tags/list", Reply::bytes(json!({ "name": "library/app", "tags": ["1"] }).to_string()));
    (caching, document)
}

/// As container runtimes ask whose registries.yaml rewrites `docker.io` to `hub/`, which say whose images they want.
fn asks(path: &str) -> Call {
    Call::get(format!("/v2/hub/{path}?ns=docker.io")).with("Accept", IMAGE)
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_pulled_through_and_stay_when_the_upstream_is_gone() {
    let (caching, document) = hub("    cache: { mutable_ttl: 1000 }\n").await;
    for round in 0..2 {
        for path in
            ["library/app/manifests/1".to_owned(), format!("library/app/manifests/{}", digest(&document)), format!("library/app/blobs/{}", digest(LAYER))]
        {
            let answer = caching.house.call(asks(&path)).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
            assert!(["remote", "cache"].contains(&answer.header("x-artifact-source")));
            assert!(round == 0 || answer.header("x-artifact-source") == "cache", "{path}");
        }
        assert_eq!(caching.get("/v2/hub/library/app/tags/list").await.json()["tags"], json!(["1"]));
        if round == 0 {
            caching.upstream.stop().await;
            caching.pass(2000);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_asked_for_again_and_a_digest_never() {
    let (caching, document) = hub("    cache: { mutable_ttl: 1000 }\n").await;
    caching.house.call(asks("library/app/manifests/1")).await;
    caching.house.call(asks(&format!("library/app/blobs/{}", digest(LAYER)))).await;
    let other = manifest(&[LAYER, LAYER]);
    publish(&caching.upstream, "library/app", "1", &other, &[LAYER]);
    caching.pass(900);
    assert_eq!(caching.house.call(asks("library/app/manifests/1")).await.body, document);
    caching.pass(200);
    assert_eq!(caching.house.call(asks("library/app/manifests/1")).await.body, other);
    caching.house.call(asks(&format!("library/app/blobs/{}", digest(LAYER)))).await;
    assert_eq!(caching.upstream.count(&format!("/v2/library/app/blobs/{}", digest(LAYER))), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_hold_for_images() {
    let (caching, _) = hub("    immutable_patterns: ['^library/app/']\n").await;
    let evil = manifest(&[b"evil"]);
    publish(&caching.upstream, "evil/miner", "1", &evil, &[b"evil"]);
    let blob = |image: &str, bytes: &[u8]| asks(&format!("{image}/blobs/{}", digest(bytes)));
    assert_eq!(caching.house.call(blob("library/app", LAYER)).await.status, StatusCode::OK);
    let refused = caching.house.call(blob("evil/miner", b"evil")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.json()["errors"][0]["code"], "DENIED");
    assert_eq!(caching.upstream.count(&format!("/v2/evil/miner/blobs/{}", digest(b"evil"))), 0);
    // Tags and their lists are mutable by nature, and so served.
    assert_eq!(caching.house.call(asks("library/app/manifests/1")).await.status, StatusCode::OK);
    assert_eq!(caching.get("/v2/hub/library/app/tags/list").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_gathered_by_their_tags() {
    let (caching, document) = hub("").await;
    let body = json!({ "remote": "hub", "pattern": "^library/app/manifests/.*" }).to_string();
    let report = caching.house.call(Call::post("/cache-artifact", body)).await.json();
    assert_eq!((&report["results"][0]["path"], &report["results"][0]["status"]), (&json!("library/app/manifests/1"), &json!("cached")), "{report}");
    caching.upstream.stop().await;
    for path in [format!("library/app/manifests/{}", digest(&document)), format!("library/app/blobs/{}", digest(LAYER))] {
        assert_eq!(caching.house.call(asks(&path)).await.status, StatusCode::OK, "{path}");
    }
}
