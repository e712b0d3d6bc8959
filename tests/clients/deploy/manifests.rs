//! The manifests: made of the chart, right by the schemas, and right in what they say of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::{CASES, KUBERNETES, chart_folder, folder, kind, list, manifests, objects, one, template, text, validate};
use crate::helm::{HELMS, Helm};
use crate::support::clients::PATIENCE;
use crate::support::process;

const GIB: u64 = 1 << 30;

#[test]
fn deploy_manifests_are_made_of_the_chart() {
    for version in HELMS {
        let made = tempfile::tempdir().unwrap();
        let mut command = Command::new(folder().join("render"));
        process::clean(&mut command);
        command.env("HOME", made.path()).arg(Helm::program(version)).arg(made.path().join("kubernetes"));
        process::run(command, PATIENCE).succeeded();
        let read = |folder: PathBuf| -> BTreeMap<String, String> {
            let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            files.map(|file| (file.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(file).unwrap())).collect()
        };
        let (fresh, kept) = (read(made.path().join("kubernetes")), read(folder().join("kubernetes")));
        assert_eq!(kept.keys().collect::<Vec<_>>(), fresh.keys().collect::<Vec<_>>());
        for (name, text) in fresh {
            assert!(kept[&name] == text, "deploy/kubernetes/{name} is not what {version} makes of the chart: run deploy/render");
        }
    }
}

#[test]
fn deploy_objects_fit_the_schemas_of_kubernetes_and_each_other() {
    let helm = Helm::new(HELMS[1]);
    let mut checked = 0;
    let rendered = CASES.map(|(name, values)| (name, vec![template(&helm, &[&chart_folder()], name, values)]));
    for (name, files) in rendered.into_iter().chain([("manifests", manifests())]) {
        for version in KUBERNETES {
            validate(version, &files).succeeded();
        }
        let objects = objects(&files);
        fit_together(&objects, if name == "existing-secret" { Some("mine") } else { None });
        checked += objects.len();
    }
    println!("{checked} objects of {} sets are right by the schemas of Kubernetes {}", CASES.len() + 1, KUBERNETES.join(" and "));
    // Whoever finds nothing wrong must be able to.
    let wrong = helm.folder.join("wrong.yaml");
    let service = std::fs::read_to_string(folder().join("kubernetes/service.yaml")).unwrap();
    for (right, broken) in [("targetPort: http", "targetPort: [http]"), ("targetPort: http", "targetport: http")] {
        assert!(service.contains(right));
        std::fs::write(&wrong, service.replace(right, broken)).unwrap();
        validate(KUBERNETES[1], std::slice::from_ref(&wrong)).failed();
    }
}

/// What a pod is made of.
fn pod(object: &Value) -> Option<&Value> {
    ["Deployment", "StatefulSet", "Job"].contains(&text(&object["kind"])).then(|| &object["spec"]["template"])
}

/// Every name that an object says of another one leads somewhere.
fn fit_together(objects: &[Value], own_secret: Option<&str>) {
    let has = |part: &Value, wanted: &Value| wanted.as_object().unwrap().iter().all(|(key, value)| part[key] == *value);
    let keys = |kind: &str, name: &Value| -> Option<BTreeSet<String>> {
        let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == *name)?;
        let fields = ["data", "stringData"].iter().filter_map(|field| found[field].as_object());
        Some(fields.flat_map(|fields| fields.keys().cloned()).collect())
    };
    let is_there = |kind: &str, name: &Value, key: Option<&Value>| {
        if kind == "Secret" && own_secret.is_some_and(|own| name == own) {
            return;
        }
        let keys = keys(kind, name).unwrap_or_else(|| panic!("there is no {kind} {name}"));
        assert!(key.is_none_or(|key| keys.contains(text(key))), "{kind} {name} has no {key:?}");
    };
    let namespaces: BTreeSet<_> = objects.iter().filter(|object| object["kind"] != "Namespace").map(|object| text(&object["metadata"]["namespace"])).collect();
    assert_eq!(namespaces.len(), 1, "{namespaces:?}");
    for object in objects {
        let name = text(&object["metadata"]["name"]);
        if let Some(pod) = pod(object) {
            let selector = &object["spec"]["selector"]["matchLabels"];
            assert!(object["kind"] == "Job" || has(&pod["metadata"]["labels"], selector), "{name} does not select its own pods");
            let spec = &pod["spec"];
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{name}");
            let claimed = list(&object["spec"]["volumeClaimTemplates"]).iter().map(|claim| &claim["metadata"]["name"]);
            let volumes: Vec<_> = list(&spec["volumes"]).iter().map(|volume| &volume["name"]).chain(claimed).collect();
            for volume in list(&spec["volumes"]) {
                for item in list(&volume["configMap"]["items"]) {
                    is_there("ConfigMap", &volume["configMap"]["name"], Some(&item["key"]));
                }
            }
            for container in list(&spec["containers"]).iter().chain(list(&spec["initContainers"])) {
                assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{name}: every container has a limit");
                for source in list(&container["envFrom"]) {
                    is_there("Secret", &source["secretRef"]["name"], None);
                }
                for variable in list(&container["env"]) {
                    for (kind, field) in [("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")] {
                        let from = &variable["valueFrom"][field];
                        if from.is_object() {
                            is_there(kind, &from["name"], Some(&from["key"]));
                        }
                    }
                }
                for mount in list(&container["volumeMounts"]) {
                    assert!(volumes.contains(&&mount["name"]), "{name} has no volume {}", mount["name"]);
                }
                let ports: Vec<_> = list(&container["ports"]).iter().map(|port| &port["name"]).collect();
                for probe in ["startupProbe", "livenessProbe", "readinessProbe"].map(|probe| &container[probe]) {
                    let port = &probe[if probe["httpGet"].is_object() { "httpGet" } else { "tcpSocket" }]["port"];
                    assert!(port.is_null() || ports.contains(&port), "{name} has no port {port}");
                }
            }
        }
        if object["kind"] == "Service" {
            let pods: Vec<_> = objects.iter().filter_map(pod).filter(|pod| has(&pod["metadata"]["labels"], &object["spec"]["selector"])).collect();
            assert_eq!(pods.len(), 1, "{name} leads to the pods of one");
            for port in list(&object["spec"]["ports"]) {
                let known: Vec<_> =
                    list(&pods[0]["spec"]["containers"]).iter().flat_map(|container| list(&container["ports"])).map(|port| &port["name"]).collect();
                assert!(known.contains(&&port["targetPort"]), "{name} leads to no port");
            }
        }
        if object["kind"] == "Ingress" {
            let backend = &object["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"];
            let service = one(objects, "Service", text(&backend["name"]));
            assert!(list(&service["spec"]["ports"]).iter().any(|port| port["name"] == backend["port"]["name"]));
        }
        if object["kind"] == "HorizontalPodAutoscaler" {
            let scaled = one(objects, "Deployment", text(&object["spec"]["scaleTargetRef"]["name"]));
            assert!(scaled["spec"]["replicas"].is_null(), "two would set the number of replicas");
        }
    }
}

