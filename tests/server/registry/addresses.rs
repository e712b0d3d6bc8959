//! Names below `/v2/` mean the same for everybody, and refusals say no more than the client said.

use std::collections::BTreeMap;

use entrepot_kit::{Address, Kind};
use http::Method;
use serde_json::json;

use super::{MANIFEST, code, digest, hosted, push};
use crate::house::{House, PASSWORD};
use crate::raw::Call;

#[tokio::test(flavor = "multi_thread")]
async fn a_name_begins_with_a_system_or_with_a_repository_of_main() {
    let house = House::start().await;
    house.user("root", &[("server-role", "admin")]).await;
    hosted(&house, "alpha/oci", false).await;
    hosted(&house, "main/oci", true).await;
    house.repository("main/files", "generic", Kind::Hosted, true, json!({})).await;
    push(&house, "root", "alpha/oci/app", "one").await;
    push(&house, "root", "oci/team/app", "one").await;
    for (path, status) in [
        ("/v2/oci/team/app/manifests/one", 200),
        ("/v2/main/oci/team/app/manifests/one", 200),
        ("/v2/alpha/oci/app/manifests/one", 200),
        ("/v2/oci/app/manifests/one", 404),
        ("/v2/alpha/app/manifests/one", 404),
        // What container clients do not speak to is not there for them, and the other way round.
        ("/v2/files/app/manifests/one", 404),
        ("/v2/main/files/app/manifests/one", 404),
        ("/main/oci/team/app/manifests/one", 404),
        ("/alpha/oci/app/manifests/one", 404),
        // The past.
        ("/v2/oci.at-r1/team/app/manifests/one", 200),
        ("/v2/main/oci.at-20990101/team/app/tags/list", 200),
        ("/v2/alpha/oci.at-r0/app/manifests/one", 404),
        ("/v2/alpha/oci.at-nonsense/app/manifests/one", 404),
    ] {
        assert_eq!(house.call_as("root", Call::get(path)).await.status, status, "{path}");
    }
    let tags = house.call_as("root", Call::get("/v2/alpha/oci/app/tags/list")).await;
    assert_eq!(tags.json(), json!({ "name": "alpha/oci/app", "tags": ["one"] }));
    // Anonymous pulls without any token, where it may.
    assert_eq!(house.call(Call::get("/v2/oci/team/app/manifests/one")).await.status, 200);
    let upload = house.call_as("root", Call::post("/v2/alpha/oci/app/blobs/uploads/", "")).await;
    assert!(upload.header("Location").starts_with("/v2/alpha/oci/app/blobs/uploads/"), "{}", upload.header("Location"));
    let past = house.call_as("root", Call::post("/v2/alpha/oci.at-r1/app/blobs/uploads/", "")).await;
    assert_eq!(past.status, 405, "nothing is changed in the past: {}", past.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_in_the_clients_words() {
    let house = House::start().await;
    hosted(&house, "alpha/oci", false).await;
    for (method, path, status) in [
        (Method::GET, "/v2/alpha/oci/app/manifests/none", 404),
        (Method::GET, "/v2/alpha/none/app/manifests/none", 404),
        (Method::GET, "/v2/nowhere", 404),
        (Method::GET, "/v2/a%00b/app/tags/list", 400),
        (Method::GET, "/v2/alpha/oci/../x", 400),
        (Method::GET, "/v2/alpha/oci/app", 404),
        (Method::GET, "/v2/UPPER/app/tags/list", 404),
        (Method::PUT, "/v2/alpha/oci/app/tags/list", 405),
        (Method::DELETE, "/v2/", 405),
        (Method::PUT, "/v2/token", 405),
        (Method::POST, "/v2/_catalog", 405),
        (Method::GET, "/v2/_other", 404),
    ] {
        let reply = house.call_as("alpha-owner", Call::new(method.clone(), path)).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        assert!(!code(&reply).is_empty());
        let reply = house.call(Call::new(method.clone(), path)).await;
        let expected = if status == 404 || (status == 405 && path.contains("oci")) { 401 } else { status };
        assert_eq!(reply.status, expected, "{method} {path}: {}", reply.text());
        code(&reply);
        let wrong = house.call(Call::new(method.clone(), path).signed("alpha-owner", "wrong password")).await;
        // What nothing can be asked of is refused before anybody looks who asks.
        let expected = if status == 400 || (status == 405 && !path.contains("oci")) { status } else { 401 };
        assert_eq!(wrong.status, expected, "{method} {path}: {}", wrong.text());
    }
    let extensions = house.call(Call::get("/v2/_oci/ext/discover")).await;
    assert_eq!((extensions.status.as_u16(), extensions.json()), (200, json!({ "extensions": [] })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_its_own_serves_one_repository() {
    let house = House::start_with(|options| {
        options.http.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        let host = |name: &str, address: &str| (name.to_owned(), Address::parse(address).expect("an address"));
        options.http.hosts = BTreeMap::from([host("images.example", "alpha/oci"), host("files.example", "alpha/files")]);
    })
    .await;
    hosted(&house, "alpha/oci", false).await;
    house.repository("alpha/files", "generic", Kind::Hosted, false, json!({})).await;
    let at = |host: &str, call: Call| call.with("X-Forwarded-Host", host);
    let owner = |call: Call| call.signed("alpha-owner", PASSWORD);
    let images = |call: Call| at("images.example:5000", owner(call));
    assert_eq!(super::push_signed(&house, "library/app", "one", &images).await.status, 201);
    for (host, path, status) in [
        ("images.example:5000", "/v2/library/app/manifests/one", 200),
        ("images.example", "/v2/library/app/manifests/one", 200),
        ("IMAGES.example", "/v2/library/app/manifests/one", 200),
        ("images.example", "/v2/alpha/oci/library/app/manifests/one", 404),
        ("other.example", "/v2/library/app/manifests/one", 404),
        ("other.example", "/v2/alpha/oci/library/app/manifests/one", 200),
    ] {
        assert_eq!(house.call(at(host, owner(Call::get(path)))).await.status, status, "{path} of {host}");
    }
    let tags = house.call(images(Call::get("/v2/library/app/tags/list"))).await;
    assert_eq!(tags.json()["name"], "library/app");
    let upload = house.call(images(Call::post("/v2/library/app/blobs/uploads/", ""))).await;
    assert!(upload.header("Location").starts_with("/v2/library/app/blobs/uploads/"), "{}", upload.header("Location"));
    assert_eq!(house.call(images(Call::get("/v2/_catalog"))).await.json(), json!({ "repositories": ["library/app"] }));
    let challenge = house.call(at("images.example:5000", Call::get("/v2/library/app/manifests/one"))).await;
    assert_eq!(
        challenge.header("WWW-Authenticate"),
        "Bearer realm=\"http://images.example:5000/v2/token\",service=\"images.example:5000\",scope=\"repository:library/app:pull\""
    );
    let asked = house.call(images(Call::get("/v2/token?scope=repository:library/app:pull&scope=repository:alpha/oci/library/app:pull"))).await.json();
    let token = asked["token"].as_str().expect("a token");
    let with = |host: &str, path: &str| at(host, Call::get(path).with_token(token));
    assert_eq!(house.call(with("images.example:5000", "/v2/library/app/manifests/one")).await.status, 200);
    assert_eq!(house.call(with("other.example", "/v2/alpha/oci/library/app/manifests/one")).await.status, 401, "a token is for the host that gave it");
    // Another format has the whole host.
    assert_eq!(house.call(at("files.example", owner(Call::put("/v2/file.txt", "text")))).await.status, 201);
    assert_eq!(house.call(owner(Call::get("/alpha/files/v2/file.txt"))).await.text(), "text");
    assert_eq!(house.call(at("files.example", owner(Call::get("/v2/file.txt")))).await.text(), "text");
    assert_eq!(house.call(at("files.example", Call::get("/v2/file.txt"))).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_is_asked_by_the_name_of_what_it_mirrors() {
    let house = House::start().await;
    house.user("root", &[("server-role", "admin")]).await;
    hosted(&house, "main/origin", true).await;
    push(&house, "root", "origin/app", "one").await;
    let upstream = |path: &str| json!({ "url": format!("http://{}/{path}", house.host), "allow_private": true });
    let settings = |path: &str| json!({ "upstream": upstream(path), "namespace": "origin.example" });
    house.repository("main/mirror", "oci", Kind::Proxy, true, settings("")).await;
    house.repository("alpha/mirror", "oci", Kind::Proxy, false, settings("")).await;
    house.repository("main/all", "oci", Kind::Group, true, json!({ "members": ["main/mirror"] })).await;
    hosted(&house, "main/plain", true).await;
    let blob = digest(b"{}");
    for (path, namespace) in [
        // The whole name, in whichever way it begins.
        (format!("/v2/origin/app/blobs/{blob}?ns=origin.example"), "origin.example"),
        // The path's own repository wins.
        (format!("/v2/mirror/origin/app/blobs/{blob}?ns=origin.example"), "origin.example"),
        (format!("/v2/main/mirror/origin/app/blobs/{blob}?ns=ORIGIN.example"), "origin.example"),
        (format!("/v2/all/origin/app/blobs/{blob}?ns=origin.example"), "origin.example"),
        // What is not mirrored is looked for by its path.
        (format!("/v2/origin/app/blobs/{blob}?ns=other.example"), ""),
        (format!("/v2/origin/app/blobs/{blob}?ns="), ""),
        (format!("/v2/origin/app/blobs/{blob}"), ""),
    ] {
        let reply = house.call(Call::get(&path)).await;
        assert_eq!((reply.status.as_u16(), reply.header("OCI-Namespace")), (200, namespace), "{path}: {}", reply.text());
        assert_eq!(reply.text(), "{}");
    }
    let pushed = house.call_as("root", Call::post(format!("/v2/plain/app/blobs/uploads/?ns={}&digest={blob}", house.host), "{}")).await;
    assert_eq!(pushed.status, 201, "a push says where it goes: {}", pushed.text());
    let pushed = house.call_as("root", Call::put("/v2/origin/app/manifests/two?ns=origin.example", "{}").with("Content-Type", MANIFEST)).await;
    assert_eq!(pushed.status, 405, "nothing is pushed into a mirror: {}", pushed.text());
    // Whoever may not read the mirror learns nothing of it.
    let one = house.call_as("beta-owner", Call::get("/v2/alpha/mirror/origin/app/tags/list?ns=origin.example")).await;
    assert_eq!((one.status.as_u16(), one.header("OCI-Namespace")), (404, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_and_a_repository_of_main_share_no_name() {
    let house = House::start().await;
    house.user("root", &[("server-role", "admin")]).await;
    hosted(&house, "main/images", false).await;
    let post = |path: &str, body: serde_json::Value| Call::post(path, body.to_string()).with("Content-Type", "application/json");
    let system = house.call_as("root", post("/api/v1/systems", json!({ "name": "images" }))).await;
    assert_eq!(system.status, 409, "{}", system.text());
    let repository = house.call_as("root", post("/api/v1/repositories", json!({ "name": "alpha", "format": "oci", "kind": "hosted" }))).await;
    assert_eq!(repository.status, 409, "{}", repository.text());
    let elsewhere = json!({ "system": "alpha", "name": "beta", "format": "oci", "kind": "hosted" });
    assert_eq!(house.call_as("root", post("/api/v1/repositories", elsewhere)).await.status, 201);
}
