//! Files that would run in a reader's browser, and ranges that would keep the server busy.
#![cfg(test)]

use entrepot_kit::Kind;
use serde_json::json;

use super::refused;
use crate::house::House;
use crate::raw::Call;

async fn house() -> House {
    let house = House::start().await;
    house.repository("alpha/files", "generic", Kind::Hosted, true, json!({})).await;
    house
}

/// What could run scripts is saved, not shown, and sandboxed where it is shown all the same.
#[tokio::test(flavor = "multi_thread")]
async fn cross_site_scripting_by_a_file() {
    let house = house().await;
    let script = "<script>alert(document.domain)</script>";
    let cases = [
        ("page.html", None),
        ("page.HTML", None),
        ("picture.svg", None),
        ("data.xml", None),
        ("script.js", None),
        ("paper.pdf", None),
        ("noextension", None),
        ("page.xhtml", None),
        ("a.txt", Some("text/html")),
        ("b.txt", Some("TEXT/HTML; charset=utf-7")),
        ("c.png", Some("image/svg+xml")),
        ("d.json", Some("application/xhtml+xml")),
        ("e", Some("text/xml")),
        ("f", Some("multipart/x-mixed-replace")),
        ("g.txt", Some("text/plain;text/html")),
        ("h.txt", Some("text/html ")),
    ];
    for (name, content_type) in cases {
        let mut call = Call::put(format!("/alpha/files/{name}"), script);
        if let Some(content_type) = content_type {
            call = call.with("Content-Type", content_type);
        }
        assert_eq!(house.call_as("alpha-owner", call).await.status, 201, "{name}");
        for range in [None, Some("bytes=0-20")] {
            let mut call = Call::get(format!("/alpha/files/{name}")).with("Accept", "text/html");
            call.headers.extend(range.map(|range| (String::from("Range"), range.to_owned())));
            let reply = house.call(call).await;
            assert!(reply.status.is_success() && reply.text().starts_with("<script>"), "{name}: {}", reply.status);
            assert_eq!(reply.header("x-content-type-options"), "nosniff", "{name}");
            if reply.header("content-type").starts_with("text/plain") {
                continue;
            }
            assert!(reply.header("content-disposition").starts_with("attachment"), "{name}: {:?}", reply.headers);
            assert_eq!(reply.header("content-security-policy"), "sandbox; default-src 'none'", "{name}");
        }
    }
}

/// Names in lists are text.
#[tokio::test(flavor = "multi_thread")]
async fn cross_site_scripting_by_a_name() {
    let house = house().await;
    let names =
        ["<img src=x onerror=alert(1)>", "\"><script>alert(1)<", "javascript:alert(1)", "'onmouseover='alert(1)", "&lt;b&gt;", "{{7*7}}", "\u{202e}gpj.exe"];
    let encode = |name: &str| percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string();
    for name in names {
        assert_eq!(
            house.call_as("alpha-owner", Call::put(format!("/alpha/files/folder/{}/{}.txt", encode(name), encode(name)), "x")).await.status,
            201,
            "{name}"
        );
    }
    let mut pages = vec![
        String::from("/alpha/files/folder/?format=html"),
        String::from("/alpha/files/folder/?format=html&limit=2"),
        String::from("/alpha/files/folder/?format=html&recursive=true"),
    ];
    pages.extend(names.map(|name| format!("/alpha/files/folder/{}/?format=html", encode(name))));
    pages.extend(names.map(|name| format!("/alpha/files/{}?format=html", encode(name))));
    pages.extend(names.map(|name| format!("/alpha/{}/x", encode(name))));
    pages.extend(names.map(|name| format!("/alpha/files/folder/?format={}", encode(name))));
    for page in pages {
        let reply = house.call(Call::get(&page).with("Accept", "text/html")).await;
        let text = reply.text();
        if reply.header("content-type").starts_with("text/html") {
            assert!(!text.contains("<img") && !text.contains("<script") && !text.contains("'onmouse") && !text.contains("\"javascript:"), "{page}: {text}");
            assert!(reply.header("content-security-policy").contains("default-src 'none'"), "{page}");
        } else {
            assert!(reply.header("content-type").starts_with("application/json"), "{page}: {:?}", reply.headers);
        }
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{page}");
    }
}

/// A name does not add headers, and does not end the one that it stands in.
#[tokio::test(flavor = "multi_thread")]
async fn header_injection_by_a_name() {
    let house = house().await;
    for name in ["a%0d%0aSet-Cookie:%20x=y", "a%0aX:%20y", "a%7f", "a%c2%85b"] {
        refused(&house.call_as("alpha-owner", Call::put(format!("/alpha/files/{name}"), "x")).await, name);
    }
    assert_eq!(house.head("alpha/files"), 0);
    for name in ["a%22%3b%20filename=evil.html", "a%3bb.zip", "%c3%a9.zip", "a%2c%20attachment.zip"] {
        assert_eq!(house.call_as("alpha-owner", Call::put(format!("/alpha/files/{name}"), "x")).await.status, 201, "{name}");
        let reply = house.call(Call::get(format!("/alpha/files/{name}"))).await;
        let disposition = reply.header("content-disposition");
        assert_eq!((disposition.matches('"').count(), disposition.matches("filename=").count()), (2, 1), "{disposition}");
        assert!(!reply.headers.contains_key("set-cookie"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn range_abuse() {
    let house = house().await;
    let body: Vec<u8> = (0..100_000u32).map(|at| (at % 256) as u8).collect();
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/files/big", body.clone())).await.status, 201);
    let many = format!("bytes={}", (0..1500).map(|at| format!("{at}-{at}")).collect::<Vec<_>>().join(","));
    let overlapping = format!("bytes={}", ["0-99999"; 300].join(","));
    for (range, status) in [
        (many.as_str(), 200),
        (overlapping.as_str(), 200),
        ("bytes=0-,0-,0-", 200),
        ("bytes=-5-3", 200),
        ("bytes=--5", 200),
        ("bytes=5-3", 416),
        ("bytes=a-b", 200),
        ("bytes=+1-2", 200),
        ("bytes= 1-2 ", 206),
        ("octets=0-1", 200),
        ("bytes", 200),
        ("bytes=", 200),
        ("bytes=0-0,", 200),
        ("bytes=100000-", 416),
        ("bytes=99999999999999999999-", 416),
        ("bytes=18446744073709551615-18446744073709551615", 416),
        ("bytes=-0", 416),
        ("bytes=99999-18446744073709551615", 206),
        ("bytes=0-18446744073709551616", 206),
        ("bytes=-18446744073709551616", 206),
        ("bytes=9223372036854775807-", 416),
    ] {
        let reply = house.call(Call::get("/alpha/files/big").with("Range", range)).await;
        assert_eq!(reply.status, status, "{range:.60}");
        let longest = if status == 416 { 0 } else { body.len() };
        assert!(reply.body.len() <= longest, "{range:.60}: {} bytes", reply.body.len());
        match status {
            200 => assert_eq!(reply.body, body, "{range:.60}"),
            206 => assert!(reply.header("content-range").ends_with("/100000"), "{range}"),
            _ => assert_eq!(reply.header("content-range"), "bytes */100000", "{range}"),
        }
    }
    assert_eq!(house.call(Call::get("/alpha/files/big").with("Range", "bytes=99999-")).await.body, &body[99_999..]);
}
