//! What comes in, whichever way, and what is refused.

use entrepot_format_helm::testing::{Tgz, chart, chart_yaml, prov};
use entrepot_kit::{Kind, Sha256Digest};
use http::{Method, StatusCode};
use serde_json::json;

use super::{HERE, delete, get, house, house_with, index, post, post_form, publish, put, refused, saved, versions};
use crate::raw::Call;

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_leads_to_the_same() {
    let house = house().await;
    let bytes = |version: &str| chart("web", version, "x");
    saved(&post(&house, "api/charts", bytes("1.0.0")).await);
    saved(&post_form(&house, "api/charts", &[("chart", "/home/me/web-9.9.9.tgz", &bytes("1.1.0"))]).await);
    saved(&post(&house, "", bytes("1.2.0")).await);
    saved(&put(&house, "anything.tgz", bytes("1.3.0")).await);
    saved(&put(&house, "stable/web-1.4.0.tgz", bytes("1.4.0")).await);
    saved(&post(&house, "charts/web-1.5.0.tgz", bytes("1.5.0")).await);
    // What clients ask for that were not told where the interface begins.
    let tenant = Call { body: bytes("1.6.0").into(), ..Call::new(Method::POST, "/api/alpha/helm/charts") };
    saved(&house.call_as("bob", tenant).await);
    let wanted = ["1.6.0", "1.5.0", "1.4.0", "1.3.0", "1.2.0", "1.1.0", "1.0.0"];
    assert_eq!(versions(&index(&house).await, "web"), wanted);
    for version in wanted {
        for path in [format!("charts/web/web-{version}.tgz"), format!("charts/web-{version}.tgz"), format!("web-{version}.tgz")] {
            let reply = get(&house, &path).await;
            assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, &bytes(version)[..]), "{path}");
        }
    }
    let tenant = house.call(Call::get("/api/alpha/helm/charts/web/1.6.0")).await;
    assert_eq!(tenant.json()["version"], "1.6.0");
    assert_eq!(house.call(Call::get("/api/alpha/none/charts")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_that_of_chart_yaml() {
    let house = house().await;
    let tricky = Tgz::new().file("other/Chart.yaml", chart_yaml("a-1", "1.0.0-rc1+build.7").as_bytes()).finish();
    saved(&put(&house, "misleading-9.0.0.tgz", tricky.clone()).await);
    for path in ["charts/a-1/a-1-1.0.0-rc1+build.7.tgz", "charts/a-1/a-1-1.0.0-rc1%2Bbuild.7.tgz", "charts/a-1-1.0.0-rc1+build.7.tgz"] {
        assert_eq!(get(&house, path).await.body, tricky, "{path}");
    }
    let url = index(&house).await["entries"]["a-1"][0]["urls"][0].as_str().expect("a URL").to_owned();
    assert_eq!(get(&house, &url).await.body, tricky);
    let head = house.call(Call::new(Method::HEAD, format!("{HERE}/api/charts/a-1/1.0.0-rc1+build.7"))).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(get(&house, "charts/a/a-1-1.0.0-rc1.tgz").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_keeps_its_bytes() {
    let house = house().await;
    let first = publish(&house, "web", "1.0.0").await;
    let revision = house.head("alpha/helm");
    saved(&post(&house, "api/charts?force", first.clone()).await);
    saved(&put(&house, "web-1.0.0.tgz", first.clone()).await);
    assert_eq!(house.head("alpha/helm"), revision, "the same bytes change nothing");
    let other = chart("web", "1.0.0", "other");
    refused(&post(&house, "api/charts", other.clone()).await, 409, "file already exists");
    refused(&post(&house, "api/charts?force", other.clone()).await, 409, "no version is replaced here");
    assert_eq!(get(&house, "charts/web/web-1.0.0.tgz").await.body, first);
    assert_eq!(delete(&house, "api/charts/web/1.0.0").await.json(), json!({ "deleted": true }));
    refused(&delete(&house, "api/charts/web/1.0.0").await, 404, "no version");
    refused(&post(&house, "api/charts", other).await, 409, "file was deleted");
    assert_eq!(versions(&index(&house).await, "web"), Vec::<String>::new());
    saved(&post(&house, "api/charts", first.clone()).await);
    assert_eq!(get(&house, "charts/web/web-1.0.0.tgz").await.body, first, "what was deleted may come back as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_replaced_where_the_repository_lets_them() {
    let house = house_with(json!({ "overwrite": "force" })).await;
    let first = publish(&house, "web", "1.0.0").await;
    saved(&post(&house, "api/prov", prov("web", "1.0.0", &first)).await);
    let other = chart("web", "1.0.0", "other");
    refused(&post(&house, "api/charts", other.clone()).await, 409, "?force");
    let call = |user: &'static str| house.call_as(user, Call { body: other.clone().into(), ..Call::new(Method::POST, format!("{HERE}/api/charts?force")) });
    house.user("eve", &[("system", "alpha")]).await;
    assert_eq!(call("eve").await.status, StatusCode::FORBIDDEN);
    saved(&call(super::OWNER).await);
    let entry = index(&house).await["entries"]["web"][0].clone();
    assert_eq!(entry["digest"], Sha256Digest::of(&other).hex());
    let reply = get(&house, "charts/web/web-1.0.0.tgz").await;
    assert_eq!((&reply.body[..], reply.header("cache-control")), (&other[..], "public, max-age=300, immutable"));
    assert_eq!(get(&house, "charts/web/web-1.0.0.tgz.prov").await.status, StatusCode::NOT_FOUND, "it was that of the bytes before");
    assert_eq!(versions(&index(&house).await, "web"), ["1.0.0"]);
    let house = house_with(json!({ "overwrite": "always" })).await;
    publish(&house, "web", "1.0.0").await;
    saved(&post(&house, "api/charts", other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn provenance_files_come_with_after_or_before_their_chart() {
    let house = house().await;
    let (one, two, three) = (chart("web", "1.0.0", "x"), chart("web", "2.0.0", "x"), chart("web", "3.0.0", "x"));
    let prov_of = |version: &str, bytes: &[u8]| prov("web", version, bytes);
    saved(&post_form(&house, "api/charts", &[("chart", "a", &one), ("prov", "b", prov_of("1.0.0", &one).as_bytes())]).await);
    saved(&post(&house, "api/charts", two.clone()).await);
    saved(&post_form(&house, "api/prov", &[("prov", "b", prov_of("2.0.0", &two).as_bytes())]).await);
    saved(&put(&house, "web-3.0.0.tgz.prov", prov_of("3.0.0", &three)).await);
    assert_eq!(versions(&index(&house).await, "web"), ["2.0.0", "1.0.0"], "a provenance file alone is no chart");
    saved(&put(&house, "web-3.0.0.tgz", three.clone()).await);
    for (version, bytes) in [("1.0.0", &one), ("2.0.0", &two), ("3.0.0", &three)] {
        for path in [format!("charts/web/web-{version}.tgz.prov"), format!("charts/web-{version}.tgz.prov")] {
            assert_eq!(get(&house, &path).await.text(), prov_of(version, bytes), "{path}");
        }
    }
    let revision = house.head("alpha/helm");
    saved(&post(&house, "api/prov", prov_of("1.0.0", &one)).await);
    assert_eq!(house.head("alpha/helm"), revision);
    refused(&post(&house, "api/prov", prov_of("1.0.0", &one).replace("AAAA", "BBBB")).await, 409, "already exists");
    refused(&post(&house, "api/prov", prov_of("1.0.0", b"other")).await, 400, "other bytes");
    assert_eq!(delete(&house, "api/charts/web/1.0.0").await.status, StatusCode::OK);
    assert_eq!(get(&house, "charts/web/web-1.0.0.tgz.prov").await.status, StatusCode::NOT_FOUND);
    // One that waits for other bytes than those that come waits in vain.
    let four = chart("web", "4.0.0", "x");
    saved(&post(&house, "api/prov", prov_of("4.0.0", b"other")).await);
    saved(&post(&house, "api/charts", four).await);
    assert_eq!(get(&house, "charts/web/web-4.0.0.tgz.prov").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_what_is_refused_stays() {
    let house = house().await;
    let revision = house.head("alpha/helm");
    let good = chart("web", "1.0.0", "x");
    let with = |name: &str, version: &str| Tgz::new().file("x/Chart.yaml", chart_yaml(name, version).as_bytes()).finish();
    for (bytes, why) in [
        (b"hello".to_vec(), "tar in gzip"),
        (good[..good.len() / 2].to_vec(), "damaged"),
        (with("../x", "1.0.0"), "no name"),
        (with("x", "latest"), "no version"),
        (Tgz::new().file("x/values.yaml", b"").finish(), "no Chart.yaml"),
        (Tgz::new().file("x/Chart.yaml", chart_yaml("x", "1.0.0").as_bytes()).link("x/a", "/etc/passwd").finish(), "links"),
        (Tgz::new().file("x/Chart.yaml", chart_yaml("x", "1.0.0").as_bytes()).file("x/zeros", &vec![0; 11 << 20]).finish(), "unpacks to more"),
    ] {
        refused(&post(&house, "api/charts", bytes.clone()).await, 400, why);
        refused(&put(&house, "x-1.0.0.tgz", bytes.clone()).await, 400, why);
        refused(&post_form(&house, "api/charts", &[("chart", "x", &bytes)]).await, 400, why);
    }
    refused(&post_form(&house, "api/charts", &[("other", "x", &good)]).await, 400, "neither a field");
    refused(&put(&house, "web.zip", good.clone()).await, 400, ".tgz");
    assert_eq!(house.head("alpha/helm"), revision);
    assert_eq!(index(&house).await["entries"], json!({}));
    house.repository("alpha/all", "helm", Kind::Group, true, json!({ "members": ["alpha/helm"] })).await;
    let call = Call { body: good.into(), ..Call::new(Method::POST, "/alpha/all/api/charts") };
    assert_eq!(house.call_as("bob", call).await.status, StatusCode::METHOD_NOT_ALLOWED);
}
