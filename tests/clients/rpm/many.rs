//! A repository that grows: its last packages cost what its first did, and its metadata is made quickly.

use std::time::{Duration, Instant};

use entrepot_format_rpm::repodata::{Repomd, read};
use entrepot_format_rpm::testing::{Value, header, package, tags};
use futures::StreamExt as _;

use super::Workshop;
use crate::support::TestServer;
use crate::support::process::variable;

/// Packages of the repository, unless `ENTREPOT_TEST_PACKAGES` says how many, and how many uploads are looked at together.
const PACKAGES: usize = 600;
const WINDOW: usize = 100;

fn packages() -> usize {
    variable("ENTREPOT_TEST_PACKAGES").and_then(|count| count.parse().ok()).unwrap_or(PACKAGES)
}

fn path(number: usize) -> String {
    format!("Packages/{}/grows{number}-1.0-1.noarch.rpm", number % 20)
}

/// A package with dependencies, files and a change log, as packages have them.
fn file(number: usize) -> Vec<u8> {
    const FILES: usize = 40;
    const CHANGES: usize = 10;
    let (name, payload) = (format!("grows{number}"), b"x");
    let texts = |count: usize, text: &dyn Fn(usize) -> String| Value::Texts((0..count).map(|at| text(at).into_bytes()).collect());
    let numbers = |count: u32, of: &dyn Fn(u32) -> u32| Value::Numbers((0..count).map(of).collect());
    let mut tags = tags(&name, "1.0", "1", "noarch", payload);
    tags.extend([
        (1030, Value::Shorts(vec![0o100_644; FILES])),
        (1037, Value::Numbers(vec![0; FILES])),
        (1048, Value::Numbers(vec![8; 12])),
        (1049, texts(12, &|at| format!("dependency{}-{at}", number % 97))),
        (1050, texts(12, &|at| format!("1.{at}"))),
        (1080, numbers(10, &|at| 1_700_000_000 - at * 86_400)),
        (1081, texts(CHANGES, &|at| format!("Packager <packager{}@example.com> - 1.0-{at}", number % 50))),
        (1082, texts(CHANGES, &|at| format!("- Mends defect {} of {name}\n- Built anew", number * 13 + at * 7919))),
        (1116, numbers(40, &|at| at % 3)),
        (1117, texts(FILES, &|at| format!("file{number}-{at}.so"))),
        (1118, texts(3, &|at| [String::from("/usr/bin/"), format!("/usr/lib64/{name}/"), format!("/usr/share/doc/{name}/")][at].clone())),
    ]);
    tags.sort_by_key(|(tag, _)| *tag);
    entrepot_format_rpm::testing::file(&header(&tags), payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_the_last_package_of_a_repository_costs_what_the_tenth_did() {
    let (server, packages) = (TestServer::start(), packages());
    let api = server.admin();
    let mut marks = Vec::new();
    for number in 0..packages {
        if [10, 10 + WINDOW, packages - WINDOW].contains(&number) {
            marks.push((server.written(), Instant::now()));
        }
        api.put(&format!("/main/rpm/{}", path(number)), file(number)).await.is(201);
    }
    marks.push((server.written(), Instant::now()));
    let between = |from: usize, to: usize| (marks[to].0 - marks[from].0, marks[to].1 - marks[from].1);
    let ((first, at_first), (last, at_last)) = (between(0, 1), between(2, 3));
    println!("{packages} packages: {WINDOW} from the tenth on wrote {first} bytes in {at_first:?}, the last {WINDOW} wrote {last} in {at_last:?}");
    assert!(last * 2 <= first * 3, "the tenth and {WINDOW} more wrote {first} bytes, the last {WINDOW} of {packages} wrote {last}");
}

/// Prints how long metadata of many packages takes here and with createrepo_c.
#[tokio::test(flavor = "multi_thread")]
async fn rpm_metadata_of_many_packages_is_made_at_once() {
    let (mut server, packages) = (TestServer::start(), packages());
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
    // Nothing of it is in memory.
    server.restart();
    let (first, _) = ask(&server).await;
    server.admin().put("/main/rpm/one-more-1.0-1.noarch.rpm", package("one-more", "1.0", "1", "noarch", "x")).await.is(201);
    let (next, repomd) = ask(&server).await;
    let primary = server.anonymous().get(&format!("/main/rpm/{}", repomd.of("primary").expect("a document").href)).await.succeeded().body;
    assert_eq!(listed(&primary), packages + 1);
    let run = |arguments: &[&str]| {
        let begun = Instant::now();
        workshop.run("createrepo_c", arguments).succeeded();
        begun.elapsed()
    };
    let theirs = run(&["--quiet", "--no-database", "--compress-type", "gz", &place]);
    std::fs::write(folder.join("one-more-1.0-1.noarch.rpm"), package("one-more", "1.0", "1", "noarch", "x")).unwrap();
    let update = run(&["--quiet", "--no-database", "--compress-type", "gz", "--update", &place]);
    let made = Repomd::parse(&std::fs::read(folder.join("repodata/repomd.xml")).unwrap()).expect("a repomd.xml");
    assert_eq!(listed(&std::fs::read(folder.join(&made.of("primary").expect("a document").href)).unwrap()), packages + 1);
    println!(
        "{packages} packages: all metadata is made here in {} ms by a server that was just started, and in {} ms after one more package; createrepo_c takes {} ms, and with --update {} ms: {:.1} and {:.1} times as long",
        first.as_millis(),
        next.as_millis(),
        theirs.as_millis(),
        update.as_millis(),
        update.as_secs_f64() / first.as_secs_f64(),
        update.as_secs_f64() / next.as_secs_f64(),
    );
}

async fn ask(server: &TestServer) -> (Duration, Repomd) {
    let api = server.anonymous();
    let begun = Instant::now();
    let answer = api.get("/main/rpm/repodata/repomd.xml").await.succeeded();
    (begun.elapsed(), Repomd::parse(&answer.body).expect("a repomd.xml"))
}

/// Packages of a primary document.
fn listed(primary: &[u8]) -> usize {
    let mut listed = 0;
    read::packages(&mut read::open(primary).expect("a document"), &mut |_| {
        listed += 1;
        Ok(())
    })
    .expect("packages");
    listed
}
