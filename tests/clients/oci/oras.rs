//! oras: artifacts that are no images, and what refers to what.
#![cfg(test)]

use serde_json::Value;

use super::{Site, digest_in, had_no_errors, mounts, start};
use crate::support::clients::Home;
use crate::support::images::unique;

const PLAIN: &str = "--plain-http";

/// Pushes, attaches, discovers, copies with what refers to it, tags and deletes.
fn everything(site: &Site) {
    let home = Home::new();
    let folder = home.project("artifact");
    let content = unique(20_000);
    std::fs::write(folder.join("thing.bin"), &content).unwrap();
    std::fs::write(folder.join("sbom.json"), hex::encode(unique(50))).unwrap();
    std::fs::write(folder.join("notes.md"), hex::encode(unique(50))).unwrap();
    let oras = |arguments: &[&str]| home.oras(&folder, arguments);
    let [login, rest @ ..] = site.login();
    oras(&[&[login, PLAIN], &rest[..]].concat()).succeeded();
    let (artifact, copy) = (site.image("team/secret/things/one"), site.image("images/things/copied"));
    let tagged = format!("{artifact}:v1");
    oras(&["push", PLAIN, &tagged, "--artifact-type", "application/vnd.acme.thing", "thing.bin:application/vnd.acme.part"]).succeeded();
    let attach = |kind: &str, file: &str, to: &str| {
        let said = oras(&["attach", PLAIN, "--artifact-type", kind, to, file]).succeeded().stdout;
        digest_in(said.lines().find(|line| line.starts_with("Digest: ")).unwrap())
    };
    let list = attach("application/vnd.acme.sbom", "sbom.json:application/json", &tagged);
    attach("application/vnd.acme.notes", "notes.md:text/markdown", &tagged);
    // Something that refers to what refers.
    attach("application/vnd.acme.notes", "notes.md:text/markdown", &format!("{artifact}@{list}"));

    let discover = |of: &str, more: &[&str]| oras(&[&["discover", PLAIN, "--format", "json"], more, &[of]].concat()).succeeded().json();
    let found = discover(&tagged, &[]);
    let kinds = |found: &Value| {
        let referrers = found["referrers"].as_array().unwrap().iter();
        referrers
            .map(|referrer| (referrer["artifactType"].as_str().unwrap().to_owned(), referrer["referrers"].as_array().map_or(0, Vec::len)))
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(kinds(&found), [("application/vnd.acme.notes".into(), 0), ("application/vnd.acme.sbom".into(), 1)].into(), "{found}");
    let filtered = discover(&tagged, &["--artifact-type", "application/vnd.acme.notes"]);
    assert_eq!(filtered["referrers"].as_array().unwrap().len(), 1, "{filtered}");
    let tags = |of: &str| oras(&["repo", "tags", PLAIN, of]).succeeded().stdout;
    assert_eq!(tags(&artifact), "v1\n", "the registry knows referrers, so none is a tag");

    oras(&["copy", "--recursive", "--from-plain-http", "--to-plain-http", &tagged, &format!("{copy}:v1")]).succeeded();
    assert_eq!(kinds(&discover(&format!("{copy}:v1"), &[])), kinds(&found));
    oras(&["pull", PLAIN, "-o", "out", &format!("{copy}:v1")]).succeeded();
    assert!(std::fs::read(folder.join("out/thing.bin")).unwrap() == content, "other bytes than were pushed");
    oras(&["tag", PLAIN, &format!("{copy}:v1"), "v2", "stable"]).succeeded();
    assert_eq!(tags(&copy), "stable\nv1\nv2\n");

    let digest = oras(&["resolve", PLAIN, &format!("{copy}:v1")]).succeeded().stdout.trim().to_owned();
    oras(&["manifest", "delete", PLAIN, "--force", &format!("{copy}@{digest}")]).succeeded();
    assert_eq!(tags(&copy), "");
    assert!(oras(&["resolve", PLAIN, &format!("{copy}:v2")]).failed().text().contains("not found"));
    assert_eq!(kinds(&discover(&tagged, &[])), kinds(&found), "in the other repository nothing changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn oras_pushes_attaches_discovers_copies_and_deletes() {
    let server = start();
    everything(&Site::of(&server));
    assert!(mounts(&server) > 0, "{}", server.log());
    had_no_errors(&server);
}
