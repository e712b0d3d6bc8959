//! Signatures of images: what they look like in a registry, and who vouches for what. Pure: bytes and keys in, verdicts out.
//!
//! Four forms are read: cosign's own layers, under a tag `sha256-….sig` or as a referrer ([`simple`]); the Sigstore bundle ([`bundle`]); and
//! Notation's envelopes in JWS and COSE ([`notation`]). Whatever cannot be read whole, or says anything that is not understood, vouches
//! for nothing. Keys come from the operator alone: what a signature brings along is only ever held against them.

mod bundle;
mod cbor;
pub(crate) mod gate;
mod notation;
pub(crate) mod rule;
mod simple;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bytes::Bytes;
use entrepot_kit::Timestamp;
use entrepot_kit::verify::Trusted;
use entrepot_oci_core::json::Node;
use entrepot_oci_core::{Descriptor, Digest, Manifest, ManifestKind};

/// Most signatures of one manifest.
const MOST_SIGNATURES: usize = 64;
/// Most bytes of what cosign's own layers sign.
const LARGEST_PAYLOAD: u64 = 64 << 10;
/// Most bytes of a bundle or envelope.
const LARGEST_BUNDLE: u64 = 1 << 20;

/// The type of the layers that cosign signs itself.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The types of a Sigstore bundle, version 0.3.
const BUNDLES: [&str; 2] = ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"];
/// The artifact type of cosign's layers as a referrer.
const COSIGN: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// The artifact type of Notation's signatures.
const NOTATION: &str = "application/vnd.cncf.notary.signature";
const JWS: &str = "application/jose+json";
const COSE: &str = "application/cose";

/// How a layer signs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// The layer is signed, and its annotation is the signature.
    Simple(String),
    Bundle,
    Jws,
    Cose,
}

/// A layer that signs: it must be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    form: Form,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// A manifest that is a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    /// What it may vouch for: the subject that it names, and the one in its tag.
    pub(crate) subjects: BTreeSet<Digest>,
    /// At most [`MOST_SIGNATURES`], and small enough to be read.
    pub(crate) parts: Vec<Part>,
}

/// A trusted key that vouches for an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Verdict {
    /// The image.
    pub(crate) subject: Digest,
    /// The position of the key among those that were given.
    pub(crate) key: usize,
    /// The last moment at which it vouches.
    pub(crate) until: Option<Timestamp>,
}

/// What the signatures of a manifest come to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) verdicts: BTreeSet<Verdict>,
    /// Why signatures vouch for nothing, for people.
    pub(crate) refusals: Vec<String>,
}

/// The subject of cosign's tag `sha256-….sig`.
pub(crate) fn subject_of_tag(tag: &str) -> Option<Digest> {
    let (algorithm, hex) = tag.strip_suffix(".sig")?.split_once('-')?;
    Digest::parse(&format!("{algorithm}:{hex}"))
}

/// The tag under which cosign keeps the signatures of an image.
pub(crate) fn tag_of_subject(subject: &Digest) -> String {
    format!("{}-{}.sig", subject.algorithm().name(), subject.hex())
}

/// Whether a manifest is a signature, by its types alone.
pub(crate) fn is_signature(manifest: &Manifest) -> bool {
    manifest.kind == ManifestKind::Image && (is_notation(manifest) || manifest.layers.iter().any(|layer| form_of(layer).is_some()))
}

fn is_notation(manifest: &Manifest) -> bool {
    manifest.referrer_type() == Some(NOTATION) || manifest.config.as_ref().is_some_and(|config| config.media_type == NOTATION)
}

/// The form of a layer of cosign's.
fn form_of(layer: &Descriptor) -> Option<Form> {
    if layer.media_type == SIMPLE_SIGNING {
        let signature = layer.annotations.iter().find(|(name, _)| name == "dev.cosignproject.cosign/signature");
        return Some(Form::Simple(signature.map(|(_, signature)| signature.clone()).unwrap_or_default()));
    }
    BUNDLES.contains(&layer.media_type.as_str()).then_some(Form::Bundle)
}

