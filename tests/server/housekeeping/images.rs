//! Images: tags by rule, manifests without a tag, layers without a manifest, and the past.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn tags_go_by_rule_then_their_manifests_then_their_bytes() {
    let later = Later::start().await;
    later.repository("img", "oci", Kind::Hosted, json!({ "retention": { "keep": 1, "protect": ["stable"], "history_days": 60 } })).await;
    let large = vec![7; 100_000];
    let old = later.push("img/app", Some("old"), &large).await;
    later.push("img/app", Some("stable"), b"stable").await;
    later.pass(1);
    let new = later.push("img/app", Some("new"), b"new").await;
    let report = later.tidy("img").await;
    assert_eq!(gone(&report, "version"), ["old"]);
    assert_eq!((reason(&report, "stable").as_str(), reason(&report, "new").as_str()), ("protected", "among the newest"));
    assert_eq!(later.status("img/app/manifests/old").await, StatusCode::NOT_FOUND);
    assert_eq!(later.status(&format!("img/app/manifests/{old}")).await, StatusCode::OK, "its manifest has its time");
    let ended = later.history("img").await.remove(0);
    assert_eq!([&ended["action"], &ended["principal"], &ended["subject"]], ["retention", "retention", "app old"]);
    // It can be taken back.
    let restored = later.owner(Call::post("/api/v1/repositories/alpha/img/packages/app/versions/old/restore", "")).await;
    assert_eq!(restored.status, StatusCode::OK, "{}", restored.text());
    assert_eq!(later.oci(Method::GET, "img/app/manifests/old").await.header("docker-content-digest"), old);
    assert_eq!(gone(&later.tidy("img").await, "version"), ["old"]);

    later.pass(20);
    assert!(gone(&later.tidy("img").await, "document").is_empty());
    later.pass(31);
    // Somebody asked for it 31 days ago, by HEAD as nodes do that have it: not long enough yet when its tag went.
    let report = later.tidy("img").await;
    assert_eq!(gone(&report, "document"), [format!("app/manifests/{old}")]);
    assert_eq!(gone(&report, "part"), [format!("app/blobs/{}", digest(&large))], "what the others need stays");
    for path in [format!("img/app/manifests/{old}"), format!("img/app/blobs/{}", digest(&large))] {
        assert_eq!(later.status(&path).await, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(later.collect().await, 0, "the past needs it");
    later.pass(61);
    let before = later.house.head("alpha/img");
    let report = later.tidy("img").await;
    assert!(report["forgotten"].as_u64().is_some_and(|rows| rows >= 4), "{report}");
    assert!(later.collect().await >= 1, "its bytes are free");
    for tag in ["new", "stable"] {
        assert_eq!(later.oci(Method::GET, &format!("img/app/manifests/{tag}")).await.status, StatusCode::OK);
    }
    assert_eq!(later.status(&format!("img/app/manifests/{new}")).await, StatusCode::OK);
    // The past begins where it was cut.
    let asked = later.oci(Method::GET, "img.at-r2/app/manifests/old").await;
    assert!(asked.status == StatusCode::NOT_FOUND && asked.text().contains("remembers its past from revision"), "{}", asked.text());
    assert_eq!(later.oci(Method::GET, &format!("img.at-r{before}/app/manifests/new")).await.status, StatusCode::OK);
    let restored = later.owner(Call::post("/api/v1/repositories/alpha/img/packages/app/versions/old/restore", "")).await;
    assert_eq!(restored.status, StatusCode::NOT_FOUND, "{}", restored.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_refers_lives_as_long_as_its_subject_and_children_as_their_index() {
    let later = Later::start().await;
    later.repository("img", "oci", Kind::Hosted, json!({})).await;
    let (one, two) = (later.push("img/app", None, b"one").await, later.push("img/app", None, b"two").await);
    let tagged = later.manifest("img/app", Some("multi"), &index(&[&one])).await;
    let lost = later.manifest("img/app", None, &index(&[&two])).await;
    let mut referrers = Vec::new();
    for subject in [&one, &two] {
        let layer = format!("signature of {subject}");
        later.blob("img/app", layer.clone()).await;
        referrers.push(later.manifest("img/app", None, &manifest(layer.as_bytes(), Some(subject))).await);
    }
    later.pass(29);
    assert!(gone(&later.tidy("img").await, "document").is_empty());
    later.pass(2);
    let report = later.tidy("img").await;
    let mut expected = [&two, &lost, &referrers[1]].map(|digest| format!("app/manifests/{digest}"));
    expected.sort();
    assert_eq!(gone(&report, "document"), expected);
    assert_eq!(gone(&report, "part").len(), 2, "the layer and the signature: {report}");
    for digest in [&one, &tagged, &referrers[0]] {
        assert_eq!(later.status(&format!("img/app/manifests/{digest}")).await, StatusCode::OK);
    }
    let listed = later.oci(Method::GET, &format!("img/app/referrers/{two}")).await.json();
    assert_eq!(listed["manifests"], json!([]));
    let listed = later.oci(Method::GET, &format!("img/app/referrers/{one}")).await.json();
    assert_eq!(listed["manifests"][0]["digest"], json!(referrers[0]));
    // The subject goes, and with it what refers to it; then nothing is left of the image.
    assert_eq!(later.oci(Method::DELETE, "img/app/manifests/multi").await.status, StatusCode::ACCEPTED);
    later.pass(31);
    // Looking at them a moment ago was no use: that was 31 days ago.
    let report = later.tidy("img").await;
    assert_eq!((gone(&report, "document").len(), gone(&report, "package")), (3, vec![String::from("app")]), "{report}");
    assert_eq!(later.oci(Method::GET, "img/app/tags/list").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_counts_on_what_was_tidied_away_brings_it_back() {
    let later = Later::start().await;
    later.repository("img", "oci", Kind::Hosted, json!({})).await;
    let layer = vec![9; 100_000];
    later.push("img/app", Some("v1"), b"other").await;
    later.blob("img/app", layer.clone()).await;
    // And one for an image that nobody ever pushed.
    later.blob("img/never", b"never".to_vec()).await;
    later.pass(2);
    let path = format!("img/app/blobs/{}", digest(&layer));
    // The client sees the layer, and does not send it.
    assert_eq!(later.status(&path).await, StatusCode::OK);
    let report = later.tidy("img").await;
    assert_eq!(gone(&report, "part").len(), 2, "{report}");
    assert_eq!(later.status(&path).await, StatusCode::NOT_FOUND);
    assert_eq!(later.put_manifest("img/app", "v2", &manifest(&layer, None)).await.status, StatusCode::CREATED);
    assert_eq!(later.oci(Method::GET, &path).await.body, layer);
    // Two days after it is too late: the client is told, and nothing is lost.
    later.blob("img/app", b"late".to_vec()).await;
    later.pass(2);
    later.tidy("img").await;
    later.pass(2);
    let refused = later.put_manifest("img/app", "v3", &manifest(b"late", None)).await;
    assert_eq!((refused.status, refused.json()["errors"][0]["code"].clone()), (StatusCode::BAD_REQUEST, json!("MANIFEST_BLOB_UNKNOWN")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_stays() {
    let later = Later::start().await;
    later.repository("img", "oci", Kind::Hosted, json!({ "retention": { "not_pulled_days": 30 } })).await;
    for tag in ["pulled", "by-digest", "idle"] {
        later.push("img/app", Some(tag), tag.as_bytes()).await;
    }
    let by_digest = later.oci(Method::HEAD, "img/app/manifests/by-digest").await.header("docker-content-digest").to_owned();
    later.pass(25);
    assert_eq!(later.oci(Method::GET, "img/app/manifests/pulled").await.status, StatusCode::OK);
    assert_eq!(later.oci(Method::GET, &format!("img/app/manifests/{by_digest}")).await.status, StatusCode::OK);
    later.pass(10);
    let report = later.tidy("img").await;
    assert_eq!(gone(&report, "version"), ["idle"]);
    assert_eq!((reason(&report, "pulled").as_str(), reason(&report, "by-digest").as_str()), ("pulled lately", "pulled lately"));
    let versions = later.owner(Call::get("/api/v1/repositories/alpha/img/packages/app/versions")).await.json();
    let of = |name: &str| versions["items"].as_array().expect("items").iter().find(|item| item["version"] == name).expect("a version").clone();
    assert_eq!((of("pulled")["pulls"].clone(), of("by-digest")["pulls"].clone()), (json!(1), json!(1)));
    let last = Timestamp::parse_rfc3339(of("pulled")["last_pulled"].as_str().expect("a time")).expect("a time");
    assert!((later.house.engine().now().0 - last.0 - 10 * DAY).abs() < DAY);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_checked_and_kept_by_managers_only() {
    let later = Later::start().await;
    later.repository("img", "oci", Kind::Hosted, json!({})).await;
    later.repository("npm", "npm", Kind::Hosted, json!({})).await;
    let set = |retention: Value| {
        let body = json!({ "retention": retention }).to_string();
        later.owner(Call { method: Method::PATCH, ..Call::put("/api/v1/repositories/alpha/img", body) }.with("Content-Type", "application/json"))
    };
    for (retention, text) in
        [(json!({ "keep": 0 }), "retention.keep"), (json!({ "protect": ["("] }), "retention.protect"), (json!({ "days": 1 }), "retention.days")]
    {
        let refused = set(retention).await;
        assert!(refused.status == StatusCode::BAD_REQUEST && refused.text().contains(text), "{}", refused.text());
    }
    let good = set(json!({ "keep": 3, "untagged_days": 7 })).await;
    assert_eq!((good.status, good.json()["retention"]["keep"].clone()), (StatusCode::OK, json!(3)));
    let ask = |name: &str| Call::post(format!("/api/v1/repositories/alpha/{name}/retention?dry_run=true"), "");
    assert_eq!(later.house.call(ask("img")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(later.house.call_as("beta-owner", ask("img")).await.status, StatusCode::FORBIDDEN);
    let none = later.owner(ask("npm")).await;
    assert!(none.status == StatusCode::CONFLICT && none.text().contains("has no rules"), "{}", none.text());
    let (engine, now) = (later.house.engine(), later.house.engine().now());
    assert!(engine.catalog.take_lease("gc", "a backup", now, now.plus(600_000)).await.expect("taken"));
    let busy = later.owner(Call::post("/api/v1/repositories/alpha/img/retention", "")).await;
    assert_eq!(busy.status, StatusCode::SERVICE_UNAVAILABLE, "{}", busy.text());
}

/// Pushes, pulls and rules at the same time: what has a tag is whole, always. Only the days pass between two pushes, not within one: whoever
/// takes days for one finds the parts gone that no manifest held meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_pushed_meanwhile_is_lost() {
    let later = Arc::new(Later::start().await);
    later.repository("img", "oci", Kind::Hosted, json!({ "retention": { "keep": 2, "untagged_days": 1 } })).await;
    later.push("img/app", Some("base"), b"base").await;
    let day = Arc::new(tokio::sync::RwLock::new(()));
    let pushers: Vec<_> = (0..3_u8)
        .map(|number| {
            let (later, day) = (Arc::clone(&later), Arc::clone(&day));
            tokio::spawn(async move {
                for round in 0..8_u8 {
                    let _same_day = day.read().await;
                    // Layers that others push too, and that lose their manifest all the time.
                    let layer = vec![(number + round) % 3; 70_000];
                    let tag = format!("t{number}-{round}");
                    later.push("img/app", Some(&tag), &layer).await;
                    let manifest = later.oci(Method::GET, &format!("img/app/manifests/{tag}")).await;
                    if manifest.status == StatusCode::OK {
                        let path = format!("img/app/blobs/{}", digest(&layer));
                        let whole = later.oci(Method::GET, &path).await;
                        assert!(whole.body == layer, "{tag}: {} {}", whole.status, whole.body.len());
                    }
                }
            })
        })
        .collect();
    let tidier = {
        let later = Arc::clone(&later);
        tokio::spawn(async move {
            for _ in 0..6 {
                let night = day.write().await;
                later.pass(2);
                drop(night);
                later.house.settle().await;
                let reply = later.owner(Call::post("/api/v1/repositories/alpha/img/retention", "")).await;
                assert!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&reply.status), "{}", reply.text());
                later.collect_after(Duration::from_secs(3600)).await;
            }
        })
    };
    for pusher in pushers {
        pusher.await.expect("a pusher ends well");
    }
    tidier.await.expect("the tidier ends well");
    let tags = later.oci(Method::GET, "img/app/tags/list").await.json();
    let tags: Vec<String> = tags["tags"].as_array().expect("tags").iter().map(|tag| tag.as_str().expect("a tag").to_owned()).collect();
    assert!(tags.len() >= 2, "{tags:?}");
    for tag in tags {
        let manifest = later.oci(Method::GET, &format!("img/app/manifests/{tag}")).await.json();
        for part in [&manifest["config"], &manifest["layers"][0]] {
            let path = format!("img/app/blobs/{}", part["digest"].as_str().expect("a digest"));
            let blob = later.oci(Method::GET, &path).await;
            assert_eq!((blob.status, json!(blob.body.len())), (StatusCode::OK, part["size"].clone()), "{tag}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_comes_back_with_all_that_went_after_it() {
    let later = Later::start().await;
    later.repository("img", "oci", Kind::Hosted, json!({ "retention": { "keep": 1 } })).await;
    let layer = vec![5; 100_000];
    let image = later.push("img/app", None, &layer).await;
    let list = later.manifest("img/app", Some("old"), &index(&[&image])).await;
    later.blob("img/app", b"signature".to_vec()).await;
    let signature = later.manifest("img/app", None, &manifest(b"signature", Some(&list))).await;
    later.pass(1);
    later.push("img/app", Some("new"), b"new").await;
    assert_eq!(gone(&later.tidy("img").await, "version"), ["old"]);
    later.pass(31);
    let report = later.tidy("img").await;
    assert_eq!((gone(&report, "document").len(), gone(&report, "part").len()), (3, 2), "{report}");
    let restored = later.owner(Call::post("/api/v1/repositories/alpha/img/packages/app/versions/old/restore", "")).await;
    assert_eq!(restored.status, StatusCode::OK, "{}", restored.text());
    for path in [String::from("manifests/old"), format!("manifests/{list}"), format!("manifests/{image}"), format!("manifests/{signature}")] {
        assert_eq!(later.status(&format!("img/app/{path}")).await, StatusCode::OK, "{path}");
    }
    assert_eq!(later.oci(Method::GET, &format!("img/app/blobs/{}", digest(&layer))).await.body, layer);
    let listed = later.oci(Method::GET, &format!("img/app/referrers/{list}")).await.json();
    assert_eq!(listed["manifests"][0]["digest"], json!(signature));
    // A manifest that somebody deleted comes back the same way, with what it needs.
    assert_eq!(later.oci(Method::DELETE, &format!("img/app/manifests/{list}")).await.status, StatusCode::ACCEPTED);
    later.pass(31);
    later.tidy("img").await;
    let entry = json!({ "path": format!("app/manifests/{list}") }).to_string();
    let restored = later.owner(Call::post("/api/v1/repositories/alpha/img/entries/restore", entry).with("Content-Type", "application/json")).await;
    assert_eq!(restored.status, StatusCode::OK, "{}", restored.text());
    assert_eq!(later.status(&format!("img/app/blobs/{}", digest(&layer))).await, StatusCode::OK);
}
