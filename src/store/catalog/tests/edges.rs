//! The corners: what is replaced, moved, fetched again, restored in parts; and what must not disturb its neighbours.

use diesel::prelude::*;
use entrepot_kit::{Death, Listing, ListingItem, Precondition, Timestamp};

use super::server::fresh_database;
use super::{NOW, blob, commit, entry, on_both, publish, release, repository, system};
use crate::store::catalog::Catalog;
use crate::store::catalog::postgres::Conn;
use crate::store::model::{CatalogError, Commit, NewBlob, NewRow};

on_both!(
    a_file_that_is_fetched_again_has_a_gap_in_its_past,
    of_two_states_in_one_revision_the_last_is_kept,
    times_of_publication_are_kept_with_what_they_belong_to,
    blobs_move_between_paths,
    deleted_versions_are_listed_until_they_come_back,
    a_version_brings_its_deleted_package_back,
    refused_changes_do_not_hurt_their_neighbours,
    wide_and_deep_folders_are_folded,
    names_have_a_longest,
    rows_of_deleted_repositories_are_removed,
);

fn later(row: Commit, milliseconds: i64) -> Commit {
    Commit { now: NOW.plus(milliseconds), ..row }
}

async fn a_file_that_is_fetched_again_has_a_gap_in_its_past(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    catalog.keep(repo.id, entry("f", None, "first"), NOW).await.expect("kept");
    catalog.commit(Commit { births: vec![entry("other", None, "x")], ..commit(&repo, "upload") }).await.expect("revision 1");
    catalog.commit(Commit { deaths: vec![Death::Entry(String::from("f"))], ..commit(&repo, "delete") }).await.expect("revision 2");
    assert!(catalog.entry(repo.id, "f", None).await.expect("read").is_none());
    catalog.keep(repo.id, entry("f", None, "second"), NOW).await.expect("kept again");
    for (at, text) in [(Some(0), "first"), (Some(1), "first"), (Some(2), "second"), (None, "second")] {
        let stored = catalog.entry(repo.id, "f", at).await.expect("read").expect("a file");
        assert_eq!(stored.inline.as_deref(), Some(text.as_bytes()), "at {at:?}");
    }
}

async fn of_two_states_in_one_revision_the_last_is_kept(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    let mut births = release("a", "1.0.0");
    births.extend(release("a", "1.0.0"));
    births.push(entry("a/-/1.0.0.tgz", Some(("a", "1.0.0")), "the last"));
    births.push(NewRow::Package { package: String::from("a"), document: String::from("{}"), terms: vec![String::from("new")] });
    assert_eq!(catalog.commit(Commit { births, ..commit(&repo, "publish") }).await.expect("committed"), 1);
    let records = catalog.records(repo.id, "a", "full", None).await.expect("read").expect("records");
    assert_eq!((records.versions.len(), records.deleted.len(), records.document.as_str()), (1, 0, "{}"));
    assert_eq!(catalog.version_history(repo.id, "a", 10).await.expect("read").len(), 1);
    assert_eq!(catalog.entry(repo.id, "a/-/1.0.0.tgz", None).await.expect("read").and_then(|stored| stored.inline).as_deref(), Some(&b"the last"[..]));
    assert_eq!(catalog.search(&[repo.id], "new", 0, 10).await.expect("searched").1, 1);
    assert_eq!(catalog.search(&[repo.id], "shared", 0, 10).await.expect("searched").1, 0, "terms of a replaced state find nothing");
}

