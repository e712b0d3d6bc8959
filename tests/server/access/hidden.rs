//! A repository that the caller may not read answers, to the last byte, like one that does not exist.
#![cfg(test)]

use futures::StreamExt as _;
use http::Method;

use super::{Probe, comparable, every_route, furnished};
use crate::house::{House, PASSWORD};
use crate::raw::Call;
use crate::upstream::ScriptedUpstream;

/// Paths that are no route's: spellings that a router, a check and a handler might read in different ways.
const HOSTILE: [&str; 20] = [
    "",
    "..",
    "%2e%2e",
    "%2e%2e/%2e%2e/beta/x",
    "../npm-hosted/left-pad",
    "%2e%2e%2fnpm-hosted%2fleft-pad",
    "left-pad/../left-pad",
    "left-pad%2f-%2fleft-pad-1.0.0.tgz",
    "@acme%2fwidget",
    "@acme%2Fwidget/-/widget-1.0.0.tgz",
    "@acme%252fwidget",
    "left-pad;a=b",
    "left-pad%00",
    "left-pad%0d%0aX: y",
    "left-pad\\..",
    "left-pad%5c..",
    "%ff",
    "%c0%ae%c0%ae/x",
    "folder/",
    "folder//file.txt",
];

fn probes(house: &House) -> Vec<Probe> {
    let mut probes: Vec<Probe> = every_route(house).into_iter().filter(|probe| !probe.open).collect();
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::POST, Method::PATCH, Method::OPTIONS] {
        for registry in [false, true] {
            probes.extend(HOSTILE.map(|path| Probe { format: "any", method: method.clone(), path: path.to_owned(), open: false, reads: false, registry }));
        }
    }
    for query in ["-/v1/search?text=left&size=999999999", "folder/?format=html&recursive=true", "left-pad?write=true", "left-pad/1.0.0?x=%00"] {
        probes.push(Probe { format: "any", method: Method::GET, path: query.to_owned(), open: false, reads: true, registry: false });
    }
    probes
}

/// The same request to a hidden repository and to none, whose names have the same length: how many differ, and how.
async fn differences(house: &House, addresses: &[String], suffix: &str, who: Option<&str>, expected: u16) -> Vec<String> {
    let probes = probes(house);
    let pairs = addresses.iter().flat_map(|address| probes.iter().map(move |probe| (address.clone(), probe.clone())));
    let compared = pairs.map(async |(address, probe)| {
        let other_address = format!("alpha/z{}", address.get("alpha/x".len()..).unwrap_or_default());
        let (hidden, missing) = (format!("{address}{suffix}"), format!("{other_address}{suffix}"));
        let signed = |call: Call| match who {
            Some(user) => call.signed(user, PASSWORD),
            None => call,
        };
        let (one, other) = (house.call(signed(probe.at(&hidden))).await, house.call(signed(probe.at(&missing))).await);
        let (seen, wanted) = (comparable(&one, &address, &other_address), comparable(&other, &address, &other_address));
        let told = || format!("{} {} of {hidden}: {seen:?}, but {wanted:?} of {missing}", probe.method, probe.path);
        // What no path may be is refused before anybody looks for a repository.
        let fits = one.status == expected || (one.status == 400 && probe.format == "any");
        (seen != wanted || !fits).then(told)
    });
    futures::stream::iter(compared).buffer_unordered(8).filter_map(async |outcome| outcome).collect().await
}

