use super::{find, list, one, read, render_chart, render_json, render_yaml};
use crate::chart::Chart;
use crate::index::Entry;
use crate::testing::chart_yaml;
use crate::yaml;
use entrepot_kit::{ALL_PACKAGES, BaseUrl, Records, Timestamp, VersionRecord, listed};
use serde_json::{Value, json};

const DIGEST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn record(name: &str, version: &str) -> VersionRecord {
    let chart = Chart::parse(chart_yaml(name, version).as_bytes()).unwrap();
    let entry = Entry { chart: &chart, created: "2026-11-26T08:00:00.000Z", digest: Some(DIGEST), urls: None };
    VersionRecord { version: listed(name, version), published: None, bytes: entry.to_bytes().unwrap().into() }
}

fn records() -> Records {
    let versions = [("web", "1.0.0"), ("web", "1.10.0"), ("web", "1.2.0+x"), ("web", "2.0.0-rc1"), ("a", "v1")];
    let versions = versions.iter().map(|(name, version)| record(name, version)).collect();
    Records { package: ALL_PACKAGES.to_owned(), versions, modified: Some(Timestamp(1_000)), ..Records::default() }
}

fn base() -> BaseUrl {
    BaseUrl { origin: String::from("https://example.com"), path: String::from("/main/helm") }
}

#[test]
fn the_newest_come_first_and_addresses_are_relative() {
    let index: Value = serde_json::from_slice(&render_json(&records(), &base(), "").unwrap()).unwrap();
    assert_eq!((&index["apiVersion"], &index["generated"]), (&json!("v1"), &json!("1970-01-01T00:00:01.000Z")));
    assert_eq!(index["serverInfo"]["contextPath"], "/main/helm");
    let versions: Vec<_> = index["entries"]["web"].as_array().unwrap().iter().map(|entry| entry["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["2.0.0-rc1", "1.10.0", "1.2.0+x", "1.0.0"]);
    let entry = &index["entries"]["web"][2];
    assert_eq!(entry["urls"], json!(["charts/web/web-1.2.0+x.tgz"]));
    assert_eq!((&entry["digest"], &entry["appVersion"]), (&json!(DIGEST), &json!("1.10")));
}

#[test]
fn the_yaml_form_says_the_same() {
    let (json, text) = (render_json(&records(), &base(), "").unwrap(), render_yaml(&records(), &base(), "").unwrap());
    let same: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(yaml::read(&text, &yaml::INDEX, true).unwrap(), same);
    assert!(String::from_utf8(text).unwrap().starts_with("apiVersion: \"v1\"\nentries:\n  a:\n  - "));
}

#[test]
fn lists_are_pages_of_charts() {
    let names = |offset, limit| {
        let page: Value = serde_json::from_slice(&list(&records(), offset, limit)).unwrap();
        page.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!((names(0, 9), names(0, 1), names(1, 9), names(2, 9)), ("a web".into(), "a".into(), "web".into(), String::new()));
    let chart: Value = serde_json::from_slice(&render_chart(&records(), &base(), "chart/web").unwrap()).unwrap();
    assert_eq!(chart.as_array().map(Vec::len), Some(4));
    assert_eq!(render_chart(&records(), &base(), "chart/none").map_err(|error| error.status().as_u16()), Err(404));
    let version = |wanted: &str| one(&records(), "web", wanted).map(|entry| serde_json::from_slice::<Value>(&entry).unwrap()["version"].clone());
    assert_eq!(version("latest"), Some(json!("1.10.0")));
    assert_eq!((version("1.2.0+x"), version("9.9.9")), (Some(json!("1.2.0+x")), None));
}

#[test]
fn indexes_of_upstreams_are_read_as_helm_reads_them() {
    let text = format!(
        "apiVersion: v1\ngenerated: \"2026-01-02T03:04:05.123456789+02:00\"\nmore: x\nentries:\n  web:\n  - name: web\n    version: 1.0.0\n    created: 2026-01-01T00:00:00.123456789Z\n    digest: sha256:{DIGEST}\n    engine: gotpl\n    urls: [\"https://cdn.example.com/x.tgz\", other]\n  - {{name: web, version: 1.0.0, urls: [second.tgz]}}\n  - {{name: web, version: bad version, urls: [a]}}\n  - {{name: other, version: 1.0.0, urls: [a]}}\n  - {{name: web, version: 0.9.0, digest: bad, urls: [charts/web-0.9.0.tgz]}}\n  - {{name: web, version: 0.8.0, urls: []}}\n  oci:\n  - {{name: oci, version: 1.0.0, urls: [\"oci://example.com/charts/oci:1.0.0\"]}}\n  empty: null\n"
    );
    let records = read(text.as_bytes()).unwrap();
    let names: Vec<_> = records.versions.iter().map(|record| record.version.replace('\n', " ")).collect();
    assert_eq!(names, ["web 1.0.0", "web 0.9.0", "oci 1.0.0"]);
    let found = find(&records, "web", "1.0.0").unwrap();
    assert_eq!((found.url.as_str(), found.digest.as_deref()), ("https://cdn.example.com/x.tgz", Some(DIGEST)));
    assert_eq!(find(&records, "web", "0.9.0").unwrap().digest, None);
    assert_eq!(find(&records, "oci", "1.0.0"), None);
    let index: Value = serde_json::from_slice(&render_json(&records, &base(), "").unwrap()).unwrap();
    let web = &index["entries"]["web"][0];
    assert_eq!((&web["urls"], &web["created"], &web["engine"]), (&json!(["charts/web/web-1.0.0.tgz"]), &json!("2026-01-01T00:00:00.123456789Z"), &Value::Null));
    assert_eq!(index["entries"]["oci"][0]["urls"], json!(["oci://example.com/charts/oci:1.0.0"]));
    for bad in ["", "<html>", "[]", "a: b", "{\"apiVersion\":\"v1\",\"entries\":[]}"] {
        assert_eq!(read(bad.as_bytes()).map_err(|error| error.status().as_u16()).map(drop), Err(502), "{bad:?}");
    }
    assert!(read(b"{\"apiVersion\":\"v1\"}").is_ok_and(|records| records.versions.is_empty()));
}
