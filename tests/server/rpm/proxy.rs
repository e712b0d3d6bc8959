//! Pulling through: metadata unchanged, packages checked, states whole.

use entrepot_format_rpm::repodata::Repomd;
use entrepot_kit::{Kind, Sha256Digest};
use http::StatusCode;
use serde_json::{Value, json};

use super::{HERE, addresses, document, file_name, filled, get, house, publish, repomd};
use crate::house::House;
use crate::raw::{self, Call};
use crate::upstream::{Reply, ScriptedUpstream};

/// A server with a proxy `alpha/mirror`, and the upstream behind it, which shows what the hosted `alpha/rpm` has.
pub(super) struct Mirror {
    pub(super) house: House,
    pub(super) upstream: ScriptedUpstream,
}

pub(super) const THERE: &str = "/alpha/mirror/os/";

impl Mirror {
    pub(super) async fn start(settings: Value) -> Self {
        let (house, upstream) = (house().await, ScriptedUpstream::start().await);
        let mut all = json!({ "url": format!("{}/pub", upstream.url()), "allow_private": true, "retries": 0 });
        for (name, value) in settings.as_object().expect("settings") {
            all[name] = value.clone();
        }
        house.repository("alpha/mirror", "rpm", Kind::Proxy, true, json!({ "upstream": all })).await;
        Self { house, upstream }
    }

    pub(super) fn has(&self, path: &str, reply: Reply) {
        self.upstream.answer(&format!("/pub/os/{path}"), reply);
    }

    fn count(&self, path: &str) -> usize {
        self.upstream.count(&format!("/pub/os/{path}"))
    }

    pub(super) async fn get(&self, path: &str) -> raw::Reply {
        self.house.call(Call::get(format!("{THERE}{path}"))).await
    }

    /// The upstream shows the present state of the hosted repository, and no longer what it showed before.
    pub(super) async fn show(&self, before: Option<&Repomd>) -> Repomd {
        for data in before.iter().flat_map(|before| &before.data) {
            self.has(&data.href, Reply::status(404));
        }
        let now = repomd(&self.house, &format!("{HERE}/")).await;
        for path in now.data.iter().map(|data| data.href.as_str()).chain(["repodata/repomd.xml", "repodata/repomd.xml.asc", "repodata/repomd.xml.key"]) {
            self.has(path, Reply::bytes(get(&self.house, path).await.body));
        }
        for href in addresses(&self.house, &format!("{HERE}/")).await {
            self.has(&href, Reply::bytes(get(&self.house, &href).await.body));
        }
        now
    }

