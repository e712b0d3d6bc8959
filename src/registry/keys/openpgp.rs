//! OpenPGP keys of documents: RSA, version 4 (RFC 9580), which every client of the last twenty years verifies. A certificate is three packets
//! (public key, user ID, and what binds both), a signature is one; the arithmetic is the library's that makes all RSA signatures here.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use entrepot_kit::{Error, PublicKey, Result, SignatureScheme, SigningKey, Timestamp};
use sha1::Digest as _;

use super::documents::Made;

const VERSION: u8 = 4;
const RSA: u8 = 1;
const SHA256: u8 = 8;
/// Types of packets.
const SIGNATURE: u8 = 2;
const PUBLIC_KEY: u8 = 6;
const USER_ID: u8 = 13;
/// Types of signatures.
const BINARY: u8 = 0x00;
const CERTIFICATION: u8 = 0x13;
/// Types of subpackets.
const CREATION_TIME: u8 = 2;
const PREFERRED_CIPHERS: u8 = 11;
const ISSUER: u8 = 16;
const PREFERRED_HASHES: u8 = 21;
const FEATURES: u8 = 30;
const KEY_FLAGS: u8 = 27;
const ISSUER_FINGERPRINT: u8 = 33;
/// It certifies (itself), and signs.
const CERTIFIES_AND_SIGNS: u8 = 0x03;
/// Whom clients are shown.
const NAME: &[u8] = b"Entrepot (signs the metadata of a repository)";

fn failed() -> Error {
    Error::internal("no OpenPGP key could be made")
}

/// Makes a key.
pub(super) fn make(now: Timestamp) -> Result<Made> {
    let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(|_| failed())?;
    let created = seconds(now);
    let body = public_key(&pair, created)?;
    let fingerprint = fingerprint(&body)?;
    let mut named = prefixed(0x99, &body)?;
    named.push(0xb4);
    named.extend_from_slice(&length(NAME.len())?.to_be_bytes());
    named.extend_from_slice(NAME);
    let about = [(KEY_FLAGS, &[CERTIFIES_AND_SIGNS][..]), (PREFERRED_HASHES, &[SHA256]), (PREFERRED_CIPHERS, &[9]), (FEATURES, &[1])];
    let binding = signature(&pair, CERTIFICATION, created, &fingerprint, &about, &named)?;
    let certificate = [packet(PUBLIC_KEY, &body)?, packet(USER_ID, NAME)?, binding].concat();
    let secret: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| failed())?;
    Ok(Made { id: hex::encode_upper(fingerprint), public: certificate, secret: secret.as_ref().to_vec() })
}

/// An open key.
pub(super) struct Key {
    public: PublicKey,
    fingerprint: Vec<u8>,
    pair: RsaKeyPair,
}

impl Key {
    /// The key with this private part (PKCS #8, DER).
    pub(super) fn open(public: PublicKey, secret: &[u8]) -> Result<Self> {
        let malformed = || Error::internal("a stored OpenPGP key is malformed");
        let pair = RsaKeyPair::from_pkcs8(secret).map_err(|_| malformed())?;
        let fingerprint = hex::decode(&public.id).map_err(|_| malformed())?;
        Ok(Self { public, fingerprint, pair })
    }
}

impl SigningKey for Key {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>> {
        match scheme {
            SignatureScheme::OpenPgp { time } => {
                // What is older than the key is signed as of its first second: no client takes a signature from before.
                let time = seconds(time).max(seconds(self.public.created));
                signature(&self.pair, BINARY, time, &self.fingerprint, &[], message)
            }
            SignatureScheme::RsaSha1 | SignatureScheme::RsaSha256 => Err(Error::internal("an OpenPGP key makes OpenPGP signatures only")),
        }
    }
}

fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.seconds().max(0)).unwrap_or(u32::MAX)
}

fn length(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(Error::internal)
}

fn short(length: usize) -> Result<[u8; 2]> {
    Ok(u16::try_from(length).map_err(Error::internal)?.to_be_bytes())
}

/// A packet, its length in the form of five bytes.
fn packet(kind: u8, body: &[u8]) -> Result<Vec<u8>> {
    Ok([&[0xc0 | kind, 0xff][..], &length(body.len())?.to_be_bytes(), body].concat())
}

/// What is hashed of a public key.
fn prefixed(mark: u8, body: &[u8]) -> Result<Vec<u8>> {
    Ok([&[mark][..], &short(body.len())?, body].concat())
}

