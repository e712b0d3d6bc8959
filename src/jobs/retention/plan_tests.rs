use std::collections::{BTreeSet, HashMap};

use entrepot_format_npm::Npm;
use entrepot_format_oci::Oci;
use entrepot_kit::{Format, Kind, Sha256Digest, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Judge, Plan, Reason};
use crate::registry::retention::Retention;
use crate::store::facts::{LiveEntry, LiveVersion, PackageFacts, Pulls};

const DAY: i64 = 24 * 3600 * 1000;
const NOW: Timestamp = Timestamp(1_000 * DAY);

fn digest(name: &str) -> Sha256Digest {
    Sha256Digest::of(name.as_bytes())
}

/// An image in the making: manifests are called by names that stand for their digests.
#[derive(Debug, Default)]
struct Image(PackageFacts);

impl Image {
    fn new() -> Self {
        Self(PackageFacts { package: String::from("img"), changed: 7, ..PackageFacts::default() })
    }

    fn entry(mut self, path: String, version: Option<&str>, blob: &str, days: i64) -> Self {
        self.0.entries.push(LiveEntry {
            path,
            package: Some(String::from("img")),
            version: version.map(str::to_owned),
            blob: digest(blob),
            size: 1,
            content_type: None,
            created: Timestamp(NOW.0 - days * DAY),
            pulls: None,
        });
        self
    }

    /// A manifest that was pushed so many days ago.
    fn manifest(self, name: &str, days: i64) -> Self {
        let path = place(name);
        self.entry(path, None, name, days)
    }

    fn tag(mut self, tag: &str, manifest: &str, days: i64) -> Self {
        self.0.versions.push(LiveVersion { version: tag.to_owned(), published: Timestamp(NOW.0 - days * DAY) });
        self.entry(format!("img/manifests/{tag}"), Some(tag), manifest, days)
    }

    fn child(self, index: &str, child: &str) -> Self {
        self.entry(format!("img/parents/sha256:{}/sha256:{}", digest(child).hex(), digest(index).hex()), None, index, 900)
    }

    fn referrer(self, subject: &str, referrer: &str) -> Self {
        self.entry(format!("img/referrers/sha256:{}/sha256:{}", digest(subject).hex(), digest(referrer).hex()), None, referrer, 900)
    }

    fn blob(self, name: &str, days: i64) -> Self {
        let path = format!("img/blobs/sha256:{}", digest(name).hex());
        self.entry(path, None, name, days)
    }

    /// The last path was asked for so many days ago.
    fn pulled(mut self, days: i64) -> Self {
        if let Some(entry) = self.0.entries.last_mut() {
            entry.pulls = Some(Pulls { last: Timestamp(NOW.0 - days * DAY), downloads: 1 });
        }
        self
    }

    fn released(mut self, manifest: &str, days: i64) -> Self {
        self.0.released.push((digest(manifest), Timestamp(NOW.0 - days * DAY)));
        self
    }

    fn plan(&self, rules: &Value) -> Plan {
        judge(&Oci, rules, &self.0)
    }

    /// The manifests that go, by name.
    fn going(&self, rules: &Value, names: &[&str]) -> Vec<String> {
        let gone: BTreeSet<String> = self.plan(rules).documents.into_iter().flatten().collect();
        names.iter().filter(|name| gone.contains(&place(name))).map(|name| (*name).to_owned()).collect()
    }
}

fn place(manifest: &str) -> String {
    format!("img/manifests/sha256:{}", digest(manifest).hex())
}

fn judge(format: &dyn Format, rules: &Value, facts: &PackageFacts) -> Plan {
    let rules = Retention::from_settings(&json!({ "retention": rules }), Kind::Hosted, format).expect("rules");
    Judge { rules: &rules, format, now: NOW, since: Timestamp(0) }.plan(facts)
}

fn reasons(plan: &Plan) -> HashMap<&str, Reason> {
    plan.stays.iter().map(|(version, reason)| (version.as_str(), *reason)).collect()
}

#[test]
fn without_rules_no_version_goes() {
    let image = Image::new().manifest("a", 900).tag("v1", "a", 900);
    let plan = image.plan(&json!({}));
    assert_eq!((plan.versions.len(), plan.documents.len()), (0, 0));
    assert_eq!(reasons(&plan)["v1"], Reason::NoRule);
}

