//! The past can be read, and what was deleted comes back.
#![cfg(test)]

use entrepot_format_npm::testing::NpmSpecimen;
use entrepot_kit::conformance::{Ask, Specimen as _, Subject as _};
use entrepot_kit::{Address, Change, Kind};
use http::StatusCode;
use serde_json::json;

use entrepot::access::{Caller, RequestFacts};
use entrepot::registry::Context;
use entrepot::store::model::NewRow;

use crate::house::House;
use crate::raw::Call;

async fn publish(house: &House, version: &str) {
    for ask in NpmSpecimen.publish("left-pad", version, version) {
        let reply = house.send("npm", ask).await.expect("an answer");
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpublished_version_comes_back_by_one_call() {
    let house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    for version in ["1.0.0", "1.1.0"] {
        publish(&house, version).await;
    }
    let gone = house.send("npm", NpmSpecimen.remove("left-pad", 2).remove(0)).await.expect("an answer");
    assert!(gone.status.is_success(), "{}", gone.describe());
    assert_eq!(house.call(Call::get("/alpha/npm/left-pad")).await.status, StatusCode::NOT_FOUND);
    let old = house.call(Call::get("/alpha/npm.at-r2/left-pad")).await;
    assert_eq!(old.status, StatusCode::OK);
    let tarball = old.json()["versions"]["1.1.0"]["dist"]["tarball"].as_str().expect("a link").to_owned();
    assert!(tarball.contains("/alpha/npm.at-r2/"), "links of a past view stay in it: {tarball}");

    let engine = house.engine();
    let repo = engine.repo(&Address::parse("alpha/npm").expect("an address")).expect("the repository");
    let context =
        Context { caller: Caller::anonymous(), now: engine.now(), facts: RequestFacts { remote: None, request_id: String::from("test"), service: None } };
    let restored = vec![NewRow::RestoredPackage { package: String::from("left-pad") }];
    engine.manage(&context, &repo, Change::new("restore", "left-pad"), restored).await.expect("restored");
    let back = house.call(Call::get("/alpha/npm/left-pad")).await;
    assert_eq!((back.status, back.json()["dist-tags"]["latest"].as_str()), (StatusCode::OK, Some("1.1.0")));
    let file = house.send("npm", Ask::get("left-pad/-/left-pad-1.0.0.tgz")).await.expect("an answer");
    assert_eq!((file.status, file.body), (StatusCode::OK, NpmSpecimen.file("left-pad", "1.0.0", "1.0.0")));
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_that_never_were_are_refused() {
    let house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    house.repository("alpha/all", "npm", Kind::Group, true, json!({ "members": ["alpha/npm"] })).await;
    publish(&house, "1.0.0").await;
    let future = house.call(Call::get("/alpha/npm.at-r9/left-pad")).await;
    assert_eq!(future.status, StatusCode::NOT_FOUND);
    assert!(future.text().contains("newest is 1"), "{}", future.text());
    assert_eq!(house.call(Call::get("/alpha/all.at-r1/left-pad")).await.status, StatusCode::NOT_FOUND, "revisions count one repository each");
    assert_eq!(house.call(Call::get("/alpha/all.at-20200101/left-pad")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.call(Call::get("/alpha/all.at-20990101/left-pad")).await.status, StatusCode::OK);
    let put = NpmSpecimen.publish("left-pad", "2.0.0", "x").remove(0);
    assert_eq!(house.send("npm.at-r1", put).await.expect("an answer").status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_survives_a_restart() {
    let mut house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    publish(&house, "1.0.0").await;
    house.restart().await;
    let reply = house.call_as("alpha-owner", Call::get("/alpha/npm/left-pad")).await;
    assert_eq!((reply.status, reply.json()["dist-tags"]["latest"].as_str()), (StatusCode::OK, Some("1.0.0")));
}
