//! Commits: all or nothing, numbered without gaps, undone by restoring.

use entrepot_kit::{Death, Precondition, Sha256Digest};

use super::{commit, entry, on_both, publish, release, repository};
use crate::store::catalog::Catalog;
use crate::store::model::{CatalogError, Commit, NewRow};

on_both!(a_refused_change_changes_nothing, revisions_have_no_gaps, what_was_deleted_comes_back, deletions_take_what_belongs_to_them, fills_make_no_revision);

async fn a_refused_change_changes_nothing(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    assert_eq!(publish(&catalog, &repo, "a", "1.0.0").await, 1);
    let digest = Sha256Digest::of(b"something else");
    let refusals = [
        Precondition::VersionNew { package: String::from("a"), version: String::from("1.0.0") },
        Precondition::PackageAt { package: String::from("a"), revision: 0 },
        Precondition::PackageAt { package: String::from("b"), revision: 1 },
        Precondition::EntryAbsent(String::from("a/-/1.0.0.tgz")),
        Precondition::EntryIs { path: String::from("a/-/1.0.0.tgz"), digest },
        Precondition::EntryIs { path: String::from("nothing"), digest },
    ];
    for precondition in refusals {
        let change = Commit {
            preconditions: vec![precondition.clone()],
            deaths: vec![Death::Package(String::from("a"))],
            births: release("b", "1.0.0"),
            ..commit(&repo, "x")
        };
        assert!(matches!(catalog.commit(change).await, Err(CatalogError::Conflict(_))), "{precondition:?}");
    }
    assert_eq!(catalog.head(repo.id).await.expect("head").0, 1);
    assert!(catalog.package(repo.id, "b", None).await.expect("read").is_none());
    assert!(catalog.package(repo.id, "a", None).await.expect("read").is_some());
    assert_eq!(catalog.history(repo.id, None, 10).await.expect("history").len(), 1);
    let allowed = Commit {
        preconditions: vec![Precondition::PackageAt { package: String::from("a"), revision: 1 }],
        births: release("a", "2.0.0"),
        ..commit(&repo, "publish")
    };
    assert_eq!(catalog.commit(allowed).await.expect("what holds is no obstacle"), 2);
}

async fn revisions_have_no_gaps(catalog: Catalog) {
    let repos = [repository(&catalog, "main/one").await, repository(&catalog, "main/two").await];
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        for number in 0..12 {
            let (catalog, repo) = (catalog.clone(), repos[writer % 2].clone());
            writers.spawn(async move {
                let mut births = release(&format!("p{}", writer / 2), &format!("{writer}.{number}.0"));
                births.push(entry(&format!("contended/{}", number % 3), None, &format!("{writer} {number}")));
                catalog.commit(Commit { births, ..commit(&repo, "publish") }).await.expect("committed")
            });
        }
    }
    writers.join_all().await;
    for repo in &repos {
        let (head, _) = catalog.head(repo.id).await.expect("head");
        assert_eq!(head, 48);
        let history = catalog.history(repo.id, None, 100).await.expect("history");
        let numbers: Vec<u64> = history.iter().map(|row| row.number).collect();
        assert_eq!(numbers, (1..=48).rev().collect::<Vec<_>>());
        assert!(history.windows(2).all(|pair| pair[0].time > pair[1].time), "a revision's time is later than its predecessor's");
        assert_eq!(
            catalog
                .entries(repo.id, &entrepot_kit::Listing { prefix: String::from("contended/"), after: None, limit: 10, recursive: true }, None)
                .await
                .expect("listed")
                .items
                .len(),
            3
        );
    }
}

async fn what_was_deleted_comes_back(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    for version in ["1.0.0", "2.0.0"] {
        publish(&catalog, &repo, "a", version).await;
    }
    let version = || Death::Version { package: String::from("a"), version: String::from("1.0.0") };
    catalog.commit(Commit { deaths: vec![version()], ..commit(&repo, "unpublish") }).await.expect("deleted");
    assert!(!catalog.version(repo.id, "a", "1.0.0").await.expect("read").expect("its name stays taken").live);
    assert!(catalog.entry(repo.id, "a/-/1.0.0.tgz", None).await.expect("read").is_none());
    let restore = NewRow::RestoredVersion { package: String::from("a"), version: String::from("1.0.0") };
    catalog.commit(Commit { births: vec![restore.clone()], ..commit(&repo, "restore") }).await.expect("restored");
    let entry = catalog.entry(repo.id, "a/-/1.0.0.tgz", None).await.expect("read").expect("the file is back");
    assert_eq!(entry.inline.as_deref(), Some(&b"bytes of 1.0.0"[..]));
    let records = catalog.records(repo.id, "a", "full", None).await.expect("read").expect("records");
    assert_eq!(records.versions.len(), 2, "with its fragments");
    assert!(catalog.commit(Commit { births: vec![restore], ..commit(&repo, "restore") }).await.is_err(), "there is nothing left to restore");
    catalog.commit(Commit { deaths: vec![Death::Package(String::from("a"))], ..commit(&repo, "unpublish") }).await.expect("deleted");
    assert!(catalog.package(repo.id, "a", None).await.expect("read").is_none());
    assert!(catalog.package_known(repo.id, "a").await.expect("read"), "a deleted package's name stays known");
    catalog.commit(Commit { births: vec![NewRow::RestoredPackage { package: String::from("a") }], ..commit(&repo, "restore") }).await.expect("restored");
    let records = catalog.records(repo.id, "a", "full", None).await.expect("read").expect("records");
    assert_eq!((records.versions.len(), records.document.as_str()), (2, "{\"latest\":\"2.0.0\"}"));
    catalog.commit(Commit { deaths: vec![Death::Entry(String::from("a/-/2.0.0.tgz"))], ..commit(&repo, "delete") }).await.expect("deleted");
    catalog.commit(Commit { births: vec![NewRow::RestoredEntry { path: String::from("a/-/2.0.0.tgz") }], ..commit(&repo, "restore") }).await.expect("restored");
    assert!(catalog.entry(repo.id, "a/-/2.0.0.tgz", None).await.expect("read").is_some());
}

async fn deletions_take_what_belongs_to_them(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    publish(&catalog, &repo, "a", "1.0.0").await;
    publish(&catalog, &repo, "ab", "1.0.0").await;
    let births = ["f/1", "f/2/3", "f0", "g/f/1"].map(|path| entry(path, None, path)).to_vec();
    catalog.commit(Commit { births, ..commit(&repo, "upload") }).await.expect("uploaded");
    catalog
        .commit(Commit { deaths: vec![Death::Folder(String::from("f/")), Death::Package(String::from("a"))], ..commit(&repo, "delete") })
        .await
        .expect("deleted");
    for (path, lives) in [("f/1", false), ("f/2/3", false), ("f0", true), ("g/f/1", true), ("a/-/1.0.0.tgz", false), ("ab/-/1.0.0.tgz", true)] {
        assert_eq!(catalog.entry(repo.id, path, None).await.expect("read").is_some(), lives, "{path}");
    }
}

async fn fills_make_no_revision(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    catalog.keep(repo.id, entry("kept", None, "first"), super::NOW).await.expect("kept");
    catalog.keep(repo.id, entry("kept", None, "second"), super::NOW).await.expect("the one that is there wins, quietly");
    assert_eq!(catalog.head(repo.id).await.expect("head").0, 0);
    for at in [None, Some(0)] {
        let stored = catalog.entry(repo.id, "kept", at).await.expect("read").expect("there in every view");
        assert_eq!((stored.born, stored.inline.as_deref()), (0, Some(&b"first"[..])));
    }
}
