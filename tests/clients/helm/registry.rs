//! Charts of an upstream at `oci://`: by `oci://` and by `index.yaml`, alone and in a group.

use super::{HELMS, Helm, same};
use crate::support::distribution::Distribution;
use crate::support::{ADMIN_PASSWORD, TestServer};

/// A proxy of a registry's charts, a classic one, a hosted repository, and a group of all three.
fn configuration(registry: &str, charts: &[&str], classic: &str) -> String {
    format!(
        r#"
[[repository]]
name = "own"
format = "helm"
tags = {{ visibility = "public" }}

[[repository]]
name = "distant"
format = "helm"
kind = "proxy"
tags = {{ visibility = "public" }}
upstream = {{ url = "oci://{registry}/charts", plain_http = true, mutable_ttl = 0, negative_ttl = 0 }}
settings = {{ charts = {charts:?} }}

[[repository]]
name = "classic"
format = "helm"
kind = "proxy"
tags = {{ visibility = "public" }}
upstream = {{ url = {classic:?}, mutable_ttl = 0 }}

[[repository]]
name = "all"
format = "helm"
kind = "group"
tags = {{ visibility = "public" }}
members = ["main/own", "main/distant", "main/classic"]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_pulls_charts_through_that_a_registry_has() {
    let (registry, origin) = (Distribution::start(), TestServer::start());
    let charts = ["listed-helm3", "listed-helm4", "absent"];
    let mut server = TestServer::builder().config(configuration(registry.host(), &charts, &origin.url("/main/helm"))).start();
    for version in HELMS {
        let helm = Helm::new(version);
        let (public, secret) = helm.signing_keys();
        let sign = ["--sign", "--key", "signer@example.com", "--keyring", secret.as_str()];
        let (listed, unlisted, classic) = (format!("listed-{version}"), format!("unlisted-{version}"), format!("classic-{version}"));
        for name in [&listed, &unlisted] {
            let file = helm.package(name, "1.0.0+build.1", &sign);
            helm.run(&["push", &file.display().to_string(), &format!("oci://{}/charts", registry.host()), "--plain-http"]).succeeded();
        }
        let file = helm.package(&classic, "3.0.0", &[]);
        helm.cm_push(&origin.url("/main/helm/api/charts"), &file).succeeded();
        // By the registry's interface: whatever it has, with provenance files.
        for repository in ["main/distant", "distant", "main/all"] {
            let target = helm.target(&format!("oci-{}", repository.replace('/', "-")));
            let folder = target.display().to_string();
            for name in [&listed, &unlisted] {
                let from = format!("oci://{}/{repository}/{name}", server.address());
                helm.run(&["pull", &from, "--version", "1.0.0+build.1", "--plain-http", "--verify", "--keyring", &public, "-d", &folder]).succeeded();
                same(&target.join(format!("{name}-1.0.0+build.1.tgz")), &helm.folder.join(format!("{name}-1.0.0+build.1.tgz")));
                let newest = helm.run(&["show", "chart", &from, "--plain-http"]).succeeded().stdout;
                assert!(newest.contains("version: 1.0.0+build.1"), "found by its tags: {newest}");
            }
        }
        // Classically: what the repository's settings list.
        for (repository, classic_too) in [("distant", false), ("all", true)] {
            helm.add(repository, &server.url(&format!("/main/{repository}")));
            let found: Vec<String> = helm.search(repository).into_iter().map(|(name, _)| name).collect();
            assert!(found.contains(&format!("{repository}/{listed}")) && !found.contains(&format!("{repository}/{unlisted}")), "{found:?}");
            assert_eq!(found.contains(&format!("{repository}/{classic}")), classic_too, "{found:?}");
            let target = helm.target(&format!("classic-{repository}"));
            let reference = format!("{repository}/{listed}");
            helm.run(&["pull", &reference, "--verify", "--keyring", &public, "-d", &target.display().to_string()]).succeeded();
            same(&target.join(format!("{listed}-1.0.0+build.1.tgz")), &helm.folder.join(format!("{listed}-1.0.0+build.1.tgz")));
            let rendered = helm.run(&["template", "release", &reference]).succeeded().stdout;
            assert!(rendered.contains("kind: Deployment"), "{rendered}");
        }
        // A newer version is seen; the same chart of our own takes the name.
        let newer = helm.package(&listed, "2.0.0", &[]);
        helm.run(&["push", &newer.display().to_string(), &format!("oci://{}/charts", registry.host()), "--plain-http"]).succeeded();
        helm.run(&["repo", "update"]).succeeded();
        assert_eq!(helm.search(&format!("distant/{listed}"))[0].1, "2.0.0");
    }
    // What was pulled once is here while the registry is gone.
    drop(registry);
    server.restart();
    let helm = Helm::new(HELMS[0]);
    for name in ["listed-helm3", "unlisted-helm4"] {
        let target = helm.target(name);
        let from = format!("oci://{}/main/all/{name}", server.address());
        helm.run(&["pull", &from, "--version", "1.0.0+build.1", "--plain-http", "-d", &target.display().to_string()]).succeeded();
    }
    // Nothing is published to what only passes on.
    helm.run(&["registry", "login", server.address(), "--plain-http", "--username", "admin", "--password", ADMIN_PASSWORD]).succeeded();
    let file = helm.package("mine", "1.0.0", &[]);
    helm.run(&["push", &file.display().to_string(), &format!("oci://{}/main/distant", server.address()), "--plain-http"]).failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_alone_speaks_to_registries_by_their_own_protocol() {
    let server = TestServer::start();
    let create = async |format: &str, upstream: serde_json::Value, settings: serde_json::Value| {
        let mut body = serde_json::json!({ "system": "main", "name": format!("{format}-far"), "format": format, "kind": "proxy", "upstream": upstream });
        body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        server.admin().json(http::Method::POST, "/api/v1/repositories", &body).await
    };
    let none = serde_json::json!({});
    let refused = create("npm", serde_json::json!({ "url": "oci://registry.example/charts" }), none.clone()).await.is(400);
    assert!(refused.text().contains("begins with oci://, which repositories of the format npm do not speak"), "{}", refused.text());
    create("helm", serde_json::json!({ "url": "https://charts.example/", "plain_http": true }), none).await.is(400);
    let upstream = serde_json::json!({ "url": "oci://registry.example/charts" });
    create("helm", upstream.clone(), serde_json::json!({ "charts": ["Not/A/Name"] })).await.is(400);
    create("helm", upstream, serde_json::json!({ "charts": ["web"] })).await.succeeded();
}
