//! Pulling through: a classic upstream has one index, which says where charts are (anywhere) and what they hash to. A registry has a list of
//! tags for each chart.

use bytes::Bytes;
use entrepot_kit::{ALL_PACKAGES, Algorithm, Digests, Error, Located, Records, Result, UpstreamIndex, UpstreamPath, VersionRecord};
use entrepot_oci_core::{layout, upstream as registry};
use serde_json::json;

use crate::chart::Chart;
use crate::index::{self, Entry, FRAGMENTS};
use crate::name::{self, ChartPath, PROV};
use crate::version;

/// What a path is: charts and their provenance files are where the index says.
pub(crate) fn classify(path: &str) -> UpstreamPath {
    match ChartPath::parse(path) {
        Some(_) => UpstreamPath::Needs { package: ALL_PACKAGES.to_owned() },
        // What is made here of charts, for container clients.
        None if layout::image_of(path).is_some() => UpstreamPath::Own,
        None => UpstreamPath::NotOurs,
    }
}

/// What a path is where the upstream is a registry: its own paths, and no others. Charts under their names are answered from these.
pub(crate) fn classify_artifact(path: &str) -> UpstreamPath {
    if ChartPath::parse(path).is_some() { UpstreamPath::Own } else { registry::classify(path) }
}

/// Reads the list of a chart's tags: as they are, or as entries of an index, of those that are versions. What else the chart says of itself is
/// in its manifests, of which none is fetched for a list.
pub(crate) fn tags(chart: &str, document: &Bytes, fragments: &'static str) -> Result<Records> {
    let mut records = registry::records(chart, document)?;
    if fragments != FRAGMENTS {
        return Ok(records);
    }
    let entry = |record: VersionRecord| {
        let version = version::of_tag(&record.version);
        if !name::fits(chart, &version) {
            return None;
        }
        let said = Chart::of(&json!({ "apiVersion": "v2", "name": chart, "version": version })).ok()?;
        let bytes = Entry { chart: &said, created: "", digest: None, urls: None }.to_bytes().ok()?.into();
        Some(VersionRecord { version, published: None, bytes })
    };
    records.versions = records.versions.into_iter().filter_map(entry).collect();
    Ok(records)
}

/// The index of all charts.
pub(crate) fn index(package: &str) -> Option<UpstreamIndex> {
    (package == ALL_PACKAGES).then(|| UpstreamIndex::whole("index.yaml", "application/json, application/yaml, application/x-yaml, text/yaml, */*"))
}

/// Reads it.
pub(crate) fn records(document: &Bytes) -> Result<Records> {
    index::read(document)
}

/// Where a chart or its provenance file is.
pub(crate) fn locate(path: &str, records: &Records) -> Option<Located> {
    let wanted = ChartPath::parse(path)?;
    let found = index::find(records, wanted.name, wanted.version)?;
    let mut expected = Digests::new();
    if let Some(digest) = found.digest.filter(|_| !wanted.is_prov) {
        expected.insert_hex(Algorithm::Sha256, &digest);
    }
    let url = if wanted.is_prov { beside(&found.url) } else { found.url };
    Some(Located::at(url, expected, Some(wanted.version.to_owned())))
}

/// The address of the provenance file beside an archive: a query stays behind it.
fn beside(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (path, rest) = url.split_at_checked(end).unwrap_or((url, ""));
    format!("{path}{PROV}{rest}")
}

/// Looks at the beginning of a chart: an archive in gzip, and not the page of a captive portal.
pub(crate) fn check_file(path: &str, beginning: &[u8]) -> Result<()> {
    let is_right = match ChartPath::parse(path) {
        Some(chart) if chart.is_prov => !beginning.starts_with(b"<"),
        Some(_) => beginning.len() < 2 || beginning.starts_with(b"\x1f\x8b"),
        None => true,
    };
    if is_right { Ok(()) } else { Err(Error::bad_gateway(format!("what the upstream has as {path:?} is no chart"))) }
}

