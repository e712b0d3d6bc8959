//! Alpine's repositories as apk uses them.
#![cfg(test)]

mod groups;
mod indexes;
mod keys;
mod proxy;
mod uploads;

use entrepot_format_alpine::testing::Built;
use entrepot_kit::Kind;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::house::House;
use crate::raw::{Call, Reply};
use crate::support::alpine::{listed, read};

/// Where the repository of these tests is.
const HERE: &str = "/alpha/alpine";
const OWNER: &str = "alpha-owner";
const MAIN: &str = "v3.20/main";

/// A server with a public repository, and `bob`, who may publish to it.
async fn house() -> House {
    let house = House::start().await;
    set_up(&house).await;
    house
}

async fn set_up(house: &House) {
    house.repository("alpha/alpine", "alpine", Kind::Hosted, true, json!({})).await;
    house.user("bob", &[("system", "alpha"), ("role", "publisher")]).await;
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

/// Puts a package where it says that it belongs.
async fn publish(house: &House, built: &Built) {
    let reply = put(house, MAIN, built.bytes()).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}: {}", built.file(), reply.text());
}

fn built(name: &str, version: &str) -> Built {
    Built::new(name, version, "x86_64")
}

/// The keys of a repository, in a folder as `/etc/apk/keys` is one.
async fn trusted(house: &House, repository: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    trust(house, repository, &folder).await;
    folder
}

/// Puts the newest key of a repository where it belongs, and says what it is called.
async fn trust(house: &House, repository: &str, folder: &TempDir) -> String {
    let reply = house.call(Call::get(format!("{repository}/key"))).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let name = reply.header("content-disposition").split('"').nth(1).expect("a file name").to_owned();
    let named = house.call(Call::get(format!("{repository}/keys/{name}"))).await;
    assert_eq!(named.body, reply.body, "a key is at its name too");
    std::fs::write(folder.path().join(&name), &reply.body).expect("written");
    name
}

/// An index as a stranger reads it, with both signatures verified.
async fn index_of(house: &House, repository: &str, arch: &str) -> Value {
    let keys = trusted(house, repository).await;
    let reply = house.call(Call::get(format!("{repository}/{MAIN}/{arch}/APKINDEX.tar.gz"))).await;
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, "application/gzip"), "{}", reply.text());
    let index = read(&reply.body, keys.path());
    assert_eq!(index["verified"].as_array().expect("signatures").len(), 2, "{index}");
    index
}

async fn packages_of(house: &House, repository: &str, arch: &str) -> Vec<String> {
    listed(&index_of(house, repository, arch).await)
}
