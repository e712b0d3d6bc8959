//! X.509 certificates, and the chains of those that sign code.

use std::fmt;

use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{Hash, PublicKey, Scheme};
use crate::digest::Sha256Digest;
use crate::time::Timestamp;

/// Most certificates of a chain.
const LONGEST_CHAIN: usize = 8;

/// The critical extensions that are understood, or say nothing that matters here: key usage, alternative names, basic constraints,
/// policies, extended key usage.
const UNDERSTOOD: [ObjectIdentifier; 5] = [
    ObjectIdentifier::new_unwrap("2.5.29.15"),
    ObjectIdentifier::new_unwrap("2.5.29.17"),
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.32"),
    ObjectIdentifier::new_unwrap("2.5.29.37"),
];

/// Extended key usages that a certificate which signs code must not have: TLS servers and clients, mail, time stamps, OCSP.
const OTHER_USES: [ObjectIdentifier; 5] = [
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9"),
];

const ID_RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SIGNATURES: [(ObjectIdentifier, Scheme); 7] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"), Scheme::EcdsaDer(Hash::Sha256)),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"), Scheme::EcdsaDer(Hash::Sha384)),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"), Scheme::EcdsaDer(Hash::Sha512)),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"), Scheme::RsaPkcs1(Hash::Sha256)),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"), Scheme::RsaPkcs1(Hash::Sha384)),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"), Scheme::RsaPkcs1(Hash::Sha512)),
    (ObjectIdentifier::new_unwrap("1.3.101.112"), Scheme::Ed25519),
];

/// A certificate.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    /// The signed part, as it came.
    signed: Vec<u8>,
    parsed: x509_cert::Certificate,
    key: PublicKey,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {:?})", self.subject(), self.id())
    }
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let malformed = |error: x509_cert::der::Error| format!("this is no X.509 certificate: {error}");
        let parsed = x509_cert::Certificate::from_der(der).map_err(malformed)?;
        if parsed.signature_algorithm() != parsed.tbs_certificate().signature() {
            return Err(String::from("the certificate names two algorithms for its signature"));
        }
        let mut reader = SliceReader::new(der).map_err(malformed)?;
        let signed = reader
            .sequence(|inner| {
                let signed = inner.tlv_bytes()?.to_vec();
                inner.tlv_bytes()?;
                inner.tlv_bytes()?;
                Ok::<_, x509_cert::der::Error>(signed)
            })
            .map_err(malformed)?;
        let key = PublicKey::from_info(parsed.tbs_certificate().subject_public_key_info())?;
        Ok(Self { der: der.to_vec(), signed, parsed, key })
    }

    /// The SHA-256 of the certificate.
    #[must_use]
    pub fn id(&self) -> Sha256Digest {
        Sha256Digest::of(&self.der)
    }

    /// Whom it is for: `CN=release,O=Example`.
    #[must_use]
    pub fn subject(&self) -> String {
        self.parsed.tbs_certificate().subject().to_string().chars().filter(|letter| !letter.is_control()).take(200).collect()
    }

    /// The key that it certifies.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The first and the last moment of its validity.
    #[must_use]
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        let validity = self.parsed.tbs_certificate().validity();
        let moment = |time: x509_cert::time::Time| Timestamp(i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX));
        (moment(validity.not_before), moment(validity.not_after).plus(999))
    }

    /// Whether it is valid at that time.
    #[must_use]
    pub fn is_valid_at(&self, time: Timestamp) -> bool {
        let (first, last) = self.validity();
        (first..=last).contains(&time)
    }

    /// Whether `issuer` is named as the issuer, and its key made the signature.
    #[must_use]
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        let named = self.parsed.tbs_certificate().issuer().to_der().ok();
        if named.is_none() || named != issuer.parsed.tbs_certificate().subject().to_der().ok() {
            return false;
        }
        let (Some(scheme), Some(signature)) = (scheme_of(self.parsed.signature_algorithm()), self.parsed.signature().as_bytes()) else { return false };
        issuer.key.verifies(scheme, &self.signed, signature)
    }

    /// Whether it is its own issuer.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.is_issued_by(self)
    }

    fn refuse(&self, what: &str) -> String {
        format!("the certificate {} {what}", self.subject())
    }

    /// No critical extension that is not understood, and none twice.
    fn check_extensions(&self) -> Result<(), String> {
        let extensions = self.parsed.tbs_certificate().extensions().map(Vec::as_slice).unwrap_or_default();
        if let Some(unknown) = extensions.iter().find(|extension| extension.critical && !UNDERSTOOD.contains(&extension.extn_id)) {
            return Err(self.refuse(&format!("has a critical extension that is not understood: {}", unknown.extn_id)));
        }
        let mut seen: Vec<_> = extensions.iter().map(|extension| extension.extn_id).collect();
        seen.sort_unstable();
        seen.dedup();
        if seen.len() == extensions.len() { Ok(()) } else { Err(self.refuse("has an extension twice")) }
    }

    fn key_usage(&self) -> Result<KeyUsage, String> {
        match self.parsed.tbs_certificate().get_extension::<KeyUsage>() {
            Ok(Some((true, usage))) => Ok(usage),
            _ => Err(self.refuse("must have a critical key usage")),
        }
    }

    fn basic_constraints(&self) -> Result<Option<BasicConstraints>, String> {
        let found = self.parsed.tbs_certificate().get_extension::<BasicConstraints>();
        found.map(|found| found.map(|(_, constraints)| constraints)).map_err(|_| self.refuse("has malformed basic constraints"))
    }

    /// The rules for the certificate that signs.
    fn check_leaf(&self) -> Result<(), String> {
        if self.basic_constraints()?.is_some_and(|constraints| constraints.ca) {
            return Err(self.refuse("is a certificate authority's: it must not sign code itself"));
        }
        let usage = self.key_usage()?;
        let allowed = KeyUsages::DigitalSignature | KeyUsages::NonRepudiation;
        if !usage.digital_signature() || !(usage.0 - allowed).is_empty() {
            return Err(self.refuse("must be for digital signatures, and for nothing else"));
        }
        match self.parsed.tbs_certificate().get_extension::<ExtendedKeyUsage>() {
            Ok(None) => Ok(()),
            Ok(Some((_, uses))) if !uses.0.iter().any(|usage| OTHER_USES.contains(usage)) => Ok(()),
            _ => Err(self.refuse("is for something else than signing code")),
        }
    }

    /// The rules for a certificate that issued others; `below`: how many authorities stand between it and the one that signs.
    fn check_authority(&self, below: usize) -> Result<(), String> {
        let constraints = self.basic_constraints()?.filter(|constraints| constraints.ca).ok_or_else(|| self.refuse("is no certificate authority's"))?;
        if constraints.path_len_constraint.is_some_and(|most| usize::from(most) < below) {
            return Err(self.refuse("does not allow a chain of that length"));
        }
        if self.key_usage()?.key_cert_sign() { Ok(()) } else { Err(self.refuse("must not issue certificates")) }
    }
}