#[cfg(test)]
mod tests {
    use super::{beside, check_file, classify, classify_artifact, index, locate, records, tags};
    use bytes::Bytes;
    use entrepot_kit::{ALL_PACKAGES, UpstreamPath};

    const INDEX: &str = "apiVersion: v1\nentries:\n  web:\n  - name: web\n    version: 1.0.0\n    digest: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n    urls:\n    - https://cdn.example.com/web-1.0.0.tgz?x=1\n";

    #[test]
    fn charts_are_where_the_index_says() {
        let known = records(&Bytes::from_static(INDEX.as_bytes())).unwrap();
        let chart = locate("charts/web/web-1.0.0.tgz", &known).unwrap();
        assert_eq!((chart.url.as_str(), chart.expected.is_empty()), ("https://cdn.example.com/web-1.0.0.tgz?x=1", false));
        let prov = locate("charts/web/web-1.0.0.tgz.prov", &known).unwrap();
        assert_eq!((prov.url.as_str(), prov.expected.is_empty()), ("https://cdn.example.com/web-1.0.0.tgz.prov?x=1", true));
        for none in ["charts/web/web-2.0.0.tgz", "charts/other/other-1.0.0.tgz", "index.yaml"] {
            assert_eq!(locate(none, &known), None, "{none}");
        }
        assert!(records(&Bytes::from_static(b"<html></html>")).is_err());
        assert_eq!(beside("web.tgz"), "web.tgz.prov");
    }

    #[test]
    fn paths_and_files_are_told_apart() {
        assert_eq!(classify("charts/web/web-1.0.0.tgz"), UpstreamPath::Needs { package: ALL_PACKAGES.to_owned() });
        assert_eq!(classify("index.yaml"), UpstreamPath::NotOurs);
        assert_eq!(classify("web/manifests/1.0.0"), UpstreamPath::Own);
        assert_eq!(index(ALL_PACKAGES).map(|index| index.path).as_deref(), Some("index.yaml"));
        assert_eq!(index("web"), None);
        assert!(check_file("charts/web/web-1.0.0.tgz", b"\x1f\x8b\x08").is_ok() && check_file("charts/web/web-1.0.0.tgz", b"<html>").is_err());
        assert!(check_file("charts/web/web-1.0.0.tgz.prov", b"-----BEGIN").is_ok() && check_file("charts/web/web-1.0.0.tgz.prov", b"<html>").is_err());
    }

    #[test]
    fn a_registry_has_paths_and_tags_of_its_own() {
        assert_eq!(classify_artifact("charts/web/web-1.0.0.tgz"), UpstreamPath::Own);
        assert!(matches!(classify_artifact("web/manifests/1.0.0"), UpstreamPath::Document(_)));
        assert!(matches!(classify_artifact(&format!("web/blobs/sha256:{}", "a".repeat(64))), UpstreamPath::Immutable { .. }));
        assert_eq!(classify_artifact("index.yaml"), UpstreamPath::NotOurs);
        let list = Bytes::from_static(br#"{"name": "charts/web", "tags": ["1.0.0_x", "latest", "v2", "1.0.0-rc.1", "sha256-aa.sig"]}"#);
        let versions = |kind| tags("web", &list, kind).unwrap().versions;
        assert_eq!(versions("tags").len(), 5);
        let entries = versions(crate::index::FRAGMENTS);
        assert_eq!(entries.iter().map(|entry| entry.version.as_str()).collect::<Vec<_>>(), ["1.0.0-rc.1", "1.0.0+x", "v2"]);
        let entry: serde_json::Value = serde_json::from_slice(&entries[1].bytes).unwrap();
        assert_eq!(entry["urls"][0], "charts/web/web-1.0.0+x.tgz");
        assert!(tags("web", &Bytes::from_static(b"<html>"), "tags").is_err());
    }
}
