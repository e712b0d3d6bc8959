//! Late additions to a release, until it is sealed.

use entrepot_format_maven::testing::{checksum, path};
use entrepot_kit::Algorithm;
use http::{Method, StatusCode};
use serde_json::json;

use super::{HERE, OWNER, deploy, filled, get, house, house_with, put, refused, release};
use crate::house::House;
use crate::raw::{Call, Reply};

const FOLDER: &str = "com/acme/lib/1.0";

async fn seal(house: &House, user: &str, method: Method) -> Reply {
    house.call_as(user, Call::new(method, format!("{HERE}/.sealed/{FOLDER}"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_release_takes_what_it_has_and_nothing_more() {
    let house = house_with(json!({"redeploy": "allow"})).await;
    release(&house, "lib", "1.0").await;
    deploy(&house, &path("com.acme", "lib", "1.0", "-sources.jar"), filled("late")).await;
    assert_eq!(seal(&house, "bob", Method::POST).await.status, StatusCode::NO_CONTENT);
    let revision = house.head("alpha/maven");
    assert_eq!(seal(&house, "bob", Method::POST).await.status, StatusCode::NO_CONTENT, "as often as one likes");
    let jar = path("com.acme", "lib", "1.0", ".jar");
    for (ending, filling) in [("-javadoc.jar", "late"), (".jar.asc", "late"), (".jar", "other bytes")] {
        let reply = put(&house, &path("com.acme", "lib", "1.0", ending), filled(filling)).await;
        refused(&reply, 409, "sealed");
        assert!(reply.text().contains("com.acme:lib 1.0 takes no more files: it was sealed at 20"), "{}", reply.text());
    }
    refused(&put(&house, &path("com.acme", "lib", "1.0", "-javadoc.jar.sha1"), checksum(b"x", Algorithm::Sha1)).await, 409, "sealed");
    // A build that goes again over what is there is none the wiser.
    deploy(&house, &jar, filled("1.0")).await;
    deploy(&house, &format!("{jar}.sha1"), checksum(&filled("1.0"), Algorithm::Sha1)).await;
    assert_eq!(house.head("alpha/maven"), revision, "nothing changed");
    release(&house, "lib", "1.1").await;
    assert_eq!(get(&house, &format!(".sealed/{FOLDER}")).await.status, StatusCode::NOT_FOUND);
    assert!(!get(&house, "").await.text().contains("sealed"), "no list shows the mark");

    assert_eq!(seal(&house, "bob", Method::DELETE).await.status, StatusCode::FORBIDDEN);
    assert_eq!(seal(&house, OWNER, Method::DELETE).await.status, StatusCode::NO_CONTENT);
    assert_eq!(seal(&house, OWNER, Method::DELETE).await.status, StatusCode::NOT_FOUND);
    deploy(&house, &path("com.acme", "lib", "1.0", "-javadoc.jar"), filled("late")).await;

    // A release that is deleted takes its seal with it.
    assert_eq!(seal(&house, "bob", Method::POST).await.status, StatusCode::NO_CONTENT);
    assert_eq!(super::delete(&house, &format!("{FOLDER}/")).await.status, StatusCode::NO_CONTENT);
    release(&house, "lib", "1.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_releases_that_are_here_are_sealed() {
    let house = house().await;
    deploy(&house, "com/acme/lib/1.1-SNAPSHOT/lib-1.1-20260101.000000-1.jar", filled("x")).await;
    for (folder, status) in [("com/acme/lib/1.0", 404), ("com/acme/lib/1.1-SNAPSHOT", 400), ("com", 400), ("a/b/c%2fd", 404)] {
        let reply = house.call_as("bob", Call::new(Method::POST, format!("{HERE}/.sealed/{folder}"))).await;
        assert_eq!(reply.status.as_u16(), status, "{folder}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_are_sealed_by_their_age() {
    let later = super::later::Later::start(json!({"seal_after_hours": 48})).await;
    let house = &later.house;
    release(house, "lib", "1.0").await;
    later.pass(1);
    deploy(house, &path("com.acme", "lib", "1.0", "-sources.jar"), filled("late")).await;
    later.pass(1);
    let reply = put(house, &path("com.acme", "lib", "1.0", "-javadoc.jar"), filled("too late")).await;
    refused(&reply, 409, "sealed");
    assert!(reply.text().contains("more than 48 hours ago"), "{}", reply.text());
    deploy(house, &path("com.acme", "lib", "1.0", ".jar"), filled("1.0")).await;
}
