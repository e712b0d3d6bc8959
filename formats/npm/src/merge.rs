//! One packument from those of a group's members.

use std::collections::BTreeMap;
use std::sync::Arc;

use entrepot_kit::Records;

use crate::packument::{tags, write_package_document};
use crate::raw::RawObject;

/// Joins records in the order of the members: for each version, tag and top-level member the first that has it wins.
#[must_use]
pub fn merge(parts: &[Arc<Records>]) -> Records {
    // One member alone is passed on as it is, its stamp included: a client sends that back as `_rev`.
    if let [only] = parts {
        return Records::clone(only);
    }
    let mut joined = Records::first_wins(parts);
    let documents: Vec<RawObject<'_>> = parts.iter().filter_map(|part| RawObject::parse(&part.document)).collect();
    let mut all_tags = BTreeMap::new();
    for (tag, version) in documents.iter().flat_map(tags) {
        // A tag whose version another rule hid would send clients nowhere.
        if joined.version(&version).is_some() {
            all_tags.entry(tag).or_insert(version);
        }
    }
    if let Some(first) = documents.first() {
        joined.document = write_package_document(&all_tags, first.members());
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::merge;
    use entrepot_kit::{Records, VersionRecord};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn part(document: &Value, versions: &[(&str, &'static str)], stamp: &str) -> Arc<Records> {
        let versions =
            versions.iter().map(|(version, bytes)| VersionRecord { version: (*version).to_owned(), published: None, bytes: (*bytes).into() }).collect();
        Arc::new(Records { package: String::from("a"), document: document.to_string(), versions, stamp: stamp.to_owned(), ..Records::default() })
    }

    #[test]
    fn the_first_member_wins_for_each_version_and_tag() {
        let ours = part(&json!({"dist-tags": {"latest": "1.0.0-acme.1"}, "readme": "ours"}), &[("1.0.0-acme.1", "ours"), ("1.0.0", "ours")], "3");
        let theirs = part(
            &json!({"dist-tags": {"latest": "2.0.0", "next": "2.0.0", "gone": "9.0.0"}, "readme": "theirs"}),
            &[("1.0.0", "theirs"), ("2.0.0", "theirs")],
            "x",
        );
        let merged = merge(&[Arc::clone(&ours), theirs]);
        assert_eq!(
            serde_json::from_str::<Value>(&merged.document).unwrap(),
            json!({"dist-tags": {"latest": "1.0.0-acme.1", "next": "2.0.0"}, "readme": "ours"})
        );
        assert_eq!(merged.version("1.0.0").unwrap().bytes, "ours");
        assert_eq!(merged.versions.len(), 3);
        assert_eq!(merge(&[Arc::clone(&ours)]), *ours);
    }
}
