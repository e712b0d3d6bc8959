//! What a package format may import: the vocabulary, the [`Format`] trait, and the façade through which a format
//! reaches the store, its upstreams and the caller's account.
//!
//! A format crate is pure protocol: it turns requests into façade calls and records into the documents that its clients
//! read. It has no clock, no file system and no network; whoever runs it supplies those through [`Facade`].

pub mod accounts;
pub mod archive;
pub mod armor;
pub mod body;
pub mod change;
pub mod conformance;
pub mod digest;
pub mod error;
pub mod facade;
pub mod folders;
pub mod format;
pub mod housekeeping;
pub mod html;
pub mod keys;
pub mod limit;
pub mod listing;
pub mod multipart;
pub mod name;
pub mod path;
pub mod records;
pub mod request;
pub mod route;
pub mod time;
pub mod uploads;
pub mod upstream;
pub mod verify;

pub use accounts::{Accounts, NewToken, Principal, PrincipalKind, TokenInfo, TokenRequest, WebLogin};
pub use body::{Body, ByteStream};
pub use change::{Birth, BlobSource, Change, Death, Precondition};
pub use digest::{Algorithm, Digests, Hasher, Sha256Digest};
pub use error::{Error, Result};
pub use facade::{
    Access, Conclusion, Delete, Facade, Found, Grant, Manage, Mount, MountFrom, Overwrite, Publish, Question, Read, Repository, Resource, SignIn, Signature,
    StageSpec, Staged, Staging, UpstreamAnswer, VerificationKey,
};
pub use folders::{FolderState, Making, Moment, Piece, Pieces};
pub use format::{Format, Snippet};
pub use housekeeping::{Held, HeldFile, Holding, Outdated, Waiting};
pub use keys::{KeyKind, PublicKey, SignatureScheme, SigningKey, SigningKeys};
pub use limit::{ChecksumReader, LimitedReader};
pub use multipart::Multipart;
pub use name::{Address, RepositoryName, SystemName};
pub use records::{
    ALL_PACKAGES, Changes, Content, Document, Entry, File, Fragment, Index, Kind, Listing, ListingItem, ListingPage, PackageState, ReadSeek, Records,
    SearchItem, SearchPage, Source, VersionRecord, VersionState, listed, split_listed,
};
pub use request::{BaseUrl, Query, Request, Response, ResponseBody};
pub use route::{Action, Captures, Handler, Route, RouteTable};
pub use time::Timestamp;
pub use uploads::{DirectPart, DirectParts, NewUpload, Upload, Uploads};
pub use upstream::{CheckedDocument, Located, Need, PathPrefixes, Sidecar, UpstreamDocument, UpstreamIndex, UpstreamPath, Whole};

/// Runs `work` where blocking is allowed: decompression, parsing of large documents, reading of staged files.
///
/// # Errors
/// 500 when the work panicked or the server is shutting down.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(cause) => Err(Error::internal(cause)),
    }
}

/// Most bytes that are worked on between other requests: hashing or parsing them costs about what the way to another thread and back does.
pub const FEW_BYTES: usize = 32 << 10;

/// Runs `work` on so many bytes: at once when they are few, else where blocking is allowed. Not for work that unpacks.
///
/// # Errors
/// Those of `work`, and of [`blocking`].
pub async fn working<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    if bytes <= FEW_BYTES { work() } else { blocking(work).await }
}