#[test]
fn all_given_conditions_must_hold() {
    let image = Image::new().tag("old", "a", 200).tag("used", "b", 200).pulled(5).tag("young", "c", 10).tag("newest", "d", 1);
    for (rules, gone) in [
        (json!({ "keep": 1 }), vec!["old", "used", "young"]),
        (json!({ "keep": 2 }), vec!["old", "used"]),
        (json!({ "keep": 4 }), vec![]),
        (json!({ "older_than_days": 90 }), vec!["old", "used"]),
        (json!({ "not_pulled_days": 30 }), vec!["old"]),
        (json!({ "keep": 3, "not_pulled_days": 3 }), vec!["old"]),
        (json!({ "keep": 1, "older_than_days": 90, "not_pulled_days": 30 }), vec!["old"]),
        (json!({ "keep": 1, "protect": ["o.*", "used"] }), vec!["young"]),
    ] {
        assert_eq!(image.plan(&rules).versions, gone, "{rules}");
    }
    let plan = image.plan(&json!({ "keep": 1, "older_than_days": 90, "not_pulled_days": 30, "protect": ["old"] }));
    let reasons = reasons(&plan);
    assert_eq!((reasons["old"], reasons["used"], reasons["young"], reasons["newest"]), (Reason::Protected, Reason::Pulled, Reason::Young, Reason::Newest));
}

#[test]
fn a_tag_is_as_young_as_its_last_push_and_as_used_as_its_manifest() {
    // First pushed long ago, moved yesterday.
    let mut image = Image::new().tag("moved", "a", 200);
    image.0.entries[0].created = Timestamp(NOW.0 - DAY);
    assert!(image.plan(&json!({ "older_than_days": 90 })).versions.is_empty());
    // Asked for by digest.
    let image = Image::new().manifest("a", 200).pulled(2).tag("v1", "a", 200);
    assert!(image.plan(&json!({ "not_pulled_days": 30 })).versions.is_empty());
}

#[test]
fn what_nobody_could_note_the_use_of_has_its_time() {
    let image = Image::new().manifest("alone", 200).manifest("a", 200).tag("v1", "a", 200);
    let rules = Retention::from_settings(&json!({ "retention": { "not_pulled_days": 30 } }), Kind::Hosted, &Oci).expect("rules");
    let plan = Judge { rules: &rules, format: &Oci, now: NOW, since: Timestamp(NOW.0 - 29 * DAY) }.plan(&image.0);
    assert!(plan.versions.is_empty() && plan.documents.is_empty());
    let plan = Judge { rules: &rules, format: &Oci, now: NOW, since: Timestamp(NOW.0 - 31 * DAY) }.plan(&image.0);
    assert_eq!((plan.versions, plan.documents), (vec![String::from("v1")], vec![vec![place("alone")]]));
}

#[test]
fn manifests_go_when_nothing_holds_them() {
    let image = Image::new()
        .manifest("tagged", 900)
        .tag("v1", "tagged", 900)
        .manifest("index", 900)
        .tag("multi", "index", 900)
        .manifest("amd64", 900)
        .child("index", "amd64")
        .manifest("lost index", 900)
        .manifest("lost child", 900)
        .child("lost index", "lost child")
        .manifest("signature", 900)
        .referrer("tagged", "signature")
        .manifest("signature of signature", 900)
        .referrer("signature", "signature of signature")
        .manifest("lost signature", 900)
        .referrer("lost child", "lost signature")
        .manifest("signature of nothing", 900)
        .referrer("nothing", "signature of nothing")
        .manifest("pushed lately", 10)
        .manifest("pulled lately", 900)
        .pulled(10)
        .manifest("untagged lately", 900)
        .released("untagged lately", 10)
        .manifest("untagged", 900)
        .released("untagged", 40);
    let all = [
        "tagged",
        "index",
        "amd64",
        "lost index",
        "lost child",
        "signature",
        "signature of signature",
        "lost signature",
        "signature of nothing",
        "pushed lately",
        "pulled lately",
        "untagged lately",
        "untagged",
    ];
    assert_eq!(image.going(&json!({}), &all), ["lost index", "lost child", "lost signature", "signature of nothing", "untagged"]);
    assert_eq!(image.going(&json!({ "untagged_days": 5 }), &all).len(), 8);
    assert!(image.going(&json!({ "untagged_days": 0 }), &all).is_empty() && image.going(&json!({ "untagged_days": false }), &all).is_empty());
    // What goes takes its marks along.
    let plan = image.plan(&json!({}));
    let lost = plan.documents.iter().find(|paths| paths.contains(&place("lost index"))).expect("it goes");
    assert_eq!(lost.len(), 2, "{lost:?}");
}

