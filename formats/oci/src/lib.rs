//! The OCI format: container images and any other artifact, by the OCI distribution specification 1.1 and what its main branch has added.
//!
//! An image is a package. Its files lie at the paths of the protocol: `{image}/blobs/{digest}`, `{image}/manifests/{digest}` and
//! `{image}/manifests/{tag}`; a tag is a version of the package as well. What refers to a manifest is found below
//! `{image}/referrers/{subject}/`, and the indexes that name one below `{image}/parents/{child}/`.

mod handler;
mod route;
mod settings;
mod signatures;
pub mod testing;

use bytes::Bytes;
use entrepot_kit::{BaseUrl, CheckedDocument, Error, Format, Holding, Need, Records, Result, RouteTable, Snippet, UpstreamIndex, UpstreamPath};
use entrepot_oci_core::{housekeeping, layout, upstream};

/// The OCI format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Oci;

impl Format for Oci {
    fn id(&self) -> &'static str {
        "oci"
    }

    fn routes(&self) -> RouteTable {
        RouteTable(&[])
    }

    fn registry_routes(&self) -> RouteTable {
        RouteTable(&route::ROUTES)
    }

    fn package_of(&self, path: &str) -> Option<String> {
        layout::image_of(path).map(str::to_owned)
    }

    fn classify(&self, path: &str) -> UpstreamPath {
        upstream::classify(path)
    }

    fn upstream_prefix(&self) -> &'static str {
        "v2/"
    }

    fn full_name(&self, namespace: &str, package: &str) -> Option<String> {
        upstream::full_name(namespace, package)
    }

    fn upstream_challenges(&self) -> bool {
        true
    }

    fn check_upstream_document(&self, path: &str, content_type: Option<&str>, document: &Bytes) -> Result<CheckedDocument> {
        upstream::check(path, content_type, document)
    }

    fn path_of_name(&self, path: &str, name: &str) -> Option<String> {
        upstream::path_of_name(path, name)
    }

    fn join_pages(&self, pages: &[Bytes]) -> Result<Bytes> {
        upstream::join_pages(pages)
    }

    fn version_path(&self, package: &str, version: &str) -> Option<String> {
        upstream::version_path(package, version)
    }

    fn needs(&self, path: &str, document: &Bytes, platforms: &[String]) -> Result<Vec<Need>> {
        upstream::needs(path, document, platforms)
    }

    fn upstream_index(&self, package: &str) -> Option<UpstreamIndex> {
        upstream::index(package)
    }

    fn upstream_records(&self, package: &str, document: &Bytes, _fragments: &'static str) -> Result<Records> {
        upstream::records(package, document)
    }

    fn reuses_versions(&self) -> bool {
        true
    }

    fn counts_pulls(&self, path: &str) -> bool {
        // A manifest is asked for before its layers, and often alone: the client has those.
        path.rsplit('/').nth(1) == Some("manifests")
    }

    fn attached_to(&self, package: &str, version: &str) -> Option<String> {
        housekeeping::attached_to(package, version)
    }

    fn holding(&self, package: &str, path: &str) -> Holding {
        housekeeping::holding(package, path)
    }

    fn parts(&self, path: &str, content_type: Option<&str>, document: &Bytes) -> Result<Vec<String>> {
        housekeeping::parts(path, content_type, document)
    }

    fn unheld_days(&self) -> Option<u32> {
        Some(housekeeping::UNHELD_DAYS)
    }

    fn render_error(&self, error: &Error) -> (&'static str, Bytes) {
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
            snippet("docker: sign in", format!("docker login --username NAME {host}")),
            snippet("docker: push", format!("docker tag IMAGE:TAG {repository}/IMAGE:TAG\ndocker push {repository}/IMAGE:TAG")),
            snippet("docker: pull", format!("docker pull {repository}/IMAGE:TAG")),
            snippet("skopeo: copy", format!("skopeo copy docker://SOURCE docker://{repository}/IMAGE:TAG")),
            snippet("oras: any artifact", format!("oras push {repository}/ARTIFACT:TAG FILE")),
            snippet("helm: a chart", format!("helm push CHART.tgz oci://{repository}")),
        ]
    }
}
