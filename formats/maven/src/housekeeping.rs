//! What goes by itself: checksums whose file never came, stages that nobody promoted, builds of snapshots that nobody needs any more.

use std::collections::{BTreeMap, HashSet};

use entrepot_kit::{Held, Outdated, Result, Timestamp, Waiting};
use serde_json::Value;

use crate::coordinates::{Build, PARKED, Place, STAGING, place, stamp};
use crate::document::VersionDocument;
use crate::settings::SnapshotRules;
use crate::version::is_snapshot;

/// What waits for something, and how many days.
pub(crate) const WAITING: [Waiting; 2] = [Waiting { folder: PARKED, days: 7, together: false }, Waiting { folder: STAGING, days: 30, together: true }];

/// A build of a snapshot.
#[derive(Default)]
struct Files<'a> {
    paths: Vec<&'a str>,
    kinds: HashSet<(&'a str, &'a str)>,
    created: Timestamp,
}

/// What goes by the `snapshots` setting.
///
/// # Errors
/// 400 for a setting that cannot be read.
pub(crate) fn outdated(settings: &Value, held: &Held<'_>, now: Timestamp) -> Result<Outdated> {
    let rules = SnapshotRules::read(settings)?;
    let mut outdated = Outdated::default();
    let is_before = |time: Timestamp, age: i64| time.0 <= now.0.saturating_sub(age);
    let mut snapshots: BTreeMap<&str, BTreeMap<(&str, u32), Files<'_>>> = BTreeMap::new();
    for (version, _) in held.versions.iter().filter(|(version, _)| is_snapshot(version)) {
        let release = version.len().checked_sub("-SNAPSHOT".len()).and_then(|end| version.get(..end)).filter(|release| !release.is_empty());
        let released = held.versions.iter().find(|(other, _)| release == Some(*other)).map(|(_, published)| *published);
        match (rules.released, released) {
            (Some(age), Some(published)) if is_before(published, age) => outdated.versions.push((*version).to_owned()),
            _ => {
                snapshots.insert(version, BTreeMap::new());
            }
        }
    }
    if rules.keep.is_none() && rules.older_than.is_none() {
        return Ok(outdated);
    }
    for file in &held.files {
        let Place::Artifact(coordinates) = place(file.path) else { continue };
        let Build::Stamped(text) = coordinates.build else { continue };
        let (Some(build), Some(builds)) = (stamp(text), file.version.and_then(|version| snapshots.get_mut(version))) else { continue };
        let files = builds.entry(build).or_default();
        files.paths.push(file.path);
        files.kinds.insert((coordinates.classifier, coordinates.extension));
        files.created = files.created.max(file.created);
    }
    for (version, builds) in snapshots {
        let mut gone: Vec<String> = Vec::new();
        let mut left = rules.keep.unwrap_or(1);
        let mut known: HashSet<(&str, &str)> = HashSet::new();
        for files in builds.values().rev() {
            // Another job may build the part that no newer build has.
            let is_last_of_kind = files.kinds.iter().any(|kind| !known.contains(kind));
            known.extend(&files.kinds);
            // One without its pom is still on its way, or never came: it does not count.
            let is_kept = left > 0;
            left -= usize::from(is_kept && files.kinds.contains(&("", "pom")));
            let is_young = rules.older_than.is_some_and(|age| !is_before(files.created, age));
            if !is_kept && !is_last_of_kind && !is_young {
                gone.extend(files.paths.iter().map(|path| (*path).to_owned()));
            }
        }
        if !gone.is_empty() {
            outdated.files.push((version.to_owned(), gone));
        }
    }
    Ok(outdated)
}

