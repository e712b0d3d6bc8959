//! What the paths of an upstream are.

use bytes::Bytes;
use entrepot_kit::{CheckedDocument, Error, Result, UpstreamDocument, UpstreamPath};

use crate::place;
use crate::repodata::{self, LARGEST_REPOMD, Repomd};

/// Whether a path is that of a package: fetched only where metadata names it.
pub(crate) fn is_package(path: &str) -> bool {
    path.ends_with(place::ENDING) || path.ends_with(".drpm")
}

/// The folder in which lists of mirrors are kept, one for each day.
pub(crate) const MIRRORS: &str = ".mirrors/";

/// What a path is.
pub(crate) fn classify(path: &str) -> UpstreamPath {
    if path.starts_with(MIRRORS) {
        return UpstreamPath::Own;
    }
    match repodata::split(path) {
        Some((_, repodata::REPOMD)) => {
            UpstreamPath::Document(UpstreamDocument { accept: "*/*", limit: LARGEST_REPOMD, immutable: false, named_by: None, pages: 1 })
        }
        Some((_, repodata::KEY)) => UpstreamPath::Mutable,
        // By their names in repomd.xml, and with the checksums that it says.
        Some(_) => UpstreamPath::Own,
        None if is_package(path) => UpstreamPath::Own,
        // Keys, and the files of installers.
        None => UpstreamPath::Mutable,
    }
}

/// Checks a `repomd.xml` before it takes the place of another.
pub(crate) fn check(document: &Bytes) -> Result<CheckedDocument> {
    let repomd = Repomd::parse(document)?;
    if repomd.of("primary").is_none() {
        return Err(Error::bad_gateway("this repomd.xml names no primary document"));
    }
    Ok(CheckedDocument { content_type: Some(String::from("application/xml")), ..CheckedDocument::default() })
}
