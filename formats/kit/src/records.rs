//! What the store keeps, as a format sees it: packages, versions, entries; and what is made of them: index documents.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Read, Seek};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;

use crate::body::ByteStream;
use crate::digest::{Algorithm, Digests, Sha256Digest};
use crate::error::Result;
use crate::request::BaseUrl;
use crate::time::Timestamp;

/// What a repository is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Accepts publishes.
    Hosted,
    /// Pulls through and keeps what one upstream has.
    Proxy,
    /// An ordered union of others.
    Group,
}

/// Where an answer came from (`X-Artifact-Source`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Published here.
    Hosted,
    /// Fetched from upstream before.
    Cache,
    /// Fetched from upstream for this request.
    Remote,
    /// Kept from before, past its time, because upstream cannot be reached.
    Stale,
}

impl Source {
    /// The value of the header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hosted => "hosted",
            Self::Cache => "cache",
            Self::Remote => "remote",
            Self::Stale => "stale",
        }
    }
}

/// A path in a repository that leads to a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The decoded path below the repository, without leading slash.
    pub path: String,
    /// The blob's name. `None` only while a first fetch from upstream has not ended.
    pub digest: Option<Sha256Digest>,
    /// The blob's length in bytes, where known.
    pub size: Option<u64>,
    /// Digests besides SHA-256, as far as they were computed.
    pub digests: Digests,
    /// The media type, if the publisher or upstream said one.
    pub content_type: Option<String>,
    /// The format's own JSON.
    pub data: String,
    /// When it was published, or fetched.
    pub created: Timestamp,
    /// The package that it belongs to.
    pub package: Option<String>,
    /// The version that it belongs to.
    pub version: Option<String>,
}