fn none(differences: &[String]) {
    assert!(differences.is_empty(), "{} differences, such as\n{}", differences.len(), differences.iter().take(5).cloned().collect::<Vec<_>>().join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_cannot_tell_a_private_repository_from_none() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    let addresses = furnished(&house, &upstream).await;
    let before = addresses.iter().map(|address| house.head(address)).collect::<Vec<_>>();
    none(&differences(&house, &addresses, "", None, 401).await);
    assert_eq!(addresses.iter().map(|address| house.head(address)).collect::<Vec<_>>(), before, "nothing was changed");
    assert_eq!(upstream.seen().len(), 0, "nothing was asked for somebody who may not know the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_system_cannot_tell_a_private_repository_from_none() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    let addresses = furnished(&house, &upstream).await;
    let before = addresses.iter().map(|address| house.head(address)).collect::<Vec<_>>();
    none(&differences(&house, &addresses, "", Some("beta-owner"), 404).await);
    assert_eq!(addresses.iter().map(|address| house.head(address)).collect::<Vec<_>>(), before, "nothing was changed");
    assert_eq!(upstream.seen().len(), 0, "nothing was asked for somebody who may not know the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_hides_what_the_present_hides() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    let addresses: Vec<String> = furnished(&house, &upstream).await.into_iter().filter(|address| !address.contains("toy")).collect();
    for moment in [".at-r0", ".at-r1", ".at-r99", ".at-20300101", ".at-nonsense"] {
        let some = if moment == ".at-r1" { &addresses[..] } else { &addresses[..3] };
        none(&differences(&house, some, moment, None, 401).await);
        none(&differences(&house, some, moment, Some("beta-owner"), 404).await);
    }
}

/// A group whose `publish_to` leads nowhere, or into the caller's own system, is as hidden as any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_group_does_not_show_where_it_publishes() {
    use entrepot_kit::Kind;
    use serde_json::json;
    let house = House::start().await;
    house.repository("beta/npm-hosted", "npm", Kind::Hosted, false, json!({})).await;
    house.repository("alpha/npm-broken", "npm", Kind::Group, false, json!({ "members": ["beta/npm-hosted"], "publish_to": "alpha/gone" })).await;
    house.repository("alpha/npm-abroad", "npm", Kind::Group, false, json!({ "members": ["beta/npm-hosted"], "publish_to": "beta/npm-hosted" })).await;
    let addresses = [String::from("alpha/npm-broken"), String::from("alpha/npm-abroad")];
    none(&differences(&house, &addresses, "", None, 401).await);
    none(&differences(&house, &addresses, "", Some("beta-owner"), 404).await);
    let published = super::publish(&house, "beta-owner", "alpha/npm-abroad", "left-pad", "1.0.0").await;
    assert_eq!((published.status.as_u16(), house.head("beta/npm-hosted")), (404, 0), "through a group that the caller may not see: {}", published.text());
}

/// A scanner learns nothing from the sign-in routes either: they are the server's, below whatever address.
#[tokio::test(flavor = "multi_thread")]
async fn sign_in_routes_answer_the_same_everywhere() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    let addresses = furnished(&house, &upstream).await;
    let open: Vec<Probe> = every_route(&house).into_iter().filter(|probe| probe.open && probe.path != "-/v1/login").collect();
    assert!(open.len() >= 6, "npm has them");
    let mut compared = 0;
    for who in [None, Some("beta-owner")] {
        for probe in &open {
            let signed = |call: Call| match who {
                Some(user) => call.signed(user, PASSWORD),
                None => call,
            };
            let missing = house.call(signed(probe.at("alpha/nothing"))).await;
            // A token is revoked once; asking again finds none, everywhere.
            for address in addresses.iter().map(String::as_str).chain(["alpha/npm-hosted.at-r1", "nowhere/nothing", "UPPER/case"]) {
                // Without a body to make a token of: each would be another one.
                let reply = house.call(signed(probe.at(address))).await;
                let (mut seen, mut wanted) = (comparable(&reply, address, ""), comparable(&missing, "alpha/nothing", ""));
                if reply.status.is_success() && (probe.method == Method::POST || probe.path == "-/npm/v1/tokens") {
                    (seen.1, seen.2, wanted.1, wanted.2) = Default::default();
                }
                assert_eq!(seen, wanted, "{} {} of {address} as {who:?}", probe.method, probe.path);
                compared += 1;
            }
        }
    }
    assert!(compared > 100);
    for address in ["alpha/npm-hosted", "alpha/generic-hosted", "alpha/nothing"] {
        let reply = house.call(Call::post(format!("/{address}/-/v1/login"), "{}")).await;
        assert_eq!(reply.status, 200, "{address}");
        assert!(reply.json()["doneUrl"].is_string());
        let body = serde_json::json!({ "name": "beta-owner", "password": PASSWORD }).to_string();
        let reply = house.call(Call::put(format!("/{address}/-/user/org.couchdb.user:beta-owner"), body)).await;
        assert_eq!((reply.status.as_u16(), reply.json()["ok"].as_bool()), (201, Some(true)), "{address}");
    }
}

/// Lists of repositories name none that the caller may not read.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_names_nothing_hidden() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    furnished(&house, &upstream).await;
    house.repository("main/open", "generic", entrepot_kit::Kind::Hosted, true, serde_json::json!({})).await;
    for accept in ["application/json", "text/html"] {
        let nobody = house.call(Call::get("/").with("Accept", accept)).await;
        let other = house.call_as("beta-owner", Call::get("/").with("Accept", accept)).await;
        for page in [&nobody, &other] {
            assert_eq!(page.status, 200);
            assert!(page.text().contains("main/open") && !page.text().contains("alpha"), "{}", page.text());
        }
        assert!(house.call_as("alpha-owner", Call::get("/").with("Accept", accept)).await.text().contains("alpha/npm-hosted"));
        assert_eq!(house.call(Call::get("/").with("Accept", accept).signed("alpha-owner", "wrong")).await.status, 401);
    }
}
