//! Pulling through: an upstream has one index, which says where charts are (anywhere) and what they hash to.

use bytes::Bytes;
use entrepot_kit::{ALL_PACKAGES, Algorithm, Digests, Error, Located, Records, Result, UpstreamIndex, UpstreamPath};
use entrepot_oci_core::layout;

use crate::index;
use crate::name::{ChartPath, PROV};

/// What a path is: charts and their provenance files are where the index says.
pub(crate) fn classify(path: &str) -> UpstreamPath {
    match ChartPath::parse(path) {
        Some(_) => UpstreamPath::Needs { package: ALL_PACKAGES.to_owned() },
        // What is made here of charts, for container clients.
        None if layout::image_of(path).is_some() => UpstreamPath::Own,
        None => UpstreamPath::NotOurs,
    }
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
    use super::{beside, check_file, classify, index, locate, records};
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
}