/// The host and port of a service of these objects, as pods know them.
fn leads_to(objects: &[Value], place: &str) {
    let (host, port) = place.split_once(':').unwrap();
    let service = one(objects, "Service", host);
    let ports: Vec<_> = list(&service["spec"]["ports"]).iter().map(|port| port["port"].to_string()).collect();
    assert!(ports.contains(&port.to_owned()), "{host} listens on {ports:?}, not on {port}");
}

#[test]
fn deploy_manifests_have_two_small_replicas_and_what_they_need() {
    let objects = objects(&manifests());
    assert_eq!(text(&one(&objects, "Namespace", "entrepot")["metadata"]["name"]), "entrepot");
    let server = one(&objects, "Deployment", "entrepot");
    assert_eq!(server["spec"]["replicas"], 2);
    let container = &server["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["resources"],
        json!({ "requests": { "cpu": "250m", "memory": "256Mi" }, "limits": { "cpu": "500m", "memory": "512Mi" } }),
        "256 to 512 MiB and 250 to 500m"
    );
    let probes = ["startupProbe", "livenessProbe", "readinessProbe"].map(|probe| text(&container[probe]["httpGet"]["path"]));
    assert_eq!(probes, ["/health", "/health", "/health/ready"]);
    let ended_after = server["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    let sleeps = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    assert!(ended_after >= 30 + sleeps, "limits.shutdown_timeout is over before the process is killed");
    let ingress = &kind(&objects, "Ingress")[0]["metadata"]["annotations"];
    assert_eq!(ingress["nginx.ingress.kubernetes.io/proxy-body-size"], "10g");
    for buffering in ["proxy-request-buffering", "proxy-buffering"] {
        assert_eq!(ingress[&format!("nginx.ingress.kubernetes.io/{buffering}")], "off");
    }
    let config: toml::Table = text(&one(&objects, "ConfigMap", "entrepot")["data"]["config.toml"]).parse().unwrap();
    assert_eq!(config["limits"]["max_upload_bytes"].as_integer().unwrap(), i64::try_from(10 * GIB).unwrap(), "the ingress and the server agree");
    // Where the servers look for everything, something listens.
    let data = &one(&objects, "ConfigMap", "entrepot")["data"];
    leads_to(&objects, &format!("{}:{}", text(&data["DBHOST"]), text(&data["DBPORT"])));
    leads_to(&objects, text(&data["MINIO_ENDPOINT"]));
    let secret = &one(&objects, "Secret", "entrepot")["stringData"];
    let redis = text(&secret["REDIS_URL"]).split_once('@').unwrap().1.trim_end_matches("/0");
    leads_to(&objects, redis);
    assert!(text(&secret["REDIS_URL"]).contains(text(&secret["REDIS_PASSWORD"])));
    // What these listen with is what the servers come with.
    let arguments = |kind: &str, name: &str| one(&objects, kind, name)["spec"]["template"]["spec"]["containers"][0].clone();
    let database = arguments("StatefulSet", "entrepot-postgresql");
    let value = |name: &str| list(&database["env"]).iter().find(|variable| variable["name"] == name).unwrap()["value"].clone();
    assert_eq!((value("POSTGRES_DB"), value("POSTGRES_USER")), (data["DBNAME"].clone(), data["DBUSER"].clone()));
    let bucket = &one(&objects, "StatefulSet", "entrepot-s3")["spec"]["template"]["spec"]["initContainers"][0];
    assert!(list(&bucket["command"]).iter().any(|word| text(word).ends_with(&format!("/{}", text(&data["MINIO_BUCKET"])))), "{bucket}");
    assert!(arguments("Deployment", "entrepot-redis")["image"].as_str().unwrap().contains("redis"));
}
