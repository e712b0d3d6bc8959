//! A changed policy decides the next request, or at the latest one within a second.
#![cfg(test)]

use std::time::{Duration, Instant};

use entrepot_kit::Kind;
use serde_json::{Value, json};

use super::publish;
use crate::house::House;
use crate::raw::{Call, Reply};

/// Asks until the status is the wanted one; fails after a second.
async fn within_a_second(house: &House, user: Option<&str>, call: Call, wanted: u16) -> Reply {
    let began = Instant::now();
    loop {
        let reply = match user {
            Some(user) => house.call_as(user, call.clone()).await,
            None => house.call(call.clone()).await,
        };
        if reply.status == wanted {
            return reply;
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{} {} still answers {}: {}", call.method, call.target, reply.status, reply.text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_rule_counts_within_a_second_and_so_does_its_end() {
    let house = House::start().await;
    house.repository("alpha/files", "generic", Kind::Hosted, false, json!({})).await;
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/files/a.txt", "a")).await.status, 201);
    let operator = house.engine().access.operator();
    let file = || Call::get("/alpha/files/a.txt");

    assert_eq!(house.call_as("beta-owner", file()).await.status, 404);
    let rule = r#"permit (principal == User::"beta-owner", action == Action::"read", resource in Repository::"alpha/files");"#;
    operator.put_policy("guest", rule).await.expect("a policy");
    assert_eq!(within_a_second(&house, Some("beta-owner"), file(), 200).await.text(), "a");
    assert_eq!(house.call_as("beta-owner", Call::put("/alpha/files/b.txt", "b")).await.status, 403, "a right to read is no right to write");
    assert_eq!(house.call(file()).await.status, 401, "nor anybody else's");
    operator.delete_policy("guest").await.expect("deleted");
    within_a_second(&house, Some("beta-owner"), file(), 404).await;

    let rule = r#"forbid (principal, action == Action::"publish", resource in System::"alpha");"#;
    operator.put_policy("freeze", rule).await.expect("a policy");
    let refused = within_a_second(&house, Some("alpha-owner"), Call::put("/alpha/files/c.txt", "c"), 403).await;
    assert!(refused.header("x-artifact-policy").starts_with("freeze"), "the rule is named: {:?}", refused.headers);
    assert_eq!(house.head("alpha/files"), 1, "nothing was changed");
    operator.delete_policy("freeze").await.expect("deleted");
    within_a_second(&house, Some("alpha-owner"), Call::put("/alpha/files/c.txt", "c"), 201).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_package_leaks_through_no_route_and_no_cache() {
    let house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    house.repository("alpha/all", "npm", Kind::Group, true, json!({ "members": ["alpha/npm"] })).await;
    for (name, version) in [("zebra", "1.0.0"), ("horse", "1.0.0")] {
        assert_eq!(publish(&house, "alpha-owner", "alpha/npm", name, version).await.status, 201);
    }
    let paths = ["zebra", "zebra/1.0.0", "zebra/latest", "zebra/-/zebra-1.0.0.tgz", "-/package/zebra/dist-tags"];
    let ask = async |path: &str, group: bool| house.call(Call::get(format!("/alpha/{}/{path}", if group { "all" } else { "npm" }))).await;
    // Everything is in the caches now.
    for path in paths {
        assert_eq!((ask(path, false).await.status.as_u16(), ask(path, true).await.status.as_u16()), (200, 200), "{path}");
    }
    let rule = r#"forbid (principal, action == Action::"read", resource == Package::"alpha/npm:zebra") unless { principal has name && principal.name == "alpha-owner" };"#;
    house.engine().access.operator().put_policy("embargo", rule).await.expect("a policy");
    within_a_second(&house, None, Call::get("/alpha/npm/zebra"), 401).await;
    house.user("gamma", &[]).await;
    let spellings = [
        "%7aebra",
        "zebra/",
        "zebra/-/zebra-1.0.0.tgz?x=1",
        "horse/-/@zebra/zebra-1.0.0.tgz",
        "-/npm/v1/attestations/zebra@1.0.0",
        "ZEBRA",
        "zebra?write=true",
    ];
    for path in paths.into_iter().chain(spellings) {
        for group in [false, true] {
            for accept in ["application/vnd.npm.install-v1+json", "*/*"] {
                let call = Call::get(format!("/alpha/{}/{path}", if group { "all" } else { "npm" })).with("Accept", accept);
                let reply = house.call(call.clone()).await;
                assert!(matches!(reply.status.as_u16(), 401 | 404), "{path} (group: {group}): {} {}", reply.status, reply.text());
                let reply = house.call_as("gamma", call).await;
                assert!(matches!(reply.status.as_u16(), 403 | 404), "{path} (group: {group}): {} {}", reply.status, reply.text());
            }
        }
    }
    for address in ["alpha/npm", "alpha/all"] {
        for paging in ["", "&size=0", "&from=1", "&size=1&from=0", "&from=9999"] {
            let found: Value = house.call(Call::get(format!("/{address}/-/v1/search?text=zebra{paging}"))).await.json();
            assert_eq!((&found["objects"], &found["total"]), (&json!([]), &json!(0)), "{address}: not even how many there are ({paging})");
        }
        assert_eq!(house.call(Call::get(format!("/{address}/horse"))).await.status, 200, "its neighbour is as it was");
    }
    assert_eq!(house.call_as("alpha-owner", Call::get("/alpha/npm/zebra")).await.status, 200, "who is excepted reads on");
    assert_eq!(house.call_as("gamma", Call::get("/alpha/npm.at-r1/zebra")).await.status, 404, "the past is no way around");
    house.engine().access.operator().delete_policy("embargo").await.expect("deleted");
    within_a_second(&house, None, Call::get("/alpha/npm/zebra"), 200).await;
}

/// The right is asked for the package of the URL: another one in the body is not published under it.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_one_package_is_no_right_to_another() {
    let house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    house.user("gamma", &[]).await;
    let rule = r#"permit (principal == User::"gamma", action in [Action::"publish", Action::"read"], resource == Package::"alpha/npm:mine");"#;
    house.engine().access.operator().put_policy("own", rule).await.expect("a policy");
    let manifest = entrepot_format_npm::testing::manifest("theirs", "1.0.0");
    let body = entrepot_format_npm::testing::publish_body(&manifest, &entrepot_format_npm::testing::tarball(&manifest), "latest").to_string();
    within_a_second(&house, Some("gamma"), Call::put("/alpha/npm/mine", body.clone()).with("Content-Type", "application/json"), 400).await;
    assert_eq!(house.call_as("gamma", Call::put("/alpha/npm/theirs", body)).await.status, 403);
    assert_eq!(publish(&house, "gamma", "alpha/npm", "theirs", "1.0.0").await.status, 403);
    assert_eq!(house.head("alpha/npm"), 0, "nothing was changed");
    assert_eq!(publish(&house, "gamma", "alpha/npm", "mine", "1.0.0").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_and_changed_tags_count_at_once() {
    use crate::house::tags;
    use entrepot_kit::PrincipalKind;
    let house = House::start().await;
    house.repository("alpha/files", "generic", Kind::Hosted, false, json!({})).await;
    house.user("gamma", &[("system", "alpha")]).await;
    let operator = house.engine().access.operator();
    let ask = || Call::get("/alpha/files/?format=json");
    assert_eq!(house.call_as("gamma", ask()).await.status, 200);
    operator.set_tags(PrincipalKind::User, "gamma", tags(&[("system", "beta")])).await.expect("changed");
    within_a_second(&house, Some("gamma"), ask(), 404).await;
    operator.set_tags(PrincipalKind::User, "gamma", tags(&[("system", "alpha")])).await.expect("changed");
    within_a_second(&house, Some("gamma"), ask(), 200).await;
    operator.set_disabled(PrincipalKind::User, "gamma", true).await.expect("changed");
    within_a_second(&house, Some("gamma"), ask(), 401).await;
}
