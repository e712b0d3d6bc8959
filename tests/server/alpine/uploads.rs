//! Packages come in, stay as they are, and go.

use entrepot_format_alpine::testing::Built;
use http::StatusCode;

use super::{HERE, MAIN, built, delete, get, house, index_of, packages_of, publish, put};
use crate::raw::Call;

#[tokio::test(flavor = "multi_thread")]
async fn alpine_packages_come_at_their_path_or_say_it_themselves() {
    let house = house().await;
    let (one, other) = (built("hello", "1.0-r0").with("depend = so:libc.musl-x86_64.so.1\nprovides = cmd:hello=1.0-r0\n"), built("world", "2_rc1-r3"));
    let reply = put(&house, &format!("{MAIN}/x86_64/{}", one.file()), one.bytes()).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    assert_eq!(reply.header("location"), format!("{HERE}/{MAIN}/x86_64/hello-1.0-r0.apk"));
    let posted = house.call_as("bob", Call::post(format!("{HERE}/{MAIN}"), other.unsigned())).await;
    assert_eq!((posted.status, posted.json()["path"].as_str()), (StatusCode::CREATED, Some("v3.20/main/x86_64/world-2_rc1-r3.apk")));
    for (package, bytes) in [(&one, one.bytes()), (&other, other.unsigned())] {
        let reply = get(&house, &format!("{MAIN}/x86_64/{}", package.file())).await;
        assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, &bytes[..]));
        assert!(reply.header("cache-control").contains("immutable"), "{}", reply.header("cache-control"));
    }
    let index = index_of(&house, HERE, "x86_64").await;
    assert_eq!(index["description"], "v3.20 main");
    let record = &index["records"][0];
    assert_eq!((record["S"].as_str(), record["D"].as_str()), (Some(one.bytes().len().to_string().as_str()), Some("so:libc.musl-x86_64.so.1")));
    assert_eq!(packages_of(&house, HERE, "x86_64").await, ["hello-1.0-r0 x86_64", "world-2_rc1-r3 x86_64"]);
    for other in [format!("{MAIN}/aarch64/APKINDEX.tar.gz"), String::from("edge/main/x86_64/APKINDEX.tar.gz"), format!("{MAIN}/x86_64/Packages.adb")] {
        assert_eq!(get(&house, &other).await.status, StatusCode::NOT_FOUND, "{other}");
    }
    assert!(get(&house, &format!("{MAIN}/x86_64/Packages.adb")).await.text().contains("APKINDEX.tar.gz"), "what is not served is said plainly");
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_packages_are_never_replaced_and_names_not_used_again() {
    let house = house().await;
    let package = built("hello", "1.0-r0");
    publish(&house, &package).await;
    let head = house.head("alpha/alpine");
    assert_eq!(put(&house, MAIN, package.bytes()).await.status, StatusCode::OK, "the same bytes may come again");
    let other = put(&house, MAIN, package.clone().containing(b"other").bytes()).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    assert!(other.text().contains("pkgrel"), "{}", other.text());
    assert_eq!(house.head("alpha/alpine"), head);
    publish(&house, &built("hello", "1.0-r1")).await;
    let path = format!("{MAIN}/x86_64/{}", package.file());
    assert_eq!(house.call_as("bob", Call::new(http::Method::DELETE, format!("{HERE}/{path}"))).await.status, StatusCode::FORBIDDEN);
    assert_eq!(delete(&house, &path).await.status, StatusCode::NO_CONTENT);
    assert_eq!((get(&house, &path).await.status, delete(&house, &path).await.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert_eq!(packages_of(&house, HERE, "x86_64").await, ["hello-1.0-r1 x86_64"]);
    for again in [package.bytes(), package.clone().containing(b"other").bytes()] {
        let reply = put(&house, MAIN, again).await;
        assert!(reply.status == StatusCode::CONFLICT && reply.text().contains("deleted"), "{}", reply.text());
    }
    assert_eq!(delete(&house, &format!("{MAIN}/x86_64/hello-1.0-r1.apk")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(get(&house, &format!("{MAIN}/x86_64/APKINDEX.tar.gz")).await.status, StatusCode::NOT_FOUND, "nothing is left to list");
    publish(&house, &built("hello", "1.0-r2")).await;
    assert_eq!(packages_of(&house, HERE, "x86_64").await, ["hello-1.0-r2 x86_64"], "the name of the package is free for new versions");
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_packages_for_all_architectures_are_in_each() {
    let house = house().await;
    let general = Built::new("scripts", "1-r0", "noarch");
    publish(&house, &general).await;
    publish(&house, &built("tool", "1-r0")).await;
    publish(&house, &Built::new("tool", "1-r0", "aarch64")).await;
    for arch in ["x86_64", "aarch64", "riscv64"] {
        let mut wanted = vec![format!("scripts-1-r0 {arch}")];
        if arch != "riscv64" {
            wanted.push(format!("tool-1-r0 {arch}"));
        }
        assert_eq!(packages_of(&house, HERE, arch).await, wanted);
        assert_eq!(get(&house, &format!("{MAIN}/{arch}/{}", general.file())).await.body, general.bytes());
    }
    assert_eq!(packages_of(&house, HERE, "noarch").await, ["scripts-1-r0 noarch"]);
    // One that is put below an architecture is that one's.
    let only = Built::new("only", "1-r0", "noarch");
    assert_eq!(put(&house, &format!("{MAIN}/aarch64/{}", only.file()), only.bytes()).await.status, StatusCode::CREATED);
    assert_eq!(packages_of(&house, HERE, "aarch64").await[0], "only-1-r0 aarch64");
    assert_eq!(packages_of(&house, HERE, "x86_64").await, ["scripts-1-r0 x86_64", "tool-1-r0 x86_64"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_what_is_no_such_package_is_refused_with_the_reason() {
    let house = house().await;
    let package = built("hello", "1.0-r0");
    let cases = [
        (format!("{MAIN}/aarch64/{}", package.file()), package.bytes(), 400, "for x86_64"),
        (format!("{MAIN}/x86_64/hello-1.0-r1.apk"), package.bytes(), 400, "hello-1.0-r0.apk"),
        (format!("{MAIN}/x86_64/APKINDEX.tar.gz"), package.bytes(), 400, "made by the server"),
        (String::from("v3.20/main/x86_64/hello.txt"), package.bytes(), 400, "no path of a package"),
        (MAIN.to_owned(), b"ADBd....".to_vec(), 422, "apk 3"),
        (MAIN.to_owned(), [package.control(), built("other", "1-r0").data()].concat(), 422, "datahash"),
        (MAIN.to_owned(), [package.bytes(), package.data()].concat(), 422, "more behind"),
    ];
    for (path, body, status, why) in cases {
        let reply = put(&house, &path, body).await;
        assert_eq!(reply.status.as_u16(), status, "{path}: {}", reply.text());
        assert!(reply.text().contains(why), "{path}: {}", reply.text());
    }
    assert_eq!(house.head("alpha/alpine"), 0);
}
