//! Archives that are whole, and archives that are not.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::accounts::Tags;
use entrepot_kit::{Address, Digests, Kind, Sha256Digest, Timestamp};

use super::{Progress, Restored, Storage, backup, migrate, restore};
use crate::clock::{self, Clock};
use crate::store::blobs::{FileBlobs, WriteSpec};
use crate::store::catalog::Catalog;
use crate::store::model::{BlobFacts, BlobPlace, Commit, KeyRow, NewBlob, NewRepository, NewRow};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// A member of an archive as a test changes it.
type Member = (String, Vec<u8>);

struct Place {
    storage: Storage,
    folder: tempfile::TempDir,
}

async fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = open(folder.path()).await;
    Place { storage, folder }
}

async fn open(folder: &std::path::Path) -> Storage {
    let catalog = Catalog::open_sqlite_at_rest(&folder.join("catalog.db")).await.expect("opened");
    Storage { catalog, blobs: Arc::new(FileBlobs::open(folder).await.expect("opened")) }
}

/// Bytes that do not fit into the catalog.
fn large(seed: u8) -> Bytes {
    Bytes::from((0..100_000_u32).map(|number| (number % 251) as u8 ^ seed).collect::<Vec<_>>())
}

/// Three small files and three large ones, and a key.
async fn filled() -> Place {
    let place = place().await;
    let catalog = &place.storage.catalog;
    let address = Address::parse("main/files").expect("an address");
    catalog.create_system(address.system.clone(), Tags::new(), false, NOW).await.expect("a system");
    let new =
        NewRepository { address, format: String::from("generic"), kind: Kind::Hosted, tags: Tags::new(), settings: serde_json::json!({}), declared: false };
    let repository = catalog.create_repository(new, NOW).await.expect("a repository");
    let mut births = Vec::new();
    for seed in 0..3 {
        let small = Bytes::from(vec![seed; 10]);
        let inline = BlobFacts { digest: Sha256Digest::of(&small), size: 10, digests: Digests::new(), inline: Some(small), location: None };
        let mut writer = place.storage.blobs.writer(WriteSpec { algorithms: Vec::new(), limit: 1 << 20 }).await.expect("a writer");
        writer.write(large(seed)).await.expect("written");
        let persisted = place.storage.blobs.persist(&writer.finish().await.expect("staged")).await.expect("durable");
        for (name, facts) in [("small", inline), ("large", persisted)] {
            let path = format!("{name}-{seed}");
            births.push(NewRow::Entry { path, package: None, version: None, blob: NewBlob::New(facts), content_type: None, data: String::new() });
        }
    }
    let commit = Commit {
        repository: repository.id,
        principal: String::from("user:ann"),
        request_id: String::new(),
        now: NOW,
        action: String::from("publish"),
        subject: String::new(),
        preconditions: Vec::new(),
        deaths: Vec::new(),
        births,
    };
    catalog.commit(commit).await.expect("committed");
    let key = KeyRow { id: String::from("k"), purpose: String::from("sign/1"), public: vec![1], sealed: b"sealed".to_vec(), created: NOW, expires: None };
    catalog.put_key(key).await.expect("a key");
    place
}

fn quiet() -> Progress {
    Progress::new(|_| {})
}

async fn archive(storage: &Storage) -> Vec<u8> {
    let clock: Clock = clock::system();
    let (bytes, facts) = backup(storage, Vec::new(), &clock, quiet()).await.expect("backed up");
    assert_eq!((facts.blobs, facts.blob_bytes, facts.damaged), (3, 300_000, 0));
    bytes
}

async fn restored(storage: &Storage, archive: &[u8]) -> Result<Restored, String> {
    let opens = |purpose: &str, sealed: &[u8]| if (purpose, sealed) == ("sign/1", b"sealed") { Ok(()) } else { Err(String::from("another key")) };
    restore(storage, std::io::Cursor::new(archive.to_vec()), Box::new(opens), &clock::system(), quiet()).await.map_err(|error| error.to_string())
}

fn members(archive: &[u8]) -> Vec<Member> {
    let mut archive = tar::Archive::new(archive);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.expect("a member");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("bytes");
        (String::from_utf8_lossy(&entry.path_bytes()).into_owned(), bytes)
    };
    archive.entries().expect("members").map(read).collect()
}

fn joined(members: &[Member]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        builder.append_data(&mut header, name, bytes.as_slice()).expect("a member");
    }
    builder.into_inner().expect("an archive")
}

/// A closing that fits to the members before it, as somebody makes it who means harm.
fn resealed(mut members: Vec<Member>) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    let mut hasher = Sha256::new();
    let (_, closing) = members.pop().expect("a closing");
    for (name, bytes) in &members {
        hasher.update(format!("{} {} {name}\n", hex::encode(Sha256::digest(bytes)), bytes.len()));
    }
    let mut closing: serde_json::Value = serde_json::from_slice(&closing).expect("JSON");
    closing["members"] = members.len().into();
    closing["sha256"] = hex::encode(hasher.finalize()).into();
    members.push((String::from("closing.json"), closing.to_string().into_bytes()));
    joined(&members)
}

