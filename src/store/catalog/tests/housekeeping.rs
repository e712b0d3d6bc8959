//! What housekeeping asks and does: use, facts, forgetting, sums, and what comes back.

use entrepot_kit::{Death, Sha256Digest, Timestamp};

use super::{NOW, blob, commit, entry, on_both, publish, repository, system};
use crate::store::catalog::Catalog;
use crate::store::facts::{Forgetting, Forgotten, PathPulls, Pulls};
use crate::store::model::{CatalogError, Commit, HOUSEKEEPING, NewRow, RepositoryRow};

on_both!(
    uses_are_added_up,
    facts_of_a_package_are_whole,
    the_past_is_forgotten_and_names_stay_taken,
    names_that_may_be_used_again_leave_nothing,
    what_housekeeping_ended_comes_back_when_it_is_counted_on,
    what_a_repository_has_is_added_up_once_for_each_blob,
    evicted_files_leave_no_trace,
    systems_have_quotas,
);

const DAY: i64 = 24 * 3600 * 1000;

fn used(repository: &RepositoryRow, path: &str, last: i64, downloads: u64) -> PathPulls {
    PathPulls { repository: repository.id, path: path.to_owned(), pulls: Pulls { last: Timestamp(last), downloads } }
}

fn file(path: &str, text: &str) -> NewRow {
    NewRow::Entry { path: path.to_owned(), package: None, version: None, blob: blob(text), content_type: None, data: String::new() }
}

async fn kill(catalog: &Catalog, repo: &RepositoryRow, action: &str, now: Timestamp, death: Death) -> u64 {
    catalog.commit(Commit { now, deaths: vec![death], ..commit(repo, action) }).await.expect("ended")
}

fn gone(package: &str, version: &str) -> Death {
    Death::Version { package: package.to_owned(), version: version.to_owned() }
}

async fn forget(catalog: &Catalog, what: Forgetting) -> Forgotten {
    let counted = catalog.count_forgettable(what).await.expect("counted");
    catalog.set_horizon(what.repository, what.died).await.expect("moved");
    let mut all = Forgotten::default();
    loop {
        // Few at once, so that there are several slices.
        let mut rows = catalog.forgettable(what, 3).await.expect("found");
        let Some(mut slice) = rows.take(2) else {
            assert_eq!(all, counted, "what is counted is what is forgotten");
            return all;
        };
        all += catalog.forget(slice.clone()).await.expect("forgotten");
        while let Some(next) = rows.take(2) {
            slice = next;
            all += catalog.forget(slice.clone()).await.expect("forgotten");
        }
        assert_eq!(catalog.forget(slice).await.expect("asked").entries, 0, "once is enough");
    }
}

async fn uses_are_added_up(catalog: Catalog) {
    let (repo, deleted) = (repository(&catalog, "main/one").await, repository(&catalog, "main/two").await);
    publish(&catalog, &repo, "p", "1.0.0").await;
    let path = "p/-/1.0.0.tgz";
    catalog.add_pulls(vec![used(&repo, path, 5, 2), used(&repo, "q", 5, 1)]).await.expect("noted");
    // Another replica, with an older look at it; and a repository that is gone by now.
    catalog.delete_repository(deleted.id, NOW).await.expect("deleted");
    catalog.add_pulls(vec![used(&repo, path, 3, 4), used(&deleted, "x", 9, 9)]).await.expect("noted");
    let told = catalog.package_pulls(repo.id, "p").await.expect("read");
    assert_eq!(told, [(Some(String::from("1.0.0")), Sha256Digest::of(b"bytes of 1.0.0"), Pulls { last: Timestamp(5), downloads: 6 })]);
    assert_eq!(catalog.version_blobs(repo.id, "p").await.expect("read").len(), 1);
    assert_eq!(catalog.forget_pulls(repo.id, 10).await.expect("forgotten"), 1, "nothing is at q");
    assert_eq!(catalog.forget_pulls(repo.id, 10).await.expect("forgotten"), 0);
    assert!(catalog.pulls_since().await.expect("read").0 > 1_600_000_000_000);
    catalog.delete_repository(repo.id, NOW).await.expect("deleted");
    catalog.purge().await.expect("no row is in its way");
}

