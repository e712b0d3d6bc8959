//! A group over members of other systems shows of each member what the caller may read there, and no more.
#![cfg(test)]

use entrepot_kit::Kind;
use http::Method;
use serde_json::{Value, json};

use super::publish;
use crate::house::House;
use crate::raw::Call;
use crate::upstream::{Reply, ScriptedUpstream};

const HIDDEN: &str = "zebra";

/// A group that everyone may read, over an open and a hidden hosted repository and a proxy. `zebra` is in the hidden one.
async fn npm(upstream: &ScriptedUpstream) -> House {
    let house = House::start().await;
    house.repository("alpha/open", "npm", Kind::Hosted, true, json!({})).await;
    house.repository("beta/secret", "npm", Kind::Hosted, false, json!({})).await;
    let settings = json!({ "upstream": { "url": upstream.url(), "allow_private": true, "retries": 0, "mutable_ttl": 0, "negative_ttl": 0 } });
    house.repository("alpha/remote", "npm", Kind::Proxy, true, settings).await;
    house.repository("alpha/all", "npm", Kind::Group, true, json!({ "members": ["alpha/open", "beta/secret", "alpha/remote"] })).await;
    assert_eq!(publish(&house, "alpha-owner", "alpha/open", "horse", "1.0.0").await.status, 201);
    assert_eq!(publish(&house, "beta-owner", "beta/secret", HIDDEN, "1.0.0").await.status, 201);
    assert_eq!(publish(&house, "beta-owner", "beta/secret", "horse", "2.0.0").await.status, 201);
    // A stranger's package of the same name, which must never be asked for.
    upstream.answer(&format!("/{HIDDEN}"), Reply::bytes(json!({ "name": HIDDEN, "versions": {}, "time": {} }).to_string()));
    upstream.answer("/-/v1/search", Reply::bytes(json!({ "objects": [{ "package": { "name": HIDDEN, "version": "9.9.9" } }], "total": 1 }).to_string()));
    upstream.answer("/-/npm/v1/keys", Reply::bytes(json!({ "keys": [] }).to_string()));
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_an_unreadable_member_is_404_and_not_asked_upstream() {
    let upstream = ScriptedUpstream::start().await;
    let house = npm(&upstream).await;
    for path in ["zebra", "zebra/1.0.0", "zebra/-/zebra-1.0.0.tgz", "-/package/zebra/dist-tags", "-/npm/v1/attestations/zebra@1.0.0"] {
        for method in [Method::GET, Method::HEAD] {
            let nobody = house.call(Call::new(method.clone(), format!("/alpha/all/{path}"))).await;
            let other = house.call_as("alpha-owner", Call::new(method.clone(), format!("/alpha/all/{path}"))).await;
            assert_eq!((nobody.status.as_u16(), other.status.as_u16()), (404, 404), "{method} {path}");
            assert!(!nobody.text().contains("beta") && !nobody.text().contains("9.9.9"), "{}", nobody.text());
        }
    }
    let asked: Vec<String> = upstream.seen().into_iter().map(|seen| seen.target).filter(|target| target.contains(HIDDEN)).collect();
    assert!(asked.is_empty(), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_made_and_kept_for_each_set_of_readable_members() {
    let upstream = ScriptedUpstream::start().await;
    let house = npm(&upstream).await;
    let versions = async |user: Option<&str>| {
        let call = Call::get("/alpha/all/horse");
        let reply = match user {
            Some(user) => house.call_as(user, call).await,
            None => house.call(call).await,
        };
        let versions: Vec<String> = reply.json()["versions"].as_object().unwrap().keys().cloned().collect();
        (versions, reply.header("etag").to_owned())
    };
    house.user("both", &[("system", "alpha"), ("system", "beta")]).await;
    // In turn and again: what one sees must not come from what was cached for the other.
    let mut tags = Vec::new();
    for _ in 0..2 {
        let (mut all, tag) = versions(Some("both")).await;
        all.sort();
        assert_eq!(all, ["1.0.0", "2.0.0"]);
        let (open, other_tag) = versions(None).await;
        assert_eq!(open, ["1.0.0"]);
        assert_ne!(tag, other_tag, "or a shared cache would mix them up");
        tags.push((tag, other_tag));
    }
    assert_eq!(tags[0], tags[1]);
    let nobody = house.call(Call::get("/alpha/all/horse").with("If-None-Match", tags[0].0.clone())).await;
    assert_eq!(nobody.status, 200, "another's tag is no proof of anything");
    let tarball = Call::get("/alpha/all/horse/-/horse-2.0.0.tgz");
    assert_eq!(house.call_as("both", tarball.clone()).await.status, 200);
    assert_eq!(house.call(tarball).await.status, 404, "although it was just sent to somebody else");
    assert_eq!(house.call_as("both", Call::get("/alpha/all/zebra")).await.status, 200);
    assert_eq!(house.call(Call::get("/alpha/all/zebra")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn search_keys_and_audits_tell_nothing_of_unreadable_members() {
    let upstream = ScriptedUpstream::start().await;
    let house = npm(&upstream).await;
    house.user("both", &[("system", "alpha"), ("system", "beta")]).await;
    let search = Call::get("/alpha/all/-/v1/search?text=zebra");
    let (nobody, both) = (house.call(search.clone()).await, house.call_as("both", search).await);
    assert_eq!(nobody.status, 200);
    assert_eq!(nobody.json()["objects"], json!([]), "neither the hidden one nor the stranger's of that name");
    assert_eq!(both.json()["objects"][0]["package"]["name"], HIDDEN);
    assert_eq!(both.json()["objects"].as_array().unwrap().len(), 1);
    let keys = async |reply: crate::raw::Reply| reply.json()["keys"].as_array().unwrap().len();
    let keys_call = Call::get("/alpha/all/-/npm/v1/keys");
    let (few, many) = (keys(house.call(keys_call.clone()).await).await, keys(house.call_as("both", keys_call).await).await);
    assert!(few < many, "{few} keys for nobody, {many} for who may read the hidden member");

    upstream.answer("/-/npm/v1/security/advisories/bulk", Reply::bytes("{}"));
    let question = Call::post("/alpha/all/-/npm/v1/security/advisories/bulk", r#"{"zebra":["1.0.0"],"lion":["1.0.0"]}"#);
    assert_eq!(house.call(question.with("Content-Type", "application/json")).await.status, 200);
    let asked = upstream.seen_at("/-/npm/v1/security/advisories/bulk");
    let body: Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!(body, json!({ "lion": ["1.0.0"] }), "private names stay at home");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_listings_of_unreadable_members_are_absent() {
    let upstream = ScriptedUpstream::start().await;
    let house = House::start().await;
    house.repository("alpha/open", "generic", Kind::Hosted, true, json!({})).await;
    house.repository("beta/secret", "generic", Kind::Hosted, false, json!({})).await;
    let settings = json!({ "upstream": { "url": upstream.url(), "allow_private": true, "retries": 0 } });
    house.repository("alpha/remote", "generic", Kind::Proxy, true, settings).await;
    house.repository("beta/inner", "generic", Kind::Group, false, json!({ "members": ["alpha/open"] })).await;
    house.repository("alpha/all", "generic", Kind::Group, true, json!({ "members": ["alpha/open", "beta/secret", "alpha/remote"] })).await;
    house.repository("alpha/nested", "generic", Kind::Group, true, json!({ "members": ["beta/inner"] })).await;
    upstream.answer("/docs/zebra.txt", Reply::bytes("a stranger's"));
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/open/docs/horse.txt", "open")).await.status, 201);
    assert_eq!(house.call_as("beta-owner", Call::put("/beta/secret/docs/zebra.txt", "hidden")).await.status, 201);
    for user in ["alpha-owner", ""] {
        let ask = async |target: &str| {
            let call = Call::get(target);
            if user.is_empty() { house.call(call).await } else { house.call_as(user, call).await }
        };
        assert_eq!(ask("/alpha/all/docs/horse.txt").await.text(), "open");
        assert_eq!(ask("/alpha/all/docs/zebra.txt").await.status, 404, "hidden, and not replaced by a stranger's");
        for listing in ["/alpha/all/docs/?format=json", "/alpha/all/docs/?format=html", "/alpha/all/?format=json&recursive=true"] {
            let text = ask(listing).await.text();
            assert!(text.contains("horse") && !text.contains("zebra"), "{text}");
        }
        assert_eq!(ask("/alpha/nested/docs/horse.txt").await.status, 404, "behind a group that the caller may not read");
        assert!(!ask("/alpha/nested/?format=json").await.text().contains("horse"));
    }
    assert_eq!(upstream.count("/docs/zebra.txt"), 0);
    house.user("both", &[("system", "alpha"), ("system", "beta")]).await;
    assert_eq!(house.call_as("both", Call::get("/alpha/all/docs/zebra.txt")).await.text(), "hidden");
    assert_eq!(house.call_as("both", Call::get("/alpha/nested/docs/horse.txt")).await.text(), "open");
}

/// Everyone may read the group; the member that it publishes to is nobody's business.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_group_does_not_name_the_hidden_member_that_it_publishes_to() {
    let house = House::start().await;
    house.repository("beta/secret", "npm", Kind::Hosted, false, json!({})).await;
    house.repository("alpha/all", "npm", Kind::Group, true, json!({ "members": ["beta/secret"], "publish_to": "beta/secret" })).await;
    for (method, path) in [(Method::PUT, "horse"), (Method::DELETE, "horse/-rev/1"), (Method::PUT, "-/package/horse/dist-tags/x")] {
        let call = Call::new(method.clone(), format!("/alpha/all/{path}"));
        let (nobody, other) = (house.call(call.clone()).await, house.call_as("alpha-owner", call).await);
        assert_eq!((nobody.status.as_u16(), other.status.as_u16()), (401, 403), "{method} {path}");
        for reply in [nobody, other] {
            assert!(!reply.text().contains("beta") && !reply.text().contains("secret"), "{}", reply.text());
        }
    }
    assert_eq!(house.head("beta/secret"), 0);
    assert_eq!(publish(&house, "beta-owner", "alpha/all", "horse", "1.0.0").await.status, 201, "whoever may, may");
    assert_eq!(house.head("beta/secret"), 1);
}