async fn all_is_there(storage: &Storage) {
    let repository = storage.catalog.repositories().await.expect("repositories").remove(0);
    for seed in 0..3 {
        let small = storage.catalog.entry(repository.id, &format!("small-{seed}"), None).await.expect("read").expect("an entry");
        assert_eq!(small.inline.as_deref(), Some([seed; 10].as_slice()));
        let entry = storage.catalog.entry(repository.id, &format!("large-{seed}"), None).await.expect("read").expect("an entry");
        let digest = Sha256Digest::of(&large(seed));
        let content = storage.blobs.open(&BlobPlace { digest, size: 100_000, location: entry.location }).await.expect("opened");
        let mut bytes = Vec::new();
        content.reader().await.expect("a reader").read_to_end(&mut bytes).expect("read");
        assert!(bytes == large(seed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_is_restored() {
    let source = filled().await;
    let archive = archive(&source.storage).await;
    let target = place().await;
    let proof = restored(&target.storage, &archive).await.expect("restored");
    assert_eq!((proof.blobs, proof.blob_bytes, proof.keys), (3, 300_000, 1));
    assert!(proof.tables.contains(&("entries", 6)), "{proof:?}");
    all_is_there(&target.storage).await;
    assert_eq!(target.storage.catalog.filling().await.expect("asked"), None);
    // A second one finds the storage filled.
    assert!(restored(&target.storage, &archive).await.expect_err("it is filled").contains("not empty"));
    // And an archive of the restored storage holds the same.
    let mut again = members(&self::archive(&target.storage).await);
    let mut before = members(&archive);
    for members in [&mut again, &mut before] {
        members.retain(|(name, _)| !name.ends_with(".json") && !name.contains("/meta/"));
    }
    assert!(again == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_is_given_back() {
    let source = filled().await;
    archive(&source.storage).await;
    let free = source.storage.catalog.take_lease("gc", "gc of a test", NOW, NOW.plus(1)).await.expect("asked");
    assert!(free, "a backup keeps the lease");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_whole_is_refused_and_a_good_archive_still_restored() {
    let source = filled().await;
    let good = archive(&source.storage).await;
    let target = place().await;
    let mut bad: Vec<(&str, Vec<u8>)> = Vec::new();
    for cut in [600, 5_000, good.len() / 2, good.len() - 1024 - 600, good.len() - 1024 - 512 - 100] {
        bad.push(("cut off", good[..cut].to_vec()));
    }
    let whole = members(&good);
    bad.push(("without its end", joined(&whole[..whole.len() - 1])));
    for (index, (name, bytes)) in whole.iter().enumerate() {
        // A byte is another one: noticed whatever it means, in every member.
        let mut flipped = whole.clone();
        flipped[index].1[bytes.len() / 2] ^= 1;
        bad.push(("a byte is another one", joined(&flipped)));
        if name.starts_with("blobs/") {
            let mut missing = whole.clone();
            missing.remove(index);
            bad.push(("a blob is missing", joined(&missing)));
            bad.push(("a blob is missing, and it was meant", resealed(missing)));
            bad.push(("a blob has other bytes, and it was meant", resealed(flipped)));
        }
    }
    for (name, at) in [("odd", 1), ("tables/entries/000009.jsonl", 5), ("../../etc/passwd", whole.len() - 1), ("blobs/sha256/00/00", whole.len() - 1)] {
        let mut more = whole.clone();
        more.insert(at, (name.replace("../", "_./"), b"[]\n".to_vec()));
        bad.push(("a member too many", resealed(more)));
    }
    let mut twice = whole.clone();
    twice.insert(whole.len() - 1, whole[whole.len() - 2].clone());
    bad.push(("a blob twice", resealed(twice)));
    let mut behind = whole.clone();
    behind.push((String::from("more"), Vec::new()));
    bad.push(("something behind the end", joined(&behind)));
    let foreign = Bytes::from_static(b"nobody knows these bytes");
    let mut unknown = whole.clone();
    let digest = Sha256Digest::of(&foreign).hex();
    let at = whole
        .iter()
        .position(|(name, _)| name.starts_with("blobs/") && *name > format!("blobs/sha256/{}/{digest}", digest.get(..2).expect("hex")))
        .unwrap_or(whole.len() - 1);
    unknown.insert(at, (format!("blobs/sha256/{}/{digest}", digest.get(..2).expect("hex")), foreign.to_vec()));
    bad.push(("a blob that no row names", resealed(unknown)));

    let rows = |table: &str, change: &dyn Fn(&str) -> String| {
        let mut changed = whole.clone();
        for (name, bytes) in &mut changed {
            if name.starts_with(&format!("tables/{table}/")) {
                *bytes = change(&String::from_utf8_lossy(bytes)).into_bytes();
            }
        }
        resealed(changed)
    };
    bad.push(("a row twice", rows("systems", &|text| format!("{text}{text}"))));
    bad.push(("a row that leads nowhere", rows("entries", &|text| text.replacen(",1,\"", ",77,\"", 1))));
    bad.push(("no JSON", rows("systems", &|text| text.replacen('[', "{", 1))));
    bad.push(("another kind", rows("systems", &|text| text.replacen("\"main\"", "7", 1))));
    bad.push(("a column more", rows("systems", &|text| text.replacen('[', "[0,", 1))));
    bad.push(("another key", rows("keys", &|text| text.replacen("sign/1", "sign/2", 1))));
    bad.push(("it says that it is half filled", rows("meta", &|text| text.replacen("epoch", "filling", 1))));
    let manifest = |change: &dyn Fn(&str) -> String| {
        let mut changed = whole.clone();
        changed[0].1 = change(&String::from_utf8_lossy(&changed[0].1)).into_bytes();
        resealed(changed)
    };
    bad.push(("a newer format", manifest(&|text| text.replacen("\"format\": 1", "\"format\": 2", 1))));
    bad.push(("an unknown table", manifest(&|text| text.replacen("\"systems\"", "\"planets\"", 1))));
    bad.push(("an unknown column", manifest(&|text| text.replacen("\"declared\"", "\"decreed\"", 1))));
    bad.push(("fewer rows", manifest(&|text| text.replacen("\"rows\": 6", "\"rows\": 5", 1))));
    bad.push(("no backup at all", b"this is a text".repeat(100)));

    for (what, archive) in bad {
        let error = restored(&target.storage, &archive).await.expect_err(what);
        assert!(!error.is_empty() && !error.contains("internal"), "{what}: {error}");
        let filling = target.storage.catalog.filling().await.expect("asked");
        let nobodys = Catalog::open_sqlite(&target.folder.path().join("catalog.db")).await.is_err();
        assert!(filling.is_none() && target.storage.catalog.repositories().await.expect("asked").is_empty() || nobodys, "{what}: half of it is served");
    }
    // What the attempts left does not stand in the way of a good one.
    restored(&target.storage, &good).await.expect("restored");
    all_is_there(&target.storage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_what_is_damaged_says_so() {
    let source = filled().await;
    let digest = Sha256Digest::of(&large(1)).hex();
    let folder = source.folder.path().join("sha256").join(digest.get(..2).expect("hex")).join(digest.get(2..4).expect("hex"));
    let file = std::fs::read_dir(folder).expect("a folder").next().expect("a file").expect("a file").path();
    let mut bytes = std::fs::read(&file).expect("read");
    bytes[50_000] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let clock: Clock = clock::system();
    let error = backup(&source.storage, Vec::new(), &clock, quiet()).await.expect_err("it is damaged").to_string();
    assert!(error.contains(&digest) && error.contains("verify"), "{error}");
    std::fs::remove_file(&file).expect("removed");
    let error = backup(&source.storage, Vec::new(), &clock, quiet()).await.expect_err("it is gone").to_string();
    assert!(error.contains(&digest) && error.contains("verify"), "{error}");
    let target = place().await;
    assert!(migrate(&source.storage, &target.storage, &clock::system(), quiet()).await.expect_err("it is gone").to_string().contains(&digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_goes_on_even_when_the_source_was_used_between() {
    let source = filled().await;
    let target = place().await;
    // A run that was cut off when all rows but the last were there.
    assert!(!target.storage.catalog.begin_filling(crate::store::catalog::transfer::Filling::Migration).await.expect("begun"));
    let first = migrate(&source.storage, &target.storage, &clock::system(), quiet()).await.expect("migrated");
    assert_eq!((first.copied, first.known), (3, 0));
    all_is_there(&target.storage).await;
    assert!(migrate(&source.storage, &target.storage, &clock::system(), quiet()).await.is_err(), "the target is filled");

    let target = place().await;
    let half = Half::copied(&source.storage, &target.storage).await;
    source.storage.catalog.put_key(KeyRow { id: String::from("z"), purpose: String::from("other"), ..half.key }).await.expect("a key");
    let repository = source.storage.catalog.repositories().await.expect("repositories").remove(0);
    source.storage.catalog.update_repository(repository.id, Tags::new(), serde_json::json!({ "overwrite": true }), false).await.expect("changed");
    let again = migrate(&source.storage, &target.storage, &clock::system(), quiet()).await.expect("migrated");
    assert_eq!(again.copied + again.known, 3);
    all_is_there(&target.storage).await;
    let repository = target.storage.catalog.repositories().await.expect("repositories").remove(0);
    assert_eq!(repository.settings, serde_json::json!({ "overwrite": true }));
    assert_eq!(target.storage.catalog.keys("other").await.expect("keys").len(), 1);
}

/// What an earlier run left: all tables up to the repositories.
struct Half {
    key: KeyRow,
}

impl Half {
    async fn copied(source: &Storage, target: &Storage) -> Self {
        use crate::store::catalog::tables::lasting;
        use crate::store::catalog::transfer::{Clash, Filling};
        target.catalog.begin_filling(Filling::Migration).await.expect("begun");
        for table in lasting().filter(|table| ["systems", "repositories", "keys"].contains(&table.name)) {
            let rows = source.catalog.rows(table, None).await.expect("rows");
            target.catalog.insert(table, rows, Clash::Refuse).await.expect("inserted");
        }
        Self { key: source.catalog.keys("sign/1").await.expect("keys").remove(0) }
    }
}