async fn facts_of_a_package_are_whole(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    publish(&catalog, &repo, "p", "1.0.0").await;
    publish(&catalog, &repo, "p", "2.0.0").await;
    publish(&catalog, &repo, "other", "1.0.0").await;
    let ended = kill(&catalog, &repo, "delete", NOW.plus(DAY), gone("p", "1.0.0")).await;
    catalog.add_pulls(vec![used(&repo, "p/-/2.0.0.tgz", 5, 2)]).await.expect("noted");
    let facts = catalog.package_facts(repo.id, "p", 10).await.expect("read").expect("facts");
    assert_eq!((facts.changed, facts.versions.len(), facts.entries.len(), facts.too_many), (ended, 1, 1, false));
    let entry = facts.entries.first().expect("an entry");
    assert_eq!((entry.path.as_str(), entry.version.as_deref(), entry.size), ("p/-/2.0.0.tgz", Some("2.0.0"), 14));
    assert_eq!(entry.pulls, Some(Pulls { last: Timestamp(5), downloads: 2 }));
    assert_eq!(facts.released, [(Sha256Digest::of(b"bytes of 1.0.0"), NOW.plus(DAY))]);
    assert!(catalog.package_facts(repo.id, "none", 10).await.expect("read").is_none());
    assert!(catalog.package_facts(repo.id, "p", 0).await.expect("read").expect("facts").too_many);
    let files = catalog.file_facts(repo.id, "", 2).await.expect("read");
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["other/-/1.0.0.tgz", "p/-/2.0.0.tgz"]);
}

async fn the_past_is_forgotten_and_names_stay_taken(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        publish(&catalog, &repo, "p", version).await;
    }
    for version in ["1.0.0", "2.0.0"] {
        kill(&catalog, &repo, "delete", NOW, gone("p", version)).await;
    }
    let died = catalog.head(repo.id).await.expect("read").0;
    let later = kill(&catalog, &repo, "delete", NOW.plus(DAY), gone("p", "3.0.0")).await;
    let forgotten = forget(&catalog, Forgetting { repository: repo.id, died, named: died, reuses_versions: false }).await;
    assert_eq!((forgotten.entries, forgotten.versions, forgotten.documents), (2, 2, 2));
    let rows = catalog.repositories().await.expect("read");
    assert_eq!(rows.first().map(|row| row.horizon), Some(died));
    assert!(!catalog.set_horizon(repo.id, 1).await.expect("asked"), "it never goes back");
    // Bytes that only the past named are garbage now.
    let unnamed: Vec<_> = catalog.blob_stretch(None, 100).await.expect("read").unnamed.into_iter().map(|blob| blob.digest).collect();
    let mut expected = vec![Sha256Digest::of(b"bytes of 1.0.0"), Sha256Digest::of(b"bytes of 2.0.0")];
    expected.sort();
    assert_eq!(unnamed, expected);
    // The view at the horizon is what it was.
    assert!(catalog.entry(repo.id, "p/-/3.0.0.tgz", Some(died)).await.expect("read").is_some());
    // The names stay taken; what was forgotten does not come back, what was not does.
    let new = entrepot_kit::Precondition::VersionNew { package: String::from("p"), version: String::from("1.0.0") };
    let refused = catalog.commit(Commit { preconditions: vec![new], ..commit(&repo, "publish") }).await;
    assert!(matches!(refused, Err(CatalogError::Conflict(_))), "{refused:?}");
    let restore = |version: &str| {
        let births = vec![NewRow::RestoredVersion { package: String::from("p"), version: version.to_owned() }];
        catalog.commit(Commit { births, ..commit(&repo, "restore") })
    };
    assert!(matches!(restore("1.0.0").await, Err(CatalogError::NotFound(text)) if text.contains("forgotten")));
    assert!(restore("3.0.0").await.expect("restored") > later);
    assert_eq!(catalog.versions(repo.id, "p").await.expect("read").len(), 3);
}

async fn names_that_may_be_used_again_leave_nothing(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    for version in ["1.0.0", "2.0.0"] {
        publish(&catalog, &repo, "p", version).await;
        kill(&catalog, &repo, "delete", NOW, gone("p", version)).await;
    }
    let died = catalog.head(repo.id).await.expect("read").0;
    // Paths of versions tell when bytes lost their name: they stay longer.
    let forgotten = forget(&catalog, Forgetting { repository: repo.id, died, named: 2, reuses_versions: true }).await;
    assert_eq!((forgotten.entries, forgotten.versions), (1, 2));
    assert!(catalog.versions(repo.id, "p").await.expect("read").is_empty());
    assert_eq!(forget(&catalog, Forgetting { repository: repo.id, died, named: died, reuses_versions: true }).await.entries, 1);
}

