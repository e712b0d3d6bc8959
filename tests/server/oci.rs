//! The registry interface: images as their clients push, mount, move and delete them.
#![cfg(test)]

mod isolation;
mod manifests;
mod uploads;

use bytes::Bytes;
use entrepot_format_oci::testing;
use entrepot_kit::conformance::Specimen as _;
use entrepot_kit::{Kind, Sha256Digest};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::House;
use crate::raw::{Call, Reply};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A server with two private repositories of images, `alpha/images` and `beta/images`, and `bob` and `eve`, who publish in the first.
async fn house() -> House {
    house_with(json!({})).await
}

async fn house_with(settings: Value) -> House {
    let house = House::start().await;
    house.repository("alpha/images", "oci", Kind::Hosted, false, settings).await;
    house.repository("beta/images", "oci", Kind::Hosted, false, json!({})).await;
    for name in ["bob", "eve"] {
        house.user(name, &[("system", "alpha"), ("role", "publisher")]).await;
    }
    house
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

/// A request below `/v2/`.
fn at(method: Method, path: &str) -> Call {
    Call::new(method, format!("/v2/{path}"))
}

fn get(path: &str) -> Call {
    at(Method::GET, path)
}

fn with_body(method: Method, path: &str, body: impl Into<Bytes>) -> Call {
    Call { body: body.into(), ..at(method, path) }
}

fn put_manifest(path: &str, body: impl Into<Bytes>) -> Call {
    with_body(Method::PUT, path, body).with("content-type", MANIFEST)
}

/// Pushes a blob in one request.
async fn push_blob(house: &House, user: &str, image: &str, bytes: &[u8]) -> Reply {
    let reply = house.call_as(user, with_body(Method::POST, &format!("{image}/blobs/uploads/?digest={}", digest(bytes)), bytes.to_vec())).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    reply
}

/// Pushes the smallest image under a tag; gives its manifest.
async fn push_image(house: &House, user: &str, image: &str, tag: &str, filling: &str) -> Bytes {
    for ask in entrepot_format_oci::Oci.publish(image, tag, filling) {
        let call = ask.headers.into_iter().fold(with_body(ask.method, &ask.path, ask.body), |call, (name, value)| call.with(&name, value));
        let reply = house.call_as(user, call).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    }
    testing::manifest(image, tag, filling)
}

/// The status and the code of the first error.
fn refusal(reply: &Reply) -> (u16, String) {
    (reply.status.as_u16(), reply.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
}
