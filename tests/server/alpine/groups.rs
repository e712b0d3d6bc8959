//! Groups: what the members have, in one index with the group's own signature.

use entrepot_kit::Kind;
use http::StatusCode;
use serde_json::json;

use super::proxy::Mirror;
use super::{HERE, MAIN, built, get, index_of, packages_of, publish};
use crate::raw::Call;
use crate::upstream::Reply;

const ALL: &str = "/alpha/all";

/// `alpha/ours` before `alpha/mirror`, which has `shared` 1 and 2 and `theirs`.
async fn group() -> Mirror {
    let mirror = Mirror::start(3600).await;
    for (name, version) in [("shared", "1-r0"), ("shared", "2-r0"), ("theirs", "1-r0")] {
        mirror.show(&built(name, version)).await;
    }
    mirror.house.repository("alpha/ours", "alpine", Kind::Hosted, true, json!({})).await;
    mirror.house.repository("alpha/all", "alpine", Kind::Group, true, json!({ "members": ["alpha/ours", "alpha/mirror"] })).await;
    mirror
}

async fn publish_ours(mirror: &Mirror, name: &str, version: &str) {
    let reply = mirror.house.call_as("bob", Call::put(format!("/alpha/ours/{MAIN}"), built(name, version).containing(b"ours").bytes())).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_groups_are_merged_and_signed_with_their_own_key() {
    let mirror = group().await;
    let house = &mirror.house;
    publish_ours(&mirror, "ours", "1-r0").await;
    assert_eq!(packages_of(house, ALL, "x86_64").await, ["ours-1-r0 x86_64", "shared-2-r0 x86_64", "shared-1-r0 x86_64", "theirs-1-r0 x86_64"]);
    let key = |index: &serde_json::Value| index["verified"][0].as_str().expect("a key").to_owned();
    assert!(key(&index_of(house, ALL, "x86_64").await).contains(" all-"));
    assert!(key(&index_of(house, HERE, "x86_64").await).contains(" alpine-"));
    for (path, body) in [("ours-1-r0.apk", built("ours", "1-r0").containing(b"ours").bytes()), ("theirs-1-r0.apk", built("theirs", "1-r0").bytes())] {
        assert_eq!(house.call(Call::get(format!("{ALL}/{MAIN}/x86_64/{path}"))).await.body, body, "{path}");
    }
    let reply = house.call_as("bob", Call::put(format!("{ALL}/{MAIN}"), built("new", "1-r0").bytes())).await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// Nobody upstream can bring a newer version of what is ours.
#[tokio::test(flavor = "multi_thread")]
async fn alpine_names_of_hosted_members_are_theirs_alone() {
    let mirror = group().await;
    let house = &mirror.house;
    assert_eq!(packages_of(house, ALL, "x86_64").await.len(), 3);
    publish_ours(&mirror, "shared", "1-r0").await;
    assert_eq!(packages_of(house, ALL, "x86_64").await, ["shared-1-r0 x86_64", "theirs-1-r0 x86_64"]);
    assert_eq!(house.call(Call::get(format!("{ALL}/{MAIN}/x86_64/shared-1-r0.apk"))).await.body, built("shared", "1-r0").containing(b"ours").bytes());
    assert_eq!(house.call(Call::get(format!("{ALL}/{MAIN}/x86_64/shared-2-r0.apk"))).await.status, StatusCode::NOT_FOUND);
    let rules = json!({ "members": ["alpha/ours", "alpha/mirror"], "rules": { "merge": ["shared"] } });
    house.repository("alpha/merged", "alpine", Kind::Group, true, rules).await;
    let merged = packages_of(house, "/alpha/merged", "x86_64").await;
    assert_eq!(merged, ["shared-2-r0 x86_64", "shared-1-r0 x86_64", "theirs-1-r0 x86_64"]);
    assert_eq!(house.call(Call::get(format!("/alpha/merged/{MAIN}/x86_64/shared-1-r0.apk"))).await.body, built("shared", "1-r0").containing(b"ours").bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_a_member_that_fails_is_not_left_out() {
    let mirror = group().await;
    mirror.has("x86_64/APKINDEX.tar.gz", Reply::status(500));
    let reply = mirror.house.call(Call::get(format!("{ALL}/{MAIN}/x86_64/APKINDEX.tar.gz"))).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text());
    publish(&mirror.house, &built("more", "1-r0")).await;
    mirror.has("x86_64/APKINDEX.tar.gz", Reply::bytes(get(&mirror.house, &format!("{MAIN}/x86_64/APKINDEX.tar.gz")).await.body));
    assert_eq!(packages_of(&mirror.house, ALL, "x86_64").await.len(), 4);
}
