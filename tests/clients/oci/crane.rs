//! crane.
#![cfg(test)]

use super::{Site, had_no_errors, mounts, start};
use crate::support::clients::Home;

/// Images out of archives, indexes, copies, lists and deletions.
fn everything(site: &Site) {
    let home = Home::new();
    let crane = |arguments: &[&str]| home.crane(arguments);
    crane(&["auth", "login", &site.host, "-u", site.user, "-p", &site.password]).succeeded();
    let (one, two) = (home.layer("one"), home.layer("two"));
    let image = site.image("team/secret/app");
    let tagged = |tag: &str| format!("{image}:{tag}");
    crane(&["append", "--oci-empty-base", "-f", &one, "-f", &two, "-t", &tagged("plain")]).succeeded();
    for architecture in ["amd64", "arm64"] {
        let platform = format!("linux/{architecture}");
        crane(&["mutate", "--set-platform", &platform, "--label", "made=by-a-test", "-t", &tagged(architecture), &tagged("plain")]).succeeded();
    }
    let [index, amd, arm] = ["both", "amd64", "arm64"].map(tagged);
    crane(&["index", "append", "-m", &amd, "-m", &arm, "-t", &index]).succeeded();
    crane(&["validate", "--remote", &index]).succeeded();
    let digest = crane(&["digest", &index]).succeeded().stdout.trim().to_owned();
    assert_eq!(crane(&["digest", "--platform", "linux/arm64", &index]).succeeded().stdout, crane(&["digest", &arm]).succeeded().stdout);
    let config = crane(&["config", "--platform", "linux/arm64", &index]).succeeded().json();
    assert_eq!((&config["architecture"], &config["config"]["Labels"]["made"]), (&"arm64".into(), &"by-a-test".into()));
    let archive = home.path().join("arm.tar");
    crane(&["pull", "--platform", "linux/arm64", &index, &archive.display().to_string()]).succeeded();
    assert!(std::fs::metadata(&archive).unwrap().len() > 40_000, "the layers are in the archive");

    // An index with all that it names, into a repository of another system, three names deep.
    let copied = site.image("images/deep/er/still");
    let said = crane(&["copy", &index, &format!("{copied}:1")]).succeeded().stderr;
    assert!(said.matches("mounted blob").count() >= 3, "{said}");
    crane(&["tag", &format!("{copied}:1"), "latest"]).succeeded();
    let tags = |image: &str| crane(&["ls", image]).succeeded().stdout.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(tags(&copied), ["1", "latest"].map(String::from).into());
    assert_eq!(crane(&["digest", &format!("{copied}:latest")]).succeeded().stdout.trim(), digest);
    assert_eq!(crane(&["manifest", &format!("{copied}:1")]).succeeded().stdout, crane(&["manifest", &index]).succeeded().stdout);
    let catalog = crane(&["catalog", &site.host]).succeeded().stdout;
    for name in ["images/deep/er/still", "team/secret/app"] {
        assert!(catalog.lines().any(|line| line == name), "{name} is not in\n{catalog}");
    }

    crane(&["delete", &format!("{copied}@{digest}")]).succeeded();
    assert!(crane(&["digest", &format!("{copied}:latest")]).failed().text().contains("MANIFEST_UNKNOWN"));
    assert_eq!(tags(&image).len(), 4);
    crane(&["validate", "--remote", &index]).succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn crane_makes_copies_lists_and_deletes() {
    let server = start();
    let site = Site::of(&server);
    everything(&site);
    assert!(mounts(&server) >= 3, "{}", server.log());
    let stranger = Home::new();
    let catalog = stranger.crane(&["catalog", &site.host]).succeeded().stdout;
    assert!(!catalog.contains("secret"), "the names of what nobody may read:\n{catalog}");
    let refused = stranger.crane(&["manifest", &site.image("team/secret/app:both")]).failed().text();
    assert!(refused.contains("UNAUTHORIZED"), "{refused}");
    let refused = stranger.crane(&["tag", &site.image("team/secret/app:both"), "mine"]).failed().text();
    assert!(refused.contains("UNAUTHORIZED"), "{refused}");
    had_no_errors(&server);
}
