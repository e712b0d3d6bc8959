//! Bodies that are too large, too slow, too deep, or of which two servers would see two ends.
#![cfg(test)]
#![expect(clippy::string_slice, reason = "a test may cut texts that it made itself")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use entrepot_kit::Kind;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::house::House;
use crate::raw::Call;

/// `alpha-owner` with the password of all tests, in base64.
const OWNER: &str = "YWxwaGEtb3duZXI6YSBsb25nIGVub3VnaCBzZWNyZXQ=";

async fn house(change: impl Fn(&mut entrepot::server::Options)) -> House {
    let house = House::start_with(change).await;
    house.repository("alpha/files", "generic", Kind::Hosted, true, json!({})).await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    house
}

/// Sends bytes as they are; what comes back until the server closes or is quiet for two seconds.
async fn talk(house: &House, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(&house.host).await.unwrap();
    let _ = socket.write_all(bytes).await;
    let mut answer = vec![0; 1 << 16];
    let mut read = 0;
    while let Ok(Ok(more)) = tokio::time::timeout(Duration::from_secs(2), socket.read(&mut answer[read..])).await {
        read += more;
        if more == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

/// Bodies that lie spooled on disk: in the one folder of a data directory, or in the folder of the process where a bucket is the store.
fn staged(house: &House) -> usize {
    let list = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let of_process = |data: &PathBuf| list(data.join("staging")).flat_map(list).count();
    house.each_data().iter().map(|data| list(data.join("blobs/staging")).count() + of_process(data)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_bodies() {
    let house = house(|options| options.max_upload = 64 << 10).await;
    for (target, size) in [("/alpha/files/announced", 10 << 20), ("/alpha/npm/horse", 10 << 20)] {
        let head = format!("PUT {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {OWNER}\r\nContent-Length: {size}\r\n\r\n");
        assert!(talk(&house, head.as_bytes()).await.starts_with("HTTP/1.1 413"), "{target}: before a byte was sent");
    }
    for (target, size) in [("/alpha/files/just-over", (64 << 10) + 1), ("/alpha/files/over", 90 << 10), ("/alpha/files/far-over", 1 << 20)] {
        let reply = house.call_as("alpha-owner", Call::put(target, vec![b'x'; size])).await;
        assert_eq!(reply.status, 413, "{target}");
        let mut chunked = format!("PUT {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {OWNER}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..=(size >> 10) {
            chunked.extend_from_slice(b"400\r\n");
            chunked.extend_from_slice(&[b'x'; 1024]);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        assert!(talk(&house, &chunked).await.starts_with("HTTP/1.1 413"), "{target}: without a length");
    }
    for (path, method) in [("-/user/org.couchdb.user:x", "PUT"), ("-/npm/v1/tokens", "POST"), ("-/package/horse/dist-tags/x", "PUT")] {
        let call = Call::new(method.parse().unwrap(), format!("/alpha/npm/{path}"));
        let reply = house.call_as("alpha-owner", Call { body: vec![b' '; 90 << 10].into(), ..call }).await;
        assert!(matches!(reply.status.as_u16(), 400 | 413), "{path}: {}", reply.status);
    }
    assert_eq!((house.head("alpha/files"), house.head("alpha/npm")), (0, 0));
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/files/fits", vec![b'x'; 64 << 10])).await.status, 201, "the limit itself is allowed");
    assert_eq!(staged(&house), 0, "nothing is left over");
}

/// Heads and bodies that never end let go of the connection, and of the file that was begun.
#[tokio::test(flavor = "multi_thread")]
async fn slow_and_never_ending_requests() {
    let house = house(|options| {
        options.http.header_timeout = Duration::from_secs(1);
        options.http.idle_timeout = Duration::from_secs(1);
    })
    .await;
    let began = Instant::now();
    let body = format!("PUT /alpha/files/slow HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {OWNER}\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(200_000));
    let answer = talk(&house, body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let mut head = TcpStream::connect(&house.host).await.unwrap();
    head.write_all(b"GET /alpha/files/ HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(8), head.read_to_end(&mut rest)).await.expect("the connection is closed").ok();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    assert!(began.elapsed() < Duration::from_secs(12));
    // A client that goes away in the middle.
    let mut socket = TcpStream::connect(&house.host).await.unwrap();
    socket.write_all(body.as_bytes()).await.unwrap();
    drop(socket);
    let until = Instant::now() + Duration::from_secs(5);
    while staged(&house) > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((staged(&house), house.head("alpha/files")), (0, 0), "nothing is left over");
    assert_eq!(house.call(Call::get("/alpha/files/slow")).await.status, 404);
}

/// Whatever is answered, the hidden request is not served as one of its own.
#[tokio::test(flavor = "multi_thread")]
async fn request_smuggling() {
    let house = house(|_| {}).await;
    let hidden = format!("DELETE /alpha/files/kept HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {OWNER}\r\n\r\n");
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/files/kept", "kept")).await.status, 201);
    let before = house.head("alpha/files");
    let length = hidden.len();
    for (name, head, body) in [
        ("CL.TE", format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", length + 5), format!("0\r\n\r\n{hidden}")),
        ("TE.CL", String::from("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n")),
        ("two lengths", format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), hidden.clone()),
        ("two lengths in one", format!("Content-Length: 0, {length}\r\n"), hidden.clone()),
        ("an unknown coding", format!("Transfer-Encoding: xchunked\r\nContent-Length: {length}\r\n"), hidden.clone()),
        ("a coding behind chunked", String::from("Transfer-Encoding: chunked, identity\r\n"), format!("0\r\n\r\n{hidden}")),
        ("two codings", String::from("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), format!("0\r\n\r\n{hidden}")),
        ("a space before the colon", String::from("Transfer-Encoding : chunked\r\n"), format!("0\r\n\r\n{hidden}")),
        ("a folded header", String::from("X: y\r\n Transfer-Encoding: chunked\r\n"), format!("0\r\n\r\n{hidden}")),
        ("a negative length", String::from("Content-Length: -1\r\n"), hidden.clone()),
        ("a signed length", format!("Content-Length: +{length}\r\n"), hidden.clone()),
        ("a chunk that overflows", String::from("Transfer-Encoding: chunked\r\n"), format!("10000000000000000\r\n{hidden}\r\n0\r\n\r\n")),
        ("a negative chunk", String::from("Transfer-Encoding: chunked\r\n"), format!("-1\r\n{hidden}")),
    ] {
        // Nobody, to a public repository: a front server would take this for one harmless request.
        let answer = talk(&house, format!("POST /alpha/npm/-/npm/v1/security/advisories/bulk HTTP/1.1\r\nHost: x\r\n{head}\r\n{body}").as_bytes()).await;
        let answers = answer.matches("HTTP/1.1 ").count();
        let second = answer.match_indices("HTTP/1.1 ").nth(1).map(|(at, _)| answer[at..].chars().take(12).collect::<String>());
        let is_refused = answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 411") || answer.starts_with("HTTP/1.1 501") || answer.is_empty();
        // Read as the specification says is safe too: then the second request is no secret to a front server that does the same.
        let allowed = is_refused
            || name == "a folded header"
            || !matches!(name, "CL.TE" | "TE.CL" | "two lengths" | "two lengths in one" | "a negative length" | "a negative chunk");
        assert!(allowed || answers < 2, "{name}: {answers} answers, the second {second:?}: {answer:.300}");
        assert_eq!(house.head("alpha/files"), before, "{name}: the hidden request was served");
    }
    assert_eq!(house.call(Call::get("/alpha/files/kept")).await.text(), "kept");
}

/// Heads that would fill the memory.
#[tokio::test(flavor = "multi_thread")]
async fn oversized_heads() {
    let house = house(|_| {}).await;
    let many: String = (0..5000).map(|number| format!("X-{number}: y\r\n")).collect();
    for (name, request) in [
        ("a long header", format!("GET /alpha/files/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(2 << 20))),
        ("many headers", format!("GET /alpha/files/ HTTP/1.1\r\nHost: x\r\n{many}\r\n")),
        ("a long path", format!("GET /alpha/files/{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "a/".repeat(20_000))),
        ("a long segment", format!("GET /alpha/files/{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "a".repeat(3000))),
        ("a long name", format!("GET /alpha/{}/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "a".repeat(3000))),
        ("no HTTP", String::from("\u{16}\u{3}\u{1}\u{2}hello\r\n\r\n")),
    ] {
        let answer = talk(&house, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer:.200}");
    }
    assert_eq!(house.call(Call::get("/alpha/files/?format=json")).await.status, 200, "and it serves on");
}

/// Deep, wide and odd JSON on every route that reads some.
#[tokio::test(flavor = "multi_thread")]
async fn json_bombs() {
    let house = house(|_| {}).await;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(200_000), close.repeat(200_000));
    let publication = |inner: &str| {
        format!("{{\"_id\":\"horse\",\"name\":\"horse\",\"versions\":{{\"1.0.0\":{inner}}},\"_attachments\":{{\"horse-1.0.0.tgz\":{{\"data\":\"AAAA\"}}}}}}")
    };
    let keys = format!("{{{}}}", (0..200_000).map(|number| format!("\"k{number}\":1")).collect::<Vec<_>>().join(","));
    let bombs = [
        deep("[", "]"),
        deep("{\"a\":", "}"),
        "[".repeat(1_000_000),
        publication(&deep("[", "]")),
        publication(&deep("{\"dependencies\":", "}")),
        publication(&format!("{{\"{}\":1}}", "k".repeat(2 << 20))),
        publication(&keys),
        format!("{{\"{}\":1}}", "k".repeat(1 << 20)),
        String::from("1e999999999"),
        String::from("{\"name\":1e400}"),
        String::from("\"\\ud800\""),
        String::from("{\"name\":\"horse\",\"name\":\"cow\"}"),
        String::from("\u{feff}{}"),
        format!("{{\"requires\":true,\"dependencies\":{}}}", deep("{\"a\":{\"dependencies\":", "}}")),
        String::from("null"),
        String::new(),
    ];
    let targets = [
        ("PUT", "/alpha/npm/horse"),
        ("PUT", "/alpha/npm/horse/-rev/1"),
        ("PUT", "/alpha/npm/-/package/horse/dist-tags/x"),
        ("PUT", "/alpha/npm/-/user/org.couchdb.user:x"),
        ("POST", "/alpha/npm/-/npm/v1/tokens"),
        ("POST", "/alpha/npm/-/npm/v1/security/audits"),
        ("POST", "/alpha/npm/-/npm/v1/security/advisories/bulk"),
    ];
    for (method, target) in targets {
        for bomb in &bombs {
            let call = Call { body: bomb.clone().into(), ..Call::new(method.parse().unwrap(), target) };
            let began = Instant::now();
            let reply = house.call_as("alpha-owner", call).await;
            let is_honest = !reply.status.is_server_error() || reply.status == 501;
            assert!(is_honest && reply.text().len() < 4096, "{method} {target} with {bomb:.40}: {} {:.200}", reply.status, reply.text());
            assert!(began.elapsed() < Duration::from_secs(10), "{method} {target} with {bomb:.40}");
            if target == "/alpha/npm/horse" {
                assert!(!reply.status.is_success(), "{bomb:.40}: {}", reply.text());
            }
        }
    }
    assert_eq!(house.head("alpha/npm"), 0, "nothing was changed");
}
