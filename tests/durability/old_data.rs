//! The data directory of the first version, kept as a fixture: today's server opens it, and everything in it is served as it was.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use entrepot_kit::Sha256Digest;
use http::Method;
use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::clients::Home;
use crate::support::process;
use crate::support::{ADMIN_PASSWORD, TestServer};
use crate::{on_data, verified};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data-v1").join(name)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// Makes sure that a path below a repository gives the bytes that the fixture's list tells.
async fn same(api: &Api, repository: &str, file: &Value) {
    let reply = api.get(&format!("/{repository}/{}", text(&file["path"]))).await.is(200);
    assert_eq!(Sha256Digest::of(&reply.body).hex(), text(&file["sha256"]), "{repository} {file}");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_the_first_version_opens_and_serves() {
    let contents: Value = serde_json::from_slice(&std::fs::read(fixture("contents.json")).unwrap()).unwrap();
    assert_eq!(text(&contents["admin_password"]), ADMIN_PASSWORD);
    let list = |name: &str| contents[name].as_array().unwrap().clone();
    let folder = tempfile::tempdir().unwrap();
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(fixture("data.tar.gz")).arg("-C").arg(folder.path());
    process::run(unpack, Duration::from_secs(60)).succeeded();
    let mut server = on_data(folder.path().join("data"));
    for start in ["the first start", "the next start"] {
        everything_is_there(&server, &contents).await;
        assert_eq!(server.log_lines(&["ERROR"]), 0, "{start}: {}", server.log());
        server.restart();
    }

    // Old data is data: what was deleted comes back, and new versions join the old ones.
    let alice = Api::bearer(&server.url(""), text(&contents["users"][0]["token"]));
    for gone in list("deleted").iter().filter(|gone| gone["name"].is_string()) {
        let restore = format!("/api/v1/repositories/{}/packages/{}/restore", text(&gone["repository"]), text(&gone["name"]));
        alice.call(Method::POST, &restore).await.succeeded();
        same(&alice, text(&gone["repository"]), gone).await;
    }
    let body = entrepot_format_npm::testing::minimal_publish("basket", "3.0.0");
    alice.json(Method::PUT, "/shop/npm/basket", &body).await.succeeded();
    let versions = alice.get("/shop/npm-all/basket").await.is(200).json();
    let versions: Vec<_> = versions["versions"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(versions, ["1.0.0", "1.1.0", "2.0.0-beta.1", "3.0.0"]);
    server.stop();
    verified(&server);
}

async fn everything_is_there(server: &TestServer, contents: &Value) {
    let list = |name: &str| contents[name].as_array().unwrap().clone();
    // Whoever could sign in still can, by password and by token; a revoked token stays revoked.
    for user in list("users") {
        let api = Api::basic(&server.url(""), text(&user["name"]), text(&user["password"]));
        assert_eq!(text(&api.get("/shop/npm/-/whoami").await.is(200).json()["username"]), text(&user["name"]));
    }
    let alice = Api::bearer(&server.url(""), text(&contents["users"][0]["token"]));
    alice.get("/shop/npm/-/whoami").await.is(200);
    server.with_token(text(&contents["robot"]["token"])).get("/shop/npm/basket").await.is(200);
    server.with_token(text(&contents["revoked_token"])).get("/shop/npm/-/whoami").await.is(401);
    server.anonymous().get("/shop/npm/basket").await.is(401);

    let admin = server.admin();
    let policy = admin.get(&format!("/api/v1/policies/{}", text(&contents["policy"]["name"]))).await.is(200).json();
    assert_eq!(policy["text"], contents["policy"]["text"]);
    let systems = admin.get("/api/v1/systems").await.is(200).json();
    let shop = systems["items"].as_array().unwrap().iter().find(|system| system["name"] == json!("shop")).unwrap().clone();
    assert_eq!(shop["tags"], contents["system_tags"]);

    let hosted = list("hosted");
    assert!(hosted.len() >= 8 && hosted.iter().any(|file| file["size"].as_u64().unwrap() > 65_536));
    for file in &hosted {
        same(&alice, text(&file["repository"]), file).await;
        if text(&file["repository"]) == "shop/files" {
            // By the stored policy, not by a default one.
            same(&server.anonymous(), "shop/files", file).await;
            same(&alice, "shop/files-all", file).await;
        }
    }
    for gone in list("deleted") {
        let repository = text(&gone["repository"]);
        alice.get(&format!("/{repository}/{}", text(&gone["path"]))).await.is(404);
        same(&alice, &format!("{repository}.at-r{}", gone["seen_at"]), &gone).await;
        alice.get(&format!("/{repository}.at-r{}/{}", gone["gone_at"], text(&gone["path"]))).await.is(404);
    }
    let old = alice.get("/shop/npm.at-r1/basket").await.is(200).json();
    assert_eq!(old["versions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["1.0.0"]);
    let history = admin.get("/api/v1/repositories/shop/npm/history").await.is(200).json();
    let history: Vec<Value> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!({ "revision": row["revision"], "principal": row["principal"], "action": row["action"], "subject": row["subject"] }))
        .collect();
    assert_eq!(json!(history), contents["history"]);
    assert_eq!(alice.get("/shop/npm/-/npm/v1/keys").await.is(200).json(), contents["keys"], "the master key opens the same keys");

    // Their upstream is gone for good: what was kept is served.
    for kept in list("kept") {
        same(&alice, text(&kept["repository"]), &kept).await;
        same(&alice, text(&kept["group"]), &kept).await;
        if let Some(name) = kept["name"].as_str() {
            let packument = alice.get(&format!("/shop/npm-all/{}", name.replace('/', "%2f"))).await.is(200).json();
            assert!(packument["versions"][text(&kept["version"])].is_object(), "{packument}");
        }
    }
    let home = Home::new();
    home.npm_registry(&server.url("/shop/npm-all/"), Some(text(&contents["users"][0]["token"])));
    let project = home.npm_project("shop", &json!({ "name": "shop", "version": "1.0.0", "dependencies": { "@shop/price": "0.3.0", "far-away": "^1.0.0" } }));
    home.npm(&project, &["install", "--no-audit"]).succeeded();
    let installed =
        |package: &str| -> Value { serde_json::from_slice(&std::fs::read(project.join("node_modules").join(package).join("package.json")).unwrap()).unwrap() };
    assert_eq!(["@shop/price", "basket", "far-away"].map(|package| installed(package)["version"].clone()), ["0.3.0", "1.1.0", "1.1.0"]);
}
