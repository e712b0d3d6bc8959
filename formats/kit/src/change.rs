//! Changes as data: what a revision does, decided before the transaction and applied inside it.

use std::sync::Arc;

use crate::digest::Sha256Digest;
use crate::facade::Staged;

/// What must hold at the moment of the commit, or nothing happens (409 to the format).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The package was changed last by this revision; 0: there is no live package of that name.
    PackageAt {
        /// The package.
        package: String,
        /// [`crate::PackageState::changed`] as it was read.
        revision: u64,
    },
    /// No version of that name is or ever was.
    VersionNew {
        /// The package.
        package: String,
        /// The version.
        version: String,
    },
    /// The version lives.
    VersionLive {
        /// The package.
        package: String,
        /// The version.
        version: String,
    },
    /// Nothing lives at the path.
    EntryAbsent(
        /// The path.
        String,
    ),
    /// The path leads to this blob.
    EntryIs {
        /// The path.
        path: String,
        /// The blob.
        digest: Sha256Digest,
    },
}

/// What ends with a revision. What does not live is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// A package, its versions and their entries.
    Package(
        /// Its name.
        String,
    ),
    /// A version and its entries.
    Version {
        /// The package.
        package: String,
        /// The version.
        version: String,
    },
    /// A path.
    Entry(
        /// The path.
        String,
    ),
    /// Every path of a package below a folder that leads to this blob, and the versions that these belong to.
    Blob {
        /// The package.
        package: String,
        /// The folder, with a slash at its end.
        folder: String,
        /// The blob.
        digest: Sha256Digest,
    },
    /// Every path that begins with this prefix, which ends with a slash.
    Folder(
        /// The prefix.
        String,
    ),
}

/// Where the bytes of a new entry are.
#[derive(Clone)]
pub enum BlobSource {
    /// Staged with this request.
    Staged(Arc<dyn Staged>),
    /// The blob of a live entry of the same repository.
    Entry(
        /// The path of that entry.
        String,
    ),
}

impl std::fmt::Debug for BlobSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Staged(staged) => write!(f, "Staged({:?})", staged.digest()),
            Self::Entry(path) => write!(f, "Entry({path:?})"),
        }
    }
}

/// What begins with a revision. What lives under the same name is replaced, and its time of publication kept.
#[derive(Debug, Clone)]
pub enum Birth {
    /// A package, or a new state of it; one that has this state already is only noted as changed.
    Package {
        /// Its name.
        package: String,
        /// The format's JSON about it.
        document: String,
        /// Words under which it is found, lower case. At most 64 are kept.
        terms: Vec<String>,
    },
    /// A version, or a new state of it. Its fragments are made by [`crate::Format::fragments`].
    Version {
        /// The package, live or born in the same change.
        package: String,
        /// The version.
        version: String,
        /// What the client published, as JSON.
        document: String,
    },
    /// A path.
    Entry {
        /// The path, without leading slash.
        path: String,
        /// The package that it belongs to.
        package: Option<String>,
        /// The version that it belongs to, and dies with.
        version: Option<String>,
        /// The bytes.
        blob: BlobSource,
        /// The media type.
        content_type: Option<String>,
        /// The format's own JSON; empty for none.
        data: String,
    },
    /// A file that the caller saw here, and sent nothing again for: it stays as it is. Housekeeping may have ended it meanwhile, then it comes
    /// back; else nothing of the change happens.
    Again(
        /// The path.
        String,
    ),
}

/// One atomic change to a repository.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What it is, for history and audit: `publish`, `deprecate`, `unpublish`, `dist-tag`, …
    pub action: &'static str,
    /// What it concerns, for people: `left-pad 1.3.0`.
    pub subject: String,
    /// What must hold.
    pub preconditions: Vec<Precondition>,
    /// What ends, before anything begins.
    pub deaths: Vec<Death>,
    /// What begins.
    pub births: Vec<Birth>,
}

impl Change {
    /// An empty change.
    #[must_use]
    pub fn new(action: &'static str, subject: impl Into<String>) -> Self {
        Self { action, subject: subject.into(), ..Self::default() }
    }

    /// Adds a condition.
    #[must_use]
    pub fn only_if(mut self, precondition: Precondition) -> Self {
        self.preconditions.push(precondition);
        self
    }

    /// Adds an end.
    #[must_use]
    pub fn end(mut self, death: Death) -> Self {
        self.deaths.push(death);
        self
    }

    /// Adds a beginning.
    #[must_use]
    pub fn begin(mut self, birth: Birth) -> Self {
        self.births.push(birth);
        self
    }
}
