//! Groups: one metadata of what several repositories have.

use entrepot_kit::{Kind, Sha256Digest};
use http::StatusCode;
use serde_json::json;

use super::proxy::Mirror;
use super::{HERE, addresses, document, file_name, filled, packages, repomd};
use crate::house::House;
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

#[tokio::test(flavor = "multi_thread")]
async fn rpm_a_group_joins_what_several_members_say_beside_packages() {
    let mut house = super::house().await;
    house.repository("alpha/second", "rpm", Kind::Hosted, true, json!({})).await;
    house.repository("alpha/all", "rpm", Kind::Group, true, json!({ "members": ["alpha/second", "alpha/rpm"] })).await;
    let put = async |house: &House, member: &str, name: &str, body: String| {
        let reply = house.call_as("bob", Call::put(format!("/alpha/{member}/os/{name}"), body)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    };
    let group = |id: &str, name: &str| format!("<comps><group><id>{id}</id><name>{name}</name></group></comps>");
    let module = |name: &str, text: &str| format!("---\ndocument: modulemd\nversion: 2\ndata:\n  name: {name}\n  stream: \"1\"\n  summary: {text}\n...\n");
    for member in ["rpm", "second"] {
        let reply = house.call_as("bob", Call::put(format!("/alpha/{member}/os/{}", file_name(member, "1.0")), filled(member, "1.0"))).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
        put(&house, member, "repodata/updateinfo.xml", format!("<updates><update type=\"security\"><id>{member}-1</id></update></updates>")).await;
        put(&house, member, "repodata/comps.xml", group("tools", member)).await;
        put(&house, member, "repodata/modules.yaml", module(member, "text")).await;
    }
    let read = repomd(&house, ALL).await;
    let kinds: Vec<&str> = read.data.iter().map(|data| data.kind.as_str()).collect();
    assert_eq!(kinds, ["primary", "filelists", "other", "group", "group_gz", "updateinfo", "modules"]);
    let said = async |house: &House, kind: &str| document(house, ALL, &read, kind).await;
    let updates = said(&house, "updateinfo").await;
    assert!(updates.contains("<id>second-1</id>") && updates.contains("<id>rpm-1</id>"), "{updates}");
    let comps = said(&house, "group_gz").await;
    assert!(comps.contains("<name>second</name>") && !comps.contains("<name>rpm</name>"), "the first member's counts: {comps}");
    let plain = read.of("group").expect("the plain form");
    assert_eq!(house.call(Call::get(format!("{ALL}{}", plain.href))).await.text(), comps);
    let modules = said(&house, "modules").await;
    assert!(modules.contains("name: rpm") && modules.contains("name: second"), "{modules}");
    // Who read that gets it, though it is said otherwise meanwhile and nothing of it is in memory.
    put(&house, "rpm", "repodata/updateinfo.xml", String::from("<updates/>")).await;
    house.restart().await;
    assert!(!document(&house, ALL, &repomd(&house, ALL).await, "updateinfo").await.contains("rpm-1"));
    assert_eq!(said(&house, "updateinfo").await, updates);
    for wrong in [plain.href.replace("-t", "-r"), plain.href.replace("comps.xml", "updateinfo.xml"), plain.href.replace(&plain.checksum, &"0".repeat(64))] {
        assert_eq!(house.call(Call::get(format!("{ALL}{wrong}"))).await.status, StatusCode::NOT_FOUND, "{wrong}");
    }
}
