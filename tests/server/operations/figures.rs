//! Figures, log lines and request ids say what happened, and nothing that is a secret.
#![cfg(test)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use entrepot_format_npm::testing::{manifest, publish_body, tarball};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::until;
use crate::raw::{self, Call};
use crate::support::{ADMIN_PASSWORD, TestServer};
use crate::upstream::{Reply, ScriptedUpstream};

const ALICE: &str = "alice-keeps-this-to-herself";
const UPSTREAM_PASSWORD: &str = "an-upstream-password";
const UPSTREAM_TOKEN: &str = "an-upstream-token";

async fn send(server: &TestServer, call: Call) -> raw::Reply {
    raw::send(server.address(), &call).await.unwrap()
}

/// The value of a series; 0 when there is none.
fn figure(metrics: &str, series: &str) -> f64 {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0.0)
}

async fn metrics(server: &TestServer) -> String {
    let reply = send(server, Call::get("/metrics")).await;
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8"));
    reply.text()
}

fn config(format: &str, upstream: &str) -> String {
    format!(
        r#"
[log]
format = "{format}"
level = "debug"
[[repository]]
name = "npm"
format = "npm"
tags = {{ visibility = "public" }}
[[repository]]
name = "files"
format = "generic"
tags = {{ visibility = "public" }}
[[repository]]
name = "hidden"
format = "generic"
[[repository]]
name = "by-password"
format = "generic"
kind = "proxy"
tags = {{ visibility = "public" }}
upstream = {{ url = "{upstream}/", username = "us", password = "{UPSTREAM_PASSWORD}", mutable_ttl = 0, retries = 0 }}
[[repository]]
name = "by-token"
format = "generic"
kind = "proxy"
tags = {{ visibility = "public" }}
upstream = {{ url = "{upstream}/", token = "{UPSTREAM_TOKEN}", retries = 0 }}
"#
    )
}

