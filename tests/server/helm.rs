//! Repositories of charts as Helm, ChartMuseum's clients and container clients use them.
#![cfg(test)]

mod artifacts;
mod index;
mod proxy;
mod uploads;

use entrepot_format_helm::testing::{chart, form};
use entrepot_kit::Kind;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::House;
use crate::raw::{Call, Reply};

/// Where the repository of these tests is.
const HERE: &str = "/alpha/helm";
const OWNER: &str = "alpha-owner";

/// A server with a public repository, and `bob`, who may publish to it.
async fn house() -> House {
    house_with(json!({})).await
}

async fn house_with(settings: Value) -> House {
    let house = House::start().await;
    house.repository("alpha/helm", "helm", Kind::Hosted, true, settings).await;
    house.user("bob", &[("system", "alpha"), ("role", "publisher")]).await;
    house
}

async fn get(house: &House, path: &str) -> Reply {
    house.call(Call::get(format!("{HERE}/{path}"))).await
}

async fn post(house: &House, path: &str, body: impl Into<bytes::Bytes>) -> Reply {
    house.call_as("bob", Call { body: body.into(), ..Call::new(Method::POST, format!("{HERE}/{path}")) }).await
}

async fn put(house: &House, path: &str, body: impl Into<bytes::Bytes>) -> Reply {
    house.call_as("bob", Call::put(format!("{HERE}/{path}"), body)).await
}

async fn post_form(house: &House, path: &str, files: &[(&str, &str, &[u8])]) -> Reply {
    let (body, content_type) = form(files);
    let call = Call { body, ..Call::new(Method::POST, format!("{HERE}/{path}")) };
    house.call_as("bob", call.with("Content-Type", content_type)).await
}

async fn delete(house: &House, path: &str) -> Reply {
    house.call_as(OWNER, Call::new(Method::DELETE, format!("{HERE}/{path}"))).await
}

/// Publishes a chart and gives its bytes.
async fn publish(house: &House, name: &str, version: &str) -> Vec<u8> {
    let bytes = chart(name, version, "filling");
    saved(&post(house, "api/charts", bytes.clone()).await);
    bytes
}

#[track_caller]
fn saved(reply: &Reply) {
    assert_eq!((reply.status, reply.json()), (StatusCode::CREATED, json!({ "saved": true })), "{}", reply.text());
}

#[track_caller]
fn refused(reply: &Reply, status: u16, why: &str) {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
    assert!(reply.json()["error"].as_str().is_some_and(|text| text.contains(why)), "{} does not say {why:?}", reply.text());
}

/// The index of the repository.
async fn index(house: &House) -> Value {
    let reply = get(house, "index.yaml").await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply.json()
}

/// The versions of a chart in an index.
fn versions(index: &Value, name: &str) -> Vec<String> {
    let versions = index["entries"][name].as_array().into_iter().flatten();
    versions.map(|entry| entry["version"].as_str().expect("a version").to_owned()).collect()
}
