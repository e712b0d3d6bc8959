//! Lists of what refers to a manifest: an OCI index whose descriptors are the referrers.

use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::media;

/// The descriptor by which a manifest stands in the list of its subject's referrers.
#[must_use]
pub fn descriptor(manifest: &Manifest, digest: &Digest, size: u64) -> Value {
    let mut descriptor = Map::new();
    descriptor.insert(String::from("mediaType"), json!(manifest.media_type));
    descriptor.insert(String::from("digest"), json!(digest));
    descriptor.insert(String::from("size"), json!(size));
    if let Some(artifact_type) = manifest.referrer_type() {
        descriptor.insert(String::from("artifactType"), json!(artifact_type));
    }
    if !manifest.annotations.is_empty() {
        let annotations: Map<_, _> = manifest.annotations.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        descriptor.insert(String::from("annotations"), annotations.into());
    }
    descriptor.into()
}

/// The index of these descriptors.
#[must_use]
pub fn index(descriptors: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": descriptors })
}
