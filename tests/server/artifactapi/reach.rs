//! What is served while an upstream is away, and what when it answers with errors.

use std::time::Duration;

use super::{Caching, is};
use crate::operations::until;
use crate::upstream::Reply;

const REMOTE: &str = "  files:\n    base_url: UPSTREAM\n    package: alpine\n    mutable_patterns: ['latest']\n    cache: { mutable_ttl: 1000 }\n";
const CHECKED: &str = "  files:\n    base_url: UPSTREAM\n    mutable_patterns: ['latest']\n    check_mutable_updates: true\n    cache: { mutable_ttl: 1000, immutable_ttl: 1000 }\n";

/// A server with these files, all of them expired.
async fn expired(remote: &str, paths: &[&str]) -> Caching {
    let caching = Caching::alone(remote).await;
    for path in paths {
        caching.upstream.answer(path, Reply::bytes("one").etag("\"1\""));
        assert_eq!(caching.file(&format!("/api/files{path}")).await, is(200, "remote", "one"), "{path}");
    }
    caching.pass(2000);
    caching
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_file_is_served_and_fresh_again_while_connections_are_refused() {
    for remote in [REMOTE, CHECKED] {
        let paths = if remote == REMOTE { ["/latest", "/x/APKINDEX.tar.gz"] } else { ["/latest", "/never-changes"] };
        let caching = expired(remote, &paths).await;
        caching.upstream.stop().await;
        for path in paths {
            assert_eq!(caching.file(&format!("/api/files{path}")).await, is(200, "cache", "one"), "{path}");
        }
        // Fresh again: nobody asks before its time is over once more.
        caching.upstream.start_again().await;
        for path in paths {
            caching.upstream.answer(path, Reply::bytes("two").etag("\"2\""));
            caching.pass(400);
            let asked = caching.upstream.count(path);
            assert_eq!(caching.file(&format!("/api/files{path}")).await, is(200, "cache", "one"), "{path}");
            assert_eq!(caching.upstream.count(path), asked);
        }
        // An upstream that failed several times is left alone for a moment, whatever time it is.
        for path in paths {
            until("the upstream is asked again", async || {
                caching.pass(2000);
                caching.file(&format!("/api/files{path}")).await == is(200, "remote", "two")
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_file_is_served_and_fresh_again_when_no_answer_comes_in_time() {
    let caching = expired(REMOTE, &["/latest"]).await;
    caching.upstream.answer("/latest", Reply::bytes("two").delayed(Duration::from_secs(3600)));
    assert_eq!(caching.file("/api/files/latest").await, is(200, "cache", "one"));
    caching.upstream.answer("/latest", Reply::bytes("two"));
    let asked = caching.upstream.count("/latest");
    caching.pass(900);
    assert_eq!(caching.file("/api/files/latest").await, is(200, "cache", "one"));
    assert_eq!(caching.upstream.count("/latest"), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_file_is_served_and_fresh_again_when_the_name_is_unknown() {
    let mut caching = expired(REMOTE, &["/latest"]).await;
    caching.change_to(REMOTE, "http://nowhere.invalid").await;
    assert_eq!(caching.file("/api/files/latest").await, is(200, "cache", "one"));
    let upstream = caching.upstream.url();
    caching.change_to(REMOTE, &upstream).await;
    caching.upstream.answer("/latest", Reply::bytes("two"));
    caching.pass(900);
    assert_eq!(caching.file("/api/files/latest").await, is(200, "cache", "one"));
    caching.pass(200);
    assert_eq!(caching.file("/api/files/latest").await, is(200, "remote", "two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_answer_is_an_answer_and_what_expired_is_gone() {
    for (status, expected) in [(404, 404), (410, 404), (403, 502), (500, 503), (503, 503)] {
        for remote in [REMOTE, CHECKED] {
            let caching = expired(remote, &["/latest"]).await;
            caching.upstream.answer("/latest", Reply::status(status));
            // Often enough that the upstream is left alone for a while: it has answered all the same.
            for _ in 0..3 {
                let (answered, source, body) = caching.file("/api/files/latest").await;
                assert_eq!((answered, source.as_str()), (expected, ""), "{status}: {body}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_back_is_fetched() {
    let caching = expired(REMOTE, &["/latest"]).await;
    caching.upstream.answer("/latest", Reply::status(404));
    assert_eq!(caching.file("/api/files/latest").await.0, 404);
    caching.upstream.answer("/latest", Reply::bytes("two"));
    caching.pass(60);
    assert_eq!(caching.file("/api/files/latest").await, is(200, "remote", "two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_had_cannot_be_served() {
    let caching = Caching::alone(REMOTE).await;
    caching.upstream.answer("/kept", Reply::bytes("one"));
    caching.file("/api/files/kept").await;
    caching.upstream.stop().await;
    assert_eq!(caching.file("/api/files/kept").await, is(200, "cache", "one"));
    for path in ["/api/files/latest", "/api/files/other"] {
        let answer = caching.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-artifact-source")), (503, ""), "{path}");
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
    }
}

/// Readers of a body that breaks off must not get the end of the file before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_is_not_finished_with_old_bytes() {
    let caching = Caching::alone(REMOTE).await;
    let (old, new) = ("o".repeat(300_000), "n".repeat(300_000));
    caching.upstream.answer("/latest", Reply::bytes(old.clone()));
    assert_eq!(caching.get("/api/files/latest").await.text(), old);
    caching.pass(2000);
    caching.upstream.answer("/latest", Reply::bytes(new.clone()).cut_after(200_000));
    let url = format!("http://{}/api/files/latest", caching.house.host);
    let broken = match reqwest::get(&url).await {
        Ok(answer) if answer.status() == 200 => answer.bytes().await.map_err(drop),
        _ => Err(()),
    };
    assert!(broken.is_err(), "what began as the new file ended as something");
    caching.upstream.answer("/latest", Reply::bytes(new.clone()));
    assert_eq!(caching.file("/api/files/latest").await, is(200, "remote", &new));
}