async fn what_housekeeping_ended_comes_back_when_it_is_counted_on(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    for path in ["lives", "tidied", "tidied long ago", "deleted"] {
        catalog.commit(Commit { births: vec![file(path, path)], ..commit(&repo, "publish") }).await.expect("stored");
    }
    kill(&catalog, &repo, HOUSEKEEPING, NOW, Death::Entry(String::from("tidied long ago"))).await;
    kill(&catalog, &repo, HOUSEKEEPING, NOW.plus(2 * DAY), Death::Entry(String::from("tidied"))).await;
    kill(&catalog, &repo, "delete", NOW.plus(2 * DAY), Death::Entry(String::from("deleted"))).await;
    let count_on = |path: &str| {
        let births = vec![NewRow::EntryAgain { path: path.to_owned() }];
        catalog.commit(Commit { now: NOW.plus(2 * DAY + 1000), births, ..commit(&repo, "publish") })
    };
    let born = async |path: &str| catalog.entry(repo.id, path, None).await.expect("read").map(|stored| stored.born);
    let before = born("lives").await;
    count_on("lives").await.expect("it lives");
    assert_eq!(born("lives").await, before);
    let back = count_on("tidied").await.expect("it comes back");
    assert_eq!(born("tidied").await, Some(back));
    for path in ["tidied long ago", "deleted", "never there"] {
        assert!(matches!(count_on(path).await, Err(CatalogError::Conflict(_))), "{path}");
    }
}

async fn what_a_repository_has_is_added_up_once_for_each_blob(catalog: Catalog) {
    let (repo, other) = (repository(&catalog, "main/one").await, repository(&catalog, "main/two").await);
    for (path, text) in [("a", "same"), ("b", "same"), ("c", "same"), ("d", "four"), ("e", "eleven byte"), ("f", "gone")] {
        catalog.commit(Commit { births: vec![file(path, text)], ..commit(&repo, "publish") }).await.expect("stored");
    }
    catalog.commit(Commit { births: vec![file("a", "elsewhere")], ..commit(&other, "publish") }).await.expect("stored");
    kill(&catalog, &repo, "delete", NOW, Death::Entry(String::from("f"))).await;
    for limit in [1, 2, 3, 100] {
        let (mut blobs, mut bytes, mut after) = (0, 0, None);
        loop {
            let stretch = catalog.held_stretch(repo.id, after, limit).await.expect("read");
            blobs += stretch.blobs;
            bytes += stretch.bytes;
            let Some(last) = stretch.last else { break };
            after = Some(last);
        }
        assert_eq!((blobs, bytes), (3, 4 + 4 + 11), "in stretches of {limit}");
    }
    let asked = ["same", "gone", "elsewhere"].map(|text| Sha256Digest::of(text.as_bytes()));
    assert_eq!(catalog.held_of(repo.id, asked.to_vec()).await.expect("read"), [asked[0]]);
}

async fn evicted_files_leave_no_trace(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    for path in ["kept", "index"] {
        catalog.keep(repo.id, entry(path, None, path), NOW).await.expect("kept");
    }
    let deaths = vec![Death::Entry(String::from("kept")), Death::Entry(String::from("index"))];
    let revision = catalog.commit(Commit { deaths, ..commit(&repo, HOUSEKEEPING) }).await.expect("ended");
    catalog.forget_evicted(repo.id, revision, vec![String::from("kept")]).await.expect("forgotten");
    assert!(catalog.entry(repo.id, "kept", Some(0)).await.expect("read").is_none());
    assert!(catalog.entry(repo.id, "index", Some(0)).await.expect("read").is_some());
    catalog.keep(repo.id, entry("kept", None, "kept"), NOW).await.expect("kept again");
    assert!(catalog.entry(repo.id, "kept", None).await.expect("read").is_some());
}

async fn systems_have_quotas(catalog: Catalog) {
    repository(&catalog, "main/one").await;
    let quota = async || catalog.systems().await.expect("read").remove(0).quota_bytes;
    let epoch = catalog.epoch().await.expect("read");
    assert_eq!(quota().await, None);
    catalog.set_system_quota(system("main"), Some(1 << 40)).await.expect("set");
    assert_eq!(quota().await, Some(1 << 40));
    assert!(catalog.epoch().await.expect("read") > epoch);
    catalog.set_system_quota(system("main"), None).await.expect("set");
    assert_eq!(quota().await, None);
    assert!(matches!(catalog.set_system_quota(system("none"), None).await, Err(CatalogError::NotFound(_))));
}
