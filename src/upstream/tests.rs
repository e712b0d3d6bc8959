//! Every rule of fetching, against a scripted upstream over the real network stack.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use tokio::time::Instant;

mod sign_in;

use super::breaker::Tolerance;
use super::client::Tuning;
use super::scripted::{Gate, Reply, ScriptedUpstream};
use super::{Fetch, Fetched, Target, Trust, Upstream, UpstreamError, UpstreamSettings};

const DECLARED: Trust = Trust { declared: true };
const FROM_API: Trust = Trust { declared: false };

fn settings(url: &str, more: serde_json::Value) -> UpstreamSettings {
    let mut all = json!({"url": url, "read_timeout": 1, "connect_timeout": 1});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

/// A declared upstream with short waits.
fn client(url: &str, more: serde_json::Value) -> Upstream {
    let tolerance = Tolerance { failures: 5, first: Duration::from_millis(300), longest: Duration::from_secs(1) };
    let tuning = Tuning { tolerance, backoff: Duration::from_millis(5), ..Tuning::default() };
    Upstream::tuned(settings(url, more), DECLARED, tuning).unwrap()
}

async fn get(upstream: &Upstream, path: &str) -> Result<Fetched, UpstreamError> {
    upstream.fetch(&Fetch::get(Target::Path(path))).await
}

/// Everything that arrived, and how it ended.
async fn drain(mut fetched: Fetched) -> (Vec<u8>, Result<(), StatusCode>) {
    let mut bytes = Vec::new();
    while let Some(item) = fetched.body.next().await {
        match item {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(error) => {
                assert!(fetched.body.next().await.is_none(), "nothing comes after an error");
                return (bytes, Err(error.status()));
            }
        }
    }
    (bytes, Ok(()))
}

/// The refusal or failure; `Fetched` itself has no `Debug`.
fn failure(result: Result<Fetched, UpstreamError>) -> UpstreamError {
    match result {
        Ok(fetched) => panic!("answered {} from {}", fetched.status, fetched.url),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_file_arrives_with_what_is_said_about_it() {
    let server = ScriptedUpstream::start().await;
    server.answer(
        "/npm/a.tgz",
        Reply::bytes("hello").etag("\"1\"").header("Last-Modified", "Mon, 23 Nov 2026 12:00:00 GMT").header("Content-Type", "application/x-tgz"),
    );
    let upstream = client(&format!("{}/npm", server.url()), json!({"token": "t0ken"}));
    let fetched = get(&upstream, "a.tgz").await.unwrap();
    assert_eq!((fetched.status, fetched.length, fetched.etag.as_deref()), (StatusCode::OK, Some(5), Some("\"1\"")));
    assert_eq!((fetched.last_modified.as_deref(), fetched.content_type.as_deref()), (Some("Mon, 23 Nov 2026 12:00:00 GMT"), Some("application/x-tgz")));
    assert_eq!((fetched.content_encoding.as_deref(), fetched.url.as_str()), (None, format!("{}/npm/a.tgz", server.url()).as_str()));
    assert_eq!(drain(fetched).await, (b"hello".to_vec(), Ok(())));
    let seen = server.seen_at("/npm/a.tgz").pop().unwrap();
    assert_eq!((seen.header("authorization"), seen.header("accept-encoding")), (Some("Bearer t0ken"), Some("identity")));
    assert!(seen.header("user-agent").unwrap().starts_with("entrepot/"));

    let head = upstream.fetch(&Fetch { method: Method::HEAD, ..Fetch::get(Target::Path("a.tgz")) }).await.unwrap();
    assert_eq!(head.length, Some(5));
    assert_eq!(drain(head).await, (Vec::new(), Ok(())));
}

#[tokio::test]
async fn unchanged_and_missing_are_answers() {
    let server = ScriptedUpstream::start().await;
    server.answer("/a", Reply::bytes("hello").etag("\"1\""));
    server.answer("/odd", Reply::bytes("").with_status(304));
    server.answer("/gone", Reply::status(410));
    let upstream = client(&server.url(), json!({}));
    let unchanged = upstream.fetch(&Fetch { etag: Some("\"1\""), ..Fetch::get(Target::Path("a")) }).await.unwrap();
    assert_eq!((unchanged.status, unchanged.etag.as_deref()), (StatusCode::NOT_MODIFIED, Some("\"1\"")));
    assert_eq!(drain(unchanged).await, (Vec::new(), Ok(())));
    let changed =
        upstream.fetch(&Fetch { etag: Some("\"0\""), last_modified: Some("Mon, 23 Nov 2026 12:00:00 GMT"), ..Fetch::get(Target::Path("a")) }).await.unwrap();
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(server.seen_at("/a").pop().unwrap().header("if-modified-since"), Some("Mon, 23 Nov 2026 12:00:00 GMT"));
    assert_eq!(get(&upstream, "none").await.unwrap().status, StatusCode::NOT_FOUND);
    assert_eq!(get(&upstream, "gone").await.unwrap().status, StatusCode::GONE);
    assert!(matches!(failure(get(&upstream, "odd").await), UpstreamError::BadAnswer(_)), "304 without a condition");
}

#[tokio::test]
async fn the_first_bytes_come_before_the_last() {
    let server = ScriptedUpstream::start().await;
    let gate = Gate::shut();
    server.answer("/big", Reply::bytes(vec![7; 100_000]).held_after(1000, &gate));
    let mut fetched = get(&client(&server.url(), json!({})), "big").await.unwrap();
    let first = fetched.body.next().await.unwrap().unwrap();
    assert!(!first.is_empty() && first.len() <= 1000);
    gate.open();
    let (rest, end) = drain(fetched).await;
    assert_eq!((first.len() + rest.len(), end), (100_000, Ok(())));
}

#[tokio::test]
async fn a_body_that_is_not_whole_never_ends_cleanly() {
    let server = ScriptedUpstream::start().await;
    server.answer("/cut", Reply::bytes("hello world").cut_after(5));
    server.answer("/claims", Reply::bytes("hello").claiming(500));
    server.answer("/chunked", Reply::bytes("hello world").chunked().cut_after(5));
    server.answer("/stalls", Reply::bytes("hello world").held_after(5, &Gate::shut()));
    let upstream = client(&server.url(), json!({}));
    for path in ["cut", "claims", "chunked", "stalls"] {
        let begun = Instant::now();
        let (bytes, end) = drain(get(&upstream, path).await.unwrap()).await;
        assert_eq!((bytes.as_slice(), end), (&b"hello"[..], Err(StatusCode::SERVICE_UNAVAILABLE)), "{path}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{path}");
    }
}

#[tokio::test]
async fn more_than_announced_is_never_taken() {
    let server = ScriptedUpstream::start().await;
    server.answer("/long", Reply::bytes("hello world").claiming(5));
    let (bytes, _) = drain(get(&client(&server.url(), json!({})), "long").await.unwrap()).await;
    assert_eq!(bytes, b"hello", "the client library ends the body where it was announced to end");
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_announced_or_not() {
    let server = ScriptedUpstream::start().await;
    server.answer("/announced", Reply::bytes(vec![0; 101]));
    server.answer("/surprise", Reply::bytes(vec![0; 101]).chunked().paced(50, Duration::from_millis(1)));
    server.answer("/fits", Reply::bytes(vec![0; 100]).chunked());
    let upstream = client(&server.url(), json!({"max_size": 100}));
    let UpstreamError::BadAnswer(message) = failure(get(&upstream, "announced").await) else { panic!() };
    assert!(message.contains("max_size"), "{message}");
    let (bytes, end) = drain(get(&upstream, "surprise").await.unwrap()).await;
    assert!(bytes.len() <= 100);
    assert_eq!(end, Err(StatusCode::BAD_GATEWAY));
    assert_eq!(drain(get(&upstream, "fits").await.unwrap()).await.1, Ok(()));
}

#[tokio::test]
async fn a_dripping_body_is_given_up_even_within_the_read_timeout() {
    let server = ScriptedUpstream::start().await;
    server.answer("/drip", Reply::bytes(vec![0; 1000]).paced(1, Duration::from_millis(20)));
    let tuning = Tuning { window: Duration::from_millis(200), least: 1000, ..Tuning::default() };
    let upstream = Upstream::tuned(settings(&server.url(), json!({})), DECLARED, tuning).unwrap();
    let (bytes, end) = drain(get(&upstream, "drip").await.unwrap()).await;
    assert!(bytes.len() < 500);
    assert_eq!(end, Err(StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn credentials_and_secrets_of_the_caller_stay_at_the_upstreams_own_origin() {
    let (server, other) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    server.answer("/own", Reply::redirect("/target"));
    server.answer("/target", Reply::bytes("own"));
    server.answer("/away", Reply::redirect(format!("{}/file?X-Signature=s1gned", other.url())));
    other.answer("/file", Reply::bytes("away"));
    other.answer("/back", Reply::redirect(format!("{}/target", server.url())));
    server.answer("/round", Reply::redirect(format!("{}/back", other.url())));
    let upstream = client(&server.url(), json!({"username": "u", "password": "hunter2", "allow_private": true}));
    let mut headers = HeaderMap::new();
    for (name, value) in [("authorization", "Bearer of-the-client"), ("cookie", "a=b"), ("npm-session", "1"), ("range", "bytes=0-")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for path in ["own", "away", "round"] {
        let fetched = upstream.fetch(&Fetch { headers: headers.clone(), ..Fetch::get(Target::Path(path)) }).await.unwrap();
        assert_eq!(fetched.status, StatusCode::OK);
        assert!(!fetched.url.contains("s1gned"), "{}", fetched.url);
    }
    assert_eq!(server.count("/target"), 2);
    for seen in server.seen() {
        assert_eq!(seen.header("authorization"), Some("Basic dTpodW50ZXIy"), "{}", seen.target);
        assert_eq!((seen.header("cookie"), seen.header("npm-session")), (None, Some("1")));
    }
    assert_eq!(other.seen().len(), 2);
    for seen in other.seen() {
        assert_eq!((seen.header("authorization"), seen.header("cookie"), seen.header("npm-session")), (None, None, None), "{}", seen.target);
        assert_eq!(seen.header("range"), Some("bytes=0-"));
    }
    // A link in a document is no redirect, and the same holds.
    let url = format!("{}/file", other.url());
    upstream.fetch(&Fetch::get(Target::Url(&url))).await.unwrap();
    assert_eq!(other.seen().pop().unwrap().header("authorization"), None);
}

#[tokio::test]
async fn nothing_leads_into_the_private_network_of_the_server() {
    let (server, inside) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    inside.answer("/secret", Reply::bytes("secret"));
    let port = inside.url().rsplit(':').next().unwrap().to_owned();
    let places = [
        format!("http://127.0.0.1:{port}/secret"),
        format!("http://localhost:{port}/secret"),
        format!("http://2130706433:{port}/secret"),
        format!("http://[::ffff:127.0.0.1]:{port}/secret"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("http://user:pw@127.0.0.1:{port}/secret"),
    ];
    let upstream = client(&server.url(), json!({"retries": 0}));
    for place in &places {
        server.answer("/redirect", Reply::redirect(place.clone()));
        for target in [Target::Path("redirect"), Target::Url(place)] {
            let error = failure(upstream.fetch(&Fetch::get(target)).await);
            assert!(matches!(error, UpstreamError::Refused(_)), "{place}: {error:?}");
            let told = entrepot_kit::Error::from(error);
            assert_eq!(told.status(), StatusCode::BAD_GATEWAY);
            assert!(!told.message().contains("127.0.0.1"), "clients do not learn inner addresses: {}", told.message());
        }
    }
    assert_eq!(inside.seen().len(), 0);
    // Allowed by the operator it works; the metadata service never does.
    let upstream = client(&server.url(), json!({"retries": 0, "allow_private": true}));
    for place in &places[..2] {
        assert_eq!(upstream.fetch(&Fetch::get(Target::Url(place))).await.unwrap().status, StatusCode::OK, "{place}");
    }
    assert!(matches!(failure(upstream.fetch(&Fetch::get(Target::Url(&places[4]))).await), UpstreamError::Refused(_)));
}

#[tokio::test]
async fn a_private_upstream_must_be_declared_or_allowed() {
    let server = ScriptedUpstream::start().await;
    server.answer("/a", Reply::bytes("hello"));
    assert!(Upstream::new(settings(&server.url(), json!({})), FROM_API).unwrap_err().message().contains("allow_private"));
    let by_name = server.url().replace("127.0.0.1", "localhost");
    let upstream = Upstream::new(settings(&by_name, json!({})), FROM_API).unwrap();
    assert!(matches!(failure(get(&upstream, "a").await), UpstreamError::Refused(_)));
    let allowed = Upstream::new(settings(&by_name, json!({"allow_private": true})), FROM_API).unwrap();
    assert_eq!(get(&allowed, "a").await.unwrap().status, StatusCode::OK);
    let declared = Upstream::new(settings(&by_name, json!({})), DECLARED).unwrap();
    assert_eq!(get(&declared, "a").await.unwrap().status, StatusCode::OK);
    for url in ["http://169.254.169.254/", "http://0.0.0.0/"] {
        assert!(Upstream::new(settings(url, json!({"allow_private": true})), DECLARED).is_err(), "{url}");
    }
    assert!(Upstream::new(settings(&by_name, json!({"proxy": "http://127.0.0.1:1"})), FROM_API).is_err(), "a proxy is a place as well");
}

#[tokio::test]
async fn redirects_have_an_end() {
    let server = ScriptedUpstream::start().await;
    server.answer("/circle", Reply::redirect("/circle2"));
    server.answer("/circle2", Reply::redirect("/circle"));
    for step in 0..7 {
        server.answer(&format!("/step{step}"), Reply::redirect(format!("/step{}", step + 1)));
    }
    server.answer("/step7", Reply::bytes("end"));
    server.answer("/nowhere", Reply::status(302));
    let upstream = client(&server.url(), json!({}));
    for (path, expected) in [("circle", "circle"), ("step0", "5 times"), ("nowhere", "where to")] {
        let UpstreamError::BadAnswer(message) = failure(get(&upstream, path).await) else { panic!("{path}") };
        assert!(message.contains(expected), "{path}: {message}");
    }
    assert_eq!(get(&upstream, "step2").await.unwrap().status, StatusCode::OK, "five are allowed");
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let server = ScriptedUpstream::start().await;
    server.answer_in_turn("/flaky", [Reply::status(503), Reply::status(500), Reply::bytes("hello")]);
    server.answer_in_turn("/post", [Reply::status(503), Reply::bytes("hello")]);
    server.answer("/down", Reply::status(500));
    let upstream = client(&server.url(), json!({}));
    assert_eq!(drain(get(&upstream, "flaky").await.unwrap()).await.0, b"hello");
    assert!(matches!(failure(get(&upstream, "down").await), UpstreamError::Unreachable { .. }));
    assert_eq!(server.count("/down"), 3);
    let post = Fetch { method: Method::POST, body: Bytes::from_static(b"{}"), ..Fetch::get(Target::Path("post")) };
    assert!(matches!(failure(upstream.fetch(&post).await), UpstreamError::Unreachable { .. }));
    assert_eq!(server.seen_at("/post").len(), 1, "a POST is sent once");
    assert_eq!(&*server.seen_at("/post")[0].body, b"{}");
}

#[tokio::test]
async fn retry_after_is_honoured_within_patience() {
    let server = ScriptedUpstream::start().await;
    let upstream = client(&server.url(), json!({}));
    server.answer_in_turn("/soon", [Reply::status(429).header("Retry-After", "1"), Reply::bytes("hello")]);
    let begun = Instant::now();
    assert_eq!(get(&upstream, "soon").await.unwrap().status, StatusCode::OK);
    assert!(begun.elapsed() >= Duration::from_secs(1));

    let dated = Reply::status(429).header("Date", "Mon, 23 Nov 2026 12:00:00 GMT").header("Retry-After", "Mon, 23 Nov 2026 12:00:40 GMT");
    for (reply, expected) in [(Reply::status(503).header("Retry-After", "90"), 90), (dated, 40), (Reply::status(429).header("Retry-After", "999999999"), 3600)]
    {
        server.answer("/later", reply);
        let begun = Instant::now();
        let error = failure(upstream.fetch(&Fetch { patience: Duration::from_secs(2), ..Fetch::get(Target::Path("later")) }).await);
        assert!(begun.elapsed() < Duration::from_secs(1), "a wait beyond patience is not begun");
        let UpstreamError::Unreachable { retry_after, .. } = error else { panic!("{error:?}") };
        assert_eq!(retry_after, expected);
        assert_eq!(entrepot_kit::Error::from(error).retry_after(), Some(expected));
    }
}

#[tokio::test]
async fn patience_bounds_all_tries_together() {
    let server = ScriptedUpstream::start().await;
    server.answer("/slow", Reply::bytes("late").delayed(Duration::from_secs(30)));
    let upstream = client(&server.url(), json!({"read_timeout": 20}));
    let begun = Instant::now();
    let error = failure(upstream.fetch(&Fetch { patience: Duration::from_millis(200), ..Fetch::get(Target::Path("slow")) }).await);
    assert!(matches!(error, UpstreamError::Unreachable { .. }) && begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_left_alone_and_found_again() {
    let server = ScriptedUpstream::start().await;
    server.answer("/a", Reply::bytes("hello"));
    let upstream = client(&server.url(), json!({"retries": 0}));
    assert_eq!(get(&upstream, "a").await.unwrap().status, StatusCode::OK);
    server.stop().await;
    for _ in 0..5 {
        let UpstreamError::Unreachable { cause, .. } = failure(get(&upstream, "a").await) else { panic!() };
        assert!(!cause.contains("left alone"), "{cause}");
    }
    let UpstreamError::Unreachable { cause, retry_after, .. } = failure(get(&upstream, "a").await) else { panic!() };
    assert!(cause.contains("left alone") && retry_after == 1, "{cause}");
    server.start_again().await;
    assert!(get(&upstream, "a").await.is_err(), "not before its time");
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(get(&upstream, "a").await.unwrap().status, StatusCode::OK);
    assert_eq!(server.count("/a"), 2, "nothing was sent while it was open");
}

#[tokio::test]
async fn refused_credentials_are_explained_and_not_shown() {
    let server = ScriptedUpstream::start().await;
    for status in [401, 403] {
        server.answer("/a", Reply::status(status).header("WWW-Authenticate", "Bearer realm=\"http://169.254.169.254/token\""));
        for (more, expected) in [(json!({"username": "u", "password": "hunter2"}), "check the credentials"), (json!({}), "may want credentials")] {
            let upstream = client(&server.url(), more);
            assert!(!format!("{upstream:?}").contains("hunter2") && !format!("{upstream:?}").contains("dTpodW50ZXIy"));
            let error = failure(get(&upstream, "a").await);
            let message = entrepot_kit::Error::from(error.clone()).message().to_owned();
            assert!(matches!(error, UpstreamError::BadAnswer(_)) && message.contains(expected) && !message.contains("hunter2"), "{message}");
        }
    }
    assert_eq!(server.seen().len(), 4, "asked once each, and no realm is believed");
}

#[tokio::test]
async fn documents_are_unpacked_within_a_bound() {
    let server = ScriptedUpstream::start().await;
    server.answer("/plain", Reply::bytes("hello"));
    server.answer("/gzip", Reply::bytes("hello").gzip());
    server.answer("/bomb", Reply::bytes(vec![0; 1 << 20]).gzip());
    server.answer("/fake", Reply::bytes("hello").header("Content-Encoding", "gzip"));
    server.answer("/br", Reply::bytes("hello").header("Content-Encoding", "br"));
    server.answer("/cut", Reply::bytes("hello").cut_after(2));
    let upstream = client(&server.url(), json!({}));
    let document = async |path| upstream.fetch(&Fetch { gzip: true, ..Fetch::get(Target::Path(path)) }).await.unwrap().document(4096).await;
    assert_eq!(document("plain").await, Ok(Bytes::from_static(b"hello")));
    assert_eq!(document("gzip").await, Ok(Bytes::from_static(b"hello")));
    assert_eq!(server.seen_at("/gzip")[0].header("accept-encoding"), Some("gzip"));
    for path in ["bomb", "fake", "br"] {
        assert!(matches!(document(path).await, Err(UpstreamError::BadAnswer(_))), "{path}");
    }
    assert!(matches!(document("cut").await, Err(UpstreamError::Unreachable { .. })));
    assert_eq!(get(&upstream, "gzip").await.unwrap().content_encoding.as_deref(), Some("gzip"), "what was not asked for is reported");
}

#[tokio::test]
async fn an_outgoing_proxy_gets_the_requests() {
    let proxy = ScriptedUpstream::start().await;
    proxy.answer("http://registry.invalid/a", Reply::bytes("through the proxy"));
    let with_user = proxy.url().replace("http://", "http://u:hunter2@");
    let upstream = client("http://registry.invalid/", json!({"proxy": with_user}));
    assert!(!format!("{upstream:?}").contains("hunter2"));
    assert_eq!(drain(get(&upstream, "a").await.unwrap()).await.0, b"through the proxy");
    assert_eq!(proxy.seen()[0].header("proxy-authorization"), Some("Basic dTpodW50ZXIy"));
    // What the proxy would resolve is not an excuse.
    for place in ["http://127.0.0.1/", "http://localhost/", "http://metadata.google.internal/"] {
        assert!(matches!(failure(upstream.fetch(&Fetch::get(Target::Url(place))).await), UpstreamError::Refused(_)), "{place}");
    }
    assert_eq!(proxy.seen().len(), 1);
}

#[tokio::test]
async fn a_ca_file_is_read_from_the_configuration_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let with_ca = || settings("https://registry.example/", json!({"ca_file": file}));
    assert!(Upstream::new(with_ca(), DECLARED).unwrap_err().message().contains("cannot be read"));
    std::fs::write(&file, "root:secret").unwrap();
    let message = Upstream::new(with_ca(), DECLARED).unwrap_err().message().to_owned();
    assert!(message.contains("PEM") && !message.contains("secret"), "{message}");
    assert!(Upstream::new(with_ca(), FROM_API).unwrap_err().message().contains("configuration file"));
}

/// A server with TLS that answers `requests` connections and is then gone; returns its port.
fn tls_server(requests: usize) -> u16 {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use std::io::{Read as _, Write as _};
    let certificates = CertificateDer::pem_slice_iter(include_bytes!("../../fixtures/tls/server.pem")).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../fixtures/tls/server.key")).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = std::sync::Arc::new(config.with_no_client_auth().with_single_cert(certificates, key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(requests) {
            let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
            // A client that does not trust us breaks off here.
            if stream.read(&mut [0; 4096]).is_ok() {
                stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://localhost/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            }
        }
    });
    port
}

#[tokio::test]
async fn a_ca_file_is_trusted_and_tls_is_not_left_again() {
    let url = format!("https://localhost:{}/", tls_server(2));
    let ca_file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tls/ca.pem");
    let stranger = client(&url, json!({"retries": 0, "allow_private": true}));
    let UpstreamError::Unreachable { cause, .. } = failure(get(&stranger, "a").await) else { panic!() };
    assert!(cause.contains("certificate"), "{cause}");
    let friend = client(&url, json!({"retries": 0, "allow_private": true, "ca_file": ca_file}));
    let error = failure(get(&friend, "a").await);
    assert!(matches!(&error, UpstreamError::Refused(message) if message.contains("plain http")), "{error:?}");
}
