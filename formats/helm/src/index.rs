//! `index.yaml`: JSON text, which is YAML that Helm reads faster and more leniently, or plain YAML for others. One fragment per version of a
//! chart: a document is their concatenation in the order of charts and versions.

use std::borrow::Cow;

use bytes::Bytes;
use entrepot_kit::{BaseUrl, Error, Records, Result, Sha256Digest, Timestamp, VersionRecord, listed, split_listed};
use serde_json::{Map, Value, json};

use crate::chart::Chart;
use crate::{name, version, yaml};

/// The kind of the fragments.
pub const FRAGMENTS: &str = "index";
/// Between an entry and where an upstream has its archive, in fragments that come from upstreams. No JSON text has a line end.
const SOURCE: u8 = b'\n';

/// One version in the index.
pub struct Entry<'a> {
    /// The chart.
    pub chart: &'a Chart,
    /// When it was published.
    pub created: &'a str,
    /// The SHA-256 of its archive, where known.
    pub digest: Option<&'a str>,
    /// Where its archive is, if that is not here.
    pub urls: Option<&'a str>,
}

impl Entry<'_> {
    /// As it stands in the index: addresses are relative, so that they are good below whatever URL the repository has.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut fields = self.chart.fields.clone();
        // A plus stands as it is: Helm takes the address for a path when it resolves dependencies, and would encode a percent sign once more.
        let own = || Cow::Owned(name::path(&self.chart.name, &self.chart.version));
        let url = self.urls.map_or_else(own, Cow::Borrowed);
        fields.insert(String::from("urls"), json!([url]));
        if !self.created.is_empty() {
            fields.insert(String::from("created"), self.created.into());
        }
        if let Some(digest) = self.digest {
            fields.insert(String::from("digest"), digest.into());
        }
        serde_json::to_vec(&fields).map_err(Error::internal)
    }
}

/// An entry without where its upstream has it.
fn shown(record: &VersionRecord) -> &[u8] {
    let end = memchr::memchr(SOURCE, &record.bytes).unwrap_or(record.bytes.len());
    record.bytes.get(..end).unwrap_or_default()
}

/// Where the upstream has the archive of a record.
fn source(record: &VersionRecord) -> Option<&str> {
    let at = memchr::memchr(SOURCE, &record.bytes)?;
    std::str::from_utf8(record.bytes.get(at + 1..)?).ok()
}

/// A chart and its versions, the newest first.
struct Group<'a> {
    name: &'a str,
    versions: Vec<(&'a str, &'a VersionRecord)>,
}

/// The records by chart, in the order of the index. Records of one package need not say which.
fn groups(records: &Records) -> Vec<Group<'_>> {
    let mut all: Vec<(&str, &str, Option<semver::Version>, &VersionRecord)> = Vec::with_capacity(records.versions.len());
    for record in records.versions.iter().filter(|record| !record.bytes.is_empty()) {
        let (name, version) = match split_listed(&record.version) {
            (name, Some(version)) => (name, version),
            (version, None) => (records.package.as_str(), version),
        };
        all.push((name, version, version::parse(version), record));
    }
    all.sort_by(|(one, one_version, one_parsed, _), (other, other_version, other_parsed, _)| {
        let by_version = || match (other_parsed, one_parsed) {
            (Some(other), Some(one)) => other.cmp_precedence(one).then_with(|| other_version.cmp(one_version)),
            (other, one) => other.is_some().cmp(&one.is_some()).then_with(|| other_version.cmp(one_version)),
        };
        one.cmp(other).then_with(by_version)
    });
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (name, version, _, record) in all {
        match groups.last_mut().filter(|group| group.name == name) {
            Some(group) => group.versions.push((version, record)),
            None => groups.push(Group { name, versions: vec![(version, record)] }),
        }
    }
    groups
}

fn join<'a>(out: &mut Vec<u8>, versions: impl Iterator<Item = &'a VersionRecord>) {
    out.push(b'[');
    for (at, record) in versions.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(shown(record));
    }
    out.push(b']');
}

