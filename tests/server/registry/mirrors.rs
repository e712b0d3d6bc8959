//! The ready-made files name what their reader may read.

use entrepot_kit::Kind;
use serde_json::json;

use crate::house::House;
use crate::raw::Call;

#[tokio::test(flavor = "multi_thread")]
async fn files_for_mirrors_are_for_their_reader() {
    let house = House::start().await;
    let settings = |namespace: &str| json!({ "upstream": { "url": "https://registry.example/" }, "namespace": namespace });
    house.repository("main/docker", "oci", Kind::Proxy, true, settings("docker.io")).await;
    house.repository("alpha/docker", "oci", Kind::Proxy, false, settings("docker.io")).await;
    house.repository("alpha/ghcr", "oci", Kind::Proxy, false, settings("ghcr.io")).await;
    let origin = format!("http://{}", house.host);
    let get = async |who: Option<&str>, path: &str| {
        let call = Call::get(path);
        let reply = match who {
            Some(user) => house.call_as(user, call).await,
            None => house.call(call).await,
        };
        (reply.status.as_u16(), reply.text())
    };
    let (status, file) = get(None, "/-/mirrors/hosts.toml?ns=docker.io").await;
    assert_eq!(status, 200);
    let read: toml::Table = file.parse().expect("TOML");
    assert_eq!(read["server"].as_str(), Some(origin.as_str()), "what we refuse is fetched from nobody else");
    assert!(read["host"].as_table().is_some_and(|hosts| hosts.contains_key(&origin)), "{file}");
    assert_eq!(get(None, "/-/mirrors/hosts.toml?ns=ghcr.io").await.0, 401);
    assert_eq!(get(Some("beta-owner"), "/-/mirrors/hosts.toml?ns=ghcr.io").await.0, 404);
    assert_eq!(get(Some("beta-owner"), "/-/mirrors/hosts.toml?ns=quay.io").await.0, 404);
    assert_eq!(get(Some("alpha-owner"), "/-/mirrors/hosts.toml?ns=ghcr.io").await.0, 200);
    let (all, hidden) = (get(Some("alpha-owner"), "/-/mirrors/hosts.toml").await.1, get(None, "/-/mirrors/hosts.toml").await.1);
    assert!(all.contains("ghcr.io by alpha/ghcr") && all.contains("docker.io by main/docker") && !hidden.contains("ghcr"), "{all}{hidden}");
    let (all, hidden) = (get(Some("alpha-owner"), "/-/mirrors/registries.yaml").await.1, get(None, "/-/mirrors/registries.yaml").await.1);
    assert!(all.contains("\"^(.*)$\": \"docker/$1\"") && all.contains("\"^(.*)$\": \"alpha/ghcr/$1\""), "{all}");
    assert!(hidden.contains("\"^(.*)$\": \"docker/$1\"") && !hidden.contains("ghcr") && !hidden.contains("alpha"), "{hidden}");
}
