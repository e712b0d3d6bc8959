//! Notation's envelopes, JWS and COSE, by the Notary Project's specification: the chain of certificates comes with the envelope and must
//! lead to one that the operator trusts.
//!
//! Signatures are dated by their makers, and time stamps of others are not looked at: all certificates must be valid now, as for
//! Notation itself where there is no time stamp. Both signing schemes are taken, and neither is trusted with more than the other.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use entrepot_kit::Timestamp;
use entrepot_kit::verify::{Certificate, Hash, KeyKind, Scheme, Trusted, check_code_signing_chain};
use entrepot_oci_core::Digest;
use entrepot_oci_core::json::Node;

use super::cbor::{Item, signature_structure};
use super::{Vouching, text};

const PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";
const SIGNING_SCHEME: &str = "io.cncf.notary.signingScheme";
const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
const AUTHENTIC_SIGNING_TIME: &str = "io.cncf.notary.authenticSigningTime";
const EXPIRY: &str = "io.cncf.notary.expiry";
/// Most certificates that an envelope brings.
const MOST_CERTIFICATES: usize = 8;

/// What both kinds of envelope say.
struct Envelope {
    algorithm: &'static Algorithm,
    content_type: String,
    critical: Vec<String>,
    scheme: String,
    signed_at: Option<Timestamp>,
    authentic_signed_at: Option<Timestamp>,
    expires: Option<Timestamp>,
    chain: Vec<Certificate>,
    /// The document that names the image.
    payload: Vec<u8>,
    /// What the signature covers.
    message: Vec<u8>,
    signature: Vec<u8>,
}

/// An algorithm of the specification, in the words of JWS and of COSE, and the only kind of key that it is for.
struct Algorithm {
    name: &'static str,
    number: i64,
    scheme: Scheme,
    kind: KeyKind,
}

const fn algorithm(name: &'static str, number: i64, scheme: Scheme, kind: KeyKind) -> Algorithm {
    Algorithm { name, number, scheme, kind }
}

static ALGORITHMS: [Algorithm; 6] = [
    algorithm("PS256", -37, Scheme::RsaPss(Hash::Sha256), KeyKind::Rsa { bits: 2048 }),
    algorithm("PS384", -38, Scheme::RsaPss(Hash::Sha384), KeyKind::Rsa { bits: 3072 }),
    algorithm("PS512", -39, Scheme::RsaPss(Hash::Sha512), KeyKind::Rsa { bits: 4096 }),
    algorithm("ES256", -7, Scheme::EcdsaFixed(Hash::Sha256), KeyKind::P256),
    algorithm("ES384", -35, Scheme::EcdsaFixed(Hash::Sha384), KeyKind::P384),
    algorithm("ES512", -36, Scheme::EcdsaFixed(Hash::Sha512), KeyKind::P521),
];

fn chain(certificates: Vec<Vec<u8>>) -> Result<Vec<Certificate>, String> {
    if certificates.len() > MOST_CERTIFICATES {
        return Err(format!("the envelope brings more than {MOST_CERTIFICATES} certificates"));
    }
    certificates.iter().map(|der| Certificate::from_der(der)).collect()
}

