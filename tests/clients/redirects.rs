//! Repositories with `redirect_downloads`: real clients are let in here and get the bytes from the bucket.
#![cfg(test)]

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::clients::Home;
use crate::support::process::Output;
use crate::support::{ADMIN_PASSWORD, TestServer};
use crate::token;

const CONFIG: &str = r#"
[[repository]]
name = "files"
format = "generic"
tags = { visibility = "public" }
settings = { redirect_downloads = true, overwrite = true }

[[repository]]
name = "secret"
format = "generic"
settings = { redirect_downloads = true }

[[repository]]
name = "npm"
format = "npm"

[[repository]]
name = "npm-all"
format = "npm"
kind = "group"
members = ["main/npm"]
settings = { redirect_downloads = true }
"#;

/// What a URL that lets somebody in has, and no log may have.
const SIGNATURE: &str = "X-Amz-Signature";

/// Bytes that do not get smaller, other ones for each number.
fn bytes(number: u64, size: usize) -> Bytes {
    let mut state = number;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(state >> 56).unwrap()
    };
    (0..size).map(|_| next()).collect::<Vec<_>>().into()
}

fn header<'a>(answer: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

/// A client that knows nothing but URLs.
fn stranger() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_sent_by_the_bucket_to_whoever_was_let_in() {
    let server = TestServer::builder().replicas().config(CONFIG).start();
    let (admin, reader) = (server.admin(), server.anonymous());
    let body = bytes(1, 3 << 20);
    let (big, small) = ("/main/files/tools/big file.tar.gz", "/main/files/tools/small");
    admin.put(big, body.clone()).await.succeeded();
    admin.put(small, "a few bytes").await.succeeded();
    admin.put("/main/secret/big.bin", body.clone()).await.succeeded();

    // The address alone opens the object, under the headers that we would send, and only this object, for reading.
    let answer = reader.request(Method::GET, big).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    let named = ["cache-control", "etag", "last-modified", "content-type"].map(|name| header(&answer, name));
    assert_eq!(named, [Some("no-store"), None, None, None]);
    let location = header(&answer, "location").unwrap().to_owned();
    assert!(location.starts_with("http://localhost:") && location.contains(SIGNATURE) && location.contains("X-Amz-Expires=300"), "{location}");
    let direct = stranger().get(&location).send().await.unwrap();
    assert_eq!(direct.status(), StatusCode::OK);
    let named = ["content-type", "content-disposition", "cache-control"].map(|name| header(&direct, name));
    let expected = ["application/gzip", "attachment; filename=\"big file.tar.gz\"", "public, max-age=0, must-revalidate"];
    assert_eq!(named, expected.map(Some));
    assert!(direct.bytes().await.unwrap() == body, "other bytes than were stored");
    let forged = [location.replace("gzip", "html"), location.replace("attachment", "inline"), location.replace("X-Amz-Expires=300", "X-Amz-Expires=3000")];
    for forged in forged {
        assert_ne!(forged, location);
        assert_eq!(stranger().get(&forged).send().await.unwrap().status(), StatusCode::FORBIDDEN, "{forged}");
    }
    assert_eq!(stranger().put(&location).body("other").send().await.unwrap().status(), StatusCode::FORBIDDEN);

    // What the catalog holds is sent from here, and so are answers without a body and those that turn on our own validators.
    reader.get(small).await.is(200);
    let head = reader.request(Method::HEAD, big).send().await.unwrap();
    assert_eq!((head.status(), header(&head, "location"), header(&head, "content-length")), (StatusCode::OK, None, Some("3145728")));
    let (tag, modified) = (header(&head, "etag").unwrap(), header(&head, "last-modified").unwrap());
    let later = "Fri, 01 Jan 2100 00:00:00 GMT";
    let cases = [
        ("if-none-match", tag, 304),
        ("if-modified-since", modified, 304),
        ("if-modified-since", later, 200),
        ("if-match", tag, 200),
        ("if-match", "\"another\"", 412),
        ("if-none-match", "\"another\"", 307),
        ("range", "bytes=0-9", 307),
    ];
    for (name, value, status) in cases {
        let answer = reader.request(Method::GET, big).header(name, value).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}: {value}");
    }
    let part = reader.request(Method::GET, big).header("range", "bytes=5-9").header("if-range", tag).send().await.unwrap();
    assert_eq!((part.status(), part.bytes().await.unwrap()), (StatusCode::PARTIAL_CONTENT, body.slice(5..10)));

    // Who may not read learns no URL.
    for (api, status) in [(&reader, StatusCode::UNAUTHORIZED), (&admin, StatusCode::TEMPORARY_REDIRECT)] {
        let answer = api.request(Method::GET, "/main/secret/big.bin").send().await.unwrap();
        assert_eq!((answer.status(), answer.headers().contains_key("location")), (status, status.is_redirection()));
    }
    assert_eq!(server.log_lines(&["X-Amz-"]), 0, "a URL is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_follows_with_ranges_and_without_its_password() {
    let server = TestServer::builder().replicas().config(CONFIG).start();
    let body = bytes(2, 3 << 20);
    server.admin().put("/main/secret/big.bin", body.clone()).await.succeeded();
    let home = Home::new();
    let folder = home.project("files");
    let url = server.url("/main/secret/big.bin");
    let curl = format!("curl -sS --fail --noproxy '*' -L -u admin:{ADMIN_PASSWORD}");
    home.shell(&folder, &format!("{curl} -o whole {url}; {curl} -r 1000-1999 -o part {url}; head -c 2000000 whole >rest; {curl} -C - -o rest {url}"))
        .succeeded();
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
    assert!(file("whole") == body[..], "other bytes than were stored");
    assert!(file("part") == body[1000..2000], "another part");
    assert!(file("rest") == body[..], "other bytes than were stored");
    // A file that is fetched only when it changed, by the tag that the bucket gave it.
    let again = format!("{curl} --etag-save tag -o kept {url}; {curl} --etag-compare tag -w '%{{http_code}}' -o new {url}");
    assert_eq!(home.shell(&folder, &again).succeeded().stdout, "304");
    home.shell(&folder, &format!("curl -sS --fail --noproxy '*' -L {url}")).failed();
    assert!(server.log_lines(&["status=307"]) >= 5, "{}", server.log());
    assert_eq!(server.log_lines(&["X-Amz-"]), 0, "a URL is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_clients_install_from_the_bucket() {
    let server = TestServer::builder().replicas().config(CONFIG).start();
    let token = token(&server).await;
    let author = Home::new();
    author.npm_registry(&server.url("/main/npm/"), Some(&token));
    let package = author.package("heavy", "1.0.0");
    std::fs::write(package.join("data.bin"), bytes(3, 300_000)).unwrap();
    author.npm(&package, &["publish"]).succeeded();

    let registry = server.url("/main/npm-all/");
    let install = |client: fn(&Home, &std::path::Path) -> Output| {
        let home = Home::new();
        home.npm_registry(&registry, Some(&token));
        let folder = home.npm_project("user", &json!({ "name": "user", "version": "1.0.0", "dependencies": { "heavy": "1.0.0" } }));
        home.yarn4_registry(&folder, &registry, Some(&token));
        let before = server.log_lines(&["status=307"]);
        client(&home, &folder).succeeded();
        assert_eq!(home.node(&folder, "console.log(require('heavy'))").succeeded().stdout, "1.0.0\n");
        assert!(std::fs::read(folder.join("node_modules/heavy/data.bin")).unwrap() == bytes(3, 300_000)[..]);
        assert!(server.log_lines(&["status=307"]) > before, "nothing was redirected");
    };
    install(|home, folder| home.npm(folder, &["install"]));
    install(|home, folder| home.pnpm(folder, &["install"]));
    install(|home, folder| {
        // It sends no token for names without a scope otherwise.
        let settings = std::fs::read_to_string(home.npmrc()).unwrap();
        std::fs::write(home.npmrc(), settings + "always-auth=true\n").unwrap();
        home.yarn1(folder, &["install"])
    });
    install(|home, folder| home.yarn4(folder, &["install", "--no-immutable"]));
}

/// A proxy sends what it fetches, and leaves to the bucket what it has; redirects of an upstream are followed by the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_fetches_through_redirects_and_redirects_what_it_has() {
    let server = TestServer::builder().replicas().config(CONFIG).start();
    let (admin, reader) = (server.admin(), server.anonymous());
    let body = bytes(5, 1 << 20);
    admin.put("/main/files/big.bin", body.clone()).await.succeeded();
    let upstream = json!({ "url": server.url("/main/files/"), "allow_private": true });
    let proxy =
        json!({ "name": "remote", "format": "generic", "kind": "proxy", "tags": { "visibility": "public" }, "upstream": upstream, "redirect_downloads": true });
    admin.json(Method::POST, "/api/v1/repositories", &proxy).await.is(201);
    assert!(reader.get("/main/remote/big.bin").await.is(200).body == body, "other bytes than upstream has");
    for _ in 0..2 {
        let answer = reader.request(Method::GET, "/main/remote/big.bin").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
        let direct = stranger().get(header(&answer, "location").unwrap()).send().await.unwrap();
        assert!(direct.bytes().await.unwrap() == body, "other bytes than upstream has");
    }
    assert_eq!(server.log_lines(&["X-Amz-"]), 0, "a URL is in the log");
}

/// The setting does no harm where nothing can be redirected.
#[tokio::test(flavor = "multi_thread")]
async fn local_files_are_sent_as_ever() {
    let server = TestServer::builder().alone().config(CONFIG).start();
    let body = bytes(4, 200_000);
    server.admin().put("/main/files/big.bin", body.clone()).await.succeeded();
    assert!(server.anonymous().get("/main/files/big.bin").await.is(200).body == body);
}
