//! Hostile inputs, each named after the attack. After every refusal nothing is changed.
#![cfg(test)]

mod archives;
mod bodies;
mod confusion;
mod files;
mod headers;
mod logs;
mod names;
mod paths;
mod upstreams;

use entrepot_kit::{Address, Digests, Hasher, Kind};
use http::StatusCode;
use serde_json::{Value, json};

use crate::house::{House, tags};
use crate::raw::Reply;

/// A proxy that everyone may read, as the configuration file would declare it: its upstream may be private, what that leads to may not.
pub(crate) async fn declared_proxy(house: &House, address: &str, format: &str, upstream: Value) {
    let new = entrepot::store::model::NewRepository {
        address: Address::parse(address).unwrap(),
        format: format.to_owned(),
        kind: Kind::Proxy,
        tags: tags(&[("visibility", "public")]),
        settings: json!({ "upstream": upstream }),
        declared: true,
    };
    house.engine().catalog.create_repository(new, house.engine().now()).await.unwrap();
    house.engine().reload().await.unwrap();
}

/// The package document of an upstream, whose only version is at this URL and hashes to the digest of these bytes.
pub(crate) fn packument(name: &str, url: &str, file: &[u8]) -> String {
    let mut hasher = Hasher::new(&[entrepot_kit::Algorithm::Sha512]);
    hasher.update(file);
    let digests: Digests = hasher.finish().1;
    let dist = json!({ "tarball": url, "integrity": digests.integrity(entrepot_kit::Algorithm::Sha512) });
    json!({
        "name": name, "dist-tags": { "latest": "1.0.0" }, "time": { "1.0.0": "2024-01-01T00:00:00.000Z" },
        "versions": { "1.0.0": { "name": name, "version": "1.0.0", "dist": dist } }
    })
    .to_string()
}

/// An upload was refused with a reason, not with a crash.
pub(crate) fn refused(reply: &Reply, what: &str) {
    assert!(reply.status.is_client_error() && reply.status != StatusCode::UNAUTHORIZED, "{what}: {} {:.300}", reply.status, reply.text());
}
