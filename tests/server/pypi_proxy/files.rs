//! Files: from wherever the page says, and never other ones than it promises.

use http::StatusCode;
use serde_json::json;

use super::{Mirror, file, page};
use crate::raw::Call;
use crate::upstream::{Reply, ScriptedUpstream};

#[tokio::test(flavor = "multi_thread")]
async fn files_come_from_other_hosts_without_our_credentials() {
    let mirror = Mirror::start(json!({ "username": "robot", "password": "secret" })).await;
    let elsewhere = ScriptedUpstream::start().await;
    let one = file("foo-1.0+x-py3-none-any.whl", &format!("{}/p/foo-1.0%2Bx-py3-none-any.whl", elsewhere.url()), b"one", json!({}));
    mirror.upstream.answer("/simple/foo/", page("foo", 1, &[one]));
    elsewhere.answer("/p/foo-1.0%2Bx-py3-none-any.whl", Reply::bytes("one").header("Content-Type", "binary/octet-stream"));
    Mirror::is(&mirror.get("files/foo/foo-1.0+x-py3-none-any.whl").await, "remote", b"one");
    Mirror::is(&mirror.get("files/foo/foo-1.0%2Bx-py3-none-any.whl").await, "cache", b"one");
    let part = mirror.house.call(Call::get("/alpha/mirror/files/foo/foo-1.0+x-py3-none-any.whl").with("Range", "bytes=1-")).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &b"ne"[..]));
    assert!(mirror.upstream.seen().iter().all(|seen| seen.header("authorization").is_some()));
    assert!(elsewhere.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert_eq!(elsewhere.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_than_was_promised_is_never_kept() {
    let mirror = Mirror::start(json!({})).await;
    let good = vec![7; 100_000];
    mirror.upstream.answer("/simple/foo/", page("foo", 1, &[file("foo-1.0.tar.gz", "../../p/foo-1.0.tar.gz", &good, json!({}))]));
    mirror
        .upstream
        .answer_in_turn("/p/foo-1.0.tar.gz", [Reply::bytes(vec![8; 100_000]), Reply::bytes(good.clone()).cut_after(50_000), Reply::bytes(good.clone())]);
    for attempt in 0..2 {
        match reqwest::get(format!("http://{}/alpha/mirror/files/foo/foo-1.0.tar.gz", mirror.house.host)).await {
            Ok(reply) if reply.status() == StatusCode::OK => assert!(reply.bytes().await.is_err(), "attempt {attempt}: a wrong body ended like a good one"),
            Ok(reply) => assert!(reply.status().is_server_error(), "attempt {attempt}: {}", reply.status()),
            // It broke off before its first byte.
            Err(error) => assert!(error.is_request(), "attempt {attempt}: {error}"),
        }
    }
    let reply = mirror.get("files/foo/foo-1.0.tar.gz").await;
    assert_eq!((reply.status, reply.body == good), (StatusCode::OK, true));
    assert_eq!(mirror.upstream.count("/p/foo-1.0.tar.gz"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_lead_nowhere_good_are_not_followed() {
    let mirror = Mirror::start(json!({})).await;
    let files = [
        file("foo-1.0.tar.gz", "file:///etc/passwd", b"x", json!({})),
        file("foo-2.0.tar.gz", "http://user:word@127.0.0.1:1/foo-2.0.tar.gz", b"x", json!({})),
        file("foo-3.0.tar.gz", "http://[", b"x", json!({})),
        file("..", "x", b"x", json!({})),
    ];
    mirror.upstream.answer("/simple/foo/", page("foo", 1, &files));
    for (version, status) in [("1.0", 404), ("2.0", 502), ("3.0", 502)] {
        assert_eq!(mirror.get(&format!("files/foo/foo-{version}.tar.gz")).await.status.as_u16(), status, "{version}");
    }
    assert_eq!(mirror.page("foo").await.json()["files"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beside_files_is_passed_on() {
    let mirror = Mirror::start(json!({})).await;
    let statement = json!({ "version": 1, "attestation_bundles": [] }).to_string();
    let one = file("foo-1.0.tar.gz", "foo-1.0.tar.gz", b"one", json!({ "provenance": format!("{}/p/foo", mirror.upstream.url()), "gpg-sig": true }));
    mirror.upstream.answer("/simple/foo/", page("foo", 1, &[one, file("foo-0.9.tar.gz", "foo-0.9.tar.gz", b"old", json!({}))]));
    mirror.upstream.answer("/p/foo", Reply::bytes(statement.clone()).header("Content-Type", "application/vnd.pypi.integrity.v1+json"));
    mirror.upstream.answer("/simple/foo/foo-1.0.tar.gz.asc", Reply::bytes("signature"));
    let url = mirror.page("foo").await.json()["files"][0]["provenance"].as_str().expect("a URL").to_owned();
    let path = url.split_once("/alpha/mirror/").expect("of this repository").1.to_owned();
    let reply = mirror.get(&path).await;
    assert_eq!((reply.status, reply.header("content-type"), reply.text()), (StatusCode::OK, "application/vnd.pypi.integrity.v1+json", statement));
    assert_eq!(mirror.get("files/foo/foo-1.0.tar.gz.asc").await.text(), "signature");
    assert_eq!(mirror.get("integrity/foo/0.9/foo-0.9.tar.gz/provenance").await.status, StatusCode::NOT_FOUND);
    assert_eq!(mirror.get("files/foo/foo-1.0.tar.gz.metadata").await.status, StatusCode::NOT_FOUND);
}
