//! Many who deploy at once.

use entrepot_format_maven::metadata::Metadata;
use entrepot_format_maven::testing::{checksum, path, pom};
use entrepot_kit::Algorithm;
use futures::future::join_all;
use http::StatusCode;

use super::{deploy, filled, get, house, metadata, put, release};

/// How many at once.
const BUILDS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_releases_of_one_artifact_are_all_listed() {
    let house = house().await;
    join_all((0..BUILDS).map(async |number| {
        let version = format!("1.{number}");
        let (file, bytes) = (path("com.acme", "lib", &version, ".jar"), filled(&version));
        deploy(&house, &file, bytes.clone()).await;
        deploy(&house, &format!("{file}.sha1"), checksum(&bytes, Algorithm::Sha1)).await;
        // As Maven 4 sends them: the others beside each other.
        let [pom_path, sources_path] = [".pom", "-sources.jar"].map(|ending| path("com.acme", "lib", &version, ending));
        futures::join!(deploy(&house, &pom_path, pom("com.acme", "lib", &version, "jar")), deploy(&house, &sources_path, filled("sources")));
        let stale = Metadata { versions: vec![version], ..Metadata::default() };
        deploy(&house, "com/acme/lib/maven-metadata.xml", stale.render()).await;
    }))
    .await;
    let wanted: Vec<String> = (0..BUILDS).map(|number| format!("1.{number}")).collect();
    assert_eq!(metadata(&house, "com/acme/lib").await.versions, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_builds_of_one_snapshot_resolve_whole() {
    let house = house().await;
    let folder = "com/acme/lib/1.1-SNAPSHOT";
    join_all((0..BUILDS).map(async |number| {
        // All read the metadata before any wrote it, and chose the same number.
        let stamp = format!("20260101.0000{number:02}-1");
        for ending in [".jar", "-sources.jar"] {
            deploy(&house, &format!("{folder}/lib-1.1-{stamp}{ending}"), filled(&format!("{stamp}{ending}"))).await;
        }
        deploy(&house, &format!("{folder}/lib-1.1-{stamp}.pom"), pom("com.acme", "lib", "1.1-SNAPSHOT", "jar")).await;
        let shown = get(&house, &format!("{folder}/maven-metadata.xml")).await;
        if shown.status == StatusCode::OK {
            whole(&house, &Metadata::parse(&shown.body).expect("metadata")).await;
        }
        let (time, _) = stamp.split_once('-').expect("a stamp");
        let own = Metadata { snapshot: Some((time.to_owned(), 1)), version: String::from("1.1-SNAPSHOT"), ..Metadata::default() };
        deploy(&house, &format!("{folder}/maven-metadata.xml"), own.render()).await;
    }))
    .await;
    let shown = metadata(&house, folder).await;
    assert_eq!(shown.snapshot, Some((String::from("20260101.000015"), 1)), "the newest, whoever ended last");
    assert_eq!(whole(&house, &shown).await, 3);
}

/// Makes sure that everything that metadata names is there and of one build; how much that is.
async fn whole(house: &crate::house::House, shown: &Metadata) -> usize {
    for file in &shown.files {
        let dash = if file.classifier.is_empty() { "" } else { "-" };
        let path = format!("com/acme/lib/1.1-SNAPSHOT/lib-{}{dash}{}.{}", file.value, file.classifier, file.extension);
        assert_eq!(get(house, &path).await.status, StatusCode::OK, "{path}");
        assert_eq!(file.value, shown.files[0].value, "{shown:?}");
    }
    shown.files.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_with_other_bytes_one_wins() {
    let house = house().await;
    let file = path("com.acme", "lib", "1.0", ".jar");
    let replies = join_all((0..BUILDS).map(|number| put(&house, &file, filled(&number.to_string())))).await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), BUILDS - 1, "{statuses:?}");
    // Whoever lost the answer sends the same again.
    let file = path("com.acme", "lib", "1.1", ".jar");
    let same = join_all((0..BUILDS).map(|_| put(&house, &file, filled("same")))).await;
    assert!(same.iter().all(|reply| reply.status.is_success()), "{:?}", same.iter().map(|reply| reply.status).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_and_its_file_meet_in_any_order() {
    let house = house().await;
    for round in 0..BUILDS {
        let version = format!("1.{round}");
        let (file, bytes) = (path("com.acme", "lib", &version, ".jar"), filled(&version));
        let (sum, wrong) = (format!("{file}.sha1"), format!("{file}.md5"));
        let (stored, right, wrong) = futures::join!(
            put(&house, &file, bytes.clone()),
            put(&house, &sum, checksum(&bytes, Algorithm::Sha1)),
            put(&house, &wrong, checksum(b"x", Algorithm::Md5))
        );
        assert!(right.status.is_success(), "{}", right.text());
        assert_ne!(stored.status.is_success(), wrong.status.is_success(), "one of the two is told: {} {}", stored.text(), wrong.text());
        assert!(!stored.status.is_server_error() && !wrong.status.is_server_error());
    }
    release(&house, "other", "1.0").await;
}
