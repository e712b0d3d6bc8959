//! What the paths of an upstream are.

use bytes::Bytes;
use entrepot_kit::{CheckedDocument, Error, Result, UpstreamDocument, UpstreamPath};

use crate::index::{self, GZIP};
use crate::place::{Place, place};

/// Largest index that is kept; the largest public ones have some megabytes.
const LARGEST_INDEX: usize = 64 << 20;

/// What a path is.
pub(crate) fn classify(path: &str) -> UpstreamPath {
    match place(path) {
        Some(Place::Index(_)) => UpstreamPath::Document(UpstreamDocument { accept: "*/*", limit: LARGEST_INDEX, immutable: false, named_by: None, pages: 1 }),
        // Fetched where an index says what it has to be, and not else.
        Some(Place::Package(..)) => UpstreamPath::Own,
        None => UpstreamPath::NotOurs,
    }
}

/// Checks that a document is an index at all.
pub(crate) fn check(path: &str, document: &Bytes) -> Result<CheckedDocument> {
    index::read(&document[..]).map_err(|error| Error::bad_gateway(format!("the upstream's {path:?} is no index: {}", error.message())))?;
    Ok(CheckedDocument { content_type: Some(GZIP.to_owned()), ..CheckedDocument::default() })
}
