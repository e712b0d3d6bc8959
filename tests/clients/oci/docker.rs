//! The docker engine.
#![cfg(test)]

use super::{Site, digest_in, had_no_errors, mounts, start};
use crate::support::clients::Home;
use crate::support::engine::Engine;
use crate::support::process::Output;
use crate::token;

/// docker in a home of its own.
struct Docker {
    home: Home,
    engine: &'static Engine,
}

impl Docker {
    fn new() -> Self {
        Self { home: Home::new(), engine: Engine::shared() }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.home.docker(self.engine, arguments)
    }

    /// Builds an image of three layers, and gives the content of the last.
    fn build(&self, image: &str, more: &[&str]) -> Vec<u8> {
        let folder = self.home.image(&image.replace(['/', ':'], "_"), &["one", "two", "three"]);
        let place = folder.display().to_string();
        self.run(&[&["build", "--quiet", "--tag", image], more, &[place.as_str()]].concat()).succeeded();
        std::fs::read(folder.join("three")).unwrap()
    }

    /// Pulls, looks into what came, and throws it away.
    fn pulls(&self, image: &str, content: &[u8]) {
        self.run(&["pull", "--quiet", image]).succeeded();
        assert!(self.home.docker_file(self.engine, image, "three") == content, "{image} has other bytes than were pushed");
        self.run(&["rmi", image]).succeeded();
    }
}

/// Builds, pushes, pulls by tag and digest, copies, and joins platforms.
fn everything(site: &Site) {
    let docker = Docker::new();
    docker.run(&site.login()).succeeded();
    let name = site.image("team/secret/deep/er/app");
    let (one, latest) = (format!("{name}:1.0"), format!("{name}:latest"));
    let content = docker.build(&one, &[]);
    let digest = digest_in(&docker.run(&["push", &one]).succeeded().stdout);
    docker.run(&["tag", &one, &latest]).succeeded();
    let again = docker.run(&["push", &latest]).succeeded().stdout;
    assert_eq!((again.matches("Layer already exists").count(), digest_in(&again)), (3, digest.clone()), "{again}");

    // Layers that are there already are not sent once more.
    let copy = site.image("images/copied/from/team:1.0");
    docker.run(&["tag", &one, &copy]).succeeded();
    let copied = docker.run(&["push", &copy]).succeeded().stdout;
    assert_eq!((copied.matches("Mounted from team/secret/deep/er/app").count(), digest_in(&copied)), (3, digest.clone()), "{copied}");

    docker.run(&["rmi", &one, &latest, &copy]).succeeded();
    for image in [&one, &latest, &format!("{name}@{digest}"), &copy] {
        docker.pulls(image, &content);
    }

    let arm = format!("{name}:arm");
    let other = docker.build(&arm, &["--platform", "linux/arm64"]);
    docker.run(&["push", "--quiet", &arm]).succeeded();
    docker.run(&["rmi", &arm]).succeeded();
    let both = format!("{name}:both");
    docker.run(&["manifest", "create", "--insecure", &both, &one, &arm]).succeeded();
    docker.run(&["manifest", "push", "--insecure", &both]).succeeded();
    docker.pulls(&both, &content);
    docker.run(&["pull", "--quiet", "--platform", "linux/arm64", &both]).succeeded();
    assert!(docker.home.docker_file(docker.engine, &both, "three") == other, "the image of the other platform has other bytes");
    docker.run(&["rmi", &both]).succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_builds_pushes_and_pulls() {
    let server = start();
    everything(&Site::of(&server));
    assert!(mounts(&server) >= 3, "{}", server.log());
    had_no_errors(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_signs_in_with_password_or_token_and_is_told_why_it_may_not() {
    let server = start();
    let site = Site::of(&server);
    let docker = Docker::new();
    let (public, secret) = (site.image("images/app:1"), site.image("team/secret/app:1"));
    let content = docker.build(&public, &[]);
    docker.run(&["tag", &public, &secret]).succeeded();

    let refused = docker.run(&["push", &public]).failed().text();
    assert!(refused.contains("unauthorized") || refused.contains("denied"), "{refused}");
    let refused = docker.run(&["login", "--username", "admin", "--password", "wrong", &site.host]).failed().text();
    assert!(refused.contains("401") || refused.contains("unauthorized"), "{refused}");

    docker.run(&site.login()).succeeded();
    docker.run(&["push", &public]).succeeded();
    docker.run(&["logout", &site.host]).succeeded();
    let token = token(&server).await;
    docker.run(&["login", "--username", "admin", "--password", &token, &site.host]).succeeded();
    docker.run(&["push", &secret]).succeeded();
    docker.run(&["logout", &site.host]).succeeded();
    docker.run(&["rmi", &public, &secret]).succeeded();

    docker.pulls(&public, &content);
    let refused = docker.run(&["pull", &secret]).failed().text();
    assert!(refused.contains("unauthorized") || refused.contains("denied"), "{refused}");

    // A token that may only read: it signs in, and the refusal says what it may not.
    let reading = server.admin().create_token("reads", &["team/*"], &["read"]).await;
    docker.run(&["login", "--username", "admin", "--password", &reading, &site.host]).succeeded();
    docker.pulls(&secret, &content);
    let other = site.image("team/secret/other:1");
    docker.build(&other, &[]);
    let refused = docker.run(&["push", &other]).failed().text();
    assert!(refused.contains("denied") || refused.contains("unauthorized"), "{refused}");
    docker.run(&["rmi", &other]).succeeded();
    had_no_errors(&server);
}
