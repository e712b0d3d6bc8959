//! Trusted publishing: what an identity token of a platform is worth, and what it is not.
#![cfg(test)]

mod addresses;
mod declared;
mod issuers;
mod reach;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use entrepot::server::Options;
use entrepot_format_npm::testing::minimal_publish;
use entrepot_kit::{Kind, Timestamp};
use http::Method;
use serde_json::{Value, json};

use crate::house::{House, PASSWORD};
use crate::issuer::TestIssuer;
use crate::raw::{Call, Reply};

/// For whom identity tokens are made out.
const AUDIENCE: &str = "packages.example";
/// What every request of these tests could give away.
const SYSTEMS: [&str; 2] = ["alpha", "beta"];

/// A clock that the test turns forward.
#[derive(Clone, Default)]
struct Turned(Arc<AtomicI64>);

impl Turned {
    fn wait(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

fn options(turned: &Turned) -> impl Fn(&mut Options) + use<> {
    let turned = turned.clone();
    move |options| {
        let (turned, clock) = (turned.clone(), Arc::clone(&options.clock));
        options.access.audience = Some(AUDIENCE.to_owned());
        options.clock = Arc::new(move || Timestamp(clock().0 + turned.0.load(Ordering::Relaxed)));
    }
}

/// A server with private repositories of npm, plain files and images in two systems.
async fn furnished(turned: &Turned) -> House {
    let house = House::start_with(options(turned)).await;
    for system in SYSTEMS {
        for format in ["npm", "generic", "oci"] {
            house.repository(&format!("{system}/{format}"), format, Kind::Hosted, false, json!({})).await;
        }
    }
    house
}

impl House {
    async fn manage(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let call = Call::new(method, format!("/api/v1{path}")).signed("admin", PASSWORD);
        self.call(match body {
            Some(body) => Call { body: body.to_string().into(), ..call.with("Content-Type", "application/json") },
            None => call,
        })
        .await
    }

    /// Makes a publisher for builds of `acme/app`, changed as the test says.
    async fn publisher(&self, name: &str, issuer: &TestIssuer, repository: &str, packages: &[&str], change: impl FnOnce(&mut Value)) {
        let mut body = json!({
            "name": name, "issuer": issuer.url(), "allow_private": true, "claims": { "repository": "acme/app" },
            "repository": repository, "packages": packages,
        });
        change(&mut body);
        let reply = self.manage(Method::POST, "/publishers", Some(body)).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
    }

    /// Exchanges as Python's tools do.
    async fn mint(&self, token: &str) -> Reply {
        self.call(Call::post("/_/oidc/mint-token", json!({ "token": token }).to_string())).await
    }

    /// Exchanges as the management API does.
    async fn exchange(&self, body: Value) -> Reply {
        self.call(Call::post("/api/v1/publishers/token", body.to_string()).with("Content-Type", "application/json")).await
    }

    /// A token of ours for one of the issuer's.
    async fn given(&self, issuer: &TestIssuer) -> String {
        let reply = self.mint(&issuer.token(AUDIENCE)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["token"].as_str().expect("a token").to_owned()
    }

    /// Publishes a package as npm does, with a token.
    async fn publish_with(&self, token: &str, address: &str, name: &str, version: &str) -> Reply {
        let body = minimal_publish(name, version).to_string();
        let target = format!("/{address}/{}", name.replace('/', "%2f"));
        self.call(Call::put(target, body).with("Content-Type", "application/json").with_token(token)).await
    }
}

/// The code and the description of a refusal in the words of Python's index.
fn refused(reply: &Reply) -> String {
    assert_eq!(reply.status, 422, "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["message"], "Token request failed");
    assert!(body["errors"][0]["description"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    body["errors"][0]["code"].as_str().expect("a code").to_owned()
}
