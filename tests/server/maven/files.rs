//! Files and their checksums, in whatever order they come.

use entrepot_format_maven::testing::{checksum, path};
use entrepot_kit::Algorithm;
use http::{Method, StatusCode};
use serde_json::json;

use super::{HERE, delete, deploy, filled, get, house, house_with, put, refused, release};
use crate::raw::Call;

const ALGORITHMS: [(&str, Algorithm); 4] = [("md5", Algorithm::Md5), ("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512)];

#[tokio::test(flavor = "multi_thread")]
async fn checksums_are_files_and_headers_though_nobody_sent_them() {
    let house = house().await;
    let (file, bytes) = (path("com.acme", "lib", "1.0", "-dist.tar.gz"), filled("x"));
    deploy(&house, &file, bytes.clone()).await;
    let reply = get(&house, &file).await;
    assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, &bytes[..]));
    for (name, algorithm) in ALGORITHMS {
        let wanted = checksum(&bytes, algorithm);
        assert_eq!(reply.header(&format!("x-checksum-{name}")), wanted);
        assert_eq!(get(&house, &format!("{file}.{name}")).await.text(), wanted);
    }
    assert!(!reply.header("last-modified").is_empty() && !reply.header("etag").contains("SHA1"));
    let head = house.call(Call::new(Method::HEAD, format!("{HERE}/{file}"))).await;
    assert_eq!((head.header("x-checksum-sha1"), head.header("content-length")), (reply.header("x-checksum-sha1"), reply.header("content-length")));
    assert_eq!(get(&house, &format!("{file}.asc.sha1")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn sent_checksums_are_compared_before_and_after() {
    let house = house().await;
    let (file, bytes) = (path("com.acme", "lib", "1.0", ".jar"), filled("x"));
    for (name, algorithm) in ALGORITHMS {
        deploy(&house, &format!("{file}.{name}"), format!("{}  lib-1.0.jar\n", checksum(&bytes, algorithm).to_uppercase())).await;
        assert_eq!(get(&house, &format!("{file}.{name}")).await.status, StatusCode::NOT_FOUND, "a checksum that waits is not served");
    }
    refused(&put(&house, &file, filled("y")).await, 400, "checksum");
    assert_eq!(get(&house, &file).await.status, StatusCode::NOT_FOUND);
    deploy(&house, &file, bytes.clone()).await;
    for (name, algorithm) in ALGORITHMS {
        deploy(&house, &format!("{file}.{name}"), checksum(&bytes, algorithm)).await;
        let reply = put(&house, &format!("{file}.{name}"), checksum(b"other", algorithm)).await;
        refused(&reply, 400, "checksum");
        assert!(reply.text().contains(&checksum(b"other", algorithm)) && reply.text().contains(&checksum(&bytes, algorithm)), "{}", reply.text());
    }
    let listing = house.call(Call::get(format!("{HERE}/"))).await.json();
    assert_eq!(listing["items"], json!([{ "type": "folder", "path": "com/" }]), "what waits is in no list");
    assert_eq!(get(&house, &format!(".checksums/{file}.sha1")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_may_come_again_and_others_not() {
    let house = house().await;
    release(&house, "lib", "1.0").await;
    let file = path("com.acme", "lib", "1.0", ".jar");
    let revision = house.head("alpha/maven");
    deploy(&house, &file, filled("1.0")).await;
    assert_eq!(house.head("alpha/maven"), revision);
    refused(&put(&house, &file, filled("other")).await, 409, "exists with other bytes");
    assert_eq!(get(&house, &file).await.body, filled("1.0"));
    // What belongs to the release may come later.
    deploy(&house, &path("com.acme", "lib", "1.0", "-sources.jar"), filled("sources")).await;
    deploy(&house, &format!("{file}.asc"), "signature").await;

    let house = house_with(json!({"redeploy": "allow"})).await;
    release(&house, "lib", "1.0").await;
    deploy(&house, &file, filled("other")).await;
    assert_eq!(get(&house, &file).await.body, filled("other"));
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_take_what_they_are_for() {
    let house = house_with(json!({"versions": "releases"})).await;
    let snapshot = "com/acme/lib/1.1-SNAPSHOT/lib-1.1-20260101.000000-1.jar";
    refused(&put(&house, snapshot, filled("x")).await, 409, "takes releases only");
    release(&house, "lib", "1.0").await;
    let house = house_with(json!({"versions": "snapshots"})).await;
    refused(&put(&house, &path("com.acme", "lib", "1.0", ".jar"), filled("x")).await, 409, "takes snapshots only");
    deploy(&house, snapshot, filled("x")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_file_has_its_place_and_folders_are_listed() {
    let house = house().await;
    release(&house, "lib", "1.0").await;
    deploy(&house, "com/acme/notes.txt", "notes").await;
    assert_eq!(get(&house, "com/acme/notes.txt").await.text(), "notes");
    assert_eq!(get(&house, "com/acme/notes.txt.sha1").await.text(), checksum(b"notes", Algorithm::Sha1));
    let listing = get(&house, "com/acme/").await.json();
    let paths: Vec<&str> = listing["items"].as_array().expect("items").iter().map(|item| item["path"].as_str().expect("a path")).collect();
    assert_eq!(paths, ["com/acme/lib/", "com/acme/notes.txt"]);
    let page = house.call(Call::get(format!("{HERE}/com/acme/lib/1.0/")).with("Accept", "text/html")).await;
    assert!(page.text().contains("href=\"/alpha/maven/com/acme/lib/1.0/lib-1.0.jar\""), "{}", page.text());
    assert_eq!(get(&house, "com/none/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&house, ".meta/prefixes.txt").await.text(), "## repository-prefixes/2.0\n/com/acme\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_not_listed_any_more() {
    let house = house().await;
    for version in ["1.0", "1.1", "1.2"] {
        release(&house, "lib", version).await;
    }
    assert_eq!(delete(&house, "com/acme/lib/1.1/").await.status, StatusCode::NO_CONTENT);
    assert_eq!(super::metadata(&house, "com/acme/lib").await.versions, ["1.0", "1.2"]);
    assert_eq!(delete(&house, &path("com.acme", "lib", "1.2", ".jar")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(super::metadata(&house, "com/acme/lib").await.versions, ["1.0", "1.2"], "its pom is still there");
    assert_eq!(delete(&house, &path("com.acme", "lib", "1.2", ".pom")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(super::metadata(&house, "com/acme/lib").await.versions, ["1.0"]);
    release(&house, "lib", "1.1").await;
    assert_eq!(super::metadata(&house, "com/acme/lib").await.versions, ["1.0", "1.1"], "a deleted version may be deployed again");
    assert_eq!(delete(&house, "com/acme/").await.status, StatusCode::NO_CONTENT);
    assert_eq!(get(&house, "com/acme/lib/maven-metadata.xml").await.status, StatusCode::NOT_FOUND);
    assert_eq!(delete(&house, "com/acme/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&house, ".meta/prefixes.txt").await.text(), "## repository-prefixes/2.0\n");
}
