//! Keys that change: whoever trusts either goes on while both sign.

use std::time::Duration;

use super::{Machine, Workshop, repositories, upload};
use crate::support::TestServer;

/// Looks until the server knows of that many keys.
async fn until_there_are(server: &TestServer, keys: usize) {
    for _ in 0..600 {
        let text = server.anonymous().get("/main/rpm/repodata/repomd.xml.key").await.succeeded().text();
        if text.matches("BEGIN PGP PUBLIC KEY BLOCK").count() == keys {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the server does not know of {keys} keys");
}

/// A machine that trusts this key of metadata, and no other.
async fn trusting(server: &TestServer, workshop: &Workshop, name: &str, key: &str) -> Machine {
    let file = workshop.home.path().join(name);
    std::fs::write(&file, key).unwrap();
    let machine = Machine::new();
    let text = server.anonymous().get("/main/rpm/entrepot.repo").await.succeeded().text();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("gpgkey") && !line.starts_with(' ')).collect();
    let keys = format!("gpgkey=file://{}\n file://{}", file.display(), workshop.key.display());
    std::fs::write(machine.home.path().join("repos.d/entrepot.repo"), format!("{}\n{keys}\n", lines.join("\n"))).unwrap();
    machine
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_dnf_and_zypper_go_on_while_the_key_is_changed() {
    let workshop = Workshop::new();
    let server = TestServer::builder().config(repositories(&workshop.key, "http://127.0.0.1:9/")).start();
    upload(&server, "", &[workshop.plain("tool", "1.0")]).await;
    let (known, zypper) = (Machine::new(), Machine::new());
    known.set_up(&server, "/main/rpm/entrepot.repo").await;
    known.dnf(&["install", "tool"]).succeeded();
    zypper.set_up(&server, "/main/rpm/entrepot.repo").await;
    let file = zypper.home.path().join("repos.d/entrepot.repo").display().to_string();
    zypper.zypper(&["addrepo", &file]).succeeded();
    zypper.zypper(&["install", "tool"]).succeeded();
    let export = ["admin", "key", "export", "main/rpm"];
    let old = server.command_beside(&export).await.succeeded().stdout;
    server.command_beside(&["admin", "key", "rotate", "main/rpm", "--overlap-days", "30"]).await.succeeded();
    let new = server.command_beside(&export).await.succeeded().stdout;
    assert!(old.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----") && old != new, "{old}\n{new}");
    until_there_are(&server, 2).await;
    upload(&server, "", &[workshop.plain("tool", "2.0")]).await;
    let is_new = |machine: &Machine| assert_eq!(std::fs::read_to_string(machine.root("usr/share/tool/version")).unwrap(), "2.0\n");
    known.dnf(&["--refresh", "upgrade", "tool"]).succeeded();
    is_new(&known);
    zypper.zypper(&["refresh", "--force"]).succeeded();
    zypper.zypper(&["update", "tool"]).succeeded();
    is_new(&zypper);
    for (name, key) in [("old", &old), ("new", &new)] {
        let machine = trusting(&server, &workshop, name, key).await;
        machine.dnf(&["install", "tool"]).succeeded();
        is_new(&machine);
    }
    // The key is in wrong hands: who trusts nothing else takes nothing any more.
    server.command_beside(&["admin", "key", "rotate", "main/rpm", "--overlap-days", "0"]).await.succeeded();
    until_there_are(&server, 3).await;
    for (name, key) in [("old", &old), ("new", &new)] {
        let refused = trusting(&server, &workshop, name, key).await.dnf(&["makecache"]).failed();
        assert!(refused.stderr.contains("GPG"), "{}", refused.stderr);
    }
    known.dnf(&["--refresh", "makecache"]).succeeded();
    assert!(!server.log().contains("PRIVATE KEY"), "logs have nothing of keys");
}
