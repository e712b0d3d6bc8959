//! Verification of signatures: public keys, X.509 certificates and chains of them. Pure: the caller says what time it is.
//!
//! A signature is checked by the scheme that fits the type of the key, never by one that the signed bytes choose alone. Only
//! public halves are read here; the server signs elsewhere.

mod certificate;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA256_ASN1,
    ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

pub use certificate::{Certificate, check_code_signing_chain};

use crate::digest::Sha256Digest;

const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const CURVES: [(ObjectIdentifier, KeyKind); 3] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), KeyKind::P256),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), KeyKind::P384),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), KeyKind::P521),
];

/// Largest key or certificate, in bytes of PEM.
pub const LARGEST_PEM: usize = 64 << 10;

/// What kind of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on the curve P-256.
    P256,
    /// ECDSA on the curve P-384.
    P384,
    /// ECDSA on the curve P-521.
    P521,
    /// Ed25519, without pre-hashing.
    Ed25519,
    /// RSA.
    Rsa {
        /// Bits of the modulus: 2048 to 8192.
        bits: usize,
    },
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("ECDSA P-256"),
            Self::P384 => f.write_str("ECDSA P-384"),
            Self::P521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
        }
    }
}

/// The hash that a signature is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How a signature was made and is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// ECDSA, as ASN.1 DER.
    EcdsaDer(Hash),
    /// ECDSA, as the two numbers one after the other.
    EcdsaFixed(Hash),
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
    /// RSASSA-PSS, with the same hash for the mask and a salt as long as the hash.
    RsaPss(Hash),
    /// Ed25519, without pre-hashing.
    Ed25519,
}

impl Scheme {
    /// The implementation, if the key is of the kind that the scheme is for.
    fn implementation(self, kind: KeyKind) -> Option<&'static dyn VerificationAlgorithm> {
        use Hash::{Sha256, Sha384, Sha512};
        Some(match (kind, self) {
            (KeyKind::P256, Self::EcdsaDer(Sha256)) => &ECDSA_P256_SHA256_ASN1,
            (KeyKind::P384, Self::EcdsaDer(Sha256)) => &ECDSA_P384_SHA256_ASN1,
            (KeyKind::P384, Self::EcdsaDer(Sha384)) => &ECDSA_P384_SHA384_ASN1,
            (KeyKind::P521, Self::EcdsaDer(Sha256)) => &ECDSA_P521_SHA256_ASN1,
            (KeyKind::P521, Self::EcdsaDer(Sha384)) => &ECDSA_P521_SHA384_ASN1,
            (KeyKind::P521, Self::EcdsaDer(Sha512)) => &ECDSA_P521_SHA512_ASN1,
            (KeyKind::P256, Self::EcdsaFixed(Sha256)) => &ECDSA_P256_SHA256_FIXED,
            (KeyKind::P384, Self::EcdsaFixed(Sha384)) => &ECDSA_P384_SHA384_FIXED,
            (KeyKind::P521, Self::EcdsaFixed(Sha512)) => &ECDSA_P521_SHA512_FIXED,
            (KeyKind::Rsa { .. }, Self::RsaPkcs1(Sha256)) => &RSA_PKCS1_2048_8192_SHA256,
            (KeyKind::Rsa { .. }, Self::RsaPkcs1(Sha384)) => &RSA_PKCS1_2048_8192_SHA384,
            (KeyKind::Rsa { .. }, Self::RsaPkcs1(Sha512)) => &RSA_PKCS1_2048_8192_SHA512,
            (KeyKind::Rsa { .. }, Self::RsaPss(Sha256)) => &RSA_PSS_2048_8192_SHA256,
            (KeyKind::Rsa { .. }, Self::RsaPss(Sha384)) => &RSA_PSS_2048_8192_SHA384,
            (KeyKind::Rsa { .. }, Self::RsaPss(Sha512)) => &RSA_PSS_2048_8192_SHA512,
            (KeyKind::Ed25519, Self::Ed25519) => &ED25519,
            _ => return None,
        })
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    /// As the library takes it: a point, 32 bytes, or an `RSAPublicKey`.
    raw: Vec<u8>,
    /// Its SubjectPublicKeyInfo.
    der: Vec<u8>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {:?})", self.kind, self.id())
    }
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let info = SubjectPublicKeyInfoOwned::from_der(der).map_err(|error| format!("this is no public key: {error}"))?;
        Self::from_info(&info)
    }

    fn from_info(info: &SubjectPublicKeyInfoOwned) -> Result<Self, String> {
        let raw = info.subject_public_key.as_bytes().ok_or("the public key is not a whole number of bytes")?.to_vec();
        let parameters = info.algorithm.parameters.as_ref();
        let kind = match info.algorithm.oid {
            ID_EC_PUBLIC_KEY => {
                let curve = parameters.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
                let kind = CURVES.iter().find(|(oid, _)| Some(*oid) == curve).map(|(_, kind)| *kind);
                // The only form of a point that every tool writes.
                kind.filter(|_| raw.first() == Some(&4)).ok_or("an ECDSA key must be an uncompressed point on the curve P-256, P-384 or P-521")?
            }
            ID_ED25519 if parameters.is_none() => KeyKind::Ed25519,
            ID_RSA => {
                let bits = modulus_bits(&raw).ok_or("this is no RSA key")?;
                if !(2048..=8192).contains(&bits) {
                    return Err(format!("an RSA key must have 2048 to 8192 bits, not {bits}"));
                }
                KeyKind::Rsa { bits }
            }
            other => return Err(format!("keys of the algorithm {other} are not taken: give an ECDSA, Ed25519 or RSA key")),
        };
        let der = info.to_der().map_err(|error| error.to_string())?;
        let key = Self { kind, raw, der };
        // A point that is not on its curve is found now, not at the first signature.
        let [first, ..] = key.schemes() else { return Err(String::from("keys of this kind are not taken")) };
        let implementation = first.implementation(kind).ok_or("keys of this kind are not taken")?;
        ParsedPublicKey::new(implementation, &key.raw).map_err(|_| format!("this is no {kind} key"))?;
        Ok(key)
    }

    /// What kind of key it is.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn id(&self) -> Sha256Digest {
        Sha256Digest::of(&self.der)
    }

    /// The schemes by which tools sign with such a key when nothing says which. Each is sound for that kind of key.
    fn schemes(&self) -> &'static [Scheme] {
        use Hash::{Sha256, Sha384, Sha512};
        match self.kind {
            KeyKind::P256 => &[Scheme::EcdsaDer(Sha256)],
            KeyKind::P384 => &[Scheme::EcdsaDer(Sha384), Scheme::EcdsaDer(Sha256)],
            KeyKind::P521 => &[Scheme::EcdsaDer(Sha512), Scheme::EcdsaDer(Sha384), Scheme::EcdsaDer(Sha256)],
            KeyKind::Ed25519 => &[Scheme::Ed25519],
            KeyKind::Rsa { .. } => &[
                Scheme::RsaPkcs1(Sha256),
                Scheme::RsaPss(Sha256),
                Scheme::RsaPkcs1(Sha384),
                Scheme::RsaPss(Sha384),
                Scheme::RsaPkcs1(Sha512),
                Scheme::RsaPss(Sha512),
            ],
        }
    }

    /// Whether this key made the signature of `message` by this scheme. `false` for a scheme that is not for such keys.
    #[must_use]
    pub fn verifies(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        scheme.implementation(self.kind).is_some_and(|implementation| UnparsedPublicKey::new(implementation, &self.raw).verify(message, signature).is_ok())
    }

    /// Whether this key made the signature of `message` by one of the schemes for its kind.
    #[must_use]
    pub fn verifies_by_any(&self, message: &[u8], signature: &[u8]) -> bool {
        self.schemes().iter().any(|scheme| self.verifies(*scheme, message, signature))
    }
}

