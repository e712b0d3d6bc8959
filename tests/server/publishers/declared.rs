//! Publishers of the configuration file.

use entrepot::access::{DeclaredPublisher, PublisherRule};
use entrepot::registry::reconcile::Wanted;
use entrepot_kit::{Address, Kind};
use http::Method;
use serde_json::{Map, Value, json};

use super::{AUDIENCE, Turned, options, refused};
use crate::house::House;
use crate::issuer::TestIssuer;

fn declared(issuer: &TestIssuer, packages: &[&str]) -> DeclaredPublisher {
    let rule = json!({
        "issuer": issuer.url(), "allow_private": true, "claims": { "repository": "acme/app" }, "repository": "alpha/npm", "packages": packages,
    });
    DeclaredPublisher { name: String::from("app"), rule: PublisherRule::read(rule, Some(AUDIENCE)).expect("a rule") }
}

async fn names(house: &House) -> Vec<(String, bool)> {
    let list = house.manage(Method::GET, "/publishers", None).await.json();
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| (item["name"].as_str().unwrap().to_owned(), item["declared"].as_bool().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_file_ends_what_was_given_by_it() {
    let issuer = TestIssuer::start().await;
    let start = |publishers: Vec<DeclaredPublisher>| {
        let common = options(&Turned::default());
        move |options: &mut entrepot::server::Options| {
            common(options);
            options.publishers.clone_from(&publishers);
            let address = Address::parse("alpha/npm").unwrap();
            let wanted = Wanted { address, format: String::from("npm"), kind: Kind::Hosted, tags: Default::default(), settings: Map::new() };
            options.repositories = vec![wanted];
        }
    };
    let mut house = House::start_with(start(vec![declared(&issuer, &["app"])])).await;
    assert_eq!(names(&house).await, [(String::from("app"), true)]);
    let reply = house.manage(Method::DELETE, "/publishers/app", None).await;
    assert!(reply.status == 409 && reply.text().contains("configuration file"), "{}", reply.text());
    let first = house.given(&issuer).await;
    assert_eq!(house.publish_with(&first, "alpha/npm", "app", "1.0.0").await.status, 201);
    // The same file again changes nothing.
    house.restart_with(start(vec![declared(&issuer, &["app"])])).await;
    assert_eq!(house.publish_with(&first, "alpha/npm", "app", "1.0.1").await.status, 201);
    house.restart_with(start(vec![declared(&issuer, &["app", "other"])])).await;
    assert_eq!(house.publish_with(&first, "alpha/npm", "app", "1.0.2").await.status, 401);
    let second = house.given(&issuer).await;
    assert_eq!(house.publish_with(&second, "alpha/npm", "other", "1.0.0").await.status, 201);
    house.restart_with(start(Vec::new())).await;
    assert_eq!(names(&house).await, []);
    assert_eq!(house.publish_with(&second, "alpha/npm", "other", "1.0.1").await.status, 401);
    assert_eq!(refused(&house.mint(&issuer.token(AUDIENCE)).await), "invalid-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_shows_and_keeps_what_it_was_given() {
    let (house, issuer) = (super::furnished(&Turned::default()).await, TestIssuer::start().await);
    house.publisher("app", &issuer, "alpha/npm", &["app"], |body| body["claims"]["ref"] = json!(["a", "b"])).await;
    let body = |change: &dyn Fn(&mut Value)| {
        let mut body = json!({
            "name": "other", "issuer": issuer.url(), "allow_private": true, "claims": { "a": "b" }, "repository": "alpha/npm", "packages": ["app"],
        });
        change(&mut body);
        body
    };
    for (change, status) in [
        (&(|body: &mut Value| body["name"] = json!("app")) as &dyn Fn(&mut Value), 409),
        (&|body| body["name"] = json!("a/b"), 400),
        (&|body| drop(body.as_object_mut().unwrap().remove("name")), 400),
        (&|body| body["repository"] = json!("alpha/none"), 400),
        (&|body| body["unknown"] = json!(1), 400),
        (&|body| body["claims"] = json!({}), 400),
        (&|_| {}, 201),
    ] {
        let reply = house.manage(Method::POST, "/publishers", Some(body(change))).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    }
    assert_eq!(names(&house).await, [(String::from("app"), false), (String::from("other"), false)]);
    let list = house.manage(Method::GET, "/publishers?limit=1", None).await.json();
    let one = &list["items"][0];
    assert_eq!((&one["claims"]["ref"], &one["repository"], &one["expires_in"]), (&json!(["a", "b"]), &json!("alpha/npm"), &json!(900)));
    assert_eq!(list["next"], "app");
    for user in ["alpha-owner", "beta-owner"] {
        let reply = house.call_as(user, crate::raw::Call::get("/api/v1/publishers")).await;
        assert_eq!(reply.status, 403);
    }
    assert_eq!(house.call(crate::raw::Call::get("/api/v1/publishers")).await.status, 401);
}
