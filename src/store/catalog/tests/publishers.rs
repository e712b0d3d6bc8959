//! Publishers, and identity tokens that count once.

use entrepot_kit::{Action, PrincipalKind, Timestamp};

use super::{NOW, on_both};
use crate::store::catalog::Catalog;
use crate::store::model::{CatalogError, PublisherRow, TokenRow};

on_both!(publishers_come_and_go, an_identity_token_counts_once);

pub(super) fn publisher(name: &str, issuer: &str) -> PublisherRow {
    let settings = serde_json::json!({ "issuer": issuer, "claims": { "a": ["b"] } });
    PublisherRow { principal: 0, name: name.to_owned(), issuer: issuer.to_owned(), settings, declared: false, created: NOW }
}

/// A token that was given for an identity token.
pub(super) fn given(id: &str, principal: i64, expires: Timestamp) -> TokenRow {
    TokenRow {
        id: id.to_owned(),
        principal,
        name: String::from("given"),
        secret_hash: vec![1],
        repositories: vec![String::from("main/npm")],
        actions: vec![Action::Publish],
        created: NOW,
        expires: Some(expires),
        revoked: None,
        workload: Some(String::from("{}")),
    }
}

async fn publishers_come_and_go(catalog: Catalog) {
    let epoch = catalog.epoch().await.expect("read");
    let made = catalog.create_publisher(publisher("b", "https://one.example"), 3).await.expect("made");
    assert!(catalog.epoch().await.expect("read") > epoch);
    catalog.create_publisher(publisher("a", "https://one.example"), 3).await.expect("made");
    catalog.create_publisher(publisher("c", "https://two.example"), 3).await.expect("made");
    for taken in ["b", "d"] {
        let refused = catalog.create_publisher(publisher(taken, "https://one.example"), 3).await;
        assert!(matches!(refused, Err(CatalogError::Conflict(_))), "{taken}: its name is taken, or there are enough");
    }
    let names = |rows: Vec<PublisherRow>| rows.into_iter().map(|row| row.name).collect::<Vec<_>>();
    assert_eq!(names(catalog.publishers().await.expect("listed")), ["a", "b", "c"]);
    assert_eq!(names(catalog.publishers_of("https://one.example").await.expect("listed")), ["a", "b"]);
    assert!(catalog.publishers_of("https://one.example/").await.expect("listed").is_empty());
    let workload = catalog.principal(PrincipalKind::Workload, "b").await.expect("read").expect("its principal");
    assert_eq!(workload.id, made.principal);
    catalog.set_publisher_declared(made.principal, true).await.expect("noted");
    assert!(catalog.publishers().await.expect("listed").iter().all(|row| row.declared == (row.name == "b")));

    assert!(catalog.exchange(vec![1], NOW.plus(10), given("t", made.principal, NOW.plus(10)), 9, NOW).await.expect("exchanged"));
    let epoch = catalog.epoch().await.expect("read");
    assert!(catalog.delete_publisher(made.principal).await.expect("deleted"));
    assert!(!catalog.delete_publisher(made.principal).await.expect("there is none"));
    assert!(catalog.epoch().await.expect("read") > epoch, "its tokens are looked at again");
    assert_eq!(catalog.token("t").await.expect("read"), None);
    assert_eq!(catalog.principal_by_id(made.principal).await.expect("read"), None);
    // What was exchanged stays so, whatever becomes of the publisher.
    let again = catalog.create_publisher(publisher("b", "https://one.example"), 3).await.expect("made again");
    assert_ne!(again.principal, made.principal);
    assert!(!catalog.exchange(vec![1], NOW.plus(10), given("t2", again.principal, NOW.plus(10)), 9, NOW).await.expect("asked"));
    let gone = catalog.exchange(vec![2], NOW.plus(10), given("t3", made.principal, NOW.plus(10)), 9, NOW).await;
    assert!(matches!(gone, Err(CatalogError::NotFound(_))));
    assert!(catalog.exchange(vec![2], NOW.plus(10), given("t3", again.principal, NOW.plus(10)), 9, NOW).await.expect("a failure used nothing up"));
}

async fn an_identity_token_counts_once(catalog: Catalog) {
    let made = catalog.create_publisher(publisher("b", "https://one.example"), 3).await.expect("made");
    let at_once = (0..8).map(|number| {
        let (catalog, row) = (catalog.clone(), given(&format!("t{number}"), made.principal, NOW.plus(500)));
        async move { catalog.exchange(vec![7], NOW.plus(1000), row, 9, NOW).await.expect("asked") }
    });
    let outcomes = futures::future::join_all(at_once).await;
    assert_eq!(outcomes.iter().filter(|won| **won).count(), 1);
    // Its end is when nobody needs to know any more; tokens that have ended make place for others.
    let exchange = async |hash: u8, id: &str, now: i64| {
        let row = given(id, made.principal, NOW.plus(now + 500));
        catalog.exchange(vec![hash], NOW.plus(1000), row, 2, NOW.plus(now)).await
    };
    assert!(!exchange(7, "a", 999).await.expect("asked"));
    assert!(exchange(7, "b", 1000).await.expect("asked"), "it would be refused by its end");
    assert!(exchange(8, "c", 1000).await.expect("asked"));
    assert!(matches!(exchange(9, "d", 1000).await, Err(CatalogError::Conflict(_))), "two live");
    assert!(exchange(9, "d", 1500).await.expect("asked"));
    assert_eq!(catalog.token("b").await.expect("read"), None);
}
