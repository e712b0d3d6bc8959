//! What is no registry token of ours, and how long those that are live.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use entrepot_kit::{Action, PrincipalKind, Timestamp, TokenRequest};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::{Bounds, Keys, Reading, RegistryScope, Statement, read, sign};
use crate::access::tests::{Bench, basic, wanted};
use crate::access::{Access, Caller, Credentials, RequestFacts};
use crate::registry::keys::MasterKey;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const SERVICE: &str = "registry.example";

fn keys(bench: &Bench) -> Arc<Keys> {
    Arc::new(Keys::new(bench.catalog.clone(), MasterKey::new(&[7; 32]).unwrap()))
}

fn scopes(text: &str) -> Vec<RegistryScope> {
    RegistryScope::parse_all([text].into_iter())
}

fn statement() -> Statement {
    let bounds = Bounds { principal: None, token: None, proof: None, asked: scopes("repository:a/b/c:pull") };
    Statement::new(SERVICE, String::from("anonymous"), Vec::new(), bounds, NOW).unwrap()
}

fn part(value: &serde_json::Value) -> String {
    BASE64.encode(value.to_string())
}

async fn is_good(keys: &Keys, text: &str) -> bool {
    matches!(read(keys, text, SERVICE, NOW).await.unwrap(), Reading::Good(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_we_signed_for_this_service_and_time_counts() {
    let bench = Bench::new().await;
    let keys = keys(&bench);
    let good = sign(&keys, &statement(), NOW).await.unwrap();
    assert!(is_good(&keys, &good).await);
    assert!(matches!(read(&keys, &good, "other.example", NOW).await.unwrap(), Reading::Wrong), "another service");
    assert!(matches!(read(&keys, &good, SERVICE, NOW.plus(300_000)).await.unwrap(), Reading::Ended));
    assert!(matches!(read(&keys, &good, SERVICE, NOW.plus(-60_000)).await.unwrap(), Reading::Wrong), "its time has not come");
    assert!(matches!(read(&keys, &good, SERVICE, NOW.plus(-20_000)).await.unwrap(), Reading::Good(_)), "clocks differ a little");

    let key = keys.token_key(NOW).await.unwrap();
    let claims = serde_json::to_value(statement()).unwrap();
    let changed = |name: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let ours = || Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::ES256) };
    let signed = |claims: &serde_json::Value| jsonwebtoken::encode(&ours(), claims, &key.signs).unwrap();
    assert!(is_good(&keys, &signed(&claims)).await);

    let mut bad = vec![
        ("another issuer", signed(&changed("iss", json!("somebody")))),
        ("several services", signed(&changed("aud", json!(["other.example"])))),
        ("no end", signed(&changed("exp", json!(null)))),
        ("a name for a principal", signed(&changed("entrepot", json!({ "principal": "admin", "asked": [] })))),
    ];
    let [head, body, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    bad.push(("other claims", format!("{head}.{}.{signature}", part(&changed("sub", json!("user:admin"))))));
    for algorithm in ["none", "None", "NONE", "nOnE", "ES384", "RS256", "HS256"] {
        let head = part(&json!({ "alg": algorithm, "kid": key.id, "typ": "JWT" }));
        bad.push(("another algorithm with our signature", format!("{head}.{body}.{signature}")));
        bad.push(("another algorithm without one", format!("{head}.{body}.")));
    }
    // The public key as the secret of another algorithm.
    let public = EncodingKey::from_secret(key.verifies.try_get_as_bytes().unwrap());
    let confused = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::HS256) };
    bad.push(("a public key as a secret", jsonwebtoken::encode(&confused, &claims, &public).unwrap()));
    // A key of somebody else, in all places where a careless server looks for one.
    let foreign_bench = Bench::new().await;
    let foreign = Keys::new(foreign_bench.catalog.clone(), MasterKey::new(&[8; 32]).unwrap()).token_key(NOW).await.unwrap();
    let point = foreign.verifies.try_get_as_bytes().unwrap().to_vec();
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..]) });
    for kid in [key.id.as_str(), foreign.id.as_str(), "", "../../../../dev/null", "docker-token/694", "' OR 1=1 --", "https://evil.example/key.pem"] {
        let with = |more: serde_json::Value| {
            let mut head = json!({ "alg": "ES256", "typ": "JWT", "kid": kid });
            head.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value::<Header>(head).unwrap()
        };
        for more in [json!({}), json!({ "jwk": jwk }), json!({ "jku": "https://evil.example/keys" }), json!({ "x5u": "https://evil.example/pem" })] {
            bad.push(("a foreign key", jsonwebtoken::encode(&with(more), &claims, &foreign.signs).unwrap()));
        }
    }
    bad.push(("no key named", jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key.signs).unwrap()));
    for at in [0, head.len() / 2, head.len() + 3, good.len() - 3] {
        let mut text = good.clone().into_bytes();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        bad.push(("a letter changed", String::from_utf8(text).unwrap()));
    }
    bad.extend(["", ".", "..", "eyJ..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", good.get(..good.len() - 1).unwrap()].map(|text| ("nonsense", text.to_owned())));
    for (what, text) in bad {
        assert!(!is_good(&keys, &text).await, "{what}: {text}");
    }
}

