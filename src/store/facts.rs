//! What the catalog says for housekeeping: what lives in a package and how it is used, what died long ago, how much there is.

use entrepot_kit::{Sha256Digest, Timestamp};

/// How a file was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pulls {
    /// When it was asked for last.
    pub last: Timestamp,
    /// How often it was downloaded.
    pub downloads: u64,
}

impl Pulls {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { last: self.last.max(other.last), downloads: self.downloads.saturating_add(other.downloads) }
    }
}

/// How a path was used, on its way into the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPulls {
    /// The repository.
    pub repository: i64,
    /// The path.
    pub path: String,
    /// How it was used.
    pub pulls: Pulls,
}

/// A path that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEntry {
    /// The path.
    pub path: String,
    /// The package that it belongs to.
    pub package: Option<String>,
    /// The version that it belongs to.
    pub version: Option<String>,
    /// Its bytes.
    pub blob: Sha256Digest,
    /// How many they are.
    pub size: u64,
    /// The media type.
    pub content_type: Option<String>,
    /// When it was published, or fetched.
    pub created: Timestamp,
    /// How it was used; `None`: not since that is written down.
    pub pulls: Option<Pulls>,
}

/// A version that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveVersion {
    /// Its name.
    pub version: String,
    /// When it was first published.
    pub published: Timestamp,
}

/// All that lives in a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackageFacts {
    /// Its name.
    pub package: String,
    /// The revision that changed it last, read before everything else here.
    pub changed: u64,
    /// What its format says about it as a whole.
    pub document: String,
    /// Its versions.
    pub versions: Vec<LiveVersion>,
    /// Its paths.
    pub entries: Vec<LiveEntry>,
    /// When bytes lost a version that led to them, for the last time.
    pub released: Vec<(Sha256Digest, Timestamp)>,
    /// Whether there are more paths than are looked at: then nothing can be said.
    pub too_many: bool,
}

/// A path at which nothing lives any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadEntry {
    /// The path.
    pub path: String,
    /// The version that it belonged to.
    pub version: Option<String>,
    /// Its last bytes.
    pub blob: Sha256Digest,
}

/// What of the past may be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgetting {
    /// The repository.
    pub repository: i64,
    /// What died at this revision or before.
    pub died: u64,
    /// The same for paths of versions, which tell when bytes lost their name.
    pub named: u64,
    /// Whether names of versions may be used again; else a version without a living successor leaves its name behind.
    pub reuses_versions: bool,
}

/// Rows to be forgotten, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForgettableRows {
    /// Paths.
    pub entries: Vec<i64>,
    /// States of versions.
    pub versions: Vec<i64>,
    /// States of versions of which the name stays.
    pub names: Vec<i64>,
    /// States of packages.
    pub documents: Vec<i64>,
}

impl ForgettableRows {
    /// Takes at most so many of each kind; nothing when none is left.
    pub fn take(&mut self, limit: usize) -> Option<Self> {
        let cut = |rows: &mut Vec<i64>| {
            let rest = rows.split_off(rows.len().min(limit));
            std::mem::replace(rows, rest)
        };
        let slice =
            Self { entries: cut(&mut self.entries), versions: cut(&mut self.versions), names: cut(&mut self.names), documents: cut(&mut self.documents) };
        (slice != Self::default()).then_some(slice)
    }
}

/// Rows of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Paths.
    pub entries: u64,
    /// States of versions.
    pub versions: u64,
    /// States of packages.
    pub documents: u64,
}

impl Forgotten {
    /// All rows together.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.entries + self.versions + self.documents
    }
}

impl std::ops::AddAssign for Forgotten {
    fn add_assign(&mut self, other: Self) {
        self.entries += other.entries;
        self.versions += other.versions;
        self.documents += other.documents;
    }
}

/// A part of what a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeldStretch {
    /// The last blob of it; `None` behind the end.
    pub last: Option<Sha256Digest>,
    /// Its blobs, each once.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}
