//! Alpine's packages: hosted, pulled through from another repository, or both in one group.
//!
//! A *package* is what apk calls one; its file in a branch, repository and architecture is a *version* of its own, as the same version lies in
//! many. An index, `APKINDEX.tar.gz` of a folder, is made of a record for each file ([`document::VersionDocument`]), and signed with the
//! repository's key. A proxy's index is the upstream's, byte for byte.

use std::cmp::Ordering;

use bytes::Bytes;
use entrepot_kit::{BaseUrl, CheckedDocument, Error, Format, Fragment, ReadSeek, Result, RouteTable, Snippet, UpstreamPath};

pub mod document;
mod handler;
pub mod index;
pub mod info;
mod member;
pub mod package;
pub mod place;
mod route;
mod tarball;
pub mod testing;
mod upstream;
pub mod version;

/// The identifier of the format.
pub const ID: &str = "alpine";

/// The format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alpine;

impl Format for Alpine {
    fn id(&self) -> &'static str {
        ID
    }

    fn routes(&self) -> RouteTable {
        RouteTable(&route::ROUTES)
    }

    fn fragments(&self, _package: &str, _version: &str, document: &str) -> Result<Vec<Fragment>> {
        document::fragments(document)
    }

    fn package_of(&self, path: &str) -> Option<String> {
        match place::place(path)? {
            place::Place::Package(_, file) => place::split(&file).map(|(name, _)| name.to_owned()),
            place::Place::Index(_) => None,
        }
    }

    fn classify(&self, path: &str) -> UpstreamPath {
        upstream::classify(path)
    }

    fn check_upstream_document(&self, path: &str, _content_type: Option<&str>, document: &Bytes) -> Result<CheckedDocument> {
        upstream::check(path, document)
    }

    fn check_promise(&self, _path: &str, promise: &str, file: &mut dyn ReadSeek, size: u64) -> Result<()> {
        handler::check_promise(promise, file, size)
    }

    fn version_order(&self, one: &str, other: &str) -> Ordering {
        let parts = |version: &str| -> (String, String) {
            let (version, folder) = version.split_once('@').unwrap_or((version, ""));
            (version.to_owned(), folder.to_owned())
        };
        let ((one, first), (other, second)) = (parts(one), parts(other));
        version::compare(&one, &other).then_with(|| first.cmp(&second))
    }

    fn counts_pulls(&self, path: &str) -> bool {
        matches!(place::place(path), Some(place::Place::Package(..)))
    }

    fn render_error(&self, error: &Error) -> (&'static str, Bytes) {
        ("text/plain; charset=utf-8", format!("{}\n", error.message()).into())
    }

    fn snippets(&self, base: &BaseUrl) -> Vec<Snippet> {
        let snippet = |title: &str, text: String| Snippet { title: title.to_owned(), text };
        vec![
            snippet("apk: trust the repository's key", format!("cd /etc/apk/keys && curl --fail --remote-name --remote-header-name {base}/key")),
            snippet("apk: use the repository", format!("echo {base}/BRANCH/REPOSITORY >> /etc/apk/repositories && apk update")),
            snippet("curl: upload", format!("curl --fail-with-body --user NAME:TOKEN --upload-file FILE.apk {base}/BRANCH/REPOSITORY/ARCHITECTURE/")),
            snippet("curl: upload, the package says where", format!("curl --fail-with-body --user NAME:TOKEN --upload-file FILE.apk {base}/BRANCH/REPOSITORY")),
        ]
    }
}