/// The record of a version without some files, where that is another.
///
/// # Errors
/// 500 for a damaged record.
pub(crate) fn without(document: &str, gone: &[String]) -> Result<Option<String>> {
    let mut record = VersionDocument::parse(document)?;
    record.forget(gone.iter().map(String::as_str));
    let text = record.to_text()?;
    Ok((text != document).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::outdated;
    use entrepot_kit::{Held, HeldFile, Timestamp};
    use serde_json::{Value, json};

    const DAY: i64 = 24 * 3600 * 1000;
    const NOW: Timestamp = Timestamp(100 * DAY);

    /// Builds of a snapshot: day, number, endings.
    fn look(builds: &[(i64, u32, &[&str])], released: Option<i64>, rules: Value) -> (Vec<String>, Vec<String>) {
        let mut paths = Vec::new();
        for (day, number, endings) in builds {
            for ending in *endings {
                paths.push((format!("a/b/1-SNAPSHOT/b-1-20260101.{number:06}-{number}{ending}"), Timestamp(day * DAY)));
            }
        }
        let mut versions = vec![("1-SNAPSHOT", Timestamp(0)), ("2-SNAPSHOT", Timestamp(0))];
        versions.extend(released.map(|day| ("1", Timestamp(day * DAY))));
        let files = paths.iter().map(|(path, created)| HeldFile { path, version: Some("1-SNAPSHOT"), created: *created }).collect();
        let held = Held { package: "a:b", versions, files };
        let found = outdated(&json!({ "snapshots": rules }), &held, NOW).unwrap();
        let mut gone: Vec<String> =
            found.files.into_iter().flat_map(|(_, files)| files).map(|path| path.trim_start_matches("a/b/1-SNAPSHOT/b-1-20260101.").to_owned()).collect();
        gone.sort();
        (found.versions, gone)
    }

    const WHOLE: &[&str] = &[".pom", ".jar"];

    #[test]
    fn the_newest_builds_stay() {
        let builds = [(1, 1, WHOLE), (2, 2, WHOLE), (3, 3, WHOLE), (4, 4, WHOLE)];
        assert_eq!(look(&builds, None, json!({ "keep": 2 })).1, ["000001-1.jar", "000001-1.pom", "000002-2.jar", "000002-2.pom"]);
        assert!(look(&builds, None, json!({ "keep": 4 })).1.is_empty());
        assert!(look(&builds, None, json!({ "released_days": 0 })).1.is_empty());
        // Both conditions must hold.
        let builds = [(1, 1, WHOLE), (90, 2, WHOLE), (95, 3, WHOLE)];
        assert_eq!(look(&builds, None, json!({ "keep": 1, "older_than_days": 30 })).1, ["000001-1.jar", "000001-1.pom"]);
        assert_eq!(look(&builds, None, json!({ "older_than_days": 5 })).1.len(), 4, "the newest stays whatever its age");
    }

    #[test]
    fn what_is_not_whole_replaces_nothing() {
        let builds: [(i64, u32, &[&str]); 3] = [(1, 1, WHOLE), (2, 2, WHOLE), (3, 3, &[".jar"])];
        assert_eq!(look(&builds, None, json!({ "keep": 1 })).1, ["000001-1.jar", "000001-1.pom"], "the third has no pom yet");
        let builds: [(i64, u32, &[&str]); 3] = [(1, 1, &[".pom", "-linux.zip"]), (2, 2, WHOLE), (3, 3, WHOLE)];
        assert_eq!(look(&builds, None, json!({ "keep": 1 })).1, ["000002-2.jar", "000002-2.pom"], "only the first has it for linux");
    }

    #[test]
    fn snapshots_go_after_their_release() {
        let builds = [(1, 1, WHOLE)];
        assert_eq!(look(&builds, Some(50), json!({ "released_days": 10 })).0, ["1-SNAPSHOT"]);
        assert!(look(&builds, Some(95), json!({ "released_days": 10 })).0.is_empty());
        assert!(look(&builds, None, json!({ "released_days": 0 })).0.is_empty());
        assert!(look(&builds, Some(50), json!({ "keep": 1 })).0.is_empty());
    }
}
