//! cosign's own form: the layer is a JSON document that names the image, and an annotation of the layer is the signature of its bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrepot_kit::Timestamp;
use entrepot_kit::verify::Trusted;
use entrepot_oci_core::Digest;
use entrepot_oci_core::json::Node;

use super::{Vouching, signers, text};

/// What the document says to be.
const TYPE: &str = "cosign container image signature";

/// The keys that vouch for `subject`. The name of the image in the document is not looked at: images are copied with their signatures.
pub(super) fn verify(content: &[u8], signature: &str, subject: &Digest, keys: &[Trusted], now: Timestamp) -> Result<Vouching, String> {
    let document = Node::parse(content).map_err(|error| format!("what is signed cannot be read: {error}"))?;
    if text(&document, &["critical", "type"]) != Some(TYPE) {
        return Err(format!("what is signed is no {TYPE:?}"));
    }
    let signed = text(&document, &["critical", "image", "docker-manifest-digest"]).ok_or("what is signed names no image")?;
    if signed != subject.to_string() {
        return Err(format!("the signature is of another image, {signed}"));
    }
    let signature = STANDARD.decode(signature).map_err(|_| "the signature is not base64")?;
    signers(content, &signature, keys, now)
}
