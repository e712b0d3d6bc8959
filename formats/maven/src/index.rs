//! Metadata as index documents: a fragment for each version, and one document from those of a group's members.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{BaseUrl, Error, Fragment, Records, Result, Timestamp, VersionRecord};
use serde::{Deserialize, Serialize};

use crate::document::VersionDocument;
use crate::metadata::{self, Metadata, Plugin, time};
use crate::version::{is_snapshot, sort};

/// Fragments of the list of versions: something for each that is listed.
pub const VERSIONS: &str = "versions";
/// Fragments of the builds of snapshots.
pub const SNAPSHOT: &str = "snapshot";
/// The fragment of a version that is listed.
pub(crate) const LISTED: &[u8] = b"1";
/// The media type of metadata.
pub const XML: &str = "application/xml";

/// What is remembered of a package besides its versions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PackageDocument {
    /// The plugins of the group that is named like the package's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Plugin>,
}

impl PackageDocument {
    /// Reads the record.
    ///
    /// # Errors
    /// 500 for a damaged record.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() { Ok(Self::default()) } else { serde_json::from_str(text).map_err(Error::internal) }
    }

    /// Writes the record.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }

    /// Notes a plugin; `false` when it is known already.
    pub fn add(&mut self, plugin: &Plugin) -> bool {
        if self.plugins.contains(plugin) {
            return false;
        }
        self.plugins.retain(|known| known.artifact != plugin.artifact);
        self.plugins.push(plugin.clone());
        self.plugins.sort_by(|one, other| (&one.artifact, &one.prefix).cmp(&(&other.artifact, &other.prefix)));
        true
    }
}

/// The fragments of a version.
pub(crate) fn fragments(document: &str) -> Result<Vec<Fragment>> {
    let document = VersionDocument::parse(document)?;
    let mut fragments = Vec::new();
    if document.listed {
        fragments.push(Fragment { kind: VERSIONS, bytes: Bytes::from_static(LISTED) });
    }
    if !document.builds.is_empty() {
        fragments.push(Fragment { kind: SNAPSHOT, bytes: document.to_text()?.into() });
    }
    Ok(fragments)
}

/// The versions that are listed.
pub(crate) fn listed(versions: &[VersionRecord]) -> impl Iterator<Item = &str> {
    versions.iter().filter(|record| !record.bytes.is_empty()).map(|record| record.version.as_str())
}

/// Writes the list of versions and plugins; nothing when there are none.
pub(crate) fn render(records: &Records, _: &BaseUrl, _: &str) -> Result<Vec<u8>> {
    let versions = sort(listed(&records.versions).collect(), |version: &&str| version);
    let of = (records.package.as_str(), records.document.as_str(), records.modified);
    written(of, versions.iter().rev().copied(), |out| versions.iter().for_each(|version| metadata::write_line(out, version)))
}

/// The document of a package, its JSON and the time of its last change, with versions that are told the highest first, and written the lowest first.
pub(crate) fn written<'v>(
    (package, document, modified): (&str, &str, Option<Timestamp>),
    mut descending: impl ExactSizeIterator<Item = &'v str> + Clone,
    write_versions: impl FnOnce(&mut String),
) -> Result<Vec<u8>> {
    let count = descending.len();
    let plugins = PackageDocument::parse(document)?.plugins;
    if count == 0 && plugins.is_empty() {
        return Ok(Vec::new());
    }
    let mut document = Metadata { plugins, ..Metadata::default() };
    let (Some(latest), Some((group, artifact))) = (descending.clone().next(), package.split_once(':')) else { return Ok(document.render()) };
    document.group = group.to_owned();
    document.artifact = artifact.to_owned();
    document.latest = latest.to_owned();
    document.release = descending.find(|version| !is_snapshot(version)).unwrap_or_default().to_owned();
    document.last_updated = time(modified.unwrap_or(Timestamp(0)));
    Ok(document.render_with(count, write_versions))
}

/// The variant of the metadata of a package.
pub(crate) const METADATA: &str = "metadata";

/// The variant of a snapshot's metadata.
pub(crate) fn snapshot_variant(version: &str) -> String {
    format!("snapshot {version}")
}

/// Writes the metadata of the snapshot that the variant names; nothing when its builds are not known here.
pub(crate) fn render_snapshot(records: &Records, _: &BaseUrl, variant: &str) -> Result<Vec<u8>> {
    let version = snapshot_of(variant).unwrap_or_default();
    written_snapshot(&records.package, version, records.version(version))
}

/// The snapshot that a variant names.
pub(crate) fn snapshot_of(variant: &str) -> Option<&str> {
    variant.strip_prefix("snapshot ")
}

pub(crate) fn written_snapshot(package: &str, version: &str, record: Option<&VersionRecord>) -> Result<Vec<u8>> {
    let document = builds_of(record)?.and_then(|document| document.metadata(package, version));
    Ok(document.map(|document| document.render()).unwrap_or_default())
}

/// The builds of a snapshot.
pub(crate) fn builds(records: &Records, version: &str) -> Result<Option<VersionDocument>> {
    builds_of(records.version(version))
}

