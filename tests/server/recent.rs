//! An answer that is given again is the right one: after each change that counts, the very next answer is another.
#![cfg(test)]

use entrepot_format_npm::testing;
use entrepot_kit::Kind;
use http::{Method, StatusCode};
use serde_json::json;

use crate::house::{House, PASSWORD};
use crate::raw::Call;

/// Answers of the whole server that were given again.
async fn repeated(house: &House) -> u64 {
    house.figure("entrepot_http_repeated_answers_total").await
}

/// One machine with a file in a hosted repository, which a group joins. Only readers tagged so may read.
async fn house() -> House {
    let house = House::alone_with(|_| {}).await;
    house.user("reader", &[("system", "alpha")]).await;
    house.repository("alpha/files", "generic", Kind::Hosted, false, json!({ "overwrite": true })).await;
    house.repository("alpha/all", "generic", Kind::Group, false, json!({ "members": ["alpha/files"] })).await;
    put(&house, "one").await;
    house
}

async fn put(house: &House, text: &'static str) {
    let put = house.call_as("alpha-owner", Call::put("/alpha/files/folder/file", text)).await;
    assert!(put.status.is_success(), "{}", put.text());
}

/// Asks until an answer came that was given before.
async fn until_repeated(house: &House, call: &Call, status: StatusCode, text: &str) {
    let before = repeated(house).await;
    // As many connections as there are request threads, and a window that may end in between.
    for _ in 0..10_000 {
        let reply = house.call(call.clone()).await;
        assert_eq!((reply.status, reply.text().as_str()), (status, text));
        if repeated(house).await > before {
            return;
        }
    }
    panic!("no answer was given again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_deleted_or_put_back_counts_at_once() {
    let house = house().await;
    for path in ["/alpha/files/folder/file", "/alpha/all/folder/file"] {
        let call = Call::get(path).signed("reader", PASSWORD);
        put(&house, "one").await;
        until_repeated(&house, &call, StatusCode::OK, "one").await;
        for text in ["two", "three", "four"] {
            put(&house, text).await;
            let reply = house.call(call.clone()).await;
            assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, text), "{path}");
        }
        until_repeated(&house, &call, StatusCode::OK, "four").await;
        let deleted = house.call_as("alpha-owner", Call::new(Method::DELETE, "/alpha/files/folder/file")).await;
        assert!(deleted.status.is_success(), "{}", deleted.text());
        assert_eq!(house.call(call.clone()).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn part_of_a_file_and_what_did_not_change_are_answers_of_their_own() {
    let house = house().await;
    let call = || Call::get("/alpha/files/folder/file").signed("reader", PASSWORD);
    let etag = house.call(call()).await.header("etag").to_owned();
    until_repeated(&house, &call().with("if-none-match", &etag), StatusCode::NOT_MODIFIED, "").await;
    until_repeated(&house, &call().with("range", "bytes=1-"), StatusCode::PARTIAL_CONTENT, "ne").await;
    until_repeated(&house, &call(), StatusCode::OK, "one").await;
    let (mut plain, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        plain.push(house.call(call()).await.status);
        let head = house.call(Call::new(Method::HEAD, "/alpha/files/folder/file").signed("reader", PASSWORD)).await;
        asked.push((head.status, head.header("content-length").to_owned(), head.body.len()));
    }
    assert!(plain.iter().all(|status| *status == StatusCode::OK), "{plain:?}");
    assert!(asked.iter().all(|reply| *reply == (StatusCode::OK, String::from("3"), 0)), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_the_answer_of_somebody_else() {
    let house = house().await;
    house.user("stranger", &[("system", "beta")]).await;
    let call = Call::get("/alpha/files/folder/file");
    until_repeated(&house, &call.clone().signed("reader", PASSWORD), StatusCode::OK, "one").await;
    for (with, status) in [
        (call.clone(), StatusCode::UNAUTHORIZED),
        (call.clone().signed("stranger", PASSWORD), StatusCode::NOT_FOUND),
        (call.clone().signed("reader", "not the password"), StatusCode::UNAUTHORIZED),
    ] {
        for _ in 0..10 {
            assert_eq!(house.call(with.clone()).await.status, status);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_end_count_at_once() {
    let house = house().await;
    let made = house.call_as("reader", Call::post("/api/v1/tokens", json!({ "name": "t" }).to_string()).with("content-type", "application/json")).await;
    let (id, token) = (made.json()["id"].as_str().expect("an id").to_owned(), made.json()["token"].as_str().expect("a token").to_owned());
    let by_token = Call::get("/alpha/files/folder/file").with_token(&token);
    until_repeated(&house, &by_token, StatusCode::OK, "one").await;
    let revoked = house.call_as("reader", Call::new(Method::DELETE, format!("/api/v1/tokens/{id}"))).await;
    assert!(revoked.status.is_success(), "{}", revoked.text());
    assert_eq!(house.call(by_token).await.status, StatusCode::UNAUTHORIZED);

    let by_password = Call::get("/alpha/all/folder/file").signed("reader", PASSWORD);
    until_repeated(&house, &by_password, StatusCode::OK, "one").await;
    let rule = r#"forbid (principal == User::"reader", action, resource);"#;
    house.engine().access.operator().put_policy("no-reader", rule).await.expect("a policy");
    assert_eq!(house.call(by_password).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_document_is_given_again_byte_for_byte() {
    let house = house().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, false, json!({})).await;
    let mut manifest = testing::manifest("large", "1.0.0");
    manifest["contributors"] = json!((0..3000).map(|number| format!("one of the many, number {number}")).collect::<Vec<_>>());
    let document = testing::publish_body(&manifest, &testing::tarball(&manifest), "latest");
    let put = house.call_as("alpha-owner", Call::put("/alpha/npm/large", document.to_string()).with("content-type", "application/json")).await;
    assert!(put.status.is_success(), "{}", put.text());
    let call = Call::get("/alpha/npm/large").signed("reader", PASSWORD);
    let first = house.call(call.clone()).await;
    assert!(first.body.len() > 100_000, "{}", first.text());
    let before = repeated(&house).await;
    for _ in 0..200 {
        let again = house.call(call.clone()).await;
        assert_eq!((again.status, again.header("content-length"), again.header("etag")), (first.status, first.header("content-length"), first.header("etag")));
        assert!(again.body == first.body, "another document");
    }
    assert!(repeated(&house).await > before, "no answer was given again");
}
