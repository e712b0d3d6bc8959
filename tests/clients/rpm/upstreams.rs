//! Upstreams that createrepo_c made, in every compression that it knows: pulled through as they are, joined in a group, and refused when a
//! byte of them was changed on the way.

use std::path::{Path, PathBuf};

use super::{Machine, Workshop, file_name, repositories, upload};
use crate::support::TestServer;
use crate::upstream::{Reply, ScriptedUpstream};

/// Serves all files of a folder.
fn serve(upstream: &ScriptedUpstream, folder: &Path) {
    let mut found = Vec::new();
    super::find(folder, &mut found);
    for file in found {
        let path = file.strip_prefix(folder).unwrap().display().to_string();
        upstream.answer(&format!("/pub/{path}"), Reply::bytes(std::fs::read(&file).unwrap()));
    }
}

/// A repository of one package, as createrepo_c makes it.
fn made(workshop: &Workshop, package: &Path, compression: &str) -> PathBuf {
    let folder = workshop.home.path().join(compression);
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(package, folder.join(file_name(package))).unwrap();
    workshop.run("createrepo_c", &["--quiet", "--general-compress-type", compression, &folder.display().to_string()]).succeeded();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_upstreams_of_createrepo_c_are_pulled_through_and_joined() {
    let workshop = Workshop::new();
    let (theirs, ours) = (workshop.plain("theirs", "1.0"), workshop.plain("ours", "1.0"));
    for compression in ["gz", "bz2", "xz"] {
        let upstream = ScriptedUpstream::start().await;
        serve(&upstream, &made(&workshop, &theirs, compression));
        let server = TestServer::builder().config(repositories(&workshop.key, &format!("{}/pub/", upstream.url()))).start();
        upload(&server, "", std::slice::from_ref(&ours)).await;
        let machine = Machine::new();
        machine.set_up(&server, "/main/rpm-all/entrepot.repo").await;
        machine.dnf(&["makecache"]).succeeded();
        // A byte is changed on the way: nothing of it is taken.
        let mut bytes = std::fs::read(&theirs).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let address = format!("/pub/{}", file_name(&theirs));
        upstream.answer(&address, Reply::bytes(bytes));
        machine.dnf(&["install", "theirs"]).failed();
        assert!(!machine.root("usr/share/theirs/version").exists(), "{compression}");
        upstream.answer(&address, Reply::bytes(std::fs::read(&theirs).unwrap()));
        machine.dnf(&["install", "ours", "theirs"]).succeeded();
        upstream.stop().await;
        let later = Machine::new();
        later.set_up(&server, "/main/rpm-remote/entrepot.repo").await;
        later.dnf(&["install", "theirs"]).succeeded();
        for machine in [&machine, &later] {
            assert_eq!(std::fs::read_to_string(machine.root("usr/share/theirs/version")).unwrap(), "1.0\n", "{compression}");
        }
    }
}
