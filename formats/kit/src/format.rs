//! What a format is: an identifier, a table of routes, and hooks with defaults.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use crate::digest::Algorithm;
use crate::error::{Error, Result};
use crate::housekeeping::{Held, Holding, Outdated, Waiting};
use crate::records::{Changes, Fragment, ReadSeek, Records};
use crate::request::BaseUrl;
use crate::route::RouteTable;
use crate::time::Timestamp;
use crate::upstream::{CheckedDocument, Located, Need, PathPrefixes, Sidecar, UpstreamIndex, UpstreamPath};

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

    /// The same format towards an upstream that speaks another protocol than its usual one, by the beginning of that one's URL (`oci`); `None`
    /// for protocols that it does not speak. `settings` are those of the repository.
    fn towards(&self, _scheme: &str, _settings: &serde_json::Value) -> Option<Arc<dyn Format>> {
        None
    }

    /// The packages of which the index of [`crate::ALL_PACKAGES`] is put together, where the upstream has none: for formats that list versions
    /// there ([`Self::lists_versions`]).
    fn index_parts(&self) -> &[String] {
        &[]
    }

    /// The pieces of index documents that a version contributes, from what its client published.
    ///
    /// # Errors
    /// When the document is not one that this format stores.
    fn fragments(&self, _package: &str, _version: &str, _document: &str) -> Result<Vec<Fragment>> {
        Ok(Vec::new())
    }

    /// Whether an index document that is made of these records can be amended ([`Self::amend`]) when its package changes.
    fn amends(&self, _variant: &str, _records: &Records) -> bool {
        false
    }

    /// Brings an index document of one hosted package up to date with what changed since it was made, so that a publish costs the same
    /// whatever was published before: to the byte what would be made anew. A pure function of its arguments; `before` was given by it, or
    /// made of records that [`Self::amends`] knows. `None`: it has to be made anew.
    ///
    /// # Errors
    /// Those of making it.
    fn amend(&self, _variant: &str, _before: &[u8], _changes: &Changes, _base: &BaseUrl) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// The folder whose files are what an index document of a hosted package is made of, where a version has many files: the `data` of
    /// each file is its fragment, named by the rest of its path; files without `data` are passed over. `None`: the fragments are those
    /// of the versions.
    fn fragment_folder(&self, _package: &str, _fragments: &str) -> Option<String> {
        None
    }

    /// The kind of the fragments, of all versions of all packages, that the index of [`crate::ALL_PACKAGES`] is made of: for formats whose
    /// clients read one document about everything. Its records are then named by [`crate::listed`], and clients wait for the upstream's.
    fn lists_versions(&self) -> Option<&'static str> {
        None
    }

    /// Finds a file of [`UpstreamPath::Needs`] in that list: the document itself, which may be large, is then not read again.
    fn locate_listed(&self, _path: &str, _records: &Records) -> Option<Located> {
        None
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

    /// What all paths of an upstream begin with, below the root that its operator names (`v2/`). A root that has it already, with a slash
    /// before it, is one of a part of the upstream, and is left as it is.
    fn upstream_prefix(&self) -> &'static str {
        ""
    }

    /// The full name of a package that clients may shorten, at the upstreams of a namespace: `alpine` is `library/alpine` at `docker.io`.
    /// `None` for a name that is full already. What is asked for by the short name is kept, restricted and granted by the full one; paths
    /// that begin with the package follow.
    fn full_name(&self, _namespace: &str, _package: &str) -> Option<String> {
        None
    }

    /// Whether upstreams of this format answer 401 with a challenge that says how to sign in. Credentials then wait for it, and
    /// tokens are fetched where it says (within the rules of the server).
    fn upstream_challenges(&self) -> bool {
        false
    }

    /// The path of the small document ([`UpstreamPath::Document`]) in which upstreams say what their paths begin with; `None` where there is
    /// none, or the repository's settings say that it does not count.
    fn prefixes_path(&self, _settings: &serde_json::Value) -> Option<&'static str> {
        None
    }

    /// Reads that document: what is out of its reach is not asked for. `None` when it says nothing, so that everything is asked for.
    fn read_prefixes(&self, _document: &Bytes) -> Option<PathPrefixes> {
        None
    }

    /// The folder whose files a group gives from one of its proxies only, of a path in it: what two upstreams have of one release need not
    /// belong together.
    fn one_source(&self, _path: &str) -> Option<String> {
        None
    }

    /// For how many seconds it is remembered that an upstream has no such file, of files that never change. It is forgotten before when the
    /// index of the package says something new.
    fn missing_lifetime(&self) -> u32 {
        10
    }

    /// Checks a document of an upstream ([`UpstreamPath::Document`]) before it is kept.
    ///
    /// # Errors
    /// What is wrong with it: the page of a captive portal, other bytes than the path promises.
    fn check_upstream_document(&self, _path: &str, _content_type: Option<&str>, _document: &Bytes) -> Result<CheckedDocument> {
        Ok(CheckedDocument::default())
    }

    /// Hashes besides SHA-256 that are computed of every file of an upstream, because clients ask for them.
    fn file_digests(&self) -> &'static [Algorithm] {
        &[]
    }

    /// Where an upstream says what a file hashes to.
    fn sidecar(&self, _path: &str) -> Option<Sidecar> {
        None
    }

    /// Looks at the beginning of a file of an upstream before any of it is sent or kept.
    ///
    /// # Errors
    /// What is wrong with it: it is the page of a captive portal.
    fn check_upstream_file(&self, _path: &str, _content_type: Option<&str>, _beginning: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Holds a file of an upstream against what an index promised of it ([`Located::promise`]), before the end of it is sent and any of it
    /// counts.
    ///
    /// # Errors
    /// In what it differs.
    fn check_promise(&self, _path: &str, _promise: &str, _file: &mut dyn ReadSeek, _size: u64) -> Result<()> {
        Ok(())
    }

    /// The path of this repository that leads to the bytes which an upstream named ([`crate::UpstreamDocument::named_by`]) when it was
    /// asked for `path`; `None` when the name says nothing.
    fn path_of_name(&self, _path: &str, _name: &str) -> Option<String> {
        None
    }

    /// Makes one document of the pages of an upstream.
    ///
    /// # Errors
    /// When they are not pages of such a document.
    fn join_pages(&self, pages: &[Bytes]) -> Result<Bytes> {
        pages.first().cloned().ok_or_else(|| Error::bad_gateway("an answer without a page"))
    }

    /// The path with which a prefetch of a version begins; `None` where there is nothing to prefetch.
    fn version_path(&self, _package: &str, _version: &str) -> Option<String> {
        None
    }

    /// What a document needs besides, for a prefetch; of what is there for several platforms only that for `platforms`
    /// (`linux/amd64`), unless that is empty.
    ///
    /// # Errors
    /// When it is no such document.
    fn needs(&self, _path: &str, _document: &Bytes, _platforms: &[String]) -> Result<Vec<Need>> {
        Ok(Vec::new())
    }

    /// Where an upstream keeps the index of a package; `None` for a name that cannot exist. For [`crate::ALL_PACKAGES`], the list of
    /// packages: that is fetched behind the requests, as it may be large.
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

    /// The number that an upstream's index document gives to its own state, where it does. Its answer may say it in a header instead.
    fn upstream_serial(&self, _document: &Bytes) -> Option<u64> {
        None
    }

    /// Takes a part out of a file of an upstream ([`Located::part_of`]): `path` is that of the part. The file may be far away: what is read
    /// of it is fetched, and how much that is, is bounded.
    ///
    /// # Errors
    /// When there is no such part in it.
    fn extract(&self, path: &str, _whole: &mut dyn ReadSeek) -> Result<Bytes> {
        Err(Error::not_found(format!("{path}: this format has no files in files")))
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

    /// Whether names of versions that were deleted may be used again for others, as tags are. Else they stay taken for ever.
    fn reuses_versions(&self) -> bool {
        false
    }

    /// The versions that the package's document names: retention leaves them alone, or the document would lead nowhere.
    fn pinned_versions(&self, _document: &str) -> Vec<String> {
        Vec::new()
    }

    /// The path of the document that a version is about, where the version is no release of its own (a signature's tag): it goes when
    /// that document is gone, and no rule counts it.
    fn attached_to(&self, _package: &str, _version: &str) -> Option<String> {
        None
    }

    /// How a live path of a package is held.
    fn holding(&self, _package: &str, _path: &str) -> Holding {
        Holding::Itself
    }

    /// The paths of [`Holding::Part`] that a document needs.
    ///
    /// # Errors
    /// When it is a document that this format does not understand: then no part of its package is taken for unneeded.
    fn parts(&self, _path: &str, _content_type: Option<&str>, _document: &Bytes) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The days after which documents go that nothing holds, where a repository's `retention` does not say.
    fn unheld_days(&self) -> Option<u32> {
        None
    }

    /// Folders of the format's own with what waits for something that may never come. Housekeeping ends it after its time, whatever the rules
    /// of a repository say.
    fn waiting(&self) -> &'static [Waiting] {
        &[]
    }

    /// Whether the format's own settings let anything go ([`Self::outdated`]).
    fn tidies(&self, _settings: &serde_json::Value) -> bool {
        false
    }

    /// What of a hosted package goes by the format's own settings, besides the versions that retention lets go.
    ///
    /// # Errors
    /// 400 for settings that cannot be read.
    fn outdated(&self, _settings: &serde_json::Value, _held: &Held<'_>, _now: Timestamp) -> Result<Outdated> {
        Ok(Outdated::default())
    }

    /// The document of a version without files that go; `None` where it stays as it is.
    ///
    /// # Errors
    /// 500 for a damaged document.
    fn version_without(&self, _document: &str, _gone: &[String]) -> Result<Option<String>> {
        Ok(None)
    }

    /// Whether it counts as a use of a path that its file was sent.
    fn counts_pulls(&self, _path: &str) -> bool {
        true
    }

    /// The media type and body of an error in the words of this format's clients.
    fn render_error(&self, error: &Error) -> (&'static str, Bytes) {
        ("application/json", json!({ "error": error.message() }).to_string().into())
    }

    /// The same in the words of container clients, below `/v2/`.
    fn render_registry_error(&self, error: &Error) -> (&'static str, Bytes) {
        self.render_error(error)
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
