//! The rows of the catalog as the rest of the server sees them.

use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::accounts::Tags;
use entrepot_kit::{Action, Address, Death, Digests, Entry, Fragment, Kind, Precondition, PrincipalKind, Sha256Digest, SystemName, Timestamp};

/// Blobs up to this size live in the catalog, with the change that brings them: no file, no extra fsync.
pub const INLINE_LIMIT: u64 = 64 * 1024;

/// The action, and the author, of revisions by which housekeeping ends what its rules let go.
pub const HOUSEKEEPING: &str = "retention";

/// Terms of a package that are kept for the search.
pub const MAX_TERMS: usize = 64;

/// A failure of the catalog.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    /// What is stored contradicts the change; the text says what.
    #[error("{0}")]
    Conflict(String),
    /// What the change or question is about does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A change counted on a blob that is not there any more. Nothing was changed: bring the bytes again.
    #[error("the blob {0} is gone")]
    BlobGone(Sha256Digest),
    /// The database cannot be used at the moment: busy, connection lost.
    #[error("the catalog cannot be reached")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The disk below the database is full. Nothing was changed.
    #[error("the disk of the catalog is full")]
    Full(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// Our fault, or damage.
    #[error("the catalog failed")]
    Internal(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl CatalogError {
    pub(crate) fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(Arc::from(cause.into()))
    }

    pub(crate) fn full(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Full(Arc::from(cause.into()))
    }

    pub(crate) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(Arc::from(cause.into()))
    }
}

impl From<CatalogError> for entrepot_kit::Error {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Conflict(message) => Self::conflict(message),
            CatalogError::NotFound(message) => Self::not_found(message),
            CatalogError::BlobGone(digest) => Self::unavailable(format!("the stored bytes {digest} were removed meanwhile; try again"), 1),
            CatalogError::Unavailable(cause) => Self::unavailable("the catalog cannot be reached; try again", 2).with_source(Cause(cause)),
            CatalogError::Full(cause) => Self::storage_full().with_source(Cause(cause)),
            CatalogError::Internal(cause) => Self::internal(Cause(cause)),
        }
    }
}

/// A shared cause as a plain error: `Arc<dyn Error>` itself is none.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Cause(Arc<dyn std::error::Error + Send + Sync>);

/// A system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemRow {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: SystemName,
    /// Its tags.
    pub tags: Tags,
    /// Whether the configuration file declares it.
    pub declared: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Most bytes that its hosted repositories have together.
    pub quota_bytes: Option<u64>,
}

/// A repository that was not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRow {
    /// Its number, never used again.
    pub id: i64,
    /// Its system and name.
    pub address: Address,
    /// The format that it speaks.
    pub format: String,
    /// Hosted, proxy or group.
    pub kind: Kind,
    /// Its own tags.
    pub tags: Tags,
    /// Its settings: upstream, members, and what the format understands.
    pub settings: serde_json::Value,
    /// Whether the configuration file declares it.
    pub declared: bool,
    /// Its newest revision; 0 before the first.
    pub head: u64,
    /// The time of that revision.
    pub head_time: Timestamp,
    /// When it was made.
    pub created: Timestamp,
    /// The oldest revision whose view is whole: what is older was forgotten in part.
    pub horizon: u64,
}

/// A repository to be made.
#[derive(Debug, Clone)]
pub struct NewRepository {
    /// The system, which must exist, and the name.
    pub address: Address,
    /// The format.
    pub format: String,
    /// Hosted, proxy or group.
    pub kind: Kind,
    /// Its own tags.
    pub tags: Tags,
    /// Its settings.
    pub settings: serde_json::Value,
    /// Whether the configuration file declares it.
    pub declared: bool,
}

/// What is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFacts {
    /// Its name.
    pub digest: Sha256Digest,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256, and what else was computed.
    pub digests: Digests,
    /// Its bytes, when there are at most [`INLINE_LIMIT`]. Larger ones are in the blob store.
    pub inline: Option<Bytes>,
    /// Where the blob store keeps it, in the store's own words.
    pub location: Option<String>,
}

/// Where the bytes of a blob that is not inline are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobPlace {
    /// Its name.
    pub digest: Sha256Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where the blob store keeps it; `None` for files of the first version, which are named by their digest.
    pub location: Option<String>,
}

