//! The handlers against a repository in memory: what clients see, without a server.

mod memory;

use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::path::RequestPath;
use entrepot_kit::route::Found;
use entrepot_kit::{Action, BaseUrl, Body, Format as _, Grant, Handler, Kind, Query, Repository, Request, Response, ResponseBody, Sha256Digest};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::Generic;
use memory::Memory;

/// What a client sees, as far as the format decides it.
struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn seen(response: Response) -> Seen {
    let (mut stream, content_type) = match response.body {
        ResponseBody::Empty => return Seen { status: response.status, headers: response.headers, body: Vec::new() },
        ResponseBody::Bytes(bytes) => (Body::from(bytes), None),
        ResponseBody::File(file) => (Body::new(file.content.stream(None).await.unwrap(), None), file.entry.content_type),
        ResponseBody::Stream(stream) => (Body::new(stream, None), None),
        ResponseBody::Document(_) => panic!("the generic format has no documents"),
    };
    let mut headers = response.headers;
    if let Some(content_type) = content_type {
        headers.insert("content-type", HeaderValue::from_str(&content_type).unwrap());
    }
    let mut body = Vec::new();
    while let Some(bytes) = stream.next().await.unwrap() {
        body.extend(bytes);
    }
    Seen { status: response.status, headers, body }
}

