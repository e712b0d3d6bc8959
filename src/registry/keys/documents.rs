//! Keys with which repositories sign documents: of the kinds that their clients know, one after the other, each sealed like all keys.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{KeyKind, PublicKey, Result, SigningKey, SigningKeys, Timestamp};
use parking_lot::Mutex;

use super::{Keys, openpgp, rsa};
use crate::store::model::KeyRow;

/// A key as it was just made: what is public of it, what names it, and what is sealed.
pub(super) struct Made {
    pub(super) id: String,
    pub(super) public: Vec<u8>,
    pub(super) secret: Vec<u8>,
}

/// The keys that are open.
#[derive(Default)]
pub(super) struct Opened(Mutex<State>);

#[derive(Default)]
struct State {
    keys: HashMap<(i64, KeyKind), OpenKeys>,
    /// How often all were forgotten.
    forgotten: u64,
}

/// All keys of a kind, newest first.
type OpenKeys = Arc<Vec<Arc<dyn SigningKey>>>;

impl Keys {
    /// The keys of a kind that a repository has; makes the first one. Replicas that need it at the same time end with the same.
    pub(crate) async fn of_repository(&self, repository: i64, kind: KeyKind, now: Timestamp) -> Result<Arc<SigningKeys>> {
        let open = self.opened(repository, kind, now).await?;
        let signs = |key: &&Arc<dyn SigningKey>| key.public().expires.is_none_or(|expires| expires > now);
        let signing = open.iter().filter(signs).cloned().collect();
        let public = open.iter().map(|key| key.public().clone()).collect();
        Ok(Arc::new(SigningKeys { signing, public }))
    }

    /// What is public of the keys of a kind that a repository has, newest first; makes none.
    pub(crate) async fn public_of(&self, repository: i64, kind: KeyKind) -> Result<Vec<PublicKey>> {
        Ok(self.catalog.keys(&purpose(repository, kind)).await?.iter().map(public).collect())
    }

    /// Makes another key, and lets those that there are sign until `overlap` milliseconds from now: documents are signed by both
    /// meanwhile, so that clients can be given the new one.
    pub(crate) async fn rotate(&self, repository: i64, kind: KeyKind, overlap: i64, now: Timestamp) -> Result<PublicKey> {
        let row = self.made(repository, kind, now).await?;
        let made = public(&row);
        self.catalog.rotate_key(row, now.plus(overlap)).await?;
        self.forget();
        Ok(made)
    }

    /// Forgets the keys that are open: another process may have changed which there are.
    pub(crate) fn forget(&self) {
        let mut opened = self.documents.0.lock();
        opened.forgotten += 1;
        opened.keys.clear();
    }

    async fn opened(&self, repository: i64, kind: KeyKind, now: Timestamp) -> Result<OpenKeys> {
        let forgotten = {
            let opened = self.documents.0.lock();
            if let Some(keys) = opened.keys.get(&(repository, kind)) {
                return Ok(Arc::clone(keys));
            }
            opened.forgotten
        };
        let mut rows = self.catalog.keys(&purpose(repository, kind)).await?;
        if rows.is_empty() {
            let row = self.made(repository, kind, now).await?;
            rows = vec![self.catalog.put_key(row).await?];
        }
        let secrets = rows.iter().map(|row| self.master.open(&row.purpose, &row.sealed)).collect::<Result<Vec<_>>>()?;
        let open = move || rows.iter().zip(secrets).map(|(row, secret)| open(kind, public(row), &secret)).collect::<Result<Vec<_>>>();
        let keys: OpenKeys = Arc::new(entrepot_kit::blocking(open).await?);
        let mut opened = self.documents.0.lock();
        // What was read before a change must not be remembered after it.
        if opened.forgotten == forgotten {
            opened.keys.insert((repository, kind), Arc::clone(&keys));
        }
        Ok(keys)
    }

    async fn made(&self, repository: i64, kind: KeyKind, now: Timestamp) -> Result<KeyRow> {
        let purpose = purpose(repository, kind);
        let Made { id, public, secret } = entrepot_kit::blocking(move || make(kind, now)).await?;
        Ok(KeyRow { id, sealed: self.master.seal(&purpose, &secret)?, purpose, public, created: now, expires: None })
    }
}

fn purpose(repository: i64, kind: KeyKind) -> String {
    format!("{}/{repository}", kind.name())
}

fn public(row: &KeyRow) -> PublicKey {
    PublicKey { id: row.id.clone(), bytes: Bytes::copy_from_slice(&row.public), created: row.created, expires: row.expires }
}

/// Makes a key; computes for a while.
fn make(kind: KeyKind, now: Timestamp) -> Result<Made> {
    match kind {
        KeyKind::Rsa => rsa::make(),
        KeyKind::OpenPgp => openpgp::make(now),
    }
}

