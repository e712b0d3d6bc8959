//! States of metadata: any that a client began to read stays whole, and what it costs does not grow.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream;
use http::StatusCode;
use serde_json::json;

use super::{HERE, addresses, delete, document, file_name, get, house, listed_in, publish, repomd};
use crate::house::House;
use crate::raw::Call;

#[tokio::test(flavor = "multi_thread")]
async fn rpm_a_reader_of_an_old_state_gets_all_that_it_names() {
    let mut house = house().await;
    let here = format!("{HERE}/");
    for number in 0..5 {
        publish(&house, "", &format!("kept{number}"), "1.0").await;
    }
    let read = repomd(&house, &here).await;
    for number in 0..100 {
        publish(&house, "", &format!("new{number}"), "1.0").await;
        if number % 10 == 0 {
            assert!(!addresses(&house, &here).await.is_empty(), "others read on");
        }
    }
    for number in 0..5 {
        assert_eq!(delete(&house, &file_name(&format!("kept{number}"), "1.0")).await.status, StatusCode::NO_CONTENT);
    }
    for number in 0..95 {
        assert_eq!(delete(&house, &file_name(&format!("new{number}"), "1.0")).await.status, StatusCode::NO_CONTENT);
    }
    // Nothing of it is in memory any more.
    house.restart().await;
    let names: Vec<String> = listed_in(&document(&house, &here, &read, "primary").await).into_iter().map(|package| package.name).collect();
    assert_eq!(names, ["kept0", "kept1", "kept2", "kept3", "kept4"]);
    for kind in ["filelists", "other"] {
        document(&house, &here, &read, kind).await;
    }
    assert_eq!(addresses(&house, &here).await.len(), 5);
    // What never was is not there, whatever it is called.
    let name = read.of("primary").unwrap().href.clone();
    let digest = "0".repeat(64);
    for wrong in [name.replace("-r", "-r9"), name.replace("primary", "other"), format!("repodata/{digest}-r3-primary.xml.gz"), name.replace("-r", "-t")] {
        assert_eq!(get(&house, &wrong).await.status, StatusCode::NOT_FOUND, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_past_views_have_their_own_metadata() {
    let house = house().await;
    publish(&house, "", "first", "1.0").await;
    let then = house.head("alpha/rpm");
    publish(&house, "", "second", "1.0").await;
    assert_eq!(addresses(&house, &format!("{HERE}.at-r{then}/")).await, ["first-1.0-1.noarch.rpm"]);
    assert_eq!(addresses(&house, &format!("{HERE}/")).await.len(), 2);
}

/// Other folders' changes are nobody's business here: clients fetch nothing anew.
#[tokio::test(flavor = "multi_thread")]
async fn rpm_metadata_of_a_folder_changes_with_the_folder() {
    let house = house().await;
    publish(&house, "el8/", "tool", "1.0").await;
    let before = get(&house, "el8/repodata/repomd.xml").await;
    publish(&house, "el9/", "tool", "1.0").await;
    let after = get(&house, "el8/repodata/repomd.xml").await;
    assert_eq!(before.body, after.body);
    let again = house.call(Call::get(format!("{HERE}/el8/repodata/repomd.xml")).with("if-none-match", before.header("etag"))).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_many_publish_at_once_and_the_index_is_right() {
    const PUBLISHES: usize = 1000;
    let house = house().await;
    let here = format!("{HERE}/");
    let wanted: BTreeSet<String> =
        (0..PUBLISHES).map(|number| format!("el9/{}", file_name(&format!("p{}", number % 100), &format!("{}.0", number / 100)))).collect();
    let publishes = (0..PUBLISHES).map(|number| {
        let (house, name, version) = (&house, format!("p{}", number % 100), format!("{}.0", number / 100));
        async move { publish(house, "el9/", &name, &version).await }
    });
    // A database that others use too gives a server so many connections, and no more.
    let at_once = if house.engines() > 1 { 30 } else { PUBLISHES };
    let publishes = stream::iter(publishes).buffer_unordered(at_once).collect::<Vec<()>>();
    // Readers in between see some state, and all of it.
    let reader = async {
        for _ in 0..10 {
            let listed = addresses(&house, &here).await;
            assert!(listed.iter().all(|href| wanted.contains(href)), "{listed:?}");
        }
    };
    futures::join!(publishes, reader);
    assert_eq!(addresses(&house, &here).await.into_iter().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(house.head("alpha/rpm"), PUBLISHES as u64, "each is one revision, and metadata is none");
}

/// `repomd.xml` and the three documents that it names, whatever was published before and however many ask.
#[tokio::test(flavor = "multi_thread")]
async fn rpm_a_burst_of_publishes_is_one_build_of_the_metadata() {
    let house = House::alone_with(|_| {}).await;
    super::set_up(&house, json!({})).await;
    let publish = |number| {
        let house = &house;
        async move { publish(house, "", &format!("burst{number}"), "1.0").await }
    };
    join_all((0..50).map(publish)).await;
    assert_eq!(house.figure("entrepot_document_cache_misses_total").await, 0, "nobody asked");
    let asked = join_all((0..16).map(|_| get(&house, "repodata/repomd.xml"))).await;
    assert!(asked.iter().all(|reply| reply.body == asked[0].body));
    assert_eq!(addresses(&house, &format!("{HERE}/")).await.len(), 50);
    assert_eq!(house.figure("entrepot_document_cache_misses_total").await, 4);
}
