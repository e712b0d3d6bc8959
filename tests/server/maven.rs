//! Maven's repositories as Maven, Gradle and their like use them.
#![cfg(test)]

mod amended;
mod bundles;
mod deploys;
mod files;
mod housekeeping;
mod jars;
mod later;
mod metadata;
mod modules;
mod proxy;
mod sealing;
mod staging;
mod upstreams;

use entrepot_format_maven::metadata::Metadata;
use entrepot_format_maven::testing::{jar, path, pom};
use entrepot_kit::Kind;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::House;
use crate::raw::{Call, Reply};

/// Where the repository of these tests is.
const HERE: &str = "/alpha/maven";
const OWNER: &str = "alpha-owner";

/// A server with a public repository, and `bob`, who may deploy to it.
async fn house() -> House {
    house_with(json!({})).await
}

async fn house_with(settings: Value) -> House {
    let house = House::start().await;
    house.repository("alpha/maven", "maven", Kind::Hosted, true, settings).await;
    house.user("bob", &[("system", "alpha"), ("role", "publisher")]).await;
    house
}

async fn get(house: &House, path: &str) -> Reply {
    house.call(Call::get(format!("{HERE}/{path}"))).await
}

async fn put(house: &House, path: &str, body: impl Into<bytes::Bytes>) -> Reply {
    house.call_as("bob", Call::put(format!("{HERE}/{path}"), body)).await
}

async fn delete(house: &House, path: &str) -> Reply {
    house.call_as(OWNER, Call::new(Method::DELETE, format!("{HERE}/{path}"))).await
}

/// Puts something, and makes sure that it was taken.
async fn deploy(house: &House, path: &str, body: impl Into<bytes::Bytes>) {
    let reply = put(house, path, body).await;
    assert!(reply.status.is_success(), "{path}: {} {}", reply.status, reply.text());
}

/// A small jar.
fn filled(filling: &str) -> Vec<u8> {
    jar(&[("filling.txt", filling.as_bytes())])
}

/// Deploys jar and pom of a release.
async fn release(house: &House, artifact: &str, version: &str) {
    deploy(house, &path("com.acme", artifact, version, ".jar"), filled(version)).await;
    deploy(house, &path("com.acme", artifact, version, ".pom"), pom("com.acme", artifact, version, "jar")).await;
}

/// The metadata of a folder.
async fn metadata(house: &House, folder: &str) -> Metadata {
    let reply = get(house, &format!("{folder}/maven-metadata.xml")).await;
    assert_eq!(reply.status, StatusCode::OK, "{folder}: {}", reply.text());
    Metadata::parse(&reply.body).expect("metadata")
}

/// Makes sure that something is refused, and that the line with the status, which is what Maven prints, says why.
#[track_caller]
fn refused(reply: &Reply, status: u16, reason: &str) {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
    assert!(reply.reason.contains(reason), "{:?} does not say {reason:?}", reply.reason);
}