/// A number: its length in bits, and its bytes without zeros before them.
fn number(bytes: &[u8]) -> Result<Vec<u8>> {
    let bytes = bytes.iter().position(|byte| *byte != 0).and_then(|first| bytes.get(first..)).unwrap_or_default();
    let zeros = bytes.first().map_or(0, |first| usize::try_from(first.leading_zeros()).unwrap_or(0));
    Ok([&short(bytes.len() * 8 - zeros)?[..], bytes].concat())
}

/// The body of the public key's packet.
fn public_key(pair: &RsaKeyPair, created: u32) -> Result<Vec<u8>> {
    let (modulus, exponent) = (pair.public_key().modulus(), pair.public_key().exponent());
    let numbers = [number(modulus.big_endian_without_leading_zero())?, number(exponent.big_endian_without_leading_zero())?].concat();
    Ok([&[VERSION][..], &created.to_be_bytes(), &[RSA], &numbers].concat())
}

fn fingerprint(body: &[u8]) -> Result<Vec<u8>> {
    Ok(sha1::Sha1::digest(prefixed(0x99, body)?).to_vec())
}

fn subpacket(kind: u8, body: &[u8]) -> Result<Vec<u8>> {
    // Lengths of one byte.
    let length = u8::try_from(body.len() + 1).ok().filter(|length| *length < 192).ok_or_else(failed)?;
    Ok([&[length, kind][..], body].concat())
}

/// A signature packet.
fn signature(pair: &RsaKeyPair, kind: u8, created: u32, fingerprint: &[u8], about: &[(u8, &[u8])], message: &[u8]) -> Result<Vec<u8>> {
    let mut hashed = subpacket(ISSUER_FINGERPRINT, &[&[VERSION][..], fingerprint].concat())?;
    hashed.extend(subpacket(CREATION_TIME, &created.to_be_bytes())?);
    for (kind, body) in about {
        hashed.extend(subpacket(*kind, body)?);
    }
    let head = [&[VERSION, kind, RSA, SHA256][..], &short(hashed.len())?, &hashed].concat();
    let trailer = [&[VERSION, 0xff][..], &length(head.len())?.to_be_bytes()].concat();
    let signed = [message, &head, &trailer].concat();
    let digest = sha2::Sha256::digest(&signed);
    let mut value = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &signed, &mut value).map_err(|_| Error::internal("signing failed"))?;
    let id = fingerprint.len().checked_sub(8).and_then(|start| fingerprint.get(start..)).ok_or_else(failed)?;
    let unhashed = subpacket(ISSUER, id)?;
    let beginning = digest.get(..2).unwrap_or_default();
    packet(SIGNATURE, &[&head[..], &short(unhashed.len())?, &unhashed, beginning, &number(&value)?].concat())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use bytes::Bytes;
    use entrepot_kit::{PublicKey, SignatureScheme, SigningKey as _, Timestamp};

    use super::{Key, make};

    #[test]
    fn gpg_verifies_what_is_signed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Timestamp(1_700_000_000_000);
        let made = make(now).expect("a key");
        let public = PublicKey { id: made.id.clone(), bytes: Bytes::from(made.public.clone()), created: now, expires: None };
        let key = Key::open(public, &made.secret).expect("the key");
        let scheme = SignatureScheme::OpenPgp { time: now.plus(5000) };
        let signature = key.sign(scheme, b"a document").expect("a signature");
        assert_eq!(signature, key.sign(scheme, b"a document").expect("a signature"), "every replica signs alike");
        assert!(key.sign(SignatureScheme::RsaSha256, b"").is_err(), "a scheme of another kind");
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("a file");
            path
        };
        let home = folder.path().join("home");
        std::fs::create_dir(&home).expect("a folder");
        let gpg = |arguments: &[&std::path::Path]| {
            let output = Command::new("gpg").arg("--homedir").arg(&home).args(["--batch", "--status-fd", "1"]).args(arguments).output();
            String::from_utf8_lossy(&output.expect("gpg runs: tests/run installs it").stdout).into_owned()
        };
        let (certificate, detached) = (file("key", &made.public), file("signature", &signature));
        let (document, another) = (file("document", b"a document"), file("another", b"another one"));
        let imported = gpg(&["--import".as_ref(), &certificate]);
        assert!(imported.contains(&format!("IMPORT_OK 1 {}", made.id)), "{imported}");
        let good = gpg(&["--verify".as_ref(), &detached, &document]);
        assert!(good.contains(&format!("VALIDSIG {} ", made.id)) && good.contains(" 1700000005 "), "{good}");
        let bad = gpg(&["--verify".as_ref(), &detached, &another]);
        assert!(bad.contains("BADSIG") && !bad.contains("VALIDSIG"), "{bad}");
    }
}
