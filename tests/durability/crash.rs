//! `kill -9` at random moments while publishers work, and a look at everything that is there afterwards.
#![cfg(test)]

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use http::StatusCode;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::items::{Item, Outcome, PACKAGES, mixed};
use crate::support::TestServer;
use crate::support::process::variable;
use crate::{token, verified};

/// Publishers at the same time.
const PUBLISHERS: usize = 8;
/// Requests at the same time of whoever looks at what is there.
const READERS: usize = 4;
/// Longest wait between the acknowledgement that was chosen and the kill, in milliseconds.
const LATER: u64 = 40;
/// How often a publish is tried while one replica of two is away, and the wait before the next time.
const TRIES: usize = 50;
const AGAIN: Duration = Duration::from_millis(100);

fn number(name: &str, default: usize) -> usize {
    variable(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")))
}

/// Who is killed in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    /// Every process at the same moment.
    All,
    /// One of the replicas; the publishers go on with the other.
    One,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    rounds_of_kills(TestServer::builder().alone().start(), &[Killed::All]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_replicas_are_killed() {
    rounds_of_kills(TestServer::builder().replicas().start(), &[Killed::All, Killed::One]).await;
}

async fn rounds_of_kills(mut server: TestServer, kinds: &[Killed]) {
    let (rounds, publishes) = (number("ENTREPOT_TEST_ROUNDS", 3), number("ENTREPOT_TEST_PUBLISHES", 150));
    let seed = variable("ENTREPOT_TEST_SEED").map_or_else(|| getrandom::u64().unwrap(), |text| text.parse().unwrap());
    println!("{rounds} rounds of {publishes} publishes by {PUBLISHERS} publishers; ENTREPOT_TEST_SEED={seed} chooses the same moments again");
    let token = token(&server).await;
    for round in 0..rounds {
        let (random, killed) = (mixed(seed ^ round as u64), kinds[round % kinds.len()]);
        let line = one_round(&mut server, &token, round, publishes, random, killed).await;
        println!("round {} ({killed:?} killed): {line}", round + 1);
    }
    // What survived the crash that followed must survive the later ones too.
    let everything: Vec<Item> = (0..rounds).flat_map(|round| items(round, publishes)).collect();
    let there = existing(&server, &token, &everything).await;
    assert_eq!(there.len(), everything.len());
    server.stop();
    verified(&server);
    println!("after {rounds} rounds: {} publishes acknowledged, {} found, half there 0", everything.len(), there.len());
}

fn items(round: usize, publishes: usize) -> impl Iterator<Item = Item> {
    (0..publishes).map(move |number| Item { round, number })
}

/// What publishers noted.
#[derive(Default)]
struct Notes {
    acknowledged: Vec<Item>,
    unanswered: Vec<Item>,
}

/// Publishes, kills and looks; gives what it found.
async fn one_round(server: &mut TestServer, token: &str, round: usize, publishes: usize, random: u64, killed: Killed) -> String {
    let kill_at = 1 + usize::try_from(random % publishes as u64).unwrap();
    let (notes, next) = (Arc::new(Mutex::new(Notes::default())), Arc::new(AtomicUsize::new(0)));
    let (count, mut counted) = watch::channel(0);
    let mut publishers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let (api, notes, next, count) = (server.with_token(token), Arc::clone(&notes), Arc::clone(&next), count.clone());
        publishers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= publishes {
                    return;
                }
                let item = Item { round, number };
                let mut tries = 1;
                let mut outcome = item.publish(&api).await;
                while killed == Killed::One && matches!(outcome, Outcome::Unanswered) {
                    assert!(tries < TRIES, "{item:?}: the replica that lives does not answer");
                    tokio::time::sleep(AGAIN).await;
                    (outcome, tries) = (item.publish(&api).await, tries + 1);
                }
                match outcome {
                    // What the killed replica did without having answered is refused as published before.
                    Outcome::Taken if tries > 1 => notes.lock().unwrap().acknowledged.push(item),
                    Outcome::Acknowledged => {
                        notes.lock().unwrap().acknowledged.push(item);
                        count.send_modify(|count| *count += 1);
                    }
                    // The server is gone.
                    Outcome::Unanswered => return notes.lock().unwrap().unanswered.push(item),
                    other => panic!("{item:?}: {other:?}"),
                }
            }
        });
    }
    drop(count);
    // An error means that all publishers are through: they were quicker than the kill.
    let _ = counted.wait_for(|count| *count >= kill_at).await;
    tokio::time::sleep(Duration::from_millis(mixed(random) % (LATER + 1))).await;
    match killed {
        Killed::All => server.kill(),
        Killed::One => server.kill_replica(usize::from(random & 1 == 1)),
    }
    while let Some(ended) = publishers.join_next().await {
        ended.unwrap();
    }
    let Notes { acknowledged, unanswered } = std::mem::take(&mut *notes.lock().unwrap());
    verified(server);
    let all: Vec<Item> = items(round, publishes).collect();
    match killed {
        Killed::All => server.restart(),
        Killed::One => {
            assert!(unanswered.is_empty() && acknowledged.len() == all.len(), "the publishers were to go on: {unanswered:?}");
            server.start_replica(usize::from(random & 1 == 1));
        }
    }

    let there = existing(server, token, &all).await;
    let lost: Vec<_> = acknowledged.iter().filter(|item| !there.contains(item)).collect();
    assert!(lost.is_empty(), "acknowledged before the kill and gone after it: {lost:?}");
    let found = acknowledged.len() - lost.len();
    let unasked: Vec<_> = there.iter().filter(|item| !acknowledged.contains(item) && !unanswered.contains(item)).collect();
    assert!(unasked.is_empty(), "there without having been sent: {unasked:?}");
    let made_it = unanswered.iter().filter(|item| there.contains(item)).count();

    // Publishing goes on: what was not answered is sent again, and then the rest.
    let api = &server.with_token(token);
    let missing: Vec<Item> = all.iter().filter(|item| !acknowledged.contains(item)).copied().collect();
    let (unanswered, existing_before) = (&unanswered, &there);
    futures::stream::iter(missing)
        .for_each_concurrent(PUBLISHERS, |item| async move {
            match (item.publish(api).await, existing_before.contains(&item)) {
                (Outcome::Acknowledged, false) => {}
                // The same file may be sent again; a version that is there is refused.
                (Outcome::Acknowledged, true) if unanswered.contains(&item) && !item.is_package() => {}
                (Outcome::Taken, true) if unanswered.contains(&item) => {}
                (outcome, before) => panic!("after the restart, {item:?} (there before: {before}): {outcome:?}"),
            }
        })
        .await;
    let there = existing(server, token, &all).await;
    assert_eq!(there.len(), all.len(), "not all of what was published after the restart is there");
    format!(
        "{} publishes were acknowledged, {} unanswered ({made_it} of them there), {found} found, half there 0; then all {} acknowledged and found",
        acknowledged.len(),
        unanswered.len(),
        all.len()
    )
}

