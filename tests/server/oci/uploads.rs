//! Uploads in pieces, out of order, again, and by strangers.
#![cfg(test)]

use http::{Method, StatusCode};

use super::{at, digest, get, house, push_blob, refusal, with_body};
use crate::house::House;
use crate::raw::{Call, Reply};

async fn begin(house: &House, query: &str) -> String {
    let begun = house.call_as("bob", at(Method::POST, &format!("alpha/images/app/blobs/uploads/{query}"))).await;
    assert_eq!((begun.status, begun.header("range")), (StatusCode::ACCEPTED, "0-0"), "{}", begun.text());
    assert!(begun.header("location").ends_with(begun.header("docker-upload-uuid")));
    begun.header("location").to_owned()
}

fn patch(upload: &str, first: usize, bytes: &[u8]) -> Call {
    let range = format!("{first}-{}", (first + bytes.len()).saturating_sub(1));
    Call { body: bytes.to_vec().into(), ..Call::new(Method::PATCH, upload) }.with("content-range", range)
}

fn end(upload: &str, digest: &str, bytes: &[u8]) -> Call {
    Call::put(format!("{upload}?digest={digest}"), bytes.to_vec())
}

fn stands(reply: &Reply) -> (u16, &str) {
    (reply.status.as_u16(), reply.header("range"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_comes_in_pieces_and_lost_answers_do_no_harm() {
    let house = house().await;
    let bytes: Vec<u8> = (0..300_000_u32).map(|index| (index * 7) as u8).collect();
    let (name, upload) = (digest(&bytes), begin(&house, "").await);
    assert_eq!(stands(&house.call_as("bob", patch(&upload, 0, &bytes[..100_000])).await), (202, "0-99999"));
    // The answer was lost, and the client sends the same piece again.
    let again = house.call_as("bob", patch(&upload, 0, &bytes[..100_000])).await;
    assert_eq!(stands(&again), (416, "0-99999"), "{}", again.text());
    assert_eq!(stands(&house.call_as("bob", Call::get(again.header("location"))).await), (204, "0-99999"));
    assert_eq!(stands(&house.call_as("bob", patch(&upload, 200_000, &bytes[200_000..])).await), (416, "0-99999"), "a gap");
    let lying = Call { body: bytes[100_000..150_000].to_vec().into(), ..Call::new(Method::PATCH, &*upload) }.with("content-range", "100000-100001");
    assert_eq!(refusal(&house.call_as("bob", lying).await), (400, "SIZE_INVALID".into()));
    // Without a range the bytes follow those that are there.
    let streamed = Call { body: bytes[100_000..200_000].to_vec().into(), ..Call::new(Method::PATCH, &*upload) };
    assert_eq!(stands(&house.call_as("bob", streamed).await), (202, "0-199999"));
    let out_of_order = house.call_as("bob", end(&upload, &name, &bytes[..10]).with("content-range", "0-9")).await;
    assert_eq!(stands(&out_of_order), (416, "0-199999"));
    for _ in 0..2 {
        // The second time the answer was lost.
        let done = house.call_as("bob", end(&upload, &name, &bytes[200_000..])).await;
        assert_eq!((done.status, done.header("docker-content-digest")), (StatusCode::CREATED, name.as_str()), "{}", done.text());
        assert_eq!(house.call_as("bob", Call::get(done.header("location"))).await.body, bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_have_its_digest_is_not_stored() {
    let house = house().await;
    let wrong = digest(b"something else");
    let upload = begin(&house, "").await;
    let refused = house.call_as("bob", end(&upload, &wrong, b"bytes")).await;
    assert_eq!(refusal(&refused), (400, "DIGEST_INVALID".into()));
    assert_eq!(house.call_as("bob", end(&upload, &digest(b"bytes"), b"")).await.status, StatusCode::CREATED, "the right digest still ends it");
    for bad in ["sha256:short", "md5:d41d8cd98f00b204e9800998ecf8427e", ""] {
        let upload = begin(&house, "").await;
        assert_eq!(refusal(&house.call_as("bob", end(&upload, bad, b"bytes")).await), (400, "DIGEST_INVALID".into()), "{bad}");
    }
    let mono = with_body(Method::POST, &format!("alpha/images/app/blobs/uploads/?digest={wrong}"), "bytes");
    assert_eq!(refusal(&house.call_as("bob", mono).await), (400, "DIGEST_INVALID".into()));
    assert_eq!(refusal(&house.call_as("bob", get(&format!("alpha/images/app/blobs/{wrong}"))).await), (404, "BLOB_UNKNOWN".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_by_sha512_needs_no_announcement() {
    let house = house().await;
    let bytes = b"two names for the same bytes";
    let mut hasher = entrepot_kit::Hasher::new(&[entrepot_kit::Algorithm::Sha512]);
    hasher.update(bytes);
    let name = format!("sha512:{}", hasher.finish().1.hex(entrepot_kit::Algorithm::Sha512).expect("a digest"));
    for query in ["?digest-algorithm=sha512", ""] {
        let upload = begin(&house, query).await;
        let done = house.call_as("bob", end(&upload, &name, bytes)).await;
        assert_eq!((done.status, done.header("docker-content-digest")), (StatusCode::CREATED, name.as_str()), "{}", done.text());
    }
    let got = house.call_as("bob", get(&format!("alpha/images/app/blobs/{name}"))).await;
    assert_eq!((got.body.as_ref(), got.header("docker-content-digest")), (&bytes[..], name.as_str()));
    assert_eq!(house.call_as("bob", get(&format!("alpha/images/app/blobs/{}", digest(bytes)))).await.status, StatusCode::NOT_FOUND, "pushed under one name");
    let anonymous = house.call_as("bob", at(Method::POST, &format!("alpha/images/other/blobs/uploads/?mount={name}"))).await;
    assert_eq!(anonymous.status, StatusCode::CREATED, "a mount that names no source finds it");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_cancelled_and_belong_to_who_began_them() {
    let house = house().await;
    let upload = begin(&house, "").await;
    let elsewhere = upload.replace("/app/", "/other/");
    for stranger in [
        house.call_as("eve", Call::get(&*upload)).await,
        house.call_as("eve", patch(&upload, 0, b"x")).await,
        house.call_as("eve", end(&upload, &digest(b""), b"")).await,
        house.call_as("eve", Call::new(Method::DELETE, &*upload)).await,
        house.call_as("bob", Call::get(&*elsewhere)).await,
        house.call_as("bob", end(&elsewhere, &digest(b""), b"")).await,
    ] {
        assert_eq!(refusal(&stranger), (404, "BLOB_UPLOAD_UNKNOWN".into()));
    }
    assert_eq!(house.call_as("bob", Call::new(Method::DELETE, &*upload)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(refusal(&house.call_as("bob", Call::get(&*upload)).await), (404, "BLOB_UPLOAD_UNKNOWN".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_take_what_is_here_and_else_begin_an_upload() {
    let house = house().await;
    let bytes = b"a layer that two images share";
    push_blob(&house, "bob", "alpha/images/base", bytes).await;
    let name = digest(bytes);
    let mount = |image: &str, query: &str| at(Method::POST, &format!("{image}/blobs/uploads/?mount={name}{query}"));
    for query in ["&from=alpha/images/base", "", "&from=alpha/images/base&origin=x"] {
        let image = format!("alpha/images/app{}", query.len());
        let mounted = house.call_as("bob", mount(&image, query)).await;
        assert_eq!(mounted.status, StatusCode::CREATED, "{query}: {}", mounted.text());
        assert_eq!(house.call_as("bob", Call::get(mounted.header("location"))).await.body.as_ref(), bytes);
    }
    for query in ["&from=alpha/images/nothing", "&from=beta/images/base", "&from=..", "&from="] {
        let begun = house.call_as("bob", mount("alpha/images/none", query)).await;
        assert_eq!(begun.status, StatusCode::ACCEPTED, "{query}: {}", begun.text());
        assert!(!begun.header("location").is_empty());
    }
}