async fn times_of_publication_are_kept_with_what_they_belong_to(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    publish(&catalog, &repo, "a", "1.0.0").await;
    publish(&catalog, &repo, "a", "2.0.0").await;
    catalog.commit(later(Commit { births: release("a", "1.0.0"), ..commit(&repo, "deprecate") }, 5000)).await.expect("again");
    let versions = catalog.versions(repo.id, "a").await.expect("read");
    assert_eq!(versions.iter().map(|state| state.version.as_str()).collect::<Vec<_>>(), ["1.0.0", "2.0.0"], "in the order of first publication");
    let package = catalog.package(repo.id, "a", None).await.expect("read").expect("a package");
    assert_eq!((versions[0].published, package.created, package.modified), (NOW, NOW, NOW.plus(5000)));
    let before = catalog.package(repo.id, "a", Some(2)).await.expect("read").expect("a package");
    assert_eq!((before.changed, before.modified), (2, NOW.plus(1)));
    // The file's bytes are the same: clients who ask whether it changed since are told no.
    let created = async || catalog.entry(repo.id, "a/-/1.0.0.tgz", None).await.expect("read").expect("a file").entry.created;
    assert_eq!(created().await, NOW);
    let births = vec![entry("a/-/1.0.0.tgz", Some(("a", "1.0.0")), "other bytes")];
    catalog.commit(later(Commit { births, ..commit(&repo, "overwrite") }, 9000)).await.expect("overwritten");
    assert_eq!(created().await, NOW.plus(9000));
    assert_eq!(catalog.package_changed(repo.id, "a", None).await.expect("read"), Some(4), "a file is part of its package");
}

async fn blobs_move_between_paths(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    catalog.commit(Commit { births: vec![entry("old", None, "text")], ..commit(&repo, "upload") }).await.expect("uploaded");
    let moved = |from: &str| {
        let NewRow::Entry { package, version, content_type, data, .. } = entry("new", None, "") else { unreachable!() };
        vec![NewRow::Entry { path: String::from("new"), package, version, blob: NewBlob::Entry(from.to_owned()), content_type, data }]
    };
    let change = Commit { deaths: vec![Death::Entry(String::from("old"))], births: moved("old"), ..commit(&repo, "move") };
    catalog.commit(change).await.expect("moved");
    assert!(catalog.entry(repo.id, "old", None).await.expect("read").is_none());
    assert_eq!(catalog.entry(repo.id, "new", None).await.expect("read").and_then(|stored| stored.inline).as_deref(), Some(&b"text"[..]));
    let refused = catalog.commit(Commit { births: moved("old"), ..commit(&repo, "move") }).await;
    assert!(matches!(refused, Err(CatalogError::Conflict(_))), "{refused:?}");
}

async fn deleted_versions_are_listed_until_they_come_back(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    for version in ["1.0.0", "2.0.0"] {
        publish(&catalog, &repo, "a", version).await;
    }
    // A new state of a version is no deletion of it.
    publish(&catalog, &repo, "a", "1.0.0").await;
    catalog
        .commit(Commit { deaths: vec![Death::Version { package: String::from("a"), version: String::from("1.0.0") }], ..commit(&repo, "unpublish") })
        .await
        .expect("deleted");
    publish(&catalog, &repo, "a", "1.0.0").await;
    let at = async |at: Option<u64>| {
        let records = catalog.records(repo.id, "a", "full", at).await.expect("read").expect("records");
        let live = records.versions.into_iter().map(|record| record.version).collect::<Vec<_>>().join(" ");
        (live, records.deleted.into_iter().map(|(version, _)| version).collect::<Vec<_>>().join(" "), records.stamp)
    };
    let texts = |live: &str, deleted: &str, stamp: &str| (live.to_owned(), deleted.to_owned(), stamp.to_owned());
    assert_eq!(at(Some(2)).await, texts("1.0.0 2.0.0", "", "2"));
    assert_eq!(at(Some(3)).await, texts("1.0.0 2.0.0", "", "3"));
    assert_eq!(at(Some(4)).await, texts("2.0.0", "1.0.0", "4"));
    assert_eq!(at(None).await, texts("2.0.0 1.0.0", "", "5"), "what is published anew is the newest");
    let versions = catalog.versions(repo.id, "a").await.expect("read");
    assert_eq!(versions.iter().map(|state| (state.version.as_str(), state.live)).collect::<Vec<_>>(), [("2.0.0", true), ("1.0.0", true)]);
}

