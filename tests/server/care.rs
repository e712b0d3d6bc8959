//! `gc` and `verify` as their users run them: the built command beside a running server.
#![cfg(test)]

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use entrepot::jobs::Schedule;
use entrepot_kit::{Kind, Sha256Digest};
use http::{Method, StatusCode};
use serde_json::json;

use crate::house::{House, PASSWORD};
use crate::raw::{Call, Reply};
use crate::upstream::{Reply as Scripted, ScriptedUpstream};

/// More than what lives in the catalog.
const SIZE: usize = 100_000;

fn body(number: usize) -> Bytes {
    (0..SIZE).map(|index| (index * 13 + index / 251 + number) as u8).collect::<Vec<_>>().into()
}

/// What a command printed, and whether it ended with 0.
#[derive(Debug)]
struct Said {
    good: bool,
    out: String,
    err: String,
}

/// Runs the built command on the data of a house.
async fn entrepot(house: &House, arguments: &[&str]) -> Said {
    let data = house.data();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_entrepot"));
    command.args(arguments).arg("--data").arg(&data).current_dir(data.parent().expect("a folder")).env_clear();
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { good: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

/// The files with the bytes of a blob.
fn files_of(house: &House, bytes: &Bytes) -> Vec<PathBuf> {
    let hex = Sha256Digest::of(bytes).hex();
    let folder = house.data().join("blobs/sha256").join(hex.get(..2).expect("hex")).join(hex.get(2..4).expect("hex"));
    let files = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&hex))).collect()
}

