//! Two replicas that have a Redis, that lose it, and that are lied to by it.
#![cfg(test)]

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::link::{Link, State};
use crate::support::TestServer;
use crate::support::api::Api;
use crate::support::storage::redis::Redis;

const PATIENCE: Duration = Duration::from_secs(120);
/// What one user name may get wrong at once, and the time after which one of these is forgotten (`access::limiter`).
const FAILURES: usize = 10;
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// A pair, and clients of each of its replicas.
struct Pair {
    server: TestServer,
    each: Vec<Api>,
    redis: Redis,
    link: Link,
}

impl Pair {
    async fn start(state: State) -> Self {
        let redis = tokio::task::spawn_blocking(Redis::start).await.unwrap();
        let link = Link::to(redis.address());
        link.set(state);
        let server = TestServer::builder().replicas().variable("REDIS_URL", redis.url_through(link.address)).start();
        let token = crate::token(&server).await;
        let each = server.each_with_token(&token);
        assert_eq!(each.len(), 2);
        let pair = Self { server, each, redis, link };
        assert!(!pair.server.log().contains("password of the tests") && !pair.server.log().contains("password%20of"), "{}", pair.server.log());
        pair
    }

    /// A figure of a replica.
    async fn news(&self, replica: usize, outcome: &str) -> u64 {
        let text = self.each[replica].get("/metrics").await.succeeded().text();
        let name = format!("entrepot_replica_news_total{{outcome=\"{outcome}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    }

    /// Waits until both listen to what is told.
    async fn is_listening(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let channels = self.redis.channels();
            if let [channel] = &channels[..]
                && self.redis.ask(&["PUBLISH", channel, "nobody says nothing"]) == ":2"
            {
                return;
            }
            assert!(Instant::now() < until, "nobody listens: {channels:?}\n{}", self.server.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Publishes by one replica, and finds it at once by the other.
    async fn publish_and_find(&self, name: &str) {
        for (by, other) in [(0, 1), (1, 0)] {
            let path = format!("/main/generic/{name}-{by}");
            self.each[by].put(&path, name.to_owned()).await.succeeded();
            assert_eq!(self.each[other].get(&path).await.succeeded().text(), name);
            // What may be read follows at once too: a repository that one makes, the other serves.
            let made = format!("{name}-{by}");
            self.each[by]
                .json(http::Method::POST, "/api/v1/repositories", &serde_json::json!({ "system": "main", "name": made, "format": "generic", "kind": "hosted" }))
                .await
                .succeeded();
            self.each[other].put(&format!("/main/{made}/file"), "x").await.succeeded();
        }
    }

    /// How often a wrong password is looked at, in turns by both replicas, until it is refused unseen; and how many the limit forgot meanwhile.
    async fn guesses(&self, user: &str) -> (usize, usize) {
        let begun = Instant::now();
        for guess in 0..6 * FAILURES {
            let replica = Api::basic(self.each[guess % 2].base(), user, &format!("guess-{guess}"));
            let status = replica.get("/main/generic/nothing").await.status;
            if status == StatusCode::TOO_MANY_REQUESTS {
                let forgotten = begun.elapsed().as_secs() / FORGOTTEN_AFTER.as_secs();
                return (guess, usize::try_from(forgotten).unwrap());
            }
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{user}, {guess}");
        }
        panic!("{user} is never refused")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_with_redis_hear_of_changes_before_anybody_asks_them() {
    let pair = Pair::start(State::Open).await;
    pair.is_listening().await;
    pair.publish_and_find("first").await;
    // Nobody asks the second replica for anything but its figures, which look at no repository.
    let before = pair.news(1, "early").await;
    let until = Instant::now() + PATIENCE;
    let mut number = 0;
    while pair.news(1, "early").await == before {
        assert!(Instant::now() < until, "no news were early:\n{}", pair.server.log());
        pair.each[0].put(&format!("/main/generic/again-{number}"), "x").await.succeeded();
        number += 1;
    }
    let (told, heard) = (pair.news(0, "told").await, pair.news(1, "heard").await);
    println!("one replica told {told} times of changes, the other heard {heard}, the first time after {number} publishes");
    assert!(told > 0 && heard > 0);
    assert_eq!(pair.news(0, "dropped").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_limit_for_guessed_passwords_while_there_is_redis() {
    let pair = Pair::start(State::Open).await;
    pair.is_listening().await;
    let (together, forgotten) = pair.guesses("bob").await;
    // A Redis that is slow to answer on a busy machine is passed over now and then.
    assert!((FAILURES..2 * FAILURES + forgotten).contains(&together), "both let {together} guesses through, of which {forgotten} were forgotten");
    // The right password costs nothing, however often it is asked for anew.
    for _ in 0..3 * FAILURES {
        let admin = Api::basic(pair.each[0].base(), "admin", crate::support::ADMIN_PASSWORD);
        admin.get("/api/v1/repositories").await.succeeded();
    }
    pair.link.set(State::Cut);
    let (alone, _) = pair.guesses("carol").await;
    assert!(alone >= 2 * FAILURES, "without Redis each replica has its own limit, not {alone} together");
    println!("guesses that two replicas let through: {together} with Redis, {alone} without");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_work_without_the_redis_that_they_were_told_of() {
    // Not there when they start, there later, silent, and gone again.
    let pair = Pair::start(State::Cut).await;
    pair.publish_and_find("before").await;
    pair.link.set(State::Open);
    pair.is_listening().await;
    pair.publish_and_find("with").await;
    for (state, name) in [(State::Stalled, "silent"), (State::Cut, "gone")] {
        pair.link.set(state);
        let begun = Instant::now();
        pair.publish_and_find(name).await;
        // Signing in with a password is the one thing that asks Redis; it asks once, and goes on without an answer.
        Api::basic(pair.each[0].base(), "admin", "wrong").get("/api/v1/repositories").await;
        println!("with Redis {name} everything took {} ms", begun.elapsed().as_millis());
    }
    pair.link.set(State::Open);
    pair.is_listening().await;
    assert!(pair.server.log_lines(&["Redis (redis.url) cannot be reached"]) > 0, "{}", pair.server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_believe_nothing_that_redis_says() {
    let pair = Pair::start(State::Open).await;
    pair.is_listening().await;
    pair.publish_and_find("before").await;
    let channel = pair.redis.channels().remove(0);
    let huge = "x".repeat(100_000);
    let numbers = (0..40).map(|number| format!("liar head {number}"));
    let lies = [
        "liar head 9223372036854775807",
        "liar epoch 18446744073709551615",
        "liar upstream 1 ../../etc",
        "liar head 1; DROP TABLE versions",
        "\u{0}\u{1}",
        "",
        huge.as_str(),
    ];
    for lie in lies.into_iter().map(str::to_owned).chain(numbers) {
        assert_eq!(pair.redis.ask(&["PUBLISH", &channel, &lie]), ":2", "both still listen");
    }
    pair.publish_and_find("after").await;
    let until = Instant::now() + PATIENCE;
    while pair.news(1, "heard").await == 0 {
        assert!(Instant::now() < until, "the second replica hears nothing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    pair.publish_and_find("still").await;
}