impl Envelope {
    fn verify(self, subject: &Digest, keys: &[Trusted], now: Timestamp) -> Result<Vouching, String> {
        if self.content_type != PAYLOAD {
            return Err(format!("the envelope's payload must be {PAYLOAD}"));
        }
        let (must, signed_at) = match self.scheme.as_str() {
            "notary.x509" if self.authentic_signed_at.is_none() => (SIGNING_SCHEME, self.signed_at),
            "notary.x509.signingAuthority" if self.signed_at.is_none() => (AUTHENTIC_SIGNING_TIME, self.authentic_signed_at),
            _ => return Err(String::from("the envelope's signing scheme is none that is known, or has another's time")),
        };
        let is_critical = |name: &str| self.critical.iter().any(|critical| critical == name);
        if !is_critical(SIGNING_SCHEME) || !is_critical(must) || (self.expires.is_some() && !is_critical(EXPIRY)) {
            return Err(String::from("the envelope does not mark as critical what must be"));
        }
        let understood = |name: &String| match name.as_str() {
            SIGNING_SCHEME => true,
            AUTHENTIC_SIGNING_TIME => self.authentic_signed_at.is_some(),
            EXPIRY => self.expires.is_some(),
            _ => false,
        };
        if let Some(unknown) = self.critical.iter().find(|name| !understood(name)) {
            return Err(format!("the envelope has a critical attribute that is not understood: {unknown:?}"));
        }
        let signed_at = signed_at.ok_or("the envelope says not when it was signed")?;
        if self.expires.is_some_and(|expires| expires < now) {
            return Err(String::from("the signature has expired"));
        }
        let leaf = self.chain.first().ok_or("the envelope brings no certificate")?;
        if leaf.key().kind() != self.algorithm.kind {
            return Err(format!("the algorithm {} is not for {} keys", self.algorithm.name, leaf.key().kind()));
        }
        if !leaf.key().verifies(self.algorithm.scheme, &self.message, &self.signature) {
            return Err(String::from("the envelope's signature is not by its certificate"));
        }
        let document = Node::parse(&self.payload).map_err(|error| format!("the envelope's payload cannot be read: {error}"))?;
        if text(&document, &["targetArtifact", "digest"]) != Some(subject.to_string().as_str()) {
            return Err(String::from("the signature is of another image"));
        }
        check_code_signing_chain(&self.chain, now)?;
        check_code_signing_chain(&self.chain, signed_at)?;
        let last = self.chain.iter().map(|certificate| certificate.validity().1).chain(self.expires).min();
        let trusts = |key: &Trusted| key.certificate().is_some_and(|trusted| self.chain.iter().any(|link| link.id() == trusted.id()));
        let found: Vouching = keys.iter().enumerate().filter(|(_, key)| trusts(key)).map(|(position, _)| (position, last)).collect();
        if found.is_empty() { Err(format!("the certificate {} leads to none that is trusted", leaf.subject())) } else { Ok(found) }
    }
}

/// The certificates that vouch for `subject` by an envelope in JWS.
pub(super) fn verify_jws(content: &[u8], subject: &Digest, keys: &[Trusted], now: Timestamp) -> Result<Vouching, String> {
    let outer = Node::parse(content).map_err(|error| format!("the envelope cannot be read: {error}"))?;
    let part = |name: &str| text(&outer, &[name]).ok_or_else(|| format!("the envelope has no text {name:?}"));
    let decode = |name: &str| URL_SAFE_NO_PAD.decode(part(name)?).map_err(|_| format!("the envelope's {name:?} is not base64url"));
    let protected = Node::parse(&decode("protected")?).map_err(|error| format!("the envelope's header cannot be read: {error}"))?;
    let time = |name: &str| match protected.get(name) {
        None => Ok(None),
        Some(node) => node.text().and_then(Timestamp::parse_rfc3339).map(Some).ok_or_else(|| format!("the envelope's {name:?} is no time")),
    };
    let name = text(&protected, &["alg"]).unwrap_or_default();
    let algorithm = ALGORITHMS.iter().find(|algorithm| algorithm.name == name).ok_or_else(|| format!("the algorithm {name:?} is not taken"))?;
    let certificates = outer.get("header").and_then(|header| header.get("x5c")).and_then(Node::list).unwrap_or_default();
    let certificates = certificates.iter().take(MOST_CERTIFICATES + 1).map(|node| node.text().and_then(|text| STANDARD.decode(text).ok()));
    let critical = protected.get("crit").and_then(Node::list).unwrap_or_default().iter().map(|name| name.text().map(str::to_owned));
    let envelope = Envelope {
        algorithm,
        content_type: text(&protected, &["cty"]).unwrap_or_default().to_owned(),
        critical: critical.collect::<Option<_>>().ok_or("the envelope's list of critical attributes cannot be read")?,
        scheme: text(&protected, &[SIGNING_SCHEME]).unwrap_or_default().to_owned(),
        signed_at: time(SIGNING_TIME)?,
        authentic_signed_at: time(AUTHENTIC_SIGNING_TIME)?,
        expires: time(EXPIRY)?,
        chain: chain(certificates.collect::<Option<_>>().ok_or("the envelope's certificates are not base64")?)?,
        payload: decode("payload")?,
        message: format!("{}.{}", part("protected")?, part("payload")?).into_bytes(),
        signature: decode("signature")?,
    };
    envelope.verify(subject, keys, now)
}

