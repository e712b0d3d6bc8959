//! Headers that would have the server believe, or tell others, what is not so.
#![cfg(test)]

use entrepot_kit::Kind;
use serde_json::json;

use crate::access::publish;
use crate::house::House;
use crate::raw::{Call, Reply};

async fn furnish(house: &House) {
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    assert_eq!(publish(house, "alpha-owner", "alpha/npm", "horse", "1.0.0").await.status, 201);
}

fn link(reply: &Reply) -> String {
    reply.json()["versions"]["1.0.0"]["dist"]["tarball"].as_str().expect("a link").to_owned()
}

const FORWARDED: [(&str, &str); 9] = [
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("X-Forwarded-Port", "1234"),
    ("X-Forwarded-Prefix", "/evil"),
    ("Forwarded", "for=10.0.0.1;host=evil.example;proto=https"),
    ("X-Original-URL", "/evil"),
    ("X-Rewrite-URL", "/evil"),
    ("X-Webauth-User", "admin"),
];

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_headers_of_strangers() {
    let house = House::start().await;
    furnish(&house).await;
    let mut call = Call::get("/alpha/npm/horse");
    for (name, value) in FORWARDED {
        call = call.with(name, value);
    }
    let reply = house.call(call).await;
    assert_eq!(link(&reply), format!("http://{}/alpha/npm/horse/-/horse-1.0.0.tgz", house.host));
    assert!(!reply.text().contains("evil"));
    for (name, value) in [("X-Webauth-User", "admin"), ("X-Remote-User", "admin"), ("X-Forwarded-User", "admin"), ("Remote-User", "admin")] {
        assert_eq!(house.call(Call::get("/alpha/npm/-/whoami").with(name, value)).await.status, 401, "{name}");
    }
}

/// Behind a proxy of our own the last hop counts, which it wrote itself; what came before may be anybody's.
#[tokio::test(flavor = "multi_thread")]
async fn forwarded_headers_through_a_trusted_proxy() {
    let house = House::start_with(|options| options.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    furnish(&house).await;
    let call = Call::get("/alpha/npm/horse").with("X-Forwarded-Host", "evil.example, packages.example").with("X-Forwarded-Proto", "gopher, https");
    assert_eq!(link(&house.call(call).await), "https://packages.example/alpha/npm/horse/-/horse-1.0.0.tgz");
    for bad in ["evil.example/path", "a\"b", "<script>", "a b", "user@evil.example"] {
        let reply = house.call(Call::get("/alpha/npm/horse").with("X-Forwarded-Host", bad)).await;
        assert!(!reply.text().contains(bad) && !reply.text().contains("evil"), "{bad}: {}", link(&reply));
    }
}

/// A Host header that is no host is in no document, and one client's is in nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn host_header_poisoning() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let house = House::start().await;
    furnish(&house).await;
    let raw = async |head: String| {
        let mut socket = tokio::net::TcpStream::connect(&house.host).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), socket.read_to_end(&mut answer)).await.expect("an end");
        String::from_utf8_lossy(&answer).into_owned()
    };
    for target in ["/alpha/npm/horse", "/", "/alpha/npm/none"] {
        for host in [
            "evil.example/x",
            "a\"onload=\"alert(1)",
            "<script>alert(1)</script>",
            "evil.example#",
            "evil.example?x",
            "x@evil.example",
            "evil.example\\x",
            "evil example",
            "",
            &"e".repeat(300),
        ] {
            let answer = raw(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 "), "{host}: {answer}");
            assert!(host.is_empty() || !answer.contains(host), "{host}: {answer}");
            assert!(!answer.contains("//evil.example"), "{host}: {answer}");
        }
    }
    let twice = raw(String::from("GET /alpha/npm/horse HTTP/1.1\r\nHost: a.example\r\nHost: evil.example\r\nConnection: close\r\n\r\n")).await;
    assert!(!twice.contains("//evil.example"), "{twice}");
    // Many invented hosts: each gets its own, and the real one is not disturbed.
    for number in 0..200 {
        let answer = raw(format!("GET /alpha/npm/horse HTTP/1.1\r\nHost: h{number}.example\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.contains(&format!("http://h{number}.example/alpha/npm")));
        if number % 20 == 0 {
            assert_eq!(link(&house.call(Call::get("/alpha/npm/horse")).await), format!("http://{}/alpha/npm/horse/-/horse-1.0.0.tgz", house.host));
        }
    }
    assert!(raw(String::from("GET http://evil.example/alpha/npm/horse HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await.starts_with("HTTP/1.1 "));
}

/// A request id is taken over only when it can do no harm in a log or a header.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_request_ids() {
    let house = House::start().await;
    assert_eq!(house.call(Call::get("/alpha/x/y").with("X-Request-Id", "abc-1.2_3")).await.header("x-request-id"), "abc-1.2_3");
    for id in ["a b", "a\"b", "<script>", "{\"level\":\"error\"}", "\u{e9}", &"x".repeat(65), "a,b", "%0d%0a", "../x", "$(id)"] {
        let reply = house.call(Call::get("/alpha/x/y").with("X-Request-Id", id)).await;
        let given = reply.header("x-request-id");
        if reply.status == 400 && given.is_empty() {
            continue; // No header that HTTP knows.
        }
        assert!(given.len() == 24 && given.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}: {given}");
        assert!(!reply.text().contains(id));
    }
}

/// No page of another site may use a reader's session: there is none to use.
#[tokio::test(flavor = "multi_thread")]
async fn cross_site_requests() {
    let house = House::start().await;
    furnish(&house).await;
    for call in [
        Call::get("/"),
        Call::get("/alpha/npm/horse"),
        Call::post("/alpha/npm/-/v1/login", "{}"),
        Call::get("/-/login/x"),
        Call::new(http::Method::OPTIONS, "/alpha/npm/horse"),
    ] {
        let reply = house.call(call.clone().with("Origin", "http://evil.example").with("Access-Control-Request-Method", "PUT")).await;
        assert!(!reply.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{}", call.target);
        assert!(!reply.headers.contains_key("set-cookie"), "{}: credentials are never kept in a cookie", call.target);
    }
    let page = house.call(Call::get("/-/login/x")).await;
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"), "no page around it may steal clicks");
}
