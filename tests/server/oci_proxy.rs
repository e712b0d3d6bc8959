//! Pulling images through: what a proxy owes container clients, and the registry behind it.
#![cfg(test)]

mod images;
mod limits;
mod prefetch;
mod registries;
mod tags;

use std::sync::Arc;

use bytes::Bytes;
use entrepot::access::Caller;
use entrepot::registry::reader::Reader;
use entrepot_kit::{Address, Body, File, Kind, Result, Sha256Digest};
use serde_json::{Value, json};

use crate::house::House;
use crate::upstream::{Reply, ScriptedUpstream};

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

/// The manifest of an image with these layers, and the empty configuration.
pub(crate) fn manifest(layers: &[&[u8]]) -> Bytes {
    let descriptor = |bytes: &[u8]| json!({ "mediaType": "application/octet-stream", "digest": digest(bytes), "size": bytes.len() });
    let layers: Vec<_> = layers.iter().map(|layer| descriptor(layer)).collect();
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(b"{}"), "layers": layers }).to_string().into()
}

/// A registry that has one image.
pub(crate) fn publish(upstream: &ScriptedUpstream, image: &str, tag: &str, manifest: &Bytes, blobs: &[&[u8]]) {
    let reply = || Reply::bytes(manifest.clone()).header("Content-Type", IMAGE).header("Docker-Content-Digest", digest(manifest));
    upstream.answer(&format!("/v2/{image}/manifests/{tag}"), reply());
    upstream.answer(&format!("/v2/{image}/manifests/{}", digest(manifest)), reply());
    for blob in blobs.iter().chain([&&b"{}"[..]]) {
        upstream.answer(&format!("/v2/{image}/blobs/{}", digest(blob)), Reply::bytes(blob.to_vec()).header("Content-Type", "application/octet-stream"));
    }
}

/// A server with a proxy `alpha/hub` that everyone may read, and the registry behind it.
pub(crate) struct Mirror {
    pub(crate) house: House,
    pub(crate) upstream: ScriptedUpstream,
}

impl Mirror {
    pub(crate) async fn start(upstream_settings: Value, settings: Value) -> Self {
        let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
        let mut all = settings;
        all["upstream"] = json!({ "url": upstream.url(), "allow_private": true, "retries": 0 });
        for (name, value) in upstream_settings.as_object().expect("settings") {
            all["upstream"][name] = value.clone();
        }
        house.repository("alpha/hub", "oci", Kind::Proxy, true, all).await;
        Self { house, upstream }
    }

    fn reader(&self, at: &str) -> (Reader, Arc<entrepot::registry::Repo>) {
        let engine = self.house.engine();
        let repo = engine.repo(&Address::parse(at).expect("an address")).expect("the repository");
        (Reader::new(Arc::clone(engine), Caller::anonymous(), engine.now(), None), repo)
    }

    /// A file of a repository with its bytes.
    pub(crate) async fn entry_of(&self, repository: &str, path: &str) -> Result<Option<(File, Bytes)>> {
        let (reader, repo) = self.reader(repository);
        let Some(file) = reader.entry(&repo, path).await? else { return Ok(None) };
        let bytes = Body::new(file.content.stream(None).await?, None).collect(1 << 30).await?;
        Ok(Some((file, bytes)))
    }

    /// A file of the proxy.
    pub(crate) async fn entry(&self, path: &str) -> Result<Option<(File, Bytes)>> {
        self.entry_of("alpha/hub", path).await
    }

    /// The bytes of a file that must be there.
    pub(crate) async fn bytes(&self, path: &str) -> Bytes {
        match self.entry(path).await {
            Ok(Some((_, bytes))) => bytes,
            Ok(None) => panic!("{path} is not there"),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// The tags of an image; `None` when there is none.
    pub(crate) async fn tags(&self, image: &str) -> Result<Option<Vec<String>>> {
        let (reader, repo) = self.reader("alpha/hub");
        let records = reader.records(&repo, image, "tags").await?;
        Ok(records.map(|records| records.versions.iter().map(|record| record.version.clone()).collect()))
    }

    /// What was asked of a path, by method.
    pub(crate) fn asked(&self, path: &str) -> Vec<String> {
        self.upstream.seen_at(path).into_iter().map(|seen| seen.method).collect()
    }
}
