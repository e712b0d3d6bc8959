//! A token is never good for more than it was made for, however it is sent.
#![cfg(test)]

use entrepot_kit::{Action, Kind, NewToken, PrincipalKind, TokenRequest};
use http::Method;
use serde_json::json;

use super::{every_route, furnished, publish};
use crate::house::{House, PASSWORD};
use crate::raw::Call;
use crate::upstream::ScriptedUpstream;

async fn token(house: &House, user: &str, repositories: &[&str], actions: &[Action]) -> NewToken {
    let wanted = TokenRequest {
        name: String::from("test"),
        repositories: repositories.iter().map(|text| (*text).to_owned()).collect(),
        actions: actions.to_vec(),
        expires_in: Some(600),
    };
    house.engine().access.operator().create_token(PrincipalKind::User, user, wanted).await.expect("a token")
}

/// The ways to send a token.
fn ways(call: &Call, secret: &str) -> [Call; 4] {
    [call.clone().with_token(secret), call.clone().signed("alpha-owner", secret), call.clone().signed("admin", secret), call.clone().signed("", secret)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_reading_changes_nothing_on_any_route() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    let addresses = furnished(&house, &upstream).await;
    let before = addresses.iter().map(|address| house.head(address)).collect::<Vec<_>>();
    let reading = token(&house, "alpha-owner", &[], &[Action::Read]).await.secret;
    for call in ways(&Call::get("/alpha/npm-hosted/left-pad"), &reading) {
        assert_eq!(house.call(call).await.status, 200);
    }
    for probe in every_route(&house).iter().filter(|probe| !probe.reads && !probe.open) {
        for address in addresses.iter().filter(|address| address.contains(probe.format)) {
            for call in ways(&probe.at(address), &reading) {
                assert_eq!(house.call(call).await.status, 403, "{} {} of {address}", probe.method, probe.path);
            }
        }
    }
    assert_eq!(addresses.iter().map(|address| house.head(address)).collect::<Vec<_>>(), before, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_repository_is_a_strangers_in_all_others() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    furnished(&house, &upstream).await;
    house.repository("alpha/npm-hosted-too", "npm", Kind::Hosted, false, json!({})).await;
    let narrow = token(&house, "alpha-owner", &["alpha/npm-hosted"], &[]).await.secret;
    for probe in every_route(&house).iter().filter(|probe| !probe.open) {
        let elsewhere = if probe.format == "npm" { String::from("alpha/npm-hosted-too") } else { format!("alpha/{}-hosted", probe.format) };
        for call in ways(&probe.at(&elsewhere), &narrow) {
            assert_eq!(house.call(call).await.status, 404, "{} {} of {elsewhere}", probe.method, probe.path);
        }
    }
    for call in ways(&Call::get("/alpha/npm-group/left-pad"), &narrow) {
        assert_eq!(house.call(call).await.status, 404, "the group is another repository");
    }
    for call in ways(&Call::get("/alpha/npm-hosted/left-pad"), &narrow) {
        assert_eq!(house.call(call).await.status, 200);
    }
    let through = token(&house, "alpha-owner", &["alpha/npm-group"], &[]).await.secret;
    assert_eq!(house.call(Call::get("/alpha/npm-group/left-pad").with_token(&through)).await.status, 404, "its members are other repositories");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_fails_at_once() {
    let house = House::start().await;
    house.repository("alpha/files", "generic", Kind::Hosted, false, json!({})).await;
    let made = token(&house, "alpha-owner", &[], &[]).await;
    let call = Call::get("/alpha/files/?format=json");
    for way in ways(&call, &made.secret) {
        assert_eq!(house.call(way).await.status, 200);
    }
    house.engine().access.operator().revoke_token(&made.info.id).await.expect("revoked");
    for way in ways(&call, &made.secret) {
        assert_eq!(house.call(way).await.status, 401);
    }
    // By its own client, too: `npm logout`.
    let own = token(&house, "alpha-owner", &[], &[]).await;
    assert_eq!(house.call(call.clone().with_token(&own.secret)).await.status, 200);
    let logout = Call::new(Method::DELETE, format!("/alpha/files-of-nobody/-/user/token/{}", own.secret)).with_token(&own.secret);
    assert_eq!(house.call(logout).await.status, 200);
    assert_eq!(house.call(call.with_token(&own.secret)).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_makes_no_wider_token_and_revokes_nobody_elses() {
    let house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, false, json!({})).await;
    let reading = token(&house, "alpha-owner", &["alpha/npm"], &[Action::Read]).await;
    let managing = token(&house, "alpha-owner", &["alpha/npm"], &[Action::Read, Action::Manage]).await;
    let wide = || Call::post("/alpha/npm/-/npm/v1/tokens", json!({ "readonly": false }).to_string()).with("Content-Type", "application/json");
    let refused = house.call(wide().with_token(&reading.secret)).await;
    assert_eq!(refused.status, 403, "a leaked token for reading must not outlive its revocation: {}", refused.text());
    let made = house.call(wide().with_token(&managing.secret)).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let child = made.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(house.call(Call::get("/alpha/npm/-/ping").with_token(&child)).await.status, 200);
    let manifest = entrepot_format_npm::testing::manifest("horse", "1.0.0");
    let body = entrepot_format_npm::testing::publish_body(&manifest, &entrepot_format_npm::testing::tarball(&manifest), "latest").to_string();
    assert_eq!(house.call(Call::put("/alpha/npm/horse", body).with_token(&child)).await.status, 403, "not wider than its parent");
    assert_eq!(house.head("alpha/npm"), 0);

    let theirs = token(&house, "beta-owner", &[], &[]).await;
    for name in [&theirs.info.id, &theirs.secret] {
        let reply = house.call_as("alpha-owner", Call::new(Method::DELETE, format!("/alpha/npm/-/npm/v1/tokens/token/{name}"))).await;
        assert_eq!(reply.status, 404);
    }
    let listed = house.call_as("alpha-owner", Call::get("/alpha/npm/-/npm/v1/tokens")).await.text();
    assert!(!listed.contains(&theirs.info.id) && !listed.contains(&reading.secret), "ids of one's own, and no secrets");
    let reply = house.call_as("beta-owner", Call::get("/beta/none/-/npm/v1/tokens")).await;
    assert!(reply.text().contains(&theirs.info.id), "still there: {}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_are_wrong_everywhere() {
    let house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    assert_eq!(publish(&house, "alpha-owner", "alpha/npm", "horse", "1.0.0").await.status, 201);
    let made = token(&house, "alpha-owner", &[], &[]).await;
    let (id, _) = made.secret.trim_start_matches("ent_").split_once('_').expect("an id");
    let mut flipped = made.secret.clone().into_bytes();
    let middle = flipped.len() / 2;
    flipped[middle] = if flipped[middle] == b'a' { b'b' } else { b'a' };
    let flipped = String::from_utf8(flipped).unwrap();
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.";
    for forged in [flipped.as_str(), &format!("ent_{id}"), &format!("ent_{id}__"), "ent_", none, &made.info.id, &made.secret.to_uppercase(), &"x".repeat(4000)]
    {
        for target in ["/alpha/npm/horse", "/alpha/none/horse", "/"] {
            let reply = house.call(Call::get(target).with_token(forged)).await;
            assert_eq!(reply.status, 401, "{target} with {forged:.40}: wrong credentials are not nobody");
        }
    }
    let twice = Call::get("/alpha/npm/horse").with_token(&made.secret).signed("alpha-owner", PASSWORD);
    assert!(matches!(house.call(twice).await.status.as_u16(), 200 | 400 | 401));
    for value in ["Digest x", "Negotiate AAAA", "Basic", "Basic %%%", "Bearer a b c", "\u{e9}"] {
        assert_eq!(house.call(Call::get("/alpha/npm/horse").with("Authorization", value)).await.status, 401, "{value}");
    }
}
