//! All rows travel from either database into either.

use entrepot_kit::accounts::Tags;
use entrepot_kit::{Death, PrincipalKind, Timestamp};

use super::server::fresh_database;
use super::{NOW, commit, on_both, publish, release, repository};
use crate::store::catalog::Catalog;
use crate::store::catalog::tables::lasting;
use crate::store::catalog::transfer::{Clash, Filling, Row, Value};
use crate::store::facts::{PathPulls, Pulls};
use crate::store::model::{CatalogError, Commit, KeyRow, PolicyRow, TokenRow, UpstreamState};

on_both!(all_rows_travel, a_half_filled_catalog_is_nobodys);

/// Something in every table.
async fn filled(catalog: &Catalog) {
    let packages = repository(catalog, "main/packages").await;
    publish(catalog, &packages, "left-pad", "1.0.0").await;
    publish(catalog, &packages, "left-pad", "1.1.0").await;
    let gone = Death::Version { package: String::from("left-pad"), version: String::from("1.0.0") };
    catalog.commit(Commit { deaths: vec![gone], ..commit(&packages, "delete") }).await.expect("deleted");
    // Many rows: more than one slice.
    for package in 0..150 {
        let births = release(&format!("package-{package}"), "0.1.0");
        catalog.commit(Commit { births, ..commit(&packages, "publish") }).await.expect("published");
    }
    // A number that was used, and whose row is gone.
    let short = catalog.create_principal(PrincipalKind::User, "short", Tags::new(), None, NOW).await;
    let ann = catalog.create_principal(PrincipalKind::User, "änn", Tags::new(), Some(String::from("$argon2id$…")), NOW).await.expect("a principal");
    let last = catalog.create_principal(PrincipalKind::Robot, "last", Tags::new(), None, NOW).await.expect("a principal");
    catalog.delete_principal(short.expect("a principal").id).await.expect("deleted");
    catalog.delete_principal(last.id).await.expect("deleted");
    for id in ["b", "A", "ä", "_"] {
        let row = TokenRow {
            id: id.to_owned(),
            principal: ann.id,
            name: String::from("a token"),
            secret_hash: vec![0, 255, 1],
            repositories: vec![String::from("main/*")],
            actions: Vec::new(),
            created: NOW,
            expires: None,
            revoked: Some(Timestamp(5)),
            workload: None,
        };
        catalog.create_token(row).await.expect("a token");
    }
    let publisher = super::publishers::publisher("build", "https://issuer.example");
    let publisher = catalog.create_publisher(publisher, 10).await.expect("a publisher");
    let given = super::publishers::given("g", publisher.principal, NOW.plus(1000));
    assert!(catalog.exchange(vec![1, 2], NOW.plus(1000), given, 10, NOW).await.expect("exchanged"));
    catalog
        .put_policy(PolicyRow { name: String::from("p"), text: String::from("permit(principal, action, resource);"), updated: NOW })
        .await
        .expect("a policy");
    let state =
        UpstreamState { key: String::from("a/b"), url: String::from("u"), etag: None, last_modified: Some(String::from("l")), checked: NOW, status: 404 };
    catalog.put_upstream_state(packages.id, state).await.expect("a state");
    let pulls = Pulls { last: NOW, downloads: 3 };
    catalog.add_pulls(vec![PathPulls { repository: packages.id, path: String::from("a/b"), pulls }]).await.expect("noted");
    let key = KeyRow { id: String::from("k"), purpose: String::from("sign/1"), public: vec![1], sealed: vec![2], created: NOW, expires: None };
    catalog.put_key(key).await.expect("a key");
    let line = crate::store::model::AuditRow {
        time: NOW,
        principal: String::from("user:ann"),
        action: String::from("read"),
        resource: String::from("main/packages"),
        outcome: String::from("denied"),
        detail: String::from("a \"quoted\" word\nand a line"),
        request_id: String::new(),
        remote: String::new(),
    };
    catalog.audit(vec![line]).await.expect("a line");
}

