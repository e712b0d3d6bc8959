//! Reading: views of the past, listings, search, accounts, and what survives a restart.

use std::collections::BTreeMap;

use bytes::Bytes;
use entrepot_kit::accounts::Tags;
use entrepot_kit::{Action, Death, Fragment, Listing, ListingItem, PrincipalKind};

use super::{NOW, commit, entry, on_both, publish, release, repository, system};
use crate::store::catalog::Catalog;
use crate::store::model::{AuditFilter, AuditRow, CatalogError, Commit, KeyRow, NewRow, PolicyRow, TokenRow, UpstreamState};

on_both!(
    the_past_stays_as_it_was,
    changes_lead_from_any_revision_to_any_later_one,
    files_are_fragments_by_their_data,
    listings_fold_folders,
    search_finds_beginnings_of_words,
    accounts_and_policies_move_the_epoch,
    small_tables_round_trip,
    repositories_come_and_go
);

async fn the_past_stays_as_it_was(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    for version in ["1.0.0", "1.1.0", "2.0.0"] {
        publish(&catalog, &repo, "a", version).await;
    }
    publish(&catalog, &repo, "b", "1.0.0").await;
    catalog.commit(Commit { deaths: vec![Death::Package(String::from("a"))], ..commit(&repo, "unpublish") }).await.expect("deleted");
    for (at, versions, latest) in [(1, 1, "1.0.0"), (2, 2, "1.1.0"), (3, 3, "2.0.0"), (4, 3, "2.0.0")] {
        let records = catalog.records(repo.id, "a", "full", Some(at)).await.expect("read").expect("records");
        assert_eq!((records.versions.len(), records.document), (versions, format!("{{\"latest\":\"{latest}\"}}")), "at {at}");
        assert_eq!(records.versions.last().map(|record| record.bytes.to_vec()), Some(format!("a@{latest}").into_bytes()));
        assert_eq!(catalog.package_changed(repo.id, "a", Some(at)).await.expect("read"), Some(at.min(3)));
        assert_eq!(catalog.entry(repo.id, "a/-/2.0.0.tgz", Some(at)).await.expect("read").is_some(), at >= 3);
    }
    for at in [None, Some(0), Some(5)] {
        assert!(catalog.records(repo.id, "a", "full", at).await.expect("read").is_none(), "at {at:?}");
        assert_eq!(catalog.package_changed(repo.id, "a", at).await.expect("read"), None, "at {at:?}");
    }
    assert_eq!(catalog.packages(repo.id, None, 10, Some(3)).await.expect("listed").len(), 1);
    let (_, head_time) = catalog.head(repo.id).await.expect("head");
    assert_eq!(catalog.revision_at(repo.id, head_time).await.expect("read"), 5);
    assert_eq!(catalog.revision_at(repo.id, head_time.plus(-1)).await.expect("read"), 4);
    assert_eq!(catalog.revision_at(repo.id, NOW.plus(-1)).await.expect("read"), 0);
    let spans = catalog.version_history(repo.id, "a", 10).await.expect("read");
    assert!(spans.len() == 3 && spans.iter().all(|span| span.died == Some(5)), "{spans:?}");
}

/// The versions of a package at a revision, with their fragments.
async fn versions_at(catalog: &Catalog, repository: i64, at: u64) -> Option<BTreeMap<String, Bytes>> {
    let records = catalog.records(repository, "a", "full", Some(at)).await.expect("read")?;
    Some(records.versions.into_iter().map(|record| (record.version, record.bytes)).collect())
}

