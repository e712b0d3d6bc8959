//! Metadata of wheels: as it is promised, or taken out of the wheel where it is.

use entrepot_format_pypi::testing::Wheel;
use http::StatusCode;
use serde_json::json;

use super::{Mirror, file, large_wheel, page, sha256};
use crate::upstream::Reply;

#[tokio::test(flavor = "multi_thread")]
async fn promised_metadata_is_fetched_and_held_against_its_hash() {
    let mirror = Mirror::start(json!({})).await;
    let (filename, wheel, metadata) = large_wheel();
    let promised = |url: &str| file(&filename, url, &wheel, json!({ "core-metadata": { "sha256": sha256(metadata.as_bytes()) } }));
    mirror.upstream.answer("/simple/foo/", page("foo", 1, &[promised("../../p/foo.whl")]));
    mirror.upstream.answer_in_turn("/p/foo.whl.metadata", [Reply::bytes("Name: evil\n"), Reply::bytes(metadata.clone())]);
    let path = format!("files/foo/{filename}.metadata");
    match reqwest::get(format!("http://{}/alpha/mirror/{path}", mirror.house.host)).await {
        Ok(reply) if reply.status() == StatusCode::OK => assert!(reply.bytes().await.is_err(), "other metadata than was promised ended like a good one"),
        Ok(reply) => assert_eq!(reply.status(), StatusCode::BAD_GATEWAY),
        Err(error) => panic!("{error}"),
    }
    Mirror::is(&mirror.get(&path).await, "remote", metadata.as_bytes());
    Mirror::is(&mirror.get(&path).await, "cache", metadata.as_bytes());
    assert_eq!(mirror.upstream.count("/p/foo.whl.metadata"), 2);
    // Metadata that is not what was promised is looked for in the wheel, which is not there.
    assert!(mirror.upstream.count("/p/foo.whl") <= 1);
}

