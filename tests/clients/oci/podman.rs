//! podman, buildah and skopeo.
#![cfg(test)]

use serde_json::Value;

use super::{Site, had_no_errors, mounts, start};
use crate::support::clients::Home;
use crate::support::process::Output;

const INSECURE: &str = "--tls-verify=false";

fn logged_in(site: &Site) -> Home {
    let home = Home::new();
    let [login, rest @ ..] = site.login();
    home.skopeo(&[&[login, INSECURE], &rest[..]].concat()).succeeded();
    home
}

/// What skopeo says of an image: its digest and its layers.
fn inspect(home: &Home, image: &str) -> (Value, Vec<Value>) {
    let said = home.skopeo(&["inspect", INSECURE, &format!("docker://{image}")]).succeeded().json();
    (said["Digest"].clone(), said["Layers"].as_array().unwrap().clone())
}

/// podman and buildah build, push and pull.
fn builders(site: &Site) {
    let home = logged_in(site);
    let podman = |arguments: &[&str]| home.podman(arguments);
    let folder = home.image("podman", &["one", "two"]);
    // A name that looks like a part of the protocol.
    let image = site.image("team/secret/blobs/manifests/app:1");
    podman(&["build", "--isolation", "chroot", "--tag", &image, &folder.display().to_string()]).succeeded();
    podman(&["push", INSECURE, &image]).succeeded();
    podman(&["rmi", "--force", &image]).succeeded();
    podman(&["pull", INSECURE, &image]).succeeded();
    let place = podman(&["image", "mount", &image]).succeeded().stdout.trim().to_owned();
    assert!(std::fs::read(format!("{place}/two")).unwrap() == std::fs::read(folder.join("two")).unwrap(), "other bytes than were pushed");
    podman(&["image", "unmount", &image]).succeeded();
    let refused = home.podman(&["pull", INSECURE, &site.image("team/secret/blobs/manifests/app:2")]).failed().text();
    assert!(refused.contains("manifest unknown"), "{refused}");

    let buildah = |arguments: &[&str]| home.buildah(arguments);
    let (image, both) = (site.image("team/secret/uploads/built"), site.image("team/secret/uploads/both:1"));
    buildah(&["manifest", "create", &both]).succeeded();
    for architecture in ["amd64", "arm64"] {
        let tagged = format!("{image}:{architecture}");
        let place = home.image(architecture, &["one", "two", "three"]).display().to_string();
        buildah(&["bud", "--isolation", "chroot", "--layers", "--arch", architecture, "--tag", &tagged, &place]).succeeded();
        buildah(&["push", INSECURE, &tagged]).succeeded();
        assert_eq!(inspect(&home, &tagged).1.len(), 3);
        buildah(&["manifest", "add", INSECURE, &both, &format!("docker://{tagged}")]).succeeded();
    }
    buildah(&["manifest", "push", "--all", INSECURE, &both, &format!("docker://{both}")]).succeeded();
    let list = home.skopeo(&["inspect", "--raw", INSECURE, &format!("docker://{both}")]).succeeded().json();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 2, "{list}");
    buildah(&["rmi", "--all", "--force"]).succeeded();
    buildah(&["pull", INSECURE, &both]).succeeded();
}

/// skopeo copies, lists and deletes, between repositories of different systems too.
fn copies(site: &Site) {
    let home = logged_in(site);
    let copy = |from: &str, to: &str| -> Output {
        home.skopeo(&["copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", &format!("docker://{from}"), &format!("docker://{to}")])
    };
    let (source, target) = (site.image("team/secret/source:1"), site.image("images/a/b/c/d/target:1"));
    let layers: Vec<String> = ["one", "two"].iter().map(|name| home.layer(name)).collect();
    home.crane(&["auth", "login", &site.host, "-u", site.user, "-p", &site.password]).succeeded();
    home.crane(&["append", "--oci-empty-base", "-f", &layers[0], "-f", &layers[1], "-t", &source]).succeeded();
    copy(&source, &target).succeeded();
    assert_eq!(inspect(&home, &source), inspect(&home, &target));
    copy(&source, &site.image("images/a/b/c/d/target:2")).succeeded();
    let tags = home.skopeo(&["list-tags", INSECURE, &format!("docker://{}", site.image("images/a/b/c/d/target"))]).succeeded().json();
    assert_eq!(tags["Tags"], serde_json::json!(["1", "2"]));
    // Deleting goes by the digest, and takes every tag with it.
    home.skopeo(&["delete", INSECURE, &format!("docker://{target}")]).succeeded();
    let gone = home.skopeo(&["inspect", INSECURE, &format!("docker://{}", site.image("images/a/b/c/d/target:2"))]).failed().text();
    assert!(gone.contains("manifest unknown") || gone.contains("name unknown"), "{gone}");
    // The layers stay where they were copied from.
    copy(&source, &target).succeeded();
    assert_eq!(inspect(&home, &source), inspect(&home, &target));
    // By now it knows where the layers are.
    copy(&source, &site.image("images/mounted:1")).succeeded();
    assert_eq!(inspect(&home, &source), inspect(&home, &site.image("images/mounted:1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_and_buildah_build_push_and_pull() {
    let server = start();
    let site = Site::of(&server);
    builders(&site);
    let home = Home::new();
    let refused = home.podman(&["pull", INSECURE, &site.image("team/secret/blobs/manifests/app:1")]).failed().text();
    assert!(refused.contains("unauthorized") || refused.contains("authentication required"), "{refused}");
    let refused = home.podman(&["login", INSECURE, "--username", "admin", "--password", "wrong", &site.host]).failed().text();
    assert!(refused.contains("invalid username/password") || refused.contains("unauthorized"), "{refused}");
    had_no_errors(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_lists_and_deletes() {
    let server = start();
    copies(&Site::of(&server));
    assert!(mounts(&server) > 0, "{}", server.log());
    had_no_errors(&server);
}