async fn changes_lead_from_any_revision_to_any_later_one(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    for version in ["1.0.0", "1.1.0", "1.0.0", "2.0.0"] {
        publish(&catalog, &repo, "a", version).await;
    }
    let version = |name: &str| Death::Version { package: String::from("a"), version: name.to_owned() };
    let again = |name: &str| NewRow::RestoredVersion { package: String::from("a"), version: name.to_owned() };
    let other = Fragment { kind: "other", bytes: Bytes::from_static(b"o") };
    let without = NewRow::Version { package: String::from("a"), version: String::from("2.0.0"), document: String::new(), fragments: vec![other] };
    let steps: [(Vec<Death>, Vec<NewRow>); 8] = [
        (vec![version("1.1.0")], Vec::new()),
        (Vec::new(), vec![again("1.1.0")]),
        (Vec::new(), vec![without]),
        (vec![version("1.0.0")], release("a", "3.0.0")),
        (vec![Death::Package(String::from("a"))], Vec::new()),
        (Vec::new(), vec![NewRow::RestoredPackage { package: String::from("a") }]),
        (vec![version("3.0.0")], vec![again("1.0.0")]),
        (Vec::new(), vec![entry("a/-/readme", Some(("a", "2.0.0")), "words")]),
    ];
    let mut head = 4;
    for (deaths, births) in steps {
        head = catalog.commit(Commit { deaths, births, ..commit(&repo, "change") }).await.expect("changed");
        publish(&catalog, &repo, "b", &format!("1.{head}.0")).await;
    }
    let changed = |at| catalog.package_changed(repo.id, "a", Some(at));
    for since in 1..head {
        for at in since + 1..=head {
            let (Some(mut known), Some(now)) = (versions_at(&catalog, repo.id, since).await, versions_at(&catalog, repo.id, at).await) else { continue };
            let changes = catalog.changes(repo.id, "a", "full", since, Some(at)).await.expect("read");
            if changed(at).await.expect("read") <= Some(since) {
                assert_eq!((changes, known), (None, now), "{since} {at}");
                continue;
            }
            let changes = changes.expect("changes");
            changes.ended.iter().for_each(|version| drop(known.remove(version)));
            known.extend(changes.versions.into_iter().map(|record| (record.version, record.bytes)));
            assert_eq!(known, now, "{since} {at}");
        }
    }
    let changes = catalog.changes(repo.id, "a", "full", head - 1, None).await.expect("read").expect("changes");
    assert!(changes.versions.is_empty() && changes.ended.is_empty(), "only a file came: {changes:?}");
    for number in 0..50 {
        publish(&catalog, &repo, "a", &format!("4.{number}.0")).await;
    }
    let head = publish(&catalog, &repo, "a", "5.0.0").await;
    let changes = catalog.changes(repo.id, "a", "full", head - 1, None).await.expect("read").expect("changes");
    assert_eq!(changes.versions.iter().map(|record| record.version.as_str()).collect::<Vec<_>>(), ["5.0.0"], "no more is read than what came");
    assert!(changes.ended.is_empty() && changes.document.contains("5.0.0"), "{changes:?}");
    // What died before the horizon may be forgotten: nobody can say what became of a state before it.
    catalog.set_horizon(repo.id, head - 10).await.expect("forgotten");
    assert!(catalog.changes(repo.id, "a", "full", head - 11, None).await.expect("read").is_none());
    assert!(catalog.changes(repo.id, "a", "full", head - 10, None).await.expect("read").is_some());
}

async fn files_are_fragments_by_their_data(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    let with_data = |path: &str, text: &str, said: &str| {
        let mut row = entry(path, Some(("a", "1.0.0")), text);
        if let NewRow::Entry { data, .. } = &mut row {
            said.clone_into(data);
        }
        row
    };
    publish(&catalog, &repo, "a", "1.0.0").await;
    let births = vec![
        with_data("files/a/z", "z", "{1}"),
        with_data("files/a/b", "b", "{2}"),
        with_data("files/a/b.metadata", "m", ""),
        with_data("files/ab/c", "c", "{3}"),
    ];
    catalog.commit(Commit { births, ..commit(&repo, "upload") }).await.expect("uploaded");
    let births = vec![with_data("files/a/b", "b", "{2, yanked}")];
    catalog.commit(Commit { births, ..commit(&repo, "yank") }).await.expect("yanked");
    catalog.commit(Commit { deaths: vec![Death::Entry(String::from("files/a/z"))], ..commit(&repo, "delete") }).await.expect("deleted");
    for (at, wanted) in [(Some(1), ""), (Some(2), "b{2} z{1}"), (Some(3), "b{2, yanked} z{1}"), (None, "b{2, yanked}")] {
        let records = catalog.file_records(repo.id, "a", "files/a/", at).await.expect("read").expect("records");
        let found: Vec<String> = records.versions.iter().map(|record| record.version.clone() + &String::from_utf8_lossy(&record.bytes)).collect();
        assert_eq!(found.join(" "), wanted, "at {at:?}");
    }
    assert!(catalog.file_records(repo.id, "nothing", "files/nothing/", None).await.expect("read").is_none());
}

