//! Which paths are served.

use http::StatusCode;

use super::Caching;
use crate::raw::Call;
use crate::upstream::Reply;

/// Asks for paths of a remote whose upstream has everything, and says which are served; the others are 403 and not asked for.
async fn served(remote: &str, paths: &[&str]) -> Vec<bool> {
    let caching = Caching::start(&format!("  files:\n    base_url: UPSTREAM\n{remote}")).await;
    let mut served = Vec::new();
    for path in paths {
        caching.upstream.answer(&format!("/{path}"), Reply::bytes("bytes"));
        let answer = caching.get(&format!("/api/files/{path}")).await;
        let is_served = answer.status == StatusCode::OK;
        assert!(is_served || answer.status == StatusCode::FORBIDDEN, "{path}: {}", answer.status);
        assert_eq!(caching.upstream.count(&format!("/{path}")), usize::from(is_served), "{path}");
        served.push(is_served);
    }
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_matches_anywhere_unless_anchored() {
    let remote = "    immutable_patterns: ['tool', '^pool/', '\\.apk$']\n";
    let paths = ["a/tool-1/x", "xtoolx", "pool/a", "a/pool/b", "b.apk", "b.apk.sig", "other"];
    assert_eq!(served(remote, &paths).await, [true, true, true, false, true, false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_immutable_patterns_everything_is_served() {
    assert_eq!(served("", &["any", "thing/at.all"]).await, [true, true]);
    assert_eq!(served("    mutable_patterns: ['latest']\n", &["any", "latest"]).await, [true, true]);
    assert_eq!(served("    immutable_patterns: []\n", &["any"]).await, [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutable_pattern_serves_too() {
    let remote = "    immutable_patterns: ['\\.tar\\.gz$']\n    mutable_patterns: ['^nightly/']\n";
    assert_eq!(served(remote, &["a.tar.gz", "nightly/a.zip", "a.zip"]).await, [true, true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_kind_of_package_has_besides_is_served() {
    let paths = ["main/x86_64/APKINDEX.tar.gz", "repo/repomd.xml", "os/repodata/abc-primary.xml.gz", "dists/Packages.gz", "a.pkg", "b.txt"];
    for (package, expected) in [
        ("generic", [false, false, false, false, true, false]),
        ("alpine", [true, false, false, false, true, false]),
        ("rpm", [false, true, true, true, true, false]),
    ] {
        let remote = format!("    package: {package}\n    immutable_patterns: ['\\.pkg$']\n");
        assert_eq!(served(&remote, &paths).await, expected, "{package}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_is_refused_even_when_it_is_stored() {
    let all = "  files:\n    base_url: UPSTREAM\n";
    let mut caching = Caching::start(all).await;
    caching.upstream.answer("/a.txt", Reply::bytes("bytes"));
    assert_eq!(caching.get("/api/files/a.txt").await.status, StatusCode::OK);
    let upstream = caching.upstream.url();
    caching.change_to(&format!("{all}    immutable_patterns: ['\\.apk$']\n"), &upstream).await;
    for address in ["/api/files/a.txt", "/api/v1/remote/files/a.txt", "/main/files/a.txt"] {
        let answer = caching.house.call(Call::get(address)).await;
        assert_eq!((answer.status, answer.header("x-artifact-policy")), (StatusCode::FORBIDDEN, "paths"), "{address}");
    }
}
