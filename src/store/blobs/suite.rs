//! What every blob store must do.

use std::io::SeekFrom;

use bytes::Bytes;
use entrepot_kit::{Algorithm, Hasher, Result, Staged as _};
use futures::TryStreamExt as _;
use http::StatusCode;

use super::{BlobStore, INLINE_LIMIT, StagedBlob, StoredObject, WriteSpec};
use crate::store::model::{BlobFacts, BlobPlace};

const LARGE: usize = 3 * 1024 * 1024 + 17;
/// More than S3 takes in one request from us.
const VERY_LARGE: usize = 17 * 1024 * 1024 + 3;

/// Runs the whole suite.
pub(super) async fn run(store: &dyn BlobStore) {
    sizes_round_trip(store).await;
    limits_hold(store).await;
    growing_bodies_can_be_followed(store).await;
    the_same_bytes_twice_have_two_places(store).await;
    dropped_bodies_are_forgotten(store).await;
}

/// Bytes that differ from place to place.
fn body(length: usize) -> Bytes {
    (0..length).map(|index| (index * 7 + index / 251) as u8).collect::<Vec<_>>().into()
}

async fn stage(store: &dyn BlobStore, body: &Bytes, chunk: usize) -> StagedBlob {
    let mut writer = store.writer(WriteSpec { algorithms: vec![Algorithm::Sha512, Algorithm::Sha1], limit: u64::MAX }).await.expect("a writer");
    let mut rest = body.clone();
    while !rest.is_empty() {
        writer.write(rest.split_to(chunk.min(rest.len()))).await.expect("written");
    }
    writer.finish().await.expect("finished")
}

pub(super) async fn read_all(store: &dyn BlobStore, place: &BlobPlace) -> Result<Vec<u8>> {
    let chunks: Vec<Bytes> = store.open(place).await?.stream(None).await?.try_collect().await?;
    Ok(chunks.concat())
}

async fn sizes_round_trip(store: &dyn BlobStore) {
    for length in [0, 1, INLINE_LIMIT as usize, INLINE_LIMIT as usize + 1, LARGE, VERY_LARGE] {
        let body = body(length);
        let staged = stage(store, &body, 40_000).await;
        let mut hasher = Hasher::new(&[Algorithm::Sha512, Algorithm::Sha1]);
        hasher.update(&body);
        let (digest, digests) = hasher.finish();
        assert_eq!((staged.facts().digest, &staged.facts().digests, staged.facts().size), (digest, &digests, length as u64));
        assert_eq!(staged.facts().inline.is_some(), length as u64 <= INLINE_LIMIT, "{length}");
        let mut read = Vec::new();
        staged.reader().await.expect("a reader").read_to_end(&mut read).expect("read");
        assert_eq!(read, body, "staged bytes of {length}");
        let placed = store.persist(&staged).await.expect("persisted");
        if staged.facts().inline.is_some() {
            assert_eq!(placed.location, None, "inline bytes lie nowhere else");
            continue;
        }
        let place = BlobPlace { digest, size: length as u64, location: placed.location };
        let content = store.open(&place).await.expect("opened");
        for range in [None, Some(0..1), Some(5..length as u64), Some(length as u64 - 1..length as u64)] {
            let expected = range.clone().map_or(body.clone(), |range| body.slice(range.start as usize..range.end as usize));
            let chunks: Vec<Bytes> = content.stream(range.clone()).await.expect("a stream").try_collect().await.expect("read");
            assert_eq!(chunks.concat(), expected, "{range:?} of {length}");
        }
        let mut reader = content.reader().await.expect("a reader");
        let read = tokio::task::spawn_blocking(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).expect("read");
            reader.seek(SeekFrom::End(-10)).expect("sought");
            reader.read_to_end(&mut read).expect("read on");
            read
        });
        assert_eq!(read.await.expect("a thread"), [&body, &body[length - 10..]].concat(), "blocking reads of {length}");
        for size in [length as u64 + 1, length as u64 - 1] {
            assert!(read_all(store, &BlobPlace { size, ..place.clone() }).await.is_err(), "a wrong size is damage");
        }
    }
}

async fn limits_hold(store: &dyn BlobStore) {
    let mut writer = store.writer(WriteSpec { algorithms: Vec::new(), limit: 10 }).await.expect("a writer");
    writer.write(body(10)).await.expect("the limit itself is allowed");
    let error = writer.write(body(1)).await.expect_err("one more is not");
    assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

async fn growing_bodies_can_be_followed(store: &dyn BlobStore) {
    let body = body(LARGE);
    let mut writer = store.writer(WriteSpec { algorithms: Vec::new(), limit: u64::MAX }).await.expect("a writer");
    let tail = writer.tail();
    let mut written = tail.written();
    let (first, rest) = (body.slice(..1000), body.slice(1000..));
    writer.write(first.clone()).await.expect("written");
    let ready = *written.wait_for(|length| *length >= 1000).await.expect("the first bytes arrive before the end");
    assert_eq!(tail.read_at(0, usize::MAX).await.expect("read"), first.slice(..ready as usize));
    writer.write(rest).await.expect("written");
    let staged = writer.finish().await.expect("finished");
    assert_eq!(tail.read_at(0, LARGE).await.expect("read"), body);
    assert_eq!(tail.read_at(LARGE as u64 - 3, 100).await.expect("read"), body.slice(LARGE - 3..));
    drop(staged);
}

/// Each arrival has a place of its own, so that the removal of one never takes another.
async fn the_same_bytes_twice_have_two_places(store: &dyn BlobStore) {
    let body = body(LARGE + 1);
    let (one, other) = (stage(store, &body, LARGE).await, stage(store, &body, 1 << 20).await);
    let (first, second) = tokio::join!(store.persist(&one), store.persist(&other));
    let (first, second) = (first.expect("persisted"), second.expect("persisted"));
    assert_ne!(first.location, second.location);
    assert_eq!(store.persist(&one).await.expect("again is no harm"), first);
    let place = |facts: &BlobFacts| BlobPlace { digest: facts.digest, size: facts.size, location: facts.location.clone() };
    let listed: Vec<StoredObject> = store.list().try_collect().await.expect("listed");
    for facts in [&first, &second] {
        let found = listed.iter().find(|object| Some(&object.location) == facts.location.as_ref()).expect("what was stored is listed");
        assert_eq!(found.size, facts.size);
        assert!(found.modified.0 > 1_700_000_000_000, "{found:?}");
    }
    store.remove(&place(&first)).await.expect("removed");
    store.remove(&place(&first)).await.expect("again is no harm");
    assert!(read_all(store, &place(&first)).await.is_err());
    assert_eq!(read_all(store, &place(&second)).await.expect("read"), body);
}

/// Neither a writer nor a staged blob that is dropped leaves anything.
pub(super) async fn dropped_bodies_are_forgotten(store: &dyn BlobStore) {
    let body = body(LARGE + 2);
    let staged = stage(store, &body, LARGE).await;
    drop(staged);
    let mut writer = store.writer(WriteSpec { algorithms: Vec::new(), limit: u64::MAX }).await.expect("a writer");
    writer.write(body.clone()).await.expect("written");
    drop(writer);
    let listed: Vec<StoredObject> = store.list().try_collect().await.expect("listed");
    assert!(listed.iter().all(|object| object.size != body.len() as u64), "{listed:?}");
}
