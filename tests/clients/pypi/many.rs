//! A release that grows: its last files cost what its first did, in what the server writes and reads.
#![cfg(test)]

use entrepot_format_pypi::testing::{Form, Wheel};
use http::Method;

use super::Site;
use crate::support::TestServer;

/// Files of the release, and how many uploads are looked at together.
const FILES: usize = 600;
const WINDOW: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn pypi_the_last_file_of_a_release_costs_what_the_tenth_did() {
    let server = TestServer::start();
    let site = Site::of(&server).await;
    let api = server.with_token(&site.token);
    let mut marks = Vec::new();
    for number in 0..FILES {
        if [10, 10 + WINDOW, FILES - WINDOW].contains(&number) {
            marks.push(server.written());
        }
        let form = Form::wheel(&Wheel::new("grows", "1.0", "x").tagged(&format!("{number}-py3-none-any")));
        let upload = api.request(Method::POST, "/main/pypi/").header("content-type", Form::content_type()).body(form.body());
        api.send(upload).await.succeeded();
    }
    let (first, last) = (marks[1] - marks[0], server.written() - marks[2]);
    assert!(last * 2 <= first * 3, "the tenth and {WINDOW} more wrote {first} bytes, the last {WINDOW} of {FILES} wrote {last}");
    let page = api.get("/main/pypi/simple/grows/?format=application/vnd.pypi.simple.v1%2Bjson").await.succeeded().json();
    assert_eq!(page["files"].as_array().map(Vec::len), Some(FILES));
}
