//! Repositories of RPM packages: hosted, pulled through from another repository, or both in one group.
//!
//! Packages lie wherever they were put; every folder, the root too, is a repository to clients: `{folder}/repodata/repomd.xml` lists all
//! packages below it ([`repodata`]). A *package* is the name in the header, a *version* the epoch, version, release and architecture of one file
//! ([`place::version`]), its record a [`package::Package`]. Metadata is no entry but made from the records of a revision; what is uploaded
//! for it (groups, advisories, modules) are entries in the folder `repodata`.

use std::cmp::Ordering;

use bytes::Bytes;
use entrepot_kit::{BaseUrl, CheckedDocument, Error, Format, Fragment, Result, RouteTable, Snippet, UpstreamPath};

#[cfg(test)]
mod fuzz;
mod handler;
mod header;
mod mirrors;
pub mod package;
pub mod place;
pub mod repodata;
mod route;
mod settings;
pub mod testing;
mod upstream;
pub mod version;
pub mod xml;

/// The identifier of the format.
pub const ID: &str = "rpm";

/// The format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rpm;

impl Format for Rpm {
    fn id(&self) -> &'static str {
        ID
    }

    fn routes(&self) -> RouteTable {
        RouteTable(&route::ROUTES)
    }

    fn fragments(&self, _package: &str, _version: &str, document: &str) -> Result<Vec<Fragment>> {
        Ok(vec![xml::fragment(&package::Package::parse(document)?)])
    }

    fn package_of(&self, path: &str) -> Option<String> {
        place::package_of(path)
    }

    fn classify(&self, path: &str) -> UpstreamPath {
        upstream::classify(path)
    }

    fn check_upstream_document(&self, _path: &str, _content_type: Option<&str>, document: &Bytes) -> Result<CheckedDocument> {
        upstream::check(document)
    }

    fn version_order(&self, one: &str, other: &str) -> Ordering {
        version::compare(one, other)
    }

    fn reuses_versions(&self) -> bool {
        true
    }

    fn counts_pulls(&self, path: &str) -> bool {
        path.ends_with(place::ENDING)
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
            snippet("dnf: set up", format!("curl --fail --output /etc/yum.repos.d/entrepot.repo {base}/entrepot.repo\ndnf makecache")),
            snippet("zypper: set up", format!("zypper addrepo {base}/entrepot.repo")),
            snippet("curl: upload", format!("curl --fail --user NAME:TOKEN --upload-file PACKAGE.rpm {base}/PACKAGE.rpm")),
            snippet(
                "curl: upload to a folder, which is a repository of its own",
                format!("curl --fail --user NAME:TOKEN --upload-file PACKAGE.rpm {base}/el9/upload"),
            ),
        ]
    }
}
