//! The chart with Helm 3 and Helm 4: linted, rendered, and installed from a repository of our own.

use super::{CASES, chart_folder, folder, kind, list, objects, one, template, text};
use crate::helm::{HELMS, Helm};
use crate::support::{ADMIN_PASSWORD, TestServer};

#[test]
fn deploy_chart_passes_both_lints_and_refuses_wrong_values() {
    for version in HELMS {
        let helm = Helm::new(version);
        let values = helm.folder.join("values.json");
        for (name, text) in CASES {
            std::fs::write(&values, text).unwrap();
            let said = helm.run(&["lint", "--strict", &chart_folder(), "--values", &values.display().to_string()]).succeeded();
            assert!(said.text().contains("0 chart(s) failed"), "{name}: {said}");
        }
        for (wrong, message) in [
            (r#"{"replicas": "two"}"#, "replicas"),
            (r#"{"replcas": 3}"#, "replcas"),
            (r#"{"ingress": {"enabled": "yes"}}"#, "ingress"),
            (r#"{"objects": {"endpoint": "https://s3.example.com"}}"#, "endpoint"),
            (r#"{"postgresql": {"enabled": false}}"#, "database.host: the chart's own PostgreSQL is switched off"),
            (r#"{"s3": {"enabled": false}}"#, "objects.endpoint: the chart's own S3 server is switched off"),
        ] {
            std::fs::write(&values, wrong).unwrap();
            let said = helm.run(&["template", "packages", &chart_folder(), "--values", &values.display().to_string()]).failed();
            assert!(said.text().contains(message), "{wrong}: {said}");
        }
    }
}

#[test]
fn deploy_chart_gives_what_its_values_ask_for() {
    let helm = Helm::new(HELMS[0]);
    let render = |case: &str| {
        let values = CASES.iter().find(|(name, _)| *name == case).unwrap().1;
        objects(&[template(&helm, &[&chart_folder()], case, values)])
    };
    let hooks = |all: &[serde_json::Value]| text(&kind(all, "Job")[0]["metadata"]["annotations"]["helm.sh/hook"]).to_owned();

    let defaults = render("defaults");
    assert_eq!(kind(&defaults, "StatefulSet").len(), 2);
    assert!(kind(&defaults, "Ingress").is_empty() && kind(&defaults, "Namespace").is_empty() && kind(&defaults, "HorizontalPodAutoscaler").is_empty());
    assert_eq!(hooks(&defaults), "post-install,pre-upgrade");
    let chart = std::fs::read_to_string(folder().join("helm/entrepot/Chart.yaml")).unwrap();
    assert!(chart.contains(&format!("\nappVersion: \"{}\"\n", env!("CARGO_PKG_VERSION"))), "the chart is of this version");

    // Databases of the operator's: none of the chart's, and the tables are there before the first server.
    let external = render("external");
    assert!(kind(&external, "StatefulSet").is_empty());
    assert_eq!((kind(&external, "Deployment").len(), hooks(&external).as_str()), (1, "pre-install,pre-upgrade"));
    let data = &one(&external, "ConfigMap", "packages-entrepot")["data"];
    let said = ["DBHOST", "DBPORT", "DBNAME", "DBUSER", "MINIO_ENDPOINT", "MINIO_SECURE", "MINIO_BUCKET"].map(|name| text(&data[name]));
    assert_eq!(said, ["db.example.com", "6432", "packages", "packages", "s3.example.com:443", "true", "bytes"]);
    let secret = &one(&external, "Secret", "packages-entrepot")["stringData"];
    assert_eq!((text(&secret["DBPASS"]), text(&secret["REDIS_URL"])), ("a b\"c", "rediss://:hush@redis.example.com:6380/1"));
    let job = &kind(&external, "Job")[0]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(list(&job["args"]), ["migrate"]);

    let existing = render("existing-secret");
    assert!(kind(&existing, "Secret").is_empty() && kind(&existing, "Job").is_empty());
    assert_eq!(kind(&existing, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["secretRef"]["name"], "mine");

    let ingress = render("ingress");
    let config: toml::Table = text(&one(&ingress, "ConfigMap", "packages-entrepot")["data"]["config.toml"]).parse().unwrap();
    assert_eq!(config["server"]["public_url"].as_str(), Some("https://charts.example.com"));
    assert_eq!((config["limits"]["max_upload_bytes"].as_integer(), config["system"][0]["name"].as_str()), (Some(3 << 30), Some("ops")));
    let annotations = &kind(&ingress, "Ingress")[0]["metadata"]["annotations"];
    assert_eq!((text(&annotations["nginx.ingress.kubernetes.io/proxy-body-size"]), text(&annotations["a.example/b"])), ("3g", "c"));

    let scaled = &render("autoscaling");
    assert_eq!(kind(scaled, "HorizontalPodAutoscaler")[0]["spec"]["maxReplicas"], 9);
    let server = one(scaled, "Deployment", "packages-entrepot");
    assert_eq!(server["spec"]["template"]["spec"]["containers"][0]["image"], "images.example.com/ops/entrepot:next");
}

#[tokio::test(flavor = "multi_thread")]
async fn deploy_chart_is_published_here_and_rendered_from_here() {
    let server = TestServer::start();
    for version in HELMS {
        let helm = Helm::new(version);
        helm.run(&["package", &chart_folder()]).succeeded();
        let file = helm.folder.join(format!("entrepot-{}.tgz", env!("CARGO_PKG_VERSION")));
        helm.run(&["registry", "login", server.address(), "--plain-http", "--username", "admin", "--password", ADMIN_PASSWORD]).succeeded();
        let registry = format!("oci://{}/main/helm", server.address());
        if version == HELMS[0] {
            // Packed a second time it has other bytes, which the version may not get.
            helm.run(&["push", &file.display().to_string(), &registry, "--plain-http"]).succeeded();
        }
        helm.add("ours", &server.url("/main/helm"));
        assert!(helm.search("ours/entrepot").contains(&(String::from("ours/entrepot"), String::from(env!("CARGO_PKG_VERSION")))));
        for (name, values) in CASES {
            let of = |chart: &[&str]| {
                let rendered = std::fs::read_to_string(template(&helm, chart, name, values)).unwrap();
                assert!(rendered.contains("kind: Deployment"), "{rendered}");
                rendered
            };
            let here = of(&[&chart_folder()]);
            assert!(of(&[&format!("{registry}/entrepot"), "--plain-http"]) == here, "{version}, {name}: by oci://");
            assert!(of(&["ours/entrepot"]) == here, "{version}, {name}: by index.yaml");
        }
    }
}
