//! The Sigstore bundle, version 0.3: a DSSE envelope around an in-toto statement about the image, or a signature of the manifest itself.
//!
//! Only the statement that cosign makes when it signs counts. An attestation (of a build, a scan, a bill of materials) is by the same
//! key and about the same image, but does not say that the image is approved: a failed scan is signed too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrepot_kit::verify::Trusted;
use entrepot_kit::{Sha256Digest, Timestamp};
use entrepot_oci_core::Digest;
use entrepot_oci_core::json::Node;

use super::{BUNDLES, Vouching, signers, text};

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENTS: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
pub(super) const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

/// What DSSE signs: type and payload with their lengths, so that neither can pass for the other.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    [format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).as_bytes(), payload].concat()
}

/// Whether the bundle signs the manifest itself.
pub(super) fn needs_subject(content: &[u8]) -> bool {
    Node::parse(content).is_ok_and(|bundle| bundle.get("messageSignature").is_some())
}

fn decode(node: &Node, path: &[&str]) -> Result<Vec<u8>, String> {
    let name = path.join(".");
    let encoded = text(node, path).ok_or_else(|| format!("the bundle has no text {name:?}"))?;
    STANDARD.decode(encoded).map_err(|_| format!("the bundle's {name:?} is not base64"))
}

/// The keys that vouch for `subject`, whose manifest is `manifest` if it was asked for.
pub(super) fn verify(content: &[u8], manifest: Option<&[u8]>, subject: &Digest, keys: &[Trusted], now: Timestamp) -> Result<Vouching, String> {
    let bundle = Node::parse(content).map_err(|error| format!("the bundle cannot be read: {error}"))?;
    if !text(&bundle, &["mediaType"]).is_some_and(|media_type| BUNDLES.contains(&media_type)) {
        return Err(String::from("the bundle is not of version 0.3"));
    }
    match (bundle.get("dsseEnvelope"), bundle.get("messageSignature")) {
        (Some(envelope), None) => verify_envelope(envelope, subject, keys, now),
        (None, Some(message)) => verify_message(message, manifest, subject, keys, now),
        _ => Err(String::from("the bundle must hold either a \"dsseEnvelope\" or a \"messageSignature\"")),
    }
}

fn verify_envelope(envelope: &Node, subject: &Digest, keys: &[Trusted], now: Timestamp) -> Result<Vouching, String> {
    let payload_type = text(envelope, &["payloadType"]).filter(|payload_type| *payload_type == PAYLOAD_TYPE);
    let payload_type = payload_type.ok_or_else(|| format!("the bundle's payload must be {PAYLOAD_TYPE}"))?;
    let payload = decode(envelope, &["payload"])?;
    let Some([signature]) = envelope.get("signatures").and_then(Node::list) else { return Err(String::from("the bundle must hold one signature")) };
    let signature = decode(signature, &["sig"])?;
    let statement = Node::parse(&payload).map_err(|error| format!("the bundle's statement cannot be read: {error}"))?;
    if !text(&statement, &["_type"]).is_some_and(|kind| STATEMENTS.contains(&kind)) {
        return Err(String::from("the bundle's payload is no in-toto statement"));
    }
    let predicate = text(&statement, &["predicateType"]).unwrap_or_default();
    if predicate != SIGNED {
        return Err(format!("the bundle is an attestation ({predicate}), not a signature"));
    }
    let subjects = statement.get("subject").and_then(Node::list).unwrap_or_default();
    if !subjects.iter().any(|named| text(named, &["digest", subject.algorithm().name()]) == Some(subject.hex())) {
        return Err(String::from("the bundle's statement is about another image"));
    }
    signers(&pre_authentication_encoding(payload_type, &payload), &signature, keys, now)
}

fn verify_message(message: &Node, manifest: Option<&[u8]>, subject: &Digest, keys: &[Trusted], now: Timestamp) -> Result<Vouching, String> {
    let manifest = manifest.ok_or("the bundle signs a manifest that is not here")?;
    let digest = Sha256Digest::of(manifest);
    if subject.as_sha256() != Some(digest) {
        return Err(String::from("the bundle signs another image"));
    }
    // A hint for finding what is signed; the signature covers the manifest itself.
    let named = text(message, &["messageDigest", "algorithm"]) == Some("SHA2_256") && decode(message, &["messageDigest", "digest"])? == digest.as_bytes();
    if !named {
        return Err(String::from("the bundle's digest is not that of the image by SHA2_256"));
    }
    signers(manifest, &decode(message, &["signature"])?, keys, now)
}
