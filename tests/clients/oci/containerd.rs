//! containerd, by its client ctr: what Kubernetes pulls with.
#![cfg(test)]

use super::{Site, had_no_errors, start};
use crate::support::clients::Home;
use crate::support::distribution::Distribution;
use crate::support::engine::Engine;
use crate::support::{ADMIN_PASSWORD, TestServer};

/// Proxies of a registry: one that stands for Docker Hub wherever containerd asks with `?ns=`, one that is asked by its path, and one for
/// which the namespace says nothing.
fn mirrors(upstream: &str) -> String {
    format!(
        r#"
[[repository]]
name = "hub"
format = "oci"
kind = "proxy"
tags = {{ visibility = "public" }}
upstream = {{ url = "http://{upstream}/" }}
settings = {{ namespace = "docker.io" }}
"#
    )
}

/// Puts an image of two layers and two platforms into a registry, under a name without credentials.
pub(super) fn fill(home: &Home, image: &str) {
    let [one, two] = ["one", "two"].map(|name| home.layer(name));
    let tagged = |tag: &str| format!("{image}:{tag}");
    home.crane(&["append", "--oci-empty-base", "-f", &one, "-f", &two, "-t", &tagged("plain")]).succeeded();
    let platforms = ["amd64", "arm64"].map(|architecture| {
        home.crane(&["mutate", "--set-platform", &format!("linux/{architecture}"), "-t", &tagged(architecture), &tagged("plain")]).succeeded();
        tagged(architecture)
    });
    home.crane(&["index", "append", "-m", &platforms[0], "-m", &platforms[1], "-t", &tagged("1")]).succeeded();
}

/// Pulls, and makes sure that all of it is there.
fn pulls(home: &Home, image: &str, more: &[&str]) {
    let engine = Engine::shared();
    home.ctr(engine, &[&["images", "pull", "--snapshotter", "native"], more, &[image]].concat()).succeeded();
    let checked = home.ctr(engine, &["images", "check", "--snapshotter", "native", &format!("name=={image}")]).succeeded().stdout;
    assert!(checked.contains("complete") && checked.contains(image), "{checked}");
    home.ctr(engine, &["images", "rm", "--sync", image]).succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn ctr_pulls_from_the_registry_itself() {
    let server = start();
    let site = Site::of(&server);
    let home = Home::new();
    home.crane(&["auth", "login", &site.host, "-u", site.user, "-p", &site.password]).succeeded();
    let (public, secret) = (site.image("images/ctr/app"), site.image("team/secret/ctr/app"));
    fill(&home, &public);
    fill(&home, &secret);
    pulls(&home, &format!("{public}:1"), &["--plain-http"]);
    let user = format!("admin:{ADMIN_PASSWORD}");
    pulls(&home, &format!("{secret}:1"), &["--plain-http", "--user", &user]);
    let refused = home.ctr(Engine::shared(), &["images", "pull", "--plain-http", "--snapshotter", "native", &format!("{secret}:1")]).failed().text();
    assert!(refused.contains("401 Unauthorized") || refused.contains("authorization failed"), "{refused}");
    // It pushes, too: what it pulled, under another name.
    let copy = site.image("team/secret/ctr/pushed:1");
    home.ctr(Engine::shared(), &["images", "pull", "--plain-http", "--snapshotter", "native", &format!("{public}:1")]).succeeded();
    home.ctr(Engine::shared(), &["images", "tag", &format!("{public}:1"), &copy]).succeeded();
    home.ctr(Engine::shared(), &["images", "push", "--plain-http", "--user", &user, "--platform", "linux/amd64", &copy]).succeeded();
    home.crane(&["validate", "--remote", &copy]).succeeded();
    had_no_errors(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctr_pulls_through_a_mirror_by_namespace() {
    let upstream = Distribution::start();
    let server = TestServer::builder().config(mirrors(upstream.host())).start();
    let home = Home::new();
    for name in ["named", "below"] {
        fill(&home, &format!("{}/library/{name}", upstream.host()));
    }
    // One file for everything that is Docker Hub's, as our own page of it says; and one whose path names the repository.
    let hosts = |folder: &str, server: &str, more: &str| {
        let folder = home.path().join(folder).join("docker.io");
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("server = \"{server}\"\n\n[host.\"{server}\"]\n  capabilities = [\"pull\", \"resolve\"]\n{more}");
        std::fs::write(folder.join("hosts.toml"), text).unwrap();
        folder.parent().unwrap().display().to_string()
    };
    let by_namespace = hosts("by-namespace", &server.url(""), "");
    let by_path = hosts("by-path", &server.url("/v2/hub"), "  override_path = true\n");
    pulls(&home, "docker.io/library/named:1", &["--hosts-dir", &by_namespace]);
    pulls(&home, "docker.io/library/below:1", &["--hosts-dir", &by_path]);
    assert!(server.log_lines(&["/v2/library/named/manifests/1", "status=200"]) > 0, "{}", server.log());
    assert!(server.log_lines(&["/v2/hub/library/below/manifests/1", "status=200"]) > 0, "{}", server.log());
    // What is there is there without the upstream.
    drop(upstream);
    pulls(&home, "docker.io/library/named:1", &["--hosts-dir", &by_namespace]);
    had_no_errors(&server);
}
