//! A repository that grows: its last packages cost what its first did, in what the server writes.

use entrepot_format_alpine::testing::Built;
use http::Method;

use crate::support::TestServer;
use crate::support::process::variable;
use crate::token;

/// Packages, unless `ENTREPOT_TEST_PACKAGES` says how many, and how many uploads are looked at together.
const PACKAGES: usize = 600;
const WINDOW: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn alpine_the_last_package_costs_what_the_tenth_did() {
    let server = TestServer::start();
    let api = server.with_token(&token(&server).await);
    let packages = variable("ENTREPOT_TEST_PACKAGES").and_then(|count| count.parse().ok()).unwrap_or(PACKAGES);
    let mut marks = Vec::new();
    for number in 0..packages {
        if [10, 10 + WINDOW, packages - WINDOW].contains(&number) {
            marks.push(server.written());
        }
        let upload = api.request(Method::PUT, "/main/alpine/edge/main").body(Built::new(&format!("grows-{number:03}"), "1-r0", "x86_64").bytes());
        api.send(upload).await.succeeded();
    }
    let (first, last) = (marks[1] - marks[0], server.written() - marks[2]);
    println!("{packages} packages: {WINDOW} from the tenth on wrote {first} bytes, the last {WINDOW} wrote {last}");
    assert!(last * 2 <= first * 3, "the tenth and {WINDOW} more wrote {first} bytes, the last {WINDOW} of {packages} wrote {last}");
    let index = api.get("/main/alpine/edge/main/x86_64/APKINDEX.tar.gz").await.succeeded().body;
    let text = entrepot_format_alpine::index::read(&index[..]).unwrap();
    assert_eq!(entrepot_format_alpine::index::records(&text).count(), packages);
}
