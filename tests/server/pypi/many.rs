//! A release with many files: what it shows, and that its order stands.
#![cfg(test)]

use entrepot_format_pypi::testing::{Form, Wheel};
use futures::StreamExt as _;
use http::{Method, StatusCode};

use super::{OWNER, at, files, house, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_three_hundred_files_is_yanked_and_deleted_as_one() {
    const FILES: usize = 300;
    let house = house().await;
    let uploads = (0..FILES).map(|number| {
        let house = &house;
        async move { send(house, &Form::wheel(&Wheel::new("foo", "1.0", "x").tagged(&format!("{number}-py3-none-any")))).await }
    });
    let mut uploads = futures::stream::iter(uploads).buffer_unordered(8);
    while let Some(reply) = uploads.next().await {
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    assert_eq!(files(&house, "foo").await.len(), FILES);
    let head = house.head("alpha/pypi");
    assert_eq!(head, FILES as u64, "a revision for each file");
    assert_eq!(house.call_as("bob", at(Method::POST, "manage/foo/1.0/yank")).await.status, StatusCode::OK);
    let page = super::page(&house, "foo").await;
    assert!(page["files"].as_array().unwrap().iter().all(|file| file["yanked"] == true));
    assert_eq!(house.head("alpha/pypi"), head + 1, "and one for all of them");
    assert_eq!(house.call_as(OWNER, at(Method::DELETE, "manage/foo/1.0")).await.status, StatusCode::OK);
    assert!(files(&house, "foo").await.is_empty());
    assert_eq!(house.head("alpha/pypi"), head + 2);
}
