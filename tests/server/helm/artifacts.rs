//! The same charts as container clients see them, whichever way they came.

use std::collections::BTreeMap;

use entrepot_format_helm::artifact::{ARCHIVE, CONFIG, PROVENANCE};
use entrepot_format_helm::testing::{chart, prov};
use entrepot_kit::{Address, Kind, Sha256Digest};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{OWNER, delete, get, house, index, post, publish, saved, versions};
use crate::house::House;
use crate::raw::{Call, Reply};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

async fn registry(house: &House, path: &str) -> Reply {
    house.call(Call::get(format!("/v2/alpha/helm/{path}"))).await
}

async fn push_blob(house: &House, image: &str, bytes: &[u8]) {
    let target = format!("/v2/alpha/helm/{image}/blobs/uploads/?digest={}", digest(bytes));
    let reply = house.call_as("bob", Call { body: bytes.to_vec().into(), ..Call::new(Method::POST, target) }).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
}

fn manifest(config: &[u8], layers: &[(&str, &[u8])], more: &Value) -> String {
    let descriptor = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() });
    let layers: Vec<Value> = layers.iter().map(|(media_type, bytes)| descriptor(media_type, bytes)).collect();
    let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, config), "layers": layers });
    for (key, value) in more.as_object().expect("an object") {
        manifest[key] = value.clone();
    }
    manifest.to_string()
}

async fn put_manifest(house: &House, path: &str, body: &str) -> Reply {
    let call = Call::put(format!("/v2/alpha/helm/{path}"), body.to_owned()).with("Content-Type", MANIFEST);
    house.call_as("bob", call).await
}

/// Pushes a chart as Helm does; gives the answer to its manifest.
async fn push(house: &House, image: &str, tag: &str, archive: &[u8], provenance: Option<&str>) -> Reply {
    let config = format!("{{\"name\":{image:?},\"tag\":{tag:?}}}");
    let mut layers = vec![(ARCHIVE, archive)];
    layers.extend(provenance.map(|text| (PROVENANCE, text.as_bytes())));
    push_blob(house, image, config.as_bytes()).await;
    for (_, bytes) in &layers {
        push_blob(house, image, bytes).await;
    }
    put_manifest(house, &format!("{image}/manifests/{tag}"), &manifest(config.as_bytes(), &layers, &json!({}))).await
}

