//! Garbage, damage, and what is at which place.

use bytes::Bytes;
use entrepot_kit::{Digests, Sha256Digest, Timestamp};

use super::{NOW, commit, on_both, repository};
use crate::store::catalog::Catalog;
use crate::store::model::{BlobFacts, CatalogError, Commit, NewBlob, NewRow, RepositoryRow};

on_both!(
    garbage_is_condemned_then_removed,
    what_is_named_again_is_revived_and_what_is_gone_is_told,
    named_blobs_are_neither_condemned_nor_removed,
    marks_of_damage_move_the_counters_and_are_lifted_by_new_bytes,
    a_kept_file_that_is_damaged_is_mended_or_replaced,
    files_without_a_row_are_told_from_the_others,
);

fn stored(text: &str, location: &str) -> BlobFacts {
    BlobFacts { digest: Sha256Digest::of(text.as_bytes()), size: text.len() as u64, digests: Digests::new(), inline: None, location: Some(location.to_owned()) }
}

fn inline(text: &str) -> BlobFacts {
    BlobFacts { inline: Some(Bytes::copy_from_slice(text.as_bytes())), location: None, ..stored(text, "") }
}

fn file(path: &str, blob: NewBlob) -> NewRow {
    NewRow::Entry { path: path.to_owned(), package: None, version: None, blob, content_type: None, data: String::new() }
}

async fn put(catalog: &Catalog, repo: &RepositoryRow, path: &str, blob: NewBlob) -> Result<u64, CatalogError> {
    catalog.commit(Commit { births: vec![file(path, blob)], ..commit(repo, "upload") }).await
}

async fn unnamed(catalog: &Catalog) -> Vec<Sha256Digest> {
    let (mut last, mut found) = (None, Vec::new());
    loop {
        // Few at once, so that the walk takes several steps.
        let stretch = catalog.blob_stretch(last, 2).await.expect("read");
        let Some(end) = stretch.last else { return found };
        last = Some(end);
        found.extend(stretch.unnamed.iter().map(|blob| blob.digest));
    }
}

async fn garbage_is_condemned_then_removed(catalog: Catalog) {
    let (kept, gone) = (repository(&catalog, "main/kept").await, repository(&catalog, "main/gone").await);
    for (repo, path, facts) in [
        (&kept, "a", stored("shared", "place-1")),
        (&gone, "a", stored("shared", "place-2")),
        (&gone, "b", stored("alone", "place-3")),
        (&gone, "c", inline("small")),
    ] {
        put(&catalog, repo, path, NewBlob::New(facts)).await.expect("stored");
    }
    assert!(unnamed(&catalog).await.is_empty());
    catalog.delete_repository(gone.id, NOW).await.expect("deleted");
    catalog.purge().await.expect("purged");
    let garbage = unnamed(&catalog).await;
    assert_eq!(garbage.len(), 2);
    assert_eq!(catalog.condemn_blobs(garbage.clone(), NOW).await.expect("condemned"), 2);
    assert_eq!(catalog.condemn_blobs(garbage, NOW.plus(5)).await.expect("no more"), 0, "the first sentence counts");
    assert_eq!(catalog.remove_blobs(NOW.plus(-1), 10).await.expect("nothing is due").looked_at, 0);
    let (mut removed, mut bytes, mut places) = (0, 0, Vec::new());
    loop {
        let removal = catalog.remove_blobs(NOW, 1).await.expect("removed");
        if removal.looked_at == 0 {
            break;
        }
        (removed, bytes) = (removed + removal.removed, bytes + removal.bytes);
        places.extend(removal.places.into_iter().map(|place| place.location));
    }
    assert_eq!((removed, bytes, places), (2, 10, vec![Some(String::from("place-3"))]));
    assert_eq!(catalog.blob(Sha256Digest::of(b"shared")).await.expect("read").and_then(|facts| facts.location).as_deref(), Some("place-1"));
    assert!(catalog.blob(Sha256Digest::of(b"small")).await.expect("read").is_none());
}

async fn what_is_named_again_is_revived_and_what_is_gone_is_told(catalog: Catalog) {
    let (kept, gone) = (repository(&catalog, "main/kept").await, repository(&catalog, "main/gone").await);
    put(&catalog, &gone, "a", NewBlob::New(stored("one", "place-1"))).await.expect("stored");
    put(&catalog, &gone, "b", NewBlob::New(stored("two", "place-2"))).await.expect("stored");
    catalog.delete_repository(gone.id, NOW).await.expect("deleted");
    catalog.purge().await.expect("purged");
    assert_eq!(catalog.condemn_blobs(unnamed(&catalog).await, NOW).await.expect("condemned"), 2);
    put(&catalog, &kept, "a", NewBlob::Known(stored("one", "ignored"))).await.expect("it is still there");
    let removal = catalog.remove_blobs(NOW, 10).await.expect("removed");
    assert_eq!((removal.looked_at, removal.removed), (1, 1), "a commit lifts the sentence itself");
    let refused = put(&catalog, &kept, "b", NewBlob::Known(stored("two", "ignored"))).await;
    assert!(matches!(refused, Err(CatalogError::BlobGone(digest)) if digest == Sha256Digest::of(b"two")), "{refused:?}");
    put(&catalog, &kept, "b", NewBlob::New(stored("two", "place-3"))).await.expect("brought anew");
    let entry = catalog.entry(kept.id, "b", None).await.expect("read").expect("a file");
    assert_eq!(entry.location.as_deref(), Some("place-3"));
}

