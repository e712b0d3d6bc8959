//! What both kinds of keepers must do.

use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{Address, Algorithm, Body, Error, Kind, NewUpload, Sha256Digest, Staged as _, Timestamp};
use http::StatusCode;

use super::{LIFETIME, LocalUploads, Owner, SharedUploads, UploadStore};
use crate::store::blobs::s3::tests::fresh;
use crate::store::blobs::{FileBlobs, S3Blobs};
use crate::store::catalog::Catalog;
use crate::store::catalog::tests::server::fresh_database;
use crate::store::model::NewRepository;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn owner() -> Owner {
    Owner { repository: 1, principal: String::from("user:bob") }
}

fn body(bytes: &Bytes) -> Body {
    let pieces: Vec<_> = bytes.chunks(50_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Body::new(Box::pin(futures::stream::iter(pieces)), None)
}

/// A body that breaks off behind these bytes.
fn broken(bytes: &Bytes) -> Body {
    let pieces = vec![Ok(bytes.clone()), Err(Error::bad_request("the body broke off"))];
    Body::new(Box::pin(futures::stream::iter(pieces)), None)
}

/// Runs the whole suite. `one` and `other` are two replicas, or the same keeper twice.
pub(super) async fn run(one: &dyn UploadStore, other: &dyn UploadStore, sizes: &[usize]) {
    for size in sizes {
        bytes_come_in_several_requests(one, other, *size).await;
    }
    strangers_see_nothing(one, other).await;
    limits_hold(one).await;
    what_nobody_continues_is_forgotten(one, other).await;
}

async fn bytes_come_in_several_requests(one: &dyn UploadStore, other: &dyn UploadStore, size: usize) {
    let all: Bytes = (0..size).map(|index| (index * 31 + index / 1021) as u8).collect::<Vec<_>>().into();
    let new = NewUpload { algorithms: vec![Algorithm::Sha512], limit: None, data: String::from("{}") };
    let begun = one.begin(&owner(), new, u64::MAX, NOW).await.unwrap();
    assert_eq!((begun.offset, begun.data.as_str(), begun.committed), (0, "{}", false));
    let (first, rest) = (all.slice(..size / 3), all.slice(size / 3..));
    let (second, third) = (rest.slice(..rest.len() / 2), rest.slice(rest.len() / 2..));
    assert_eq!(one.append(&owner(), &begun.id, 0, body(&first), NOW).await.unwrap().offset, first.len() as u64);
    if !first.is_empty() {
        let refused = other.append(&owner(), &begun.id, 0, body(&first), NOW).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::CONFLICT, "the same bytes twice");
    }
    // What arrived before the break counts.
    let failed = other.append(&owner(), &begun.id, first.len() as u64, broken(&second), NOW).await.unwrap_err();
    assert_eq!(failed.status(), StatusCode::BAD_REQUEST);
    let stands = one.find(&owner(), &begun.id, NOW).await.unwrap().offset;
    assert_eq!(stands, (first.len() + second.len()) as u64);
    assert_eq!(one.append(&owner(), &begun.id, stands, body(&third), NOW).await.unwrap().offset, size as u64);
    let staged = other.finish(&owner(), &begun.id, NOW).await.unwrap();
    let again = one.finish(&owner(), &begun.id, NOW).await.unwrap();
    assert_eq!((staged.digest(), staged.size()), (Sha256Digest::of(&all), size as u64));
    assert_eq!((again.digest(), again.digests()), (staged.digest(), staged.digests()));
    assert!(staged.digests().get(Algorithm::Sha512).is_some());
    let mut reader = staged.reader().await.unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut read = Vec::new();
        reader.read_to_end(&mut read).map(|_| read)
    });
    assert_eq!(read.await.unwrap().unwrap(), all);
    one.committed(&owner(), &begun.id, NOW).await.unwrap();
    assert!(other.find(&owner(), &begun.id, NOW).await.unwrap().committed);
}

async fn begin(store: &dyn UploadStore) -> String {
    store.begin(&owner(), NewUpload::default(), 1_000_000, NOW).await.unwrap().id
}

