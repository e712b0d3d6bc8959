//! What a fill does.

use entrepot_kit::{ALL_PACKAGES, Digests, Located, UpstreamDocument, Whole};

use crate::registry::Repo;
use crate::registry::paths::{Renewal, Standing};

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
    /// What the format holds the file against.
    pub(super) promise: Option<String>,
    /// Whether nobody waits for it who can be given what is kept: it is too large for that.
    pub(super) is_behind: bool,
    /// How it is asked for when it is kept and no longer fresh.
    pub(super) renewal: Renewal,
    /// Seconds for which it is fresh, in place of the upstream's `mutable_ttl`.
    pub(super) lifetime: Option<u64>,
}

/// How it is taken.
#[derive(Clone)]
pub(super) enum What {
    /// Streamed to those who wait for it.
    File { expected: Digests, changes: bool },
    /// The index of the package: whole, joined of at most so many pages.
    Index { pages: usize, serial: Option<&'static str> },
    /// Taken out of another file, whose address the target is.
    Part { whole: Whole, expected: Digests },
    /// Whole, checked by the format.
    Document(UpstreamDocument),
}

/// Where the engine keeps the indexes of an upstream.
pub(super) const INDEXES: &str = "/index/";

/// Where the engine keeps an upstream's index of a package.
pub(super) fn index_path(package: &str) -> String {
    format!("{INDEXES}{package}")
}

impl Job {
    /// A file of the repository.
    pub(super) fn file(path: &str, package: Option<String>, what: What) -> Self {
        let accept = match &what {
            What::Document(document) => Some(document.accept),
            What::File { .. } | What::Index { .. } | What::Part { .. } => None,
        };
        Self {
            path: path.to_owned(),
            target: entrepot_kit::path::encode_path(path),
            accept,
            package,
            version: None,
            what,
            promise: None,
            is_behind: false,
            renewal: Renewal::default(),
            lifetime: None,
        }
    }

    /// A file of which only the operator's expressions know what it is.
    pub(super) fn standing(path: &str, package: Option<String>, standing: Option<Standing>, immutable_ttl: u64) -> Self {
        let (changes, renewal, lifetime) = match standing {
            None => (true, Renewal::default(), None),
            Some(Standing::Mutable(renewal)) => (true, renewal, None),
            Some(Standing::Immutable) if immutable_ttl == 0 => (false, Renewal::default(), None),
            Some(Standing::Immutable) => (true, Renewal::Anew, Some(immutable_ttl)),
        };
        Self { renewal, lifetime, ..Self::file(path, package, What::File { expected: Digests::new(), changes }) }
    }

    /// What an index says of a file of the repository; `url` is its address.
    pub(super) fn located(path: &str, package: Option<String>, located: Located, url: String) -> Self {
        let what = match located.part_of {
            Some(whole) => What::Part { whole, expected: located.expected },
            None => What::File { expected: located.expected, changes: false },
        };
        Self { target: url, version: located.version, promise: located.promise, ..Self::file(path, package, what) }
    }

    /// The index of a package, called by its full name.
    pub(super) fn index(repo: &Repo, package: &str) -> Option<Self> {
        let index = repo.format.upstream_index(package)?;
        Some(Self {
            path: index_path(package),
            target: index.path,
            accept: Some(index.accept),
            package: (package != ALL_PACKAGES).then(|| package.to_owned()),
            version: None,
            what: What::Index { pages: index.pages, serial: index.serial },
            promise: None,
            is_behind: package == ALL_PACKAGES && repo.format.lists_versions().is_none(),
            renewal: Renewal::default(),
            lifetime: None,
        })
    }

    /// Whether the bytes may change: what is fetched is then a revision, so that the past keeps what was before.
    pub(super) fn changes(&self) -> bool {
        match &self.what {
            What::File { changes, .. } => *changes,
            What::Index { .. } => true,
            What::Part { .. } => false,
            What::Document(document) => !document.immutable,
        }
    }

    /// Most pages, and most bytes of all of them, where it is taken whole.
    pub(super) fn pages(&self) -> (usize, usize) {
        match &self.what {
            What::File { .. } | What::Part { .. } => (1, 0),
            What::Index { pages, .. } => (*pages, MAX_INDEX),
            What::Document(document) => (document.pages, document.limit),
        }
    }

    /// What it is about, for messages.
    pub(super) fn name(&self) -> &str {
        match &self.what {
            What::Index { .. } => self.package.as_deref().unwrap_or("all packages"),
            What::File { .. } | What::Part { .. } | What::Document(_) => &self.path,
        }
    }
}
