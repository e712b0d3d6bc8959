//! What there is besides files: information, health, the configuration, and what is stored.

use http::StatusCode;
use serde_json::json;

use super::Caching;
use crate::house::PASSWORD;
use crate::raw::Call;
use crate::upstream::Reply;

const REMOTES: &str = "  files:\n    base_url: UPSTREAM/root\n    description: Some files\n    immutable_patterns: ['x', '\\.bin$']\n    username: reader\n    password: hunter2\n    cache: { mutable_ttl: 77 }\n  own:\n    type: local\n  apk:\n    base_url: https://a.example\n    package: alpine\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_names_the_remotes() {
    let caching = Caching::start(REMOTES).await;
    caching.house.repository("main/other", "generic", entrepot_kit::Kind::Hosted, true, json!({})).await;
    let page = caching.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "application/json"));
    let page = page.json();
    assert_eq!(page["remotes"], json!(["apk", "files", "own"]));
    assert!(page["version"].is_string() && page["name"].is_string());
    let browser = caching.house.call(Call::get("/").with("Accept", "text/html")).await;
    assert!(browser.header("content-type").starts_with("text/html"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told() {
    let caching = Caching::start(REMOTES).await;
    assert_eq!(caching.get("/health").await.json()["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_shown_to_administrators_without_secrets() {
    let caching = Caching::start(REMOTES).await;
    assert_eq!(caching.get("/config").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(caching.house.call_as("alpha-owner", Call::get("/config")).await.status, StatusCode::FORBIDDEN);
    let shown = caching.house.call(Call::get("/config").signed("admin", PASSWORD)).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(!shown.text().contains("hunter2"));
    let shown = shown.json();
    let files = &shown["remotes"]["files"];
    assert_eq!(
        (&files["base_url"], &files["type"], &files["package"]),
        (&json!(format!("{}/root", caching.upstream.url())), &json!("remote"), &json!("generic"))
    );
    assert_eq!((&files["username"], &files["password"]), (&json!("reader"), &json!("(set)")));
    assert_eq!((&files["immutable_patterns"], &files["cache"]), (&json!(["x", "\\.bin$"]), &json!({ "immutable_ttl": 0, "mutable_ttl": 77 })));
    assert_eq!(shown["remotes"]["own"]["type"], "local");
    assert_eq!(shown["remotes"]["apk"]["built_in_mutable_patterns"], json!(["APKINDEX\\.tar\\.gz$"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_listed_in_pages() {
    let caching = Caching::start(REMOTES).await;
    for number in 0..5 {
        let path = format!("d{number}/{number}.bin");
        caching.upstream.answer(&format!("/root/{path}"), Reply::bytes(format!("{number}")));
        assert_eq!(caching.get(&format!("/api/files/{path}")).await.text(), format!("{number}"));
    }
    let all = caching.get("/artifacts/files").await.json();
    assert_eq!((&all["remote"], &all["count"], &all["next"]), (&json!("files"), &json!(5), &json!(null)));
    assert_eq!((&all["artifacts"][0]["path"], &all["artifacts"][0]["size"]), (&json!("d0/0.bin"), &json!(1)));
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = caching.get(&format!("/artifacts/files?limit=2&after={next}")).await.json();
        let items = page["artifacts"].as_array().unwrap().clone();
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|item| item["path"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(after) => next = after.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ["d0/0.bin", "d1/1.bin", "d2/2.bin", "d3/3.bin", "d4/4.bin"]);
    assert_eq!(caching.get("/artifacts/nothing").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(caching.house.call_as("alpha-owner", Call::get("/artifacts/nothing")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(caching.get("/artifacts/own").await.json()["count"], 0);
}
