//! Whole releases in one archive: all of it is stored in one revision, or nothing.

use entrepot_format_maven::testing::{checksum, jar, path, pom};
use entrepot_kit::Algorithm;
use http::{Method, StatusCode};
use serde_json::json;

use super::{HERE, filled, get, house, house_with, metadata, refused, release};
use crate::house::House;
use crate::raw::{Call, Reply};

async fn send(house: &House, bundle: Vec<u8>, query: &str) -> Reply {
    house.call_as("bob", Call::put(format!("{HERE}/.bundle{query}"), bundle)).await
}

/// The files of a release as Central's bundles have them.
fn files(artifact: &str, version: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        (path("com.acme", artifact, version, ".pom"), pom("com.acme", artifact, version, "jar").into_bytes()),
        (path("com.acme", artifact, version, ".jar"), filled(version)),
        (path("com.acme", artifact, version, "-sources.jar"), filled("sources")),
        (path("com.acme", artifact, version, "-javadoc.jar"), filled("javadoc")),
    ];
    let signatures: Vec<_> =
        files.iter().map(|(path, _)| (format!("{path}.asc"), b"-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n".to_vec())).collect();
    files.extend(signatures);
    let sums: Vec<_> = files
        .iter()
        .flat_map(|(path, bytes)| {
            [("md5", Algorithm::Md5), ("sha1", Algorithm::Sha1)].map(|(name, algorithm)| (format!("{path}.{name}"), checksum(bytes, algorithm).into_bytes()))
        })
        .collect();
    files.extend(sums);
    files
}

fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    jar(&files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_one_revision() {
    let house = house_with(json!({ "release_checks": ["signatures", "sources", "javadoc"] })).await;
    let mut all = files("lib", "1.0");
    all.extend(files("other", "2.0"));
    all.push((String::from("com/acme/lib/maven-metadata.xml"), b"<metadata/>".to_vec()));
    let head = house.head("alpha/maven");
    let reply = send(&house, zip(&all), "").await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    assert_eq!(reply.json(), json!({ "revision": head + 1, "files": 16, "versions": ["com.acme:lib 1.0", "com.acme:other 2.0"] }));
    assert_eq!(house.head("alpha/maven"), head + 1);
    for (path, bytes) in files("lib", "1.0") {
        assert_eq!(get(&house, &path).await.body, bytes, "{path}");
    }
    assert_eq!(metadata(&house, "com/acme/other").await.versions, ["2.0"]);
    // Whoever lost the answer sends it again.
    let again = send(&house, zip(&all), "").await;
    assert_eq!((again.status, &again.json()["revision"], house.head("alpha/maven")), (StatusCode::OK, &json!(null), head + 1));
    let post = house.call_as("bob", Call::post(format!("{HERE}/.bundle?seal=true"), zip(&files("lib", "1.1")))).await;
    assert_eq!(post.status, StatusCode::CREATED, "{}", post.text());
    refused(&super::put(&house, &path("com.acme", "lib", "1.1", "-x.jar"), filled("x")).await, 409, "sealed");
    let nobody = house.call(Call::put(format!("{HERE}/.bundle"), "x")).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_bundle_with_a_fault_nothing_is_stored() {
    let house = house().await;
    release(&house, "lib", "0.9").await;
    let head = house.head("alpha/maven");
    let with = |path: &str, bytes: &[u8]| {
        let mut all = files("lib", "1.0");
        all.retain(|(known, _)| known != path);
        all.push((path.to_owned(), bytes.to_vec()));
        zip(&all)
    };
    let jar_path = path("com.acme", "lib", "1.0", ".jar");
    let without_pom: Vec<_> = files("lib", "1.0").into_iter().filter(|(path, _)| !path.contains(".pom")).collect();
    let bomb = jar(&[(&*jar_path, &vec![0; 80 << 20])]);
    for (bundle, status, text) in [
        (
            with(&format!("{jar_path}.sha1"), checksum(b"x", Algorithm::Sha1).as_bytes()),
            422,
            "the sha1 of com/acme/lib/1.0/lib-1.0.jar is not that of the file",
        ),
        (with(&format!("{jar_path}.sha1"), b"no checksum"), 422, "no sha1"),
        (with(&format!("{jar_path}.md5"), &vec![b'0'; 10_000]), 422, "is no checksum"),
        (with("readme.txt", b"x"), 422, "is no file of a release"),
        (with("../lib-1.0.jar", b"x"), 422, "no plain relative path"),
        (with("/etc/lib-1.0.jar", b"x"), 422, "no plain relative path"),
        (with(".sealed/com/acme/lib/1.0", b"x"), 422, "is no file of a release"),
        (with("com/acme/lib/1.1-SNAPSHOT/lib-1.1-20260101.000000-1.jar", b"x"), 422, "is no file of a release"),
        (with(&path("com.acme", "lib", "1.1", ".jar"), b"x"), 422, "com.acme:lib 1.1 has no pom"),
        (with(&path("com.acme", "lib", "1.0", ".jar.asc"), b"x"), 422, "is no signature"),
        (with(&path("com.acme", "lib", "0.9", ".jar"), &filled("other")), 422, "com.acme:lib 0.9 has no pom"),
        (zip(&without_pom), 422, "has no pom"),
        (jar(&[]), 422, "no file of a release"),
        (b"no archive".to_vec(), 422, "ZIP archive cannot be read"),
        (bomb, 413, "bytes"),
    ] {
        let reply = send(&house, bundle, "").await;
        assert_eq!(reply.status.as_u16(), status, "{text}: {}", reply.text());
        assert!(reply.text().contains(text), "{text}: {}", reply.text());
        assert_eq!(house.head("alpha/maven"), head, "{text}: nothing was stored");
    }
    // Other bytes for what is there.
    let mut other = files("lib", "0.9");
    other.retain(|(path, _)| !path.contains(".jar."));
    other[1].1 = filled("other");
    refused(&send(&house, zip(&other), "").await, 409, "exists with other bytes");
    let form = house.call_as("bob", Call::post(format!("{HERE}/.bundle"), "x").with("Content-Type", "multipart/form-data; boundary=x")).await;
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(house.head("alpha/maven"), head);
    assert_eq!(get(&house, &jar_path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.call(Call::new(Method::GET, format!("{HERE}/.bundle"))).await.status, StatusCode::NOT_FOUND);
}
