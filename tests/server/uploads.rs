//! Uploads in several requests (tus): begun, broken off, continued, finished.
#![cfg(test)]

use entrepot_kit::Kind;
use http::{Method, StatusCode};
use serde_json::json;

use crate::house::House;
use crate::raw::{Call, Reply};

const CHUNK: &str = "application/offset+octet-stream";

async fn house() -> House {
    let house = House::start().await;
    house.repository("alpha/files", "generic", Kind::Hosted, true, json!({})).await;
    house.user("bob", &[("system", "alpha"), ("role", "publisher")]).await;
    house.user("eve", &[("system", "alpha"), ("role", "publisher")]).await;
    house
}

fn tus(method: Method, target: &str) -> Call {
    Call::new(method, target).with("tus-resumable", "1.0.0")
}

fn patch(target: &str, offset: usize, bytes: &[u8]) -> Call {
    let mut call = tus(Method::PATCH, target).with("content-type", CHUNK).with("upload-offset", offset.to_string());
    call.body = bytes.to_vec().into();
    call
}

async fn begin(house: &House, path: &str, length: usize) -> String {
    let begun = house.call_as("bob", tus(Method::POST, path).with("upload-length", length.to_string())).await;
    assert_eq!((begun.status, begun.header("upload-offset")), (StatusCode::CREATED, "0"), "{}", begun.text());
    address(&begun)
}

/// The path and query of the upload that was begun.
fn address(begun: &Reply) -> String {
    let (_, path) = begun.header("location").split_once("/alpha/").expect("a location in the repository");
    format!("/alpha/{path}")
}

fn stands(reply: &Reply) -> (StatusCode, &str) {
    (reply.status, reply.header("upload-offset"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_in_pieces() {
    let house = house().await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|index| (index * 7) as u8).collect();
    let upload = begin(&house, "/alpha/files/a/big.bin", bytes.len()).await;
    assert_eq!(stands(&house.call_as("bob", patch(&upload, 0, &bytes[..1_000_000])).await), (StatusCode::NO_CONTENT, "1000000"));
    assert_eq!(stands(&house.call_as("bob", tus(Method::HEAD, &upload)).await), (StatusCode::OK, "1000000"));
    assert_eq!(house.call(Call::get("/alpha/files/a/big.bin")).await.status, StatusCode::NOT_FOUND, "half of it is not there");
    let wrong = house.call_as("bob", patch(&upload, 0, &bytes[..1000])).await;
    assert_eq!(wrong.status, StatusCode::CONFLICT, "{}", wrong.text());
    assert!(wrong.text().contains("1000000"), "{}", wrong.text());
    for stranger in [house.call_as("eve", tus(Method::HEAD, &upload)).await, house.call_as("eve", patch(&upload, 1_000_000, b"x")).await] {
        assert_eq!(stranger.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(house.call(tus(Method::HEAD, &upload)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(stands(&house.call_as("bob", patch(&upload, 1_000_000, &bytes[1_000_000..])).await), (StatusCode::NO_CONTENT, "3000000"));
    // Who did not get the last answer asks, and learns that all is done.
    let done = house.call_as("bob", tus(Method::HEAD, &upload)).await;
    assert_eq!((stands(&done), done.header("upload-length")), ((StatusCode::OK, "3000000"), "3000000"));
    let file = house.call(Call::get("/alpha/files/a/big.bin")).await;
    assert_eq!((file.status, file.body.as_ref()), (StatusCode::OK, bytes.as_slice()));
    assert_eq!(house.head("alpha/files"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_put_would_be_refused_is_refused_here() {
    let house = house().await;
    assert_eq!(house.call_as("bob", Call::put("/alpha/files/taken", "1")).await.status, StatusCode::CREATED);
    let upload = begin(&house, "/alpha/files/taken", 2).await;
    assert_eq!(house.call_as("bob", patch(&upload, 0, b"22")).await.status, StatusCode::CONFLICT);
    assert_eq!(house.call(Call::get("/alpha/files/taken")).await.text(), "1");
    let wrong_sum = tus(Method::POST, "/alpha/files/sum").with("upload-length", "1").with("x-checksum-sha256", "0".repeat(64));
    let begun = house.call_as("bob", wrong_sum).await;
    assert_eq!(house.call_as("bob", patch(&address(&begun), 0, b"x")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(house.call(Call::get("/alpha/files/sum")).await.status, StatusCode::NOT_FOUND);
    let upload = begin(&house, "/alpha/files/more", 2).await;
    assert_eq!(house.call_as("bob", patch(&upload, 0, b"123")).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    for (call, status) in [
        (Call::new(Method::POST, "/alpha/files/x").with("upload-length", "1"), StatusCode::PRECONDITION_FAILED),
        (tus(Method::POST, "/alpha/files/x"), StatusCode::BAD_REQUEST),
        (tus(Method::POST, "/alpha/files/x").with("upload-length", "-1"), StatusCode::BAD_REQUEST),
        (tus(Method::POST, "/alpha/files/x/").with("upload-length", "1"), StatusCode::BAD_REQUEST),
        (tus(Method::POST, "/alpha/files/x").with("upload-defer-length", "1"), StatusCode::BAD_REQUEST),
        (tus(Method::POST, "/alpha/files/x").with("upload-length", (1_u64 << 60).to_string()), StatusCode::PAYLOAD_TOO_LARGE),
        (tus(Method::PATCH, "/alpha/files/x").with("content-type", CHUNK).with("upload-offset", "0"), StatusCode::BAD_REQUEST),
        (tus(Method::HEAD, "/alpha/files/x?upload=nothing"), StatusCode::NOT_FOUND),
        (tus(Method::GET, "/alpha/files/x?upload=nothing"), StatusCode::BAD_REQUEST),
    ] {
        let what = format!("{call:?}");
        assert_eq!(house.call_as("bob", call).await.status, status, "{what}");
    }
    house.user("reader", &[("system", "alpha")]).await;
    let refused = house.call_as("reader", tus(Method::POST, "/alpha/files/x").with("upload-length", "1")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_and_one_in_a_single_request() {
    let house = house().await;
    let begun = house.call_as("bob", tus(Method::POST, "/alpha/files/empty").with("upload-length", "0")).await;
    assert_eq!(begun.status, StatusCode::CREATED);
    assert_eq!(house.call(Call::get("/alpha/files/empty")).await.status, StatusCode::OK);
    let mut call = tus(Method::POST, "/alpha/files/one.txt").with("upload-length", "3").with("content-type", CHUNK);
    call = call.with("upload-metadata", "filename b25lLnR4dA==,filetype dGV4dC94LXNwZWNpYWw=");
    call.body = "one".into();
    assert_eq!(stands(&house.call_as("bob", call).await), (StatusCode::CREATED, "3"));
    let file = house.call(Call::get("/alpha/files/one.txt")).await;
    assert_eq!((file.text().as_str(), file.header("content-type")), ("one", "text/x-special"));
    let options = house.call(Call::new(Method::OPTIONS, "/alpha/files/x")).await;
    assert_eq!((options.status, options.header("tus-version")), (StatusCode::NO_CONTENT, "1.0.0"));
}
