//! Real registries behind a proxy: another Entrepot, and the CNCF distribution registry. By name and by namespace, and with the registry gone.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use entrepot_kit::Kind;
use http::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use super::{IMAGE, digest, manifest};
use crate::house::{House, PASSWORD};
use crate::raw::{Call, Reply};
use crate::relay::Relay;
use crate::support::process::{Running, clean};

const LAYER: &[u8] = b"a layer that is on another registry";

/// The CNCF distribution registry on a port of its own.
struct Distribution {
    running: Running,
    url: String,
    _folder: TempDir,
}

impl Distribution {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
            folder.path().join("storage")
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new("docker-registry");
        clean(&mut command);
        command.arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("docker-registry (Debian's package of that name) is installed");
        let started = Self { running: Running::new(child), url: format!("http://127.0.0.1:{port}"), _folder: folder };
        for _ in 0..600 {
            if reqwest::get(format!("{}/v2/", started.url)).await.is_ok_and(|reply| reply.status() == StatusCode::OK) {
                return started;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("docker-registry does not answer");
    }

    async fn push(&self, image: &str, tag: &str, manifest: &Bytes, blobs: &[&[u8]]) {
        let client = reqwest::Client::new();
        for blob in blobs {
            let begun = client.post(format!("{}/v2/{image}/blobs/uploads/", self.url)).send().await.unwrap();
            let location = begun.headers()["location"].to_str().unwrap().to_owned();
            let url = format!("{location}{}digest={}", if location.contains('?') { "&" } else { "?" }, digest(blob));
            assert_eq!(client.put(url).body(blob.to_vec()).send().await.unwrap().status(), StatusCode::CREATED);
        }
        let put = client.put(format!("{}/v2/{image}/manifests/{tag}", self.url)).header("Content-Type", IMAGE).body(manifest.clone());
        assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    }
}

/// Pulls `image:1` below a prefix as a client does, and looks at everything.
async fn pull(house: &House, prefix: &str, query: &str, document: &Bytes) {
    let get = async |path: &str| house.call(Call::get(format!("{prefix}/{path}{query}"))).await;
    let by_digest = format!("manifests/{}", digest(document));
    for path in ["manifests/1", &by_digest] {
        let reply = get(path).await;
        assert_eq!((reply.status, &reply.body), (StatusCode::OK, document), "{prefix}/{path}: {}", reply.text());
        assert_eq!((reply.header("content-type"), reply.header("docker-content-digest")), (IMAGE, digest(document).as_str()));
        let head = house.call(Call::new(Method::HEAD, format!("{prefix}/{path}{query}"))).await;
        assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, document.len().to_string().as_str()));
    }
    let layer = get(&format!("blobs/{}", digest(LAYER))).await;
    assert_eq!((layer.status, &layer.body[..]), (StatusCode::OK, LAYER));
    assert_eq!(get(&format!("blobs/{}", digest(b"{}"))).await.status, StatusCode::OK);
    let absent = get(&format!("blobs/{}", digest(b"absent"))).await;
    assert!([StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE].contains(&absent.status), "{}", absent.text());
}

fn tags(reply: &Reply) -> serde_json::Value {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply.json()["tags"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_distribution_registry_is_pulled_through() {
    let (house, registry) = (House::start().await, Distribution::start().await);
    let document = manifest(&[LAYER]);
    for tag in ["1", "2", "latest"] {
        registry.push("team/app", tag, &document, &[b"{}", LAYER]).await;
    }
    let upstream = json!({ "url": registry.url, "allow_private": true, "retries": 0, "mutable_ttl": 0 });
    house.repository("main/dist", "oci", Kind::Proxy, true, json!({ "upstream": upstream, "namespace": "dist.example" })).await;
    house.repository("alpha/all", "oci", Kind::Group, true, json!({ "members": ["main/dist"] })).await;
    for (prefix, query) in [("/v2/dist/team/app", ""), ("/v2/main/dist/team/app", ""), ("/v2/team/app", "?ns=dist.example"), ("/v2/alpha/all/team/app", "")] {
        pull(&house, prefix, query, &document).await;
    }
    let list = Call::get("/v2/dist/team/app/tags/list");
    assert_eq!(tags(&house.call(list.clone()).await), json!(["1", "2", "latest"]));
    let referrers = house.call(Call::get(format!("/v2/dist/team/app/referrers/{}", digest(&document)))).await;
    assert_eq!((referrers.status, referrers.json()["manifests"].clone()), (StatusCode::OK, json!([])));
    assert_eq!(house.call(Call::get("/v2/dist/team/none/manifests/1")).await.status, StatusCode::NOT_FOUND);
    // The tag moves over there.
    let moved = manifest(&[LAYER, b"{}"]);
    registry.push("team/app", "2", &moved, &[]).await;
    assert_eq!(house.call(Call::get("/v2/dist/team/app/manifests/2")).await.body, moved);
    registry.running.kill();
    pull(&house, "/v2/dist/team/app", "", &document).await;
    assert_eq!(tags(&house.call(list).await), json!(["1", "2", "latest"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_entrepot_is_pulled_through_with_its_tokens() {
    let (house, other) = (House::start().await, House::start().await);
    other.repository("alpha/oci", "oci", Kind::Hosted, false, json!({})).await;
    let document = manifest(&[LAYER]);
    for blob in [&b"{}"[..], LAYER] {
        let path = format!("/v2/alpha/oci/app/blobs/uploads/?digest={}", digest(blob));
        assert_eq!(other.call_as("alpha-owner", Call::post(path, blob.to_vec())).await.status, StatusCode::CREATED);
    }
    let push = Call::put("/v2/alpha/oci/app/manifests/1", document.clone()).with("Content-Type", IMAGE);
    assert_eq!(other.call_as("alpha-owner", push).await.status, StatusCode::CREATED);

    let relay = Relay::at("127.0.0.1", other.host.parse().unwrap()).await.unwrap();
    let upstream = |more: serde_json::Value| {
        let mut all = json!({ "url": format!("http://{}/v2/alpha/oci", relay.address), "allow_private": true, "retries": 0, "mutable_ttl": 0 });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "upstream": all })
    };
    let with_password = upstream(json!({ "username": "alpha-owner", "password": PASSWORD }));
    house.repository("main/mirror", "oci", Kind::Proxy, true, with_password).await;
    house.repository("main/nobody", "oci", Kind::Proxy, true, upstream(json!({}))).await;
    house.repository("main/wrong", "oci", Kind::Proxy, true, upstream(json!({ "username": "alpha-owner", "password": "wrong" }))).await;
    pull(&house, "/v2/mirror/app", "", &document).await;
    assert_eq!(tags(&house.call(Call::get("/v2/mirror/app/tags/list")).await), json!(["1"]));
    // Who may not read over there finds nothing; who has a wrong password is told so.
    assert_eq!(house.call(Call::get("/v2/nobody/app/manifests/1")).await.status, StatusCode::NOT_FOUND);
    let wrong = house.call(Call::get("/v2/wrong/app/manifests/1")).await;
    assert!(wrong.status == StatusCode::BAD_GATEWAY && wrong.text().contains("credentials"), "{} {}", wrong.status, wrong.text());
    relay.cut().await;
    pull(&house, "/v2/mirror/app", "", &document).await;
}