fn builds_of(record: Option<&VersionRecord>) -> Result<Option<VersionDocument>> {
    let text = record.filter(|record| !record.bytes.is_empty()).and_then(|record| std::str::from_utf8(&record.bytes).ok());
    text.map(VersionDocument::parse).transpose()
}

/// Joins records in the order of the members: all versions, of each the first member's word, and all plugins.
#[must_use]
pub fn merge(parts: &[Arc<Records>]) -> Records {
    // One member alone is passed on as it is, its stamp included.
    if let [only] = parts {
        return Records::clone(only);
    }
    let mut joined = Records::first_wins(parts);
    let mut places = HashMap::new();
    joined.versions.clear();
    for record in parts.iter().flat_map(|part| &part.versions) {
        match places.get(record.version.as_str()) {
            None => {
                places.insert(record.version.as_str(), joined.versions.len());
                joined.versions.push(record.clone());
            }
            // One that is not listed yet hides none that is.
            Some(place) => {
                if let Some(known) = joined.versions.get_mut(*place).filter(|known| known.bytes.is_empty()) {
                    *known = record.clone();
                }
            }
        }
    }
    let mut plugins = PackageDocument::default();
    for document in parts.iter().filter_map(|part| PackageDocument::parse(&part.document).ok()) {
        for plugin in &document.plugins {
            if !plugins.plugins.iter().any(|known| known.artifact == plugin.artifact || known.prefix == plugin.prefix) {
                plugins.add(plugin);
            }
        }
    }
    if let Ok(text) = plugins.to_text() {
        joined.document = text;
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::{PackageDocument, SNAPSHOT, fragments, merge, render, render_snapshot, snapshot_variant};
    use crate::document::VersionDocument;
    use crate::metadata::{Metadata, Plugin};
    use entrepot_kit::{BaseUrl, Records, Timestamp, VersionRecord};
    use std::sync::Arc;

    fn part(versions: &[(&str, &'static str)], plugins: &[(&str, &str)]) -> Arc<Records> {
        let plugins = plugins.iter().map(|(prefix, artifact)| Plugin { prefix: (*prefix).to_owned(), artifact: (*artifact).to_owned(), ..Plugin::default() });
        let record = |(version, bytes): &(&str, &'static str)| VersionRecord { version: (*version).to_owned(), published: None, bytes: (*bytes).into() };
        Arc::new(Records {
            package: String::from("com.acme:lib"),
            document: PackageDocument { plugins: plugins.collect() }.to_text().unwrap(),
            versions: versions.iter().map(record).collect(),
            modified: Some(Timestamp(0)),
            ..Records::default()
        })
    }

    fn shown(records: &Records) -> Metadata {
        let base = BaseUrl { origin: String::new(), path: String::new() };
        Metadata::parse(&render(records, &base, "").unwrap()).unwrap()
    }

    #[test]
    fn versions_are_listed_in_their_order() {
        let found = shown(&part(&[("1.10", "1"), ("1.9", "1"), ("2.0-SNAPSHOT", "1"), ("3.0", "")], &[("x", "x-plugin")]));
        assert_eq!(found.versions, ["1.9", "1.10", "2.0-SNAPSHOT"]);
        assert_eq!((&*found.latest, &*found.release, &*found.last_updated), ("2.0-SNAPSHOT", "1.10", "19700101000000"));
        assert_eq!((&*found.group, &*found.artifact, found.plugins.len()), ("com.acme", "lib", 1));
        let base = BaseUrl { origin: String::new(), path: String::new() };
        assert!(render(&part(&[("1", "")], &[]), &base, "").unwrap().is_empty());
    }

    #[test]
    fn members_are_joined() {
        let one = part(&[("1.0", "1"), ("1.1", "")], &[("x", "x-plugin")]);
        let other = part(&[("1.1", "1"), ("0.9", "1")], &[("x", "evil-plugin"), ("y", "y-plugin")]);
        let found = shown(&merge(&[Arc::clone(&one), other]));
        assert_eq!(found.versions, ["0.9", "1.0", "1.1"]);
        let plugins: Vec<_> = found.plugins.iter().map(|plugin| plugin.artifact.as_str()).collect();
        assert_eq!(plugins, ["x-plugin", "y-plugin"]);
        assert_eq!(merge(&[Arc::clone(&one)]), *one);
    }

    #[test]
    fn snapshots_are_found_by_their_version() {
        let mut document = VersionDocument { listed: true, ..VersionDocument::default() };
        document.add("20260101.000000-1", "", "pom");
        let made = fragments(&document.to_text().unwrap()).unwrap();
        let bytes = made.iter().find(|fragment| fragment.kind == SNAPSHOT).unwrap().bytes.clone();
        let records = Records {
            package: String::from("a:b"),
            versions: vec![VersionRecord { version: String::from("1-SNAPSHOT"), published: None, bytes }],
            ..Records::default()
        };
        let base = BaseUrl { origin: String::new(), path: String::new() };
        let text = render_snapshot(&records, &base, &snapshot_variant("1-SNAPSHOT")).unwrap();
        assert_eq!(Metadata::parse(&text).unwrap().files[0].value, "1-20260101.000000-1");
        assert!(render_snapshot(&records, &base, &snapshot_variant("2-SNAPSHOT")).unwrap().is_empty());
    }
}