/// What the catalog says of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRow {
    /// Digest, size, other digests, and the bytes or their place.
    pub facts: BlobFacts,
    /// Since when its bytes are known to be missing or wrong.
    pub damaged: Option<Timestamp>,
}

/// A stretch of all blobs, by digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlobStretch {
    /// The last of them; `None` behind the end.
    pub last: Option<Sha256Digest>,
    /// Those of them that no entry names.
    pub unnamed: Vec<UnnamedBlob>,
}

/// A blob that no entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnnamedBlob {
    /// Its name.
    pub digest: Sha256Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Since when it is condemned.
    pub condemned: Option<Timestamp>,
}

/// What a slice of a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// Condemned blobs that it looked at; 0: there are no more.
    pub looked_at: usize,
    /// Blobs that turned out to be named, and stay.
    pub revived: u64,
    /// Blobs whose rows are gone.
    pub removed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Where those are that were not inline: nothing names them any more.
    pub places: Vec<BlobPlace>,
}

/// An entry that needs a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The repository.
    pub address: Address,
    /// Whether that publishes or pulls through.
    pub kind: Kind,
    /// The path.
    pub path: String,
    /// Whether it lives; else it belongs to the past.
    pub live: bool,
}

/// An entry and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// The entry.
    pub entry: Entry,
    /// Its bytes, when they are small.
    pub inline: Option<Bytes>,
    /// Where the blob store keeps its bytes, in the store's own words.
    pub location: Option<String>,
    /// Whether the bytes are known to be missing or wrong.
    pub damaged: bool,
    /// The revision that brought it; 0 for an immutable file that a proxy kept.
    pub born: u64,
    /// What the upstream said of this path, in a proxy.
    pub origin: Option<UpstreamState>,
}

/// What begins with a revision.
#[derive(Debug, Clone)]
pub enum NewRow {
    /// A package, or a new state of it.
    Package {
        /// Its name.
        package: String,
        /// The format's JSON about it.
        document: String,
        /// Words under which it is found, lower case.
        terms: Vec<String>,
    },
    /// A version, or a new state of it.
    Version {
        /// The package, live or born earlier in the same change.
        package: String,
        /// The version.
        version: String,
        /// What the client published.
        document: String,
        /// Its pieces of index documents.
        fragments: Vec<Fragment>,
    },
    /// A path.
    Entry {
        /// The path.
        path: String,
        /// The package that it belongs to.
        package: Option<String>,
        /// The version that it belongs to.
        version: Option<String>,
        /// Its bytes.
        blob: NewBlob,
        /// The media type.
        content_type: Option<String>,
        /// The format's JSON.
        data: String,
    },
    /// An entry that lives, or that housekeeping ended less than a day ago.
    EntryAgain {
        /// The path.
        path: String,
    },
    /// A package that was deleted, with the versions and entries that died in the same revision.
    RestoredPackage {
        /// Its name.
        package: String,
    },
    /// A version that was deleted, with its entries that died in the same revision; its package, should that be gone too.
    RestoredVersion {
        /// The package.
        package: String,
        /// The version.
        version: String,
    },
    /// An entry that was deleted.
    RestoredEntry {
        /// The path.
        path: String,
    },
}

/// The bytes of a new entry.
#[derive(Debug, Clone)]
pub enum NewBlob {
    /// A blob that may be new to the catalog. Its bytes are durable, or inline.
    New(BlobFacts),
    /// A blob that the catalog was seen to have, with what is known of it. The change fails with [`CatalogError::BlobGone`] when
    /// it was removed meanwhile.
    Known(BlobFacts),
    /// The blob of the entry that lives at this path before the change.
    Entry(String),
}

/// One revision to be made.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The repository.
    pub repository: i64,
    /// Who does it, for the history.
    pub principal: String,
    /// The caller's request.
    pub request_id: String,
    /// The time of the request.
    pub now: Timestamp,
    /// What it is: `publish`.
    pub action: String,
    /// What it concerns: `left-pad 1.3.0`.
    pub subject: String,
    /// What must hold.
    pub preconditions: Vec<Precondition>,
    /// What ends, before anything begins.
    pub deaths: Vec<Death>,
    /// What begins.
    pub births: Vec<NewRow>,
}

/// A revision of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionRow {
    /// Its number.
    pub number: u64,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub principal: String,
    /// What.
    pub action: String,
    /// About what.
    pub subject: String,
    /// The request that asked for it.
    pub request_id: String,
}

