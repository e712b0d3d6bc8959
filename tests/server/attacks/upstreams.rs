//! An upstream that lies, breaks off, or leads elsewhere. Nothing of it is kept, and nobody's secrets go along.
#![cfg(test)]

use entrepot_kit::Kind;
use serde_json::json;

use super::{declared_proxy, packument};
use crate::house::House;
use crate::raw::{self, Call};
use crate::upstream::{Reply, ScriptedUpstream};

const TARBALL: &str = "/horse/-/horse-1.0.0.tgz";

fn good() -> Vec<u8> {
    (0..200_000u32).map(|at| (at % 251) as u8).collect()
}

/// A proxy in which `horse` can be found, and whose tarball answers as told.
async fn proxy(upstream: &ScriptedUpstream) -> House {
    let house = House::start().await;
    upstream.answer("/horse", Reply::bytes(packument("horse", &format!("{}{TARBALL}", upstream.url()), &good())));
    let settings = json!({ "upstream": { "url": upstream.url(), "allow_private": true, "retries": 0, "mutable_ttl": 0 } });
    house.repository("alpha/npm", "npm", Kind::Proxy, true, settings).await;
    house
}

/// Bytes that must not count: neither now as a whole answer, nor later from the cache.
async fn is_not_kept(bad: Reply) {
    let upstream = ScriptedUpstream::start().await;
    let house = proxy(&upstream).await;
    upstream.answer(TARBALL, bad);
    let call = Call::get(format!("/alpha/npm{TARBALL}"));
    for _ in 0..2 {
        match raw::send(&house.host, &call).await {
            Ok(reply) => assert!(reply.status.is_server_error(), "a wrong body ended as a whole one: {} {} bytes", reply.status, reply.body.len()),
            // Broken off in the middle, or before the head left the server: that is how a client learns of it once an answer was begun.
            Err(broken) => assert!(["announced", "chunked", "no head"].iter().any(|way| broken.contains(way)), "{broken}"),
        }
    }
    assert!(upstream.count(TARBALL) >= 2, "asked again, because nothing was kept");
    upstream.answer(TARBALL, Reply::bytes(good()));
    let reply = house.call(call).await;
    assert!(reply.status == 200 && reply.body == good(), "{}", reply.status);
    // Not even for who asks for it later, or for a part of it.
    let part = house.call(Call::get(format!("/alpha/npm{TARBALL}")).with("Range", "bytes=0-9")).await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &good()[..10]));
    assert_eq!(part.header("x-artifact-source"), "cache");
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_poisoning_by_a_wrong_digest() {
    let mut wrong = good();
    wrong[199_999] ^= 1;
    is_not_kept(Reply::bytes(wrong)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_poisoning_by_a_small_wrong_body() {
    is_not_kept(Reply::bytes("<!DOCTYPE html><title>Log in</title>").header("Content-Type", "text/html")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_poisoning_by_a_truncated_body() {
    is_not_kept(Reply::bytes(good()).cut_after(150_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_poisoning_by_a_body_shorter_than_announced() {
    is_not_kept(Reply::bytes(good()[..100_000].to_vec()).claiming(200_000).cut_after(100_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_poisoning_by_a_body_longer_than_announced() {
    is_not_kept(Reply::bytes(good()).claiming(150_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_poisoning_by_more_bytes_after_the_right_ones() {
    let mut longer = good();
    longer.extend_from_slice(b"and more");
    is_not_kept(Reply::bytes(longer).chunked()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_poisoning_by_an_encoding_nobody_asked_for() {
    is_not_kept(Reply::bytes(good()).gzip()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_poisoning_by_a_partial_answer() {
    is_not_kept(Reply::bytes(good()[..100].to_vec()).with_status(206).header("Content-Range", "bytes 0-99/200000")).await;
}

/// A captive portal answers 200 with a page: it is no index, and does not replace one.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_page_in_place_of_an_index() {
    let upstream = ScriptedUpstream::start().await;
    let house = proxy(&upstream).await;
    let good = packument("cow", &format!("{}/cow/-/cow-1.0.0.tgz", upstream.url()), b"cow");
    let deep = format!("{{\"name\":\"cow\",\"versions\":{{\"1.0.0\":{}{}}}}}", "[".repeat(100_000), "]".repeat(100_000));
    let pages = [
        Reply::bytes("<!DOCTYPE html><title>Log in</title>").header("Content-Type", "text/html"),
        Reply::bytes("{}"),
        Reply::bytes("[]"),
        Reply::bytes(""),
        Reply::bytes(good.replace("\"cow\"", "\"horse\"")),
        Reply::bytes(deep.replace("[[", "{\"a\":[")),
        Reply::bytes(good.clone()).header("Content-Encoding", "br"),
        Reply::bytes(good.clone()).header("Content-Encoding", "gzip"),
    ];
    for page in &pages {
        upstream.answer("/cow", page.clone());
        let reply = house.call(Call::get("/alpha/npm/cow")).await;
        assert!(reply.status.is_server_error(), "{page:.100?}: {} {:.200}", reply.status, reply.text());
        assert!(!reply.text().contains("<title>"));
    }
    assert_eq!(house.head("alpha/npm"), 0, "nothing was kept");
    upstream.answer("/cow", Reply::bytes(good));
    assert_eq!(house.call(Call::get("/alpha/npm/cow")).await.status, 200);
    for page in pages {
        upstream.answer("/cow", page.clone());
        let reply = house.call(Call::get("/alpha/npm/cow")).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-artifact-source")), (200, "stale"), "{page:.100?}");
        assert_eq!(reply.json()["dist-tags"]["latest"], "1.0.0");
    }
    assert_eq!(house.head("alpha/npm"), 1);
}

/// Few bytes on the wire, more than any index has in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_compression_bomb_in_place_of_an_index() {
    let upstream = ScriptedUpstream::start().await;
    let house = proxy(&upstream).await;
    upstream.answer("/cow", Reply::bytes(vec![b' '; 140 << 20]).gzip());
    let reply = house.call(Call::get("/alpha/npm/cow")).await;
    assert_eq!((reply.status.as_u16(), house.head("alpha/npm")), (502, 0), "{}", reply.text());
}

/// The upstream's credentials are for the upstream: not for where it redirects or links to, and not for a realm that it names.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_do_not_follow_to_another_host() {
    let (upstream, other) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let house = House::start().await;
    let (user, token) = (json!({ "username": "robot", "password": "hunter2" }), json!({ "token": "hunter2" }));
    for (name, mut settings) in [("basic", user), ("bearer", token)] {
        settings["url"] = json!(upstream.url());
        settings["allow_private"] = json!(true);
        settings["retries"] = json!(0);
        house.repository(&format!("alpha/{name}"), "npm", Kind::Proxy, true, json!({ "upstream": settings })).await;
    }
    upstream.answer("/horse", Reply::bytes(packument("horse", &format!("{}{TARBALL}", upstream.url()), &good())));
    upstream.answer(TARBALL, Reply::redirect(format!("{}/stored", other.url())).with_status(307));
    upstream.answer("/cow", Reply::bytes(packument("cow", &format!("{}/linked", other.url()), &good())));
    upstream.answer("/goat", Reply::status(401).header("WWW-Authenticate", format!("Bearer realm=\"{}/token\",service=\"x\"", other.url())));
    for path in ["/stored", "/linked", "/token"] {
        other.answer(path, Reply::bytes(good()));
    }
    for name in ["basic", "bearer"] {
        assert_eq!(house.call(Call::get(format!("/alpha/{name}{TARBALL}"))).await.body, good());
        assert_eq!(house.call(Call::get(format!("/alpha/{name}/cow/-/cow-1.0.0.tgz"))).await.body, good());
        assert_eq!(house.call(Call::get(format!("/alpha/{name}/goat"))).await.status, 502);
    }
    assert!(upstream.seen().iter().all(|seen| seen.header("authorization").is_some()), "the upstream itself gets them");
    assert_eq!((other.count("/stored"), other.count("/linked"), other.count("/token")), (2, 2, 0));
    for seen in other.seen() {
        assert!(seen.header("authorization").is_none() && seen.header("cookie").is_none() && seen.header("referer").is_none(), "{seen:?}");
        assert!(!format!("{seen:?}").contains("hunter2"));
    }
}

/// The caller's own credentials and address stay with us.
#[tokio::test(flavor = "multi_thread")]
async fn the_callers_headers_do_not_reach_the_upstream() {
    let upstream = ScriptedUpstream::start().await;
    let house = proxy(&upstream).await;
    let call = Call::get("/alpha/npm/horse").with("Cookie", "session=hunter2").with("X-Forwarded-For", "10.9.8.7").with("npm-otp", "hunter2");
    assert_eq!(house.call_as("alpha-owner", call.with("X-Secret", "hunter2")).await.status, 200);
    for seen in upstream.seen() {
        let text = format!("{seen:?}");
        assert!(seen.header("authorization").is_none() && !text.contains("hunter2") && !text.contains("10.9.8.7") && !text.contains("alpha-owner"), "{text}");
    }
    assert_eq!(upstream.count("/horse"), 1);
}

/// Redirects into the network that the server stands in. The upstream itself is private and declared; what it leads to is not.
#[tokio::test(flavor = "multi_thread")]
async fn server_side_request_forgery_by_redirect() {
    let (upstream, inside) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let house = House::start().await;
    inside.answer("/treasure", Reply::bytes("treasure"));
    let port = inside.url().rsplit(':').next().unwrap().to_owned();
    declared_proxy(&house, "alpha/files", "generic", json!({ "url": upstream.url(), "retries": 0 })).await;
    upstream.answer("/plain", Reply::bytes("plain"));
    assert_eq!(house.call(Call::get("/alpha/files/plain")).await.text(), "plain", "the upstream itself may be asked");
    let places = [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("0.0.0.0:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f.1:{port}"),
        format!("017700000001:{port}"),
        "169.254.169.254".into(),
        "[::ffff:169.254.169.254]".into(),
        "10.0.0.1".into(),
        "192.168.0.1".into(),
        "172.16.0.1".into(),
        "100.64.0.1".into(),
        "[fd00::1]".into(),
        "[fe80::1]".into(),
        "[64:ff9b::7f00:1]".into(),
        format!("x@127.0.0.1:{port}"),
    ];
    let urls = places
        .iter()
        .map(|place| format!("http://{place}/treasure"))
        .chain(["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/x", "data:text/plain,treasure"].map(String::from));
    for (number, url) in urls.enumerate() {
        upstream.answer(&format!("/r{number}"), Reply::redirect(&url));
        let reply = house.call(Call::get(format!("/alpha/files/r{number}"))).await;
        assert!(reply.status.is_server_error() && !reply.text().contains("treasure\""), "{url}: {} {}", reply.status, reply.text());
    }
    // In a second step, and round and round.
    upstream.answer("/hop", Reply::redirect("/hop2"));
    upstream.answer("/hop2", Reply::redirect(format!("{}/treasure", inside.url())));
    upstream.answer("/loop", Reply::redirect("/loop"));
    for path in ["hop", "loop"] {
        assert!(house.call(Call::get(format!("/alpha/files/{path}"))).await.status.is_server_error(), "{path}");
    }
    assert!(upstream.count("/loop") <= 6);
    assert_eq!(inside.seen().len(), 0, "nothing inside was asked");
    assert_eq!(house.head("alpha/files"), 1, "only the plain file was kept");
}

/// Links in a package document that lead inside.
#[tokio::test(flavor = "multi_thread")]
async fn server_side_request_forgery_by_a_link_in_a_document() {
    let (upstream, inside) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
    let house = House::start().await;
    inside.answer("/admin/horse.tgz", Reply::bytes(good()));
    let url = format!("{}/admin/horse.tgz", inside.url());
    upstream.answer("/horse", Reply::bytes(packument("horse", &url, &good())));
    declared_proxy(&house, "alpha/npm", "npm", json!({ "url": upstream.url(), "retries": 0 })).await;
    let document = house.call(Call::get("/alpha/npm/horse")).await;
    assert_eq!(document.status, 200);
    assert!(!document.text().contains("/admin/"), "clients are not sent inside either: {}", document.text());
    let reply = house.call(Call::get(format!("/alpha/npm{TARBALL}"))).await;
    assert!(reply.status.is_server_error(), "{}", reply.status);
    assert_eq!(inside.seen().len(), 0, "nothing inside was asked");
    // With the operator's word it is: the test can fail.
    declared_proxy(&house, "alpha/trusted", "npm", json!({ "url": upstream.url(), "retries": 0, "allow_private": true })).await;
    assert_eq!(house.call(Call::get(format!("/alpha/trusted{TARBALL}"))).await.body, good());
    assert_eq!(inside.seen().len(), 1);
}

/// A repository made through the API cannot be pointed at the server's own network.
#[tokio::test(flavor = "multi_thread")]
async fn server_side_request_forgery_by_the_upstreams_own_url() {
    let inside = ScriptedUpstream::start().await;
    let house = House::start().await;
    inside.answer("/treasure", Reply::bytes("treasure"));
    let port = inside.url().rsplit(':').next().unwrap().to_owned();
    for (number, place) in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "127.1"].into_iter().enumerate() {
        let settings = json!({ "upstream": { "url": format!("http://{place}:{port}/"), "retries": 0 } });
        house.repository(&format!("alpha/files{number}"), "generic", Kind::Proxy, true, settings).await;
        let reply = house.call(Call::get(format!("/alpha/files{number}/treasure"))).await;
        assert!(!reply.status.is_success() && inside.seen().is_empty(), "{place}: {}", reply.status);
    }
}

/// Headers of an upstream's answer are not taken over.
#[tokio::test(flavor = "multi_thread")]
async fn headers_of_an_upstream_stay_there() {
    let upstream = ScriptedUpstream::start().await;
    let house = proxy(&upstream).await;
    let evil = Reply::bytes(good())
        .header("Set-Cookie", "a=b")
        .header("Access-Control-Allow-Origin", "*")
        .header("Content-Disposition", "inline")
        .header("X-Artifact-Policy", "x");
    upstream.answer(TARBALL, evil.header("Content-Type", "text/html").header("Refresh", "0; url=http://registry.example/"));
    for _ in 0..2 {
        let reply = house.call(Call::get(format!("/alpha/npm{TARBALL}"))).await;
        assert_eq!(reply.status, 200);
        for name in ["set-cookie", "access-control-allow-origin", "refresh", "x-artifact-policy"] {
            assert!(!reply.headers.contains_key(name), "{name}");
        }
        assert!(reply.header("content-disposition").starts_with("attachment"), "{:?}", reply.headers);
        assert_eq!(reply.header("content-security-policy"), "sandbox; default-src 'none'");
    }
}