/// Does a bit of everything and gives the token that it made.
async fn busy(server: &TestServer, upstream: &ScriptedUpstream) -> String {
    let admin = server.admin();
    admin.json(Method::POST, "/api/v1/users", &json!({ "name": "alice", "password": ALICE })).await.is(201);
    let token = admin.create_token("busy", &[], &[]).await;

    let put = |name: &str| Call::put(format!("/main/files/{name}"), Bytes::from(vec![b'x'; 1000]));
    let reply = send(server, put("a").signed("admin", ADMIN_PASSWORD).with("X-Request-Id", "publish.1")).await;
    assert_eq!((reply.status, reply.header("x-request-id")), (StatusCode::CREATED, "publish.1"));
    assert_eq!(send(server, put("b").with_token(&token)).await.status, StatusCode::CREATED);
    let reply = send(server, put("c").with("X-Request-Id", "not <plain>")).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert!(reply.header("x-request-id").len() == 24 && !reply.header("x-request-id").contains('<'), "a new id is made for one that is not plain");
    let denied = put("c").signed("alice", ALICE).with("X-Request-Id", "denied.1");
    assert_eq!(send(server, denied).await.status, StatusCode::FORBIDDEN);
    assert_eq!(send(server, put("c").signed("alice", "a-wrong-password")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(send(server, put("c").with_token("a-wrong-token")).await.status, StatusCode::UNAUTHORIZED);
    for _ in 0..3 {
        assert_eq!(send(server, Call::get("/main/files/a?secret=a-secret-in-a-query")).await.body.len(), 1000);
    }
    assert_eq!(send(server, Call::new(Method::HEAD, "/main/files/a")).await.status, StatusCode::OK);
    assert_eq!(send(server, Call::get("/main/hidden/a")).await.status, StatusCode::UNAUTHORIZED);

    let manifest = manifest("left-pad", "1.0.0");
    let body = publish_body(&manifest, &tarball(&manifest), "latest").to_string();
    let publish = Call::put("/main/npm/left-pad", body).with("Content-Type", "application/json").with_token(&token).with("X-Request-Id", "publish.2");
    assert_eq!(send(server, publish).await.status, StatusCode::CREATED);
    for _ in 0..4 {
        let reply = send(server, Call::get("/main/npm/left-pad").with("X-Request-Id", "read.1")).await;
        assert_eq!((reply.status, reply.header("x-request-id")), (StatusCode::OK, "read.1"));
    }

    upstream.answer("/file", Reply::bytes("from afar").etag("\"1\""));
    upstream.answer("/broken", Reply::status(503));
    for (repository, path, status) in
        [("by-password", "file", 200), ("by-password", "file", 200), ("by-password", "no", 404), ("by-token", "file", 200), ("by-token", "broken", 503)]
    {
        assert_eq!(send(server, Call::get(format!("/main/{repository}/{path}"))).await.status, status, "{repository}/{path}");
    }
    let asked: Vec<_> = upstream.seen().iter().filter_map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    assert!(asked.contains(&format!("Bearer {UPSTREAM_TOKEN}")), "the upstream got its credentials: {asked:?}");

    let form = format!("name=alice&password={ALICE}");
    send(server, Call::post("/-/login/a-page-that-only-one-knows", form).with("Content-Type", "application/x-www-form-urlencoded")).await;
    let spare = admin.create_token("spare", &[], &[]).await;
    send(server, Call::new(Method::DELETE, format!("/main/npm/-/user/token/{spare}")).with_token(&spare)).await;
    spare + " " + &token
}

fn check_figures(text: &str) {
    let requests = |about: &str| figure(text, &format!("entrepot_http_requests_total{{{about}}}"));
    for (about, count) in [
        ("format=\"generic\",action=\"publish\",status=\"201\"", 2.0),
        // One was refused for its rights, by the route; wrong credentials are refused before there is one.
        ("format=\"generic\",action=\"publish\",status=\"401\"", 1.0),
        ("format=\"generic\",action=\"publish\",status=\"403\"", 1.0),
        ("format=\"none\",action=\"none\",status=\"401\"", 2.0),
        ("format=\"generic\",action=\"read\",status=\"401\"", 1.0),
        ("format=\"generic\",action=\"read\",status=\"200\"", 3.0 + 1.0 + 3.0),
        ("format=\"generic\",action=\"read\",status=\"404\"", 1.0),
        ("format=\"generic\",action=\"read\",status=\"503\"", 1.0),
        ("format=\"npm\",action=\"publish\",status=\"201\"", 1.0),
        ("format=\"npm\",action=\"read\",status=\"200\"", 4.0),
        ("format=\"api\",action=\"manage\",status=\"201\"", 3.0),
    ] {
        assert_eq!(requests(about), count, "{about} in\n{text}");
    }
    assert_eq!(figure(text, "entrepot_http_request_seconds_count{format=\"npm\",action=\"read\"}"), 4.0);
    assert_eq!(figure(text, "entrepot_http_request_seconds_bucket{format=\"npm\",action=\"read\",le=\"+Inf\"}"), 4.0);
    assert_eq!(figure(text, "entrepot_document_cache_misses_total"), 1.0);
    assert_eq!(figure(text, "entrepot_document_cache_hits_total"), 3.0);
    assert!(figure(text, "entrepot_http_received_bytes_total{format=\"generic\"}") >= 2000.0);
    assert!(figure(text, "entrepot_http_sent_bytes_total{format=\"generic\"}") >= 3000.0 + 27.0);
    for (outcome, count) in [("found", 2.0), ("unchanged", 1.0), ("missing", 1.0), ("unreachable", 1.0), ("refused", 0.0)] {
        assert_eq!(figure(text, &format!("entrepot_upstream_calls_total{{outcome=\"{outcome}\"}}")), count, "{outcome} in\n{text}");
    }
    assert_eq!(figure(text, "entrepot_upstream_seconds_count"), 5.0);
    // This very request, on a connection of its own.
    assert_eq!(figure(text, "entrepot_http_requests_running"), 1.0);
    assert!(figure(text, "entrepot_http_connections") >= 1.0);
    assert!(figure(text, "entrepot_catalog_connections") >= 4.0);
    for level in ["catalog_connections_used", "catalog_connections_waiting", "catalog_writes_waiting", "fills_running", "uploads_staged"] {
        assert!(text.contains(&format!("\nentrepot_{level} ")), "{level} is missing in\n{text}");
    }
    assert!(figure(text, "process_resident_memory_bytes") > 1e6 && figure(text, "process_start_time_seconds") > 1.7e9);
    assert_eq!(figure(text, &format!("entrepot_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
    let page = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations/running.md")).unwrap();
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}{{")), "the page about running the server does not name {name}");
    }
    for name in ["left-pad", "files", "by-password", "alice"] {
        let tells = |line: &str| !line.starts_with('#') && line.contains(name);
        assert!(!text.lines().any(tells), "{name} is a label in\n{text}");
    }
}

/// One publish, as the answer, the log, the history and the audit log know it.
async fn check_ids(server: &TestServer) {
    let history = server.admin().get("/api/v1/repositories/main/files/history").await.succeeded().json();
    let ids: Vec<_> = history["items"].as_array().unwrap().iter().map(|item| item["request_id"].as_str().unwrap().to_owned()).collect();
    assert!(ids.contains(&String::from("publish.1")), "{history}");
    let audit = server.admin().get("/api/v1/audit?principal=user:alice").await.succeeded().json();
    assert!(audit["items"].as_array().unwrap().iter().any(|line| line["request_id"] == "denied.1" && line["outcome"] == "denied"), "{audit}");
}

fn check_secrets(text: &str, what: &str, tokens: &str) {
    let encoded = |name: &str, password: &str| STANDARD.encode(format!("{name}:{password}"));
    let mut secrets: Vec<String> =
        [ADMIN_PASSWORD, ALICE, UPSTREAM_PASSWORD, UPSTREAM_TOKEN, "a-wrong-password", "a-wrong-token", "a-secret-in-a-query"].map(str::to_owned).to_vec();
    secrets.extend([("admin", ADMIN_PASSWORD), ("alice", ALICE), ("us", UPSTREAM_PASSWORD)].map(|(name, password)| encoded(name, password)));
    secrets.push(String::from("a-page-that-only-one-knows"));
    for token in tokens.split(' ') {
        secrets.push(token.to_owned());
        secrets.push(token.split('_').nth(2).unwrap().to_owned());
    }
    for secret in secrets {
        assert!(!text.contains(&secret), "{what} holds {secret}: {}", text.lines().find(|line| line.contains(&secret)).unwrap());
    }
}

async fn run(format: &str) -> TestServer {
    let upstream = ScriptedUpstream::start().await;
    let server = TestServer::builder().alone().config(config(format, &upstream.url())).start();
    let tokens = busy(&server, &upstream).await;
    let text = metrics(&server).await;
    check_figures(&text);
    check_ids(&server).await;
    check_secrets(&text, "/metrics", &tokens);
    until("the log tells the last request", async || server.log_lines(&["/api/v1/audit", "GET"]) > 0).await;
    check_secrets(&server.log(), "the log", &tokens);
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_told_in_text_without_a_secret() {
    let server = run("text").await;
    let has = |texts: &[&str], count: usize| assert_eq!(server.log_lines(texts), count, "{texts:?} in\n{}", server.log());
    has(
        &["request_id=\"publish.1\"", "method=PUT", "path=\"/main/files/a\"", "status=201", "received=1000", "principal=\"user:admin\"", "remote=127.0.0.1"],
        1,
    );
    has(&["request_id=\"denied.1\"", "status=403", "principal=\"user:alice\""], 1);
    has(&["entrepot::http:", "path=\"/main/files/a\"", "status=200", "bytes=1000", "whole=true"], 3);
    has(&["entrepot::http:", "method=HEAD", "bytes=0", "whole=true"], 1);
    has(&["entrepot::http:", "request_id=\"read.1\"", "route=\"npm.packument\""], 4);
    has(&["entrepot::http:", "path=\"/-/login/{page}\""], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_told_in_json_without_a_secret() {
    let server = run("json").await;
    let log = server.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"))).collect();
    let requests: Vec<_> = lines.iter().filter(|line| line["target"] == "entrepot::http").collect();
    let publish = requests.iter().find(|line| line["request_id"] == "publish.1").unwrap();
    for (field, value) in
        [("level", json!("INFO")), ("method", json!("PUT")), ("path", json!("/main/files/a")), ("status", json!(201)), ("received", json!(1000))]
    {
        assert_eq!(publish[field], value, "{field} of {publish}");
    }
    for line in requests {
        assert!(line["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
        assert!(line["milliseconds"].is_u64() && line["bytes"].is_u64() && line["remote"] == "127.0.0.1" && line["principal"].is_string(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_neighbours_and_administrators_see_the_figures() {
    let closed = TestServer::builder().alone().config("[metrics]\nnetworks = []\n").start();
    let admin = closed.admin();
    admin.json(Method::POST, "/api/v1/users", &json!({ "name": "alice", "password": ALICE })).await.is(201);
    let all = admin.create_token("all", &[], &[]).await;
    let reading = admin.create_token("reading", &[], &["read"]).await;
    let get = || Call::get("/metrics");
    for (call, status) in [
        (get(), 401),
        (get().signed("alice", ALICE), 403),
        (get().signed("admin", "not-the-password"), 401),
        (get().signed("admin", ADMIN_PASSWORD), 200),
        (get().with_token(&all), 200),
        (get().with_token(&reading), 403),
    ] {
        let reply = send(&closed, call.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{call:?}: {}", reply.text());
        assert_eq!(reply.text().contains("entrepot_http"), status == 200);
    }

    let open = TestServer::builder().alone().start();
    for (call, status) in [
        (get(), 200),
        // Somebody forwarded it whom nobody said to trust: a reverse proxy on this machine must not open the door to everybody.
        (get().with("X-Forwarded-For", "127.0.0.1"), 401),
        (get().with("Forwarded", "for=127.0.0.1"), 401),
    ] {
        assert_eq!(send(&open, call.clone()).await.status.as_u16(), status, "{call:?}");
    }

    let behind = TestServer::builder().alone().config("[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[metrics]\nnetworks = [\"10.0.0.0/8\"]\n").start();
    for (address, status) in [("10.1.2.3", 200), ("192.0.2.1", 401), ("10.1.2.3, 192.0.2.1", 401)] {
        assert_eq!(send(&behind, get().with("X-Forwarded-For", address)).await.status.as_u16(), status, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_told_with_what_it_got() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let upstream = ScriptedUpstream::start().await;
    // More than the system's buffers between two processes hold.
    upstream.answer("/file", Reply::bytes(vec![b'x'; 32 << 20]));
    let server = TestServer::builder().alone().config(config("text", &upstream.url())).start();
    let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET /main/by-token/file HTTP/1.1\r\nHost: x\r\nX-Request-Id: left.1\r\n\r\n").await.unwrap();
    stream.read_exact(&mut [0; 10_000]).await.unwrap();
    drop(stream);
    let has = async || server.log_lines(&["request_id=\"left.1\"", "principal=\"anonymous\"", "route=\"get\"", "status=200", "whole=false"]) == 1;
    until("the line of the client that left", has).await;
}
