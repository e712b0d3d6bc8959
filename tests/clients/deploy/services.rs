//! What the manifests tell the server, and a pair of servers that is told by the same variables.

use std::process::Command;

use super::{list, manifests, objects, one, text};
use crate::support::TestServer;
use crate::support::clients::PATIENCE;
use crate::support::process;

/// The program as the manifests start it: its configuration file, and every variable that they give.
fn as_in_the_cluster(folder: &std::path::Path, change: impl Fn(&str, &str) -> String) -> Command {
    let objects = objects(&manifests());
    let (config, secret) = (&one(&objects, "ConfigMap", "entrepot")["data"], &one(&objects, "Secret", "entrepot")["stringData"]);
    std::fs::write(folder.join("config.toml"), text(&config["config.toml"])).unwrap();
    let container = &one(&objects, "Deployment", "entrepot")["spec"]["template"]["spec"]["containers"][0];
    let named = list(&container["env"]).iter().map(|variable| text(&variable["name"])).map(|name| (name, text(&config[name])));
    let secret = secret.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), text(value)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_entrepot"));
    process::clean(&mut command);
    command.current_dir(folder);
    for (name, value) in named.chain(secret) {
        command.env(name, change(name, value));
    }
    // Where the volumes are mounted.
    command.env("ENTREPOT_CONFIG", folder.join("config.toml")).env("ENTREPOT_DATA", folder.join("data"));
    command
}

#[test]
fn deploy_manifests_tell_the_server_everything() {
    let folder = tempfile::tempdir().unwrap();
    let chosen = |name: &str, value: &str| match name {
        "ENTREPOT_MASTER_KEY" => "ab".repeat(32),
        _ => value.replace("CHANGE-ME", "hush hush"),
    };
    let mut command = as_in_the_cluster(folder.path(), chosen);
    command.arg("check");
    let said = process::run(command, PATIENCE).succeeded();
    assert!(said.stdout.contains("no problems"), "{said}");
    let mut command = as_in_the_cluster(folder.path(), chosen);
    command.args(["config", "show"]);
    let shown = process::run(command, PATIENCE).succeeded().text();
    for line in [
        "postgres://entrepot:hidden@entrepot-postgresql:5432/entrepot",
        "kind = \"s3\"",
        "endpoint = \"http://entrepot-s3:9000\"",
        "redis://:hidden@entrepot-redis:6379/0",
        "public_url = \"https://packages.example.com\"",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(!shown.contains("hush") && !shown.contains("abab"), "{shown}");
    // Nobody serves with what the manifests leave open.
    let mut command = as_in_the_cluster(folder.path(), |_, value| value.to_owned());
    command.arg("check");
    let said = process::run(command, PATIENCE).failed();
    assert!(said.stderr.contains("ENTREPOT_MASTER_KEY: server.master_key: expected 64 hexadecimal characters"), "{said}");
    // A family of which one is missing.
    let mut command = as_in_the_cluster(folder.path(), chosen);
    command.env_remove("DBPASS").env_remove("MINIO_BUCKET").arg("check");
    let said = process::run(command, PATIENCE).failed();
    assert!(said.stderr.contains("DBPASS is not set") && said.stderr.contains("MINIO_BUCKET is not set"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_told_of_their_services_by_the_variables_of_other_programs() {
    let server = TestServer::builder().replicas().by_variables().start();
    let body = vec![7; 200_000];
    server.admin().put("/main/generic/a/file.bin", body.clone()).await.succeeded();
    for replica in server.each_with_token(&crate::token(&server).await) {
        assert!(replica.get("/main/generic/a/file.bin").await.succeeded().body == body);
    }
    let shown = server.command(&["config", "show"]).succeeded().stdout;
    assert!(shown.contains("# environment DBHOST") && shown.contains("# environment MINIO_SECRET_KEY"), "{shown}");
    assert!(!shown.contains("secret key of the tests"), "{shown}");
    assert_eq!(server.command(&["migrate"]).succeeded().stdout.trim(), "the tables are up to date");
    assert!(!server.log().contains("secret key of the tests"), "{}", server.log());
}
