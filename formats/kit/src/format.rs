//! What a format is: an identifier, a table of routes, and hooks with defaults.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use crate::digest::Digests;
use crate::error::{Error, Result};
use crate::records::{Fragment, Records};
use crate::request::BaseUrl;
use crate::route::RouteTable;

/// What a path of an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamPath {
    /// Its bytes never change.
    Immutable {
        /// What they must hash to, where the path itself says so.
        expected: Digests,
    },
    /// Its bytes never change, and the index of a package knows where they are and what they hash to.
    Needs {
        /// The package.
        package: String,
    },
    /// Its bytes may change: revalidated after the repository's `mutable_ttl`.
    Mutable,
    /// Not a path of this format: never asked for.
    NotOurs,
}

/// Where an upstream keeps the index of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamIndex {
    /// The encoded path below the upstream's root.
    pub path: String,
    /// The `Accept` header to ask with.
    pub accept: &'static str,
}

/// Where an upstream keeps a file, as its index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// An absolute URL, or an encoded path below the upstream's root.
    pub url: String,
    /// What its bytes must hash to.
    pub expected: Digests,
    /// The version that it belongs to.
    pub version: Option<String>,
}

/// How a person points a client at a repository: a title and the lines to paste.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Snippet {
    /// What it is for: `npm: install`.
    pub title: String,
    /// The lines.
    pub text: String,
}

/// A package format.
///
/// Everything that is not said here (caching, locking, freshness, ranges, history, access, audit) works for every format at
/// once. All hooks are pure; those that take whole documents run where blocking is allowed.
pub trait Format: Send + Sync + 'static {
    /// The name in configuration and answers: `npm`.
    fn id(&self) -> &'static str;

    /// The routes, first match first. A request without a route gets no answer.
    fn routes(&self) -> RouteTable;

    /// The routes below `/v2/`, the registry interface of container clients; empty for formats that these do not speak to.
    fn registry_routes(&self) -> RouteTable {
        RouteTable(&[])
    }

    /// The pieces of index documents that a version contributes, from what its client published.
    ///
    /// # Errors
    /// When the document is not one that this format stores.
    fn fragments(&self, _package: &str, _version: &str, _document: &str) -> Result<Vec<Fragment>> {
        Ok(Vec::new())
    }

    /// The package that a path belongs to: what name rules, ownership and policies look at. Formats without packages let
    /// the path stand for itself.
    fn package_of(&self, _path: &str) -> Option<String> {
        None
    }

    /// What an upstream's path is.
    fn classify(&self, _path: &str) -> UpstreamPath {
        UpstreamPath::Mutable
    }

    /// Where an upstream keeps the index of a package; `None` for a name that cannot exist.
    fn upstream_index(&self, _package: &str) -> Option<UpstreamIndex> {
        None
    }

    /// Reads an upstream's index document leniently. Its address does not matter: files are named as this repository names them.
    ///
    /// # Errors
    /// When it is not such a document at all (an HTML page, say): it is then not kept.
    fn upstream_records(&self, package: &str, _document: &Bytes, _fragments: &'static str) -> Result<Records> {
        Err(Error::not_found(format!("{package}: this format has no index of packages")))
    }

    /// Checks that an upstream's answer is an index document at all, before it replaces the one that is kept.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check_upstream_index(&self, package: &str, document: &Bytes) -> Result<()> {
        self.upstream_records(package, document, "").map(drop)
    }

    /// Finds a file of [`UpstreamPath::Needs`] in the package's index document.
    ///
    /// # Errors
    /// When the document cannot be read.
    fn locate(&self, _path: &str, _package: &str, _document: &Bytes) -> Result<Option<Located>> {
        Ok(None)
    }

    /// Joins the records of a group's members, in their order.
    fn merge(&self, parts: &[Arc<Records>]) -> Records {
        Records::first_wins(parts)
    }

    /// The order of versions, for listings.
    fn version_order(&self, one: &str, other: &str) -> Ordering {
        one.cmp(other)
    }

    /// The media type and body of an error in the words of this format's clients.
    fn render_error(&self, error: &Error) -> (&'static str, Bytes) {
        ("application/json", json!({ "error": error.message() }).to_string().into())
    }

    /// Whether a client's browser may show a file of this type instead of saving it. What could run scripts must not be.
    fn shown_inline(&self, content_type: &str) -> bool {
        matches!(content_type, "text/plain" | "application/json" | "image/png" | "image/jpeg" | "image/gif" | "image/webp")
    }

    /// How clients are set up for a repository at this URL.
    fn snippets(&self, _base: &BaseUrl) -> Vec<Snippet> {
        Vec::new()
    }

    /// The names of the format's own settings: what else a caller sets is a mistake, and refused.
    fn setting_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// Checks the format's own part of a repository's settings.
    ///
    /// # Errors
    /// 400 naming the setting.
    fn check_settings(&self, _settings: &serde_json::Value) -> Result<()> {
        Ok(())
    }
}
