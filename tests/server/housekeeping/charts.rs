//! Charts: versions by rule, in both views at once.

use entrepot_format_helm::testing::{chart, prov};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn charts_go_by_rule_from_both_views() {
    let later = Later::start().await;
    later.repository("helm", "helm", Kind::Hosted, json!({ "retention": { "keep": 1 } })).await;
    let publish = async |version: &str| {
        let bytes = chart("web", version, "x");
        for (path, body) in [("api/charts", bytes.clone()), ("api/prov", prov("web", version, &bytes).into_bytes())] {
            let reply = later.owner(Call::post(format!("/alpha/helm/{path}"), body)).await;
            assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
        }
        digest(&bytes)
    };
    let old = publish("1.9.0").await;
    later.pass(1);
    let new = publish("1.10.0").await;
    let paths = |version: &str, archive: &str| {
        let classic = [format!("/alpha/helm/charts/web/web-{version}.tgz"), format!("/alpha/helm/charts/web/web-{version}.tgz.prov")];
        let artifact = [format!("/v2/alpha/helm/web/manifests/{version}"), format!("/v2/alpha/helm/web/blobs/{archive}")];
        [classic, artifact].concat()
    };
    assert_eq!(gone(&later.tidy("helm").await, "version"), ["1.9.0"]);
    for path in paths("1.9.0", &old) {
        assert_eq!(later.owner(Call::get(path.as_str())).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // What nobody asks for does not go for that.
    later.pass(90);
    let report = later.tidy("helm").await;
    assert!(gone(&report, "version").is_empty() && gone(&report, "part").is_empty(), "{report}");
    for path in paths("1.10.0", &new) {
        assert_eq!(later.owner(Call::get(path.as_str())).await.status, StatusCode::OK, "{path}");
    }
    let index = later.owner(Call::get("/alpha/helm/index.yaml")).await.json();
    assert_eq!(index["entries"]["web"].as_array().map(Vec::len), Some(1));
}

/// The parts of a chart that nobody pushed the manifest of are tidied away; a manifest that comes at once brings them back.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_counts_on_what_was_tidied_away_brings_it_back() {
    let later = Later::start().await;
    later.repository("helm", "helm", Kind::Hosted, json!({})).await;
    let (config, bytes) = (br#"{"name":"web"}"#.as_slice(), chart("web", "1.0.0", "x"));
    later.blob("helm/web", config.to_vec()).await;
    later.blob("helm/web", bytes.clone()).await;
    later.pass(2);
    assert_eq!(gone(&later.tidy("helm").await, "part").len(), 2);
    let path = format!("helm/web/blobs/{}", digest(&bytes));
    assert_eq!(later.status(&path).await, StatusCode::NOT_FOUND);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": { "mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digest(config), "size": config.len() },
        "layers": [{ "mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": digest(&bytes), "size": bytes.len() }],
    });
    let put = later.put_manifest("helm/web", "1.0.0", &manifest).await;
    assert_eq!(put.status, StatusCode::CREATED, "{}", put.text());
    assert_eq!(later.oci(Method::GET, &path).await.body, bytes);
    assert_eq!(later.owner(Call::get("/alpha/helm/charts/web/web-1.0.0.tgz")).await.body, bytes);
}
