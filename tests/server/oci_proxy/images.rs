//! Manifests and blobs.

use bytes::Bytes;
use entrepot_kit::Source;
use http::StatusCode;
use serde_json::json;

use super::{IMAGE, INDEX, Mirror, digest, manifest, publish};
use crate::upstream::Reply;

const LAYER: &[u8] = b"a layer of an image";

/// A mirror whose upstream has `a/b:latest`.
async fn mirror(upstream_settings: serde_json::Value) -> (Mirror, Bytes) {
    let mirror = Mirror::start(upstream_settings, json!({})).await;
    let manifest = manifest(&[LAYER]);
    publish(&mirror.upstream, "a/b", "latest", &manifest, &[LAYER]);
    (mirror, manifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_by_tag_and_by_digest_and_again_with_the_upstream_gone() {
    let (mirror, manifest) = mirror(json!({ "mutable_ttl": 3600 })).await;
    let by_digest = format!("a/b/manifests/{}", digest(&manifest));
    let layer = format!("a/b/blobs/{}", digest(LAYER));
    let (file, bytes) = mirror.entry("a/b/manifests/latest").await.unwrap().unwrap();
    assert_eq!((bytes, file.source, file.entry.content_type.as_deref()), (manifest.clone(), Source::Remote, Some(IMAGE)));
    assert_eq!(mirror.bytes(&layer).await, LAYER);
    // What came by the tag is there by its digest: the upstream is not asked for it.
    assert_eq!(mirror.bytes(&by_digest).await, manifest);
    assert_eq!((mirror.asked(&format!("/v2/{by_digest}")).len(), mirror.asked("/v2/a/b/manifests/latest")), (0, vec![String::from("GET")]));
    let asked = mirror.upstream.seen_at("/v2/a/b/manifests/latest");
    let accept = asked[0].header("accept").unwrap();
    assert!([IMAGE, INDEX, "application/vnd.docker.distribution.manifest.v1+prettyjws"].iter().all(|one| accept.contains(one)), "{accept}");

    mirror.upstream.stop().await;
    for path in ["a/b/manifests/latest", &by_digest, &layer] {
        assert_eq!(mirror.entry(path).await.unwrap().unwrap().0.source, Source::Cache, "{path}");
    }
    // The tag is a revision, the rest is not.
    assert_eq!(mirror.house.head("alpha/hub"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_past_its_time_is_served_while_the_upstream_is_away() {
    let (mirror, manifest) = mirror(json!({ "mutable_ttl": 0 })).await;
    assert_eq!(mirror.bytes("a/b/manifests/latest").await, manifest);
    // Too many requests is as good as away.
    mirror.upstream.answer("/v2/a/b/manifests/latest", Reply::status(429).header("Retry-After", "7"));
    let (file, bytes) = mirror.entry("a/b/manifests/latest").await.unwrap().unwrap();
    assert_eq!((file.source, &bytes), (Source::Stale, &manifest));
    // What was never here cannot be served.
    mirror.upstream.answer("/v2/a/b/manifests/other", Reply::status(429).header("Retry-After", "7"));
    let error = mirror.entry("a/b/manifests/other").await.map(drop).unwrap_err();
    assert_eq!((error.status(), error.retry_after()), (StatusCode::SERVICE_UNAVAILABLE, Some(7)));
    mirror.upstream.stop().await;
    assert_eq!(mirror.entry("a/b/manifests/latest").await.unwrap().unwrap().1, manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_revalidated_by_head_and_what_it_names_is_fetched_by_digest() {
    let (mirror, first) = mirror(json!({ "mutable_ttl": 0 })).await;
    let tag = "/v2/a/b/manifests/latest";
    for _ in 0..3 {
        assert_eq!(mirror.bytes("a/b/manifests/latest").await, first);
    }
    assert_eq!(mirror.asked(tag), ["GET", "HEAD", "HEAD"]);
    assert_eq!(mirror.house.head("alpha/hub"), 1, "unchanged is no revision");

    let second = manifest(&[LAYER, b"another layer"]);
    publish(&mirror.upstream, "a/b", "latest", &second, &[]);
    assert_eq!(mirror.bytes("a/b/manifests/latest").await, second);
    assert_eq!(mirror.asked(tag), ["GET", "HEAD", "HEAD", "HEAD"], "no GET by tag: those are counted");
    assert_eq!(mirror.asked(&format!("/v2/a/b/manifests/{}", digest(&second))), ["GET"]);
    assert_eq!(mirror.house.head("alpha/hub"), 2);
    // Back to the first, which is still here.
    publish(&mirror.upstream, "a/b", "latest", &first, &[]);
    let (file, bytes) = mirror.entry("a/b/manifests/latest").await.unwrap().unwrap();
    assert_eq!((bytes, file.entry.content_type.as_deref()), (first.clone(), Some(IMAGE)));
    assert_eq!(mirror.asked(&format!("/v2/a/b/manifests/{}", digest(&first))).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_names_nothing_is_asked_for_the_manifest() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 }), json!({})).await;
    let (first, second) = (manifest(&[b"1"]), manifest(&[b"2"]));
    mirror.upstream.answer("/v2/a/manifests/x", Reply::bytes(first.clone()).header("Content-Type", IMAGE).etag("\"1\""));
    for _ in 0..2 {
        assert_eq!(mirror.bytes("a/manifests/x").await, first);
    }
    mirror.upstream.answer("/v2/a/manifests/x", Reply::bytes(second.clone()).header("Content-Type", "application/json").etag("\"2\""));
    let (file, bytes) = mirror.entry("a/manifests/x").await.unwrap().unwrap();
    assert_eq!((bytes, file.entry.content_type.as_deref()), (second, Some(IMAGE)), "the manifest itself says what it is");
    assert_eq!(mirror.asked("/v2/a/manifests/x"), ["GET", "HEAD", "GET", "HEAD", "GET"]);
    // Gone is gone, for a while.
    mirror.upstream.answer("/v2/a/manifests/x", Reply::status(404));
    assert!(mirror.entry("a/manifests/x").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_pull_one_image_and_each_file_is_fetched_once() {
    let (mirror, expected) = mirror(json!({ "mutable_ttl": 3600 })).await;
    let layer = vec![7_u8; 3 << 20];
    publish(&mirror.upstream, "a/b", "latest", &expected, &[&layer]);
    let paths = [String::from("a/b/manifests/latest"), format!("a/b/blobs/{}", digest(&layer)), format!("a/b/blobs/{}", digest(b"{}"))];
    let pulls = (0..50).map(|_| async {
        let mut sizes = Vec::new();
        for path in &paths {
            sizes.push(mirror.bytes(path).await.len());
        }
        sizes
    });
    for sizes in futures::future::join_all(pulls).await {
        assert_eq!(sizes, [expected.len(), layer.len(), 2]);
    }
    for path in &paths {
        assert_eq!(mirror.upstream.count(&format!("/v2/{path}")), 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_kept() {
    // A connection that the upstream cut may be found broken by the next question only: that is asked again.
    let (mirror, good) = mirror(json!({ "mutable_ttl": 0, "retries": 2 })).await;
    let large = vec![9_u8; 1 << 20];
    let (blob, by_digest) = (format!("a/b/blobs/{}", digest(&large)), format!("a/b/manifests/{}", digest(&good)));
    let mut other = large.clone();
    other[1000] ^= 1;
    let page = || Reply::bytes("<!DOCTYPE html><title>Log in</title>").header("Content-Type", "text/html");
    for bad in [Reply::bytes(other), Reply::bytes(large.clone()).cut_after(700_000), page(), Reply::bytes(large.clone()).gzip(), Reply::bytes("")] {
        mirror.upstream.answer(&format!("/v2/{blob}"), bad.clone());
        assert!(mirror.entry(&blob).await.is_err(), "{bad:?}");
    }
    for bad in [page(), Reply::bytes(good.slice(1..)), Reply::bytes(manifest(&[b"another"])), Reply::bytes(good.clone()).cut_after(20), Reply::bytes("{}")] {
        mirror.upstream.answer(&format!("/v2/{by_digest}"), bad.clone());
        assert!(mirror.entry(&by_digest).await.is_err(), "{bad:?}");
    }
    for bad in [page(), Reply::bytes("{}"), Reply::bytes(""), Reply::bytes(vec![b'['; 5 << 20]), Reply::status(204)] {
        mirror.upstream.answer("/v2/a/b/manifests/latest", bad.clone());
        assert!(mirror.entry("a/b/manifests/latest").await.is_err(), "{bad:?}");
    }
    assert_eq!(mirror.house.head("alpha/hub"), 0);
    publish(&mirror.upstream, "a/b", "latest", &good, &[&large]);
    assert_eq!((mirror.bytes(&blob).await, mirror.bytes("a/b/manifests/latest").await), (Bytes::from(large), good.clone()));
    // A page in place of the tag does not replace it.
    mirror.upstream.answer("/v2/a/b/manifests/latest", page());
    let (file, bytes) = mirror.entry("a/b/manifests/latest").await.unwrap().unwrap();
    assert_eq!((bytes, file.source), (good, Source::Stale));
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_by_sha512_are_checked_as_well() {
    let (mirror, document) = mirror(json!({})).await;
    let long = |bytes: &[u8]| {
        let mut hasher = entrepot_kit::Hasher::new(&[entrepot_kit::Algorithm::Sha512]);
        hasher.update(bytes);
        format!("sha512:{}", hasher.finish().1.hex(entrepot_kit::Algorithm::Sha512).unwrap())
    };
    let (manifest_path, blob_path) = (format!("a/b/manifests/{}", long(&document)), format!("a/b/blobs/{}", long(LAYER)));
    mirror.upstream.answer(&format!("/v2/{manifest_path}"), Reply::bytes(document.clone()).header("Content-Type", IMAGE));
    mirror.upstream.answer(&format!("/v2/{blob_path}"), Reply::bytes("other"));
    assert_eq!(mirror.bytes(&manifest_path).await, document);
    assert!(mirror.entry(&blob_path).await.is_err());
    mirror.upstream.answer(&format!("/v2/{blob_path}"), Reply::bytes(LAYER));
    assert_eq!(mirror.bytes(&blob_path).await, LAYER);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_does_not_show_is_not_there() {
    let (mirror, document) = mirror(json!({ "mutable_ttl": 0, "negative_ttl": 0 })).await;
    let challenge = format!("Bearer realm=\"{}/token\",service=\"s\",scope=\"repository:a/b:pull\"", mirror.upstream.url());
    mirror.upstream.answer("/token", Reply::bytes(r#"{"token":"t"}"#));
    mirror.upstream.answer("/v2/secret/manifests/latest", Reply::status(200).guarded("Bearer never", &challenge));
    assert!(mirror.entry("secret/manifests/latest").await.unwrap().is_none());
    // What was shown once and is not shown now may be a mistake of the upstream's.
    assert_eq!(mirror.bytes("a/b/manifests/latest").await, document);
    mirror.upstream.answer("/v2/a/b/manifests/latest", Reply::status(200).guarded("Bearer never", &challenge));
    assert_eq!(mirror.entry("a/b/manifests/latest").await.unwrap().unwrap().0.source, Source::Stale);
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_come_from_the_interface_or_from_the_fallback_tag() {
    let (mirror, document) = mirror(json!({ "mutable_ttl": 0, "negative_ttl": 0 })).await;
    let subject = digest(&document);
    let (path, fallback) = (format!("a/b/referrers/{subject}"), format!("a/b/manifests/{}", subject.replace(':', "-")));
    let page = |digest: &str| json!({ "schemaVersion": 2, "manifests": [{ "digest": digest }] }).to_string();
    assert!(mirror.entry(&path).await.unwrap().is_none());
    mirror.upstream.answer(&format!("/v2/{fallback}"), Reply::bytes(page("1")).header("Content-Type", INDEX));
    assert_eq!(mirror.bytes(&fallback).await, page("1"));
    // With the interface, and in pages.
    let next = Reply::bytes(page("1")).header("Content-Type", INDEX).header("Link", format!("</v2/{path}?next=1>; rel=\"next\""));
    mirror.upstream.answer(&format!("/v2/{path}"), next.etag("\"1\""));
    mirror.upstream.answer(&format!("/v2/{path}?next=1"), Reply::bytes(page("2")).header("Content-Type", INDEX));
    let (file, bytes) = mirror.entry(&path).await.unwrap().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(file.entry.content_type.as_deref(), Some(INDEX));
    assert_eq!(list["manifests"], json!([{ "digest": "1" }, { "digest": "2" }]));
}
