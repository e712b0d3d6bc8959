//! Builds publish without a password: by uv's own exchange, and by the one that twine's users make before it.
#![cfg(test)]

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

use super::{Project, plain};
use crate::issuer::TestIssuer;
use crate::support::TestServer;
use crate::support::clients::{Home, PATIENCE};
use crate::support::process::{self, Output};

const AUDIENCE: &str = "packages.example";
const PAGE: &str = "/main/pypi/simple/acme-app/?format=application/vnd.pypi.simple.v1%2Bjson";

fn config(issuer: &TestIssuer, tls: &str) -> String {
    format!(
        r#"
[access]
audience = "{AUDIENCE}"
{tls}
[[repository]]
name = "pypi"
format = "pypi"
tags = {{ visibility = "public" }}

[[publisher]]
name = "app-release"
issuer = "{}"
allow_private = true
claims = {{ repository = "acme/app", environment = "release" }}
repository = "main/pypi"
packages = ["acme-app"]
"#,
        issuer.url()
    )
}

/// A certificate for 127.0.0.1, in files; gives that of its authority.
fn certificate(folder: &Path) -> String {
    let (own, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "an authority of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&own).unwrap();
    let server = CertificateParams::new(vec![String::from("127.0.0.1")]).unwrap().signed_by(&key, &Issuer::new(params, own)).unwrap();
    for (name, text) in [("chain.pem", server.pem()), ("key.pem", key.serialize_pem()), ("authority.pem", authority.pem())] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    authority.pem()
}

/// A command in a job of GitHub Actions that may ask for identity tokens.
fn in_a_job(home: &Home, tool: &str, folder: &Path, request_url: &str, arguments: &[&str]) -> Output {
    let mut command = home.python_command("python", tool, folder);
    command.args(arguments).env("GITHUB_ACTIONS", "true").env("SSL_CERT_FILE", home.path().join("authority.pem"));
    command.env("ACTIONS_ID_TOKEN_REQUEST_URL", request_url).env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "the-runner-s-own");
    process::run(command, PATIENCE)
}

/// uv asks over HTTPS only.
#[tokio::test(flavor = "multi_thread")]
async fn pypi_uv_publishes_by_its_identity_token() {
    let issuer = TestIssuer::start().await;
    let home = Home::new();
    let authority = certificate(home.path());
    let path = |name: &str| home.path().join(name).display().to_string();
    let tls = format!("[tls]\ncertificate = {:?}\nkey = {:?}\n", path("chain.pem"), path("key.pem"));
    let server = TestServer::builder().alone().config(config(&issuer, &tls)).start();
    let base = format!("https://{}", server.address());
    let publish = |project: &Project<'_>, token: &str| {
        let folder = home.built(project);
        let url = format!("{base}/main/pypi/legacy/");
        let arguments = ["publish", "--trusted-publishing", "always", "--publish-url", &url];
        tokio::task::block_in_place(|| in_a_job(&home, "uv", &folder, &issuer.gives(token), &arguments))
    };
    let first = issuer.token(AUDIENCE);
    publish(&plain("acme-app", "1.0"), &first).succeeded();
    assert!(issuer.server.seen_at("/token").iter().all(|seen| seen.target.contains(&format!("audience={AUDIENCE}"))), "{:?}", issuer.server.seen_at("/token"));
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([reqwest::Certificate::from_pem(authority.as_bytes()).unwrap()]).build().unwrap();
    let page: serde_json::Value = serde_json::from_str(&client.get(format!("{base}{PAGE}")).send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(page["files"].as_array().map(Vec::len), Some(2), "a wheel and a source distribution: {page}");

    let again = publish(&plain("acme-app", "1.1"), &first);
    assert!(!again.status.success() && again.stderr.contains("already used"), "{}", again.stderr);
    let mut claims = issuer.claims(AUDIENCE);
    claims["environment"] = json!("test");
    let elsewhere = publish(&plain("acme-app", "1.1"), &issuer.key.token(&claims));
    assert!(!elsewhere.status.success() && elsewhere.stderr.contains("no corresponding publisher"), "{}", elsewhere.stderr);
    let other = publish(&plain("other-app", "1.0"), &issuer.token(AUDIENCE));
    assert!(!other.status.success() && other.stderr.contains("acme-app in main/pypi"), "{}", other.stderr);
}

/// The exchange with Python's own library for identity tokens, and twine with what it gives.
#[tokio::test(flavor = "multi_thread")]
async fn pypi_twine_publishes_with_what_an_identity_token_is_exchanged_for() {
    let issuer = TestIssuer::start().await;
    let server = TestServer::builder().config(config(&issuer, "")).start();
    let home = Home::new();
    let discovery = server.url("/.well-known/pytp?discover=%2Fmain%2Fpypi%2Flegacy%2F");
    let script = format!(
        r#"
import requests, id
session = requests.Session()
session.trust_env = False
found = session.get({discovery:?}).json()
audience = session.get(found["audience-endpoint"]).json()["audience"]
answer = session.post(found["token-mint-endpoint"], json={{"token": id.detect_credential(audience)}})
assert answer.status_code == 200, answer.text
print(answer.json()["token"], end="")
"#
    );
    let folder = home.built(&plain("acme-app", "1.0"));
    let url = issuer.gives(&issuer.token(AUDIENCE));
    let exchanged = tokio::task::block_in_place(|| in_a_job(&home, "python", &folder, &url, &["-c", &script])).succeeded();
    let upload = |folder: &Path| {
        let url = server.url("/main/pypi/legacy/");
        let fixed = ["upload", "--repository-url", &url, "--username", "__token__", "--password", &exchanged.stdout, "--non-interactive"];
        home.twine(folder, &[&fixed[..], &["dist/*"]].concat())
    };
    upload(&folder).succeeded();
    // A build that is run again with the same files.
    upload(&folder).succeeded();
    let other = upload(&home.built(&plain("other-app", "1.0")));
    assert!(!other.status.success() && format!("{}{}", other.stdout, other.stderr).contains("403"), "{} {}", other.stdout, other.stderr);
    let page = server.anonymous().get(PAGE).await.succeeded().json();
    assert_eq!(page["files"].as_array().map(Vec::len), Some(2), "{page}");
    assert_eq!(server.anonymous().get("/main/pypi/simple/other-app/").await.status, 404);
    assert_eq!(server.log().matches(exchanged.stdout.as_str()).count(), 0);
}
