//! Namespaces: beginnings of names that belong to a system.
#![cfg(test)]

use entrepot_format_pypi::testing::{Form, Wheel};
use http::StatusCode;
use serde_json::json;

use super::{OWNER, get, house, house_with, page, post, publish, refused, send};

#[tokio::test(flavor = "multi_thread")]
async fn names_in_a_namespace_are_for_its_owners() {
    let house = house_with(json!({"namespaces": {"acme": "beta", "acme-tools": "alpha"}})).await;
    let wheel = |name: &str| Form::wheel(&Wheel::new(name, "1.0", "x"));
    for taken in ["acme", "acme-core", "Acme.Core"] {
        refused(&send(&house, &wheel(taken)).await, 409, "belongs to");
    }
    publish(&house, &Wheel::new("acmecore", "1.0", "x")).await;
    publish(&house, &Wheel::new("acme-tools-x", "1.0", "x")).await;
    house.user("bea", &[("system", "alpha"), ("system", "beta"), ("role", "publisher")]).await;
    assert_eq!(house.call_as("bea", post(&wheel("acme-core"))).await.status, StatusCode::OK);
    // Who may publish to a project that is there, may go on.
    publish(&house, &Wheel::new("acme-core", "2.0", "x")).await;
    assert_eq!(house.call_as(OWNER, post(&wheel("acme-other"))).await.status, StatusCode::OK, "who manages the repository decides");

    let shown = page(&house, "acme-core").await;
    assert_eq!((&shown["meta"]["api-version"], &shown["namespaces"]), (&json!("1.5"), &json!([{"name": "acme", "owned": true}])));
    assert_eq!(page(&house, "acmecore").await["namespaces"], json!(null));
    let tools = page(&house, "acme-tools-x").await["namespaces"].clone();
    assert_eq!(tools, json!([{"name": "acme-tools", "owned": true}, {"name": "acme", "owned": false}]));
    let namespaces = house.call(get("namespaces")).await.json();
    assert_eq!(namespaces["namespaces"][0], json!({"name": "acme", "owner": "beta", "open": false}));
    assert_eq!(house.call(get("namespace/acme-tools")).await.json()["namespace"]["parent"], "acme");
    assert_eq!(house.call(get("namespace/nobody")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nothing_speaks_of_namespaces() {
    let house = house().await;
    publish(&house, &Wheel::new("acme", "1.0", "x")).await;
    let shown = page(&house, "acme").await;
    assert_eq!(shown["meta"]["api-version"], "1.4");
    assert!(shown.get("namespaces").is_none());
    assert_eq!(house.call(get("namespaces")).await.status, StatusCode::NOT_FOUND);
}
