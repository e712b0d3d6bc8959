//! Packages in, metadata out.

use entrepot_format_rpm::testing::package;
use http::{Method, StatusCode};
use serde_json::json;

use super::{HERE, OWNER, addresses, delete, document, file_name, filled, get, house, house_with, packages, publish, put, refused, repomd};
use crate::raw::Call;
use crate::support::gpg::Gpg;

#[tokio::test(flavor = "multi_thread")]
async fn rpm_packages_are_listed_where_they_were_put() {
    let house = house().await;
    assert!(addresses(&house, &format!("{HERE}/")).await.is_empty(), "a client can be set up before the first package");
    publish(&house, "", "first", "1.0").await;
    publish(&house, "el9/x/", "second", "1.0").await;
    publish(&house, "el9/x/", "second", "2.0").await;
    // Left to the package where it goes.
    let reply = house.call_as("bob", Call::post(format!("{HERE}/el9/upload"), filled("third", "1.0"))).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    assert_eq!(put(&house, "el9/upload", filled("third", "1.0")).await.status, StatusCode::OK, "once more");
    assert_eq!(
        addresses(&house, &format!("{HERE}/")).await,
        ["el9/third-1.0-1.noarch.rpm", "el9/x/second-1.0-1.noarch.rpm", "el9/x/second-2.0-1.noarch.rpm", "first-1.0-1.noarch.rpm"]
    );
    assert_eq!(addresses(&house, &format!("{HERE}/el9/x/")).await, ["second-1.0-1.noarch.rpm", "second-2.0-1.noarch.rpm"]);
    assert_eq!(get(&house, "el8/repodata/repomd.xml").await.status, StatusCode::NOT_FOUND);
    let listed = packages(&house, &format!("{HERE}/el9/")).await;
    for found in &listed {
        let reply = get(&house, &format!("el9/{}", found.href)).await;
        assert_eq!((reply.body.len() as u64, reply.header("x-checksum-sha256")), (found.size, found.checksum.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_packages_are_never_replaced() {
    let house = house().await;
    let path = file_name("tool", "1.0");
    publish(&house, "", "tool", "1.0").await;
    let before = house.head("alpha/rpm");
    assert_eq!(put(&house, &path, filled("tool", "1.0")).await.status, StatusCode::OK, "the same bytes");
    refused(&put(&house, &path, package("tool", "1.0", "1", "noarch", "other bytes")).await, 409, "packages are never replaced");
    assert_eq!(house.head("alpha/rpm"), before);
    assert_eq!(house.call_as("bob", Call::new(Method::DELETE, format!("{HERE}/{path}"))).await.status, StatusCode::FORBIDDEN);
    assert_eq!(delete(&house, &path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete(&house, &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&house, &path).await.status, StatusCode::NOT_FOUND);
    assert!(addresses(&house, &format!("{HERE}/")).await.is_empty());
    assert_eq!(put(&house, &path, package("tool", "1.0", "1", "noarch", "other bytes")).await.status, StatusCode::CREATED, "a name is free again");
    // Under another name it is another file, of the same package.
    assert_eq!(put(&house, "tool-latest.rpm", filled("tool", "1.0")).await.status, StatusCode::CREATED);
    assert_eq!(addresses(&house, &format!("{HERE}/")).await.len(), 2);
    // By what it is.
    assert_eq!(put(&house, "el9/upload", filled("tool", "2.0")).await.status, StatusCode::CREATED);
    assert_eq!(delete(&house, "el9/package/tool/2.0-1/noarch").await.status, StatusCode::NO_CONTENT);
    publish(&house, "el9/", "tool", "3.0").await;
    assert_eq!(house.call_as(OWNER, Call::new(Method::DELETE, format!("{HERE}/el9/"))).await.status, StatusCode::NO_CONTENT);
    assert_eq!(addresses(&house, &format!("{HERE}/")).await, ["tool-1.0-1.noarch.rpm", "tool-latest.rpm"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_metadata_is_signed_and_its_key_is_there() {
    let house = house().await;
    let gpg = Gpg::new();
    let key = get(&house, "repodata/repomd.xml.key").await;
    gpg.import(&key.body);
    for version in ["1.0", "2.0"] {
        publish(&house, "el9/", "tool", version).await;
        for folder in ["", "el9/"] {
            let document = get(&house, &format!("{folder}repodata/repomd.xml")).await;
            let signature = get(&house, &format!("{folder}repodata/repomd.xml.asc")).await;
            assert!(signature.text().starts_with("-----BEGIN PGP SIGNATURE-----"), "{}", signature.text());
            assert!(gpg.verifies(&document.body, &signature.body), "{folder}{version}");
            assert!(!gpg.verifies(&[&document.body, &b" "[..]].concat(), &signature.body));
            assert_eq!(get(&house, &format!("{folder}repodata/repomd.xml.key")).await.body, key.body, "one key for all folders");
        }
    }
    // A client is between the document and its signature: it gets that of what it read.
    let read = get(&house, "repodata/repomd.xml").await;
    publish(&house, "", "other", "1.0").await;
    if house.engines() == 1 {
        assert!(gpg.verifies(&read.body, &get(&house, "repodata/repomd.xml.asc").await.body));
    }
    let read = get(&house, "repodata/repomd.xml").await;
    assert!(gpg.verifies(&read.body, &get(&house, "repodata/repomd.xml.asc").await.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_metadata_is_compressed_as_the_setting_says() {
    let house = house_with(json!({ "compression": "zstd", "package_keys": ["https://keys.example/RPM-GPG-KEY-acme"] })).await;
    publish(&house, "", "tool", "1.0").await;
    let here = format!("{HERE}/");
    let read = repomd(&house, &here).await;
    assert!(read.data.iter().all(|data| data.href.ends_with(".xml.zst")), "{read:?}");
    assert!(document(&house, &here, &read, "primary").await.contains("<rpm:header-range start="));
    assert!(document(&house, &here, &read, "filelists").await.contains("xmlns=\"http://linux.duke.edu/metadata/filelists\""));
    assert!(document(&house, &here, &read, "other").await.contains("xmlns=\"http://linux.duke.edu/metadata/other\""));
    let file = get(&house, "entrepot.repo").await.text();
    for line in ["[alpha-rpm]", "gpgcheck=1", "repo_gpgcheck=1", "https://keys.example/RPM-GPG-KEY-acme", "/alpha/rpm/repodata/repomd.xml.key"] {
        assert!(file.contains(line), "{line}: {file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_repo_files_are_made_for_folders_that_are_there() {
    let house = house().await;
    publish(&house, "el9/", "tool", "1.0").await;
    for path in ["el9.repo", "el9/entrepot.repo", "el9/rpm.repo"] {
        let text = get(&house, path).await.text();
        assert!(text.starts_with("[alpha-rpm-el9]\n") && text.contains(&format!("baseurl=http://{}/alpha/rpm/el9/\n", house.host)), "{path}: {text}");
        assert!(text.contains("gpgcheck=0\nrepo_gpgcheck=1\n"), "{text}");
    }
    for path in ["el8.repo", "el8/entrepot.repo", "el9/other.repo"] {
        assert_eq!(get(&house, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
