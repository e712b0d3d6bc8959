//! Identity tokens that are not taken.

use serde_json::{Value, json};

use super::{AUDIENCE, Turned, furnished, refused};
use crate::house::House;
use crate::issuer::{Key, TestIssuer, seconds, unsigned, with_secret};

async fn house(turned: &Turned) -> (House, TestIssuer) {
    let (house, issuer) = (furnished(turned).await, TestIssuer::start().await);
    let claims = json!({ "repository": "acme/app", "ref": ["refs/heads/main", "refs/tags/v*"], "repository_id": "7" });
    house.publisher("app", &issuer, "alpha/npm", &["app"], |body| body["claims"] = claims).await;
    (house, issuer)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_kind_of_key_are_taken() {
    let (house, issuer) = house(&Turned::default()).await;
    let ed = Key::ed("ed-1");
    issuer.has(&[&issuer.key, &issuer.other, &ed]);
    for key in [&issuer.key, &issuer.other, &ed] {
        let reply = house.mint(&key.token(&issuer.claims(AUDIENCE))).await;
        assert_eq!(reply.status, 200, "{}: {}", key.algorithm(), reply.text());
        // One that names no key was signed with the only one of its kind.
        let header = json!({ "alg": key.algorithm() });
        assert_eq!(house.mint(&key.token_with(&header, &issuer.claims(AUDIENCE))).await.status, 200, "{}", key.algorithm());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_claims_are_refused() {
    let (house, issuer) = house(&Turned::default()).await;
    let elsewhere = TestIssuer::start().await;
    let now = seconds();
    for (what, name, value, code) in [
        ("another audience", "aud", json!("other.example"), "invalid-token"),
        ("no audience", "aud", Value::Null, "invalid-token"),
        ("an audience in other letters", "aud", json!("Packages.Example"), "invalid-token"),
        ("several audiences", "aud", json!([AUDIENCE, "other.example"]), "invalid-token"),
        ("no audiences", "aud", json!([]), "invalid-token"),
        ("an issuer that nobody named", "iss", json!("https://nobody.example"), "invalid-token"),
        ("an issuer that nobody named, with keys", "iss", json!(elsewhere.url()), "invalid-token"),
        ("an issuer with a slash", "iss", json!(format!("{}/", issuer.url())), "invalid-token"),
        ("no issuer", "iss", Value::Null, "invalid-token"),
        ("the past", "exp", json!(now - 60), "invalid-token"),
        ("no end", "exp", Value::Null, "invalid-token"),
        ("an end that is text", "exp", json!((now + 300).to_string()), "invalid-token"),
        ("an end far away", "exp", json!(now + 10 * 86_400), "invalid-token"),
        ("an end beyond numbers", "exp", json!(1e300), "invalid-token"),
        ("the future", "nbf", json!(now + 120), "invalid-token"),
        ("a beginning that is text", "nbf", json!("now"), "invalid-token"),
        ("a birth in the future", "iat", json!(now + 120), "invalid-token"),
        ("no birth", "iat", Value::Null, "invalid-token"),
        ("another project", "repository", json!("acme/other"), "invalid-publisher"),
        ("a project that begins alike", "repository", json!("acme/app2"), "invalid-publisher"),
        ("a project in other letters", "repository", json!("Acme/app"), "invalid-publisher"),
        ("no project", "repository", Value::Null, "invalid-publisher"),
        ("another branch", "ref", json!("refs/heads/other"), "invalid-publisher"),
        ("a branch that holds the pattern", "ref", json!("x/refs/tags/v1"), "invalid-publisher"),
        ("another number", "repository_id", json!(77), "invalid-publisher"),
    ] {
        let mut claims = issuer.claims(AUDIENCE);
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().shift_remove(name)),
            value => claims[name] = value,
        }
        assert_eq!(refused(&house.mint(&issuer.key.token(&claims)).await), code, "{what}");
    }
    for (name, value) in [("aud", json!([AUDIENCE])), ("aud", json!(format!("npm:{AUDIENCE}"))), ("ref", json!("refs/tags/v1.0")), ("nbf", Value::Null)] {
        let mut claims = issuer.claims(AUDIENCE);
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().shift_remove(name)),
            value => claims[name] = value,
        }
        assert_eq!(house.mint(&issuer.key.token(&claims)).await.status, 200, "{claims}");
    }
    assert_eq!(elsewhere.server.seen().len(), 0, "a token does not choose whom the server asks");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_are_refused() {
    let (house, issuer) = house(&Turned::default()).await;
    let claims = || issuer.claims(AUDIENCE);
    let header = |algorithm: &str, key: &str| json!({ "alg": algorithm, "typ": "JWT", "kid": key });
    let good = issuer.token(AUDIENCE);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (rsa, stranger) = (&issuer.key, Key::ec("ec-1"));
    let public = rsa.public();
    let secrets = [public["n"].as_str().unwrap().to_owned(), public.to_string(), String::new()];
    let mut bad = vec![
        ("nothing", String::new()),
        ("no token", String::from("a.b.c")),
        ("a token of ours", String::from("ent_000000000000_0000000000000000000000000000000000000000000_00000000")),
        ("two parts", message.to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("no signature", format!("{message}.")),
        ("another signature", format!("{}.{signature}", unsigned(&header("RS256", "rsa-1"), &claims()))),
        ("none", format!("{}.", unsigned(&header("none", "rsa-1"), &claims()))),
        ("None", format!("{}.", unsigned(&header("None", "rsa-1"), &claims()))),
        ("none with a signature", rsa.token_with(&header("none", "rsa-1"), &claims())),
        ("a key of a stranger", stranger.token(&claims())),
        ("a key under the name of another", issuer.other.named("rsa-1").token(&claims())),
        ("an algorithm of another key", issuer.other.token_with(&header("RS256", "rsa-1"), &claims())),
        ("another algorithm of the same key", rsa.token_with(&header("PS256", "rsa-1"), &claims())),
        ("a longer hash", rsa.token_with(&header("RS512", "rsa-1"), &claims())),
        ("a path as the key", rsa.token_with(&header("RS256", "../../keys"), &claims())),
        ("a key in the header", {
            let header = json!({ "alg": "ES256", "kid": "mine", "jwk": stranger.public(), "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/" });
            stranger.token_with(&header, &claims())
        }),
        ("a critical extension", rsa.token_with(&json!({ "alg": "RS256", "kid": "rsa-1", "crit": ["b64"], "b64": false }), &claims())),
        ("claims that are a list", rsa.token(&json!([1, 2]))),
        ("a very long one", {
            let mut claims = claims();
            claims["long"] = json!("x".repeat(20_000));
            rsa.token(&claims)
        }),
    ];
    for secret in &secrets {
        bad.push(("a public key as a secret", with_secret(&header("HS256", "rsa-1"), &claims(), secret.as_bytes())));
    }
    for (what, token) in bad {
        assert_eq!(refused(&house.mint(&token).await), "invalid-token", "{what}");
    }
    assert_eq!(house.mint(&good).await.status, 200, "none of these used it up");
}

/// One of many who come at once with the same token gets something for it, whichever replica they ask.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_exchanged_once() {
    let turned = Turned::default();
    let (house, issuer) = house(&turned).await;
    let mut nameless = issuer.claims(AUDIENCE);
    nameless.as_object_mut().unwrap().shift_remove("jti");
    nameless["nonce"] = json!("1");
    for token in [issuer.token(AUDIENCE), issuer.other.token(&nameless)] {
        let replies = futures::future::join_all((0..16).map(|_| house.mint(&token))).await;
        let good = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(good, 1, "{:?}", replies.iter().map(|reply| reply.status.as_u16()).collect::<Vec<_>>());
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            assert_eq!(refused(reply), "invalid-reuse-token");
        }
        // The other ways in are the same one.
        assert_eq!(house.exchange(json!({ "token": token })).await.status, 401);
    }
    // Another signature under the same statement is the same statement.
    let again = issuer.other.token(&nameless);
    assert_eq!(refused(&house.mint(&again).await), "invalid-reuse-token");
    // Until it has ended anyway.
    let last = issuer.token(AUDIENCE);
    assert_eq!(house.mint(&last).await.status, 200);
    turned.wait(325);
    assert_eq!(refused(&house.mint(&last).await), "invalid-reuse-token", "within the leeway");
    turned.wait(60);
    assert_eq!(refused(&house.mint(&last).await), "invalid-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_publishers_are_for_has_to_be_said() {
    let (house, issuer) = house(&Turned::default()).await;
    house.publisher("files", &issuer, "alpha/generic", &["app/*"], |_| {}).await;
    let reply = house.mint(&issuer.token(AUDIENCE)).await;
    assert_eq!(refused(&reply), "invalid-publisher");
    assert!(reply.text().contains("several"), "{}", reply.text());
    for (body, status) in [
        (json!({ "repository": "alpha/npm" }), 201),
        (json!({ "repository": "alpha/generic" }), 201),
        (json!({ "package": "app" }), 201),
        (json!({ "package": "app/1.txt" }), 201),
        (json!({ "package": "other" }), 401),
        (json!({ "package": "app/*" }), 401),
        (json!({ "repository": "alpha/generic", "package": "app" }), 401),
        (json!({ "repository": "beta/npm" }), 401),
        (json!({ "repository": "nowhere/npm" }), 401),
        (json!({ "repository": "npm" }), 400),
        (json!({ "more": 1 }), 400),
    ] {
        let mut wanted = body.clone();
        wanted["token"] = json!(issuer.token(AUDIENCE));
        let reply = house.exchange(wanted).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
    }
}
