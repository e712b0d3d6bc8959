use std::path::Path;

use entrepot_kit::{Kind, SystemName};
use serde_json::json;

use super::{Artifactapi, Repository};
use crate::config::check::Checks;

/// Reads a file of that name.
fn read_as(name: &str, text: &str, artifactapi: Artifactapi) -> Result<Vec<Repository>, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    let upstream = |value: &serde_json::Value| {
        use serde::Deserialize as _;
        crate::upstream::UpstreamSettings::deserialize(value).map_err(|error| error.to_string())?.check().map_err(|wrong| wrong.join("; "))
    };
    let formats = crate::formats::all();
    let repository = |repository: &Repository| {
        let wanted = crate::registry::reconcile::Wanted {
            address: repository.address(),
            format: repository.format.clone(),
            kind: repository.kind,
            tags: repository.tags.clone(),
            settings: repository.all_settings(),
        };
        crate::registry::reconcile::check(&wanted, &formats).map_err(|error| error.message().to_owned())
    };
    let publisher = |_: &str, _: serde_json::Value, _: Option<&str>| Err(String::from("none"));
    let checks =
        Checks { formats: &["generic", "oci"], upstream: &upstream, repository: &repository, publisher: &publisher, policies: &|_| Ok(()), tls: &|_| Ok(()) };
    let read = Artifactapi { remotes: Some(file.clone()), ..artifactapi }.read(&checks);
    let shorter = |problem: String| problem.replace(&file.display().to_string(), name);
    read.map_err(|problems| problems.iter().map(|problem| shorter(problem.to_string())).collect())
}

fn read(text: &str) -> Result<Vec<Repository>, Vec<String>> {
    read_as("remotes.yaml", text, Artifactapi::default())
}

const FULL: &str = r#"
remotes:
  alpine:
    base_url: "https://mirror.example/alpine"
    type: "remote"
    package: "alpine"
    description: "Alpine's packages"
    immutable_patterns:
      - ".*/x86_64/.*\\.apk$"
      - ".*/x86_64/.*\\.apk$"
    mutable_patterns:
      - "APKINDEX\\.tar\\.gz$"
      - "latest"
    check_mutable_updates: true
    username: reader
    password: "hunter2"
    cache:
      immutable_ttl: 0
      mutable_ttl: 7200
  hub:
    base_url: https://registry-1.docker.io
    package: docker
  own:
    type: local
    cache: {}
"#;

#[test]
fn a_file_is_read_as_it_is() {
    let found = read(FULL).unwrap();
    let [alpine, hub, own] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((alpine.address().to_string(), alpine.format.as_str(), alpine.kind), (String::from("main/alpine"), "generic", Kind::Proxy));
    assert_eq!(
        alpine.upstream,
        Some(json!({ "username": "reader", "password": "hunter2", "immutable_ttl": 0, "mutable_ttl": 7200, "url": "https://mirror.example/alpine" }))
    );
    assert_eq!(
        alpine.settings,
        json!({
            "artifactapi": { "package": "alpine", "description": "Alpine's packages" },
            "paths": { "immutable": [".*/x86_64/.*\\.apk$"], "mutable": ["latest"], "anew": ["APKINDEX\\.tar\\.gz$"], "check": true }
        }),
        "duplicates are ignored"
    );
    assert!(alpine.tags["visibility"].contains("public") && own.tags == alpine.tags);
    assert!(!format!("{alpine:?}").contains("hunter2"));
    assert_eq!((hub.format.as_str(), hub.kind), ("oci", Kind::Proxy));
    assert_eq!(hub.upstream.as_ref().unwrap()["preset"], "docker.io", "what clients call it by follows from its address");
    assert_eq!((own.format.as_str(), own.kind, own.upstream.as_ref()), ("generic", Kind::Hosted, None));
    let toml = "[remotes.one]\nbase_url = \"https://a.example/\"\nmutable_patterns = ['latest']\ncache = { mutable_ttl = 5 }\n";
    let found = read_as("remotes.toml", toml, Artifactapi::default()).unwrap();
    assert_eq!((found[0].name.as_str(), &found[0].upstream.as_ref().unwrap()["mutable_ttl"]), ("one", &json!(5)));
    assert_eq!(read("remotes: {}\n").unwrap().len() + read("").unwrap().len(), 0);
}

