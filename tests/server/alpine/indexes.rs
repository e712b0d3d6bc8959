//! Indexes: the first read after a publish has it, and what does not change stays as it was.

use std::collections::BTreeSet;

use futures::future::join_all;
use http::StatusCode;

use super::{HERE, MAIN, built, delete, get, house, index_of, packages_of, publish};
use crate::house::House;
use crate::raw::Call;
use crate::support::alpine::{listed, read};

const INDEX: &str = "v3.20/main/x86_64/APKINDEX.tar.gz";

#[tokio::test(flavor = "multi_thread")]
async fn alpine_every_read_sees_what_was_published_before_it() {
    let house = house().await;
    for number in 0..5 {
        publish(&house, &built("hello", &format!("1.{number}-r0"))).await;
        assert_eq!(packages_of(&house, HERE, "x86_64").await.len(), number + 1);
    }
    let then = house.head("alpha/alpine");
    let before = get(&house, INDEX).await;
    publish(&house, &entrepot_format_alpine::testing::Built::new("hello", "1.0-r0", "aarch64")).await;
    assert_eq!(get(&house, INDEX).await.body, before.body, "what happens elsewhere changes nothing here");
    let again = house.call(Call::get(format!("{HERE}/{INDEX}")).with("if-none-match", before.header("etag"))).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert_eq!(delete(&house, &format!("{MAIN}/x86_64/hello-1.4-r0.apk")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(packages_of(&house, HERE, "x86_64").await.len(), 4);
    let past = house.call(Call::get(format!("{HERE}.at-r{then}/{INDEX}"))).await;
    let folder = super::trusted(&house, HERE).await;
    assert_eq!(listed(&read(&past.body, folder.path())).len(), 5, "the past stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_many_publishes_at_once_are_one_right_index() {
    const PUBLISHES: usize = 240;
    let house = house().await;
    super::trusted(&house, HERE).await;
    let wanted: BTreeSet<String> = (0..PUBLISHES).map(|number| format!("p{}-{}-r0 x86_64", number % 80, number / 80)).collect();
    let numbers: Vec<usize> = (0..PUBLISHES).collect();
    for some in numbers.chunks(60) {
        join_all(some.iter().map(|number| {
            let (house, package) = (&house, built(&format!("p{}", number % 80), &format!("{}-r0", number / 80)));
            async move { publish(house, &package).await }
        }))
        .await;
    }
    let reads = join_all((0..16).map(|_| get(&house, INDEX))).await;
    assert!(reads.iter().all(|reply| reply.body == reads[0].body));
    assert_eq!(listed(&index_of(&house, HERE, "x86_64").await).into_iter().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(house.head("alpha/alpine"), PUBLISHES as u64, "each is one revision, and the index is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_a_burst_of_publishes_is_one_build_of_the_index() {
    let house = House::alone_with(|_| {}).await;
    super::set_up(&house).await;
    join_all((0..50).map(|number| {
        let house = &house;
        async move { publish(house, &built(&format!("burst{number}"), "1-r0")).await }
    }))
    .await;
    assert_eq!(house.figure("entrepot_document_cache_misses_total").await, 0, "nobody asked");
    let reads = join_all((0..16).map(|_| get(&house, INDEX))).await;
    assert!(reads.iter().all(|reply| reply.status == StatusCode::OK && reply.body == reads[0].body));
    assert_eq!(house.figure("entrepot_document_cache_misses_total").await, 1);
}
