//! Where keys come from, and how often they are asked for.

use std::time::Duration;

use serde_json::json;

use super::{AUDIENCE, Turned, furnished, refused};
use crate::house::House;
use crate::issuer::{DISCOVERY, KEYS, Key, TestIssuer};
use crate::upstream::{Reply, ScriptedUpstream};

async fn house(turned: &Turned) -> (House, TestIssuer) {
    let (house, issuer) = (furnished(turned).await, TestIssuer::start().await);
    house.publisher("app", &issuer, "alpha/npm", &["app"], |_| {}).await;
    (house, issuer)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_kept_and_new_ones_are_found() {
    let turned = Turned::default();
    let (house, issuer) = house(&turned).await;
    assert_eq!(issuer.server.seen().len(), 0, "an issuer is asked when somebody comes with a token of its");
    let replies = futures::future::join_all((0..10).map(|_| house.given(&issuer))).await;
    assert_eq!(replies.len(), 10);
    let asked = issuer.server.count(KEYS);
    assert!((1..=house.engines()).contains(&asked) && issuer.server.count(DISCOVERY) == asked, "{asked}");
    // A key that is not known is looked for, but not by everybody who makes one up.
    let new = Key::ec("ec-2");
    for _ in 0..20 {
        assert_eq!(refused(&house.mint(&new.token(&issuer.claims(AUDIENCE))).await), "invalid-token");
    }
    assert!(issuer.server.count(KEYS) <= 2 * house.engines(), "{}", issuer.server.count(KEYS));
    issuer.has(&[&new]);
    turned.wait(11);
    for _ in 0..house.engines() {
        assert_eq!(house.mint(&new.token(&issuer.claims(AUDIENCE))).await.status, 200);
    }
    // One that is gone is no longer good after an hour, even if nobody asked for another.
    turned.wait(3600);
    let mut claims = issuer.claims(AUDIENCE);
    claims["exp"] = json!(crate::issuer::seconds() + 7200);
    for _ in 0..house.engines() {
        assert_eq!(refused(&house.mint(&issuer.key.token(&claims)).await), "invalid-token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_away_is_no_reason_to_refuse() {
    let turned = Turned::default();
    let (house, issuer) = house(&turned).await;
    for _ in 0..house.engines() {
        house.given(&issuer).await;
    }
    issuer.server.stop().await;
    turned.wait(2 * 3600);
    let mut claims = issuer.claims(AUDIENCE);
    claims["exp"] = json!(crate::issuer::seconds() + 3 * 3600);
    assert_eq!(house.mint(&issuer.key.token(&claims)).await.status, 200, "the keys are still good");
    turned.wait(30 * 3600);
    let (now, mut claims) = (crate::issuer::seconds() + 32 * 3600, issuer.claims(AUDIENCE));
    (claims["iat"], claims["nbf"], claims["exp"]) = (json!(now), json!(now), json!(now + 300));
    let reply = house.mint(&issuer.key.token(&claims)).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(!reply.header("Retry-After").is_empty());
    issuer.server.start_again().await;
    turned.wait(60);
    let reply = house.mint(&issuer.key.token(&claims)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_the_issuer_s_is_no_document() {
    let turned = Turned::default();
    let (house, issuer) = house(&turned).await;
    let good = json!({ "issuer": issuer.url(), "jwks_uri": format!("{}{KEYS}", issuer.url()) });
    let keys = json!({ "keys": [issuer.key.public()] }).to_string();
    let bytes = |text: String| Reply::bytes(text);
    let cases = [
        ("another issuer", DISCOVERY, bytes(json!({ "issuer": "https://other.example", "jwks_uri": good["jwks_uri"] }).to_string())),
        ("no keys", DISCOVERY, bytes(json!({ "issuer": issuer.url() }).to_string())),
        ("a file", DISCOVERY, bytes(json!({ "issuer": issuer.url(), "jwks_uri": "file:///etc/passwd" }).to_string())),
        ("a metadata service", DISCOVERY, bytes(json!({ "issuer": issuer.url(), "jwks_uri": "http://169.254.169.254/keys" }).to_string())),
        ("a redirect to one", DISCOVERY, Reply::redirect("http://169.254.169.254/")),
        ("no JSON", DISCOVERY, bytes(String::from("<html>"))),
        ("an error", DISCOVERY, Reply::status(404)),
        ("a flood", DISCOVERY, bytes(format!("{}{}", " ".repeat(200_000), good))),
        ("a flood of keys", KEYS, bytes(format!("{}{keys}", " ".repeat(600_000)))),
        ("keys that are none", KEYS, bytes(String::from("{\"keys\": 1}"))),
        ("an error for keys", KEYS, Reply::status(500)),
        ("a cut", KEYS, bytes(keys.clone()).cut_after(10)),
    ];
    for (what, path, reply) in cases {
        issuer.describes(&good);
        issuer.server.answer(KEYS, Reply::bytes(keys.clone()));
        issuer.server.answer(path, reply);
        // Failures are not repeated by every request.
        turned.wait(60);
        let reply = house.mint(&issuer.token(AUDIENCE)).await;
        assert_eq!(reply.status, 503, "{what}: {}", reply.text());
        assert!(!reply.text().contains("169.254") && !reply.text().contains(&issuer.url()), "{what}: {}", reply.text());
    }
    issuer.describes(&good);
    issuer.server.answer(KEYS, Reply::bytes(keys));
    turned.wait(120);
    for _ in 0..house.engines() {
        let mut claims = issuer.claims(AUDIENCE);
        claims["exp"] = json!(crate::issuer::seconds() + 3600);
        let reply = house.mint(&issuer.key.token(&claims)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

/// Some platforms have their keys on another host; that one may be no private one, unless the operator says so.
#[tokio::test(flavor = "multi_thread")]
async fn keys_may_be_on_another_host() {
    let (house, issuer) = house(&Turned::default()).await;
    let elsewhere = ScriptedUpstream::start().await;
    elsewhere
        .answer("/jwks", Reply::bytes(json!({ "keys": [{ "kty": "future" }, { "kty": "oct", "k": "AAAA", "kid": "s" }, issuer.key.public()] }).to_string()));
    issuer.describes(&json!({ "issuer": issuer.url(), "jwks_uri": format!("{}/jwks", elsewhere.url()) }));
    house.given(&issuer).await;
    assert_eq!((issuer.server.count(KEYS), elsewhere.count("/jwks")), (0, 1));
}

/// An issuer of a publisher that was made through the API is reached as upstreams are that were.
#[tokio::test(flavor = "multi_thread")]
async fn private_issuers_have_to_be_allowed() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    let port = issuer.url().rsplit_once(':').unwrap().1.to_owned();
    for (url, allow) in [
        (issuer.url(), false),
        (format!("https://127.0.0.1:{port}"), false),
        (format!("https://10.0.0.1:{port}"), false),
        (String::from("https://169.254.169.254"), true),
        (String::from("ftp://issuer.example"), true),
    ] {
        let body = json!({
            "name": "app", "issuer": url, "allow_private": allow, "claims": { "repository": "acme/app" }, "repository": "alpha/npm", "packages": ["app"],
        });
        let reply = house.manage(http::Method::POST, "/publishers", Some(body)).await;
        assert_eq!(reply.status, 400, "{url}: {}", reply.text());
    }
    let body = json!({
        "name": "app", "issuer": "https://issuer.example", "ca_file": "/etc/passwd", "claims": { "a": "b" }, "repository": "alpha/npm", "packages": ["app"],
    });
    let reply = house.manage(http::Method::POST, "/publishers", Some(body)).await;
    assert!(reply.status == 400 && reply.text().contains("configuration file only"), "{}", reply.text());
    assert_eq!(issuer.server.seen().len(), 0);
}

/// A slow issuer holds up nobody but those who come with tokens of its.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_issuer_ends_in_time() {
    let (house, slow) = house(&Turned::default()).await;
    slow.server.answer(DISCOVERY, Reply::bytes("{}").delayed(Duration::from_secs(300)));
    let quick = TestIssuer::start().await;
    house.publisher("quick", &quick, "alpha/npm", &["app"], |_| {}).await;
    let token = slow.token(AUDIENCE);
    let waiting = house.mint(&token);
    let served = house.given(&quick);
    let (waited, _) = futures::join!(waiting, served);
    assert_eq!(waited.status, 503, "{}", waited.text());
}
