//! A small client of the protocol, for what no tool does at will.
#![cfg(test)]

use bytes::Bytes;
use entrepot_kit::Sha256Digest;
use http::{Method, StatusCode};
use reqwest::Response;
use serde_json::json;

use crate::support::api::Api;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The digest of bytes, as the protocol writes it.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

/// A header of an answer.
#[track_caller]
pub(super) fn header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name).unwrap_or_else(|| panic!("{}: {} without {name}", answer.url(), answer.status()));
    value.to_str().unwrap().to_owned()
}

/// Where an upload goes on: a path, however the server says it.
#[track_caller]
pub(super) fn location(answer: &Response) -> String {
    let location = header(answer, "location");
    location.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| rest.split_at(at).1.to_owned())).unwrap_or(location)
}

/// The path with one more parameter.
pub(super) fn with(path: &str, name: &str, value: &str) -> String {
    format!("{path}{}{name}={value}", if path.contains('?') { '&' } else { '?' })
}

/// An image that is not pushed yet.
pub(super) struct Image {
    /// The path of its name below the host: `/v2/…`.
    pub(super) path: String,
    /// Its configuration and its layers.
    pub(super) blobs: Vec<Bytes>,
    /// Its manifest.
    pub(super) manifest: Bytes,
}

impl Image {
    /// One of these layers; its configuration is its own.
    pub(super) fn new(path: String, number: usize, layers: Vec<Bytes>) -> Self {
        let config = Bytes::from(json!({ "architecture": "amd64", "os": "linux", "number": number, "rootfs": { "type": "layers" } }).to_string());
        let descriptor =
            |kind: &str, bytes: &Bytes| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(bytes), "size": bytes.len() });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("config.v1+json", &config),
            "layers": layers.iter().map(|layer| descriptor("layer.v1.tar", layer)).collect::<Vec<_>>(),
        });
        let blobs = std::iter::once(config).chain(layers).collect();
        Self { path, blobs, manifest: manifest.to_string().into() }
    }

    /// The path of its manifest by tag or digest.
    pub(super) fn manifest_at(&self, reference: &str) -> String {
        format!("{}/manifests/{reference}", self.path)
    }

    /// The path of one of its blobs.
    pub(super) fn blob_at(&self, bytes: &[u8]) -> String {
        format!("{}/blobs/{}", self.path, digest(bytes))
    }

    /// Pushes what is missing, as clients do in their various ways, then the manifest. The answer to that is the caller's to judge.
    pub(super) async fn push(&self, api: &Api, tag: &str, way: usize) -> Response {
        for (number, bytes) in self.blobs.iter().enumerate() {
            let there = call(api, Method::HEAD, &self.blob_at(bytes), None).await;
            match there.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => self.push_blob(api, bytes, way + number).await,
                status => panic!("HEAD {}: {status}", there.url().path()),
            }
        }
        let put = api.request(Method::PUT, &self.manifest_at(tag)).header("content-type", MANIFEST).body(self.manifest.clone());
        put.send().await.unwrap()
    }

    /// Pushes a blob: in one request, in one after its announcement, in two parts, or by a mount from wherever it is.
    pub(super) async fn push_blob(&self, api: &Api, bytes: &Bytes, way: usize) {
        let (uploads, digest) = (format!("{}/blobs/uploads/", self.path), digest(bytes));
        let first = match way % 4 {
            0 => call(api, Method::POST, &with(&uploads, "digest", &digest), Some(bytes.clone())).await,
            1 => call(api, Method::POST, &with(&uploads, "mount", &digest), None).await,
            _ => call(api, Method::POST, &uploads, None).await,
        };
        if first.status() == StatusCode::CREATED {
            return;
        }
        assert_eq!(first.status(), StatusCode::ACCEPTED, "{} {}", first.url(), first.status());
        let mut place = location(&first);
        let mut rest = bytes.clone();
        if way % 4 == 3 {
            let part = rest.split_to(rest.len() / 2);
            let patched = call(api, Method::PATCH, &place, Some(part)).await;
            assert_eq!(patched.status(), StatusCode::ACCEPTED, "{}", patched.url());
            place = location(&patched);
        }
        let ended = call(api, Method::PUT, &with(&place, "digest", &digest), Some(rest)).await;
        let (status, path) = (ended.status(), ended.url().path().to_owned());
        assert_eq!(status, StatusCode::CREATED, "{path}: {}", ended.text().await.unwrap());
    }

    /// Pulls all of it by a tag or digest, and says what is wrong.
    pub(super) async fn pull(&self, api: &Api, reference: &str) -> Result<(), String> {
        let all = std::iter::once((self.manifest_at(reference), &self.manifest)).chain(self.blobs.iter().map(|bytes| (self.blob_at(bytes), bytes)));
        for (path, wanted) in all {
            let answer = call(api, Method::GET, &path, None).await;
            let status = answer.status();
            let body = answer.bytes().await.map_err(|error| format!("{path}: {error}"))?;
            if status != StatusCode::OK || body != *wanted {
                return Err(format!("{path}: {status}, {} bytes of {}", body.len(), wanted.len()));
            }
        }
        Ok(())
    }
}

/// A request, and the head of its answer.
pub(super) async fn call(api: &Api, method: Method, path: &str, body: Option<Bytes>) -> Response {
    let request = api.request(method.clone(), path);
    let request = match body {
        None if method == Method::POST => request.header("content-length", "0"),
        None => request,
        Some(body) => request.header("content-type", "application/octet-stream").body(body),
    };
    request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
}
