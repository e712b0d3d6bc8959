//! What a proxy owes its clients and its upstream.
#![cfg(test)]

use std::time::Duration;

use bytes::Bytes;
use entrepot_kit::{Kind, Sha256Digest};
use futures::StreamExt as _;
use http::StatusCode;
use serde_json::{Value, json};

use crate::house::House;
use crate::raw::Call;
use crate::upstream::{Gate, Reply, ScriptedUpstream};

const LARGE: usize = 50 << 20;

fn large() -> Bytes {
    (0..LARGE).map(|index| (index ^ (index >> 9)) as u8).collect::<Vec<_>>().into()
}

/// A toy's index that promises a digest for version 1.0.0.
fn promise(digest: &str) -> Reply {
    Reply::bytes(json!({ "name": "big", "versions": { "1.0.0": { "file": "elsewhere", "sha256": digest } } }).to_string())
}

async fn toy_proxy(house: &House, upstream: &ScriptedUpstream, more: &[(&str, Value)]) {
    let mut settings = json!({ "url": upstream.url(), "allow_private": true });
    for (name, value) in more {
        settings[*name] = value.clone();
    }
    house.repository("alpha/toys", "toy", Kind::Proxy, true, json!({ "upstream": settings })).await;
}

/// However many asked: one request, or one from each replica.
#[track_caller]
fn asked_once(house: &House, upstream: &ScriptedUpstream, path: &str) {
    let count = upstream.count(path);
    assert!((1..=house.engines()).contains(&count), "{path} was asked for {count} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_ask_and_upstream_is_asked_once() {
    let (house, upstream, gate, body) = (House::start().await, ScriptedUpstream::start().await, Gate::shut(), large());
    upstream.answer("/big", promise(&Sha256Digest::of(&body).hex()));
    upstream.answer("/big/1.0.0", Reply::bytes(body.clone()).held_after(1 << 20, &gate));
    toy_proxy(&house, &upstream, &[]).await;
    let url = format!("http://{}/alpha/toys/big/1.0.0", house.host);
    let client = reqwest::Client::new();
    let mut readers = tokio::task::JoinSet::new();
    let (first_bytes, mut arrived) = tokio::sync::mpsc::channel(100);
    for _ in 0..100 {
        let (client, url, first_bytes, wanted) = (client.clone(), url.clone(), first_bytes.clone(), body.clone());
        readers.spawn(async move {
            let reply = client.get(url).send().await.expect("an answer");
            assert_eq!(reply.status(), StatusCode::OK);
            let (mut stream, mut at) = (reply.bytes_stream(), 0);
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.expect("bytes");
                assert_eq!(chunk, wanted.slice(at..at + chunk.len()));
                if at == 0 {
                    first_bytes.send(()).await.expect("counted");
                }
                at += chunk.len();
            }
            assert_eq!(at, LARGE);
        });
    }
    for _ in 0..100 {
        // The rest of the body is withheld: what arrives now was sent before the download ended.
        tokio::time::timeout(Duration::from_secs(30), arrived.recv()).await.expect("the first bytes reach every client while upstream withholds the rest");
    }
    gate.open();
    while let Some(reader) = readers.join_next().await {
        reader.expect("a whole body");
    }
    asked_once(&house, &upstream, "/big/1.0.0");
    let again = house.call(Call::get("/alpha/toys/big/1.0.0")).await;
    assert_eq!((again.status, again.header("x-artifact-source"), &again.body), (StatusCode::OK, "cache", &body));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_stop_the_fill() {
    let (house, upstream, gate) = (House::start().await, ScriptedUpstream::start().await, Gate::shut());
    let body = large().slice(..4 << 20);
    upstream.answer("/big", promise(&Sha256Digest::of(&body).hex()));
    upstream.answer("/big/1.0.0", Reply::bytes(body.clone()).held_after(1 << 20, &gate));
    toy_proxy(&house, &upstream, &[]).await;
    let mut reply = reqwest::get(format!("http://{}/alpha/toys/big/1.0.0", house.host)).await.expect("an answer");
    assert!(reply.chunk().await.expect("bytes").is_some());
    drop(reply);
    gate.open();
    let kept = house.call(Call::get("/alpha/toys/big/1.0.0")).await;
    assert_eq!((kept.status, kept.body.len()), (StatusCode::OK, body.len()));
    asked_once(&house, &upstream, "/big/1.0.0");
}

/// A body that is not what it should be breaks off for those who read along, is kept nowhere, and is asked for again.
async fn never_kept(bad: Reply, digest_of: &Bytes) {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    upstream.answer("/big", promise(&Sha256Digest::of(digest_of).hex()));
    upstream.answer_in_turn("/big/1.0.0", [bad.clone(), bad, Reply::bytes(digest_of.clone())]);
    toy_proxy(&house, &upstream, &[("retries", json!(0))]).await;
    for attempt in 0..2 {
        match reqwest::get(format!("http://{}/alpha/toys/big/1.0.0", house.host)).await {
            Ok(reply) if reply.status() == StatusCode::OK => assert!(reply.bytes().await.is_err(), "attempt {attempt}: a wrong body ended like a good one"),
            Ok(reply) => assert!(reply.status().is_server_error(), "attempt {attempt}: {}", reply.status()),
            Err(error) => panic!("attempt {attempt}: {error}"),
        }
    }
    let good = house.call(Call::get("/alpha/toys/big/1.0.0")).await;
    assert_eq!((good.status, &good.body), (StatusCode::OK, digest_of));
    assert_eq!(upstream.count("/big/1.0.0"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_is_never_kept() {
    let (good, bad) = (large().slice(..1 << 20), large().slice(1..(1 << 20) + 1));
    never_kept(Reply::bytes(bad), &good).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_body_is_never_kept() {
    let good = large().slice(..1 << 20);
    never_kept(Reply::bytes(good.clone()).cut_after(700_000), &good).await;
}

/// A reader of a body that breaks off at once gets an answer that breaks off, never a connection that ends without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_at_once_has_a_head() {
    const BODIES: usize = 64;
    let (house, upstream, good) = (House::start().await, ScriptedUpstream::start().await, large().slice(..1 << 20));
    let digest = Sha256Digest::of(&good).hex();
    let versions: serde_json::Map<_, _> = (0..BODIES).map(|body| (format!("1.0.{body}"), json!({ "file": "elsewhere", "sha256": digest }))).collect();
    upstream.answer("/big", Reply::bytes(json!({ "name": "big", "versions": versions }).to_string()));
    for body in 0..BODIES {
        upstream.answer(&format!("/big/1.0.{body}"), Reply::bytes(good.clone()).cut_after(1000 + body));
    }
    toy_proxy(&house, &upstream, &[("retries", json!(0))]).await;
    let mut readers = tokio::task::JoinSet::new();
    for body in 0..BODIES {
        let url = format!("http://{}/alpha/toys/big/1.0.{body}", house.host);
        readers.spawn(async move {
            let reply = reqwest::get(url).await.expect("a head");
            if reply.status() == StatusCode::OK {
                assert!(reply.bytes().await.is_err(), "a broken body ended like a good one");
            } else {
                assert!(reply.status().is_server_error(), "{}", reply.status());
            }
        });
    }
    while let Some(reader) = readers.join_next().await {
        reader.expect("an answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_captive_portal_does_not_replace_an_index() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    let digest = Sha256Digest::of(b"x").hex();
    upstream.answer_in_turn("/big", [promise(&digest), Reply::bytes("<html>please sign in</html>")]);
    toy_proxy(&house, &upstream, &[("mutable_ttl", json!(0))]).await;
    let first = house.call(Call::get("/alpha/toys/big")).await;
    assert_eq!((first.status, first.header("x-artifact-source")), (StatusCode::OK, "remote"));
    let second = house.call(Call::get("/alpha/toys/big")).await;
    assert_eq!((second.status, second.header("x-artifact-source"), &second.body), (StatusCode::OK, "stale", &first.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_index_costs_a_304_and_no_revision() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    upstream.answer("/big", promise(&Sha256Digest::of(b"x").hex()).etag("\"1\""));
    toy_proxy(&house, &upstream, &[("mutable_ttl", json!(0))]).await;
    for _ in 0..3 {
        assert_eq!(house.call(Call::get("/alpha/toys/big")).await.status, StatusCode::OK);
    }
    assert_eq!(house.head("alpha/toys"), 1);
    let asked = upstream.seen_at("/big");
    assert_eq!(asked.len(), 3);
    assert!(asked[1..].iter().all(|seen| seen.header("if-none-match") == Some("\"1\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_upstream_is_remembered_for_a_while() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    upstream.answer("/big", Reply::status(404));
    toy_proxy(&house, &upstream, &[]).await;
    for _ in 0..5 {
        assert_eq!(house.call(Call::get("/alpha/toys/big")).await.status, StatusCode::NOT_FOUND);
    }
    asked_once(&house, &upstream, "/big");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_fails_is_503_with_retry_after_and_left_alone() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    upstream.answer("/big", Reply::status(503));
    toy_proxy(&house, &upstream, &[("retries", json!(0))]).await;
    for attempt in 0..12 * house.engines() {
        let reply = house.call(Call::get("/alpha/toys/big")).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "attempt {attempt}: a 404 would be remembered by clients");
        assert!(reply.header("retry-after").parse::<u32>().is_ok());
    }
    assert!(upstream.count("/big") <= 6 * house.engines(), "the circuit opens: {} requests came", upstream.count("/big"));
}
