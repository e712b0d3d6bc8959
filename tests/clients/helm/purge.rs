//! A cache in front that is told of changes.

use std::time::{Duration, Instant};

use super::{HELMS, Helm};
use crate::support::TestServer;
use crate::upstream::{Gate, Reply, ScriptedUpstream};

const PATIENCE: Duration = Duration::from_secs(120);

fn configuration(cache: &str) -> String {
    let purge = |url: &str| format!("purge = {{ url = \"{cache}{url}\", method = \"PURGE\", header = \"X-Cache-Key\", secret = \"hush-hush\" }}");
    format!(
        "[[repository]]\nname = \"helm\"\nformat = \"helm\"\ntags = {{ visibility = \"public\" }}\nsettings = {{ {} }}\n\
         [[repository]]\nname = \"all\"\nformat = \"helm\"\nkind = \"group\"\ntags = {{ visibility = \"public\" }}\nmembers = [\"main/helm\"]\nsettings = {{ {} }}\n\
         [[repository]]\nname = \"other\"\nformat = \"helm\"\ntags = {{ visibility = \"public\" }}\n",
        purge("/{system}/{repository}/index.yaml?revision={revision}"),
        purge("/all")
    )
}

async fn called(cache: &ScriptedUpstream, path: &str, count: usize) {
    let until = Instant::now() + PATIENCE;
    while cache.count(path) < count {
        assert!(Instant::now() < until, "{path} was called {} times, not {count}: {:?}", cache.count(path), cache.seen());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_charts_that_change_are_told_to_the_cache_in_front() {
    let cache = ScriptedUpstream::start().await;
    let (index, gate) = ("/main/helm/index.yaml", Gate::shut());
    // Busy at first, then hanging, then well.
    let replies = [Reply::status(503), Reply::status(200), Reply::bytes("late").held_after(0, &gate), Reply::status(204)];
    cache.answer_in_turn(&format!("{index}?revision=1"), replies[..2].to_vec());
    for revision in 2..=5 {
        cache.answer_in_turn(&format!("{index}?revision={revision}"), replies[2..].to_vec());
    }
    cache.answer("/all", Reply::status(200));
    let server = TestServer::builder().config(configuration(&cache.url())).start();
    let helm = Helm::new(HELMS[1]);
    let publish = |repository: &str, version: &str| {
        let file = helm.package("web", version, &[]);
        helm.cm_push(&server.url(&format!("/main/{repository}/api/charts")), &file).succeeded();
    };
    publish("helm", "1.0.0");
    called(&cache, index, 2).await;
    let first = &cache.seen_at(index)[0];
    assert_eq!((first.method.as_str(), first.header("x-cache-key")), ("PURGE", Some("hush-hush")));
    called(&cache, "/all", 1).await;
    // The cache hangs: nothing that is published waits for it, and one call follows for all that came meanwhile.
    publish("helm", "1.1.0");
    called(&cache, index, 3).await;
    publish("helm", "1.2.0");
    publish("helm", "1.3.0");
    publish("other", "1.0.0");
    gate.open();
    let newest = format!("{index}?revision=4");
    let until = Instant::now() + PATIENCE;
    while !cache.seen().iter().any(|seen| seen.target == newest) {
        assert!(Instant::now() < until, "the newest state is never told: {:?}", cache.seen().iter().map(|seen| &seen.target).collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!cache.seen().iter().any(|seen| seen.target.contains("other")), "nobody asked for that");
    println!("the cache was told of 4 changes by {} calls, one of them a second try", cache.count(index));
    // Its secret is nobody's, and nobody but the operator has it sent anywhere.
    let shown = server.admin().get("/api/v1/repositories/main/helm").await.succeeded().text();
    let config = server.command(&["config", "show"]).succeeded().stdout;
    assert!(shown.contains("X-Cache-Key") && config.contains("X-Cache-Key"), "{shown} {config}");
    assert!(!format!("{shown}{config}{}", server.log()).contains("hush-hush"));
    let mine = serde_json::json!({ "system": "main", "name": "mine", "format": "helm", "kind": "hosted", "purge": { "url": cache.url() } });
    let refused = server.admin().json(http::Method::POST, "/api/v1/repositories", &mine).await.is(400);
    assert!(refused.text().contains("in the configuration file only"), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_charts_are_published_while_the_cache_in_front_is_gone() {
    let cache = ScriptedUpstream::start().await;
    cache.stop().await;
    let server = TestServer::builder().config(configuration(&cache.url())).start();
    let helm = Helm::new(HELMS[0]);
    let file = helm.package("web", "1.0.0", &[]);
    helm.cm_push(&server.url("/main/helm/api/charts"), &file).succeeded();
    let until = Instant::now() + PATIENCE;
    while server.log_lines(&["the cache in front could not be told", "main/helm"]) == 0 {
        assert!(Instant::now() < until, "it is never given up:\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!server.log().contains("hush-hush"));
    helm.add("ours", &server.url("/main/helm"));
    assert_eq!(helm.search("ours/web").len(), 1);
}
