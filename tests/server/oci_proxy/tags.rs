//! Lists of tags, and the names of images.

use entrepot_kit::Kind;
use http::StatusCode;
use serde_json::json;

use super::{Mirror, manifest, publish};
use crate::upstream::Reply;

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_of_tags_are_listed() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 }), json!({})).await;
    let page = |tags: &[&str]| Reply::bytes(json!({ "name": "a/b", "tags": tags }).to_string());
    let with_next = |reply: Reply, target: &str| reply.header("Link", format!("<{target}>; rel=\"next\""));
    mirror.upstream.answer("/v2/a/b/tags/list", with_next(page(&["1", "2"]), "/v2/a/b/tags/list?n=2&last=2").etag("\"1\""));
    mirror.upstream.answer("/v2/a/b/tags/list?n=2&last=2", with_next(page(&["3"]), &format!("{}/v2/a/b/tags/list?last=3", mirror.upstream.url())));
    mirror.upstream.answer("/v2/a/b/tags/list?last=3", page(&["4"]));
    for _ in 0..2 {
        assert_eq!(mirror.tags("a/b").await.unwrap().unwrap(), ["1", "2", "3", "4"]);
    }
    let asked = mirror.upstream.seen_at("/v2/a/b/tags/list");
    assert_eq!(asked.iter().map(|seen| seen.target.as_str()).filter(|target| target.ends_with("?n=1000")).count(), 2);
    assert!(asked.iter().all(|seen| seen.header("if-none-match").is_none()), "the validator of a page says nothing of the others");
    // Pages without end have one here.
    mirror.upstream.answer("/v2/loop/tags/list", with_next(page(&["1"]), "/v2/loop/tags/list"));
    assert_eq!(mirror.tags("loop").await.unwrap().unwrap(), ["1"]);
    assert!(mirror.upstream.count("/v2/loop/tags/list") <= 200);
    // Nor do they lead elsewhere with what is ours.
    assert!(mirror.tags("missing").await.unwrap().is_none());
    mirror.upstream.answer("/v2/page/tags/list", Reply::bytes("<html>").header("Content-Type", "text/html"));
    assert_eq!(mirror.tags("page").await.unwrap_err().status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_page_is_revalidated_by_its_etag() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 }), json!({})).await;
    mirror.upstream.answer("/v2/a/tags/list", Reply::bytes(r#"{"name":"a","tags":["1"]}"#).etag("\"1\""));
    for _ in 0..3 {
        assert_eq!(mirror.tags("a").await.unwrap().unwrap(), ["1"]);
    }
    assert_eq!(mirror.house.head("alpha/hub"), 1);
    assert_eq!(mirror.upstream.seen_at("/v2/a/tags/list")[2].header("if-none-match"), Some("\"1\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_one_part_belong_to_the_library_of_docker_hub() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 3600 }), json!({ "namespace": "docker.io" })).await;
    let document = manifest(&[]);
    publish(&mirror.upstream, "library/alpine", "3", &document, &[]);
    mirror.upstream.answer("/v2/library/alpine/tags/list", Reply::bytes(r#"{"name":"library/alpine","tags":["3"]}"#));
    for image in ["alpine", "library/alpine"] {
        assert_eq!(mirror.bytes(&format!("{image}/manifests/3")).await, document);
        assert_eq!(mirror.tags(image).await.unwrap().unwrap(), ["3"]);
    }
    assert_eq!(mirror.upstream.seen().len(), 2, "both names are one image: {:?}", mirror.upstream.seen());
    let repo = mirror.house.engine().repo(&entrepot_kit::Address::parse("alpha/hub").unwrap()).unwrap();
    assert_eq!((repo.namespace(), &*repo.full_name("alpine"), &*repo.full_name("a/b")), (Some("docker.io"), "library/alpine", "a/b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_say_what_is_mirrored() {
    let settings = json!({ "namespace": "docker.io", "patterns": ["^library/", "^prom/.*exporter$"] });
    let mirror = Mirror::start(json!({}), settings).await;
    let document = manifest(&[]);
    for image in ["library/alpine", "prom/node-exporter", "evil/miner"] {
        publish(&mirror.upstream, image, "1", &document, &[]);
        mirror.upstream.answer(&format!("/v2/{image}/tags/list"), Reply::bytes(r#"{"name":"x","tags":["1"]}"#));
    }
    for image in ["alpine", "library/alpine", "prom/node-exporter"] {
        assert_eq!(mirror.bytes(&format!("{image}/manifests/1")).await, document);
    }
    let asked = mirror.upstream.seen().len();
    let refusals = [
        mirror.entry("evil/miner/manifests/1").await.map(drop).unwrap_err(),
        mirror.entry(&format!("evil/miner/blobs/{}", super::digest(b"{}"))).await.map(drop).unwrap_err(),
        mirror.tags("evil/miner").await.map(drop).unwrap_err(),
        mirror.entry("prom/prometheus/manifests/1").await.map(drop).unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!((refusal.status(), refusal.policy()), (StatusCode::FORBIDDEN, Some("patterns")));
        assert!(refusal.message().contains("^library/ ^prom/.*exporter$"), "{}", refusal.message());
    }
    // In a group the member does not take part.
    mirror.house.repository("alpha/all", "oci", Kind::Group, true, json!({ "members": ["alpha/hub"] })).await;
    assert!(mirror.entry_of("alpha/all", "evil/miner/manifests/1").await.unwrap().is_none());
    assert_eq!(mirror.entry_of("alpha/all", "alpine/manifests/1").await.unwrap().unwrap().1, document);
    assert_eq!(mirror.upstream.seen().len(), asked, "the upstream was not asked");
}
