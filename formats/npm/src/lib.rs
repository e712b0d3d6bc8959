//! npm's protocol: hosted packages, pull-through of another registry, and groups of both.
//!
//! Entry paths are `{package}/-/{name without scope}-{version}.tgz` for packages and
//! `-/npm/v1/attestations/{package}@{version}` for attestations. A package's document holds the top-level members of its
//! packument; a version's document is what the client published, with `dist` by what arrived.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{BaseUrl, Error, Format, Fragment, Located, Records, Result, RouteTable, Snippet, UpstreamIndex, UpstreamPath};
use serde_json::json;

pub mod attachments;
pub mod audit;
mod handler;
pub mod manifest;
pub mod merge;
pub mod name;
pub mod packument;
pub mod publish;
pub mod raw;
pub mod route;
pub mod search;
pub mod testing;
pub mod upstream;
pub mod version;

/// The format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Npm;

impl Format for Npm {
    fn id(&self) -> &'static str {
        "npm"
    }

    fn routes(&self) -> RouteTable {
        route::ROUTES
    }

    fn fragments(&self, package: &str, version: &str, document: &str) -> Result<Vec<Fragment>> {
        name::NpmName::parse_lenient(package)
            .and_then(|name| packument::fragments(&name, version, document))
            .ok_or_else(|| Error::internal(format!("the stored document of {package} {version} is not one of npm's")))
    }

    fn package_of(&self, path: &str) -> Option<String> {
        name::NpmPath::parse(path).map(|path| path.package().as_str().to_owned())
    }

    fn classify(&self, path: &str) -> UpstreamPath {
        upstream::classify(path)
    }

    fn upstream_index(&self, package: &str) -> Option<UpstreamIndex> {
        upstream::index(package)
    }

    fn upstream_records(&self, package: &str, document: &Bytes, fragments: &'static str) -> Result<Records> {
        upstream::records(package, document, fragments)
    }

    fn locate(&self, path: &str, package: &str, document: &Bytes) -> Result<Option<Located>> {
        upstream::locate(path, package, document)
    }

    fn merge(&self, parts: &[Arc<Records>]) -> Records {
        merge::merge(parts)
    }

    fn pinned_versions(&self, document: &str) -> Vec<String> {
        raw::RawObject::parse(document).map(|document| packument::tags(&document).into_values().collect()).unwrap_or_default()
    }

    fn version_order(&self, one: &str, other: &str) -> Ordering {
        version::compare(one, other)
    }

    fn render_error(&self, error: &Error) -> (&'static str, Bytes) {
        let mut body = json!({"error": error.message()});
        if let (Some(body), Some(reason)) = (body.as_object_mut(), error.policy().or(error.code())) {
            body.insert(String::from("reason"), reason.into());
        }
        ("application/json", body.to_string().into())
    }

    fn snippets(&self, base: &BaseUrl) -> Vec<Snippet> {
        let snippet = |title: &str, text: String| Snippet { title: title.to_owned(), text };
        vec![
            snippet("npm and pnpm: use it for everything", format!("npm config set registry {base}/")),
            snippet("npm and pnpm: use it for one scope", format!("npm config set @my-scope:registry {base}/")),
            snippet("npm: log in and publish", format!("npm login --registry={base}/\nnpm publish --registry={base}/")),
            snippet("Yarn 2 and later: .yarnrc.yml", format!("npmRegistryServer: \"{base}/\"")),
        ]
    }
}
