//! What jars hold: pages that open in browsers, and archetypes.

use entrepot_format_maven::testing::{jar, path, pom};
use http::StatusCode;

use super::{HERE, delete, deploy, filled, get, house, put, refused, release};
use crate::raw::Call;
use entrepot_kit::Kind;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn javadoc_opens_in_a_browser_and_runs_nothing() {
    let house = house().await;
    let file = path("com.acme", "lib", "1.0", "-javadoc.jar");
    let page = "<!DOCTYPE html><script src=\"a.js\"></script>";
    deploy(&house, &file, jar(&[("index.html", page.as_bytes()), ("a.js", b"alert(1)"), ("style.css", b"a{}"), ("x/Y.class", b"\xca\xfe\xba\xbe")])).await;
    let list = get(&house, &format!("{file}!/")).await.json();
    let names: Vec<&str> = list["items"].as_array().expect("items").iter().filter_map(|item| item["path"].as_str()).collect();
    assert_eq!((names, &list["count"]), (vec!["index.html", "a.js", "style.css", "x/Y.class"], &json!(4)));
    let listed = house.call(Call::get(format!("{HERE}/{file}!/")).with("Accept", "text/html")).await;
    assert!(listed.text().contains(&format!("href=\"{HERE}/{file}!/index.html\"")), "{}", listed.text());
    let shown = get(&house, &format!("{file}!/index.html")).await;
    assert_eq!((shown.text().as_str(), shown.header("content-type"), shown.header("content-disposition")), (page, "text/html; charset=utf-8", ""));
    let policy = shown.header("content-security-policy");
    assert!(policy.starts_with("sandbox; default-src 'none'") && !policy.contains("allow-") && !policy.contains("script-src"), "{policy}");
    assert_eq!(shown.header("x-content-type-options"), "nosniff");
    for (inner, kind) in [("a.js", "text/javascript"), ("x/Y.class", "application/octet-stream"), ("style.css", "text/css")] {
        let saved = get(&house, &format!("{file}!/{inner}")).await;
        assert!(saved.header("content-disposition").starts_with("attachment") && saved.header("content-type").starts_with(kind), "{inner}");
    }
    for (inner, status) in [("none.html", 404), ("x/", 404), ("../lib-1.0.jar", 400)] {
        assert_eq!(get(&house, &format!("{file}!/{inner}")).await.status.as_u16(), status, "{inner}");
    }
    deploy(&house, &path("com.acme", "lib", "1.0", ".jar"), "no archive").await;
    assert_eq!(get(&house, &format!("{}!/", path("com.acme", "lib", "1.0", ".jar"))).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    refused(&put(&house, &format!("{file}!/index.html"), "x").await, 400, "Bad Request");
    // Of a snapshot under its plain name the newest build is looked into.
    deploy(&house, "com/acme/lib/1.1-SNAPSHOT/lib-1.1-20260101.000000-1.jar", filled("snapshot")).await;
    deploy(&house, "com/acme/lib/1.1-SNAPSHOT/lib-1.1-20260101.000000-1.pom", "<project/>").await;
    assert_eq!(get(&house, "com/acme/lib/1.1-SNAPSHOT/lib-1.1-SNAPSHOT.jar!/filling.txt").await.text(), "snapshot");
}

#[tokio::test(flavor = "multi_thread")]
async fn archetypes_are_listed() {
    let house = house().await;
    let empty = get(&house, "archetype-catalog.xml").await;
    assert_eq!((empty.status, empty.text().contains("<archetype>")), (StatusCode::OK, false));
    release(&house, "lib", "1.0").await;
    let described = pom("com.acme", "start", "1.0", "maven-archetype").replace("<packaging>", "<description>To begin &amp; go on</description><packaging>");
    deploy(&house, &path("com.acme", "start", "1.0", ".jar"), jar(&[("META-INF/maven/archetype-metadata.xml", b"<archetype-descriptor/>")])).await;
    deploy(&house, &path("com.acme", "start", "1.0", ".pom"), described).await;
    deploy(&house, &path("com.acme", "old", "2.0", ".jar"), jar(&[("META-INF/maven/archetype.xml", b"<archetype/>")])).await;
    let list = get(&house, "archetype-catalog.xml").await;
    let text = list.text();
    assert_eq!(text.matches("<archetype>").count(), 2, "{text}");
    assert!(text.contains("<artifactId>start</artifactId>\n      <version>1.0</version>\n      <description>To begin &amp; go on</description>"), "{text}");
    let sum = get(&house, "archetype-catalog.xml.sha1").await;
    assert_eq!(sum.text(), entrepot_format_maven::testing::checksum(&list.body, entrepot_kit::Algorithm::Sha1));
    assert_eq!(list.header("x-checksum-sha1"), sum.text());
    refused(&put(&house, "archetype-catalog.xml", "<archetype-catalog/>").await, 400, "made by the server");
    house.repository("alpha/all", "maven", Kind::Group, true, json!({ "members": ["alpha/maven"] })).await;
    assert_eq!(house.call(Call::get("/alpha/all/archetype-catalog.xml")).await.text(), text);
    assert_eq!(delete(&house, "com/acme/start/1.0/").await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete(&house, &path("com.acme", "old", "2.0", ".jar")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(get(&house, "archetype-catalog.xml").await.text(), empty.text());
}