async fn a_version_brings_its_deleted_package_back(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    for version in ["1.0.0", "2.0.0"] {
        publish(&catalog, &repo, "a", version).await;
    }
    catalog.commit(Commit { deaths: vec![Death::Package(String::from("a"))], ..commit(&repo, "unpublish") }).await.expect("deleted");
    let births = vec![NewRow::RestoredVersion { package: String::from("a"), version: String::from("2.0.0") }];
    catalog.commit(Commit { births, ..commit(&repo, "restore") }).await.expect("restored");
    let records = catalog.records(repo.id, "a", "full", None).await.expect("read").expect("records");
    assert_eq!(records.versions.iter().map(|record| (record.version.as_str(), &record.bytes[..])).collect::<Vec<_>>(), [("2.0.0", &b"a@2.0.0"[..])]);
    assert_eq!(records.deleted.iter().map(|(version, _)| version.as_str()).collect::<Vec<_>>(), ["1.0.0"]);
    assert!(catalog.entry(repo.id, "a/-/1.0.0.tgz", None).await.expect("read").is_none());
    assert!(catalog.entry(repo.id, "a/-/2.0.0.tgz", None).await.expect("read").is_some());
    assert_eq!(catalog.search(&[repo.id], "a", 0, 10).await.expect("searched").1, 1);
    for (row, missing) in [
        (NewRow::RestoredPackage { package: String::from("a") }, false),
        (NewRow::RestoredPackage { package: String::from("b") }, true),
        (NewRow::RestoredVersion { package: String::from("a"), version: String::from("9.9.9") }, true),
        (NewRow::RestoredEntry { path: String::from("nothing") }, true),
    ] {
        let refused = catalog.commit(Commit { births: vec![row.clone()], ..commit(&repo, "restore") }).await;
        let fits = if missing { matches!(refused, Err(CatalogError::NotFound(_))) } else { matches!(refused, Err(CatalogError::Conflict(_))) };
        assert!(fits, "{row:?}: {refused:?}");
    }
}

async fn refused_changes_do_not_hurt_their_neighbours(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (catalog, repo) = (catalog.clone(), repo.clone());
        writers.spawn(async move {
            // Each pair wants the same path: one of them gets it, the other has written a row by then that must go.
            let path = format!("path/{}", number / 2);
            let births = vec![
                entry(&format!("by/{number}"), None, "x"),
                NewRow::Entry { path: path.clone(), package: None, version: None, blob: blob(&number.to_string()), content_type: None, data: String::new() },
            ];
            let change = Commit { preconditions: vec![Precondition::EntryAbsent(path)], births, ..commit(&repo, "upload") };
            match catalog.commit(change).await {
                Ok(_) => true,
                Err(CatalogError::Conflict(_)) => false,
                Err(other) => panic!("{other:?}"),
            }
        });
    }
    assert_eq!(writers.join_all().await.into_iter().filter(|taken| *taken).count(), 20);
    assert_eq!(catalog.head(repo.id).await.expect("head").0, 20);
    let listing = |prefix: &str| Listing { prefix: prefix.to_owned(), after: None, limit: 100, recursive: true };
    for prefix in ["path/", "by/"] {
        assert_eq!(catalog.entries(repo.id, &listing(prefix), None).await.expect("listed").items.len(), 20, "{prefix}");
    }
}