async fn named_blobs_are_neither_condemned_nor_removed(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    put(&catalog, &repo, "a", NewBlob::New(stored("one", "place-1"))).await.expect("stored");
    assert_eq!(catalog.condemn_blobs(vec![Sha256Digest::of(b"one")], NOW).await.expect("looked at"), 0);
    // Named by the past only is named.
    put(&catalog, &repo, "a", NewBlob::New(stored("two", "place-2"))).await.expect("replaced");
    assert_eq!(catalog.condemn_blobs(vec![Sha256Digest::of(b"one")], NOW).await.expect("looked at"), 0);
    assert_eq!(catalog.pardon_blobs(10).await.expect("looked at"), 0);
    let needs = catalog.needs(Sha256Digest::of(b"one"), 10).await.expect("read");
    assert_eq!(
        needs.iter().map(|need| (need.address.to_string(), need.path.as_str(), need.live)).collect::<Vec<_>>(),
        [(String::from("main/one"), "a", false)]
    );
}

async fn marks_of_damage_move_the_counters_and_are_lifted_by_new_bytes(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    let digest = Sha256Digest::of(b"one");
    put(&catalog, &repo, "a", NewBlob::New(stored("one", "place-1"))).await.expect("stored");
    let (epoch, damage) = (catalog.epoch().await.expect("read"), catalog.damage().await.expect("read"));
    assert_eq!(damage, 0);
    let mark = |at: &str, since: Option<Timestamp>| {
        let (catalog, at) = (catalog.clone(), at.to_owned());
        async move { catalog.mark_damaged(digest, Some(at), since).await.expect("asked") }
    };
    assert!(!mark("place-0", Some(NOW)).await, "its bytes are not those that were looked at");
    assert!(!mark("place-1", None).await);
    assert!(mark("place-1", Some(NOW)).await && !mark("place-1", Some(NOW)).await);
    assert!(catalog.epoch().await.expect("read") > epoch && catalog.damage().await.expect("read") == 1);
    assert!(mark("place-1", None).await && mark("place-1", Some(NOW)).await);
    assert_eq!(catalog.damage().await.expect("read"), 3);
    assert!(catalog.blob(digest).await.expect("read").is_none(), "its bytes are not counted on");
    assert!(catalog.entry(repo.id, "a", None).await.expect("read").expect("a file").damaged);
    let refused = put(&catalog, &repo, "b", NewBlob::Known(stored("one", "ignored"))).await;
    assert!(matches!(refused, Err(CatalogError::BlobGone(_))), "{refused:?}");
    put(&catalog, &repo, "b", NewBlob::New(stored("one", "place-2"))).await.expect("brought anew");
    let entry = catalog.entry(repo.id, "a", None).await.expect("read").expect("a file");
    assert_eq!((entry.damaged, entry.location.as_deref()), (false, Some("place-2")), "and every other entry has them too");
    assert!(!catalog.mend_blob(stored("one", "place-3")).await.expect("asked"), "what is sound stays where it is");
    assert!(mark("place-2", Some(NOW)).await && catalog.mend_blob(stored("one", "place-3")).await.expect("mended"));
    assert_eq!(catalog.blob_row(digest).await.expect("read").expect("a row").facts.location.as_deref(), Some("place-3"));
}

async fn a_kept_file_that_is_damaged_is_mended_or_replaced(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    let kept = async || catalog.entry(repo.id, "f", None).await.expect("read").expect("a file");
    let keep = async |facts: BlobFacts| catalog.keep(repo.id, file("f", NewBlob::New(facts)), NOW).await.expect("kept");
    keep(stored("one", "place-1")).await;
    keep(stored("other", "place-2")).await;
    assert_eq!(kept().await.location.as_deref(), Some("place-1"), "what lives wins");
    assert!(catalog.mark_damaged(Sha256Digest::of(b"one"), Some(String::from("place-1")), Some(NOW)).await.expect("marked"));
    keep(stored("one", "place-3")).await;
    assert_eq!((kept().await.damaged, kept().await.location.as_deref()), (false, Some("place-3")));
    assert!(catalog.mark_damaged(Sha256Digest::of(b"one"), Some(String::from("place-3")), Some(NOW)).await.expect("marked"));
    keep(stored("other", "place-4")).await;
    assert_eq!((kept().await.damaged, kept().await.entry.digest), (false, Some(Sha256Digest::of(b"other"))));
}

async fn files_without_a_row_are_told_from_the_others(catalog: Catalog) {
    let repo = repository(&catalog, "main/one").await;
    put(&catalog, &repo, "a", NewBlob::New(stored("one", "place-1"))).await.expect("stored");
    // A file of the first version: named by its digest.
    put(&catalog, &repo, "b", NewBlob::New(BlobFacts { location: None, ..stored("old", "") })).await.expect("stored");
    put(&catalog, &repo, "c", NewBlob::New(inline("small"))).await.expect("stored");
    let hex = |text: &str| Sha256Digest::of(text.as_bytes()).hex();
    let asked = vec![String::from("place-1"), String::from("place-9"), hex("old"), hex("one"), hex("small"), hex("none")];
    let mut known = catalog.known_places(asked).await.expect("read");
    known.sort();
    let mut expected = vec![String::from("place-1"), hex("old")];
    expected.sort();
    assert_eq!(known, expected);
}
