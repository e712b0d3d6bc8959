//! Caches and files that belong to no package: what nobody asked for goes.

use super::*;
use crate::upstream::{Reply as Scripted, ScriptedUpstream};

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_drops_what_nobody_asked_for_and_fetches_it_again() {
    let later = Later::start().await;
    let upstream = ScriptedUpstream::start().await;
    let versions: serde_json::Map<_, _> = ["1.0.0", "2.0.0", "3.0.0"]
        .into_iter()
        .map(|version| {
            upstream.answer(&format!("/big/{version}"), Scripted::bytes(version));
            (version.to_owned(), json!({ "file": "elsewhere", "sha256": Sha256Digest::of(version.as_bytes()).hex() }))
        })
        .collect();
    upstream.answer("/big", Scripted::bytes(json!({ "name": "big", "versions": versions }).to_string()));
    let settings = json!({ "upstream": { "url": upstream.url(), "allow_private": true }, "retention": { "not_pulled_days": 30, "protect": [".*/3.0.0"] } });
    later.repository("cache", "toy", Kind::Proxy, settings).await;
    let get = async |version: &str| later.house.call(Call::get(format!("/alpha/cache/big/{version}"))).await;
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        assert_eq!(get(version).await.body, version);
    }
    later.pass(20);
    assert_eq!(get("2.0.0").await.header("x-artifact-source"), "cache");
    later.pass(15);
    let report = later.tidy("cache").await;
    assert_eq!(gone(&report, "file"), ["big/1.0.0"]);
    assert_eq!((reason(&report, "big/2.0.0").as_str(), reason(&report, "big/3.0.0").as_str()), ("pulled lately", "protected"));
    assert!(later.collect().await >= 1, "its bytes are free at once");
    assert_eq!(upstream.count("/big/1.0.0"), 1);
    assert_eq!((get("1.0.0").await.body, upstream.count("/big/1.0.0")), (Bytes::from("1.0.0"), 2));
    assert_eq!((get("2.0.0").await.body, upstream.count("/big/2.0.0")), (Bytes::from("2.0.0"), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_by_age_and_use_unless_they_are_protected() {
    let later = Later::start().await;
    let rules = json!({ "older_than_days": 10, "protect": ["release/.*"] });
    later.repository("files", "generic", Kind::Hosted, json!({ "retention": rules })).await;
    for path in ["nightly/1.zip", "release/1.zip"] {
        assert_eq!(later.owner(Call::put(format!("/alpha/files/{path}"), "bytes")).await.status, StatusCode::CREATED);
    }
    later.pass(9);
    assert_eq!(later.owner(Call::put("/alpha/files/nightly/2.zip", "others")).await.status, StatusCode::CREATED);
    assert!(gone(&later.tidy("files").await, "file").is_empty());
    later.pass(2);
    let report = later.tidy("files").await;
    assert_eq!(gone(&report, "file"), ["nightly/1.zip"]);
    assert_eq!((reason(&report, "release/1.zip").as_str(), reason(&report, "nightly/2.zip").as_str()), ("protected", "published lately"));
    assert_eq!(later.house.call(Call::get("/alpha/files/nightly/1.zip")).await.status, StatusCode::NOT_FOUND);
    let restore = Call::post("/api/v1/repositories/alpha/files/entries/restore", json!({ "path": "nightly/1.zip" }).to_string());
    assert_eq!(later.owner(restore.with("Content-Type", "application/json")).await.status, StatusCode::OK);
    assert_eq!(later.house.call(Call::get("/alpha/files/nightly/1.zip")).await.body, "bytes");
}
