//! Helm's charts: the classic repository with its `index.yaml`, and the management API of ChartMuseum.
//!
//! A chart is a package, and its archive lies at `charts/{name}/{name}-{version}.tgz`, its provenance file behind `.prov`. The record of a
//! version is a [`document::VersionDocument`], from which the index's fragment is made.

use std::cmp::Ordering;

use bytes::Bytes;
use entrepot_kit::{BaseUrl, Error, Format, Fragment, Located, Records, Result, RouteTable, Snippet, UpstreamIndex, UpstreamPath};

pub mod archive;
pub mod chart;
pub mod document;
mod handler;
pub mod index;
pub mod name;
pub mod provenance;
mod route;
mod settings;
pub mod testing;
mod upstream;
pub mod version;
pub mod yaml;

/// The identifier of the format.
pub const ID: &str = "helm";

/// The format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Helm;

impl Format for Helm {
    fn id(&self) -> &'static str {
        ID
    }

    fn routes(&self) -> RouteTable {
        RouteTable(&route::ROUTES)
    }

    fn fragments(&self, _package: &str, _version: &str, document: &str) -> Result<Vec<Fragment>> {
        // The tags of signatures are versions too, and no charts.
        document::VersionDocument::parse(document).map(|document| document.fragment()).into_iter().collect()
    }

    fn lists_versions(&self) -> bool {
        true
    }

    fn package_of(&self, path: &str) -> Option<String> {
        name::ChartPath::parse(path).map(|chart| chart.name.to_owned())
    }

    fn classify(&self, path: &str) -> UpstreamPath {
        upstream::classify(path)
    }

    fn check_upstream_file(&self, path: &str, _content_type: Option<&str>, beginning: &[u8]) -> Result<()> {
        upstream::check_file(path, beginning)
    }

    fn upstream_index(&self, package: &str) -> Option<UpstreamIndex> {
        upstream::index(package)
    }

    fn upstream_records(&self, _package: &str, document: &Bytes, _fragments: &'static str) -> Result<Records> {
        upstream::records(document)
    }

    fn locate(&self, path: &str, _package: &str, document: &Bytes) -> Result<Option<Located>> {
        upstream::locate(path, document)
    }

    fn version_path(&self, package: &str, version: &str) -> Option<String> {
        name::fits(package, version).then(|| name::path(package, version))
    }

    fn version_order(&self, one: &str, other: &str) -> Ordering {
        version::compare(one, other)
    }

    fn counts_pulls(&self, path: &str) -> bool {
        name::ChartPath::parse(path).is_some_and(|chart| !chart.is_prov)
    }

    fn render_error(&self, error: &Error) -> (&'static str, Bytes) {
        ("application/json", serde_json::json!({ "error": error.message() }).to_string().into())
    }

    fn setting_names(&self) -> &'static [&'static str] {
        &settings::NAMES
    }

    fn check_settings(&self, settings: &serde_json::Value) -> Result<()> {
        settings::check(settings)
    }

    fn snippets(&self, base: &BaseUrl) -> Vec<Snippet> {
        let snippet = |title: &str, text: String| Snippet { title: title.to_owned(), text };
        vec![
            snippet("helm: use charts", format!("helm repo add entrepot {base}\nhelm repo update\nhelm install NAME entrepot/CHART")),
            snippet("helm: sign in", format!("helm repo add entrepot {base} --username NAME --password TOKEN")),
            snippet("helm cm-push: upload", String::from("helm cm-push CHART.tgz entrepot")),
            snippet("curl: upload", format!("curl -u NAME:TOKEN -T CHART-VERSION.tgz {base}/")),
        ]
    }
}
