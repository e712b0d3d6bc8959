//! The docker engine with us as its mirror of Docker Hub: a host of its own, which is bound to a proxy.
#![cfg(test)]

use std::net::SocketAddr;

use super::containerd::fill;
use super::had_no_errors;
use crate::relay::Relay;
use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::distribution::Distribution;
use crate::support::engine::Engine;

/// Another name of this machine, as a mirror has one of its own. The engine takes 127.0.0.0/8 without TLS.
const HOST: &str = "127.0.0.2";

fn config(upstream: &str) -> String {
    format!(
        r#"
[[repository]]
name = "hub"
format = "oci"
kind = "proxy"
tags = {{ visibility = "public" }}
upstream = {{ url = "http://{upstream}/" }}

[[host]]
name = "{HOST}"
repository = "main/hub"
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_pulls_by_short_names_through_the_mirror_of_its_settings() {
    let upstream = Distribution::start();
    let server = TestServer::builder().config(config(upstream.host())).start();
    let home = Home::new();
    let name = format!("mirrored-{}", hex::encode(crate::support::images::unique(4)));
    fill(&home, &format!("{}/library/{name}", upstream.host()));
    let target: SocketAddr = server.address().parse().unwrap();
    let relay = Relay::at(HOST, target).await.unwrap();
    let mirror = format!("http://{}", relay.address);
    tokio::task::spawn_blocking(move || {
        let engine = Engine::with_mirror(&mirror);
        let image = format!("{name}:1");
        let pull = |name: &str| home.docker(&engine, &["pull", "--quiet", name]).succeeded();
        pull(&image);
        assert_eq!(home.docker_file(&engine, &image, "two").len(), 20_000);
        home.docker(&engine, &["rmi", &image]).succeeded();
        // What is there is there without the upstream.
        drop(upstream);
        pull(&image);
        let path = format!("/v2/library/{name}/manifests/");
        assert!(server.log_lines(&[&path, "status=200"]) >= 2, "{}", server.log());
        had_no_errors(&server);
    })
    .await
    .unwrap();
    relay.cut().await;
}
