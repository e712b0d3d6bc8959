//! Signing keys, made when first needed and sealed by the master key in the catalog: ECDSA P-256, one for each repository, and one after
//! the other for registry tokens; those of documents, with which repositories sign what their clients trust, are in [`documents`].

pub(crate) mod documents;
mod openpgp;
mod rsa;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use entrepot_kit::{Error, Result, Signature, Timestamp, VerificationKey};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Digest as _;

use crate::store::catalog::Catalog;
use crate::store::model::KeyRow;

/// The fixed beginning of a SubjectPublicKeyInfo with an uncompressed P-256 point (RFC 5480).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The purpose of the row that tells one master key from another.
const PROOF: &str = "master-key";
/// How long a key for registry tokens signs: 30 days, counted from 1970, so that all replicas agree which one it is.
const TOKEN_KEY_PERIOD: i64 = 30 * 24 * 60 * 60 * 1000;

/// When the source of random numbers begins after a start, in any case: behind the first answers.
const BEGIN_AFTER: Duration = Duration::from_secs(1);

/// Begins the source of random numbers of signatures and seals, which takes 50 ms of a processor once: not in the first request that needs one.
pub async fn begin_randomness() {
    tokio::time::sleep(BEGIN_AFTER).await;
    let begun = entrepot_kit::blocking(|| SystemRandom::new().fill(&mut [0]).map_err(|_| Error::internal("there are no random numbers")));
    if let Err(error) = begun.await {
        tracing::warn!(%error, "keys cannot be made, and nothing can be signed");
    }
}

/// Seals the private keys in the catalog. The same on all replicas.
pub struct MasterKey(RandomizedNonceKey);

impl MasterKey {
    /// Bytes of a master key.
    pub const LENGTH: usize = 32;

    /// The key with these bytes.
    ///
    /// # Errors
    /// 500 when they are not [`Self::LENGTH`] bytes.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        Ok(Self(RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(|_| Error::internal("the master key must have 32 bytes"))?))
    }

    /// The key that an operator wrote in hexadecimal.
    ///
    /// # Errors
    /// 500 when it is not one.
    pub fn from_hex(text: &SecretString) -> Result<Self> {
        Self::new(&hex::decode(text.expose_secret()).map_err(|_| Error::internal("the master key must have 64 hexadecimal characters"))?)
    }

    /// Makes sure that this is the key that sealed what the catalog holds. The first one that comes is kept as a seal; the key itself
    /// is not.
    ///
    /// # Errors
    /// 409 for another key, and failures of the catalog.
    pub async fn prove(&self, catalog: &Catalog, now: Timestamp) -> Result<()> {
        // Read first: sealing needs random numbers, whose source takes 50 ms to begin, and every start but the first would wait for them.
        let known = catalog.keys(PROOF).await?.into_iter().find(|key| key.expires.is_none_or(|expires| expires > now));
        let kept = match known {
            Some(kept) => kept,
            None => {
                let sealed = self.seal(PROOF, PROOF.as_bytes())?;
                let mine = KeyRow { id: PROOF.to_owned(), purpose: PROOF.to_owned(), public: Vec::new(), sealed, created: now, expires: None };
                catalog.put_key(mine).await?
            }
        };
        match self.open(PROOF, &kept.sealed) {
            Ok(opened) if opened == PROOF.as_bytes() => Ok(()),
            _ => Err(Error::conflict(
                "the master key is another one than the one that sealed the keys in the database: it must be the same on all replicas, for ever",
            )),
        }
    }

    /// The purpose is bound to the sealed bytes, so that one repository's row cannot be put in another's place.
    fn seal(&self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let mut sealed = secret.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(purpose), &mut sealed).map_err(|_| Error::internal("sealing a key failed"))?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Whether this is the key that sealed these bytes for this purpose.
    #[must_use]
    pub fn opens(&self, purpose: &str, sealed: &[u8]) -> bool {
        self.open(purpose, sealed).is_ok()
    }

    fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let broken = || Error::internal("a signing key cannot be opened: the master key is not the one that sealed it");
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or_else(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let mut plain = rest.to_vec();
        let opened = self.0.open_in_place(nonce, Aad::from(purpose), &mut plain).map_err(|_| broken())?;
        Ok(opened.to_vec())
    }
}

/// The keys that are open.
pub(crate) struct Keys {
    catalog: Catalog,
    master: MasterKey,
    open: Mutex<HashMap<i64, Arc<OpenKey>>>,
    /// By period.
    tokens: Mutex<BTreeMap<i64, Arc<TokenKey>>>,
    documents: documents::Opened,
}

