//! Signatures of metadata, and the keys that they are made with.

use std::sync::Arc;

use entrepot_kit::armor::armored;
use entrepot_kit::{Document, Error, KeyKind, Moment, Read, Repository, Result, SignatureScheme, Timestamp, blocking};

use super::generation::Generation;
use crate::repodata::Compression;

const MEDIA_TYPE: &str = "application/pgp-signature";
/// How long a client may take from `repomd.xml` to its signature, in milliseconds.
const TOGETHER: i64 = 5000;
/// What is noted of every folder: the generation whose `repomd.xml` was given last. Clients ask for the signature right after the document: it must
/// be that document's, though another generation may have come to be in between, and another replica is asked. (Of two clients that are given
/// different ones within these seconds, one may get the other's signature; it asks again.)
fn noted(folder: &str) -> String {
    format!("rpm/{folder}")
}

/// Remembers that a generation was given.
pub(super) async fn given(repository: &Repository<Read>, generation: &Generation) {
    let text = match generation.moment {
        Moment::Revision(revision) => format!("r{revision}"),
        Moment::Time(time) => format!("t{}", time.0),
    };
    if let Err(error) = repository.note(&noted(&generation.folder), &text).await {
        repository.report(&format!("it could not be noted which repomd.xml was given: {error}"));
    }
}

/// The generation whose signature is asked for: that which was given a moment ago, or the newest.
pub(super) async fn asked_for(repository: &Repository<Read>, folder: &str) -> Result<Option<Generation>> {
    let newest = Generation::of(repository, folder).await?;
    let is_recent = |when: Timestamp| repository.now().0.saturating_sub(when.0).abs() < TOGETHER;
    let last = repository.noted(&noted(folder)).await?.filter(|(_, when)| is_recent(*when)).and_then(|(text, _)| moment(&text));
    match (newest, last) {
        (Some(newest), Some(moment)) if moment != newest.moment => {
            let older = match repository.at(moment) {
                Ok(past) => Generation::of(&past, folder).await.ok().flatten(),
                Err(_) => None,
            };
            Ok(older.filter(|older| older.moment == moment).or(Some(newest)))
        }
        (newest, _) => Ok(newest),
    }
}

fn moment(text: &str) -> Option<Moment> {
    match text.split_at_checked(1)? {
        ("r", number) => number.parse().ok().map(Moment::Revision),
        ("t", number) => number.parse().ok().map(|time| Moment::Time(Timestamp(time))),
        _ => None,
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