fn by_name(out: &mut Vec<u8>, groups: &[Group<'_>]) {
    out.push(b'{');
    for (at, group) in groups.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        // Names of charts need no escaping.
        out.extend_from_slice(format!("\"{}\":", group.name).as_bytes());
        join(out, group.versions.iter().map(|(_, record)| *record));
    }
    out.push(b'}');
}

/// The index as JSON text.
///
/// # Errors
/// 500 when it cannot be written.
pub fn render_json(records: &Records, base: &BaseUrl, _variant: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(records.versions.iter().map(|record| record.bytes.len() + 1).sum::<usize>() + 256);
    out.extend_from_slice(b"{\"apiVersion\":\"v1\",\"entries\":");
    by_name(&mut out, &groups(records));
    // The state that it shows, not the time at which it was asked for: the same records make the same bytes.
    let generated = records.modified.unwrap_or_default().rfc3339();
    let rest = json!({ "generated": generated, "serverInfo": { "contextPath": base.path } }).to_string();
    out.push(b',');
    out.extend_from_slice(rest.get(1..).unwrap_or_default().as_bytes());
    Ok(out)
}

/// The index as YAML.
///
/// # Errors
/// 500 when it cannot be written.
pub fn render_yaml(records: &Records, base: &BaseUrl, variant: &str) -> Result<Vec<u8>> {
    let index: Value = serde_json::from_slice(&render_json(records, base, variant)?).map_err(Error::internal)?;
    let mut out = String::new();
    yaml::write(&mut out, &index, 0);
    out.push('\n');
    Ok(out.into_bytes())
}

/// All charts with their versions, as the management API of ChartMuseum lists them.
///
/// # Errors
/// 500 when it cannot be written.
pub fn render_list(records: &Records, _base: &BaseUrl, _variant: &str) -> Result<Vec<u8>> {
    Ok(list(records, 0, usize::MAX))
}

/// Some of the charts.
#[must_use]
pub fn list(records: &Records, offset: usize, limit: usize) -> Vec<u8> {
    let groups = groups(records);
    let first = offset.min(groups.len());
    let end = first.saturating_add(limit).min(groups.len());
    let mut out = Vec::new();
    by_name(&mut out, groups.get(first..end).unwrap_or_default());
    out
}

/// What stands before the name of a chart in the variant of [`render_chart`].
pub const CHART: &str = "chart/";

/// The versions of one chart, which the variant names.
///
/// # Errors
/// 404 for a chart that is not there.
pub fn render_chart(records: &Records, _base: &BaseUrl, variant: &str) -> Result<Vec<u8>> {
    let name = variant.strip_prefix(CHART).unwrap_or_default();
    let group = groups(records).into_iter().find(|group| group.name == name).ok_or_else(|| no_chart(name))?;
    let mut out = Vec::new();
    join(&mut out, group.versions.into_iter().map(|(_, record)| record));
    Ok(out)
}

/// One version of a chart; `latest` is the newest that is no prerelease, or the newest.
#[must_use]
pub fn one(records: &Records, chart: &str, wanted: &str) -> Option<Bytes> {
    let group = groups(records).into_iter().find(|group| group.name == chart)?;
    let is_stable = |text: &str| version::parse(text).is_some_and(|version| version.pre.is_empty());
    let exact = group.versions.iter().find(|(version, _)| *version == wanted);
    let latest = || group.versions.iter().find(|(version, _)| is_stable(version)).or_else(|| group.versions.first());
    let (_, record) = exact.or_else(|| if wanted == "latest" { latest() } else { None })?;
    Some(Bytes::copy_from_slice(shown(record)))
}

/// The entry of a version whose archive is here or comes from an upstream through here.
#[must_use]
pub fn exactly(records: &Records, chart: &str, version: &str) -> Option<Bytes> {
    let wanted = listed(chart, version);
    let record = records.versions.iter().find(|record| record.version == wanted && !record.bytes.is_empty())?;
    Some(Bytes::copy_from_slice(shown(record)))
}

