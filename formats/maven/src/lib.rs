//! Maven's repositories: the layout, metadata made from records, hosted, pulled through from another repository, or both in one group.
//!
//! A *package* is `groupId:artifactId`, a *version* that of the folder: all builds of `1.1-SNAPSHOT` are of one. Files are entries at their
//! path of the layout. Checksums and metadata are none: they are made from digests and records. A version's record is a
//! [`document::VersionDocument`]; that of a package names the plugins of the group whose metadata lies in the package's folder.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{
    Algorithm, BaseUrl, Changes, CheckedDocument, Error, Format, Fragment, Held, Outdated, PathPrefixes, Records, Result, RouteTable, Sidecar, Snippet,
    Timestamp, UpstreamIndex, UpstreamPath, Waiting,
};

mod amend;
mod archetype;
pub mod checksum;
pub mod coordinates;
pub mod document;
mod facts;
mod handler;
mod housekeeping;
pub mod index;
pub mod metadata;
mod plugin;
mod pom;
mod release;
mod route;
mod settings;
pub mod testing;
mod upstream;
pub mod version;

/// The identifier of the format.
pub const ID: &str = "maven";

/// The format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Maven;

impl Format for Maven {
    fn id(&self) -> &'static str {
        ID
    }

    fn routes(&self) -> RouteTable {
        RouteTable(&route::ROUTES)
    }

    fn fragments(&self, _package: &str, _version: &str, document: &str) -> Result<Vec<Fragment>> {
        index::fragments(document)
    }

    fn amends(&self, variant: &str, records: &Records) -> bool {
        amend::amends(variant, records)
    }

    fn amend(&self, variant: &str, before: &[u8], changes: &Changes, _base: &BaseUrl) -> Result<Option<Vec<u8>>> {
        amend::amend(variant, before, changes)
    }

    fn package_of(&self, path: &str) -> Option<String> {
        coordinates::package_of(path)
    }

    fn classify(&self, path: &str) -> UpstreamPath {
        upstream::classify(path)
    }

    fn prefixes_path(&self, settings: &serde_json::Value) -> Option<&'static str> {
        settings::uses_prefixes(settings).then_some(coordinates::PREFIXES)
    }

    fn read_prefixes(&self, document: &Bytes) -> Option<PathPrefixes> {
        upstream::read_prefixes(document)
    }

    fn one_source(&self, path: &str) -> Option<String> {
        coordinates::release_folder(path)
    }

    /// Releases are asked for again and again that have no sources, no signature, or are elsewhere.
    fn missing_lifetime(&self) -> u32 {
        3600
    }

    fn check_upstream_document(&self, path: &str, _content_type: Option<&str>, document: &Bytes) -> Result<CheckedDocument> {
        upstream::check(path, document)
    }

    fn file_digests(&self) -> &'static [Algorithm] {
        &[Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha512]
    }

    fn sidecar(&self, path: &str) -> Option<Sidecar> {
        Some(Sidecar { header: "x-checksum-sha1", path: format!("{path}.sha1"), read: upstream::read_sha1 })
    }

    fn check_upstream_file(&self, path: &str, content_type: Option<&str>, beginning: &[u8]) -> Result<()> {
        upstream::check_file(path, content_type, beginning)
    }

    fn upstream_index(&self, package: &str) -> Option<UpstreamIndex> {
        upstream::index(package)
    }

    fn upstream_records(&self, package: &str, document: &Bytes, fragments: &'static str) -> Result<Records> {
        upstream::records(package, document, fragments)
    }

    fn merge(&self, parts: &[Arc<Records>]) -> Records {
        index::merge(parts)
    }

    fn version_order(&self, one: &str, other: &str) -> Ordering {
        version::compare(one, other)
    }

    fn reuses_versions(&self) -> bool {
        true
    }

    fn waiting(&self) -> &'static [Waiting] {
        &housekeeping::WAITING
    }

    fn tidies(&self, settings: &serde_json::Value) -> bool {
        settings::SnapshotRules::read(settings).is_ok_and(|rules| rules.is_needed())
    }

    fn outdated(&self, settings: &serde_json::Value, held: &Held<'_>, now: Timestamp) -> Result<Outdated> {
        housekeeping::outdated(settings, held, now)
    }

    fn version_without(&self, document: &str, gone: &[String]) -> Result<Option<String>> {
        housekeeping::without(document, gone)
    }

    fn render_error(&self, error: &Error) -> (&'static str, Bytes) {
        ("text/plain; charset=utf-8", format!("{}\n", error.message()).into())
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
            snippet(
                "Maven: settings.xml, everything from here",
                format!("<mirrors><mirror><id>entrepot</id><mirrorOf>*</mirrorOf><url>{base}/</url></mirror></mirrors>"),
            ),
            snippet(
                "Maven: pom.xml, deploy here",
                format!(
                    "<distributionManagement>\n  <repository><id>entrepot</id><url>{base}/</url></repository>\n  <snapshotRepository><id>entrepot</id><url>{base}/</url></snapshotRepository>\n</distributionManagement>"
                ),
            ),
            snippet(
                "Maven: settings.xml, credentials",
                String::from("<servers><server><id>entrepot</id><username>NAME</username><password>TOKEN</password></server></servers>"),
            ),
            snippet("Gradle: resolve", format!("repositories {{ maven {{ url = uri(\"{base}/\") }} }}")),
        ]
    }
}
