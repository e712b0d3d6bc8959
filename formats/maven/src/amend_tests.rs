//! Amended documents are what would be made anew, to the byte, whatever happens in whatever order.

use std::collections::BTreeMap;

use entrepot_kit::{BaseUrl, Changes, Records, Timestamp, VersionRecord};

use super::{amend, amends};
use crate::document::VersionDocument;
use crate::index::{METADATA, PackageDocument, SNAPSHOT, VERSIONS, fragments, render, render_snapshot, snapshot_variant};
use crate::metadata::Plugin;

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % count
    }
}

/// A package as the catalog has it: each version with its place in the order of publication, whether it lives, and its record.
#[derive(Clone, Default)]
struct State {
    versions: BTreeMap<String, (usize, bool, VersionDocument)>,
    plugins: PackageDocument,
    published: usize,
    modified: i64,
}

impl State {
    /// One thing that clients do.
    fn step(&mut self, dice: &mut Dice, names: &[String]) {
        self.modified += 1000;
        let name = names[dice.below(names.len())].clone();
        match (self.versions.get_mut(&name), dice.below(20)) {
            (_, 0) => {
                self.plugins.add(&Plugin { name: String::new(), prefix: name.clone(), artifact: format!("p-{}", dice.below(3)) });
            }
            // Deleted, and brought back to its old place; or published again, at a new one.
            (Some((_, live @ true, _)), 1..=5) => *live = false,
            (Some((_, live @ false, _)), 1..=10) => *live = true,
            (Some((ordinal, live, document)), _) => {
                if !*live {
                    self.published += 1;
                    (*ordinal, *live, *document) = (self.published, true, VersionDocument::default());
                }
                document.add(&format!("20260101.0000{:02}-1", dice.below(60)), "", "pom");
                document.listed = true;
            }
            (None, kind) => {
                self.published += 1;
                let mut document = VersionDocument { listed: kind > 5, ..VersionDocument::default() };
                document.add("20260101.000000-1", "", if kind > 10 { "pom" } else { "jar" });
                self.versions.insert(name, (self.published, true, document));
            }
        }
    }

    fn record(version: &str, document: &VersionDocument, kind: &str) -> VersionRecord {
        let pieces = fragments(&document.to_text().unwrap()).unwrap();
        let bytes = pieces.into_iter().find(|piece| piece.kind == kind).map(|piece| piece.bytes).unwrap_or_default();
        VersionRecord { version: version.to_owned(), published: None, bytes }
    }

    fn living(&self, wanted: impl Fn(&str, &(usize, bool, VersionDocument)) -> bool, kind: &str) -> Vec<VersionRecord> {
        let mut living: Vec<_> = self.versions.iter().filter(|(name, state)| state.1 && wanted(name, state)).collect();
        living.sort_by_key(|(_, (ordinal, ..))| *ordinal);
        living.into_iter().map(|(name, (.., document))| Self::record(name, document, kind)).collect()
    }

    fn records(&self, kind: &str) -> Records {
        let (document, modified) = (self.plugins.to_text().unwrap(), Some(Timestamp(self.modified)));
        Records { package: String::from("com.acme:lib"), document, versions: self.living(|_, _| true, kind), modified, ..Records::default() }
    }

    /// What became of this state: all that is different, and some that is not.
    fn until(&self, now: &Self, kind: &str) -> Changes {
        let changed = |name: &str, state: &(usize, bool, VersionDocument)| self.versions.get(name) != Some(state) || name.len() == 4;
        let gone = |(_, (_, live, _)): &(&String, &(usize, bool, VersionDocument))| !live;
        Changes {
            package: String::from("com.acme:lib"),
            document: now.plugins.to_text().unwrap(),
            versions: now.living(changed, kind),
            ended: now.versions.iter().filter(gone).map(|(name, _)| name.clone()).collect(),
            created: None,
            modified: Some(Timestamp(now.modified)),
        }
    }
}

type Make = fn(&Records, &BaseUrl, &str) -> entrepot_kit::Result<Vec<u8>>;

/// Runs a history, and counts the documents that were amended and those that were not.
fn run(seed: u64, names: &[String], steps: usize) -> (usize, usize) {
    let base = BaseUrl { origin: String::new(), path: String::new() };
    let (mut dice, mut before, mut counts) = (Dice(seed), State::default(), (0, 0));
    let snapshot = snapshot_variant("1.1-SNAPSHOT");
    let variants: [(&str, &str, Make); 2] = [(METADATA, VERSIONS, render), (&snapshot, SNAPSHOT, render_snapshot)];
    let mut documents: Vec<Vec<u8>> = vec![Vec::new(); variants.len()];
    for _ in 0..steps {
        let mut now = before.clone();
        for _ in 0..=dice.below(3) {
            now.step(&mut dice, names);
        }
        for ((variant, kind, make), document) in variants.iter().zip(&mut documents) {
            let anew = make(&now.records(kind), &base, variant).unwrap();
            if amends(variant, &before.records(kind)) {
                match amend(variant, document, &before.until(&now, kind)).unwrap() {
                    Some(amended) => {
                        counts.0 += 1;
                        assert_eq!(String::from_utf8(amended).unwrap(), String::from_utf8(anew.clone()).unwrap(), "seed {seed}, {variant}");
                    }
                    None => counts.1 += 1,
                }
            }
            *document = anew;
        }
        before = now;
    }
    counts
}

fn names(list: &[&str], numbers: usize) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).chain((0..numbers).map(|number| format!("{}.{}.{number}", number % 3, number % 7))).collect()
}

#[test]
fn what_people_publish_is_amended() {
    let usual = ["1.1-SNAPSHOT", "2.0.0.Final", "1.0-rc1", "r09", "31.0-jre", "1.0.0-beta.2"];
    for seed in 0..8 {
        let (amended, anew) = run(seed, &names(&usual, 60), 150);
        assert!(amended == 300 && anew == 0, "seed {seed}: {amended} documents were amended, {anew} not");
    }
}

#[test]
fn what_is_not_known_to_be_right_is_made_anew() {
    let (mut amended, mut anew) = (0, 0);
    for seed in 0..20 {
        let odd = ["1.1-SNAPSHOT", "1.0", "1.0.0", "1-ga", "2", "2.0", "1-final-1", "1.max", "1-foo-0-bar", "1&2", "a\"b", "1.1.0-snapshot"];
        let one = run(seed, &names(&odd[..odd.len() - usize::try_from(seed).unwrap() % 10], 20), 100);
        (amended, anew) = (amended + one.0, anew + one.1);
    }
    assert!(amended > 500 && anew > 300, "{amended} were amended, {anew} not");
}
