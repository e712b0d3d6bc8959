//! The interface of container clients, as far as it is the server's: who is asked for what, and with which proof.
#![cfg(test)]

mod addresses;
mod catalog;
mod mirrors;
mod narrow;
mod tokens;

use entrepot_kit::{Kind, Sha256Digest};
use serde_json::json;

use crate::house::{House, PASSWORD};
use crate::raw::{Call, Reply};

/// The media type of the manifests of tests.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

/// A manifest whose only content is two bytes.
fn manifest(filling: &str) -> String {
    let empty = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2 });
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.test",
        "config": empty, "layers": [empty], "annotations": { "filling": filling },
    })
    .to_string()
}

/// How a request is signed.
pub(crate) type Sign<'a> = &'a dyn Fn(Call) -> Call;

/// Pushes an image below a name, as `sign` says, and gives the first answer that is not as it should be.
pub(crate) async fn push_signed(house: &House, name: &str, tag: &str, sign: Sign<'_>) -> Reply {
    let blob = house.call(sign(Call::post(format!("/v2/{name}/blobs/uploads/?digest={}", digest(b"{}")), "{}"))).await;
    if blob.status != 201 {
        return blob;
    }
    house.call(sign(Call::put(format!("/v2/{name}/manifests/{tag}"), manifest(name)).with("Content-Type", MANIFEST))).await
}

/// The same with a password.
pub(crate) async fn push(house: &House, user: &str, name: &str, tag: &str) {
    let reply = push_signed(house, name, tag, &|call| call.signed(user, PASSWORD)).await;
    assert_eq!(reply.status, 201, "{name}: {}", reply.text());
}

async fn hosted(house: &House, address: &str, public: bool) {
    house.repository(address, "oci", Kind::Hosted, public, json!({})).await;
}

/// Asks for a token as docker does.
async fn ask_token(house: &House, who: Option<(&str, &str)>, scopes: &[&str]) -> Reply {
    let query: String = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
    let call = Call::get(format!("/v2/token?service={}&client_id=docker{query}", house.host));
    let call = match who {
        Some((user, secret)) => call.signed(user, secret).with("X-Test", "token"),
        None => call,
    };
    house.call(call).await
}

async fn token(house: &House, user: Option<&str>, scopes: &[&str]) -> String {
    let reply = ask_token(house, user.map(|user| (user, PASSWORD)), scopes).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    assert_eq!(answer["token"], answer["access_token"]);
    answer["token"].as_str().expect("a token").to_owned()
}

/// The first error of an answer in the specification's words.
fn code(reply: &Reply) -> String {
    let body = reply.json();
    assert!(body["errors"][0]["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    body["errors"][0]["code"].as_str().expect("a code").to_owned()
}
