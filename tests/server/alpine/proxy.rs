//! Pulling through: indexes as they came, packages as those promise them.

use entrepot_format_alpine::testing::Built;
use entrepot_kit::Kind;
use http::StatusCode;
use serde_json::json;

use super::{MAIN, built, get, house, publish};
use crate::house::House;
use crate::raw::{self, Call};
use crate::upstream::{Reply, ScriptedUpstream};

const INDEX: &str = "x86_64/APKINDEX.tar.gz";

/// A server with a proxy `alpha/mirror`, and the upstream behind it, which shows what the hosted `alpha/alpine` has.
pub(super) struct Mirror {
    pub(super) house: House,
    pub(super) upstream: ScriptedUpstream,
}

impl Mirror {
    pub(super) async fn start(mutable_ttl: u32) -> Self {
        let (house, upstream) = (house().await, ScriptedUpstream::start().await);
        let settings = json!({ "url": format!("{}/alpine", upstream.url()), "allow_private": true, "retries": 0, "mutable_ttl": mutable_ttl });
        house.repository("alpha/mirror", "alpine", Kind::Proxy, true, json!({ "upstream": settings })).await;
        Self { house, upstream }
    }

    pub(super) fn has(&self, path: &str, reply: Reply) {
        self.upstream.answer(&format!("/alpine/{MAIN}/{path}"), reply);
    }

    fn count(&self, path: &str) -> usize {
        self.upstream.count(&format!("/alpine/{MAIN}/{path}"))
    }

    async fn get(&self, path: &str) -> raw::Reply {
        self.house.call(Call::get(format!("/alpha/mirror/{MAIN}/{path}"))).await
    }

    /// What comes of a request whose answer may break off.
    async fn outcome(&self, path: &str) -> Result<raw::Reply, String> {
        raw::send(&self.house.host, &Call::get(format!("/alpha/mirror/{MAIN}/{path}"))).await
    }

    /// Publishes a package, and lets the upstream show it.
    pub(super) async fn show(&self, package: &Built) -> String {
        publish(&self.house, package).await;
        let path = format!("x86_64/{}", package.file());
        for path in [INDEX, &path] {
            self.has(path, Reply::bytes(get(&self.house, &format!("{MAIN}/{path}")).await.body));
        }
        path
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_upstream_indexes_and_packages_come_byte_for_byte_and_outlive_it() {
    let mirror = Mirror::start(0).await;
    let package = built("hello", "1.0-r0");
    let path = mirror.show(&package).await;
    let index = get(&mirror.house, &format!("{MAIN}/{INDEX}")).await.body;
    for _ in 0..2 {
        let reply = mirror.get(INDEX).await;
        assert_eq!((reply.status, reply.header("content-type"), &reply.body), (StatusCode::OK, "application/gzip", &index));
        assert_eq!(mirror.get(&path).await.body, package.bytes());
    }
    assert_eq!(mirror.count(&path), 1, "what never changes is fetched once");
    assert_eq!(mirror.house.call(Call::get("/alpha/mirror/key")).await.status, StatusCode::NOT_FOUND, "the keys are the upstream's");
    assert_eq!(mirror.house.call_as("bob", Call::put(format!("/alpha/mirror/{MAIN}"), package.bytes())).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let then = mirror.house.head("alpha/mirror");
    mirror.show(&built("hello", "1.1-r0")).await;
    let newer = mirror.get(INDEX).await.body;
    assert_ne!(newer, index);
    let past = mirror.house.call(Call::get(format!("/alpha/mirror.at-r{then}/{MAIN}/{INDEX}"))).await;
    assert_eq!(past.body, index, "older states are kept");
    mirror.upstream.stop().await;
    let reply = mirror.get(INDEX).await;
    assert_eq!((reply.status, &reply.body), (StatusCode::OK, &newer), "what is here stays, with its upstream gone");
    assert_eq!(mirror.get(&path).await.body, package.bytes());
    assert!(mirror.get("x86_64/hello-1.1-r0.apk").await.status.is_server_error(), "what never came is not said to be missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_what_is_not_what_the_index_promised_is_not_kept() {
    let mirror = Mirror::start(3600).await;
    let package = built("hello", "1.0-r0");
    let path = mirror.show(&package).await;
    let right = package.bytes();
    let other = package.clone().containing(b"hello 1.0-rX\n").bytes();
    let mut flipped = right.clone();
    let last = flipped.len() - 20;
    flipped[last] ^= 1;
    for (what, wrong) in
        [("another", other), ("longer", [right.clone(), b"x".to_vec()].concat()), ("changed", flipped), ("a page", b"<html>sign in</html>".to_vec())]
    {
        mirror.has(&path, Reply::bytes(wrong));
        let outcome = mirror.outcome(&path).await;
        assert!(outcome.as_ref().map_or(true, |reply| reply.status.is_server_error()), "{what}: {outcome:?}");
    }
    mirror.has(&path, Reply::bytes(right.clone()));
    assert_eq!(mirror.get(&path).await.body, right);
    // What no index names is not asked for.
    mirror.has("x86_64/evil-1-r0.apk", Reply::bytes(built("evil", "1-r0").bytes()));
    assert_eq!(mirror.get("x86_64/evil-1-r0.apk").await.status, StatusCode::NOT_FOUND);
    assert_eq!(mirror.count("x86_64/evil-1-r0.apk"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_what_is_no_index_does_not_replace_one() {
    let mirror = Mirror::start(0).await;
    mirror.show(&built("hello", "1.0-r0")).await;
    let index = mirror.get(INDEX).await.body;
    mirror.has(INDEX, Reply::bytes("<!doctype html><p>sign in</p>"));
    let reply = mirror.get(INDEX).await;
    assert_eq!((reply.status, &reply.body), (StatusCode::OK, &index));
    assert_eq!(mirror.get("aarch64/APKINDEX.tar.gz").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_packages_for_all_architectures_are_found_by_the_index_of_any() {
    let mirror = Mirror::start(3600).await;
    let package = Built::new("scripts", "1-r0", "noarch");
    let record = entrepot_format_alpine::package::Package::read(&package.bytes()[..], package.bytes().len() as u64).unwrap().record();
    let segment = entrepot_format_alpine::testing::segment(&[("APKINDEX", tar::EntryType::Regular, format!("{record}\n").as_bytes())], true);
    mirror.has(INDEX, Reply::bytes(entrepot_format_alpine::testing::gzip(&segment)));
    mirror.has("noarch/scripts-1-r0.apk", Reply::bytes(package.bytes()));
    assert_eq!(mirror.get(INDEX).await.status, StatusCode::OK);
    assert_eq!(mirror.get("noarch/scripts-1-r0.apk").await.body, package.bytes());
}
