//! Real indexes and images through the entries of a `remotes.yaml`, and what is left of them when their upstream is gone.
#![cfg(test)]

use std::path::Path;

use serde_json::json;

use crate::rpm::{Machine, Workshop};
use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::distribution::Distribution;
use crate::upstream::{Reply, ScriptedUpstream};

/// A server with the remotes of a file.
fn start(folder: &Path, remotes: &str) -> TestServer {
    let file = folder.join("remotes.yaml");
    std::fs::write(&file, format!("remotes:\n{remotes}")).unwrap();
    TestServer::builder().config(format!("[artifactapi]\nremotes = {:?}\n", file.display().to_string())).start()
}

/// Serves every file of a folder.
fn serve(upstream: &ScriptedUpstream, folder: &Path, at: &str) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let path = format!("{at}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            serve(upstream, &entry.path(), &path);
        } else {
            upstream.answer(&path, Reply::bytes(std::fs::read(entry.path()).unwrap()).etag("\"1\""));
        }
    }
}

/// A repository that createrepo_c made, for dnf.
#[tokio::test(flavor = "multi_thread")]
async fn rpm_dnf_installs_from_an_artifactapi_remote_though_its_upstream_is_gone() {
    let (workshop, upstream) = (Workshop::new(), ScriptedUpstream::start().await);
    let folder = workshop.home.path().join("os");
    std::fs::create_dir(&folder).unwrap();
    for name in ["tool", "other"] {
        let package = workshop.plain(name, "1.0");
        std::fs::copy(&package, folder.join(package.file_name().unwrap())).unwrap();
    }
    workshop.run("createrepo_c", &["--general-compress-type", "gz", &folder.display().to_string()]).succeeded();
    serve(&upstream, &folder, "/el9/os");
    // Whatever is mutable has expired when it is asked for again.
    let remote =
        format!("  rpms:\n    base_url: {}/el9\n    package: rpm\n    immutable_patterns: ['\\.rpm$']\n    cache: {{ mutable_ttl: 0 }}\n", upstream.url());
    let server = start(workshop.home.path(), &remote);
    let install = |package: &str| {
        let machine = Machine::new();
        let repository = format!("[remote]\nname=remote\nbaseurl={}\nenabled=1\ngpgcheck=0\n", server.url("/api/rpms/os/"));
        std::fs::write(machine.home.path().join("repos.d/remote.repo"), repository).unwrap();
        machine.dnf(&["install", package]).succeeded();
        assert_eq!(std::fs::read_to_string(machine.root(&format!("usr/share/{package}/version"))).unwrap(), "1.0\n");
    };
    install("tool");
    // What nobody asked for yet, by what the index names.
    let report =
        server.anonymous().json(http::Method::POST, "/cache-artifact", &json!({ "remote": "rpms", "pattern": "^os/.*\\.rpm$" })).await.succeeded().json();
    let found: Vec<_> =
        report["results"].as_array().unwrap().iter().map(|result| (result["path"].as_str().unwrap(), result["status"].as_str().unwrap())).collect();
    assert_eq!(found, [("os/other-1.0-1.noarch.rpm", "cached"), ("os/tool-1.0-1.noarch.rpm", "already_cached")], "{report}");
    upstream.stop().await;
    install("tool");
    install("other");
}

/// An image, from a registry that everybody knows, by skopeo.
#[tokio::test(flavor = "multi_thread")]
async fn oci_images_come_from_an_artifactapi_remote_though_its_upstream_is_gone() {
    let (home, upstream) = (Home::new(), Distribution::start());
    let [one, two] = ["one", "two"].map(|name| home.layer(name));
    home.crane(&["append", "--oci-empty-base", "-f", &one, "-f", &two, "-t", &format!("{}/team/app:1", upstream.host())]).succeeded();
    let remote =
        format!("  hub:\n    base_url: http://{}\n    package: docker\n    immutable_patterns: ['^team/']\n    cache: {{ mutable_ttl: 0 }}\n", upstream.host());
    let server = start(home.path(), &remote);
    let pull = |name: &str| {
        let target = home.path().join(name);
        home.skopeo(&["copy", "--src-tls-verify=false", &format!("docker://{}/hub/team/app:1", server.address()), &format!("dir:{}", target.display())])
            .succeeded();
        let mut files: Vec<_> = std::fs::read_dir(target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        files
    };
    let first = pull("first");
    assert!(first.len() >= 5, "two layers, a configuration, a manifest: {first:?}");
    drop(upstream);
    assert_eq!(pull("second"), first);
}
