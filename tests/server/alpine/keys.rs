//! Keys: one for each repository, of all replicas, for as long as clients need it.

use entrepot_kit::Kind;
use http::StatusCode;
use serde_json::json;

use super::{HERE, MAIN, built, get, house, publish, trust, trusted};
use crate::raw::Call;
use crate::support::alpine::read;

#[tokio::test(flavor = "multi_thread")]
async fn alpine_keys_outlive_the_server_and_are_nobody_elses() {
    let mut house = house().await;
    house.repository("alpha/other", "alpine", Kind::Hosted, true, json!({})).await;
    let folder = trusted(&house, HERE).await;
    let name = trust(&house, HERE, &folder).await;
    assert!(name.starts_with("alpine-") && name.ends_with(".rsa.pub"), "{name}");
    assert_ne!(trust(&house, "/alpha/other", &folder).await.replace("other-", "alpine-"), name);
    publish(&house, &built("hello", "1.0-r0")).await;
    let index = get(&house, &format!("{MAIN}/x86_64/APKINDEX.tar.gz")).await.body;
    house.restart().await;
    assert_eq!(trust(&house, HERE, &folder).await, name);
    assert_eq!(get(&house, &format!("{MAIN}/x86_64/APKINDEX.tar.gz")).await.body, index, "the same key makes the same index");
    for missing in ["keys/other.rsa.pub", "keys", "keys/"] {
        assert_ne!(get(&house, missing).await.header("content-type"), "application/x-pem-file", "{missing}");
    }
    assert_eq!(house.call_as("bob", Call::put(format!("{HERE}/keys/main"), built("hello", "2-r0").bytes())).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_private_repositories_hide_their_keys() {
    let house = house().await;
    house.repository("alpha/hidden", "alpine", Kind::Hosted, false, json!({})).await;
    assert_eq!(house.call(Call::get("/alpha/hidden/key")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(house.call_as("bob", Call::get("/alpha/hidden/key")).await.status, StatusCode::OK);
}

/// Whoever trusts either key of the two takes the index while both sign.
#[tokio::test(flavor = "multi_thread")]
async fn alpine_a_rotated_key_signs_on_beside_the_new_one() {
    let house = house().await;
    publish(&house, &built("hello", "1.0-r0")).await;
    let old = trusted(&house, HERE).await;
    let index = || async { get(&house, &format!("{MAIN}/x86_64/APKINDEX.tar.gz")).await.body };
    assert_eq!(read(&index().await, old.path())["verified"].as_array().unwrap().len(), 2);
    let repository = house.engine().repo(&entrepot_kit::Address::parse("alpha/alpine").unwrap()).unwrap();
    house.engine().rotate_key(&repository, entrepot_kit::KeyKind::Rsa, 60_000).await.unwrap();
    let new = trusted(&house, HERE).await;
    for keys in [&old, &new] {
        assert_eq!(read(&index().await, keys.path())["verified"].as_array().unwrap().len(), 2, "one of the two is enough");
    }
    let name = std::fs::read_dir(old.path()).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    assert_eq!(get(&house, &format!("keys/{name}")).await.status, StatusCode::OK, "the old one is still given");
}
