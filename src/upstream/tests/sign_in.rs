//! Signing in after a challenge: who gets the credentials, and who does not.

use http::StatusCode;
use serde_json::json;

use super::super::scripted::{Reply, ScriptedUpstream};
use super::super::{Fetch, Fetched, Target, Upstream, UpstreamError};
use super::{client, failure};

const BASIC: &str = "Basic dTpodW50ZXIy";

fn challenged(server: &ScriptedUpstream, mut more: serde_json::Value) -> Upstream {
    more["retries"] = json!(0);
    client(&server.url(), more).speaking("v2/", true)
}

fn with_password() -> serde_json::Value {
    json!({"username": "u", "password": "hunter2", "allow_private": true})
}

fn bearer(realm: &str) -> String {
    format!(r#"Bearer realm="{realm}",service="registry",scope="repository:a:pull""#)
}

fn token(value: &str) -> Reply {
    Reply::bytes(json!({ "token": value, "expires_in": 300 }).to_string())
}

async fn ask(upstream: &Upstream, path: &str) -> Result<Fetched, UpstreamError> {
    upstream.fetch(&Fetch { space: Some("a"), ..Fetch::get(Target::Path(path)) }).await
}

/// A registry that hands out tokens itself.
async fn registry() -> ScriptedUpstream {
    let server = ScriptedUpstream::start().await;
    server.answer("/v2/a/x", Reply::bytes("x").guarded("Bearer t1", bearer(&format!("{}/token", server.url()))));
    server.answer("/v2/a/y", Reply::bytes("y").guarded("Bearer t1", bearer(&format!("{}/token", server.url()))));
    server.answer("/token", token("t1"));
    server
}

#[tokio::test]
async fn a_token_is_fetched_once_and_sent_at_once_from_then_on() {
    let server = registry().await;
    let upstream = challenged(&server, json!({}));
    for path in ["a/x", "a/x", "a/y"] {
        assert_eq!(ask(&upstream, path).await.unwrap().status, StatusCode::OK, "{path}");
    }
    let asked: Vec<_> = server.seen().into_iter().map(|seen| (seen.target.clone(), seen.header("authorization").map(str::to_owned))).collect();
    let pass = Some(String::from("Bearer t1"));
    let expected = [
        ("/v2/a/x", None),
        ("/token?service=registry&scope=repository%3Aa%3Apull", None),
        ("/v2/a/x", pass.clone()),
        ("/v2/a/x", pass.clone()),
        ("/v2/a/y", pass),
    ];
    assert_eq!(asked, expected.map(|(target, authorization)| (target.to_owned(), authorization)));
}

#[tokio::test]
async fn the_layers_of_an_image_share_one_token() {
    let server = registry().await;
    let upstream = challenged(&server, json!({}));
    let fetches = (0..20).map(|_| ask(&upstream, "a/x"));
    for outcome in futures::future::join_all(fetches).await {
        assert_eq!(outcome.unwrap().status, StatusCode::OK);
    }
    assert_eq!(server.count("/token"), 1);
}

#[tokio::test]
async fn credentials_go_to_the_realm_and_not_to_the_registry() {
    let server = registry().await;
    server.answer("/token", token("t1").guarded(BASIC, "Basic"));
    assert_eq!(ask(&challenged(&server, with_password()), "a/x").await.unwrap().status, StatusCode::OK);
    for seen in server.seen() {
        let expected = if seen.target.starts_with("/token") { seen.target.contains("account=u") } else { seen.header("authorization") != Some(BASIC) };
        assert!(expected, "{seen:?}");
    }
    // Refused there, they are wrong, and the message says so without them.
    server.answer("/token", Reply::status(401));
    let error = failure(ask(&challenged(&server, with_password()), "a/x").await).to_string();
    assert!(error.contains("refused the credentials") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_realm_elsewhere_gets_no_credentials() {
    let (server, other) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let port = other.url().rsplit(':').next().unwrap().to_owned();
    other.answer("/token", token("t1"));
    for realm in [format!("{}/token", other.url()), format!("http://localhost:{port}/token"), format!("http://[::ffff:127.0.0.1]:{port}/token")] {
        server.answer("/v2/a/x", Reply::bytes("x").guarded("Bearer t1", bearer(&realm)));
        let error = failure(ask(&challenged(&server, with_password()), "a/x").await);
        assert!(matches!(&error, UpstreamError::BadAnswer(message) if message.contains("token_hosts")), "{error:?}");
        assert_eq!(entrepot_kit::Error::from(error).status(), StatusCode::BAD_GATEWAY);
    }
    assert_eq!(other.seen().len(), 0, "nothing was asked there at all");
    // Nothing to lose: without credentials any public place will do.
    server.answer("/v2/a/x", Reply::bytes("x").guarded("Bearer t1", bearer(&format!("{}/token", other.url()))));
    assert_eq!(ask(&challenged(&server, json!({"allow_private": true})), "a/x").await.unwrap().status, StatusCode::OK);
    assert_eq!(other.seen()[0].header("authorization"), None);
    // The operator's word counts.
    let mut listed = with_password();
    listed["token_hosts"] = json!([format!("127.0.0.1:{port}")]);
    assert_eq!(ask(&challenged(&server, listed), "a/x").await.unwrap().status, StatusCode::OK);
    assert_eq!(other.seen()[1].header("authorization"), Some(BASIC));
}

#[tokio::test]
async fn a_realm_leads_neither_inside_nor_on() {
    let (server, inside) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    inside.answer("/token", token("t1"));
    let own = format!("{}/token", server.url());
    for realm in [
        format!("{}/token", inside.url()),
        "http://169.254.169.254/latest".into(),
        "file:///etc/passwd".into(),
        "http://u:p@127.0.0.1/".into(),
        "/token".into(),
    ] {
        server.answer("/v2/a/x", Reply::bytes("x").guarded("Bearer t1", bearer(&realm)));
        assert!(ask(&challenged(&server, json!({})), "a/x").await.is_err(), "{realm}");
    }
    server.answer("/v2/a/x", Reply::bytes("x").guarded("Bearer t1", bearer(&own)));
    server.answer("/token", Reply::redirect(format!("{}/token", inside.url())));
    assert!(failure(ask(&challenged(&server, with_password()), "a/x").await).to_string().contains("redirects"));
    for bad in [Reply::bytes("<html>"), Reply::bytes("{}"), Reply::bytes(vec![b'x'; 100_000]), Reply::status(503), Reply::bytes("{").cut_after(0)] {
        server.answer("/token", bad.clone());
        assert!(ask(&challenged(&server, json!({})), "a/x").await.is_err(), "{bad:?}");
    }
    assert_eq!(inside.seen().len(), 0);
}

#[tokio::test]
async fn a_token_that_is_no_longer_taken_is_replaced() {
    let server = registry().await;
    let upstream = challenged(&server, json!({}));
    assert_eq!(ask(&upstream, "a/x").await.unwrap().status, StatusCode::OK);
    server.answer("/token", token("t2"));
    server.answer("/v2/a/x", Reply::bytes("x").guarded("Bearer t2", bearer(&format!("{}/token", server.url()))));
    for _ in 0..2 {
        assert_eq!(ask(&upstream, "a/x").await.unwrap().status, StatusCode::OK);
    }
    assert_eq!(server.count("/token"), 2);
}

#[tokio::test]
async fn what_is_denied_after_signing_in_is_an_answer() {
    let server = registry().await;
    server.answer("/v2/a/x", Reply::bytes("x").guarded("Bearer never", bearer(&format!("{}/token", server.url()))));
    assert_eq!(ask(&challenged(&server, json!({})), "a/x").await.unwrap().status, StatusCode::UNAUTHORIZED);
    assert!(server.count("/v2/a/x") <= 3, "it is not asked without end");
    server.answer("/token", Reply::status(403));
    assert_eq!(ask(&challenged(&server, with_password()), "a/x").await.unwrap().status, StatusCode::UNAUTHORIZED);
    server.answer("/token", token("t1"));
    server.answer("/v2/a/y", Reply::status(403));
    let upstream = challenged(&server, json!({}));
    assert!(matches!(failure(ask(&upstream, "a/y").await), UpstreamError::BadAnswer(_)), "nobody asked for anything");
}

#[tokio::test]
async fn basic_waits_for_its_challenge_too() {
    let server = ScriptedUpstream::start().await;
    server.answer("/v2/a/x", Reply::bytes("x").guarded(BASIC, "Basic realm=\"registry\""));
    let upstream = challenged(&server, with_password());
    for _ in 0..2 {
        assert_eq!(ask(&upstream, "a/x").await.unwrap().status, StatusCode::OK);
    }
    let sent: Vec<_> = server.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    assert_eq!(sent, [None, Some(BASIC.to_owned()), Some(BASIC.to_owned())]);
    let wrong = challenged(&server, json!({"username": "u", "password": "wrong"}));
    assert!(failure(ask(&wrong, "a/x").await).to_string().contains("check the credentials"));
    assert!(failure(ask(&challenged(&server, json!({})), "a/x").await).to_string().contains("may want credentials"));
    // A token of the operator's is no password: it is sent as it is, and to no realm.
    server.answer("/v2/a/x", Reply::bytes("x").guarded("Bearer mine", bearer(&format!("{}/token", server.url()))));
    assert_eq!(ask(&challenged(&server, json!({"token": "mine"})), "a/x").await.unwrap().status, StatusCode::OK);
    assert!(ask(&challenged(&server, json!({"token": "other"})), "a/x").await.is_err());
    assert_eq!(server.count("/token"), 0);
}

#[tokio::test]
async fn a_token_stays_with_the_registry() {
    let (server, storage) = (registry().await, ScriptedUpstream::start().await);
    storage.answer("/blob", Reply::bytes("blob"));
    let away = Reply::redirect(format!("{}/blob?X-Signature=1", storage.url())).with_status(307);
    server.answer("/v2/a/x", away.guarded("Bearer t1", bearer(&format!("{}/token", server.url()))));
    let upstream = challenged(&server, json!({"allow_private": true}));
    assert_eq!(ask(&upstream, "a/x").await.unwrap().status, StatusCode::OK);
    assert_eq!(storage.seen().iter().map(|seen| seen.header("authorization")).collect::<Vec<_>>(), [None]);
    // What another host asks for is nobody's business.
    storage.answer("/blob", Reply::bytes("blob").guarded("Bearer x", bearer(&format!("{}/token", server.url()))));
    assert!(failure(ask(&upstream, "a/x").await).to_string().contains("leads to answered 401"));
}

#[tokio::test]
async fn a_root_may_be_that_of_a_part_of_a_registry() {
    let server = ScriptedUpstream::start().await;
    server.answer("/v2/team/a/x", Reply::bytes("x"));
    server.answer("/behind/v2/a/x", Reply::bytes("x"));
    for root in ["v2/team", "v2/team/", "behind", "behind/v2/"] {
        let upstream = client(&format!("{}/{root}", server.url()), json!({})).speaking("v2/", true);
        assert_eq!(ask(&upstream, "a/x").await.unwrap().status, StatusCode::OK, "{root}");
    }
}

#[tokio::test]
async fn pages_names_and_rate_limits_are_told() {
    let server = ScriptedUpstream::start().await;
    let said = Reply::bytes("x").header("Link", "</v2/a/x?last=1>; rel=\"next\"").header("Docker-Content-Digest", "sha256:1");
    server.answer("/v2/a/x", said.header("RateLimit-Limit", "100;w=21600").header("RateLimit-Remaining", "42;w=21600"));
    let upstream = challenged(&server, json!({}));
    assert_eq!(upstream.allowance(), None);
    let fetch = Fetch { named_by: Some("docker-content-digest"), ..Fetch::get(Target::Path("a/x")) };
    let fetched = upstream.fetch(&fetch).await.unwrap();
    assert_eq!((fetched.name.as_deref(), fetched.next), (Some("sha256:1"), Some(format!("{}/v2/a/x?last=1", server.url()))));
    assert_eq!(upstream.allowance(), Some([100, 42]));
    // The last word counts, also that of a refusal; and who asked too much waits.
    server.answer("/v2/a/x", Reply::status(429).header("RateLimit-Remaining", "0;w=21600"));
    let UpstreamError::Unreachable { retry_after, .. } = failure(ask(&upstream, "a/x").await) else { panic!() };
    assert_eq!((upstream.allowance(), retry_after), (Some([100, 0]), 60));
}