async fn wide_and_deep_folders_are_folded(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    let mut births: Vec<NewRow> = (0..150).map(|number| entry(&format!("deep/{number:03}/f"), None, "x")).collect();
    births.extend((0..150).map(|number| entry(&format!("wide-{number:03}"), None, "x")));
    births.extend(["deep-1", "deep.txt", "deep0", "deep/150"].map(|path| entry(path, None, "x")));
    catalog.commit(Commit { births, ..commit(&repo, "upload") }).await.expect("uploaded");
    catalog.commit(Commit { deaths: vec![Death::Folder(String::from("deep/"))], ..commit(&repo, "delete") }).await.expect("deleted");
    let all = async |at: Option<u64>, prefix: &str, limit: usize| {
        let mut listing = Listing { prefix: prefix.to_owned(), after: None, limit, recursive: false };
        let mut paths = Vec::new();
        loop {
            let page = catalog.entries(repo.id, &listing, at).await.expect("listed");
            paths.extend(page.items.iter().map(ListingItem::path).map(str::to_owned));
            listing.after = paths.last().cloned();
            if !page.more {
                return paths;
            }
            assert_eq!(page.items.len(), limit);
        }
    };
    let mut expected: Vec<String> = ["deep-1", "deep.txt", "deep/", "deep0"].map(str::to_owned).to_vec();
    expected.extend((0..150).map(|number| format!("wide-{number:03}")));
    for limit in [1, 3, 64, 65, 1000] {
        assert_eq!(all(Some(1), "", limit).await, expected, "in pages of {limit}");
    }
    assert_eq!(all(Some(1), "deep/", 100).await.len(), 151);
    expected.remove(2);
    assert_eq!(all(None, "", 100).await, expected);
    assert_eq!(all(None, "deep/", 100).await, Vec::<String>::new());
}

async fn names_have_a_longest(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    // Not to be compressed away: an index of PostgreSQL takes 2,700 bytes of a row.
    let noise = |length: usize| {
        let digests = (0..length / 64 + 1).map(|number| entrepot_kit::Sha256Digest::of(&number.to_le_bytes()).hex());
        digests.collect::<String>().get(..length).expect("long enough").to_owned()
    };
    for (length, fits) in [(2000, true), (2001, false)] {
        let outcome = catalog.commit(Commit { births: vec![entry(&noise(length), None, "x")], ..commit(&repo, "upload") }).await;
        assert_eq!(outcome.is_ok(), fits, "{length}: {outcome:?}");
        let package = NewRow::Package { package: noise(length), document: String::from("{}"), terms: vec![noise(length)] };
        let outcome = catalog.commit(Commit { births: vec![package], ..commit(&repo, "publish") }).await;
        assert_eq!(outcome.is_ok(), fits, "{length}: {outcome:?}");
        let outcome = catalog.keep(repo.id, entry(&noise(length), None, "x"), Timestamp(0)).await;
        assert_eq!(outcome.is_ok(), fits, "{length}: {outcome:?}");
    }
}

async fn rows_of_deleted_repositories_are_removed(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    for number in 0..3 {
        publish(&catalog, &repo, &format!("p{number}"), "1.0.0").await;
    }
    catalog.delete_repository(repo.id, NOW).await.expect("deleted");
    let refused = catalog.commit(Commit { births: release("a", "1.0.0"), ..commit(&repo, "publish") }).await;
    assert!(matches!(refused, Err(CatalogError::NotFound(_))), "{refused:?}");
    // A system can go only when nothing of its repositories is left: references in the database see to that.
    catalog.delete_system(system("main")).await.expect("what is left is removed first");
    assert!(matches!(catalog.delete_system(system("main")).await, Err(CatalogError::NotFound(_))));
    let (_kept, gone) = (repository(&catalog, "second/kept").await, repository(&catalog, "second/gone").await);
    publish(&catalog, &gone, "a", "1.0.0").await;
    catalog.delete_repository(gone.id, NOW).await.expect("deleted");
    let refused = catalog.delete_system(system("second")).await;
    assert!(matches!(&refused, Err(CatalogError::Conflict(message)) if message.contains("first: there are 1")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_closed_cost_no_change() {
    let url = tokio::task::spawn_blocking(fresh_database).await.expect("a database");
    let catalog = Catalog::open_postgres(&url).await.expect("opened");
    let repo = repository(&catalog, "main/one").await;
    for expected in 1..=3 {
        let url = url.clone();
        let close = move || {
            let mut connection = Conn::establish(&url).expect("connected");
            let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
            diesel::sql_query(others).execute(&mut connection).expect("closed")
        };
        assert!(tokio::task::spawn_blocking(close).await.expect("closed") > 0, "there were connections to close");
        assert_eq!(catalog.head(repo.id).await.expect("a question is asked again").0, expected - 1);
        assert_eq!(publish(&catalog, &repo, "a", &format!("{expected}.0.0")).await, expected);
    }
}