async fn listings_fold_folders(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    let paths = ["a", "b/1", "b/2/x", "b/2/y", "b/3", "b0", "c/1", "ä/1"];
    catalog.commit(Commit { births: paths.map(|path| entry(path, None, path)).to_vec(), ..commit(&repo, "upload") }).await.expect("uploaded");
    let list = async |prefix: &str, after: Option<&str>, limit, recursive| {
        let listing = Listing { prefix: prefix.to_owned(), after: after.map(str::to_owned), limit, recursive };
        let page = catalog.entries(repo.id, &listing, None).await.expect("listed");
        (page.items.iter().map(ListingItem::path).map(str::to_owned).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(list("", None, 10, false).await, (["a", "b/", "b0", "c/", "ä/"].map(str::to_owned).to_vec(), false));
    assert_eq!(list("b/", None, 10, false).await, (["b/1", "b/2/", "b/3"].map(str::to_owned).to_vec(), false));
    assert_eq!(list("", None, 2, false).await, (["a", "b/"].map(str::to_owned).to_vec(), true));
    assert_eq!(list("", Some("b/"), 2, false).await, (["b0", "c/"].map(str::to_owned).to_vec(), true));
    assert_eq!(list("b/", Some("b/1"), 2, true).await, (["b/2/x", "b/2/y"].map(str::to_owned).to_vec(), true));
    assert_eq!(list("nothing/", None, 10, true).await, (Vec::new(), false));
}

async fn search_finds_beginnings_of_words(catalog: Catalog) {
    let (one, two) = (repository(&catalog, "main/one").await, repository(&catalog, "main/two").await);
    for package in ["left-pad", "left-right", "other"] {
        publish(&catalog, &one, package, "1.0.0").await;
    }
    publish(&catalog, &two, "left-out", "1.0.0").await;
    let found = async |repositories: &[i64], text: &str, from, size| {
        let (items, total) = catalog.search(repositories, text, from, size).await.expect("searched");
        let mut names: Vec<String> = items.into_iter().map(|(_, package)| package.name).collect();
        names.sort();
        (names, total)
    };
    assert_eq!(found(&[one.id], "left", 0, 10).await, (vec![String::from("left-pad"), String::from("left-right")], 2));
    assert_eq!(found(&[one.id, two.id], "left", 0, 10).await.1, 3);
    assert_eq!(found(&[one.id], "sha left-p", 0, 10).await, (vec![String::from("left-pad")], 1), "all words must fit");
    assert_eq!(found(&[one.id], "eft", 0, 10).await.1, 0);
    assert_eq!(found(&[one.id], "left", 1, 10).await.0.len(), 1);
    assert_eq!(found(&[one.id], "%_'", 0, 10).await.1, 0);
    catalog.commit(Commit { deaths: vec![Death::Package(String::from("left-pad"))], ..commit(&one, "unpublish") }).await.expect("deleted");
    assert_eq!(found(&[one.id], "left", 0, 10).await.1, 1);
}

async fn accounts_and_policies_move_the_epoch(catalog: Catalog) {
    let mut seen = catalog.epoch().await.expect("epoch");
    let mut moved = async |what: &str| {
        let now = catalog.epoch().await.expect("epoch");
        assert!(now > seen, "{what} must move the epoch");
        seen = now;
    };
    let tags = Tags::from([(String::from("role"), [String::from("owner"), String::from("publisher")].into())]);
    let ann = catalog.create_principal(PrincipalKind::User, "ann", tags.clone(), Some(String::from("hash")), NOW).await.expect("made");
    moved("a user").await;
    assert!(matches!(catalog.create_principal(PrincipalKind::User, "ann", Tags::new(), None, NOW).await, Err(CatalogError::Conflict(_))));
    catalog.create_principal(PrincipalKind::Robot, "ann", Tags::new(), None, NOW).await.expect("a robot may have a user's name");
    assert_eq!(
        catalog.principal(PrincipalKind::User, "ann").await.expect("read").map(|row| (row.tags, row.password_hash)),
        Some((tags, Some(String::from("hash"))))
    );
    let token = TokenRow {
        id: String::from("t1"),
        principal: ann.id,
        name: String::from("ci"),
        secret_hash: vec![1, 2, 3],
        repositories: vec![String::from("main/*")],
        actions: vec![Action::Read],
        created: NOW,
        expires: Some(NOW.plus(1000)),
        revoked: None,
        workload: None,
    };
    catalog.create_token(token.clone()).await.expect("made");
    moved("a token").await;
    assert_eq!(catalog.token("t1").await.expect("read"), Some(token));
    assert!(catalog.revoke_token("t1", NOW).await.expect("revoked"));
    moved("a revocation").await;
    assert!(!catalog.revoke_token("unknown", NOW).await.expect("no such token"));
    let policy = PolicyRow { name: String::from("p"), text: String::from("permit (principal, action, resource);"), updated: NOW };
    catalog.put_policy(policy.clone()).await.expect("put");
    moved("a policy").await;
    assert_eq!(catalog.policies().await.expect("read"), vec![policy]);
    assert!(catalog.delete_policy("p").await.expect("deleted"));
    moved("its end").await;
    catalog.delete_principal(ann.id).await.expect("deleted");
    moved("a user's end").await;
    assert!(catalog.principal_by_id(ann.id).await.expect("read").is_none());
}

async fn small_tables_round_trip(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    let state = UpstreamState {
        key: String::from("/index/a"),
        url: String::from("https://registry.example/a"),
        etag: Some(String::from("\"1\"")),
        last_modified: None,
        checked: NOW,
        status: 200,
    };
    catalog.put_upstream_state(repo.id, state.clone()).await.expect("put");
    let newer = UpstreamState { checked: NOW.plus(5), etag: None, ..state };
    catalog.put_upstream_state(repo.id, newer.clone()).await.expect("put again");
    assert_eq!(catalog.upstream_state(repo.id, "/index/a").await.expect("read"), Some(newer));
    let key = |id: &str| KeyRow { id: id.to_owned(), purpose: String::from("sign/1"), public: vec![1], sealed: vec![2], created: NOW, expires: None };
    assert_eq!(catalog.put_key(key("k1")).await.expect("put").id, "k1");
    assert_eq!(catalog.put_key(key("k2")).await.expect("put").id, "k1", "the first one wins, so that replicas agree");
    let row = |number: i64| AuditRow {
        time: NOW.plus(number),
        principal: String::from("user:ann"),
        action: String::from("read"),
        resource: format!("main/{number}"),
        outcome: String::from("denied"),
        detail: String::new(),
        request_id: String::new(),
        remote: String::from("127.0.0.1"),
    };
    catalog.audit((0..5).map(row).collect()).await.expect("written");
    let filter = AuditFilter { limit: 2, ..AuditFilter::default() };
    let newest = catalog.audit_log(filter.clone()).await.expect("read");
    assert_eq!(newest.iter().map(|(_, row)| row.resource.as_str()).collect::<Vec<_>>(), ["main/4", "main/3"]);
    let rest = catalog.audit_log(AuditFilter { before: newest.last().map(|(id, _)| *id), limit: 10, ..filter }).await.expect("read");
    assert_eq!(rest.len(), 3);
    let one = catalog.audit_log(AuditFilter { resource: Some(String::from("main/2")), limit: 10, ..AuditFilter::default() }).await.expect("read");
    assert_eq!(one.len(), 1);
}

async fn repositories_come_and_go(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    publish(&catalog, &repo, "a", "1.0.0").await;
    assert!(matches!(catalog.delete_system(system("main")).await, Err(CatalogError::Conflict(_))), "a system with repositories stays");
    catalog.delete_repository(repo.id, NOW).await.expect("deleted");
    assert!(catalog.repositories().await.expect("listed").is_empty());
    let again = repository(&catalog, "main/one").await;
    assert_ne!(again.id, repo.id);
    assert_eq!(catalog.head(again.id).await.expect("head").0, 0, "the name is free, and the new one is empty");
    assert!(catalog.package(again.id, "a", None).await.expect("read").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_survives_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("catalog.db");
    let catalog = Catalog::open_sqlite(&file).await.expect("opened");
    let repo = repository(&catalog, "main/one").await;
    publish(&catalog, &repo, "a", "1.0.0").await;
    drop(catalog);
    let catalog = Catalog::open_sqlite(&file).await.expect("opened again");
    assert_eq!(catalog.repositories().await.expect("listed").first().map(|row| row.head), Some(1));
    assert!(catalog.records(repo.id, "a", "full", None).await.expect("read").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_writes_are_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("catalog.db");
    let (one, other) = (Catalog::open_sqlite(&file).await.expect("opened"), Catalog::open_sqlite(&file).await.expect("opened"));
    let before = one.data_version().await.expect("read");
    repository(&other, "main/one").await;
    assert_ne!(one.data_version().await.expect("read"), before);
}
