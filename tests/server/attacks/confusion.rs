//! Dependency confusion: a name that is ours is asked of nobody else.
#![cfg(test)]

use entrepot_kit::Kind;
use http::Method;
use serde_json::json;

use super::packument;
use crate::access::publish;
use crate::house::House;
use crate::raw::Call;
use crate::upstream::{Reply, ScriptedUpstream};

const STRANGER: &[u8] = b"a stranger's package";

async fn house(upstream: &ScriptedUpstream, members: serde_json::Value) -> House {
    let house = House::start().await;
    house.repository("alpha/own", "npm", Kind::Hosted, true, json!({})).await;
    let settings = json!({ "upstream": { "url": upstream.url(), "allow_private": true, "mutable_ttl": 0, "negative_ttl": 0, "retries": 0 } });
    house.repository("alpha/remote", "npm", Kind::Proxy, true, settings).await;
    house.repository("alpha/all", "npm", Kind::Group, true, json!({ "members": members })).await;
    for name in ["ours", "@ours/tool", "theirs"] {
        let path = name.replace('/', "%2f");
        let base = name.rsplit('/').next().unwrap();
        let document = packument(name, &format!("{}/{path}/-/{base}-1.0.0.tgz", upstream.url()), STRANGER).replace("1.0.0", "99.0.0");
        upstream.answer(&format!("/{path}"), Reply::bytes(document));
        upstream.answer(&format!("/{path}/-/{base}-99.0.0.tgz"), Reply::bytes(STRANGER));
    }
    house
}

fn asked(upstream: &ScriptedUpstream) -> Vec<String> {
    upstream.seen().into_iter().map(|seen| seen.target).filter(|target| target.contains("ours")).collect()
}

/// Everything that a client may ask of a package, in every spelling of its name.
async fn ask_everything(house: &House, status: Option<u16>) {
    for (name, base) in [("ours", "ours"), ("@ours%2ftool", "tool"), ("@ours%2Ftool", "tool"), ("@ours/tool", "tool"), ("%40ours/tool", "tool")] {
        for path in [String::new(), "/99.0.0".into(), "/latest".into(), format!("/-/{base}-99.0.0.tgz"), format!("/-/{base}-1.0.0.tgz")] {
            let reply = house.call(Call::get(format!("/alpha/all/{name}{path}"))).await;
            assert!(!reply.status.is_success() || !reply.text().contains("99.0.0") && reply.body != STRANGER, "{name}{path}: {}", reply.text());
            if let Some(status) = status {
                assert_eq!(reply.status, status, "{name}{path}");
            }
        }
        let tags = name.replace('/', "%2f");
        assert!(!house.call(Call::get(format!("/alpha/all/-/package/{tags}/dist-tags"))).await.text().contains("99.0.0"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosted_name_is_never_asked_upstream() {
    let upstream = ScriptedUpstream::start().await;
    // The proxy comes first: the order of members must not matter.
    let house = house(&upstream, json!(["alpha/remote", "alpha/own"])).await;
    for name in ["ours", "@ours/tool"] {
        assert_eq!(publish(&house, "alpha-owner", "alpha/own", name, "1.0.0").await.status, 201);
    }
    ask_everything(&house, None).await;
    assert_eq!(house.call(Call::get("/alpha/all/ours")).await.json()["dist-tags"]["latest"], "1.0.0");
    assert_eq!(asked(&upstream), [""; 0]);
    // Unpublished names do not fall to strangers.
    for name in ["ours", "@ours%2ftool"] {
        let reply = house.call_as("alpha-owner", Call::new(Method::DELETE, format!("/alpha/own/{name}/-rev/{}", if name == "ours" { 1 } else { 2 }))).await;
        assert!(reply.status.is_success(), "{}", reply.text());
    }
    ask_everything(&house, Some(404)).await;
    assert_eq!(asked(&upstream), [""; 0]);
    // What is nobody's is asked: the test can fail.
    assert_eq!(house.call(Call::get("/alpha/all/theirs")).await.json()["dist-tags"]["latest"], "99.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_name_is_never_asked_upstream_even_before_it_exists() {
    let upstream = ScriptedUpstream::start().await;
    let house = house(&upstream, json!(["alpha/remote", { "repository": "alpha/own", "reserve": ["ours", "@ours/*"] }])).await;
    ask_everything(&house, Some(404)).await;
    assert_eq!(asked(&upstream), [""; 0]);
    assert_eq!(house.call(Call::get("/alpha/all/theirs")).await.status, 200);
    assert_eq!(publish(&house, "alpha-owner", "alpha/own", "ours", "1.0.0").await.status, 201);
    assert_eq!(house.call(Call::get("/alpha/all/ours")).await.json()["dist-tags"]["latest"], "1.0.0");
    assert_eq!(asked(&upstream), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_name_is_never_asked_upstream() {
    let upstream = ScriptedUpstream::start().await;
    let house = house(&upstream, json!([{ "repository": "alpha/remote", "deny": ["ours", "@ours/*"] }, "alpha/own"])).await;
    ask_everything(&house, Some(404)).await;
    assert_eq!(asked(&upstream), [""; 0]);
    assert_eq!(house.call(Call::get("/alpha/all/theirs")).await.status, 200);
}

/// Generic files: the path is the name.
#[tokio::test(flavor = "multi_thread")]
async fn a_hosted_file_is_never_replaced_by_an_upstreams() {
    let upstream = ScriptedUpstream::start().await;
    let house = House::start().await;
    house.repository("alpha/own", "generic", Kind::Hosted, true, json!({})).await;
    let settings = json!({ "upstream": { "url": upstream.url(), "allow_private": true, "retries": 0 } });
    house.repository("alpha/remote", "generic", Kind::Proxy, true, settings).await;
    house
        .repository("alpha/all", "generic", Kind::Group, true, json!({ "members": ["alpha/remote", { "repository": "alpha/own", "reserve": ["internal/*"] }] }))
        .await;
    for path in ["/tool.sh", "/internal/other.sh", "/free.sh"] {
        upstream.answer(path, Reply::bytes(STRANGER));
    }
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/own/tool.sh", "ours")).await.status, 201);
    assert_eq!(house.call(Call::get("/alpha/all/tool.sh")).await.text(), "ours");
    for path in ["internal/other.sh", "internal%2fother.sh", "%69nternal/other.sh", "internal//other.sh", "x/../internal/other.sh"] {
        assert!(house.call(Call::get(format!("/alpha/all/{path}"))).await.status.is_client_error(), "{path}");
    }
    assert_eq!(house.call(Call::get("/alpha/all/free.sh")).await.body, STRANGER);
    let asked: Vec<String> = upstream.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(asked, ["/free.sh"]);
}