/// A registry's client, as this service sees it.
async fn sent(access: &Access, text: &str, service: Option<&str>) -> entrepot_kit::Result<Caller> {
    let facts = RequestFacts { service: service.map(str::to_owned), ..RequestFacts::default() };
    access.authenticate(Some(Credentials::Bearer(text.to_owned().into())), &facts).await
}

async fn token(access: &Access, caller: &Caller) -> String {
    access.registry_token(caller, SERVICE, scopes("repository:a/b/c:pull,push"), Vec::new()).await.unwrap().text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_names_its_principal_where_registry_clients_ask_and_nowhere_else() {
    let bench = Bench::new().await;
    bench.access.use_keys(keys(&bench));
    bench.user("bob", &[]).await;
    let bob = bench.basic("bob", "bob's password").await.unwrap();
    let text = token(&bench.access, &bob).await;
    let caller = sent(&bench.access, &text, Some(SERVICE)).await.unwrap();
    assert_eq!((caller.name(), caller.asked().map(<[_]>::len)), (String::from("user:bob"), Some(1)));
    for elsewhere in [None, Some("other.example"), Some("")] {
        assert_eq!(sent(&bench.access, &text, elsewhere).await.unwrap_err().status(), 401, "{elsewhere:?}");
    }
    assert_eq!(bench.basic("bob", &text).await.unwrap_err().status(), 401, "it is no password");
    // It makes no tokens of any kind, and changes no account.
    assert_eq!(bench.access.registry_token(&caller, SERVICE, Vec::new(), Vec::new()).await.map(drop).unwrap_err().status(), 401);
    assert!(bench.access.kept_token(&caller, &bench.facts).await.unwrap().is_none());
    assert_eq!(bench.access.create_own_token(&caller, TokenRequest::default(), &bench.facts).await.map(drop).unwrap_err().status(), 403);
    assert_eq!(bench.access.own_tokens(&caller).await.unwrap_err().status(), 403);
    let changed = bench.access.change_own_password(&caller, "bob's password".into(), "another password".into(), &bench.facts).await;
    assert_eq!(changed.unwrap_err().status(), 403);
    let admin = bench.user("admin", &[]).await;
    assert!(bench.access.admin(&admin, &bench.facts).is_ok());
    let admin = bench.basic("admin", "admin's password").await.unwrap();
    let administrator = sent(&bench.access, &token(&bench.access, &admin).await, Some(SERVICE)).await.unwrap();
    assert!(bench.access.admin(&administrator, &bench.facts).is_err(), "not with a token for images");
    crate::access::tests::with_target("a", &crate::access::tests::tags(&[]), async |target| {
        for action in Action::DECIDED {
            assert!(!bench.access.decide(&administrator, action, target).await.unwrap().allowed, "{action:?}");
        }
    })
    .await;
    // Nobody gets a token too.
    let nobody = sent(&bench.access, &token(&bench.access, &Caller::anonymous()).await, Some(SERVICE)).await.unwrap();
    assert!(nobody.is_anonymous() && nobody.asked().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_what_it_was_made_with_on_every_replica() {
    let bench = Bench::new().await;
    let replica = bench.replica().await;
    for access in [&bench.access, &replica] {
        access.use_keys(keys(&bench));
    }
    for user in ["bob", "carol", "dave"] {
        bench.user(user, &[]).await;
    }
    let by_password = async |user: &str| token(&bench.access, &bench.basic(user, &format!("{user}'s password")).await.unwrap()).await;
    let (bob, carol, dave) = (by_password("bob").await, by_password("carol").await, by_password("dave").await);
    let made = bench.token("bob", wanted(&["a/*"], &[Action::Read])).await;
    let with_token = token(&bench.access, &bench.bearer(&made.secret).await.unwrap()).await;
    let nobody = token(&bench.access, &Caller::anonymous()).await;
    let all = [&bob, &carol, &dave, &with_token, &nobody];
    for access in [&bench.access, &replica] {
        for text in all {
            assert!(sent(access, text, Some(SERVICE)).await.is_ok());
        }
        let narrow = sent(access, &with_token, Some(SERVICE)).await.unwrap();
        assert_eq!(narrow.scope.unwrap().repositories, ["a/*"], "the bounds of the token that it was made with stay");
    }
    bench.operator().set_password("bob", &"quite another password".into()).await.unwrap();
    bench.operator().set_disabled(PrincipalKind::User, "carol", true).await.unwrap();
    bench.operator().revoke_token(&made.info.id).await.unwrap();
    for access in [&bench.access, &replica] {
        access.refresh().await.unwrap();
        for (text, lives) in all.into_iter().zip([false, false, true, false, true]) {
            assert_eq!(sent(access, text, Some(SERVICE)).await.is_ok(), lives);
        }
    }
    bench.wait(299);
    assert!(sent(&bench.access, &dave, Some(SERVICE)).await.is_ok());
    bench.wait(1);
    let before = bench.audit().await.len();
    for text in [&dave, &nobody] {
        let refusal = sent(&bench.access, text, Some(SERVICE)).await.unwrap_err();
        assert!(refusal.status() == 401 && refusal.message().contains("expired"), "{refusal}");
    }
    assert_eq!(bench.audit().await.len(), before, "that a token ends is no news");
    assert!(bench.access.authenticate(Some(basic("dave", "dave's password")), &bench.facts).await.is_ok());
}