/// Which of these are there; makes sure that each is whole or not there at all.
async fn existing(server: &TestServer, token: &str, items: &[Item]) -> HashSet<Item> {
    let api = &server.with_token(token);
    let rounds: BTreeSet<usize> = items.iter().map(|item| item.round).collect();
    let mut listed = HashSet::new();
    for round in rounds {
        for package in 0..PACKAGES {
            let name = Item { round, number: package }.package();
            let reply = api.get(&format!("/main/npm/{name}")).await;
            if reply.status == StatusCode::NOT_FOUND {
                continue;
            }
            let packument = reply.is(200).json();
            let versions = packument["versions"].as_object().unwrap();
            let latest = packument["dist-tags"]["latest"].as_str().unwrap();
            assert!(versions.contains_key(latest), "{name}: \"latest\" is {latest}, which is not there");
            listed.extend(versions.keys().map(|version| Item::of_version(round, version)));
        }
        let mut after = String::new();
        loop {
            let reply = api.get(&format!("/main/generic/crash/{round}/?format=json&limit=1000{after}")).await;
            if reply.status == StatusCode::NOT_FOUND {
                break;
            }
            let page = reply.is(200).json();
            listed.extend(page["items"].as_array().unwrap().iter().map(|file| Item::of_path(file["path"].as_str().unwrap())));
            match page["after"].as_str() {
                Some(last) => after = format!("&after={last}"),
                None => break,
            }
        }
    }
    let there = &listed;
    let half: Vec<String> = futures::stream::iter(items.iter().copied())
        .map(|item| async move {
            match (item.read(api).await, there.contains(&item)) {
                (Ok(true), true) | (Ok(false), false) => None,
                (Ok(true), false) => Some(format!("{} can be read and is in no list", item.url())),
                (Ok(false), true) => Some(format!("{} is listed and cannot be read", item.url())),
                (Err(problem), _) => Some(problem),
            }
        })
        .buffer_unordered(READERS)
        .filter_map(|problem| async move { problem })
        .collect()
        .await;
    assert!(half.is_empty(), "half there: {half:#?}");
    listed
}
