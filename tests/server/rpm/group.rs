//! Groups: one metadata of what several repositories have.

use entrepot_kit::{Kind, Sha256Digest};
use http::StatusCode;
use serde_json::json;

use super::proxy::Mirror;
use super::{HERE, addresses, document, file_name, filled, packages, repomd};
use crate::raw::Call;
use crate::support::gpg::Gpg;

const ALL: &str = "/alpha/all/os/";

#[tokio::test(flavor = "multi_thread")]
async fn rpm_a_group_joins_what_its_members_have_and_signs_it() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 })).await;
    let house = &mirror.house;
    for (name, version) in [("theirs", "1.0"), ("shared", "1.0"), ("owned", "9.0")] {
        super::publish(house, "", name, version).await;
    }
    mirror.show(None).await;
    house.repository("alpha/own", "rpm", Kind::Hosted, true, json!({})).await;
    let members = json!({ "members": ["alpha/own", "alpha/mirror"] });
    house.repository("alpha/all", "rpm", Kind::Group, true, members).await;
    let put = async |path: String, body: Vec<u8>| {
        let reply = house.call_as("bob", Call::put(format!("/alpha/own/os/{path}"), body)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    };
    put(file_name("ours", "1.0"), filled("ours", "1.0")).await;
    put(file_name("owned", "1.0"), filled("owned", "1.0")).await;
    let read = repomd(house, ALL).await;
    let listed = packages(house, ALL).await;
    let names: Vec<&str> = listed.iter().map(|package| package.href.as_str()).collect();
    assert_eq!(names, ["ours-1.0-1.noarch.rpm", "owned-1.0-1.noarch.rpm", "shared-1.0-1.noarch.rpm", "theirs-1.0-1.noarch.rpm"]);
    for package in &listed {
        let reply = house.call(Call::get(format!("{ALL}{}", package.href))).await;
        assert_eq!((reply.status, Sha256Digest::of(&reply.body).hex()), (StatusCode::OK, package.checksum.clone()), "{}", package.href);
    }
    assert_eq!(house.call(Call::get(format!("{ALL}{}", file_name("owned", "9.0")))).await.status, StatusCode::NOT_FOUND, "the name is ours");
    let gpg = Gpg::new();
    gpg.import(&house.call(Call::get(format!("{ALL}repodata/repomd.xml.key"))).await.body);
    let signed = house.call(Call::get(format!("{ALL}repodata/repomd.xml"))).await;
    assert!(gpg.verifies(&signed.body, &house.call(Call::get(format!("{ALL}repodata/repomd.xml.asc"))).await.body));
    // What a client began to read stays whole while both members change.
    put(file_name("ours", "2.0"), filled("ours", "2.0")).await;
    super::publish(house, "", "theirs", "2.0").await;
    mirror.show(None).await;
    assert_eq!(addresses(house, ALL).await.len(), 6);
    for kind in ["primary", "filelists", "other"] {
        document(house, ALL, &read, kind).await;
    }
    // A member that is gone keeps its part, from what is kept of it.
    mirror.upstream.stop().await;
    assert_eq!(addresses(house, ALL).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_a_group_passes_on_what_is_said_beside_packages() {
    let house = super::house().await;
    house.repository("alpha/second", "rpm", Kind::Hosted, true, json!({})).await;
    house.repository("alpha/all", "rpm", Kind::Group, true, json!({ "members": ["alpha/second", "alpha/rpm"] })).await;
    assert!(addresses(&house, "/alpha/all/").await.is_empty());
    super::publish(&house, "os/", "tool", "1.0").await;
    let updates = "<updates><update type=\"security\"><id>A-1</id></update></updates>";
    assert_eq!(super::put(&house, "os/repodata/updateinfo.xml", updates.to_owned()).await.status, StatusCode::CREATED);
    let read = repomd(&house, ALL).await;
    assert_eq!(document(&house, ALL, &read, "updateinfo").await, updates);
    assert_eq!(addresses(&house, ALL).await, addresses(&house, &format!("{HERE}/os/")).await);
    assert_eq!(house.call(Call::get("/alpha/all/none/repodata/repomd.xml")).await.status, StatusCode::NOT_FOUND);
}
