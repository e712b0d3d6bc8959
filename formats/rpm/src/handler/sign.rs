//! Signatures of metadata, and the keys that they are made with.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use entrepot_kit::{Document, Error, KeyKind, Moment, Read, Repository, Result, SignatureScheme, Timestamp, blocking};

use super::generation::Generation;
use crate::repodata::{Compression, armored};

const MEDIA_TYPE: &str = "application/pgp-signature";
/// How long a client may take from `repomd.xml` to its signature, in milliseconds.
const TOGETHER: i64 = 5000;
/// Most folders whose last reader is remembered.
const MOST: usize = 1000;

/// The generation whose `repomd.xml` was given last, and when, by the repository's key and the folder. Clients ask for the signature right after the document:
/// it must be that document's, though another generation may have come to be in between. Of this process only, which is all that there is on
/// one machine; elsewhere the newest is the better guess, and a client that gets the other one asks again.
static GIVEN: LazyLock<Mutex<HashMap<String, (Moment, Timestamp)>>> = LazyLock::new(Mutex::default);

/// A key is one repository's of one server, however many there are in this process.
async fn place(repository: &Repository<Read>, folder: &str) -> Result<String> {
    let keys = repository.signing_keys(KeyKind::OpenPgp).await?;
    let key = keys.public.first().map_or("", |key| key.id.as_str());
    Ok(format!("{key}/{folder}"))
}

/// Remembers that a generation was given.
pub(super) async fn given(repository: &Repository<Read>, generation: &Generation) -> Result<()> {
    let place = place(repository, &generation.folder).await?;
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let now = repository.now();
    if given.len() >= MOST {
        given.retain(|_, (_, when)| now.0.saturating_sub(when.0) < TOGETHER);
    }
    if given.len() < MOST {
        given.insert(place, (generation.moment, now));
    }
    Ok(())
}

/// The generation whose signature is asked for: that which was given a moment ago, or the newest.
pub(super) async fn asked_for(repository: &Repository<Read>, folder: &str) -> Result<Option<Generation>> {
    let newest = Generation::of(repository, folder).await?;
    let place = place(repository, folder).await?;
    let last = GIVEN.lock().unwrap_or_else(PoisonError::into_inner).get(&place).copied();
    let is_recent = |when: Timestamp| repository.now().0.saturating_sub(when.0) < TOGETHER;
    match (newest, last) {
        (Some(newest), Some((moment, when))) if moment != newest.moment && is_recent(when) => {
            let older = match repository.at(moment) {
                Ok(past) => Generation::of(&past, folder).await.ok().flatten(),
                Err(_) => None,
            };
            Ok(older.filter(|older| older.moment == moment).or(Some(newest)))
        }
        (newest, _) => Ok(newest),
    }
}

/// The signature of a generation's `repomd.xml`, by all keys that sign now: the one that clients know longest comes first, as some look at the
/// first only.
pub(super) async fn signature(repository: &Repository<Read>, generation: &Generation, compression: Compression) -> Result<Arc<Document>> {
    let (repomd, keys) = (generation.repomd(compression).await?, repository.signing_keys(KeyKind::OpenPgp).await?);
    let names: Vec<&str> = keys.signing.iter().map(|key| key.public().id.as_str()).collect();
    let key = format!("rpm/signature/{}/{}", names.join("+"), repomd.etag);
    let time = generation.time;
    let make = async move {
        blocking(move || {
            let mut packets = Vec::new();
            for key in keys.signing.iter().rev() {
                packets.extend(key.sign(SignatureScheme::OpenPgp { time }, &repomd.body)?);
            }
            if packets.is_empty() {
                return Err(Error::internal("the repository has no key that signs"));
            }
            Ok(Document::new(armored("SIGNATURE", &packets).into_bytes(), MEDIA_TYPE, Some(time)))
        })
        .await
    };
    repository.derived(&key, Box::pin(make)).await
}

/// The public keys of signatures, in one file: those that sign now, and those that did.
pub(super) async fn keys(repository: &Repository<Read>) -> Result<String> {
    let keys = repository.signing_keys(KeyKind::OpenPgp).await?;
    Ok(keys.public.iter().map(|key| armored("PUBLIC KEY BLOCK", &key.bytes)).collect())
}
