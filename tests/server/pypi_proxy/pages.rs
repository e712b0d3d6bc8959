//! Pages: read in both forms, shown in both, and kept when the index behind them is gone or lags behind.

use http::StatusCode;
use serde_json::json;

use super::{HTML, JSON, Mirror, file, page, sha256};
use crate::raw::Call;
use crate::upstream::{Reply, ScriptedUpstream};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_json_is_shown_as_ours_with_all_it_says() {
    let mirror = Mirror::start(json!({})).await;
    let wheel = file(
        "acme_foo-1.0-py3-none-any.whl",
        "https://files.example/a/acme_foo-1.0-py3-none-any.whl",
        b"wheel",
        json!({ "requires-python": ">=3.8", "upload-time": "2026-11-01T12:00:00.000000Z", "yanked": "bad <build>", "core-metadata": { "sha256": sha256(b"m") },
            "provenance": "https://files.example/p" }),
    );
    let source = file("acme_foo-1.0.tar.gz", "../../packages/acme_foo-1.0.tar.gz", b"source", json!({ "gpg-sig": true }));
    let odd = file("acme.foo-old (1).exe", "x.exe", b"odd", json!({}));
    let answer = page("acme.foo", 7, &[wheel, source, odd]);
    mirror.upstream.answer("/simple/acme-foo/", answer);
    let reply = mirror.page("acme-foo").await;
    assert_eq!((reply.status, reply.header("content-type"), reply.header("x-artifact-source")), (StatusCode::OK, JSON, "remote"), "{}", reply.text());
    let shown = reply.json();
    assert_eq!(shown["meta"], json!({ "api-version": "1.4" }));
    assert_eq!((&shown["name"], &shown["versions"], &shown["project-status"]["status"]), (&json!("acme-foo"), &json!(["old (1)", "1.0"]), &json!("active")));
    assert_eq!(
        shown["files"][0],
        json!({ "filename": "acme_foo-1.0-py3-none-any.whl", "url": "../../files/acme-foo/acme_foo-1.0-py3-none-any.whl", "hashes": { "sha256": sha256(b"wheel") },
            "requires-python": ">=3.8", "size": 5, "upload-time": "2026-11-01T12:00:00.000000Z", "yanked": "bad <build>",
            "core-metadata": { "sha256": sha256(b"m") }, "dist-info-metadata": { "sha256": sha256(b"m") },
            "provenance": format!("http://{}/alpha/mirror/integrity/acme-foo/1.0/acme_foo-1.0-py3-none-any.whl/provenance", mirror.house.host) })
    );
    assert_eq!((&shown["files"][1]["gpg-sig"], &shown["files"][1]["core-metadata"]), (&json!(true), &json!(false)));
    assert_eq!(shown["files"][2]["url"], "../../files/acme-foo/acme.foo-old%20%281%29.exe");
    let html = mirror.house.call(Call::get("/alpha/mirror/simple/acme-foo/").with("Accept", HTML)).await;
    assert_eq!((html.status, html.header("content-type"), html.header("x-artifact-source")), (StatusCode::OK, HTML, "cache"));
    assert!(html.text().contains("data-yanked=\"bad &lt;build&gt;\""), "{}", html.text());
    let plain = mirror.get("simple/acme-foo/").await;
    assert_eq!((plain.header("content-type"), plain.header("vary").to_ascii_lowercase().contains("accept")), ("text/html; charset=utf-8", true));
    let asked = mirror.upstream.seen();
    assert_eq!(asked.len(), 1, "all forms are made of one answer: {asked:?}");
    assert!(asked[0].header("accept").is_some_and(|accept| accept.starts_with(JSON)));
    // Other spellings lead to the normal one, and are not asked for.
    let spelled = mirror.get("simple/Acme.Foo/?x=1").await;
    assert_eq!((spelled.status, spelled.header("location")), (StatusCode::MOVED_PERMANENTLY, "/alpha/mirror/simple/acme-foo/?x=1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_speaks_html_only_is_shown_in_json() {
    let mirror = Mirror::start(json!({})).await;
    let digest = sha256(b"wheel");
    let html = format!(
        "<!DOCTYPE html><html><body><h1>Links for foo</h1>
        <a href=\"../../packages/foo-2.0%2Bcu121-py3-none-any.whl#sha256={digest}\" data-requires-python=\"&gt;=3.9\" data-yanked>foo-2.0+cu121-py3-none-any.whl</a>
        <a href='/old/foo-1.0.tar.gz'>foo-1.0.tar.gz</a></body></html>"
    );
    mirror.upstream.answer("/simple/foo/", Reply::bytes(html).header("Content-Type", "text/html"));
    mirror.upstream.answer("/packages/foo-2.0%2Bcu121-py3-none-any.whl", Reply::bytes("wheel"));
    mirror.upstream.answer("/old/foo-1.0.tar.gz", Reply::bytes("source"));
    let shown = mirror.page("foo").await.json();
    assert_eq!((&shown["meta"]["api-version"], &shown["versions"]), (&json!("1.0"), &json!(["1.0", "2.0+cu121"])), "sizes are not known");
    let wheel = &shown["files"][0];
    assert_eq!((&wheel["filename"], &wheel["hashes"]), (&json!("foo-2.0+cu121-py3-none-any.whl"), &json!({ "sha256": digest })));
    assert_eq!((&wheel["requires-python"], &wheel["yanked"], &wheel["core-metadata"]), (&json!(">=3.9"), &json!(true), &json!(true)));
    assert_eq!(shown["files"][1]["hashes"], json!({}));
    for path in ["files/foo/foo-2.0+cu121-py3-none-any.whl", "files/foo/foo-2.0%2Bcu121-py3-none-any.whl"] {
        assert_eq!(mirror.get(path).await.body, "wheel", "{path}");
    }
    Mirror::is(&mirror.get("files/foo/foo-1.0.tar.gz").await, "remote", b"source");
    Mirror::is(&mirror.get("files/foo/foo-1.0.tar.gz").await, "cache", b"source");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_no_page_is_said_truthfully() {
    let mirror = Mirror::start(json!({})).await;
    assert_eq!(mirror.page("missing").await.status, StatusCode::NOT_FOUND);
    assert_eq!(mirror.page("missing").await.status, StatusCode::NOT_FOUND);
    assert_eq!(mirror.upstream.count("/simple/missing/"), 1, "what is missing is remembered for a while");
    for (name, body) in [("portal", "<html><form>please sign in</form></html>"), ("other", r#"{"name":"another","files":[]}"#), ("broken", "{\"files\": [")] {
        mirror.upstream.answer(&format!("/simple/{name}/"), Reply::bytes(body));
        assert_eq!(mirror.page(name).await.status, StatusCode::BAD_GATEWAY, "{name}");
    }
    assert_eq!(mirror.get("files/missing/missing-1.0.tar.gz").await.status, StatusCode::NOT_FOUND);
    assert_eq!(mirror.get("simple/..%2fx/").await.status.as_u16() / 100, 4);
    let post = mirror.house.call_as("alpha-owner", Call::post("/alpha/mirror/", "x").with("Content-Type", "multipart/form-data; boundary=x")).await;
    assert_eq!(post.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_asked_for_again_and_outlive_their_index() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 })).await;
    let one = file("foo-1.0.tar.gz", "foo-1.0.tar.gz", b"one", json!({}));
    let two = file("foo-2.0.tar.gz", "foo-2.0.tar.gz", b"two", json!({}));
    mirror.upstream.answer("/simple/foo/", page("foo", 1, std::slice::from_ref(&one)));
    mirror.upstream.answer("/simple/foo/foo-1.0.tar.gz", Reply::bytes("one"));
    assert_eq!(mirror.page("foo").await.json()["files"].as_array().map(Vec::len), Some(1));
    mirror.upstream.answer("/simple/foo/", page("foo", 2, &[one, two]).etag("\"2\""));
    let second = mirror.page("foo").await;
    assert_eq!(second.json()["files"].as_array().map(Vec::len), Some(2));
    assert_eq!(mirror.page("foo").await.body, second.body);
    assert_eq!(mirror.house.head("alpha/mirror"), 2, "what did not change is no revision");
    Mirror::is(&mirror.get("files/foo/foo-1.0.tar.gz").await, "remote", b"one");
    mirror.upstream.stop().await;
    let kept = mirror.page("foo").await;
    assert_eq!((kept.status, kept.header("x-artifact-source"), &kept.body), (StatusCode::OK, "stale", &second.body));
    Mirror::is(&mirror.get("files/foo/foo-1.0.tar.gz").await, "cache", b"one");
    let never = mirror.get("files/foo/foo-2.0.tar.gz").await;
    assert_eq!((never.status, never.header("retry-after").is_empty()), (StatusCode::SERVICE_UNAVAILABLE, false), "a 404 would be believed");
    assert_eq!(mirror.page("bar").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_that_goes_backwards_is_not_taken() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 })).await;
    let of = |version: &str| file(&format!("foo-{version}.tar.gz"), "x.tar.gz", version.as_bytes(), json!({}));
    // The header says it where the page does not.
    let html = |version: &str, serial: &str| {
        Reply::bytes(format!("<html><a href='bar-{version}.tar.gz'>x</a></html>")).header("Content-Type", "text/html").header("X-PyPI-Last-Serial", serial)
    };
    for (serial, version, source, wanted) in [(20, "2.0", "remote", "2.0"), (19, "1.0", "stale", "2.0"), (21, "3.0", "remote", "3.0")] {
        mirror.upstream.answer("/simple/foo/", page("foo", serial, &[of(version)]));
        mirror.upstream.answer("/simple/bar/", html(version, &serial.to_string()));
        for project in ["foo", "bar"] {
            let reply = mirror.page(project).await;
            assert_eq!((reply.status, reply.header("x-artifact-source")), (StatusCode::OK, source), "{project} {serial}");
            assert_eq!(reply.json()["files"][0]["filename"], format!("{project}-{wanted}.tar.gz"), "{serial}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_relative_to_where_the_page_came_from() {
    let (mirror, elsewhere) = (Mirror::start(json!({})).await, ScriptedUpstream::start().await);
    mirror.upstream.answer("/simple/foo/", Reply::redirect(format!("{}/mirror/pages/foo/", elsewhere.url())));
    elsewhere.answer("/mirror/pages/foo/", page("foo", 1, &[file("foo-1.0.tar.gz", "../../files/foo-1.0.tar.gz", b"one", json!({}))]));
    elsewhere.answer("/mirror/files/foo-1.0.tar.gz", Reply::bytes("one"));
    Mirror::is(&mirror.get("files/foo/foo-1.0.tar.gz").await, "remote", b"one");
    assert_eq!(mirror.upstream.seen().len(), 1);
}