/// A key for registry tokens.
pub(crate) struct TokenKey {
    /// Names it in the header of a token.
    pub(crate) id: String,
    /// Signs.
    pub(crate) signs: jsonwebtoken::EncodingKey,
    /// Verifies.
    pub(crate) verifies: jsonwebtoken::DecodingKey,
}

struct OpenKey {
    pair: EcdsaKeyPair,
    id: String,
}

impl Keys {
    pub(crate) fn new(catalog: Catalog, master: MasterKey) -> Self {
        Self { catalog, master, open: Mutex::default(), tokens: Mutex::default(), documents: documents::Opened::default() }
    }

    fn purpose(repository: i64) -> String {
        format!("sign/{repository}")
    }

    /// Signs `message`; makes the repository's key at the first call.
    pub(crate) async fn sign(&self, repository: i64, message: &[u8], now: Timestamp) -> Result<Signature> {
        let key = self.key(repository, now).await?;
        let signature = key.pair.sign(&SystemRandom::new(), message).map_err(|_| Error::internal("signing failed"))?;
        Ok(Signature { key_id: key.id.clone(), signature: STANDARD.encode(signature) })
    }

    async fn key(&self, repository: i64, now: Timestamp) -> Result<Arc<OpenKey>> {
        if let Some(key) = self.open.lock().get(&repository) {
            return Ok(Arc::clone(key));
        }
        let purpose = Self::purpose(repository);
        let row = match self.catalog.keys(&purpose).await?.into_iter().next() {
            Some(row) => row,
            None => self.catalog.put_key(self.generate(&purpose, now)?).await?,
        };
        let private = self.master.open(&purpose, &row.sealed)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &private).map_err(|_| Error::internal("a stored signing key is malformed"))?;
        let key = Arc::new(OpenKey { pair, id: row.id });
        self.open.lock().insert(repository, Arc::clone(&key));
        Ok(key)
    }

    /// The key that signs registry tokens now; made by whichever replica needs it first.
    pub(crate) async fn token_key(&self, now: Timestamp) -> Result<Arc<TokenKey>> {
        let period = period_of(now);
        if let Some(key) = self.known_token_key(period).await? {
            return Ok(key);
        }
        let row = self.catalog.put_key(self.generate(&token_purpose(period), now)?).await?;
        self.open_token_key(period, &row)
    }

    /// The key of ours that a token names. Clocks differ, and tokens outlive the end of a period: its neighbours count too, and
    /// nothing else that is called a key.
    pub(crate) async fn token_key_named(&self, id: &str, now: Timestamp) -> Result<Option<Arc<TokenKey>>> {
        let period = period_of(now);
        for period in [period, period - 1, period + 1] {
            if let Some(key) = self.known_token_key(period).await?.filter(|key| key.id == id) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    async fn known_token_key(&self, period: i64) -> Result<Option<Arc<TokenKey>>> {
        if let Some(key) = self.tokens.lock().get(&period) {
            return Ok(Some(Arc::clone(key)));
        }
        match self.catalog.keys(&token_purpose(period)).await?.first() {
            Some(row) => Ok(Some(self.open_token_key(period, row)?)),
            None => Ok(None),
        }
    }

    fn open_token_key(&self, period: i64, row: &KeyRow) -> Result<Arc<TokenKey>> {
        let private = self.master.open(&row.purpose, &row.sealed)?;
        let point = row.public.strip_prefix(P256_PREFIX.as_slice()).ok_or_else(|| Error::internal("a stored signing key is malformed"))?;
        let verifies = jsonwebtoken::DecodingKey::from_ec_der(point);
        let key = Arc::new(TokenKey { id: row.id.clone(), signs: jsonwebtoken::EncodingKey::from_ec_der(&private), verifies });
        let mut open = self.tokens.lock();
        open.insert(period, Arc::clone(&key));
        while open.len() > 3 {
            open.pop_first();
        }
        Ok(key)
    }

    /// Text that a client carries for us and must not read: bound to a purpose.
    pub(crate) fn seal_text(&self, purpose: &str, text: &str) -> Result<String> {
        Ok(URL_SAFE_NO_PAD.encode(self.master.seal(purpose, text.as_bytes())?))
    }

    /// The text that was sealed; `None` for what never was, for this purpose.
    pub(crate) fn open_text(&self, purpose: &str, sealed: &str) -> Option<String> {
        String::from_utf8(self.master.open(purpose, &URL_SAFE_NO_PAD.decode(sealed).ok()?).ok()?).ok()
    }

    fn generate(&self, purpose: &str, now: Timestamp) -> Result<KeyRow> {
        let private =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).map_err(|_| Error::internal("no key could be made"))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, private.as_ref()).map_err(|_| Error::internal("no key could be made"))?;
        let public = [&P256_PREFIX, pair.public_key().as_ref()].concat();
        Ok(KeyRow {
            id: format!("SHA256:{}", STANDARD.encode(sha2::Sha256::digest(&public)).trim_end_matches('=')),
            purpose: purpose.to_owned(),
            sealed: self.master.seal(purpose, private.as_ref())?,
            public,
            created: now,
            expires: None,
        })
    }

    /// The public keys of a repository: none before its first signature.
    pub(crate) async fn public(&self, repository: i64) -> Result<Vec<VerificationKey>> {
        let rows = self.catalog.keys(&Self::purpose(repository)).await?;
        Ok(rows.into_iter().map(|row| VerificationKey { key_id: row.id, key: STANDARD.encode(row.public), expires: row.expires }).collect())
    }
}

