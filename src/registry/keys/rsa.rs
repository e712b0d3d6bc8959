//! RSA keys of documents.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use entrepot_kit::{Error, PublicKey, Result, SignatureScheme, SigningKey};
use rsa::pkcs8::DecodePrivateKey as _;
use sha2::Digest as _;

use super::documents::Made;

/// DER of a DigestInfo up to the bytes of a SHA-1 (RFC 8017, 9.2).
const SHA1_PREFIX: [u8; 15] = [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];

/// Makes a key.
pub(super) fn make() -> Result<Made> {
    let failed = |_| Error::internal("no RSA key could be made");
    let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(failed)?;
    let secret: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
    Ok(Made { id: hex::encode(sha2::Sha256::digest(public.as_ref())), public: public.as_ref().to_vec(), secret: secret.as_ref().to_vec() })
}

/// An open key.
pub(super) struct Key {
    public: PublicKey,
    pair: RsaKeyPair,
    /// The same key, for SHA-1: the library above makes no such signatures, and old clients know no others. This one blinds what it computes,
    /// so that the time it takes tells nothing.
    legacy: rsa::PrivateKey,
}

impl Key {
    /// The key with this private part (PKCS #8, DER).
    pub(super) fn open(public: PublicKey, secret: &[u8]) -> Result<Self> {
        let pair = RsaKeyPair::from_pkcs8(secret).map_err(|_| malformed())?;
        let legacy = rsa::PrivateKey::from_pkcs8_der(secret).map_err(|_| malformed())?;
        Ok(Self { public, pair, legacy })
    }
}

impl SigningKey for Key {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>> {
        match scheme {
            SignatureScheme::RsaSha1 => {
                let digest_info = [SHA1_PREFIX.as_slice(), &sha1::Sha1::digest(message)].concat();
                self.legacy.sign(rsa::pkcs1v15::Pkcs1v15Sign::new_unprefixed(), &digest_info).map_err(|_| Error::internal("signing failed"))
            }
            SignatureScheme::RsaSha256 => {
                let mut signature = vec![0; self.pair.public_modulus_len()];
                let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
                signed.map_err(|_| Error::internal("signing failed"))?;
                Ok(signature)
            }
            SignatureScheme::OpenPgp { .. } => Err(Error::internal("an RSA key makes no OpenPGP signatures")),
        }
    }
}

fn malformed() -> Error {
    Error::internal("a stored RSA key is malformed")
}