#[test]
fn every_mistake_is_told_with_its_line_and_name() {
    for (text, expected) in [
        ("remote: {}\n", "remotes.yaml:1: unknown name \"remote\" at the top of the file; did you mean \"remotes\"?"),
        (
            "remotes:\n  a:\n    base_url: https://a.example\n    imutable_patterns: []\n",
            "remotes.yaml:4: unknown name \"imutable_patterns\" in remotes.a; did you mean \"immutable_patterns\"?",
        ),
        (
            "remotes:\n  a:\n    base_url: https://a.example\n    cache:\n      ttl: 5\n",
            "remotes.yaml:5: unknown name \"ttl\" in remotes.a.cache; known here: immutable_ttl, mutable_ttl",
        ),
        (
            "remotes:\n  a:\n    base_url: https://a.example\n    immutable_patterns:\n      - good\n      - \"(bad\"\n",
            "remotes.yaml:6: remotes.a.immutable_patterns: \"(bad\" is no regular expression: unclosed group",
        ),
        ("remotes:\n  a:\n    base_url: https://a.example\n    mutable_patterns: x\n", "remotes.yaml:4: remotes.a.mutable_patterns: expected a list"),
        ("remotes:\n  a:\n    base_url: https://a.example\n    type: mirror\n", "remotes.yaml:4: remotes.a.type: \"mirror\" is neither remote nor local"),
        (
            "remotes:\n  a:\n    base_url: https://a.example\n    package: npm\n",
            "remotes.yaml:4: remotes.a.package: \"npm\" is not one of generic, alpine, rpm, docker",
        ),
        (
            "remotes:\n  a:\n    base_url: https://a.example\n    check_mutable_updates: 1\n",
            "remotes.yaml:4: remotes.a.check_mutable_updates: expected true or false",
        ),
        (
            "remotes:\n  a:\n    base_url: https://a.example\n    cache: { mutable_ttl: -1 }\n",
            "remotes.yaml:4: remotes.a.cache.mutable_ttl: expected a number of seconds",
        ),
        (
            "remotes:\n  a:\n    base_url: https://a.example\n    username: u\n    password: 12345\n",
            "remotes.yaml:5: remotes.a.password: expected a text; put it into quotes",
        ),
        ("remotes:\n  a:\n    base_url: https://a.example\n    username: u\n", "remotes.yaml:2: remotes.a: username without password: set both, or neither"),
        ("remotes:\n  a:\n    base_url: ftp://a.example\n", "remotes.yaml:2: remotes.a: base_url must begin with https://"),
        ("remotes:\n  a:\n    package: rpm\n", "remotes.yaml:2: remotes.a has no base_url"),
        ("remotes:\n  v1:\n    base_url: https://a.example\n", "remotes.yaml:2: remotes.v1: the repository name \"v1\" is reserved"),
        ("remotes:\n  A:\n    base_url: https://a.example\n", "remotes.yaml:2: remotes.A: "),
        ("remotes:\n  ops:\n    base_url: https://a.example\n", "remotes.yaml:2: remotes.ops: ops is also the name of a system"),
        ("remotes:\n  taken:\n    base_url: https://a.example\n", "remotes.yaml:2: remotes.taken: the configuration declares a repository main/taken already"),
        ("remotes:\n  a: 5\n", "remotes.yaml:2: remotes.a: expected names and values below it"),
        ("remotes:\n  a:\n    base_url: x\n  a:\n    base_url: y\n", "remotes.yaml:4: "),
        ("remotes: [\n", "remotes.yaml:"),
    ] {
        let taken = read("remotes:\n  taken:\n    type: local\n").unwrap();
        let artifactapi = Artifactapi { systems: vec![SystemName::parse("ops").unwrap()], repositories: taken, ..Artifactapi::default() };
        let found = read_as("remotes.yaml", text, artifactapi).unwrap_err();
        assert!(found[0].starts_with(expected), "{found:?} is not {expected}");
    }
    let found = read_as("remotes.toml", "[remotes.a]\nbase_url = \"https://a.example\"\ncolour = 1\n", Artifactapi::default()).unwrap_err();
    assert!(found[0].starts_with("remotes.toml:3: unknown name \"colour\" in remotes.a"), "{found:?}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let found = read("remotes:\n  a:\n    colour: 1\n    type: x\n  b:\n    base_url: []\n").unwrap_err();
    assert_eq!(found.len(), 5, "{found:?}");
}

#[test]
fn a_repository_that_is_there_by_default_leaves_its_name_to_a_remote() {
    let text = "remotes:\n  generic:\n    base_url: https://a.example\n";
    let defaults = read("remotes:\n  generic:\n    type: local\n  npm:\n    type: local\n").unwrap();
    let found = read_as("remotes.yaml", text, Artifactapi { repositories: defaults, are_defaults: true, ..Artifactapi::default() }).unwrap();
    let kinds: Vec<_> = found.iter().map(|repository| (repository.name.as_str(), repository.kind)).collect();
    assert_eq!(kinds, [("npm", Kind::Hosted), ("generic", Kind::Proxy)]);
}

#[test]
fn a_path_starts_at_the_folder_of_whoever_says_it() {
    use super::{Origin, place};
    let file = Some(Path::new("/etc/entrepot/config.toml"));
    assert_eq!(place("remotes.yaml", &Origin::File(String::from("x"), 1), file).as_deref(), Some(Path::new("/etc/entrepot/remotes.yaml")));
    assert_eq!(place("remotes.yaml", &Origin::Flag("--remotes"), file).as_deref(), Some(Path::new("remotes.yaml")));
    assert_eq!(place("", &Origin::Default, file), None);
}
