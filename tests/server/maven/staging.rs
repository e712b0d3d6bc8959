//! Releases that wait where nobody sees them, and become visible at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use entrepot_format_maven::testing::{checksum, jar, path, pom};
use entrepot_kit::{Algorithm, Kind};
use futures::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{HERE, deploy, filled, get, house, house_with, metadata, put, refused, release};
use crate::house::House;
use crate::raw::{Call, Reply};

const STAGE: &str = ".staging/release-7";

fn staged(path: &str) -> String {
    format!("{STAGE}/{path}")
}

async fn at_stage(house: &House, method: Method, query: &str) -> Reply {
    house.call_as("bob", Call::new(method, format!("{HERE}/{STAGE}{query}"))).await
}

/// Deploys jar and pom to the stage, with checksums as Maven sends them.
async fn stage(house: &House, artifact: &str, version: &str) {
    let (file, bytes) = (path("com.acme", artifact, version, ".jar"), filled(version));
    deploy(house, &staged(&file), bytes.clone()).await;
    deploy(house, &staged(&format!("{file}.sha1")), checksum(&bytes, Algorithm::Sha1)).await;
    deploy(house, &staged(&path("com.acme", artifact, version, ".pom")), pom("com.acme", artifact, version, "jar")).await;
    deploy(house, &staged(&format!("com/acme/{artifact}/maven-metadata.xml")), "<metadata><groupId>com.acme</groupId></metadata>").await;
    deploy(house, &staged(&format!("com/acme/{artifact}/maven-metadata.xml.sha1")), checksum(b"x", Algorithm::Sha1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_seen_by_nobody() {
    let house = house().await;
    release(&house, "lib", "1.0").await;
    house.repository("alpha/all", "maven", Kind::Group, true, json!({ "members": ["alpha/maven"] })).await;
    let head = house.head("alpha/maven");
    stage(&house, "lib", "2.0").await;
    stage(&house, "new", "1.0").await;
    assert_eq!(house.head("alpha/maven"), head, "nothing became visible");
    let file = path("com.acme", "lib", "2.0", ".jar");
    let hidden = [file.clone(), format!("{file}.sha1"), staged(&file), format!("{STAGE}/"), String::from(".staging/"), String::from("com/acme/lib/2.0/")];
    for base in [HERE, "/alpha/all"] {
        for path in &hidden {
            let nobody = house.call(Call::get(format!("{base}/{path}"))).await;
            assert!(!nobody.status.is_success(), "{base}/{path}: {}", nobody.status);
        }
        let seen = house.call(Call::get(format!("{base}/com/acme/lib/maven-metadata.xml"))).await;
        assert!(!seen.text().contains("2.0"), "{}", seen.text());
        let seen = house.call(Call::get(format!("{base}/com/acme/new/maven-metadata.xml"))).await;
        assert_eq!(seen.status, StatusCode::NOT_FOUND);
        for listing in ["?recursive=true", "?recursive=true&limit=1", "?limit=1", "com/acme/?recursive=true"] {
            let seen = house.call(Call::get(format!("{base}/{listing}"))).await;
            assert!(!seen.text().contains("2.0") && !seen.text().contains("staging") && !seen.text().contains("new"), "{}", seen.text());
        }
        let seen = house.call(Call::get(format!("{base}/.meta/prefixes.txt"))).await;
        assert!(!seen.text().contains("new"), "{}", seen.text());
    }
    for (target, what) in [("packages?q=new", "new"), ("packages", "com.acme:new"), ("history", "2.0")] {
        let seen = house.call_as("alpha-owner", Call::get(format!("/api/v1/repositories/alpha/maven/{target}"))).await;
        assert_eq!(seen.status, StatusCode::OK, "{target}");
        assert!(!seen.text().contains(what), "{target}: {}", seen.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_readers_are_not_let_in() {
    let house = house().await;
    house.user("reader", &[("system", "alpha")]).await;
    stage(&house, "lib", "2.0").await;
    let file = staged(&path("com.acme", "lib", "2.0", ".jar"));
    for target in [file.clone(), format!("{STAGE}/"), STAGE.to_owned(), String::from(".staging/"), String::from(".staging")] {
        let target = format!("{HERE}/{target}");
        let (nobody, reader) = (house.call(Call::get(&*target)).await, house.call_as("reader", Call::get(&*target)).await);
        assert_eq!((nobody.status.as_u16(), reader.status.as_u16()), (401, 403), "{target}");
        assert_eq!(house.call_as("bob", Call::get(&*target)).await.status, StatusCode::OK, "{target}");
    }
    for method in [Method::POST, Method::DELETE] {
        let reader = house.call_as("reader", Call::new(method.clone(), format!("{HERE}/{STAGE}"))).await;
        assert_eq!(reader.status, StatusCode::FORBIDDEN, "{method}");
    }
    // Who deployed it can look at it as at a repository.
    let sum = house.call_as("bob", Call::get(format!("{HERE}/{file}.sha512"))).await;
    assert_eq!(sum.text(), checksum(&filled("2.0"), Algorithm::Sha512));
    let list = house.call_as("bob", Call::get(format!("{HERE}/{}", staged("com/acme/lib/maven-metadata.xml")))).await;
    assert!(list.text().contains("<version>2.0</version>"), "{}", list.text());
    let missing = house.call_as("bob", Call::get(format!("{HERE}/{}", staged("com/acme/none/maven-metadata.xml")))).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_is_one_revision_and_a_drop_leaves_nothing() {
    let house = house().await;
    release(&house, "lib", "1.0").await;
    stage(&house, "lib", "2.0").await;
    let plugin = jar(&[("META-INF/maven/plugin.xml", b"<plugin><name>Tool</name><goalPrefix>tool</goalPrefix></plugin>")]);
    deploy(&house, &staged(&path("com.acme", "tool-maven-plugin", "1.0", ".jar")), plugin).await;
    deploy(&house, &staged(&path("com.acme", "tool-maven-plugin", "1.0", ".pom")), pom("com.acme", "tool-maven-plugin", "1.0", "maven-plugin")).await;
    let state = at_stage(&house, Method::GET, "").await.json();
    assert_eq!((&state["complete"], &state["problems"]), (&json!(true), &json!([])));
    assert_eq!(state["versions"], json!(["com.acme:lib 2.0", "com.acme:tool-maven-plugin 1.0"]));
    let head = house.head("alpha/maven");
    let done = at_stage(&house, Method::POST, "?seal=true").await;
    assert_eq!((done.status, &done.json()["files"], &done.json()["revision"]), (StatusCode::OK, &json!(4), &json!(head + 1)), "{}", done.text());
    assert_eq!(house.head("alpha/maven"), head + 1);
    assert_eq!(metadata(&house, "com/acme/lib").await.versions, ["1.0", "2.0"]);
    assert_eq!(metadata(&house, "com/acme").await.plugins.len(), 1);
    let file = get(&house, &path("com.acme", "lib", "2.0", ".jar")).await;
    assert_eq!((&file.body[..], file.header("x-checksum-sha1")), (&filled("2.0")[..], &*checksum(&filled("2.0"), Algorithm::Sha1)));
    refused(&put(&house, &path("com.acme", "lib", "2.0", "-sources.jar"), filled("x")).await, 409, "sealed");
    assert_eq!(at_stage(&house, Method::GET, "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(at_stage(&house, Method::POST, "").await.status, StatusCode::NOT_FOUND);

    stage(&house, "lib", "3.0").await;
    let stages = house.call_as("bob", Call::get(format!("{HERE}/.staging/"))).await.json();
    assert_eq!(stages["stages"], json!([{ "id": "release-7" }]));
    assert_eq!(at_stage(&house, Method::DELETE, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(at_stage(&house, Method::DELETE, "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&house, &path("com.acme", "lib", "3.0", ".jar")).await.status, StatusCode::NOT_FOUND);
    // What was dropped can be deployed again, to a stage of the same name.
    stage(&house, "lib", "3.0").await;
    assert_eq!(at_stage(&house, Method::POST, "").await.status, StatusCode::OK);
    assert_eq!(metadata(&house, "com/acme/lib").await.versions, ["1.0", "2.0", "3.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_complete_stays_where_it_is() {
    let house = house_with(json!({ "release_checks": ["sources"] })).await;
    let head = house.head("alpha/maven");
    stage(&house, "lib", "2.0").await;
    let file = path("com.acme", "bare", "1.0", ".jar");
    // The checksum comes first, and is of something else.
    deploy(&house, &staged(&format!("{file}.sha1")), checksum(b"other", Algorithm::Sha1)).await;
    deploy(&house, &staged(&file), filled("bare")).await;
    deploy(&house, &staged(&path("com.acme", "wrong", "1.0", ".pom")), pom("com.evil", "wrong", "1.0", "pom")).await;
    let refusal = at_stage(&house, Method::POST, "?require=signatures").await;
    refused(&refusal, 422, "not complete");
    for problem in [
        "com.acme:bare 1.0 has no pom",
        "the sha1 of com/acme/bare/1.0/bare-1.0.jar is not that of the file",
        "is the pom of com.evil:wrong 1.0",
        "com.acme:lib 2.0 has no sources",
        "lib-2.0.jar has no signature",
    ] {
        assert!(refusal.text().contains(problem), "{problem}: {}", refusal.text());
    }
    assert_eq!(house.head("alpha/maven"), head);
    let asked = at_stage(&house, Method::POST, "?require=everything").await;
    assert_eq!(asked.status, StatusCode::BAD_REQUEST, "{}", asked.text());

    refused(&put(&house, &staged(&file), filled("other")).await, 409, "other bytes");
    deploy(&house, &staged(&file), filled("bare")).await;
    refused(&put(&house, &staged(&format!("{file}.md5")), checksum(b"x", Algorithm::Md5)).await, 400, "checksum");
    for (path, status) in [
        ("com/acme/lib/1.1-SNAPSHOT/lib-1.1-20260101.000000-1.jar", 409),
        ("readme.txt", 400),
        (".staging/x/com/acme/lib/1.0/lib-1.0.jar", 400),
        ("archetype-catalog.xml", 400),
        ("", 400),
    ] {
        assert_eq!(put(&house, &staged(path), "x").await.status.as_u16(), status, "{path}");
    }
    for id in [".hidden", "%2e%2e", "a%2fb", &"x".repeat(65), "a%20b"] {
        let reply = put(&house, &format!(".staging/{id}/{}", path("com.acme", "lib", "1.0", ".jar")), "x").await;
        assert!(reply.status.is_client_error(), "{id}: {}", reply.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_replaces_nothing() {
    let house = house().await;
    release(&house, "lib", "1.0").await;
    let head = house.head("alpha/maven");
    deploy(&house, &staged(&path("com.acme", "lib", "1.0", ".pom")), pom("com.acme", "lib", "1.0", "jar")).await;
    deploy(&house, &staged(&path("com.acme", "lib", "1.0", ".jar")), filled("other bytes")).await;
    refused(&at_stage(&house, Method::POST, "").await, 409, "exists with other bytes");
    assert_eq!((house.head("alpha/maven"), get(&house, &path("com.acme", "lib", "1.0", ".jar")).await.body), (head, filled("1.0").into()));
}

/// The modules of the release that is promoted while others read: four files each.
const MODULES: usize = 50;
const ENDINGS: [&str; 4] = [".pom", ".jar", "-sources.jar", "-javadoc.jar"];

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_files_become_visible_at_once() {
    let house = house().await;
    let name = |number: usize| format!("module-{number}");
    for number in 0..MODULES {
        release(&house, &name(number), "1.0").await;
    }
    join_all((0..MODULES).map(async |number| {
        for ending in ENDINGS {
            let body = if ending == ".pom" { pom("com.acme", &name(number), "2.0", "jar").into_bytes() } else { filled(ending) };
            deploy(&house, &staged(&path("com.acme", &name(number), "2.0", ending)), body).await;
        }
    }))
    .await;
    let head = house.head("alpha/maven");
    let promoted = AtomicBool::new(false);
    // Whoever sees one file, or one version in a list, sees every file that is asked for from then on: in other orders by each reader. A list
    // may be older than a file by the moment until the promotion is acknowledged.
    let reader = async |reader: usize| {
        let mut seen = 0;
        let mut rounds = 0;
        while rounds < 2 || !promoted.load(Ordering::SeqCst) || seen == 0 {
            rounds += 1;
            let was_promoted = promoted.load(Ordering::SeqCst);
            let mut visible = was_promoted;
            for step in 0..MODULES {
                let number = (reader * 7 + step * 11) % MODULES;
                let listed = metadata(&house, &format!("com/acme/{}", name(number))).await.versions == ["1.0", "2.0"];
                visible |= listed;
                let file = get(&house, &path("com.acme", &name(number), "2.0", ENDINGS[(reader + step) % 4])).await.status == StatusCode::OK;
                assert!(!visible || file, "reader {reader} sees a part of the release, without module {number}");
                assert!(!was_promoted || listed, "module {number} is not listed after the promotion");
                visible |= file;
            }
            let whole = house.call(Call::get(format!("{HERE}/com/acme/?recursive=true&limit=5000"))).await.json();
            let new: BTreeSet<&str> = whole["items"]
                .as_array()
                .expect("items")
                .iter()
                .filter_map(|item: &Value| item["path"].as_str())
                .filter(|path| path.contains("/2.0/"))
                .collect();
            assert!(new.is_empty() || new.len() == MODULES * ENDINGS.len(), "a list shows {} files of the release", new.len());
            seen += usize::from(visible);
        }
    };
    let promotion = async {
        let done = at_stage(&house, Method::POST, "").await;
        promoted.store(true, Ordering::SeqCst);
        assert_eq!((done.status, &done.json()["files"]), (StatusCode::OK, &json!(MODULES * ENDINGS.len())), "{}", done.text());
    };
    futures::join!(join_all((0..4).map(reader)), promotion);
    assert_eq!(house.head("alpha/maven"), head + 1, "one revision");
}