/// The bits of the modulus of an `RSAPublicKey`.
fn modulus_bits(raw: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(raw).ok()?;
    let (modulus, _): (UintRef<'_>, UintRef<'_>) = reader.sequence(|inner| Ok::<_, x509_cert::der::Error>((inner.decode()?, inner.decode()?))).ok()?;
    reader.finish().ok()?;
    let (first, rest) = modulus.as_bytes().split_first()?;
    Some(rest.len() * 8 + (u8::BITS - first.leading_zeros()) as usize)
}

/// What an operator trusts: a public key, or a certificate.
#[derive(Debug, Clone)]
pub enum Trusted {
    /// A public key.
    Key(PublicKey),
    /// A certificate.
    Certificate(Box<Certificate>),
}

impl Trusted {
    /// Reads one PEM block: `PUBLIC KEY` or `CERTIFICATE`.
    ///
    /// # Errors
    /// What is wrong with it, for people. The text itself is never repeated: it may be a private key by mistake.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let (label, der) = pem_block(pem)?;
        match label {
            "PUBLIC KEY" => PublicKey::from_der(&der).map(Self::Key),
            "CERTIFICATE" => Certificate::from_der(&der).map(|certificate| Self::Certificate(Box::new(certificate))),
            private if private.contains("PRIVATE KEY") => Err(String::from("this is a private key: keep it to yourself, and give the public one")),
            _ => Err(String::from("the PEM block must be a PUBLIC KEY or a CERTIFICATE")),
        }
    }

    /// The SHA-256 of the key or certificate, in DER.
    #[must_use]
    pub fn id(&self) -> Sha256Digest {
        match self {
            Self::Key(key) => key.id(),
            Self::Certificate(certificate) => certificate.id(),
        }
    }

    /// The key, or that of the certificate.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        match self {
            Self::Key(key) => key,
            Self::Certificate(certificate) => certificate.key(),
        }
    }

    /// The certificate, if it is one.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        if let Self::Certificate(certificate) = self { Some(certificate) } else { None }
    }
}

impl fmt::Display for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "the {} key SHA256:{}", key.kind(), key.id()),
            Self::Certificate(certificate) => write!(f, "the certificate {} SHA256:{}", certificate.subject(), certificate.id()),
        }
    }
}

/// The label and content of the one block of a PEM text (RFC 7468). Text around it is passed over.
fn pem_block(pem: &str) -> Result<(&str, Vec<u8>), String> {
    if pem.len() > LARGEST_PEM {
        return Err(format!("the PEM text is larger than {LARGEST_PEM} bytes"));
    }
    let (_, rest) = pem.split_once("-----BEGIN ").ok_or("this is no PEM text: it has no line -----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE-----")?;
    let (label, rest) = rest.split_once("-----").ok_or("the first line of the PEM block is cut off")?;
    let (content, rest) = rest.split_once("-----END ").ok_or("the PEM block has no end")?;
    if rest.strip_prefix(label).is_none_or(|rest| !rest.starts_with("-----")) {
        return Err(String::from("the PEM block ends with another name than it begins with"));
    }
    if rest.contains("-----BEGIN ") {
        return Err(String::from("the PEM text holds more than one block: give each key or certificate by itself"));
    }
    let content: String = content.split_ascii_whitespace().collect();
    let der = STANDARD.decode(content).map_err(|_| "the PEM block is not base64")?;
    Ok((label, der))
}