    /// The upstream refuses what it did not show.
    async fn is_same(&self, path: &str) {
        assert_eq!(self.get(path).await.body, get(&self.house, path).await.body, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_upstream_bytes_come_unchanged_and_outlive_the_upstream() {
    let mirror = Mirror::start(json!({})).await;
    publish(&mirror.house, "Packages/t/", "tool", "1.0").await;
    let shown = mirror.show(None).await;
    let package = format!("Packages/t/{}", file_name("tool", "1.0"));
    assert_eq!(addresses(&mirror.house, THERE).await, [package.as_str()]);
    for path in ["repodata/repomd.xml", "repodata/repomd.xml.asc", "repodata/repomd.xml.key", &package] {
        mirror.is_same(path).await;
    }
    for data in &shown.data {
        mirror.is_same(&data.href).await;
    }
    mirror.upstream.stop().await;
    for path in ["repodata/repomd.xml", "repodata/repomd.xml.asc", &package] {
        mirror.is_same(path).await;
        assert_eq!(mirror.count(path), 1, "{path}");
    }
    assert_eq!(mirror.get("repodata/none.xml.gz").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_a_state_that_a_client_began_to_read_is_whole_though_the_upstream_moved_on() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 })).await;
    publish(&mirror.house, "", "tool", "1.0").await;
    let old = mirror.show(None).await;
    let read = repomd(&mirror.house, THERE).await;
    assert_eq!(read, old);
    let signature = mirror.get("repodata/repomd.xml.asc").await;
    publish(&mirror.house, "", "tool", "2.0").await;
    mirror.show(Some(&old)).await;
    let new = mirror.get("repodata/repomd.xml").await;
    assert_ne!(Repomd::parse(&new.body).expect("a repomd.xml"), old);
    assert_ne!(mirror.get("repodata/repomd.xml.asc").await.body, signature.body, "each state has its own signature");
    mirror.is_same("repodata/repomd.xml.asc").await;
    for kind in ["primary", "filelists"] {
        document(&mirror.house, THERE, &read, kind).await;
    }
    // The past is that of the mirror.
    let mut first = 0;
    for revision in 1..=mirror.house.head("alpha/mirror") {
        let reply = mirror.house.call(Call::get(format!("/alpha/mirror.at-r{revision}/os/repodata/repomd.xml"))).await;
        if reply.status == StatusCode::OK && Repomd::parse(&reply.body).is_ok_and(|then| then == old) {
            first = revision;
        }
    }
    assert!(first > 0, "the old state can be read as of then");
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_what_is_not_what_metadata_says_is_refused() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 })).await;
    for name in ["tool", "other"] {
        publish(&mirror.house, "", name, "1.0").await;
    }
    let shown = mirror.show(None).await;
    let tampered = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().expect("a byte") ^= 1;
        Reply::bytes(bytes)
    };
    let package = file_name("tool", "1.0");
    mirror.has(&package, tampered(&filled("tool", "1.0")));
    // What was sent before its end was found wrong ends without its end.
    let outcome = raw::send(&mirror.house.host, &Call::get(format!("{THERE}{package}"))).await;
    assert!(outcome.as_ref().map_or(true, |reply| reply.status.is_server_error()), "{outcome:?}");
    mirror.has(&package, Reply::bytes(filled("tool", "1.0")));
    assert_eq!(Sha256Digest::of(&mirror.get(&package).await.body), Sha256Digest::of(&filled("tool", "1.0")), "nothing wrong was kept");
    // A package that no metadata names is not taken, whoever asks for it.
    let unnamed = file_name("unnamed", "1.0");
    mirror.has(&unnamed, Reply::bytes(filled("unnamed", "1.0")));
    assert_eq!(mirror.get(&unnamed).await.status, StatusCode::NOT_FOUND);
    assert_eq!(mirror.count(&unnamed), 0);
    // A document that is another one.
    publish(&mirror.house, "", "third", "1.0").await;
    let next = mirror.show(Some(&shown)).await;
    let primary = next.of("primary").expect("a document").href.clone();
    mirror.has(&primary, tampered(&get(&mirror.house, &primary).await.body));
    assert_eq!(mirror.get("repodata/repomd.xml").await.status, StatusCode::OK);
    let outcome = raw::send(&mirror.house.host, &Call::get(format!("{THERE}{primary}"))).await;
    assert!(outcome.as_ref().map_or(true, |reply| reply.status.is_server_error()), "{outcome:?}");
    // The page of a captive portal is no metadata.
    mirror.has("repodata/repomd.xml", Reply::bytes("<!DOCTYPE html><html></html>").header("Content-Type", "text/html"));
    assert_eq!(Repomd::parse(&mirror.get("repodata/repomd.xml").await.body).expect("the one that is kept"), next);
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_metadata_under_plain_names_is_pulled_through_too() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 })).await;
    for version in ["1.0", "2.0"] {
        publish(&mirror.house, "", "tool", version).await;
        let mut shown = mirror.show(None).await;
        for data in &mut shown.data {
            let plain = format!("repodata/{}.xml.gz", data.kind);
            mirror.has(&plain, Reply::bytes(get(&mirror.house, &data.href).await.body));
            data.href = plain;
        }
        mirror.has("repodata/repomd.xml", Reply::bytes(shown.text()));
        let listed = addresses(&mirror.house, THERE).await;
        assert!(listed.contains(&file_name("tool", version)), "{version}: {listed:?}");
        mirror.is_same(&file_name("tool", version)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_mirrors_of_a_list_are_asked_one_after_the_other() {
    const MIRRORED: &str = "/alpha/mirrored/os/";
    let mirror = Mirror::start(json!({})).await;
    let (house, root) = (&mirror.house, mirror.upstream.url());
    let list = format!("# mirrors\nhttp://127.0.0.1:9/gone\n{root}/empty\n{root}/pub/\n{root}/second\n");
    mirror.upstream.answer("/list", Reply::bytes(list));
    let upstream = json!({ "url": format!("{root}/nowhere"), "allow_private": true, "retries": 0, "mutable_ttl": 0 });
    house.repository("alpha/mirrored", "rpm", Kind::Proxy, true, json!({ "upstream": upstream, "mirror_list": "../list" })).await;
    publish(house, "", "tool", "1.0").await;
    publish(house, "", "late", "1.0").await;
    let shown = mirror.show(None).await;
    assert_eq!(repomd(house, MIRRORED).await, shown);
    assert_eq!(addresses(house, MIRRORED).await.len(), 2);
    let package = file_name("tool", "1.0");
    assert_eq!(house.call(Call::get(format!("{MIRRORED}{package}"))).await.body, filled("tool", "1.0"));
    // What one of them does not have (any more), another may.
    let late = file_name("late", "1.0");
    mirror.has(&late, Reply::status(404));
    mirror.upstream.answer(&format!("/second/os/{late}"), Reply::bytes(filled("late", "1.0")));
    assert_eq!(house.call(Call::get(format!("{MIRRORED}{late}"))).await.body, filled("late", "1.0"));
    // One that fails is not waited for while another answers, and the list counts for the day.
    mirror.has("repodata/repomd.xml", Reply::status(500));
    publish(house, "", "tool", "2.0").await;
    for path in ["repodata/repomd.xml", "repodata/repomd.xml.asc"] {
        mirror.upstream.answer(&format!("/second/os/{path}"), Reply::bytes(get(house, path).await.body));
    }
    let next = repomd(house, &format!("{HERE}/")).await;
    for data in &next.data {
        mirror.upstream.answer(&format!("/second/os/{}", data.href), Reply::bytes(get(house, &data.href).await.body));
    }
    assert_eq!(repomd(house, MIRRORED).await, next);
    assert_eq!(addresses(house, MIRRORED).await.len(), 3);
    assert_eq!(mirror.upstream.count("/list"), 1);
    mirror.upstream.stop().await;
    assert_eq!(addresses(house, MIRRORED).await.len(), 3, "what is kept stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_a_proxy_can_be_frozen() {
    let mirror = Mirror::start(json!({ "mutable_ttl": 0 })).await;
    let house = &mirror.house;
    publish(house, "", "tool", "1.0").await;
    let old = mirror.show(None).await;
    assert_eq!(repomd(house, THERE).await, old);
    // Moments have seconds: the next state must not be of the same one.
    let now = || house.engine().now().0.div_euclid(1000);
    let then = now() + 1;
    while now() <= then {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    publish(house, "", "tool", "2.0").await;
    mirror.show(None).await;
    assert_eq!(addresses(house, THERE).await.len(), 2);
    let row = house.engine().repo(&entrepot_kit::Address::parse("alpha/mirror").expect("an address")).expect("the mirror").row.clone();
    let mut settings = row.settings.clone();
    let moment: String = entrepot_kit::Timestamp(then * 1000).rfc3339().replace(['-', ':'], "").to_lowercase().chars().take(15).collect();
    settings["upstream"]["frozen"] = json!(format!("{moment}z"));
    house.engine().catalog.update_repository(row.id, row.tags.clone(), settings, false).await.expect("changed");
    house.engine().reload().await.expect("reloaded");
    assert_eq!(repomd(house, THERE).await, old);
    assert_eq!(addresses(house, THERE).await, [file_name("tool", "1.0")]);
    // A package that was not fetched before is, and once.
    let package = file_name("tool", "1.0");
    for _ in 0..2 {
        mirror.is_same(&package).await;
    }
    assert_eq!(mirror.count(&package), 1);
    assert_eq!(mirror.get(&file_name("tool", "2.0")).await.status, StatusCode::NOT_FOUND, "metadata does not name it");
}