fn period_of(now: Timestamp) -> i64 {
    now.0.div_euclid(TOKEN_KEY_PERIOD)
}

fn token_purpose(period: i64) -> String {
    format!("docker-token/{period}")
}

#[cfg(test)]
mod tests {
    use entrepot_kit::Timestamp;

    use super::{Keys, MasterKey, TOKEN_KEY_PERIOD};
    use crate::store::catalog::Catalog;

    #[test]
    fn sealed_keys_open_only_for_their_purpose_and_master_key() {
        let master = MasterKey::new(&[7; 32]).expect("32 bytes");
        let sealed = master.seal("sign/1", b"secret").expect("sealed");
        assert_eq!(master.open("sign/1", &sealed).ok().as_deref(), Some(&b"secret"[..]));
        assert!(master.open("sign/2", &sealed).is_err());
        assert!(MasterKey::new(&[8; 32]).expect("32 bytes").open("sign/1", &sealed).is_err());
        assert!(master.open("sign/1", b"short").is_err());
        assert!(MasterKey::new(&[0; 31]).is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_master_key_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = Catalog::open_sqlite(&folder.path().join("catalog.db")).await.expect("a catalog");
        let (first, other) = (MasterKey::new(&[7; 32]).expect("32 bytes"), MasterKey::from_hex(&"08".repeat(32).into()).expect("64 digits"));
        for _ in 0..2 {
            first.prove(&catalog, Timestamp(1)).await.expect("the first key, and again");
        }
        let refused = other.prove(&catalog, Timestamp(2)).await.expect_err("another key");
        assert!(refused.message().contains("same on all replicas"), "{refused}");
        assert!(MasterKey::from_hex(&"zz".repeat(32).into()).is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_for_tokens_are_shared_and_follow_each_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = Catalog::open_sqlite(&folder.path().join("catalog.db")).await.expect("a catalog");
        let replica = || Keys::new(catalog.clone(), MasterKey::new(&[7; 32]).expect("32 bytes"));
        let (one, other) = (replica(), replica());
        let now = Timestamp(100 * TOKEN_KEY_PERIOD);
        let (first, same) = tokio::join!(one.token_key(now), other.token_key(now));
        let (first, same) = (first.expect("a key"), same.expect("a key"));
        assert_eq!(first.id, same.id, "whoever comes second takes the first one's");
        let later = now.plus(TOKEN_KEY_PERIOD);
        let second = other.token_key(later).await.expect("the next key");
        assert_ne!(first.id, second.id);
        // A token of the last moment, and one of a replica whose clock is ahead.
        for (id, time, known) in [(&first.id, later, true), (&second.id, now, true), (&first.id, later.plus(TOKEN_KEY_PERIOD), false)] {
            assert_eq!(one.token_key_named(id, time).await.expect("an answer").is_some(), known, "{id} at {time:?}");
        }
        for foreign in ["", "../../etc/passwd", "docker-token/100", "sign/1"] {
            assert!(one.token_key_named(foreign, now).await.expect("an answer").is_none(), "{foreign}");
        }
        let sealed = one.seal_text("a", "text").expect("sealed");
        assert_eq!((other.open_text("a", &sealed).as_deref(), other.open_text("b", &sealed), other.open_text("a", "x")), (Some("text"), None, None));
    }
}