/// Sends a request through the route table, as the server does.
async fn send(memory: &Arc<Memory>, method: Method, url: &str, headers: &[(&'static str, &str)], body: &[u8]) -> Seen {
    let (raw, query) = url.split_once('?').unwrap_or((url, ""));
    let path = RequestPath::decode(raw).unwrap();
    let Found::Route(route, captures) = Generic.routes().find(&method, &path) else { panic!("{method} {url} has no route") };
    let chunks: Vec<_> = body.chunks(3).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let request = Request {
        method,
        path,
        captures,
        query: Query::parse(query),
        headers: headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect(),
        body: Body::new(futures::stream::iter(chunks).boxed(), Some(body.len() as u64)),
        base: BaseUrl { origin: String::from("https://packages.example"), path: String::from("/main/files") },
    };
    let facade: Arc<dyn entrepot_kit::Facade> = memory.clone();
    let answer = match route.handler {
        Handler::Read(handle) => handle(Repository::new(facade, Grant::mint()), request).await,
        Handler::Publish(handle) => handle(Repository::new(facade, Grant::mint()), request).await,
        Handler::Delete(handle) => handle(Repository::new(facade, Grant::mint()), request).await,
        Handler::Manage(_) | Handler::SignIn(_) => panic!("the generic format has no such route"),
    };
    match answer {
        Ok(response) => seen(response).await,
        Err(error) => Seen { status: error.status(), headers: HeaderMap::new(), body: Generic.render_error(&error).1.to_vec() },
    }
}

async fn put(memory: &Arc<Memory>, path: &str, headers: &[(&'static str, &str)], body: &[u8]) -> StatusCode {
    send(memory, Method::PUT, path, headers, body).await.status
}

async fn get(memory: &Arc<Memory>, path: &str) -> Seen {
    send(memory, Method::GET, path, &[], b"").await
}

async fn delete(memory: &Arc<Memory>, path: &str) -> StatusCode {
    send(memory, Method::DELETE, path, &[], b"").await.status
}

#[tokio::test]
async fn a_put_answers_what_was_stored() {
    let memory = Memory::hosted(json!({}));
    let reply = send(&memory, Method::PUT, "a%20b/c.txt", &[("x-checksum-md5", "900150983cd24fb0d6963f7d28e17f72")], b"abc").await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(reply.header("location"), "https://packages.example/main/files/a%20b/c.txt");
    let sha256 = Sha256Digest::of(b"abc").hex();
    assert_eq!(reply.json(), json!({ "path": "a b/c.txt", "size": 3, "md5": "900150983cd24fb0d6963f7d28e17f72", "sha256": sha256 }));
    let reply = get(&memory, "a%20b/c.txt").await;
    assert_eq!((reply.status, reply.body.as_slice(), reply.header("x-checksum-sha256")), (StatusCode::OK, &b"abc"[..], sha256.as_str()));
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(put(&memory, "empty", &[("content-type", "x/y")], b"").await, StatusCode::CREATED);
    assert_eq!(get(&memory, "empty").await.header("content-type"), "x/y");
}

#[tokio::test]
async fn other_bytes_need_the_setting_and_the_right() {
    let memory = Memory::hosted(json!({}));
    assert_eq!(put(&memory, "a", &[], b"one").await, StatusCode::CREATED);
    assert_eq!(put(&memory, "a", &[], b"one").await, StatusCode::OK, "the same bytes again");
    assert_eq!(memory.revision(), 1, "the same bytes make no revision");
    assert_eq!(put(&memory, "a", &[], b"two").await, StatusCode::CONFLICT);
    assert_eq!(put(&memory, "a", &[], b"longer").await, StatusCode::CONFLICT);
    let said = send(&memory, Method::PUT, "a", &[], b"two").await.json();
    assert!(said["error"].as_str().unwrap().contains("\"overwrite\": true"), "{said}");

    let memory = Memory::hosted(json!({ "overwrite": true }));
    assert_eq!(put(&memory, "a", &[], b"one").await, StatusCode::CREATED);
    assert_eq!(put(&memory, "a", &[], b"two").await, StatusCode::OK);
    assert_eq!(memory.last_action(), "overwrite");
    memory.refuse(Action::Overwrite);
    assert_eq!(put(&memory, "a", &[], b"three").await, StatusCode::FORBIDDEN);
    assert_eq!(put(&memory, "a", &[], b"two").await, StatusCode::OK, "nothing is overwritten by the same bytes");
    assert_eq!(get(&memory, "a").await.body, b"two");
}

#[tokio::test]
async fn conditions_hold_before_and_at_the_commit() {
    let memory = Memory::hosted(json!({ "overwrite": true }));
    let one = format!("\"{}\"", Sha256Digest::of(b"one"));
    let create = [("if-none-match", "*")];
    assert_eq!(put(&memory, "a", &[("if-match", "*")], b"x").await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put(&memory, "a", &create, b"one").await, StatusCode::CREATED);
    assert_eq!(put(&memory, "a", &create, b"one").await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put(&memory, "a", &[("if-match", "\"ffffffffffffffffffffffffffffffff\"")], b"two").await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put(&memory, "a", &[("if-match", &one)], b"two").await, StatusCode::OK);
    assert_eq!(put(&memory, "a", &[("if-match", &one)], b"three").await, StatusCode::PRECONDITION_FAILED);

    // Somebody stores the path between the look and the commit.
    memory.meanwhile("raced", b"theirs");
    assert_eq!(put(&memory, "raced", &create, b"ours").await, StatusCode::PRECONDITION_FAILED);
    memory.meanwhile("also", b"theirs");
    assert_eq!(put(&memory, "also", &[], b"ours").await, StatusCode::CONFLICT);
    memory.meanwhile("equal", b"the same");
    assert_eq!(put(&memory, "equal", &[], b"the same").await, StatusCode::OK);
    assert_eq!(get(&memory, "raced").await.body, b"theirs");
}

#[tokio::test]
async fn refused_uploads_store_nothing() {
    let memory = Memory::hosted(json!({}));
    let sha = "0".repeat(64);
    for (path, header, status) in [
        ("a", ("x-checksum-sha256", sha.as_str()), StatusCode::UNPROCESSABLE_ENTITY),
        ("a", ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), StatusCode::UNPROCESSABLE_ENTITY),
        ("a", ("content-md5", "?"), StatusCode::BAD_REQUEST),
        ("a", ("x-checksum-deploy", "true"), StatusCode::NOT_IMPLEMENTED),
        ("a", ("content-range", "bytes 0-2/3"), StatusCode::BAD_REQUEST),
        ("a", ("content-type", "multipart/form-data; boundary=x"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("a/", ("accept", "*/*"), StatusCode::BAD_REQUEST),
        ("", ("accept", "*/*"), StatusCode::BAD_REQUEST),
        ("a.zip!/b", ("accept", "*/*"), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(put(&memory, path, &[header], b"abc").await, status, "{path} {header:?}");
    }
    assert_eq!(memory.revision(), 0);
    assert_eq!(get(&memory, "?format=json").await.json()["items"], json!([]));
    for kind in [Kind::Proxy, Kind::Group] {
        let memory = Memory::of_kind(kind);
        assert_eq!(put(&memory, "a", &[], b"abc").await, StatusCode::METHOD_NOT_ALLOWED, "{kind:?}");
        assert_eq!(delete(&memory, "a").await, StatusCode::METHOD_NOT_ALLOWED, "{kind:?}");
    }
}

#[tokio::test]
async fn a_path_is_a_file_or_a_folder() {
    let memory = Memory::hosted(json!({}));
    assert_eq!(put(&memory, "a/b/c", &[], b"deep").await, StatusCode::CREATED);
    assert_eq!(put(&memory, "a/b", &[], b"x").await, StatusCode::CONFLICT);
    assert_eq!(put(&memory, "a/b/c/d/e", &[], b"x").await, StatusCode::CONFLICT);
    assert_eq!(put(&memory, "a/bc", &[], b"beside").await, StatusCode::CREATED);
    let folder = get(&memory, "a/b").await;
    assert_eq!(folder.status, StatusCode::NOT_FOUND);
    assert!(folder.json()["error"].as_str().unwrap().contains("slash"));
    assert_eq!(delete(&memory, "").await, StatusCode::BAD_REQUEST);
    assert_eq!(delete(&memory, "a/x").await, StatusCode::NOT_FOUND);
    assert_eq!(delete(&memory, "a/b/c/").await, StatusCode::NOT_FOUND, "a file is no folder");
    assert_eq!(delete(&memory, "a/b/").await, StatusCode::NO_CONTENT);
    assert_eq!(get(&memory, "a/b/c").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&memory, "a/bc").await.body, b"beside", "a name that only begins alike stays");
    assert_eq!(delete(&memory, "a/bc").await, StatusCode::NO_CONTENT);
    assert_eq!(get(&memory, "a/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn folders_are_listed_page_by_page() {
    let memory = Memory::hosted(json!({}));
    for path in ["f/1", "f/2", "f/3/x", "f/3/y", "f/4", "g"] {
        assert_eq!(put(&memory, path, &[], path.as_bytes()).await, StatusCode::CREATED);
    }
    for (recursive, wanted) in [("", vec!["f/1", "f/2", "f/3/", "f/4"]), ("&recursive", vec!["f/1", "f/2", "f/3/x", "f/3/y", "f/4"])] {
        let (mut query, mut paths) = (format!("?limit=2{recursive}"), Vec::new());
        loop {
            let page = get(&memory, &format!("f/{query}")).await;
            let link = page.header("link").to_owned();
            let page = page.json();
            paths.extend(page["items"].as_array().unwrap().iter().map(|item| item["path"].as_str().unwrap().to_owned()));
            let Some(next) = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\"")) else { break };
            query = next.to_owned();
        }
        assert_eq!(paths, wanted);
    }
    let item = &get(&memory, "?format=json").await.json()["items"][1];
    assert_eq!((&item["path"], &item["size"], &item["sha256"]), (&json!("g"), &json!(1), &json!(Sha256Digest::of(b"g"))));
    assert_eq!(get(&memory, "?format=exe").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(get(&memory, "f/?after=g").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_listing_for_people_runs_nothing() {
    let memory = Memory::hosted(json!({}));
    assert_eq!(put(&memory, "%3Cscript%3Ealert(1)%3Cscript%3E", &[], b"x").await, StatusCode::CREATED);
    assert_eq!(put(&memory, "%22%27&amp;", &[], b"x").await, StatusCode::CREATED);
    let page = send(&memory, Method::GET, "", &[("accept", "text/html,*/*;q=0.8")], b"").await;
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("&lt;script&gt;alert(1)") && !text.contains("<script"), "{text}");
    assert!(text.contains("&quot;&#39;&amp;amp;"), "{text}");
    assert!(text.contains("href=\"/main/files/%3Cscript%3E"), "{text}");
    assert_eq!(page.headers["content-security-policy"].to_str().unwrap().split(';').next(), Some("default-src 'none'"));
    assert_eq!(page.headers["vary"], "Accept");
}

#[tokio::test]
async fn entries_of_archives_are_files_of_their_own() {
    let memory = Memory::hosted(json!({}));
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(n) % 251) as u8).collect();
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in [("dir/a.json", &b"{}"[..]), ("large.bin", &large)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content).unwrap();
    }
    let archive = builder.into_inner().unwrap().finish().unwrap();
    assert_eq!(put(&memory, "x/a.tgz", &[], &archive).await, StatusCode::CREATED);

    let small = get(&memory, "x/a.tgz!/dir/a.json").await;
    assert_eq!((small.body.as_slice(), small.header("content-type")), (&b"{}"[..], "application/json"));
    let streamed = get(&memory, "x/a.tgz!/large.bin").await;
    assert!(streamed.body == large, "{} bytes came of {}", streamed.body.len(), large.len());
    let etag = streamed.header("etag").to_owned();
    let again = send(&memory, Method::GET, "x/a.tgz!/large.bin", &[("if-none-match", &etag)], b"").await;
    assert_eq!((again.status, again.header("etag")), (StatusCode::NOT_MODIFIED, etag.as_str()));

    let list = get(&memory, "x/a.tgz!/?limit=1&after=1").await.json();
    assert_eq!(list, json!({ "path": "x/a.tgz!/", "items": [{ "path": "large.bin", "size": 3_000_000, "type": "file" }], "count": 2, "after": null }));
    for (path, status) in [("x/a.tgz!/none", StatusCode::NOT_FOUND), ("x/none.tgz!/a", StatusCode::NOT_FOUND), ("x/a.tgz!/dir/", StatusCode::NOT_FOUND)] {
        assert_eq!(get(&memory, path).await.status, status, "{path}");
    }
    assert_eq!(put(&memory, "x/no.zip", &[], b"not an archive").await, StatusCode::CREATED);
    assert_eq!(get(&memory, "x/no.zip!/").await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[test]
fn settings_are_checked() {
    assert!(Generic.check_settings(&json!({ "overwrite": true, "members": [] })).is_ok());
    let error = Generic.check_settings(&json!({ "overwrite": "yes" })).unwrap_err();
    assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    assert!(error.message().contains("overwrite"), "{error}");
}

#[test]
fn the_specimen_asks_for_what_the_routes_serve() {
    use entrepot_kit::conformance::Specimen as _;
    let specimen = crate::testing::GenericSpecimen;
    let mut asks = specimen.publish("name", "1.0.0", "x");
    asks.extend(specimen.remove("name", 1));
    for ask in asks {
        let path = RequestPath::decode(&ask.path).unwrap();
        assert!(matches!(Generic.routes().find(&ask.method, &path), Found::Route(..)), "{} {}", ask.method, ask.path);
    }
    let built = crate::route::ROUTES[0].path(&[("path", "a b/ü")]);
    assert_eq!(RequestPath::decode(&built).unwrap().joined(), "a b/ü");
}
