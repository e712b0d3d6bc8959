//! What goes by itself: builds of snapshots, checksums without files, stages that nobody promotes.

use entrepot_format_maven::metadata::Metadata;
use entrepot_format_maven::testing::{checksum, path, pom};
use entrepot_kit::Algorithm;
use http::StatusCode;
use serde_json::json;

use super::later::Later;
use super::{HERE, OWNER, deploy, filled, get, metadata, put, release};
use crate::house::House;
use crate::raw::Call;

const FOLDER: &str = "com/acme/lib/1.1-SNAPSHOT";

fn file(number: u32, ending: &str) -> String {
    format!("{FOLDER}/lib-1.1-20260101.0000{number:02}-{number}{ending}")
}

/// Deploys a build as Maven does.
async fn build(house: &House, number: u32) {
    deploy(house, &file(number, ".jar"), filled(&number.to_string())).await;
    deploy(house, &file(number, ".pom"), pom("com.acme", "lib", "1.1-SNAPSHOT", "jar")).await;
    let own = Metadata { snapshot: Some((format!("20260101.0000{number:02}"), number)), version: String::from("1.1-SNAPSHOT"), ..Metadata::default() };
    deploy(house, &format!("{FOLDER}/maven-metadata.xml"), own.render()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_builds_go_and_the_history_has_them() {
    let later = Later::start(json!({"snapshots": {"keep": 2, "older_than_days": 10}})).await;
    let house = &later.house;
    for number in 1..=4 {
        build(house, number).await;
    }
    assert!(later.tidy().await.is_empty(), "all of them are young");
    let before = house.head("alpha/maven");
    later.pass(11);
    let gone = later.tidy().await;
    let mut wanted: Vec<String> = [1, 2].iter().flat_map(|number| [".jar", ".pom"].map(|ending| format!("file {}", file(*number, ending)))).collect();
    wanted.sort();
    assert_eq!(
        {
            let mut gone = gone;
            gone.sort();
            gone
        },
        wanted
    );
    let shown = metadata(house, FOLDER).await;
    assert_eq!(shown.snapshot, Some((String::from("20260101.000004"), 4)));
    assert_eq!(get(house, &file(1, ".jar")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(house, &file(3, ".jar")).await.body, filled("3"));
    assert!(later.tidy().await.is_empty(), "what is done is done");
    let past = house.call(Call::get(format!("{HERE}.at-r{before}/{}", file(1, ".jar")))).await;
    assert_eq!(past.body, filled("1"), "nothing is lost before its history is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_goes_some_days_after_its_release() {
    let later = Later::start(json!({"snapshots": {"released_days": 3}})).await;
    let house = &later.house;
    build(house, 1).await;
    deploy(house, "com/acme/lib/1.2-SNAPSHOT/lib-1.2-20260101.000000-1.pom", pom("com.acme", "lib", "1.2-SNAPSHOT", "jar")).await;
    later.pass(30);
    release(house, "lib", "1.1").await;
    assert!(later.tidy().await.is_empty());
    later.pass(4);
    assert_eq!(later.tidy().await, ["version 1.1-SNAPSHOT"]);
    assert_eq!(metadata(house, "com/acme/lib").await.versions, ["1.1", "1.2-SNAPSHOT"]);
    assert_eq!(get(house, &format!("{FOLDER}/maven-metadata.xml")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(house, &file(1, ".jar")).await.status, StatusCode::NOT_FOUND);
    // The next build of the same snapshot begins anew.
    build(house, 2).await;
    assert_eq!(metadata(house, FOLDER).await.snapshot, Some((String::from("20260101.000002"), 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_vain_goes() {
    let later = Later::start(json!({})).await;
    let house = &later.house;
    let lost = format!("{}.sha1", path("com.acme", "lib", "1.0", ".jar"));
    deploy(house, &lost, checksum(b"never comes", Algorithm::Sha1)).await;
    let stage = |path: &str| format!(".staging/one/{path}");
    deploy(house, &stage(&path("com.acme", "staged", "1.0", ".pom")), pom("com.acme", "staged", "1.0", "jar")).await;
    later.pass(6);
    assert!(later.tidy().await.is_empty(), "a build may take days");
    later.pass(2);
    assert_eq!(later.tidy().await, [format!("file .checksums/{lost}")]);
    deploy(house, &path("com.acme", "lib", "1.0", ".jar"), filled("comes after all")).await;

    // A stage goes as a whole, and not while something is added to it.
    deploy(house, &stage(&path("com.acme", "staged", "1.0", ".jar")), filled("x")).await;
    later.pass(25);
    assert!(later.tidy().await.is_empty());
    later.pass(6);
    assert_eq!(later.tidy().await.len(), 2);
    let state = house.call_as(OWNER, Call::get(format!("{HERE}/.staging/one"))).await;
    assert_eq!(state.status, StatusCode::NOT_FOUND, "{}", state.text());
    assert_eq!(put(house, &stage(&path("com.acme", "staged", "1.0", ".jar")), filled("y")).await.status, StatusCode::CREATED);
}