/// Asks again until the answer is as wanted: a running server looks four times a second for what others wrote.
async fn until(house: &House, call: impl Fn() -> Call, wanted: impl Fn(&Reply) -> bool) -> Reply {
    for _ in 0..600 {
        let reply = house.call(call()).await;
        if wanted(&reply) {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the answer never came: the last was {}", house.call(call()).await.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_lost_is_found_marked_and_fetched_again() {
    let (house, upstream) = (House::alone_with(|_| {}).await, ScriptedUpstream::start().await);
    let (lost, altered) = (body(1), body(2));
    let index = |version: &str, bytes: &Bytes| (version.to_owned(), json!({ "file": "elsewhere", "sha256": Sha256Digest::of(bytes).hex() }));
    let versions: serde_json::Map<_, _> = [index("1.0.0", &lost), index("2.0.0", &altered)].into_iter().collect();
    upstream.answer("/big", Scripted::bytes(json!({ "name": "big", "versions": versions }).to_string()));
    upstream.answer("/big/1.0.0", Scripted::bytes(lost.clone()));
    upstream.answer("/big/2.0.0", Scripted::bytes(altered.clone()));
    house.repository("alpha/toys", "toy", Kind::Proxy, true, json!({ "upstream": { "url": upstream.url(), "allow_private": true } })).await;
    for (path, bytes) in [("/alpha/toys/big/1.0.0", &lost), ("/alpha/toys/big/2.0.0", &altered)] {
        for _ in 0..2 {
            assert_eq!(house.call(Call::get(path)).await.body, bytes);
        }
    }
    let clean = entrepot(&house, &["verify"]).await;
    assert!(clean.good && clean.out.contains("0 missing, 0 damaged, 0 unreadable") && !clean.out.contains("not needed"), "{clean:?}");

    std::fs::remove_file(files_of(&house, &lost).pop().expect("a file")).expect("removed");
    let mut wrong = altered.to_vec();
    wrong[SIZE / 2] ^= 1;
    std::fs::write(files_of(&house, &altered).pop().expect("a file"), wrong).expect("written");
    let refused = house.call(Call::get("/alpha/toys/big/1.0.0")).await;
    assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(refused.body.len() < 1000, "nothing of a body: {}", refused.text());
    let quick = entrepot(&house, &["verify", "--quick"]).await;
    assert!(!quick.good && quick.out.contains("1 missing, 0 damaged"), "{quick:?}");
    let found = entrepot(&house, &["verify"]).await;
    assert!(!found.good && found.out.contains("1 missing, 1 damaged, 0 unreadable"), "{found:?}");
    for text in [
        format!("missing {} ({SIZE} bytes)", Sha256Digest::of(&lost)),
        format!("damaged {} ({SIZE} bytes): its bytes have the SHA-256", Sha256Digest::of(&altered)),
        String::from("needed by alpha/toys:big/1.0.0 (proxy: after verify --repair it is fetched again"),
    ] {
        assert!(found.out.contains(&text), "{text:?} is missing in {found:?}");
    }

    let repaired = entrepot(&house, &["verify", "--repair"]).await;
    assert!(!repaired.good && repaired.out.contains("repaired: 2 blobs marked as damaged, 0 unmarked"), "{repaired:?}");
    for (path, bytes) in [("/alpha/toys/big/1.0.0", &lost), ("/alpha/toys/big/2.0.0", &altered)] {
        until(&house, || Call::get(path), |reply| reply.status == StatusCode::OK && reply.body == bytes).await;
        until(&house, || Call::get(path), |reply| reply.header("x-artifact-source") == "cache" && reply.body == bytes).await;
        assert_eq!(upstream.count(&path.replace("/alpha/toys", "")), 2, "fetched once more, and kept");
    }
    let clean = entrepot(&house, &["verify"]).await;
    assert!(clean.good && clean.out.contains("0 missing, 0 damaged, 0 unreadable"), "{clean:?}");
    assert!(clean.out.contains("not needed: 1 files"), "the altered file is garbage now: {clean:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_and_lost_comes_back_with_the_same_bytes() {
    let house = House::alone_with(|_| {}).await;
    house.repository("alpha/files", "generic", Kind::Hosted, true, json!({})).await;
    let bytes = body(3);
    let put = || Call::put("/alpha/files/tools/a.bin", body(3)).signed("alpha-owner", PASSWORD);
    assert_eq!(house.call(put()).await.status, StatusCode::CREATED);
    let file = files_of(&house, &bytes).pop().expect("a file");
    let aside = house.data().join("aside");
    std::fs::rename(&file, &aside).expect("moved");
    let found = entrepot(&house, &["verify", "--repair"]).await;
    assert!(!found.good && found.out.contains("needed by alpha/files:tools/a.bin (hosted: publish the same bytes again"), "{found:?}");
    for method in [Method::GET, Method::HEAD] {
        let refused = house.call(Call::new(method, "/alpha/files/tools/a.bin")).await;
        assert!(refused.status == StatusCode::INTERNAL_SERVER_ERROR && refused.body.len() < 1000, "{}", refused.status);
    }
    // Its old file is back: then the mark is lifted, and nothing need be published.
    std::fs::rename(&aside, &file).expect("moved back");
    let marked = entrepot(&house, &["verify"]).await;
    assert!(!marked.good && marked.out.contains("its bytes are right; verify --repair unmarks it"), "{marked:?}");
    let unmarked = entrepot(&house, &["verify", "--repair"]).await;
    assert!(unmarked.good && unmarked.out.contains("0 blobs marked as damaged, 1 unmarked"), "{unmarked:?}");
    until(&house, || Call::get("/alpha/files/tools/a.bin"), |reply| reply.status == StatusCode::OK && reply.body == bytes).await;

    std::fs::remove_file(&file).expect("removed");
    assert!(!entrepot(&house, &["verify", "--repair"]).await.good);
    // Refused by nobody, though the path is taken: the bytes are the same.
    until(&house, put, |reply| reply.status == StatusCode::OK).await;
    let back = house.call(Call::get("/alpha/files/tools/a.bin")).await;
    assert_eq!((back.status, &back.body), (StatusCode::OK, &bytes));
    let clean = entrepot(&house, &["verify"]).await;
    assert!(clean.good && clean.out.contains("0 missing, 0 damaged"), "{clean:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_goes_after_its_grace_and_nothing_else() {
    let house = House::alone_with(|_| {}).await;
    for address in ["alpha/kept", "alpha/gone"] {
        house.repository(address, "generic", Kind::Hosted, true, json!({})).await;
    }
    let (shared, alone) = (body(4), body(5));
    for (path, bytes) in [("/alpha/kept/a", &shared), ("/alpha/gone/a", &shared), ("/alpha/gone/b", &alone)] {
        assert_eq!(house.call_as("alpha-owner", Call::put(path, bytes.clone())).await.status, StatusCode::CREATED);
    }
    let deleted = house.call_as("alpha-owner", Call::new(Method::DELETE, "/api/v1/repositories/alpha/gone")).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let kept = entrepot(&house, &["gc"]).await;
    assert!(kept.good && kept.out.contains("condemned: 1 blobs") && kept.out.contains("kept within the grace: 1 blobs, 100000 bytes"), "{kept:?}");
    let told = entrepot(&house, &["gc", "--dry-run", "--grace", "0"]).await;
    assert!(told.good && told.out.contains("dry run") && told.out.contains("removed: 1 blobs, 100000 bytes"), "{told:?}");
    assert_eq!((files_of(&house, &shared).len(), files_of(&house, &alone).len()), (1, 1));
    let removed = entrepot(&house, &["gc", "--grace", "0"]).await;
    assert!(removed.good && removed.out.contains("removed: 1 blobs, 100000 bytes"), "{removed:?}");
    assert_eq!((files_of(&house, &shared).len(), files_of(&house, &alone).len()), (1, 0));
    assert_eq!(house.call(Call::get("/alpha/kept/a")).await.body, shared);
    // Bytes that nothing names stay while a publish may be about to name them.
    let orphan = files_of(&house, &shared).pop().expect("a file").with_file_name(format!("{}-0123456789abcdef", Sha256Digest::of(&shared).hex()));
    std::fs::write(&orphan, "left by a crash").expect("written");
    let young = entrepot(&house, &["gc", "--grace", "0"]).await;
    assert!(young.good && young.out.contains("1 files that no blob names, 15 bytes"), "{young:?}");
    assert!(orphan.exists());
    for _ in 0..300 {
        assert!(entrepot(&house, &["gc", "--grace", "0", "--least-age", "0"]).await.good);
        if !orphan.exists() {
            break;
        }
    }
    assert!(!orphan.exists(), "it is old enough after a second or two");
    let clean = entrepot(&house, &["verify"]).await;
    assert!(clean.good && !clean.out.contains("not needed"), "{clean:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_say_what_keeps_them() {
    let house = House::alone_with(|_| {}).await;
    let now = house.engine().now();
    assert!(house.engine().catalog.take_lease("gc", "a backup", now, now.plus(600_000)).await.expect("taken"));
    let busy = entrepot(&house, &["gc"]).await;
    assert!(!busy.good && busy.err.contains("gc runs already, or a backup needs everything to stay"), "{busy:?}");
    assert!(entrepot(&house, &["gc", "--dry-run"]).await.good, "to look needs no lease");
    let empty = tempfile::tempdir().expect("a folder");
    for command in ["gc", "verify"] {
        for (folder, text) in [(empty.path().to_owned(), "holds no data of a server"), (empty.path().join("none"), "there is no data directory")] {
            let mut asked = std::process::Command::new(env!("CARGO_BIN_EXE_entrepot"));
            let output = asked.arg(command).arg("--data").arg(&folder).current_dir(empty.path()).env_clear().output().expect("the command runs");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(1) && said.contains(text), "{said}");
        }
    }
    assert!(!empty.path().join("none").exists() && !empty.path().join("entrepot.db").exists(), "looking makes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_removes_garbage_by_itself() {
    let house = House::alone_with(|options| options.gc = Schedule { interval: Duration::from_millis(50), grace: Duration::ZERO }).await;
    house.repository("alpha/gone", "generic", Kind::Hosted, true, json!({})).await;
    let bytes = body(6);
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/gone/a", bytes.clone())).await.status, StatusCode::CREATED);
    assert_eq!(files_of(&house, &bytes).len(), 1);
    assert_eq!(house.call_as("alpha-owner", Call::new(Method::DELETE, "/api/v1/repositories/alpha/gone")).await.status, StatusCode::NO_CONTENT);
    for _ in 0..600 {
        if files_of(&house, &bytes).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the file is still there");
}
