//! The smallest images that are valid, and how a client pushes them: for the conformance suite.

use bytes::Bytes;
use entrepot_kit::conformance::{Ask, Reply, Specimen, Variant};
use entrepot_kit::{Format as _, Sha256Digest};
use entrepot_oci_core::media;
use http::Method;
use serde_json::{Value, json};

use crate::Oci;

const EMPTY: &str = "{}";

/// A manifest of one layer, whose bytes are `filling`, and whose annotations tell it from others.
#[must_use]
pub fn manifest(name: &str, version: &str, filling: &str) -> Bytes {
    let descriptor = |media_type: &str, bytes: &str| json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::IMAGE,
        "artifactType": "application/vnd.example.toy",
        "config": descriptor("application/vnd.oci.empty.v1+json", EMPTY),
        "layers": [descriptor("text/plain", filling)],
        "annotations": { "org.opencontainers.image.title": name, "org.opencontainers.image.version": version, "filling": filling },
    });
    manifest.to_string().into()
}

fn digest(bytes: &str) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes.as_bytes()))
}

fn push_blob(name: &str, bytes: &str) -> Ask {
    Ask { body: bytes.to_owned().into(), ..Ask::new(Method::POST, format!("{name}/blobs/uploads/?digest={}", digest(bytes))) }
}

impl Specimen for Oci {
    fn format(&self) -> &'static str {
        self.id()
    }

    fn settings(&self) -> Value {
        json!({ "immutable_tags": [".*"] })
    }

    fn publish(&self, name: &str, version: &str, filling: &str) -> Vec<Ask> {
        let manifest = Ask::put(self.file_path(name, version), manifest(name, version, filling)).with("content-type", media::IMAGE);
        vec![push_blob(name, EMPTY), push_blob(name, filling), manifest]
    }

    fn file(&self, name: &str, version: &str, filling: &str) -> Bytes {
        manifest(name, version, filling)
    }

    fn file_path(&self, name: &str, version: &str) -> String {
        format!("{name}/manifests/{version}")
    }

    fn indexes(&self, name: &str) -> Vec<Variant> {
        vec![Variant { path: format!("{name}/tags/list"), accept: None }]
    }

    fn comparable(&self, index: &[u8]) -> Vec<u8> {
        // The name tells where it was asked.
        let mut index: Value = serde_json::from_slice(index).unwrap_or_default();
        index.as_object_mut().map(|fields| fields.remove("name"));
        index.to_string().into_bytes()
    }

    fn remove(&self, _name: &str, _changed: u64) -> Vec<Ask> {
        Vec::new()
    }

    fn hostile(&self) -> Vec<Ask> {
        let manifest = |path: &str, body: &str| Ask::put(path, body.to_owned()).with("content-type", media::IMAGE);
        let good = self.file("good", "1.0.0", "nothing");
        vec![
            manifest("UPPER/manifests/1.0.0", "{}"),
            manifest("a__-b/manifests/1.0.0", "{}"),
            manifest("a%2f..%2fb/manifests/1.0.0", "{}"),
            manifest("a/manifests/-dash", "{}"),
            manifest("a/manifests/sha256:short", "{}"),
            manifest(&format!("{}/manifests/1", "long/".repeat(60).trim_end_matches('/')), "{}"),
            manifest("a/manifests/1.0.0", "not JSON"),
            manifest("a/manifests/1.0.0", "{\"schemaVersion\":2,\"schemaVersion\":2}"),
            manifest("a/manifests/1.0.0", &"[".repeat(10_000)),
            manifest("a/manifests/1.0.0", "{\"schemaVersion\":2,\"config\":{},\"layers\":[],\"manifests\":[]}"),
            // Its parts are not here.
            Ask::put("a/manifests/1.0.0", good.clone()).with("content-type", media::IMAGE),
            // It says to be something else.
            Ask::put("a/manifests/1.0.0", good).with("content-type", media::INDEX),
            Ask { body: Bytes::from_static(b"x"), ..Ask::new(Method::POST, format!("a/blobs/uploads/?digest={}", digest("y"))) },
            Ask { body: Bytes::from_static(b"x"), ..Ask::new(Method::POST, "a/blobs/uploads/?digest=md5:00") },
            Ask::put("a/blobs/uploads/0123456789?digest=sha256:00", "x"),
            Ask::new(Method::PATCH, "a/blobs/uploads/0123456789"),
        ]
    }

    fn check_error(&self, reply: &Reply) -> Result<(), String> {
        let body: Value = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
        let first = body.get("errors").and_then(|errors| errors.get(0)).ok_or("no \"errors\"")?;
        let has = |key: &str| first.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        if has("code") && has("message") { Ok(()) } else { Err(String::from("an error without code or message")) }
    }
}
