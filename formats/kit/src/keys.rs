//! Keys with which a repository signs the documents that its clients trust. A format gets signatures and public keys; what is private of a
//! key never leaves the server's key store.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::error::Result;
use crate::time::Timestamp;

/// What a key is, as clients of a format understand it. A repository has keys of a kind from the first time that one is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// RSA; the public key is a SubjectPublicKeyInfo in DER.
    Rsa,
    /// OpenPGP; the public key is a certificate in its binary form.
    OpenPgp,
}

impl KeyKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Rsa, Self::OpenPgp];

    /// Its name in commands.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::OpenPgp => "openpgp",
        }
    }
}

/// How a message is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureScheme {
    /// PKCS #1 v1.5 over SHA-1: what old clients know.
    RsaSha1,
    /// PKCS #1 v1.5 over SHA-256.
    RsaSha256,
    /// A detached OpenPGP signature in its binary form.
    OpenPgp {
        /// When it was made, as it says of itself: the same document gets the same signature from every replica.
        time: Timestamp,
    },
}

/// What anybody may know of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Names it: for RSA the SHA-256 of the public key in hexadecimal, for OpenPGP the fingerprint.
    pub id: String,
    /// The public key, in the form that its kind says.
    pub bytes: Bytes,
    /// When it was made.
    pub created: Timestamp,
    /// After this it signs nothing new.
    pub expires: Option<Timestamp>,
}

impl PublicKey {
    /// A SubjectPublicKeyInfo as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        let encoded = STANDARD.encode(&self.bytes);
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for line in encoded.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        pem
    }
}

/// A key that signs.
pub trait SigningKey: Send + Sync {
    /// What anybody may know of it.
    fn public(&self) -> &PublicKey;

    /// Signs a message. It computes for milliseconds: for where blocking is allowed ([`crate::blocking`]).
    ///
    /// # Errors
    /// 500 for a scheme of another kind, and when the key cannot be used.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>>;
}

/// The keys of one kind that a repository has.
#[derive(Clone, Default)]
pub struct SigningKeys {
    /// Those that sign now, newest first: more than one while clients are given time to learn of a new one. A document is signed by each.
    pub signing: Vec<Arc<dyn SigningKey>>,
    /// All that ever signed, newest first.
    pub public: Vec<PublicKey>,
}