/// What failed where it was promised, and is in no wheel either, is a failure: it is asked for again, and not remembered as missing.
#[tokio::test(flavor = "multi_thread")]
async fn promised_metadata_that_failed_is_asked_for_again() {
    let mirror = Mirror::start(json!({})).await;
    let (filename, wheel, metadata) = large_wheel();
    let promised = file(&filename, "../../p/foo.whl", &wheel, json!({ "core-metadata": { "sha256": sha256(metadata.as_bytes()) } }));
    mirror.upstream.answer("/simple/foo/", page("foo", 1, &[promised]));
    mirror.upstream.answer_in_turn("/p/foo.whl.metadata", [Reply::status(503), Reply::bytes(metadata.clone())]);
    let path = format!("files/foo/{filename}.metadata");
    let failed = mirror.get(&path).await;
    assert!(failed.status.is_server_error(), "{} {}", failed.status, failed.text());
    assert_eq!(mirror.upstream.count("/p/foo.whl"), 1, "the wheel was looked into");
    Mirror::is(&mirror.get(&path).await, "remote", metadata.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_is_not_there_is_taken_out_of_the_wheel_by_ranges() {
    let mirror = Mirror::start(json!({})).await;
    let (filename, wheel, metadata) = large_wheel();
    let path = format!("files/foo/{filename}.metadata");
    mirror.upstream.answer("/simple/foo/", page("foo", 1, &[file(&filename, "../../p/foo.whl", &wheel, json!({}))]));
    mirror.upstream.answer("/p/foo.whl", Reply::bytes(wheel.clone()).ranged());
    assert_eq!(mirror.page("foo").await.json()["files"][0]["core-metadata"], true);
    Mirror::is(&mirror.get(&path).await, "remote", metadata.as_bytes());
    let asked = mirror.upstream.seen_at("/p/foo.whl");
    assert!(!asked.is_empty() && asked.len() <= 3, "{asked:?}");
    assert!(asked.iter().all(|seen| seen.header("range").is_some_and(|range| range.starts_with("bytes="))), "the wheel was fetched whole: {asked:?}");
    let ranges = asked.len();
    mirror.upstream.stop().await;
    Mirror::is(&mirror.get(&path).await, "cache", metadata.as_bytes());
    mirror.upstream.start_again().await;
    Mirror::is(&mirror.get(&format!("files/foo/{filename}")).await, "remote", &wheel);
    assert_eq!(mirror.upstream.count("/p/foo.whl"), ranges + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_without_ranges_gives_the_wheel_once() {
    let mirror = Mirror::start(json!({})).await;
    let (filename, wheel, metadata) = large_wheel();
    mirror.upstream.answer("/simple/foo/", page("foo", 1, &[file(&filename, "../../p/foo.whl", &wheel, json!({}))]));
    mirror.upstream.answer("/p/foo.whl", Reply::bytes(wheel.clone()));
    Mirror::is(&mirror.get(&format!("files/foo/{filename}.metadata")).await, "remote", metadata.as_bytes());
    Mirror::is(&mirror.get(&format!("files/foo/{filename}")).await, "cache", &wheel);
    assert_eq!(mirror.upstream.count("/p/foo.whl"), 2, "once for a range, which was not given, and once for all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_wheel_that_is_kept_nothing_is_asked() {
    let mirror = Mirror::start(json!({})).await;
    let (filename, wheel, metadata) = large_wheel();
    mirror.upstream.answer("/simple/foo/", page("foo", 1, &[file(&filename, "../../p/foo.whl", &wheel, json!({}))]));
    mirror.upstream.answer("/p/foo.whl", Reply::bytes(wheel.clone()).ranged());
    Mirror::is(&mirror.get(&format!("files/foo/{filename}")).await, "remote", &wheel);
    mirror.get(&format!("files/foo/{filename}.metadata")).await;
    Mirror::is(&mirror.get(&format!("files/foo/{filename}.metadata")).await, "cache", metadata.as_bytes());
    assert_eq!(mirror.upstream.count("/p/foo.whl"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_the_upstream_does_not_keep_is_kept_here() {
    let mirror = Mirror::start(json!({})).await;
    let (filename, wheel, metadata) = large_wheel();
    let promised = file(&filename, "../../p/foo.whl", &wheel, json!({ "core-metadata": { "sha256": sha256(metadata.as_bytes()) } }));
    let wrong = file("bar-1.0-py3-none-any.whl", "../../p/foo.whl", &wheel, json!({ "core-metadata": { "sha256": sha256(b"other") } }));
    let hidden_wheel = Wheel::new("hidden", "1.0", "x").build();
    let broken = file("baz-1.0-py3-none-any.whl", "../../p/baz.whl", b"no wheel", json!({}));
    let gone = file("gone-1.0-py3-none-any.whl", "../../p/gone.whl", b"gone", json!({}));
    let hidden = file("hidden-1.0-py3-none-any.whl", "../../p/hidden.whl", &hidden_wheel, json!({ "core-metadata": true }));
    mirror.upstream.answer("/simple/foo/", page("foo", 1, &[promised, wrong, broken, gone, hidden]));
    mirror.upstream.answer("/p/hidden.whl.metadata", Reply::status(403));
    mirror.upstream.answer("/p/hidden.whl", Reply::bytes(hidden_wheel).ranged());
    mirror.upstream.answer("/p/foo.whl", Reply::bytes(wheel.clone()).ranged());
    mirror.upstream.answer("/p/baz.whl", Reply::bytes("no wheel").ranged());
    Mirror::is(&mirror.get(&format!("files/foo/{filename}.metadata")).await, "remote", metadata.as_bytes());
    assert_eq!(mirror.upstream.count("/p/foo.whl.metadata"), 1);
    for (name, status) in [("bar", 502), ("baz", 502), ("gone", 404), ("hidden", 200)] {
        assert_eq!(mirror.get(&format!("files/foo/{name}-1.0-py3-none-any.whl.metadata")).await.status.as_u16(), status, "{name}");
    }
}