fn code(reply: &Reply) -> (u16, String) {
    (reply.status.as_u16(), reply.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_classically_is_pulled_as_an_artifact() {
    let mut house = house().await;
    let bytes = publish(&house, "web", "1.0.0+build.1").await;
    let signed = prov("web", "1.0.0+build.1", &bytes);
    let tag = "web/manifests/1.0.0_build.1";
    let without = registry(&house, tag).await;
    saved(&post(&house, "api/prov", signed.clone()).await);
    let reply = registry(&house, tag).await;
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, MANIFEST), "{}", reply.text());
    assert_eq!(reply.header("docker-content-digest"), digest(&reply.body));
    let manifest = reply.json();
    assert_eq!((&manifest["config"]["mediaType"], &manifest["layers"][0]["mediaType"]), (&json!(CONFIG), &json!(ARCHIVE)));
    for (layer, wanted) in [(0, bytes.clone()), (1, signed.into_bytes())] {
        let named = manifest["layers"][layer]["digest"].as_str().expect("a digest");
        assert_eq!(registry(&house, &format!("web/blobs/{named}")).await.body, wanted);
    }
    let config = registry(&house, &format!("web/blobs/{}", manifest["config"]["digest"].as_str().expect("a digest"))).await;
    assert_eq!((&config.json()["name"], &config.json()["appVersion"]), (&json!("web"), &json!("1.10")));
    for before in [&without, &reply] {
        let by_digest = registry(&house, &format!("web/manifests/{}", before.header("docker-content-digest"))).await;
        assert_eq!(by_digest.body, before.body, "a digest that was given stays good");
    }
    assert_eq!(registry(&house, "web/tags/list").await.json(), json!({ "name": "alpha/helm/web", "tags": ["1.0.0_build.1"] }));
    house.restart().await;
    assert_eq!(registry(&house, tag).await.body, reply.body);
    assert_eq!(code(&registry(&house, "web/manifests/9.9.9").await), (404, String::from("MANIFEST_UNKNOWN")));
    assert_eq!(delete(&house, "api/charts/web/1.0.0+build.1").await.status, StatusCode::OK);
    for path in [tag.to_owned(), format!("web/blobs/{}", digest(&bytes)), format!("web/manifests/{}", digest(&reply.body))] {
        assert_eq!(registry(&house, &path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // What was deleted can be taken back, for both.
    let restored = house.call_as(OWNER, Call::post("/api/v1/repositories/alpha/helm/packages/web/versions/1.0.0%2Bbuild.1/restore", "")).await;
    assert_eq!(restored.status, StatusCode::OK, "{}", restored.text());
    assert_eq!(registry(&house, tag).await.body, reply.body);
    assert_eq!(registry(&house, &format!("web/blobs/{}", digest(&bytes))).await.body, bytes);
    assert_eq!(get(&house, "charts/web/web-1.0.0+build.1.tgz").await.body, bytes);
    assert_eq!(versions(&index(&house).await, "web"), ["1.0.0+build.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_is_in_the_index() {
    let house = house().await;
    let bytes = chart("web", "1.0.0+x", "filling");
    let signed = prov("web", "1.0.0+x", &bytes);
    let reply = push(&house, "web", "1.0.0_x", &bytes, Some(&signed)).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    let entry = index(&house).await["entries"]["web"][0].clone();
    assert_eq!((&entry["version"], &entry["digest"]), (&json!("1.0.0+x"), &json!(Sha256Digest::of(&bytes).hex())));
    assert_eq!(get(&house, entry["urls"][0].as_str().expect("a URL")).await.body, bytes);
    assert_eq!(get(&house, "charts/web-1.0.0+x.tgz.prov").await.text(), signed);
    let pulled = registry(&house, "web/manifests/1.0.0_x").await;
    assert_eq!(pulled.header("docker-content-digest"), reply.header("docker-content-digest"), "as it was pushed");
    // The same chart again, either way.
    let revision = house.head("alpha/helm");
    saved(&post(&house, "api/charts", bytes.clone()).await);
    assert_eq!(push(&house, "web", "1.0.0_x", &bytes, Some(&signed)).await.status, StatusCode::CREATED);
    assert_eq!(house.head("alpha/helm"), revision);
    // Another manifest of the same chart is found by its digest, and the tag stays.
    let again = manifest(b"{}", &[(ARCHIVE, &bytes)], &json!({ "annotations": { "a": "b" } }));
    push_blob(&house, "web", b"{}").await;
    assert_eq!(put_manifest(&house, "web/manifests/1.0.0_x", &again).await.status, StatusCode::CREATED);
    assert_eq!(registry(&house, "web/manifests/1.0.0_x").await.body, pulled.body);
    assert_eq!(registry(&house, &format!("web/manifests/{}", digest(again.as_bytes()))).await.text(), again);
    // Other bytes are refused, either way.
    let other = chart("web", "1.0.0+x", "other");
    assert_eq!(code(&push(&house, "web", "1.0.0_x", &other, None).await), (409, String::from("DENIED")));
    super::refused(&post(&house, "api/charts", other).await, 409, "already exists");
    let gone = house.call_as(OWNER, Call::new(Method::DELETE, "/v2/alpha/helm/web/manifests/1.0.0_x")).await;
    assert_eq!(gone.status, StatusCode::ACCEPTED, "{}", gone.text());
    assert_eq!(versions(&index(&house).await, "web"), Vec::<String>::new());
    assert_eq!(get(&house, "charts/web/web-1.0.0+x.tgz").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_charts_and_what_refers_to_them_are_pushed() {
    let house = house().await;
    let bytes = chart("web", "1.0.0", "filling");
    let revision = house.head("alpha/helm");
    for (image, tag, archive, wanted) in [
        ("other", "1.0.0", bytes.clone(), "MANIFEST_INVALID"),
        ("web", "latest", bytes.clone(), "MANIFEST_INVALID"),
        ("web", "1.0.1", bytes.clone(), "MANIFEST_INVALID"),
        ("web", "1.0.0", b"no chart".to_vec(), "MANIFEST_INVALID"),
        ("folder/web", "1.0.0", bytes.clone(), "NAME_INVALID"),
    ] {
        let reply = push(&house, image, tag, &archive, None).await;
        assert_eq!(code(&reply), (400, String::from(wanted)), "{image}:{tag}");
    }
    let false_prov = prov("web", "1.0.0", b"other bytes");
    assert_eq!(code(&push(&house, "web", "1.0.0", &bytes, Some(&false_prov)).await), (400, String::from("MANIFEST_INVALID")));
    let image = manifest(b"{}", &[], &json!({})).replace(CONFIG, "application/vnd.oci.image.config.v1+json");
    push_blob(&house, "web", b"{}").await;
    assert_eq!(code(&put_manifest(&house, "web/manifests/1.0.0", &image).await), (400, String::from("MANIFEST_INVALID")));
    let absent = manifest(b"{}", &[(ARCHIVE, b"absent")], &json!({}));
    assert_eq!(code(&put_manifest(&house, "web/manifests/1.0.0", &absent).await), (400, String::from("MANIFEST_BLOB_UNKNOWN")));
    assert_eq!(house.head("alpha/helm"), revision);
    assert_eq!(index(&house).await["entries"], json!({}));
    // A signature.
    publish(&house, "web", "1.0.0").await;
    let subject = registry(&house, "web/manifests/1.0.0").await;
    let named = digest(&subject.body);
    let about =
        json!({ "subject": { "mediaType": MANIFEST, "digest": named, "size": subject.body.len() }, "artifactType": "application/vnd.example.signature" });
    let signature = manifest(b"{}", &[], &about).replace(CONFIG, "application/vnd.oci.empty.v1+json");
    let reply = put_manifest(&house, &format!("web/manifests/{}", digest(signature.as_bytes())), &signature).await;
    assert_eq!((reply.status, reply.header("oci-subject")), (StatusCode::CREATED, named.as_str()), "{}", reply.text());
    let referrers = registry(&house, &format!("web/referrers/{named}")).await.json();
    assert_eq!(referrers["manifests"][0]["digest"], digest(signature.as_bytes()));
    let old = signature.replace("\"subject\"", "\"other\"");
    let tag = format!("{}.sig", named.replace(':', "-"));
    assert_eq!(put_manifest(&house, &format!("web/manifests/{tag}"), &old).await.status, StatusCode::CREATED);
    assert_eq!(versions(&index(&house).await, "web"), ["1.0.0"], "the tags of signatures are no charts");
    assert_eq!(registry(&house, &format!("web/manifests/{tag}")).await.text(), old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_its_own_has_both_views() {
    let house = House::start_with(|options| {
        options.http.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        let address = Address::parse("alpha/helm").expect("an address");
        options.http.hosts = BTreeMap::from([(String::from("charts.example"), address)]);
    })
    .await;
    house.repository("alpha/helm", "helm", Kind::Hosted, true, json!({})).await;
    let at = |call: Call| call.with("X-Forwarded-Host", "charts.example");
    let bytes = chart("web", "1.0.0", "x");
    let upload = Call::post("/api/charts", bytes.clone());
    saved(&house.call_as(OWNER, at(upload)).await);
    let index = house.call(at(Call::get("/index.yaml"))).await.json();
    assert_eq!((versions(&index, "web"), &index["serverInfo"]["contextPath"]), (vec![String::from("1.0.0")], &json!("")));
    assert_eq!(house.call(at(Call::get("/charts/web/web-1.0.0.tgz"))).await.body, bytes);
    let tags = house.call(at(Call::get("/v2/web/tags/list"))).await;
    assert_eq!(tags.json(), json!({ "name": "web", "tags": ["1.0.0"] }));
    assert_eq!(house.call(at(Call::get(format!("/v2/web/blobs/{}", digest(&bytes))))).await.body, bytes);
}