/// One state that a version had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSpan {
    /// The version.
    pub version: String,
    /// When it was first published.
    pub published: Timestamp,
    /// The revision that brought this state.
    pub born: u64,
    /// The revision that ended it.
    pub died: Option<u64>,
}

/// A principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalRow {
    /// Its number.
    pub id: i64,
    /// Its kind.
    pub kind: PrincipalKind,
    /// Its name, unique within its kind.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// The hash of its password, in the PHC form.
    pub password_hash: Option<String>,
    /// Whether it may not sign in.
    pub disabled: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// The public part of the token.
    pub id: String,
    /// Whose it is.
    pub principal: i64,
    /// Its name, for people.
    pub name: String,
    /// SHA-256 of its secret part.
    pub secret_hash: Vec<u8>,
    /// Patterns of repositories; empty for all.
    pub repositories: Vec<String>,
    /// Actions; empty for all.
    pub actions: Vec<Action>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// Of a token that was given for an identity token: what the access rules know of it, as JSON.
    pub workload: Option<String>,
}

/// What identity tokens of an issuer are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherRow {
    /// The number of the workload, whose name is its own.
    pub principal: i64,
    /// Its name.
    pub name: String,
    /// Who signs the identity tokens.
    pub issuer: String,
    /// The rule, as the access rules read it.
    pub settings: serde_json::Value,
    /// Whether the configuration file declares it.
    pub declared: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRow {
    /// Its name.
    pub name: String,
    /// Its rules.
    pub text: String,
    /// When it was written last.
    pub updated: Timestamp,
}

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// When.
    pub time: Timestamp,
    /// Who.
    pub principal: String,
    /// What.
    pub action: String,
    /// To what: `system/repository`, `system/repository:package`, `token:…`.
    pub resource: String,
    /// `denied`, `changed` or `failed`.
    pub outcome: String,
    /// Why, or how.
    pub detail: String,
    /// The request.
    pub request_id: String,
    /// Where the request came from.
    pub remote: String,
}

/// Which lines of the audit log are wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of this principal only.
    pub principal: Option<String>,
    /// About this resource only.
    pub resource: Option<String>,
    /// Continue behind this line: the number that came with it.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// What an upstream said of a path when it was asked last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamState {
    /// The path in the proxy repository.
    pub key: String,
    /// Where it was asked.
    pub url: String,
    /// Its `ETag`.
    pub etag: Option<String>,
    /// Its `Last-Modified`.
    pub last_modified: Option<String>,
    /// When it was asked.
    pub checked: Timestamp,
    /// What it answered: 200, 404, 410.
    pub status: i32,
}

/// A signing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its identifier.
    pub id: String,
    /// What it is for.
    pub purpose: String,
    /// The public key: DER, or as its purpose has it.
    pub public: Vec<u8>,
    /// The private key, sealed by the master key.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created: Timestamp,
    /// After this it signs nothing new.
    pub expires: Option<Timestamp>,
}

/// A sign-in through a browser that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebLogin {
    /// The hash of what the waiting client knows.
    pub poll_hash: Vec<u8>,
    /// What its page is called.
    pub page: String,
    /// The network that it was begun from; empty when unknown.
    pub network: String,
    /// When it is over.
    pub ends: Timestamp,
}

/// How a sign-in through a browser stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebLoginStanding {
    /// Nobody signed in yet.
    Waiting,
    /// Somebody signed in.
    Done {
        /// The principal's number.
        principal: i64,
        /// The token that was typed for a password.
        token: Option<String>,
    },
    /// There is no such sign-in, or it is over.
    Gone,
}

/// An upload in several requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// Its name.
    pub id: String,
    /// The repository.
    pub repository: i64,
    /// Whose it is.
    pub principal: String,
    /// When it was continued last.
    pub touched: Timestamp,
    /// Counts its changes.
    pub step: i64,
    /// Bytes taken so far.
    pub size: u64,
    /// Whether it still takes bytes.
    pub open: bool,
    /// Where its bytes lie, or will lie, in the blob store.
    pub location: Option<String>,
    /// The frozen state of its hashes.
    pub hashes: Vec<u8>,
    /// What else its keeper remembers, JSON.
    pub state: String,
    /// Bytes that are too few for a part.
    pub tail: Bytes,
}
