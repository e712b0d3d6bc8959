//! The addresses at which clients look for an exchange, and what they tell strangers.

use entrepot_kit::Address;
use http::Method;
use serde_json::json;

use super::{AUDIENCE, Turned, furnished, options, refused};
use crate::house::House;
use crate::issuer::TestIssuer;
use crate::raw::{Call, Reply};

const NPM: &str = "/-/npm/v1/oidc/token/exchange/package";

async fn npm(house: &House, path: &str, token: &str) -> Reply {
    house.call(Call::post(path, "").with_token(token)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn python_s_tools_find_what_they_need() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.publisher("app", &issuer, "alpha/npm", &["app"], |_| {}).await;
    for path in ["/_/oidc/audience", "/_/oidc/alpha/npm/audience", "/_/oidc/no/thing/audience"] {
        let reply = house.call(Call::get(path)).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (200, json!({ "audience": AUDIENCE })), "{path}");
    }
    for (discover, below) in [("%2Falpha%2Fnpm%2Flegacy%2F", "alpha/npm"), ("/alpha/npm/", "alpha/npm"), ("%2Fno%2Fthing", "no/thing")] {
        let reply = house.call(Call::get(format!("/.well-known/pytp?discover={discover}"))).await;
        let base = format!("http://{}/_/oidc/{below}", house.host);
        let expected = json!({
            "audience-endpoint": format!("{base}/audience"), "token-mint-endpoint": format!("{base}/mint-token"),
            "features": ["multi-use-token"], "default-features": ["multi-use-token"],
        });
        assert_eq!((reply.status.as_u16(), reply.json()), (200, expected), "{discover}");
        assert_eq!(reply.header("Content-Type"), "application/json");
    }
    for nothing in ["", "?discover=", "?discover=%2F", "?discover=%2Falpha%2F", "?discover=%2FALPHA%2Fnpm%2F", "?discover=..%2F..%2Fx", "?discover=%2Fa%2Fb%22"]
    {
        let reply = house.call(Call::get(format!("/.well-known/pytp{nothing}"))).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (404, ""), "{nothing}");
    }
    let mint = async |path: &str, body: String| house.call(Call::post(path, body)).await;
    let body = |token: String| json!({ "token": token }).to_string();
    let reply = mint("/_/oidc/alpha/npm/mint-token", body(issuer.token(AUDIENCE))).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["success"]), (200, &json!(true)), "{}", reply.text());
    assert_eq!(reply.header("Cache-Control"), "no-store");
    let featured = json!({ "token": issuer.token(AUDIENCE), "features": ["multi-use-token"] }).to_string();
    assert_eq!(mint("/_/oidc/mint-token", featured).await.status, 200);
    let single = json!({ "token": issuer.token(AUDIENCE), "features": ["single-use-token"] }).to_string();
    for payload in [single, String::new(), String::from("{}"), String::from("[]"), String::from("{\"token\": 1}"), String::from("token")] {
        assert_eq!(refused(&mint("/_/oidc/mint-token", payload.clone()).await), "invalid-payload", "{payload}");
    }
    assert_eq!(mint("/_/oidc/mint-token", "x".repeat(70_000)).await.status, 413);
    for (method, path) in [(Method::GET, "/_/oidc/mint-token"), (Method::POST, "/_/oidc/audience"), (Method::PUT, "/.well-known/pytp")] {
        assert!(house.call(Call::new(method.clone(), path)).await.status.is_client_error(), "{method} {path}");
    }
}

/// npm asks at the root, whatever the registry's path; what it gets is for the one package.
#[tokio::test(flavor = "multi_thread")]
async fn npm_finds_what_it_needs() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.publisher("app", &issuer, "alpha/npm", &["@acme/*", "app"], |_| {}).await;
    for path in [
        format!("{NPM}/@acme%2fapp"),
        format!("{NPM}/@acme%2Fapp"),
        format!("{NPM}/@acme/app"),
        format!("{NPM}/%40acme%2fapp"),
        format!("/alpha/npm{NPM}/@acme%2fapp"),
    ] {
        let reply = npm(&house, &path, &issuer.token(&format!("npm:{AUDIENCE}"))).await;
        assert_eq!(reply.status, 201, "{path}: {}", reply.text());
        let token = reply.json()["token"].as_str().unwrap().to_owned();
        let version = format!("1.0.{}", house.head("alpha/npm"));
        assert_eq!(house.publish_with(&token, "alpha/npm", "@acme/app", &version).await.status, 201);
        assert_eq!(house.publish_with(&token, "alpha/npm", "@acme/other", "1.0.0").await.status, 403, "it was asked for the other one");
    }
    for path in [
        format!("{NPM}/other"),
        format!("{NPM}/acme/app"),
        format!("{NPM}/"),
        format!("{NPM}/@acme%252fapp"),
        format!("{NPM}/%00"),
        format!("/beta/npm{NPM}/app"),
        format!("/no/thing{NPM}/app"),
        format!("/NO/thing{NPM}/app"),
    ] {
        let reply = npm(&house, &path, &issuer.token(AUDIENCE)).await;
        assert_eq!(reply.status, 401, "{path}: {}", reply.text());
        assert!(reply.json()["message"].as_str().is_some_and(|message| message.contains("no corresponding publisher")), "{path}: {}", reply.text());
    }
    for call in [Call::post(format!("{NPM}/app"), ""), Call::post(format!("{NPM}/app"), "").signed("alpha-owner", crate::house::PASSWORD)] {
        assert_eq!(house.call(call).await.status, 401);
    }
}

