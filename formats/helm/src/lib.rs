//! Helm's charts: the classic repository with its `index.yaml` and the management API of ChartMuseum, and the same charts as artifacts for
//! container clients, whichever way they came.
//!
//! A chart is a package, and its archive lies at `charts/{name}/{name}-{version}.tgz`, its provenance file behind `.prov`. The record of a
//! version is a [`document::VersionDocument`], from which the index's fragment is made. Below `{name}/` lie the manifests and blobs of the
//! artifact, as in repositories of images: the blobs are those of the archive and the provenance file, and the manifests belong to the version.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{
    BaseUrl, CheckedDocument, Error, Format, Fragment, Holding, Located, Need, Records, Result, RouteTable, Snippet, UpstreamIndex, UpstreamPath,
};
use entrepot_oci_core::{housekeeping, layout, upstream as registry};

pub mod archive;
pub mod artifact;
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
#[derive(Debug, Clone, Default)]
pub struct Helm {
    /// Towards an upstream that is a registry: the charts of which the index is made.
    registry: Option<Vec<String>>,
}

impl Format for Helm {
    fn id(&self) -> &'static str {
        ID
    }

    fn routes(&self) -> RouteTable {
        RouteTable(&route::ROUTES)
    }

    fn registry_routes(&self) -> RouteTable {
        RouteTable(&route::REGISTRY)
    }

    fn fragments(&self, _package: &str, _version: &str, document: &str) -> Result<Vec<Fragment>> {
        // The tags of signatures are versions too, and no charts.
        document::VersionDocument::parse(document).map(|document| document.fragment()).into_iter().collect()
    }

    fn lists_versions(&self) -> Option<&'static str> {
        Some(index::FRAGMENTS)
    }

    fn package_of(&self, path: &str) -> Option<String> {
        let chart = name::ChartPath::parse(path).map(|chart| chart.name);
        chart.or_else(|| layout::image_of(path)).map(str::to_owned)
    }

    fn towards(&self, scheme: &str, settings: &serde_json::Value) -> Option<Arc<dyn Format>> {
        (scheme == "oci").then(|| Arc::new(Self { registry: Some(settings::charts(settings)) }) as _)
    }

    fn index_parts(&self) -> &[String] {
        self.registry.as_deref().unwrap_or_default()
    }

    fn classify(&self, path: &str) -> UpstreamPath {
        match &self.registry {
            Some(_) => upstream::classify_artifact(path),
            None => upstream::classify(path),
        }
    }

    fn upstream_prefix(&self) -> &'static str {
        if self.registry.is_some() { "v2/" } else { "" }
    }

    fn upstream_challenges(&self) -> bool {
        self.registry.is_some()
    }

    fn check_upstream_document(&self, path: &str, content_type: Option<&str>, document: &Bytes) -> Result<CheckedDocument> {
        registry::check(path, content_type, document)
    }

    fn path_of_name(&self, path: &str, name: &str) -> Option<String> {
        registry::path_of_name(path, name)
    }

    fn join_pages(&self, pages: &[Bytes]) -> Result<Bytes> {
        match &self.registry {
            Some(_) => registry::join_pages(pages),
            None => pages.first().cloned().ok_or_else(|| Error::bad_gateway("an answer without a page")),
        }
    }

    fn check_upstream_file(&self, path: &str, _content_type: Option<&str>, beginning: &[u8]) -> Result<()> {
        upstream::check_file(path, beginning)
    }

    fn upstream_index(&self, package: &str) -> Option<UpstreamIndex> {
        match &self.registry {
            Some(_) => registry::index(package),
            None => upstream::index(package),
        }
    }

    fn upstream_records(&self, package: &str, document: &Bytes, fragments: &'static str) -> Result<Records> {
        match &self.registry {
            Some(_) => upstream::tags(package, document, fragments),
            None => upstream::records(document),
        }
    }

    fn locate_listed(&self, path: &str, records: &Records) -> Option<Located> {
        upstream::locate(path, records)
    }

    fn version_path(&self, package: &str, version: &str) -> Option<String> {
        match &self.registry {
            Some(_) => registry::version_path(package, &version::tag(version)),
            None => name::fits(package, version).then(|| name::path(package, version)),
        }
    }

    fn needs(&self, path: &str, document: &Bytes, platforms: &[String]) -> Result<Vec<Need>> {
        if self.registry.is_some() { registry::needs(path, document, platforms) } else { Ok(Vec::new()) }
    }

    fn version_order(&self, one: &str, other: &str) -> Ordering {
        version::compare(one, other)
    }

    fn counts_pulls(&self, path: &str) -> bool {
        match name::ChartPath::parse(path) {
            Some(chart) => !chart.is_prov,
            None => path.rsplit('/').nth(1) == Some("manifests"),
        }
    }

    fn attached_to(&self, package: &str, version: &str) -> Option<String> {
        housekeeping::attached_to(package, version)
    }

    fn holding(&self, package: &str, path: &str) -> Holding {
        if name::ChartPath::parse(path).is_some() { Holding::Itself } else { housekeeping::holding(package, path) }
    }

    fn parts(&self, path: &str, content_type: Option<&str>, document: &Bytes) -> Result<Vec<String>> {
        housekeeping::parts(path, content_type, document)
    }

    fn unheld_days(&self) -> Option<u32> {
        Some(housekeeping::UNHELD_DAYS)
    }

    fn render_error(&self, error: &Error) -> (&'static str, Bytes) {
        ("application/json", serde_json::json!({ "error": error.message() }).to_string().into())
    }

    fn render_registry_error(&self, error: &Error) -> (&'static str, Bytes) {
        entrepot_oci_core::render_error(error)
    }

    fn setting_names(&self) -> &'static [&'static str] {
        &settings::NAMES
    }

    fn check_settings(&self, settings: &serde_json::Value) -> Result<()> {
        settings::check(settings)
    }

    fn snippets(&self, base: &BaseUrl) -> Vec<Snippet> {
        let host = base.origin.split_once("://").map_or(base.origin.as_str(), |(_, host)| host);
        let repository = format!("{host}{}", base.path.strip_prefix("/v2").unwrap_or(&base.path));
        let snippet = |title: &str, text: String| Snippet { title: title.to_owned(), text };
        vec![
            snippet("helm: use charts", format!("helm repo add entrepot {base}\nhelm repo update\nhelm install NAME entrepot/CHART")),
            snippet("helm: sign in", format!("helm repo add entrepot {base} --username NAME --password TOKEN")),
            snippet("helm push: upload", format!("helm push CHART-VERSION.tgz oci://{repository}")),
            snippet("helm pull: from the registry", format!("helm pull oci://{repository}/CHART --version VERSION")),
            snippet("helm cm-push: upload", String::from("helm cm-push CHART.tgz entrepot")),
            snippet("curl: upload", format!("curl -u NAME:TOKEN -T CHART-VERSION.tgz {base}/")),
        ]
    }
}
