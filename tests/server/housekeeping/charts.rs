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
