//! Repositories of RPM packages as dnf and zypper use them.
#![cfg(test)]

mod extras;
mod generations;
mod group;
mod hostile;
mod proxy;
mod uploads;

use std::io::Read as _;

use entrepot_format_rpm::repodata::read::{self, listed};
use entrepot_format_rpm::repodata::{Listed, Repomd};
use entrepot_format_rpm::testing::package;
use entrepot_kit::{Kind, Sha256Digest};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::House;
use crate::raw::{Call, Reply};

/// Where the repository of these tests is.
const HERE: &str = "/alpha/rpm";
const OWNER: &str = "alpha-owner";

/// A server with a public repository, and `bob`, who may publish to it.
async fn house() -> House {
    house_with(json!({})).await
}

async fn house_with(settings: Value) -> House {
    let house = House::start().await;
    set_up(&house, settings).await;
    house
}

async fn set_up(house: &House, settings: Value) {
    house.repository("alpha/rpm", "rpm", Kind::Hosted, true, settings).await;
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

/// Puts a package, and makes sure that it was taken.
async fn publish(house: &House, folder: &str, name: &str, version: &str) {
    let reply = put(house, &format!("{folder}{}", file_name(name, version)), filled(name, version)).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{name} {version}: {}", reply.text());
}

fn file_name(name: &str, version: &str) -> String {
    format!("{name}-{version}-1.noarch.rpm")
}

fn filled(name: &str, version: &str) -> Vec<u8> {
    package(name, version, "1", "noarch", &format!("the payload of {name} {version}"))
}

/// The `repomd.xml` of a folder.
async fn repomd(house: &House, folder: &str) -> Repomd {
    let reply = house.call(Call::get(format!("{folder}repodata/repomd.xml"))).await;
    assert_eq!(reply.status, StatusCode::OK, "{folder}: {}", reply.text());
    Repomd::parse(&reply.body).expect("a repomd.xml")
}

/// A document that a `repomd.xml` names, in its plain form; all its sums are checked.
async fn document(house: &House, folder: &str, repomd: &Repomd, kind: &str) -> String {
    let data = repomd.of(kind).unwrap_or_else(|| panic!("no {kind}"));
    let reply = house.call(Call::get(format!("{folder}{}", data.href))).await;
    assert_eq!(reply.status, StatusCode::OK, "{}: {}", data.href, reply.text());
    assert_eq!((Sha256Digest::of(&reply.body).hex(), reply.body.len() as u64), (data.checksum.clone(), data.size), "{}", data.href);
    let mut plain = Vec::new();
    read::open(&*reply.body).expect("a document").read_to_end(&mut plain).expect("a whole document");
    let open = (Sha256Digest::of(&plain).hex(), plain.len() as u64);
    assert_eq!(data.open.as_ref(), Some(&open), "{}", data.href);
    String::from_utf8(plain).expect("text")
}

/// What the metadata of a folder lists.
async fn packages(house: &House, folder: &str) -> Vec<Listed> {
    let repomd = repomd(house, folder).await;
    let primary = document(house, folder, &repomd, "primary").await;
    let found = listed_in(&primary);
    for kind in ["filelists", "other"] {
        let document = document(house, folder, &repomd, kind).await;
        let mut ids = Vec::new();
        read::packages(&mut document.as_bytes(), &mut |piece| {
            ids.push(read::pkgid(piece)?);
            Ok(())
        })
        .expect("packages");
        assert_eq!(ids, found.iter().map(|package| package.checksum.clone()).collect::<Vec<_>>(), "{kind} lists what primary does");
    }
    found
}

fn listed_in(primary: &str) -> Vec<Listed> {
    let mut found = Vec::new();
    read::packages(&mut primary.as_bytes(), &mut |piece| {
        found.push(listed(piece)?);
        Ok(())
    })
    .expect("packages");
    assert!(primary.contains(&format!("packages=\"{}\"", found.len())), "{}", primary.get(..300).unwrap_or(primary));
    found
}

/// Where the listed packages are.
async fn addresses(house: &House, folder: &str) -> Vec<String> {
    packages(house, folder).await.into_iter().map(|package| package.href).collect()
}

#[track_caller]
fn refused(reply: &Reply, status: u16, why: &str) {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
    assert!(reply.text().contains(why), "{:?} does not say {why:?}", reply.text());
}