/// Whether there is a repository, a package or a publisher shows to nobody without a token that is good for it.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_learn_nothing() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.publisher("app", &issuer, "alpha/npm", &["app"], |_| {}).await;
    assert_eq!(crate::access::publish(&house, "alpha-owner", "alpha/npm", "app", "1.0.0").await.status, 201);
    // A good token of a build that no publisher is for, a forged one, and none.
    let mut claims = issuer.claims(AUDIENCE);
    claims["repository"] = json!("stranger/app");
    let forged = crate::issuer::Key::ec("rsa-1").token(&issuer.claims(AUDIENCE));
    for token in [issuer.key.token(&claims), forged, String::from("x")] {
        let mut seen = Vec::new();
        for address in ["alpha/npm", "alpha/xyz", "xalph/npm"] {
            for package in ["app", "zzz"] {
                let reply = npm(&house, &format!("/{address}{NPM}/{package}"), &token).await;
                let other = npm(&house, &format!("{NPM}/{package}"), &token).await;
                let minted = house.call(Call::post(format!("/_/oidc/{address}/mint-token"), json!({ "token": token }).to_string())).await;
                seen.push([reply, other, minted].map(|reply| crate::access::comparable(&reply, address, "")));
            }
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
    }
}

/// A host of its own is its repository's, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_its_own_names_the_repository() {
    let issuer = TestIssuer::start().await;
    let common = options(&Turned::default());
    let house = House::start_with(move |options| {
        common(options);
        options.http.hosts.insert(String::from("127.0.0.1"), Address::parse("alpha/npm").unwrap());
    })
    .await;
    for address in ["alpha/npm", "beta/npm"] {
        house.repository(address, "npm", entrepot_kit::Kind::Hosted, false, json!({})).await;
        house.publisher(&address.replace('/', "-"), &issuer, address, &["app"], |_| {}).await;
    }
    // Two publishers are for it: the host says which.
    let token = house.given(&issuer).await;
    let body = entrepot_format_npm::testing::minimal_publish("app", "1.0.0").to_string();
    let reply = house.call(Call::put("/app", body).with("Content-Type", "application/json").with_token(&token)).await;
    assert_eq!((reply.status.as_u16(), house.head("alpha/npm")), (201, 1), "{}", reply.text());
    assert_eq!(npm(&house, &format!("{NPM}/app"), &issuer.token(AUDIENCE)).await.status, 201);
    let discovered = house.call(Call::get("/.well-known/pytp?discover=%2Flegacy%2F")).await.json();
    assert_eq!(discovered["token-mint-endpoint"], format!("http://{}/_/oidc/mint-token", house.host));
}

/// Without a name of its own the server has no audience: it says so, and takes what publishers name.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_name_says_so() {
    let (house, issuer) = (House::start().await, TestIssuer::start().await);
    house.repository("alpha/npm", "npm", entrepot_kit::Kind::Hosted, false, json!({})).await;
    let reply = house.call(Call::get("/_/oidc/audience")).await;
    assert!(reply.status == 403 && reply.json()["errors"][0]["code"] == "not-enabled", "{}", reply.text());
    assert_eq!(house.call(Call::get("/.well-known/pytp?discover=%2Falpha%2Fnpm%2F")).await.status, 404);
    house.publisher("app", &issuer, "alpha/npm", &["app"], |body| body["audience"] = json!(["npm:127.0.0.1"])).await;
    // The name that a client calls the server by is not believed.
    let host = house.host.clone();
    assert_eq!(refused(&house.mint(&issuer.token(&host)).await), "invalid-token");
    assert_eq!(house.mint(&issuer.token("npm:127.0.0.1")).await.status, 200);
}
