//! How long files are served without a question, and how the question is asked.

use super::{Caching, is};
use crate::upstream::Reply;

/// A remote with these lines besides.
fn remote(lines: &str) -> String {
    format!("  files:\n    base_url: UPSTREAM\n{lines}")
}

#[tokio::test(flavor = "multi_thread")]
async fn mutable_files_expire_after_their_time_and_are_fetched_anew() {
    let caching = Caching::alone(&remote("    mutable_patterns: ['latest']\n    cache: { mutable_ttl: 1000 }\n")).await;
    caching.upstream.answer("/latest.txt", Reply::bytes("one").etag("\"1\""));
    assert_eq!(caching.file("/api/files/latest.txt").await, is(200, "remote", "one"));
    caching.upstream.answer("/latest.txt", Reply::bytes("two").etag("\"2\""));
    caching.pass(900);
    assert_eq!(caching.file("/api/files/latest.txt").await, is(200, "cache", "one"));
    caching.pass(200);
    assert_eq!(caching.file("/api/files/latest.txt").await, is(200, "remote", "two"));
    assert_eq!(caching.file("/api/files/latest.txt").await, is(200, "cache", "two"));
    assert_eq!(caching.asked("/latest.txt"), ["GET", "GET"]);
    assert!(caching.upstream.seen().iter().all(|seen| seen.header("if-none-match").is_none()), "nothing was said of what was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn immutable_files_never_expire_with_0_and_else_after_their_time() {
    for (ttl, expected) in [("0", is(200, "cache", "one")), ("1000", is(200, "remote", "two"))] {
        let caching = Caching::alone(&remote(&format!("    cache: {{ immutable_ttl: {ttl}, mutable_ttl: 1 }}\n"))).await;
        caching.upstream.answer("/a.bin", Reply::bytes("one"));
        assert_eq!(caching.file("/api/files/a.bin").await, is(200, "remote", "one"));
        caching.upstream.answer("/a.bin", Reply::bytes("two"));
        caching.pass(900);
        assert_eq!(caching.file("/api/files/a.bin").await, is(200, "cache", "one"), "immutable_ttl: {ttl}");
        caching.pass(200);
        assert_eq!(caching.file("/api/files/a.bin").await, expected, "immutable_ttl: {ttl}");
    }
    let caching = Caching::alone(&remote("")).await;
    caching.upstream.answer("/a.bin", Reply::bytes("one"));
    caching.file("/api/files/a.bin").await;
    caching.pass(10 * 365 * 24 * 3600);
    assert_eq!(caching.file("/api/files/a.bin").await, is(200, "cache", "one"), "0 is what counts when nothing is said");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_time_that_is_set_later_counts_for_what_is_there() {
    let mut caching = Caching::alone(&remote("")).await;
    caching.upstream.answer("/a.bin", Reply::bytes("one"));
    caching.file("/api/files/a.bin").await;
    let upstream = caching.upstream.url();
    caching.change_to(&remote("    cache: { immutable_ttl: 1000 }\n"), &upstream).await;
    caching.upstream.answer("/a.bin", Reply::bytes("two"));
    caching.pass(2000);
    assert_eq!(caching.file("/api/files/a.bin").await, is(200, "remote", "two"));
}

const CHECKED: &str = "    mutable_patterns: ['archive/main\\.tar\\.gz$']\n    check_mutable_updates: true\n    cache: { mutable_ttl: 1000 }\n";
const ARCHIVE: &str = "/acme/tool/archive/main.tar.gz";

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_file_costs_a_head_and_nothing_else() {
    for (reply, condition, value) in [
        (Reply::bytes("one").etag("\"1\""), "if-none-match", "\"1\""),
        (Reply::bytes("one").header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"), "if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ] {
        let caching = Caching::alone(&remote(CHECKED)).await;
        caching.upstream.answer(ARCHIVE, reply);
        assert_eq!(caching.file(&format!("/api/files{ARCHIVE}")).await, is(200, "remote", "one"));
        let revision = caching.house.head("main/files");
        caching.pass(2000);
        assert_eq!(caching.file(&format!("/api/files{ARCHIVE}")).await, is(200, "cache", "one"));
        assert_eq!(caching.asked(ARCHIVE), ["GET", "HEAD"], "a branch archive is not downloaded again");
        assert_eq!(caching.upstream.seen_at(ARCHIVE)[1].header(condition), Some(value));
        assert_eq!(caching.house.head("main/files"), revision, "and nothing was stored");
        // Its time began anew.
        caching.pass(900);
        assert_eq!(caching.file(&format!("/api/files{ARCHIVE}")).await, is(200, "cache", "one"));
        assert_eq!(caching.upstream.count(ARCHIVE), 2);
        caching.pass(200);
        caching.file(&format!("/api/files{ARCHIVE}")).await;
        assert_eq!(caching.asked(ARCHIVE), ["GET", "HEAD", "HEAD"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_replaced() {
    let caching = Caching::alone(&remote(CHECKED)).await;
    caching.upstream.answer(ARCHIVE, Reply::bytes("one").etag("\"1\""));
    caching.file(&format!("/api/files{ARCHIVE}")).await;
    caching.upstream.answer(ARCHIVE, Reply::bytes("two").etag("\"2\""));
    caching.pass(2000);
    assert_eq!(caching.file(&format!("/api/files{ARCHIVE}")).await, is(200, "remote", "two"));
    assert_eq!(caching.asked(ARCHIVE), ["GET", "HEAD", "GET"]);
    caching.pass(2000);
    assert_eq!(caching.file(&format!("/api/files{ARCHIVE}")).await, is(200, "cache", "two"));
    assert_eq!(caching.upstream.seen_at(ARCHIVE)[3].header("if-none-match"), Some("\"2\""), "the new one's validator counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_nothing_of_its_state_is_fetched_anew() {
    let caching = Caching::alone(&remote(CHECKED)).await;
    caching.upstream.answer(ARCHIVE, Reply::bytes("one"));
    caching.file(&format!("/api/files{ARCHIVE}")).await;
    caching.pass(2000);
    assert_eq!(caching.file(&format!("/api/files{ARCHIVE}")).await, is(200, "remote", "one"));
    assert_eq!(caching.asked(ARCHIVE), ["GET", "GET"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_head_is_followed_by_a_get() {
    for status in [401, 403, 405, 501] {
        let caching = Caching::alone(&remote(CHECKED)).await;
        caching.upstream.answer_in_turn(ARCHIVE, [Reply::bytes("one").etag("\"1\""), Reply::status(status), Reply::bytes("two").etag("\"2\"")]);
        caching.file(&format!("/api/files{ARCHIVE}")).await;
        caching.pass(2000);
        assert_eq!(caching.file(&format!("/api/files{ARCHIVE}")).await, is(200, "remote", "two"), "{status}");
        assert_eq!(caching.asked(ARCHIVE), ["GET", "HEAD", "GET"], "{status}");
    }
}

/// What of a kind of package changes by its nature is never checked, however it is named.
#[tokio::test(flavor = "multi_thread")]
async fn built_in_patterns_are_always_fetched_anew() {
    for (package, path, pattern) in [
        ("alpine", "/v3/main/x86_64/APKINDEX.tar.gz", "APKINDEX\\.tar\\.gz$"),
        ("rpm", "/os/repodata/repomd.xml", "repodata"),
        ("rpm", "/os/repodata/x-primary.xml.gz", "xml"),
    ] {
        let lines = format!(
            "    package: {package}\n    mutable_patterns: ['{pattern}', '{pattern}']\n    check_mutable_updates: true\n    cache: {{ mutable_ttl: 1000 }}\n"
        );
        let caching = Caching::alone(&remote(&lines)).await;
        caching.upstream.answer(path, Reply::bytes("index").etag("\"1\"").header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"));
        assert_eq!(caching.file(&format!("/api/files{path}")).await, is(200, "remote", "index"));
        caching.pass(900);
        assert_eq!(caching.file(&format!("/api/files{path}")).await, is(200, "cache", "index"));
        caching.pass(200);
        assert_eq!(caching.file(&format!("/api/files{path}")).await, is(200, "remote", "index"), "{path}");
        assert_eq!(caching.asked(path), ["GET", "GET"]);
        assert!(caching.upstream.seen().iter().all(|seen| seen.header("if-none-match").is_none() && seen.header("if-modified-since").is_none()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_with_every_question() {
    let lines = format!("    username: reader\n    password: hunter2\n{CHECKED}");
    let caching = Caching::alone(&remote(&lines)).await;
    caching.upstream.answer(ARCHIVE, Reply::bytes("one").etag("\"1\"").guarded("Basic cmVhZGVyOmh1bnRlcjI=", "Basic realm=\"x\""));
    assert_eq!(caching.file(&format!("/api/files{ARCHIVE}")).await, is(200, "remote", "one"));
    caching.pass(2000);
    assert_eq!(caching.file(&format!("/api/files{ARCHIVE}")).await, is(200, "cache", "one"));
    assert_eq!(caching.asked(ARCHIVE), ["GET", "HEAD"]);
}