/// The versions of a chart.
#[must_use]
pub fn versions<'a>(records: &'a Records, chart: &str) -> Vec<&'a str> {
    let of_chart = records.versions.iter().filter(|record| !record.bytes.is_empty()).map(|record| split_listed(&record.version));
    of_chart.filter(|(name, _)| *name == chart).filter_map(|(_, version)| version).collect()
}

/// There is no such chart.
#[must_use]
pub fn no_chart(name: &str) -> Error {
    Error::not_found(format!("there is no chart {name:?} here"))
}

/// Reads an upstream's index into the same records, leniently: what Helm would skip is left out.
///
/// # Errors
/// 502 when it is no index at all.
pub fn read(document: &[u8]) -> Result<Records> {
    let not_an_index = |why: &str| Error::bad_gateway(format!("it is no index of charts: {why}"));
    let index: Value = match serde_json::from_slice(document) {
        Ok(index) => index,
        Err(_) => yaml::read(document, &yaml::INDEX, false).map_err(|why| not_an_index(&why))?,
    };
    if index.get("apiVersion").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(not_an_index("it has no \"apiVersion\""));
    }
    let none = Map::new();
    let entries = match index.get("entries") {
        None | Some(Value::Null) => &none,
        Some(entries) => entries.as_object().ok_or_else(|| not_an_index("\"entries\" is no mapping"))?,
    };
    let mut records = Records { package: entrepot_kit::ALL_PACKAGES.to_owned(), ..Records::default() };
    for (name, versions) in entries {
        let mut of_chart: Vec<VersionRecord> = versions.as_array().into_iter().flatten().filter_map(|version| read_entry(name, version)).collect();
        // Of two that say to be the same the first counts, as for Helm.
        let mut seen = std::collections::HashSet::new();
        of_chart.retain(|record| seen.insert(record.version.clone()));
        records.versions.append(&mut of_chart);
    }
    records.modified = index.get("generated").and_then(Value::as_str).and_then(time);
    Ok(records)
}

fn read_entry(name: &str, value: &Value) -> Option<VersionRecord> {
    let chart = Chart::of(value).ok().filter(|chart| chart.name == name)?;
    let url = value.get("urls").and_then(Value::as_array)?.iter().find_map(Value::as_str)?;
    let digest = value.get("digest").and_then(Value::as_str).map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest));
    let digest = digest.and_then(Sha256Digest::parse_hex).map(|digest| digest.hex());
    let created = value.get("created").and_then(Value::as_str).filter(|created| time(created).is_some()).unwrap_or_default();
    // What is elsewhere in another protocol is left where it is.
    let urls = (url.contains("://") && !url.starts_with("http://") && !url.starts_with("https://")).then_some(url);
    let mut bytes = Entry { chart: &chart, created, digest: digest.as_deref(), urls }.to_bytes().ok()?;
    if urls.is_none() && !url.contains(['\n', '\r']) {
        bytes.push(SOURCE);
        bytes.extend_from_slice(url.as_bytes());
    }
    Some(VersionRecord { version: listed(name, &chart.version), published: time(created), bytes: bytes.into() })
}

/// A time with whatever offset and as many digits as it has.
fn time(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text)
}

/// Where an upstream has an archive, and what that hashes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The address, as the index says it.
    pub url: String,
    /// The SHA-256 in hexadecimal digits, where the index says it.
    pub digest: Option<String>,
}

/// Finds a version in the records of an upstream.
#[must_use]
pub fn find(records: &Records, chart: &str, version: &str) -> Option<Upstream> {
    let wanted = listed(chart, version);
    let record = records.versions.iter().find(|record| record.version == wanted)?;
    let entry: Value = serde_json::from_slice(shown(record)).ok()?;
    Some(Upstream { url: source(record)?.to_owned(), digest: entry.get("digest").and_then(Value::as_str).map(str::to_owned) })
}

#[cfg(test)]
mod tests;