/// `Read + Seek`, for archives.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// What the storage says of bytes that it sends itself.
#[derive(Debug, Clone)]
pub struct DirectHeaders {
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Disposition`, if any.
    pub disposition: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Cow<'static, str>,
}

/// Bytes that can be read from any place, and again.
#[async_trait]
pub trait Content: Send + Sync {
    /// The length in bytes; `None` while a fetch of unknown length runs.
    fn size(&self) -> Option<u64>;

    /// The bytes of `range` (to the end when `None`). A fetch that is under way is followed; a failure ends the stream
    /// with an error, never as if it were whole.
    async fn stream(&self, range: Option<Range<u64>>) -> Result<ByteStream>;

    /// The bytes of `range` at once, where they are in memory already.
    fn bytes(&self, _range: Range<u64>) -> Option<Bytes> {
        None
    }

    /// The file that these bytes are, from its first to its last, where they lie in one on this machine: the kernel can send it.
    fn file(&self) -> Option<Arc<std::fs::File>> {
        None
    }

    /// A reader for blocking code; waits until a fetch under way has ended well.
    async fn reader(&self) -> Result<Box<dyn ReadSeek>>;

    /// A URL at which the storage itself gives all the bytes to whoever knows it, for a few minutes and under these headers; `None` where
    /// there is none. It is a credential: for the client that was let in, and for no log. Servers ask for it, not formats.
    async fn direct_url(&self, _headers: DirectHeaders) -> Result<Option<String>> {
        Ok(None)
    }
}

/// A stored file that was opened with a grant.
#[derive(Clone)]
pub struct File {
    /// What is known of it.
    pub entry: Entry,
    /// Its bytes.
    pub content: Arc<dyn Content>,
    /// Where it came from.
    pub source: Source,
    /// Whether its path may lead to other bytes later; decides `Cache-Control`.
    pub mutable: bool,
}

/// A package as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageState {
    /// Its name.
    pub name: String,
    /// The format's JSON about the package: what is not said by a version.
    pub document: String,
    /// The revision that changed it last, its versions and entries included.
    pub changed: u64,
    /// When it was first published.
    pub created: Timestamp,
    /// When it was changed last.
    pub modified: Timestamp,
}

/// A version that is, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionState {
    /// Its name: `1.3.0`.
    pub version: String,
    /// The format's JSON: what the client published.
    pub document: String,
    /// When it was first published.
    pub published: Timestamp,
    /// `false` for one that was deleted: its name stays taken.
    pub live: bool,
}

/// A precomputed piece of an index document, made when its version was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Which of the format's documents it is for: `full`, `abbreviated`.
    pub kind: &'static str,
    /// Its bytes. [`BASE_MARK`] stands where the repository's base URL belongs.
    pub bytes: Bytes,
}

/// Stands in a fragment for the repository's base URL. This byte cannot occur in JSON or XML text.
pub const BASE_MARK: u8 = 0x01;

/// Stands in place of a package for all of them: the records of this index are the names of packages, in place of versions.
pub const ALL_PACKAGES: &str = "/";

/// Separates a package from its version in the records of [`ALL_PACKAGES`], where a format lists versions there. No name has a line end.
const LISTED: char = '\n';

/// The name of a version among the records of [`ALL_PACKAGES`] ([`crate::Format::lists_versions`]).
#[must_use]
pub fn listed(package: &str, version: &str) -> String {
    format!("{package}{LISTED}{version}")
}

/// The package that a record of [`ALL_PACKAGES`] is of, and its version where the format lists versions there.
#[must_use]
pub fn split_listed(record: &str) -> (&str, Option<&str>) {
    record.split_once(LISTED).map_or((record, None), |(package, version)| (package, Some(version)))
}

/// One version's part of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRecord {
    /// Its name.
    pub version: String,
    /// When it was published, where known.
    pub published: Option<Timestamp>,
    /// Its fragment.
    pub bytes: Bytes,
}

/// All that an index document of one package is made of, whether it comes from rows, from an upstream document or from
/// several members of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Records {
    /// The package's name.
    pub package: String,
    /// The format's JSON about the package.
    pub document: String,
    /// The live versions in the order of their publication.
    pub versions: Vec<VersionRecord>,
    /// Versions that were deleted, with the time of their publication: their names stay taken.
    pub deleted: Vec<(String, Timestamp)>,
    /// When the package was first published, where known.
    pub created: Option<Timestamp>,
    /// When it was changed last, where known.
    pub modified: Option<Timestamp>,
    /// Names this state of the package among all that it ever had; differs after every change.
    pub stamp: String,
}

impl Records {
    /// Bytes held, for bounded caches.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.document.len() + self.versions.iter().map(|v| v.bytes.len() + v.version.len() + 64).sum::<usize>() + self.deleted.len() * 48 + 128
    }

    /// The record of one version.
    #[must_use]
    pub fn version(&self, version: &str) -> Option<&VersionRecord> {
        self.versions.iter().find(|record| record.version == version)
    }

    /// Joins the records of a group's members, in their order: the first member that has a version, and the first that
    /// has the package's document, win.
    #[must_use]
    pub fn first_wins(parts: &[Arc<Self>]) -> Self {
        let mut joined = Self::default();
        let mut seen = HashMap::new();
        for part in parts {
            if joined.package.is_empty() {
                joined.package.clone_from(&part.package);
                joined.document.clone_from(&part.document);
                joined.created = part.created;
            }
            joined.modified = joined.modified.max(part.modified);
            joined.stamp.push_str(&part.stamp);
            joined.stamp.push(';');
            for record in &part.versions {
                if seen.insert(record.version.as_str(), ()).is_none() {
                    joined.versions.push(record.clone());
                }
            }
            joined.deleted.extend(part.deleted.iter().cloned());
        }
        joined.deleted.retain(|(version, _)| !seen.contains_key(version.as_str()));
        joined
    }
}

/// What became of a package since an index document of it was made: the present state of all that changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The package's name.
    pub package: String,
    /// The format's JSON about the package, as it is now.
    pub document: String,
    /// Live versions that began or changed, in the order of their publication. Some may be in the document already, as they are.
    pub versions: Vec<VersionRecord>,
    /// Versions that are there no more. Some may not be in the document.
    pub ended: Vec<String>,
    /// When the package was first published.
    pub created: Option<Timestamp>,
    /// When it was changed last.
    pub modified: Option<Timestamp>,
}

/// Writes a fragment with the base URL in its marked places.
pub fn write_fragment(out: &mut Vec<u8>, fragment: &[u8], base: &str) {
    let mut start = 0;
    for at in memchr::memchr_iter(BASE_MARK, fragment) {
        out.extend_from_slice(fragment.get(start..at).unwrap_or_default());
        out.extend_from_slice(base.as_bytes());
        start = at + 1;
    }
    out.extend_from_slice(fragment.get(start..).unwrap_or_default());
}

/// An index document that a format asks the engine for.
#[derive(Clone, Copy)]
pub struct Index<'a> {
    /// The package.
    pub package: &'a str,
    /// Which document of it: part of the cache key.
    pub variant: &'a str,
    /// The kind of the fragments that it is made of.
    pub fragments: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Makes it; runs where blocking is allowed. A pure function of its arguments.
    pub render: fn(&Records, &BaseUrl, &str) -> Result<Vec<u8>>,
}

/// An index document as it is cached and sent.
#[derive(Debug)]
pub struct Document {
    /// The identity form.
    pub body: Bytes,
    /// The gzip form, made when first asked for.
    pub gzip: OnceLock<Bytes>,
    /// The opaque part of the identity form's strong `ETag`.
    pub etag: String,
    /// The media type.
    pub content_type: &'static str,
    /// When the records behind it changed last.
    pub modified: Option<Timestamp>,
    /// Digests of the identity form in hex, each computed when first asked for.
    digests: [OnceLock<String>; Algorithm::ALL.len()],
}

impl Document {
    /// A document of these bytes.
    #[must_use]
    pub fn new(body: Vec<u8>, content_type: &'static str, modified: Option<Timestamp>) -> Self {
        let sha256 = Sha256Digest::of(&body).hex();
        let etag = sha256.chars().take(32).collect();
        let document = Self { body: body.into(), gzip: OnceLock::new(), etag, content_type, modified, digests: Default::default() };
        if let Some(digest) = document.digests.get(Algorithm::Sha256 as usize) {
            digest.get_or_init(|| sha256);
        }
        document
    }

    /// A digest of the identity form, in hex.
    #[must_use]
    pub fn digest(&self, algorithm: Algorithm) -> String {
        let compute = || algorithm.hex_of(&self.body);
        self.digests.get(algorithm as usize).map_or_else(compute, |digest| digest.get_or_init(compute).clone())
    }
}

/// What to list.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Paths below this prefix; empty, or ending with a slash.
    pub prefix: String,
    /// Continue behind this name.
    pub after: Option<String>,
    /// At most so many items.
    pub limit: usize,
    /// `false`: what lies deeper is folded into folders.
    pub recursive: bool,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListingItem {
    /// A folder: its path with a trailing slash.
    Folder(String),
    /// A file.
    File(Entry),
}

impl ListingItem {
    /// The path, for continuing a listing.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Folder(path) => path,
            Self::File(entry) => &entry.path,
        }
    }
}

/// A page of a listing, ordered by path.
#[derive(Debug, Clone, Default)]
pub struct ListingPage {
    /// The items.
    pub items: Vec<ListingItem>,
    /// Whether more follow.
    pub more: bool,
}

/// A package that a search found.
#[derive(Debug, Clone)]
pub struct SearchItem {
    /// The package.
    pub package: PackageState,
}

/// A page of search results.
#[derive(Debug, Clone, Default)]
pub struct SearchPage {
    /// The items, best first.
    pub items: Vec<SearchItem>,
    /// How many there are in all.
    pub total: u64,
}
