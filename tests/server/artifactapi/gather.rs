//! `POST /cache-artifact`: everything of a remote that matches.

use std::io::Write as _;

use http::StatusCode;
use serde_json::{Value, json};

use super::{Caching, is};
use crate::raw::Call;
use crate::upstream::Reply;

fn html(page: &str) -> Reply {
    Reply::bytes(page.to_owned()).header("Content-Type", "text/html; charset=utf-8")
}

async fn gather(caching: &Caching, remote: &str, pattern: &str) -> (StatusCode, Value) {
    let body = json!({ "remote": remote, "pattern": pattern }).to_string();
    let answer = caching.house.call(Call::post("/cache-artifact", body).with("Content-Type", "application/json")).await;
    (answer.status, answer.json())
}

/// Path and status of each result.
fn results(report: &Value) -> Vec<(&str, &str)> {
    report["results"].as_array().unwrap().iter().map(|result| (result["path"].as_str().unwrap(), result["status"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_listing_names_is_fetched_and_reported() {
    let caching = Caching::start("  files:\n    base_url: UPSTREAM/root\n    immutable_patterns: ['\\.rpm$', '\\.zip$']\n").await;
    caching.upstream.answer(
        "/root/pool/",
        html("<a href=\"../\">..</a><a href=\"a.rpm\">a</a><a href='b.rpm'>b</a><a href=\"c.txt\">c</a><a href=\"sub/\">s</a><a href=\"gone.rpm\">g</a>"),
    );
    caching.upstream.answer("/root/pool/sub/", html("<a href=\"d%20e.rpm\">d</a><a href=\"f.zip\">f</a>"));
    for path in ["a.rpm", "b.rpm", "c.txt", "sub/d%20e.rpm", "sub/f.zip"] {
        caching.upstream.answer(&format!("/root/pool/{path}"), Reply::bytes("bytes"));
    }
    assert_eq!(caching.file("/api/files/pool/a.rpm").await, is(200, "remote", "bytes"));
    let (status, report) = gather(&caching, "files", "^pool/.*\\.(rpm|txt)$").await;
    assert_eq!(status, StatusCode::OK, "{report}");
    let expected =
        [("pool/a.rpm", "already_cached"), ("pool/b.rpm", "cached"), ("pool/c.txt", "error"), ("pool/gone.rpm", "not_found"), ("pool/sub/d e.rpm", "cached")];
    assert_eq!(results(&report), expected);
    assert_eq!((&report["matched"], &report["cached"], &report["truncated"]), (&json!(5), &json!(3), &json!(false)));
    assert_eq!(report["results"][0]["size"], 5);
    assert_eq!((caching.upstream.count("/root/pool/c.txt"), caching.upstream.count("/root/pool/sub/f.zip")), (0, 0), "what is not served is not fetched");
    caching.upstream.stop().await;
    assert_eq!(caching.file("/api/files/pool/sub/d%20e.rpm").await, is(200, "cache", "bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_apkindex_names_is_fetched() {
    let caching = Caching::start("  apk:\n    base_url: UPSTREAM\n    package: alpine\n").await;
    let index = "C:Q1x=\nP:tool\nV:1.0-r0\nA:x86_64\n\nP:other\nV:2-r1\n\n";
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(index.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "APKINDEX", index.as_bytes()).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&archive.into_inner().unwrap()).unwrap();
    caching.upstream.answer("/v3/main/x86_64/APKINDEX.tar.gz", Reply::bytes(packed.finish().unwrap()));
    caching.upstream.answer("/v3/main/x86_64/tool-1.0-r0.apk", Reply::bytes("tool"));
    let (status, report) = gather(&caching, "apk", "^v3/main/x86_64/tool.*\\.apk$").await;
    assert_eq!((status, results(&report)), (StatusCode::OK, vec![("v3/main/x86_64/tool-1.0-r0.apk", "cached")]), "{report}");
    caching.upstream.stop().await;
    assert_eq!(caching.file("/api/apk/v3/main/x86_64/tool-1.0-r0.apk").await, is(200, "cache", "tool"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_needs_no_listing() {
    let caching = Caching::start("  files:\n    base_url: UPSTREAM\n").await;
    caching.upstream.answer("/acme/tool/v1.0/tool.tar.gz", Reply::bytes("tool"));
    for expected in ["cached", "already_cached"] {
        let (_, report) = gather(&caching, "files", "acme/tool/v1\\.0/tool\\.tar\\.gz").await;
        assert_eq!(results(&report), [("acme/tool/v1.0/tool.tar.gz", expected)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_bounded() {
    let caching = Caching::start("  files:\n    base_url: UPSTREAM\n").await;
    let links: String = (0..1200).map(|number| format!("<a href=\"{number}.bin\">x</a>")).collect();
    caching.upstream.answer("/many/", html(&links));
    let (status, report) = gather(&caching, "files", "^many/").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&report["matched"], &report["truncated"]), (&json!(1000), &json!(true)));
    // A tree without end has one here.
    caching.upstream.answer("/deep/", html("<a href=\"a/\">a</a><a href=\"b/\">b</a>"));
    for depth in 1..12 {
        for folder in [format!("/deep/{}", "a/".repeat(depth)), format!("/deep/{}b/", "a/".repeat(depth - 1))] {
            caching.upstream.answer(&folder, html("<a href=\"a/\">a</a><a href=\"b/\">b</a><a href=\"f.bin\">f</a>"));
        }
    }
    let (status, report) = gather(&caching, "files", "^deep/.*none$").await;
    assert_eq!((status, &report["matched"]), (StatusCode::OK, &json!(0)));
    assert!(caching.upstream.seen().iter().filter(|seen| seen.target.starts_with("/deep/")).count() <= 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said() {
    let caching = Caching::start("  files:\n    base_url: UPSTREAM\n  own:\n    type: local\n").await;
    assert_eq!(gather(&caching, "files", "(").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(gather(&caching, "files", "").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(gather(&caching, "own", "x").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(gather(&caching, "nothing", "x").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(gather(&caching, "files", "^nowhere/.*").await.0, StatusCode::NOT_FOUND, "there is no listing");
    for body in ["", "[]", "{\"remote\":\"files\"}", "{\"remote\":\"files\",\"pattern\":\"x\",\"more\":1}"] {
        let answer = caching.house.call(Call::post("/cache-artifact", body.to_owned())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
    }
    let long = json!({ "remote": "files", "pattern": "x".repeat(10_000) }).to_string();
    assert_eq!(caching.house.call(Call::post("/cache-artifact", long)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}
