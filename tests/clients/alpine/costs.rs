//! A repository that grows: its last packages cost what its first did, in what the server writes.

use entrepot_format_alpine::testing::Built;
use http::Method;

use crate::support::TestServer;
use crate::token;

/// Packages, and how many uploads are looked at together.
const PACKAGES: usize = 600;
const WINDOW: usize = 100;

/// Bytes that the server's processes wrote, to files and to other programs.
fn written(server: &TestServer) -> u64 {
    let of = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse::<u64>().unwrap()
    };
    server.pids().into_iter().map(of).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_the_last_package_costs_what_the_tenth_did() {
    let server = TestServer::start();
    let api = server.with_token(&token(&server).await);
    let mut marks = Vec::new();
    for number in 0..PACKAGES {
        if [10, 10 + WINDOW, PACKAGES - WINDOW].contains(&number) {
            marks.push(written(&server));
        }
        let upload = api.request(Method::PUT, "/main/alpine/edge/main").body(Built::new(&format!("grows-{number:03}"), "1-r0", "x86_64").bytes());
        api.send(upload).await.succeeded();
    }
    let (first, last) = (marks[1] - marks[0], written(&server) - marks[2]);
    assert!(last * 2 <= first * 3, "the tenth and {WINDOW} more wrote {first} bytes, the last {WINDOW} of {PACKAGES} wrote {last}");
    let index = api.get("/main/alpine/edge/main/x86_64/APKINDEX.tar.gz").await.succeeded().body;
    let text = entrepot_format_alpine::index::read(&index[..]).unwrap();
    assert_eq!(entrepot_format_alpine::index::records(&text).count(), PACKAGES);
}