/// The certificates that vouch for `subject` by an envelope in COSE: a tagged `COSE_Sign1`.
pub(super) fn verify_cose(content: &[u8], subject: &Digest, keys: &[Trusted], now: Timestamp) -> Result<Vouching, String> {
    const SIGN1: u64 = 18;
    const EPOCH: u64 = 1;
    let malformed = || String::from("the envelope is no COSE_Sign1");
    let Some(Item::Tagged(SIGN1, message)) = Item::parse(content) else { return Err(malformed()) };
    let Item::List(parts) = *message else { return Err(malformed()) };
    let [Item::Bytes(encoded), unprotected, Item::Bytes(payload), Item::Bytes(signature)] = parts.as_slice() else { return Err(malformed()) };
    let protected = Item::parse(encoded).filter(|header| matches!(header, Item::Map(_))).ok_or_else(malformed)?;
    let named = |name: &str| protected.get(&Item::Text(name.to_owned()));
    let time = |name: &str| match named(name) {
        None => Ok(None),
        Some(Item::Tagged(EPOCH, seconds)) if matches!(**seconds, Item::Integer(_)) => {
            let Item::Integer(seconds) = **seconds else { return Err(malformed()) };
            Ok(Some(Timestamp(seconds.saturating_mul(1000))))
        }
        Some(_) => Err(format!("the envelope's {name:?} is no time")),
    };
    // RFC 9052, 3.1: 1 is the algorithm, 2 what is critical, 3 the type of the content; RFC 9360: 33 is the chain of certificates.
    let Some(Item::Integer(number)) = protected.get(&Item::Integer(1)) else { return Err(String::from("the envelope names no algorithm")) };
    let algorithm = ALGORITHMS.iter().find(|algorithm| algorithm.number == *number).ok_or_else(|| format!("the algorithm {number} is not taken"))?;
    let critical = if let Some(Item::List(names)) = protected.get(&Item::Integer(2)) { names.as_slice() } else { &[] };
    let critical = critical.iter().map(|name| name.text().map(str::to_owned));
    let certificates = match unprotected.get(&Item::Integer(33)) {
        Some(Item::List(certificates)) => certificates.iter().map(|certificate| certificate.bytes().map(<[u8]>::to_vec)).collect(),
        Some(Item::Bytes(certificate)) => Some(vec![certificate.clone()]),
        _ => None,
    };
    let envelope = Envelope {
        algorithm,
        content_type: protected.get(&Item::Integer(3)).and_then(Item::text).unwrap_or_default().to_owned(),
        critical: critical.collect::<Option<_>>().ok_or("the envelope's list of critical attributes cannot be read")?,
        scheme: named(SIGNING_SCHEME).and_then(Item::text).unwrap_or_default().to_owned(),
        signed_at: time(SIGNING_TIME)?,
        authentic_signed_at: time(AUTHENTIC_SIGNING_TIME)?,
        expires: time(EXPIRY)?,
        chain: chain(certificates.ok_or("the envelope brings no certificates")?)?,
        payload: payload.clone(),
        message: signature_structure(encoded, payload),
        signature: signature.clone(),
    };
    envelope.verify(subject, keys, now)
}
