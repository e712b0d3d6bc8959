//! What a fill does.

use entrepot_kit::{Digests, UpstreamDocument};

use crate::registry::Repo;

/// Largest package index that is kept, in bytes; the largest known public ones have 40 MB.
pub(super) const MAX_INDEX: usize = 128 << 20;

/// Something to be fetched.
#[derive(Clone)]
pub(super) struct Job {
    /// Path of the entry.
    pub(super) path: String,
    /// A URL, or a path below the upstream's root.
    pub(super) target: String,
    pub(super) accept: Option<&'static str>,
    pub(super) package: Option<String>,
    pub(super) version: Option<String>,
    pub(super) what: What,
}

/// How it is taken.
#[derive(Clone)]
pub(super) enum What {
    /// Streamed to those who wait for it.
    File { expected: Digests, changes: bool },
    /// The index of the package: whole, joined of at most so many pages.
    Index { pages: usize },
    /// Whole, checked by the format.
    Document(UpstreamDocument),
}

/// Where the engine keeps an upstream's index of a package.
fn index_path(package: &str) -> String {
    format!("/index/{package}")
}

impl Job {
    /// A file of the repository.
    pub(super) fn file(path: &str, package: Option<String>, what: What) -> Self {
        let accept = match &what {
            What::Document(document) => Some(document.accept),
            What::File { .. } | What::Index { .. } => None,
        };
        Self { path: path.to_owned(), target: entrepot_kit::path::encode_path(path), accept, package, version: None, what }
    }

    /// The index of a package, called by its full name.
    pub(super) fn index(repo: &Repo, package: &str) -> Option<Self> {
        let index = repo.format.upstream_index(package)?;
        Some(Self {
            path: index_path(package),
            target: index.path,
            accept: Some(index.accept),
            package: Some(package.to_owned()),
            version: None,
            what: What::Index { pages: index.pages },
        })
    }

    /// Whether the bytes may change: what is fetched is then a revision, so that the past keeps what was before.
    pub(super) fn changes(&self) -> bool {
        match &self.what {
            What::File { changes, .. } => *changes,
            What::Index { .. } => true,
            What::Document(document) => !document.immutable,
        }
    }

    /// Most pages, and most bytes of all of them, where it is taken whole.
    pub(super) fn pages(&self) -> (usize, usize) {
        match &self.what {
            What::File { .. } => (1, 0),
            What::Index { pages } => (*pages, MAX_INDEX),
            What::Document(document) => (document.pages, document.limit),
        }
    }

    /// What it is about, for messages.
    pub(super) fn name(&self) -> &str {
        match &self.what {
            What::Index { .. } => self.package.as_deref().unwrap_or(&self.path),
            What::File { .. } | What::Document(_) => &self.path,
        }
    }
}
