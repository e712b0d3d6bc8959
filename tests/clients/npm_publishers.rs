//! npm publishes from a build without a password: its own exchange of the platform's identity token.
#![cfg(test)]

use std::path::Path;

use serde_json::json;

use crate::issuer::TestIssuer;
use crate::support::TestServer;
use crate::support::clients::{Home, PATIENCE};
use crate::support::process::{self, Output};

/// `npm publish` as a job of GitHub Actions that may ask for identity tokens.
fn publish(home: &Home, folder: &Path, request_url: &str) -> Output {
    let mut command = home.command("npm", folder);
    command.args(["publish", "--loglevel", "verbose"]).env("GITHUB_ACTIONS", "true");
    command.env("ACTIONS_ID_TOKEN_REQUEST_URL", request_url).env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "the-runner-s-own");
    process::run(command, PATIENCE)
}

fn config(issuer: &TestIssuer) -> String {
    format!(
        r#"
[access]
audience = "packages.example"
[log]
level = "entrepot=trace,info"

[[repository]]
name = "npm"
format = "npm"
tags = {{ visibility = "public" }}

[[publisher]]
name = "app-release"
issuer = "{}"
allow_private = true
audience = ["npm:127.0.0.1"]
claims = {{ repository = "acme/app", ref = ["refs/heads/main", "refs/tags/v*"] }}
repository = "main/npm"
packages = ["@acme/*"]
"#,
        issuer.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_publishes_by_its_identity_token() {
    let issuer = TestIssuer::start().await;
    let server = TestServer::builder().config(config(&issuer)).start();
    let home = Home::new();
    home.npm_registry(&server.url("/main/npm/"), None);
    let mut tokens = Vec::new();
    // Once for each run: a token is exchanged once.
    for version in ["1.0.0", "1.1.0"] {
        let token = issuer.token("npm:127.0.0.1");
        let folder = home.package("@acme/app", version);
        let (url, place) = (issuer.gives(&token), &folder);
        tokio::task::block_in_place(|| publish(&home, place, &url)).succeeded();
        tokens.push(token);
    }
    let asked = issuer.server.seen_at("/token");
    assert!(asked.len() == 2 && asked[0].target.contains("audience=npm%3A127.0.0.1"), "{asked:?}");
    assert_eq!(asked[0].header("authorization"), Some("Bearer the-runner-s-own"));
    let packument = server.anonymous().get("/main/npm/@acme%2fapp").await.succeeded().json();
    assert_eq!(packument["dist-tags"]["latest"], "1.1.0");
    let history = server.admin().get("/api/v1/repositories/main/npm/history").await.succeeded().text();
    assert!(history.contains("workload:app-release"), "{history}");

    // Another package, the same token again, another branch: npm then has no credentials.
    let used = tokens[0].clone();
    let mut claims = issuer.claims("npm:127.0.0.1");
    claims["ref"] = json!("refs/heads/other");
    let branch = issuer.key.token(&claims);
    for (package, token) in [("other", issuer.token("npm:127.0.0.1")), ("@acme/app", used), ("@acme/app", branch)] {
        let folder = home.package(package, "2.0.0");
        let (url, place) = (issuer.gives(&token), &folder);
        let output = tokio::task::block_in_place(|| publish(&home, place, &url));
        assert!(!output.status.success() && output.stderr.contains("ENEEDAUTH"), "{package}: {}", output.stderr);
        tokens.push(token);
    }
    assert_eq!(server.anonymous().get("/main/npm/other").await.status, 404);

    let log = server.log();
    assert!(log.contains("publishers-npm") || log.contains("/-/npm/v1/oidc"), "the exchange is in the log:\n{log}");
    for token in &tokens {
        let (statement, signature) = token.rsplit_once('.').unwrap();
        for secret in [signature, statement.split('.').nth(1).unwrap()] {
            assert!(!log.contains(secret.get(..40).unwrap()), "an identity token is in the log");
        }
    }
    let given = log.split("ent_").skip(1).filter(|rest| rest.as_bytes().get(12) == Some(&b'_') && !rest.get(13..).unwrap().starts_with("***"));
    assert_eq!(given.count(), 0, "a token of ours is in the log");
}