/// What of a pushed manifest must be read to learn whom it vouches for; `None` when it is no signature of anything.
///
/// # Errors
/// Why its signatures are not even looked at, for people.
pub(crate) fn recognise<'a>(manifest: &Manifest, tags: impl IntoIterator<Item = &'a str>) -> Result<Option<Signature>, String> {
    if !is_signature(manifest) {
        return Ok(None);
    }
    let named = manifest.subject.as_ref().and_then(Descriptor::known_digest);
    let is_simple = manifest.layers.iter().any(|layer| layer.media_type == SIMPLE_SIGNING);
    let mut subjects: BTreeSet<Digest> = named.into_iter().collect();
    if is_simple {
        subjects.extend(tags.into_iter().filter_map(subject_of_tag));
    }
    if subjects.is_empty() {
        return Ok(None);
    }
    let notation = is_notation(manifest);
    if notation && manifest.layers.len() != 1 {
        return Err(format!("a Notation signature must have one layer, not {}", manifest.layers.len()));
    }
    let mut parts = Vec::new();
    for layer in &manifest.layers {
        let form = match layer.media_type.as_str() {
            JWS if notation => Some(Form::Jws),
            COSE if notation => Some(Form::Cose),
            other if notation => return Err(format!("{other:?} is no kind of Notation envelope that is known")),
            _ => form_of(layer),
        };
        let Some(form) = form else { continue };
        let largest = if matches!(form, Form::Simple(_)) { LARGEST_PAYLOAD } else { LARGEST_BUNDLE };
        if layer.size > largest {
            return Err(format!("a signature has {} bytes, and at most {largest} are read", layer.size));
        }
        let digest = layer.known_digest().ok_or_else(|| format!("the digest {} is by an unknown algorithm", layer.digest))?;
        parts.push(Part { form, digest, size: layer.size });
        if parts.len() > MOST_SIGNATURES {
            return Err(format!("the manifest holds more than {MOST_SIGNATURES} signatures"));
        }
    }
    Ok(Some(Signature { subjects, parts }))
}

/// Whether a bundle signs the bytes of its subject themselves, so that these must be read too.
pub(crate) fn needs_subject(content: &[u8]) -> bool {
    bundle::needs_subject(content)
}

/// Says which of the keys vouch for which subject. `contents` are those of the parts, in their order, their digests checked;
/// `subject` is the manifest of the subject where [`needs_subject`] asked for it.
///
/// Costs up to a second of CPU for what the limits allow: call it where blocking is allowed.
pub(crate) fn verify(signature: &Signature, contents: &[Bytes], subject: Option<&[u8]>, keys: &[Trusted], now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    for (part, content) in signature.parts.iter().zip(contents) {
        for named in &signature.subjects {
            let found = match &part.form {
                _ if content.len() as u64 != part.size => Err(String::from("its length is not what the manifest says")),
                Form::Simple(made) => simple::verify(content, made, named, keys, now),
                Form::Bundle => bundle::verify(content, subject, named, keys, now),
                Form::Jws => notation::verify_jws(content, named, keys, now),
                Form::Cose => notation::verify_cose(content, named, keys, now),
            };
            match found {
                Ok(found) => outcome.verdicts.extend(found.into_iter().map(|(key, until)| Verdict { subject: named.clone(), key, until })),
                Err(refusal) => outcome.refusals.push(refusal),
            }
        }
    }
    outcome
}

/// Keys that vouch, and until when.
type Vouching = Vec<(usize, Option<Timestamp>)>;

/// The keys that made a signature themselves. A certificate among them counts while it is valid.
fn signers(message: &[u8], signature: &[u8], keys: &[Trusted], now: Timestamp) -> Result<Vouching, String> {
    let mut outdated = None;
    let mut found = Vec::new();
    for (position, key) in keys.iter().enumerate() {
        if !key.key().verifies_by_any(message, signature) {
            continue;
        }
        match key.certificate() {
            Some(certificate) if !certificate.is_valid_at(now) => outdated = Some(format!("the certificate {} is not valid now", certificate.subject())),
            certificate => found.push((position, certificate.map(|certificate| certificate.validity().1))),
        }
    }
    if found.is_empty() { Err(outdated.unwrap_or_else(|| String::from("the signature is by none of the keys"))) } else { Ok(found) }
}

/// The text at a path of keys.
fn text<'a>(node: &'a Node, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(node, |node, key| node.get(key))?.text()
}