async fn strangers_see_nothing(one: &dyn UploadStore, other: &dyn UploadStore) {
    let id = begin(one).await;
    for stranger in [Owner { repository: 2, ..owner() }, Owner { principal: String::from("user:eve"), ..owner() }] {
        for refused in [
            other.find(&stranger, &id, NOW).await.err(),
            other.append(&stranger, &id, 0, body(&Bytes::from_static(b"x")), NOW).await.err(),
            other.finish(&stranger, &id, NOW).await.err(),
            other.cancel(&stranger, &id, NOW).await.err(),
        ] {
            assert_eq!(refused.unwrap().status(), StatusCode::NOT_FOUND);
        }
    }
    one.cancel(&owner(), &id, NOW).await.unwrap();
    assert_eq!(other.find(&owner(), &id, NOW).await.unwrap_err().status(), StatusCode::NOT_FOUND);
}

async fn limits_hold(store: &dyn UploadStore) {
    let id = begin(store).await;
    let refused = store.append(&owner(), &id, 0, body(&vec![1; 1_000_001].into()), NOW).await.unwrap_err();
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(store.find(&owner(), &id, NOW).await.unwrap().offset <= 1_000_000);
    store.cancel(&owner(), &id, NOW).await.unwrap();
}

async fn what_nobody_continues_is_forgotten(one: &dyn UploadStore, other: &dyn UploadStore) {
    let id = begin(one).await;
    one.append(&owner(), &id, 0, body(&vec![1; 200_000].into()), NOW).await.unwrap();
    assert!(other.find(&owner(), &id, NOW.plus(LIFETIME - 1)).await.is_ok());
    assert_eq!(other.find(&owner(), &id, NOW.plus(LIFETIME)).await.unwrap_err().status(), StatusCode::NOT_FOUND);
    assert!(other.expire(NOW.plus(LIFETIME)).await.unwrap() > 0);
    assert_eq!(one.find(&owner(), &id, NOW).await.unwrap_err().status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn local_uploads_pass_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let uploads = LocalUploads::new(Arc::new(FileBlobs::open(folder.path()).await.unwrap()));
    run(&uploads, &uploads, &[0, 1, 70_000, 3_000_000]).await;
}

/// A replica: its own connections to the database and the bucket that all share.
async fn replica(url: &str, settings: &crate::store::blobs::S3Settings) -> (Catalog, SharedUploads, tempfile::TempDir) {
    let staging = tempfile::tempdir().unwrap();
    let catalog = Catalog::open_postgres(url).await.unwrap();
    let blobs = S3Blobs::open(settings, staging.path()).await.unwrap();
    (catalog.clone(), SharedUploads::new(catalog, Arc::new(blobs)), staging)
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_uploads_pass_the_suite_on_two_replicas() {
    let url = tokio::task::spawn_blocking(fresh_database).await.unwrap();
    let settings = fresh().await;
    let (catalog, one, _staging) = replica(&url, &settings).await;
    let (_, other, _other_staging) = replica(&url, &settings).await;
    let address = Address::new("main", "files").unwrap();
    catalog.create_system(address.system.clone(), Default::default(), false, NOW).await.unwrap();
    let new = NewRepository {
        address,
        format: String::from("generic"),
        kind: Kind::Hosted,
        tags: Default::default(),
        settings: serde_json::json!({}),
        declared: false,
    };
    assert_eq!(catalog.create_repository(new, NOW).await.unwrap().id, owner().repository);
    // Inline, in the row alone, one part and a rest, several parts.
    run(&one, &other, &[0, 1, 70_000, 3_000_000, 18 << 20, 50 << 20]).await;
    two_that_continue_at_once(&one, &other).await;
}

/// Both replicas take the same next bytes at the same time: one wins, and nothing is mixed up.
async fn two_that_continue_at_once(one: &dyn UploadStore, other: &dyn UploadStore) {
    let (mine, theirs): (Bytes, Bytes) = (vec![1; 9 << 20].into(), vec![2; 9 << 20].into());
    for _ in 0..3 {
        let id = one.begin(&owner(), NewUpload::default(), u64::MAX, NOW).await.unwrap().id;
        let owner = owner();
        let (first, second) = tokio::join!(one.append(&owner, &id, 0, body(&mine), NOW), other.append(&owner, &id, 0, body(&theirs), NOW));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        let staged = other.finish(&owner, &id, NOW).await.unwrap();
        assert_eq!(staged.digest(), Sha256Digest::of(if first.is_ok() { &mine } else { &theirs }));
        let mut reader = staged.reader().await.unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).map(|_| read)
        });
        assert_eq!(Sha256Digest::of(&read.await.unwrap().unwrap()), staged.digest());
    }
}