/// How a certificate was signed. What is signed by MD5 or SHA-1 was not.
fn scheme_of(algorithm: &AlgorithmIdentifierOwned) -> Option<Scheme> {
    if algorithm.oid == ID_RSA_PSS {
        let parameters = algorithm.parameters.as_ref()?.to_der().ok()?;
        return [(Hash::Sha256, 1, 32), (Hash::Sha384, 2, 48), (Hash::Sha512, 3, 64)]
            .into_iter()
            .find(|(_, hash, salt)| parameters == pss_parameters(*hash, *salt))
            .map(|(hash, ..)| Scheme::RsaPss(hash));
    }
    SIGNATURES.iter().find(|(oid, _)| *oid == algorithm.oid).map(|(_, scheme)| *scheme)
}

/// The `RSASSA-PSS-params` that everybody writes: the same hash for both, a salt as long as it.
fn pss_parameters(hash: u8, salt: u8) -> Vec<u8> {
    let hash = [0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash, 0x05, 0x00];
    let mask = [0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
    [&[0x30, 0x34, 0xa0, 0x0f][..], &hash, &mask, &hash, &[0xa2, 0x03, 0x02, 0x01, salt]].concat()
}

/// Checks a chain by the rules of the Notary Project for certificates that sign code: the first signs, each is issued by the next, the
/// last one is self-signed, and all are valid at `time`. Whether one of them is trusted is for the caller to say.
///
/// # Errors
/// What is wrong with it, for people.
pub fn check_code_signing_chain(chain: &[Certificate], time: Timestamp) -> Result<(), String> {
    let (Some(leaf), Some(last)) = (chain.first(), chain.last()) else { return Err(String::from("there is no certificate")) };
    if chain.len() > LONGEST_CHAIN {
        return Err(format!("the chain has more than {LONGEST_CHAIN} certificates"));
    }
    for certificate in chain {
        certificate.check_extensions()?;
        if !certificate.is_valid_at(time) {
            let (first, last) = certificate.validity();
            return Err(certificate.refuse(&format!("is valid from {} to {} only", first.rfc3339(), last.rfc3339())));
        }
    }
    for (below, authority) in chain.iter().skip(1).enumerate() {
        authority.check_authority(below)?;
    }
    leaf.check_leaf()?;
    for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
        if !certificate.is_issued_by(issuer) || certificate.is_self_signed() {
            return Err(certificate.refuse(&format!("is not issued by {}", issuer.subject())));
        }
    }
    if last.is_self_signed() { Ok(()) } else { Err(last.refuse("ends the chain without being self-signed")) }
}
