//! Pages: forms, redirects, validators, and the legacy JSON.
#![cfg(test)]

use std::io::Read as _;

use entrepot_format_pypi::testing::{Form, Wheel, sdist};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{HERE, JSON, at, get, house, page, publish, send};

#[tokio::test(flavor = "multi_thread")]
async fn clients_get_the_form_that_they_ask_for() {
    let house = house().await;
    publish(&house, &Wheel::new("foo", "1.0", "x")).await;
    let html = "text/html; charset=utf-8";
    for path in ["simple/foo/", "simple/"] {
        for (accept, wanted) in [
            ("", html),
            ("*/*", html),
            (JSON, JSON),
            ("application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01", JSON),
            ("application/vnd.pypi.simple.latest+json", JSON),
            ("application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.v1+html"),
            ("text/html", html),
            ("text/html;q=0.5, application/vnd.pypi.simple.v1+json;q=0.4", html),
        ] {
            let call = if accept.is_empty() { get(path) } else { get(path).with("Accept", accept) };
            let reply = house.call(call).await;
            assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, wanted), "{path} {accept}");
            assert!(reply.header("vary").contains("Accept") && reply.header("cache-control").contains("max-age=0"), "{:?}", reply.headers);
            let etag = reply.header("etag").to_owned();
            let again = get(path).with("Accept", if accept.is_empty() { "*/*" } else { accept }).with("If-None-Match", etag.clone());
            assert_eq!(house.call(again).await.status, StatusCode::NOT_MODIFIED, "{path} {accept} {etag}");
        }
        assert_eq!(house.call(get(path).with("Accept", "application/xml")).await.status, StatusCode::NOT_ACCEPTABLE);
        assert_eq!(house.call(get(&format!("{path}?format={}", JSON.replace('+', "%2B")))).await.header("content-type"), JSON);
    }
    let zipped = house.call(get("simple/foo/").with("Accept", JSON).with("Accept-Encoding", "gzip")).await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&zipped.body[..]).read_to_string(&mut plain).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&plain).unwrap(), page(&house, "foo").await);
    let list = house.call(get("simple/").with("Accept", JSON)).await.json();
    assert_eq!(list["projects"], json!([{"name": "foo"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_spellings_are_sent_on_with_their_query() {
    let house = house().await;
    publish(&house, &Wheel::new("Acme.Foo", "1.0", "x")).await;
    for (asked, wanted) in [
        ("simple/acme-foo", "simple/acme-foo/"),
        ("simple/Acme.Foo/", "simple/acme-foo/"),
        ("simple/acme_-_foo?format=a%2Bb&x=1", "simple/acme-foo/?format=a%2Bb&x=1"),
        ("simple", "simple/"),
        ("pypi/Acme.Foo/json", "pypi/acme-foo/json"),
        ("pypi/Acme.Foo/1.0/json", "pypi/acme-foo/1.0/json"),
    ] {
        let reply = house.call(get(asked)).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::MOVED_PERMANENTLY, format!("{HERE}/{wanted}").as_str()), "{asked}");
    }
    for nothing in [
        "simple/nothing/",
        "simple/-x-/",
        "files/acme-foo/nothing.whl",
        "files/Acme.Foo/acme_foo-1.0-py3-none-any.whl",
        "pypi/nothing/json",
        "pypi/acme-foo/9/json",
    ] {
        let reply = house.call(get(nothing)).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{nothing}");
        assert!(reply.header("content-type").starts_with("text/plain"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn html_and_json_say_the_same_of_each_file() {
    let house = house().await;
    publish(&house, &Wheel::new("foo", "1.0", "x").header("Requires-Python", ">=3.8, !=3.9")).await;
    publish(&house, &Wheel::new("foo", "1.0+local.1", "x")).await;
    let (name, source) = sdist("foo", "2.0rc1", "x");
    assert_eq!(send(&house, &Form::upload("foo", "2.0rc1", &name, &source)).await.status, StatusCode::OK);
    let json = page(&house, "foo").await;
    for key in ["meta", "name", "project-status", "versions", "files"] {
        assert!(json.get(key).is_some(), "{key}");
    }
    let html = house.call(get("simple/foo/")).await.text();
    for file in json["files"].as_array().unwrap() {
        let text = |key: &str| file[key].as_str().unwrap_or_default().to_owned();
        let sha256 = file["hashes"]["sha256"].as_str().unwrap();
        assert!(html.contains(&format!("href=\"{}#sha256={sha256}\"", text("url"))), "{html}");
        assert!(html.contains(&format!(">{}</a>", text("filename"))), "{html}");
        assert!(html.contains(&format!("data-core-metadata=\"sha256={}\"", file["core-metadata"]["sha256"].as_str().unwrap())), "{html}");
        for mandatory in ["filename", "url", "upload-time"] {
            assert!(!text(mandatory).is_empty(), "{mandatory}: {file}");
        }
        assert!(file["size"].is_u64() && file["yanked"].is_boolean() && file["provenance"].is_null());
        assert_eq!(file["core-metadata"], file["dist-info-metadata"]);
    }
    assert!(html.contains("data-requires-python=\"&gt;=3.8, !=3.9\""), "{html}");
    assert!(html.contains("<meta name=\"pypi:repository-version\" content=\"1.4\">"), "{html}");
    assert_eq!(json["versions"], json!(["1.0", "1.0+local.1", "2.0rc1"]));
    assert!(html.contains("href=\"../../files/foo/foo-1.0+local.1-py3-none-any.whl#"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_legacy_json_has_what_tools_read() {
    let house = house().await;
    let wheel = Wheel::new("Acme.Foo", "1.0", "x")
        .header("Requires-Dist", "other>=1; extra == \"more\"")
        .header("Provides-Extra", "more")
        .header("Project-URL", "Home, https://home.example/")
        .header("Classifier", "Topic :: Tests")
        .header("Requires-Python", ">=3.8");
    publish(&house, &wheel).await;
    publish(&house, &Wheel::new("Acme.Foo", "2.0rc1", "x")).await;
    let json = house.call(get("pypi/acme-foo/json")).await.json();
    let info = &json["info"];
    assert_eq!((&info["name"], &info["version"], &info["summary"]), (&json!("Acme.Foo"), &json!("1.0"), &json!("A small package")));
    assert_eq!(info["requires_dist"], json!(["other>=1; extra == \"more\""]));
    assert_eq!(info["project_urls"], json!({"Home": "https://home.example/"}));
    assert_eq!(info["classifiers"], json!(["Topic :: Tests"]));
    assert_eq!(info["requires_python"], ">=3.8");
    assert_eq!(json["releases"].as_object().unwrap().keys().collect::<Vec<_>>(), ["1.0", "2.0rc1"]);
    assert_eq!(json["vulnerabilities"], json!([]));
    let url = &json["urls"][0];
    assert_eq!((&url["packagetype"], &url["yanked"], &url["size"]), (&json!("bdist_wheel"), &json!(false), &json!(wheel.build().len())));
    let path = url["url"].as_str().unwrap().strip_prefix(&format!("http://{}{HERE}/", house.host)).unwrap().to_owned();
    assert_eq!(house.call(get(&path)).await.body, wheel.build());
    let release = house.call(get("pypi/acme-foo/2.0.RC1/json")).await.json();
    assert_eq!(release["info"]["version"], "2.0rc1");
    assert!(release.get("releases").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn wheels_are_read_in_ranges() {
    let house = house().await;
    let wheel = Wheel::new("foo", "1.0", "x");
    publish(&house, &wheel).await;
    let path = format!("files/foo/{}", wheel.filename());
    let head = house.call(at(Method::HEAD, &path)).await;
    assert_eq!((head.status, head.header("accept-ranges")), (StatusCode::OK, "bytes"));
    assert_eq!(head.header("content-length"), wheel.build().len().to_string());
    let tail = house.call(get(&path).with("Range", "bytes=-22")).await;
    assert_eq!(tail.status, StatusCode::PARTIAL_CONTENT);
    assert!(tail.body.starts_with(b"PK\x05\x06"));
    assert!(head.header("cache-control").contains("immutable"), "{:?}", head.headers);
}