async fn all_rows(catalog: &Catalog, table: &'static crate::store::catalog::tables::Table) -> Vec<Row> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let rows = catalog.rows(table, after).await.expect("rows");
        let Some(last) = rows.last() else { return all };
        after = Some(last.0.iter().take(table.key).cloned().collect::<Vec<_>>());
        all.extend(rows);
    }
}

async fn all_rows_travel(source: Catalog) {
    filled(&source).await;
    let folder = tempfile::tempdir().expect("a folder");
    let url = tokio::task::spawn_blocking(fresh_database).await.expect("a database");
    let targets =
        [Catalog::open_sqlite_at_rest(&folder.path().join("target.db")).await.expect("opened"), Catalog::open_postgres_at_rest(&url).await.expect("opened")];
    let summaries = source.summaries().await.expect("summaries");
    for target in targets {
        assert!(!target.begin_filling(Filling::Migration).await.expect("an empty catalog"));
        for table in lasting() {
            let rows = all_rows(&source, table).await;
            assert!(!rows.is_empty(), "{} has no rows: this test proves nothing about it", table.name);
            for row in &rows {
                let through_json: Vec<serde_json::Value> = serde_json::from_str(&row.to_line()).expect("JSON");
                let back = table.columns.iter().zip(through_json).map(|(column, json)| Value::from_json(column, json).expect("a value")).collect();
                assert_eq!(&Row(back), row);
            }
            let clash = if table.name == "meta" { Clash::Replace } else { Clash::Refuse };
            target.insert(table, rows, clash).await.expect("inserted");
            let last = source.last_key(table).await.expect("a key");
            assert_eq!(target.last_key(table).await.expect("a key").filter(|_| table.name != "meta"), last.filter(|_| table.name != "meta"));
            assert_eq!(target.fingerprint(table).await.expect("read"), source.fingerprint(table).await.expect("read"), "{}", table.name);
        }
        let highest = summaries.iter().filter(|summary| summary.table.numbered).map(|summary| (summary.table, summary.highest)).collect();
        target.end_filling(highest).await.expect("whole");
        assert_eq!(target.broken_references().await.expect("asked"), 0);
        assert_eq!(target.blobs_without_bytes().await.expect("asked"), 0);
        assert!(target.epoch().await.expect("an epoch") > source.epoch().await.expect("an epoch"));

        // What comes now is numbered behind everything that ever was.
        let new = target.create_principal(PrincipalKind::User, "new", Tags::new(), None, NOW).await.expect("a principal");
        let expected = source.summaries().await.expect("summaries").into_iter().find(|summary| summary.table.name == "principals").expect("a table").highest;
        assert_eq!(new.id, expected + 1);
        let packages = target.repositories().await.expect("repositories").remove(0);
        publish(&target, &packages, "left-pad", "1.2.0").await;
        publish(&target, &packages, "right-pad", "1.0.0").await;
    }
}

async fn a_half_filled_catalog_is_nobodys(catalog: Catalog) {
    assert_eq!(catalog.filling().await.expect("asked"), None);
    assert!(!catalog.begin_filling(Filling::Restore).await.expect("begun"));
    assert!(catalog.begin_filling(Filling::Restore).await.expect("begun again"));
    assert!(matches!(catalog.begin_filling(Filling::Migration).await, Err(CatalogError::Conflict(_))));
    assert_eq!(catalog.filling().await.expect("asked"), Some(Filling::Restore));
    catalog.end_filling(Vec::new()).await.expect("whole");
    assert!(catalog.end_filling(Vec::new()).await.is_err(), "it is whole already");
    filled(&catalog).await;
    assert!(matches!(catalog.begin_filling(Filling::Restore).await, Err(CatalogError::Conflict(_))), "it is not empty");
    for table in lasting() {
        assert!(matches!(catalog.clear(table).await, Err(CatalogError::Conflict(_))), "nothing of a catalog in use is removed");
    }
}
