//! `index.yaml` and the lists: their forms, their validators, their order, and what a publish costs.

use std::path::Path;

use entrepot_format_helm::testing::chart;
use entrepot_format_helm::yaml;
use entrepot_kit::{Kind, Sha256Digest};
use http::StatusCode;
use serde_json::{Value, json};

use super::{HERE, delete, get, house, house_with, index, post, publish, versions};
use crate::house::House;
use crate::raw::Call;

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_json_text_and_yaml_by_choice() {
    let house = house().await;
    let bytes = publish(&house, "web", "1.0.0").await;
    let reply = get(&house, "index.yaml").await;
    assert_eq!((reply.header("cache-control"), reply.header("content-type")), ("public, max-age=300, must-revalidate", "application/yaml"));
    let json = reply.json();
    let entry = &json["entries"]["web"][0];
    assert_eq!((&json["apiVersion"], &json["serverInfo"]["contextPath"]), (&json!("v1"), &json!("/alpha/helm")));
    assert_eq!(entry["digest"], Sha256Digest::of(&bytes).hex());
    assert_eq!((&entry["urls"], &entry["appVersion"]), (&json!(["charts/web/web-1.0.0.tgz"]), &json!("1.10")));
    let text = get(&house, "index.yaml?format=yaml").await;
    assert!(text.text().starts_with("apiVersion: \"v1\"\n"), "{}", text.text());
    assert_eq!(yaml::read(&text.body, &yaml::INDEX, true).expect("YAML"), json);
    assert_ne!(text.header("etag"), reply.header("etag"));
    let house = house_with(json!({ "index": "yaml", "index_max_age": 60, "chart_max_age": 3600 })).await;
    publish(&house, "web", "1.0.0").await;
    let text = get(&house, "index.yaml").await;
    assert!(text.text().starts_with("apiVersion: \"v1\"\n"));
    assert_eq!(text.header("cache-control"), "public, max-age=60, must-revalidate");
    assert_eq!(get(&house, "index.yaml?format=json").await.json()["entries"]["web"][0]["name"], "web");
    assert_eq!(get(&house, "charts/web/web-1.0.0.tgz").await.header("cache-control"), "public, max-age=3600, immutable");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_state_is_the_same_document() {
    let mut house = house().await;
    publish(&house, "web", "1.0.0").await;
    let first = get(&house, "index.yaml").await;
    house.restart().await;
    let again = get(&house, "index.yaml").await;
    assert_eq!((&again.body, again.header("etag")), (&first.body, first.header("etag")));
    let same = house.call(Call::get(format!("{HERE}/index.yaml")).with("If-None-Match", first.header("etag"))).await;
    assert_eq!((same.status, same.header("cache-control")), (StatusCode::NOT_MODIFIED, "public, max-age=300, must-revalidate"));
    publish(&house, "web", "1.1.0").await;
    assert_ne!(get(&house, "index.yaml").await.header("etag"), first.header("etag"));
    let charts = get(&house, "charts/web/web-1.0.0.tgz").await;
    assert_eq!(charts.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(charts.header("etag"), format!("\"{}\"", Sha256Digest::of(&charts.body)));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_come_newest_first_and_the_past_stays() {
    let house = house().await;
    for version in ["1.2.0", "1.10.0", "1.0.0", "2.0.0-rc.1", "v1.3.0"] {
        publish(&house, "web", version).await;
    }
    publish(&house, "app", "0.1.0").await;
    let before = house.head("alpha/helm");
    assert_eq!(versions(&index(&house).await, "web"), ["2.0.0-rc.1", "1.10.0", "v1.3.0", "1.2.0", "1.0.0"]);
    let list = get(&house, "api/charts").await.json();
    assert_eq!(list.as_object().map(|charts| charts.keys().cloned().collect::<Vec<_>>()), Some(vec![String::from("app"), String::from("web")]));
    assert_eq!(get(&house, "api/charts?offset=1&limit=1").await.json().as_object().map(|page| page.len()), Some(1));
    assert_eq!(get(&house, "api/charts/web").await.json().as_array().map(Vec::len), Some(5));
    assert_eq!(get(&house, "api/charts/web/latest").await.json()["version"], "1.10.0");
    for absent in ["api/charts/none", "api/charts/web/9.9.9", "charts/web/web-9.9.9.tgz", "charts/none-1.0.0.tgz", "other"] {
        assert_eq!(get(&house, absent).await.status, StatusCode::NOT_FOUND, "{absent}");
    }
    assert_eq!(delete(&house, "api/charts/web").await.status, StatusCode::OK);
    assert_eq!(index(&house).await["entries"].as_object().map(|entries| entries.len()), Some(1));
    let past: Value = house.call(Call::get(format!("{HERE}.at-r{before}/index.yaml"))).await.json();
    assert_eq!((versions(&past, "web").len(), past["serverInfo"]["contextPath"].clone()), (5, json!(format!("{HERE}.at-r{before}"))));
    let url = past["entries"]["web"][0]["urls"][0].as_str().expect("a URL");
    assert_eq!(house.call(Call::get(format!("{HERE}.at-r{before}/{url}"))).await.status, StatusCode::OK);
    assert_eq!((get(&house, "info").await.status, get(&house, "health").await.json()), (StatusCode::OK, json!({ "healthy": true })));
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_charts_are_not_listed() {
    let house = house().await;
    publish(&house, "web", "1.0.0").await;
    publish(&house, "secret", "1.0.0").await;
    let policy = "forbid(principal, action == Action::\"read\", resource == Package::\"alpha/helm:secret\") unless { principal is User };";
    let call = Call::put("/api/v1/policies/hide", json!({ "text": policy }).to_string()).with("Content-Type", "application/json");
    let made = house.call_as("admin", call).await;
    assert!(made.status.is_success(), "{}", made.text());
    assert_eq!(versions(&index(&house).await, "secret"), Vec::<String>::new());
    assert_eq!(get(&house, "charts/secret-1.0.0.tgz").await.status, StatusCode::NOT_FOUND);
    let owner = house.call_as(super::OWNER, Call::get(format!("{HERE}/index.yaml"))).await.json();
    assert_eq!((versions(&owner, "secret"), versions(&owner, "web")), (vec![String::from("1.0.0")], vec![String::from("1.0.0")]));
}

/// The bytes of all files of the catalog's database.
fn database(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("the data directory").filter_map(Result::ok);
    let of_catalog = files.filter(|file| file.file_name().to_string_lossy().starts_with("entrepot.db"));
    of_catalog.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// What is stored for a publish does not grow with the repository: the index is made of what each version brought.
#[tokio::test(flavor = "multi_thread")]
async fn the_thousandth_publish_brings_what_the_tenth_brought() {
    let house = House::alone_with(|_| {}).await;
    house.repository("alpha/helm", "helm", Kind::Hosted, true, json!({})).await;
    house.user("bob", &[("system", "alpha"), ("role", "publisher")]).await;
    let mut sizes = Vec::new();
    for round in 0..6 {
        for number in 0..100 {
            let name = format!("chart-{:03}", number % 50);
            let version = format!("{round}.{number}.0");
            let reply = post(&house, "api/charts", chart(&name, &version, "x")).await;
            assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
        }
        sizes.push(database(&house.data()));
    }
    let first = sizes[1] - sizes[0];
    let last = sizes[5] - sizes[4];
    assert!(last <= first + first / 2 + (4 << 20), "100 publishes brought {first} bytes at first, and {last} at last: {sizes:?}");
    let entries = index(&house).await["entries"].as_object().expect("entries").len();
    assert_eq!(entries, 50);
}