fn open(kind: KeyKind, public: PublicKey, secret: &[u8]) -> Result<Arc<dyn SigningKey>> {
    match kind {
        KeyKind::Rsa => Ok(Arc::new(rsa::Key::open(public, secret)?)),
        KeyKind::OpenPgp => Ok(Arc::new(openpgp::Key::open(public, secret)?)),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use entrepot_kit::{KeyKind, PublicKey, SignatureScheme, Timestamp};

    use crate::registry::keys::{Keys, MasterKey};
    use crate::store::catalog::Catalog;

    async fn catalog(folder: &tempfile::TempDir) -> Catalog {
        Catalog::open_sqlite(&folder.path().join("catalog.db")).await.expect("a catalog")
    }

    fn replica(catalog: &Catalog) -> Keys {
        Keys::new(catalog.clone(), MasterKey::new(&[7; 32]).expect("32 bytes"))
    }

    fn verifies(key: &PublicKey, message: &[u8], scheme: SignatureScheme, signature: &[u8]) -> bool {
        let algorithm = if scheme == SignatureScheme::RsaSha1 { &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY } else { &RSA_PKCS1_2048_8192_SHA256 };
        UnparsedPublicKey::new(algorithm, &key.bytes).verify(message, signature).is_ok()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_replicas_end_with_one_key_whose_signatures_verify() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = catalog(&folder).await;
        let (one, other) = (replica(&catalog), replica(&catalog));
        assert!(one.public_of(1, KeyKind::Rsa).await.expect("none yet").is_empty());
        let (first, same) = tokio::join!(one.of_repository(1, KeyKind::Rsa, Timestamp(1)), other.of_repository(1, KeyKind::Rsa, Timestamp(2)));
        let (first, same) = (first.expect("a key"), same.expect("a key"));
        assert_eq!((first.public.len(), &first.public), (1, &same.public), "whoever comes second takes the first one's");
        assert_ne!(one.of_repository(2, KeyKind::Rsa, Timestamp(1)).await.expect("a key").public, first.public, "each repository has its own");
        for scheme in [SignatureScheme::RsaSha1, SignatureScheme::RsaSha256] {
            let by_one = first.signing[0].sign(scheme, b"an index").expect("a signature");
            assert_eq!(by_one, same.signing[0].sign(scheme, b"an index").expect("a signature"), "every replica signs alike");
            assert!(verifies(&first.public[0], b"an index", scheme, &by_one));
            assert!(!verifies(&first.public[0], b"another", scheme, &by_one));
        }
        assert!(first.signing[0].sign(SignatureScheme::OpenPgp { time: Timestamp(1) }, b"").is_err(), "a scheme of another kind");
        assert!(first.public[0].pem().starts_with("-----BEGIN PUBLIC KEY-----\nMIIB"), "{}", first.public[0].pem());
        let rows = catalog.keys("rsa/1").await.expect("rows");
        assert!(
            rows.iter().all(|row| !row.sealed.windows(16).any(|window| window == &row.public[64..80])),
            "the modulus is part of the private key, and that is sealed"
        );
    }

    /// Neither the catalog's file nor its log, and so no archive of them, has what is private of a key.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_private_is_nowhere_in_the_clear() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = catalog(&folder).await;
        let keys = replica(&catalog);
        for kind in KeyKind::ALL {
            keys.of_repository(1, kind, Timestamp(1)).await.expect("a key");
            for row in catalog.keys(&format!("{}/1", kind.name())).await.expect("rows") {
                let secret = keys.master.open(&row.purpose, &row.sealed).expect("the private part");
                let files = std::fs::read_dir(folder.path()).expect("files").map(|file| std::fs::read(file.expect("a file").path()).expect("bytes"));
                let stored = files.collect::<Vec<_>>().concat();
                let has = |part: &[u8]| memchr::memmem::find(&stored, part).is_some();
                assert!(has(&row.public[..200]), "the public part is there");
                let half = secret.len() / 2;
                assert!(!has(&secret[half..half + 32]), "{kind:?}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_rotated_key_signs_beside_the_new_one_for_a_while_and_stays_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = catalog(&folder).await;
        let (one, other) = (replica(&catalog), replica(&catalog));
        let old = one.of_repository(1, KeyKind::Rsa, Timestamp(1)).await.expect("a key").public[0].id.clone();
        assert_eq!(other.of_repository(1, KeyKind::Rsa, Timestamp(1)).await.expect("a key").public[0].id, old);
        let epoch = catalog.epoch().await.expect("an epoch");
        let new = one.rotate(1, KeyKind::Rsa, 1000, Timestamp(10)).await.expect("another key");
        assert!(catalog.epoch().await.expect("an epoch") > epoch, "other replicas notice");
        other.forget();
        for keys in [&one, &other] {
            let meanwhile = keys.of_repository(1, KeyKind::Rsa, Timestamp(1009)).await.expect("keys");
            assert_eq!(meanwhile.signing.iter().map(|key| key.public().id.as_str()).collect::<Vec<_>>(), [new.id.as_str(), &old]);
            let later = keys.of_repository(1, KeyKind::Rsa, Timestamp(1010)).await.expect("keys");
            assert_eq!(later.signing.iter().map(|key| key.public().id.as_str()).collect::<Vec<_>>(), [new.id.as_str()]);
            assert_eq!(
                later.public.iter().map(|key| (key.id.as_str(), key.expires)).collect::<Vec<_>>(),
                [(new.id.as_str(), None), (&old, Some(Timestamp(1010)))]
            );
        }
        let third = one.rotate(1, KeyKind::Rsa, 5000, Timestamp(2000)).await.expect("another key");
        let public = one.public_of(1, KeyKind::Rsa).await.expect("keys");
        let ends: Vec<_> = public.iter().map(|key| (key.id.as_str(), key.expires)).collect();
        assert_eq!(ends, [(third.id.as_str(), None), (&new.id, Some(Timestamp(7000))), (&old, Some(Timestamp(1010)))], "an end is never moved back");
    }
}