#[test]
fn a_child_that_is_used_holds_itself_and_not_its_index() {
    let image = Image::new().manifest("index", 900).manifest("child", 900).pulled(1).child("index", "child");
    assert_eq!(image.going(&json!({}), &["index", "child"]), ["index"]);
}

#[test]
fn a_manifest_whose_tag_goes_has_its_time_before_it() {
    let image = Image::new().manifest("a", 900).tag("v1", "a", 900).blob("layer", 900);
    let plan = image.plan(&json!({ "older_than_days": 90 }));
    assert_eq!((plan.versions.len(), plan.documents.len()), (1, 0));
    assert_eq!(plan.staying.len(), 1, "what it needs is found out");
}

#[test]
fn tags_of_signatures_live_as_long_as_what_they_sign() {
    let tag = |subject: &str| format!("sha256-{}.sig", digest(subject).hex());
    let image = Image::new()
        .manifest("tagged", 900)
        .tag("v1", "tagged", 900)
        .manifest("s1", 900)
        .tag(&tag("tagged"), "s1", 900)
        .manifest("untagged", 900)
        .manifest("s2", 900)
        .tag(&tag("untagged"), "s2", 900)
        .manifest("s3", 900)
        .tag(&tag("nothing"), "s3", 1);
    let plan = image.plan(&json!({ "keep": 1 }));
    assert_eq!(plan.versions, [tag("untagged")], "no rule counts them");
    assert_eq!(reasons(&plan)[tag("tagged").as_str()], Reason::Subject);
    assert_eq!(reasons(&plan)[tag("nothing").as_str()], Reason::Subject, "its subject may come");
    assert_eq!(image.going(&json!({ "keep": 1 }), &["tagged", "s1", "untagged", "s2", "s3"]), ["untagged", "s2"]);
    assert!(image.plan(&json!({ "untagged_days": false, "keep": 1 })).versions.is_empty());
}

#[test]
fn parts_are_looked_at_when_they_are_a_day_old() {
    let image = Image::new().blob("old", 2).blob("fresh", 0).manifest("a", 900).tag("v1", "a", 900);
    let plan = image.plan(&json!({}));
    let paths: Vec<_> = plan.candidates.iter().map(|number| image.0.entries[*number].path.clone()).collect();
    assert_eq!(paths, [format!("img/blobs/sha256:{}", digest("old").hex())]);
    assert!(image.plan(&json!({ "untagged_days": 0 })).candidates.is_empty());
}

#[test]
fn versions_that_the_package_names_stay() {
    let mut facts = PackageFacts { package: String::from("p"), document: json!({ "dist-tags": { "latest": "1.0.0" } }).to_string(), ..PackageFacts::default() };
    for (number, version) in ["1.0.0", "2.0.0", "3.0.0"].into_iter().enumerate() {
        let published = Timestamp(NOW.0 - (900 - i64::try_from(number).expect("small")) * DAY);
        facts.versions.push(LiveVersion { version: version.to_owned(), published });
    }
    let plan = judge(&Npm, &json!({ "keep": 1 }), &facts);
    assert_eq!(plan.versions, ["2.0.0"]);
    let reasons = reasons(&plan);
    assert_eq!((reasons["1.0.0"], reasons["3.0.0"]), (Reason::Named, Reason::Newest));
}

