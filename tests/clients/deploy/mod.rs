//! What stands in `deploy/`: the chart, the manifests that are made of it, and what they tell the server.
#![cfg(test)]

mod chart;
mod manifests;
mod services;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::helm::Helm;
use crate::support::clients::{PATIENCE, installed};
use crate::support::process::{self, Output};

/// The oldest version of Kubernetes that takes everything, and the newest whose schemas `tests/run` installs.
const KUBERNETES: [&str; 2] = ["1.30", "1.37"];
/// What operators may ask of the chart: a name, and its values.
const CASES: [(&str, &str); 6] = [
    ("defaults", "{}"),
    (
        "external",
        r#"{"postgresql": {"enabled": false}, "database": {"host": "db.example.com", "port": 6432, "name": "packages", "user": "packages"},
            "s3": {"enabled": false}, "objects": {"endpoint": "s3.example.com:443", "bucket": "bytes"},
            "redis": {"enabled": false, "url": "rediss://:hush@redis.example.com:6380/1"},
            "secrets": {"masterKey": "00", "databasePassword": "a b\"c", "s3SecretKey": "s"}}"#,
    ),
    ("existing-secret", r#"{"secrets": {"existing": "mine"}, "redis": {"enabled": false}, "migration": {"enabled": false}}"#),
    (
        "ingress",
        r#"{"ingress": {"enabled": true, "host": "charts.example.com", "tlsSecret": "tls", "annotations": {"a.example/b": "c"}}, "bodyLimitGiB": 3,
            "trustedProxies": ["10.0.0.0/8"], "config": "[[system]]\nname = \"ops\"\n"}"#,
    ),
    ("autoscaling", r#"{"autoscaling": {"enabled": true, "maxReplicas": 9}, "image": {"repository": "images.example.com/ops/entrepot", "tag": "next"}}"#),
    (
        "one",
        r#"{"replicas": 1, "namespace": {"create": true}, "service": {"type": "LoadBalancer", "port": 8080}, "imagePullSecrets": [{"name": "pull"}],
            "nodeSelector": {"disk": "fast"}, "tolerations": [{"operator": "Exists"}], "podAnnotations": {"a.example/b": "c"},
            "postgresql": {"storageClass": "fast"}, "s3": {"storageClass": "slow"}, "publicUrl": "https://one.example.com"}"#,
    ),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn chart_folder() -> String {
    folder().join("helm/entrepot").display().to_string()
}

/// A program beside the schemas of Kubernetes.
fn schemas(program: &str) -> Command {
    let file = installed().join("kubernetes/bin").join(program);
    assert!(file.exists(), "kubernetes-validate is not installed: {} is missing; run tests/run", file.display());
    let mut command = Command::new(file);
    process::clean(&mut command);
    command
}

/// Every object that files of YAML describe.
fn objects(files: &[PathBuf]) -> Vec<Value> {
    const SCRIPT: &str = "import json, sys, yaml\n\
                          print(json.dumps([item for name in sys.argv[1:] for item in yaml.safe_load_all(open(name)) if item is not None]))";
    let mut command = schemas("python");
    command.args(["-c", SCRIPT]).args(files);
    let all = process::run(command, PATIENCE).succeeded().json();
    all.as_array().unwrap().clone()
}

/// Holds files against the schemas of a version of Kubernetes: nothing may be there that it does not know.
fn validate(version: &str, files: &[PathBuf]) -> Output {
    let mut command = schemas("kubernetes-validate");
    command.args(["--strict", "--kubernetes-version", version]).args(files);
    process::run(command, PATIENCE)
}

/// The files of the manifests, in the order in which `kubectl apply -f` takes them.
fn manifests() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder().join("kubernetes")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 9 && files.iter().all(|file| file.extension().is_some_and(|end| end == "yaml")), "{files:?}");
    files
}

/// The chart with some values, as a file.
fn template(helm: &Helm, chart: &[&str], name: &str, values: &str) -> PathBuf {
    let (file, rendered) = (helm.folder.join(format!("{name}-values.json")), helm.folder.join(format!("{name}.yaml")));
    std::fs::write(&file, values).unwrap();
    let file = file.display().to_string();
    let arguments = [&["template", "packages", "--namespace", "registry", "--values", &file], chart].concat();
    std::fs::write(&rendered, helm.run(&arguments).succeeded().stdout).unwrap();
    rendered
}

fn kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[track_caller]
fn one<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    let found: Vec<_> = self::kind(objects, kind).into_iter().filter(|object| object["metadata"]["name"] == name).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
