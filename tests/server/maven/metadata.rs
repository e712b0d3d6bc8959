//! Metadata at all three levels: from what is here, not from what clients think.

use entrepot_format_maven::metadata::Metadata;
use entrepot_format_maven::testing::{checksum, jar, path, pom};
use entrepot_kit::Algorithm;
use http::StatusCode;

use super::{delete, deploy, filled, get, house, metadata, refused, release};

/// What a client writes, with what it thinks.
fn stale(versions: &[&str]) -> Vec<u8> {
    let versions = versions.iter().map(|version| (*version).to_owned()).collect();
    Metadata { group: String::from("com.acme"), artifact: String::from("lib"), versions, ..Metadata::default() }.render()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_those_that_are_here() {
    let house = house().await;
    for version in ["1.0", "1.10", "1.9", "2.0-rc1"] {
        release(&house, "lib", version).await;
    }
    deploy(&house, "com/acme/lib/maven-metadata.xml", stale(&["1.0", "7.0"])).await;
    deploy(&house, "com/acme/lib/maven-metadata.xml.sha1", "0000000000000000000000000000000000000000").await;
    let found = metadata(&house, "com/acme/lib").await;
    assert_eq!(found.versions, ["1.0", "1.9", "1.10", "2.0-rc1"]);
    assert_eq!((&*found.group, &*found.artifact, &*found.latest, &*found.release), ("com.acme", "lib", "2.0-rc1", "2.0-rc1"));
    assert_eq!(found.last_updated.len(), 14);
    let reply = get(&house, "com/acme/lib/maven-metadata.xml").await;
    for (name, algorithm) in [("md5", Algorithm::Md5), ("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512)] {
        assert_eq!(get(&house, &format!("com/acme/lib/maven-metadata.xml.{name}")).await.text(), checksum(&reply.body, algorithm));
    }
    assert_eq!(reply.header("x-checksum-sha1"), checksum(&reply.body, Algorithm::Sha1));
    refused(&super::put(&house, "com/acme/lib/maven-metadata.xml", "<html/>").await, 400, "no maven-metadata.xml");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_listed_once_it_can_be_resolved() {
    let house = house().await;
    release(&house, "lib", "1.0").await;
    deploy(&house, &path("com.acme", "lib", "1.1", ".jar"), filled("1.1")).await;
    assert_eq!(metadata(&house, "com/acme/lib").await.versions, ["1.0"], "its pom is not there yet");
    deploy(&house, &path("com.acme", "lib", "1.1", ".pom"), pom("com.acme", "lib", "1.1", "jar")).await;
    assert_eq!(metadata(&house, "com/acme/lib").await.versions, ["1.0", "1.1"]);
    deploy(&house, &path("com.acme", "lib", "1.2", ".zip"), filled("1.2")).await;
    deploy(&house, "com/acme/lib/maven-metadata.xml", stale(&["1.0", "1.2"])).await;
    assert_eq!(metadata(&house, "com/acme/lib").await.versions, ["1.0", "1.1", "1.2"], "its client says that it has no pom");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_shown_whole() {
    let house = house().await;
    let folder = "com/acme/lib/1.1-SNAPSHOT";
    let at = |stamp: &str, ending: &str| format!("{folder}/lib-1.1-{stamp}{ending}");
    let whole = |stamp: &str| {
        let (time, number) = stamp.split_once('-').expect("a stamp");
        Metadata { snapshot: Some((time.to_owned(), number.parse().expect("a number"))), version: String::from("1.1-SNAPSHOT"), ..Metadata::default() }.render()
    };
    let (first, second) = ("20260101.000000-1", "20260102.000000-2");
    for stamp in [first, second] {
        deploy(&house, &at(stamp, ".jar"), filled(stamp)).await;
        deploy(&house, &at(stamp, ".pom"), pom("com.acme", "lib", "1.1-SNAPSHOT", "jar")).await;
        if stamp == second {
            assert_eq!(metadata(&house, folder).await.snapshot, Some((String::from("20260101.000000"), 1)), "the second is not whole");
            assert_eq!(get(&house, &at("SNAPSHOT", ".jar")).await.body, filled(first));
        }
        deploy(&house, &format!("{folder}/maven-metadata.xml"), whole(stamp)).await;
    }
    let found = metadata(&house, folder).await;
    assert_eq!(found.snapshot, Some((String::from("20260102.000000"), 2)));
    assert!(found.files.iter().all(|file| file.value == "1.1-20260102.000000-2"), "{found:?}");
    let plain = get(&house, &at("SNAPSHOT", ".jar")).await;
    assert_eq!(plain.body, filled(second));
    assert!(!plain.header("cache-control").contains("immutable"), "{}", plain.header("cache-control"));
    assert_eq!(get(&house, &at("SNAPSHOT", ".jar.sha1")).await.text(), checksum(&filled(second), Algorithm::Sha1));
    let list = metadata(&house, "com/acme/lib").await;
    assert_eq!((list.versions, list.latest.as_str(), list.release.as_str()), (vec![String::from("1.1-SNAPSHOT")], "1.1-SNAPSHOT", ""));
    refused(&super::put(&house, &at(first, ".jar"), filled("other")).await, 409, "exists with other bytes");

    for ending in [".jar", ".pom"] {
        assert_eq!(delete(&house, &at(second, ending)).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(metadata(&house, folder).await.snapshot, Some((String::from("20260101.000000"), 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_without_stamps_are_replaced() {
    let house = house().await;
    let file = "com/acme/lib/1.1-SNAPSHOT/lib-1.1-SNAPSHOT.jar";
    for filling in ["one", "two"] {
        deploy(&house, file, filled(filling)).await;
        assert_eq!(get(&house, file).await.body, filled(filling));
    }
    deploy(&house, "com/acme/lib/1.1-SNAPSHOT/lib-1.1-SNAPSHOT.pom", "<project/>").await;
    assert_eq!(metadata(&house, "com/acme/lib").await.versions, ["1.1-SNAPSHOT"]);
    assert_eq!(get(&house, "com/acme/lib/1.1-SNAPSHOT/maven-metadata.xml").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_found_by_their_prefix() {
    let house = house().await;
    let plugin = |prefix: &str| {
        let descriptor = format!("<plugin><name>Tool</name><artifactId>tool-maven-plugin</artifactId><goalPrefix>{prefix}</goalPrefix></plugin>");
        jar(&[("META-INF/maven/plugin.xml", descriptor.as_bytes())])
    };
    for group in ["com.acme", "acme"] {
        let folder = group.replace('.', "/");
        deploy(&house, &path(group, "tool-maven-plugin", "1.0", ".jar"), plugin("tool")).await;
        deploy(&house, &path(group, "tool-maven-plugin", "1.0", ".pom"), pom(group, "tool-maven-plugin", "1.0", "maven-plugin")).await;
        let found = metadata(&house, &folder).await;
        let plugins: Vec<_> = found.plugins.iter().map(|plugin| (&*plugin.name, &*plugin.prefix, &*plugin.artifact)).collect();
        assert_eq!(plugins, [("Tool", "tool", "tool-maven-plugin")]);
        assert!(found.versions.is_empty() && found.group.is_empty());
    }
    // A group that is named like an artifact: both in one document.
    deploy(&house, "com/acme/maven-metadata.xml", stale(&[])).await;
    release(&house, "lib", "1.0").await;
    deploy(&house, &path("com.acme.lib", "sub-maven-plugin", "1.0", ".jar"), plugin("sub")).await;
    let both = metadata(&house, "com/acme/lib").await;
    assert_eq!((both.versions, both.plugins.len()), (vec![String::from("1.0")], 1));
    assert_eq!(delete(&house, "acme/tool-maven-plugin/").await.status, StatusCode::NO_CONTENT);
    assert_eq!(get(&house, "acme/maven-metadata.xml").await.status, StatusCode::NOT_FOUND);
}