prop_compose! {
    fn image()(
        manifests in prop::collection::vec((0_i64..100, prop::option::of(0_i64..100), prop::option::of(0_i64..100)), 1..12),
        tags in prop::collection::vec((0_usize..12, 0_i64..100), 0..12),
        links in prop::collection::vec((0_usize..12, 0_usize..12, any::<bool>()), 0..20),
    ) -> Image {
        let name = |number: usize| format!("m{}", number % manifests.len());
        let mut image = Image::new();
        for (number, (pushed, pulled, released)) in manifests.iter().enumerate() {
            image = image.manifest(&name(number), *pushed);
            if let Some(days) = pulled {
                image = image.pulled(*days);
            }
            if let Some(days) = released {
                image = image.released(&name(number), *days);
            }
        }
        for (number, (manifest, days)) in tags.iter().enumerate() {
            image = image.tag(&format!("t{number}"), &name(*manifest), *days);
        }
        for (one, other, is_child) in links {
            // No digest can be in what it is the digest of: what holds comes later.
            let (holder, held) = (one % manifests.len(), other % manifests.len());
            if holder != held {
                image = if is_child { image.child(&name(holder.max(held)), &name(holder.min(held))) } else { image.referrer(&name(holder.min(held)), &name(holder.max(held))) };
            }
        }
        image
    }
}

fn rules() -> impl Strategy<Value = Value> {
    let days = || prop::option::of(1_i64..120);
    (prop::option::of(1_u32..8), days(), days(), days()).prop_map(|(keep, older, pulled, untagged)| {
        let mut rules = serde_json::Map::new();
        for (field, number) in [("keep", keep.map(i64::from)), ("older_than_days", older), ("not_pulled_days", pulled), ("untagged_days", untagged)] {
            number.map(|number| rules.insert(field.to_owned(), number.into()));
        }
        rules.into()
    })
}

proptest! {
    #[test]
    fn what_goes_breaks_no_promise(image in image(), rules in rules()) {
        let plan = image.plan(&rules);
        let facts = &image.0;
        let limit = |field: &str| rules.get(field).and_then(Value::as_i64);
        let age = |time: Timestamp| (NOW.0 - time.0) / DAY;
        let last_pull = |blob| facts.entries.iter().filter(|entry| entry.blob == blob).filter_map(|entry| entry.pulls).map(|pulls| pulls.last).max();
        // Every version either goes or stays.
        prop_assert_eq!(plan.versions.len() + plan.stays.len(), facts.versions.len());
        for version in &plan.versions {
            let entry = facts.entries.iter().find(|entry| entry.version.as_ref() == Some(version)).expect("an entry");
            prop_assert!(limit("older_than_days").is_none_or(|days| age(entry.created) >= days));
            let used = last_pull(entry.blob).unwrap_or_default().max(entry.created);
            prop_assert!(limit("not_pulled_days").is_none_or(|days| age(used) >= days));
            let younger = facts.entries.iter().filter(|other| other.version.is_some() && other.created >= entry.created).count();
            prop_assert!(limit("keep").is_none_or(|keep| younger > usize::try_from(keep).expect("small")));
            prop_assert!(limit("keep").or(limit("older_than_days")).or(limit("not_pulled_days")).is_some());
        }
        let gone: BTreeSet<&String> = plan.documents.iter().flatten().collect();
        let unheld = limit("untagged_days").unwrap_or(30);
        for entry in &facts.entries {
            // A tag's manifest stays, even if the tag goes now.
            if entry.version.is_some() {
                prop_assert!(facts.entries.iter().filter(|other| other.blob == entry.blob).all(|other| !gone.contains(&other.path)));
            }
            if gone.contains(&entry.path) && entry.path.contains("/manifests/") {
                prop_assert!(age(entry.created) >= unheld);
                prop_assert!(last_pull(entry.blob).is_none_or(|time| age(time) >= unheld));
                prop_assert!(facts.released.iter().all(|(blob, time)| *blob != entry.blob || age(*time) >= unheld));
            }
        }
        // What holds and stays, keeps what it holds.
        for entry in &facts.entries {
            let parts: Vec<&str> = entry.path.split('/').collect();
            let [_, folder @ ("parents" | "referrers"), other, _] = parts.as_slice() else { continue };
            let own = facts.entries.iter().find(|document| document.blob == entry.blob && document.path.contains("/manifests/sha256:")).expect("a manifest");
            let other = format!("img/manifests/{other}");
            let (holder, held) = if *folder == "parents" { (&own.path, &other) } else { (&other, &own.path) };
            prop_assert!(gone.contains(holder) || !gone.contains(held), "{} stays and {} goes", holder, held);
        }
        // A second look after the first changes nothing that the first did not.
        prop_assert_eq!(&image.plan(&rules), &plan);
    }
}
