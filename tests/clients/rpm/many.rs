//! A repository that grows: its last packages cost what its first did, and its metadata is made quickly.

use std::time::Instant;

use entrepot_format_rpm::repodata::{Repomd, read};
use entrepot_format_rpm::testing::package;
use futures::StreamExt as _;

use super::Workshop;
use crate::support::TestServer;
use crate::support::process::variable;

/// Packages of the repository, and how many uploads are looked at together.
const PACKAGES: usize = 600;
const WINDOW: usize = 100;

fn path(number: usize) -> String {
    format!("Packages/{}/grows{number}-1.0-1.noarch.rpm", number % 20)
}

fn file(number: usize) -> Vec<u8> {
    package(&format!("grows{number}"), "1.0", "1", "noarch", "x")
}

/// Bytes that the server's processes wrote, to files and to other programs.
fn written(server: &TestServer) -> u64 {
    let of = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse::<u64>().unwrap()
    };
    server.pids().into_iter().map(of).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_the_last_package_of_a_repository_costs_what_the_tenth_did() {
    let server = TestServer::start();
    let mut marks = Vec::new();
    for number in 0..PACKAGES {
        if [10, 10 + WINDOW, PACKAGES - WINDOW].contains(&number) {
            marks.push(written(&server));
        }
        server.admin().put(&format!("/main/rpm/{}", path(number)), file(number)).await.is(201);
    }
    let (first, last) = (marks[1] - marks[0], written(&server) - marks[2]);
    assert!(last * 2 <= first * 3, "the tenth and {WINDOW} more wrote {first} bytes, the last {WINDOW} of {PACKAGES} wrote {last}");
}

/// Prints how long metadata of many packages takes here and with createrepo_c; `ENTREPOT_TEST_PACKAGES` says how many there are.
#[tokio::test(flavor = "multi_thread")]
async fn rpm_metadata_of_many_packages_is_made_at_once() {
    let packages: usize = variable("ENTREPOT_TEST_PACKAGES").and_then(|count| count.parse().ok()).unwrap_or(300);
    let server = TestServer::start();
    let workshop = Workshop::new();
    let folder = workshop.home.path().join("repository");
    let uploads = (0..packages).map(|number| {
        let (server, folder) = (&server, &folder);
        async move {
            let file = file(number);
            let copy = folder.join(path(number));
            std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
            std::fs::write(copy, &file).unwrap();
            server.admin().put(&format!("/main/rpm/{}", path(number)), file).await.is(201);
        }
    });
    let mut uploads = futures::stream::iter(uploads).buffer_unordered(16);
    while uploads.next().await.is_some() {}
    drop(uploads);
    let place = folder.display().to_string();
    let ask = async || {
        let begun = Instant::now();
        let repomd = Repomd::parse(&server.anonymous().get("/main/rpm/repodata/repomd.xml").await.succeeded().body).expect("a repomd.xml");
        (begun.elapsed(), repomd)
    };
    let (first, _) = ask().await;
    server.admin().put("/main/rpm/one-more-1.0-1.noarch.rpm", package("one-more", "1.0", "1", "noarch", "x")).await.is(201);
    let (next, repomd) = ask().await;
    let primary = server.anonymous().get(&format!("/main/rpm/{}", repomd.of("primary").expect("a document").href)).await.succeeded().body;
    let mut listed = 0;
    read::packages(&mut read::open(&*primary).expect("a document"), &mut |_| {
        listed += 1;
        Ok(())
    })
    .expect("packages");
    assert_eq!(listed, packages + 1);
    let run = |arguments: &[&str]| {
        let begun = Instant::now();
        workshop.run("createrepo_c", arguments).succeeded();
        begun.elapsed()
    };
    let theirs = run(&["--quiet", "--no-database", "--compress-type", "gz", &place]);
    std::fs::write(folder.join("one-more-1.0-1.noarch.rpm"), package("one-more", "1.0", "1", "noarch", "x")).unwrap();
    let update = run(&["--quiet", "--no-database", "--compress-type", "gz", "--update", &place]);
    println!(
        "{packages} packages: metadata is here {} ms after the last upload and {} ms after one more; createrepo_c takes {} ms, and with --update {} ms",
        first.as_millis(),
        next.as_millis(),
        theirs.as_millis(),
        update.as_millis()
    );
}
