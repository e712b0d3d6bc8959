//! Python's packages: the simple repository API in JSON and HTML, hosted, pulled through from another index, or both in one group.
//!
//! A *package* is the normalised name of a project, a *version* its normal form by PEP 440. A file is the entry `files/{project}/{filename}`;
//! its data is a [`page::FileRecord`], which is what both forms of a project's page are made of. Beside it are its core metadata
//! (`.metadata`) and its attestations (`.provenance`). The name of a file that was deleted is kept at `deleted/{project}/{filename}`.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{BaseUrl, Error, Format, Located, ReadSeek, Records, Result, RouteTable, Snippet, UpstreamIndex, UpstreamPath};

pub mod archive;
mod attestation;
pub mod filename;
mod handler;
pub mod merge;
pub mod metadata;
pub mod name;
pub mod page;
pub mod route;
mod settings;
pub mod testing;
mod upstream;
pub mod version;

/// The identifier of the format.
pub const ID: &str = "pypi";

/// The format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pypi;

impl Format for Pypi {
    fn id(&self) -> &'static str {
        ID
    }

    fn routes(&self) -> RouteTable {
        route::ROUTES
    }

    fn fragment_folder(&self, package: &str, fragments: &str) -> Option<String> {
        (fragments == page::FRAGMENTS).then(|| name::file_path(package, ""))
    }

    fn package_of(&self, path: &str) -> Option<String> {
        name::FilePath::parse(path).map(|path| path.project.to_owned())
    }

    fn classify(&self, path: &str) -> UpstreamPath {
        upstream::classify(path)
    }

    fn upstream_index(&self, package: &str) -> Option<UpstreamIndex> {
        upstream::index(package)
    }

    fn upstream_records(&self, package: &str, document: &Bytes, _fragments: &'static str) -> Result<Records> {
        upstream::records(package, document)
    }

    fn upstream_serial(&self, document: &Bytes) -> Option<u64> {
        page::read::serial(document)
    }

    fn locate(&self, path: &str, package: &str, document: &Bytes) -> Result<Option<Located>> {
        upstream::locate(path, package, document)
    }

    fn extract(&self, path: &str, whole: &mut dyn ReadSeek) -> Result<Bytes> {
        upstream::extract(path, whole)
    }

    fn merge(&self, parts: &[Arc<Records>]) -> Records {
        merge::merge(parts)
    }

    fn version_order(&self, one: &str, other: &str) -> Ordering {
        version::compare(one, other)
    }

    fn counts_pulls(&self, path: &str) -> bool {
        name::FilePath::parse(path).is_some_and(|path| path.part == name::Part::Itself)
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
            snippet("pip: install", format!("pip install --index-url {base}/simple/ PACKAGE")),
            snippet("pip: use it for everything", format!("pip config set global.index-url {base}/simple/")),
            snippet("uv: install", format!("uv pip install --default-index {base}/simple/ PACKAGE")),
            snippet(
                "uv: pyproject.toml",
                format!("[[tool.uv.index]]\nname = \"entrepot\"\nurl = \"{base}/simple/\"\npublish-url = \"{base}/\"\ndefault = true"),
            ),
            snippet("twine: upload", format!("twine upload --repository-url {base}/ --username __token__ dist/*")),
            snippet("uv: upload", format!("uv publish --publish-url {base}/ --token TOKEN")),
            snippet(
                "poetry: install and publish",
                format!(
                    "poetry source add --priority=primary entrepot {base}/simple/\npoetry config repositories.entrepot {base}/\npoetry publish -r entrepot"
                ),
            ),
        ]
    }
}
