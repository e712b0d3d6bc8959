//! What is held in memory, bounded by bytes. Keys carry the revision or stamp at which a thing was read.

use std::sync::Arc;
use std::time::Duration;

use entrepot_kit::{BaseUrl, Document, FolderState, PathPrefixes, Records, Sha256Digest, Timestamp};
use moka::sync::Cache;

use crate::registry::source::SourceKey;
use crate::store::model::{StoredEntry, UpstreamState};

/// A repository's number and a revision of it.
pub(crate) type At = (i64, u64);

/// Names a cached document. The base URL holds the moment of a past view; `scope` stands for the members that the caller may read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct DocumentKey {
    pub(crate) repository: i64,
    pub(crate) scope: u64,
    pub(crate) package: String,
    pub(crate) variant: String,
    pub(crate) base: String,
}

/// A cached document.
#[derive(Clone)]
pub(crate) struct Made {
    /// The stamp of the records that it was made of.
    pub(crate) stamp: Arc<str>,
    pub(crate) document: Arc<Document>,
    /// Whether it is brought up to date with what changed, in place of being made anew.
    pub(crate) amends: bool,
}

/// That an upstream did not have a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Missing {
    /// When it said so.
    pub(crate) at: Timestamp,
    /// What was kept then as the index of the package.
    pub(crate) index: Option<Sha256Digest>,
}

/// Distinct origins for which documents are cached: a flood of invented `Host` headers gets uncached answers, and those that
/// are in use stay.
const ORIGINS: u64 = 16;

pub(crate) struct Caches {
    /// Documents.
    pub(crate) documents: Cache<DocumentKey, Made>,
    /// Records by repository, package, kind of fragments and stamp.
    pub(crate) records: Cache<(i64, String, &'static str, Arc<str>), Arc<Records>>,
    /// A package's stamp at a revision; `None`: there is no such package.
    pub(crate) stamps: Cache<(At, String), Option<Arc<str>>>,
    /// What lies below a folder at a revision.
    pub(crate) folders: Cache<(At, String), Option<FolderState>>,
    /// Entries at a revision, as long as no blob is found to be damaged.
    pub(crate) entries: Cache<(At, u64, String), Arc<StoredEntry>>,
    /// What is known of an upstream's path, so that a fresh answer needs no look into the catalog.
    pub(crate) upstream: Cache<(i64, String), Arc<UpstreamState>>,
    /// Files that an upstream did not have a while ago.
    pub(crate) missing: Cache<(i64, String), Missing>,
    /// What the paths of upstreams begin with, by format and digest of the document that says it.
    pub(crate) prefixes: Cache<(&'static str, Sha256Digest), Option<Arc<PathPrefixes>>>,
    /// The member that all files of a release come from.
    pub(crate) sources: Cache<SourceKey, i64>,
    origins: Cache<String, ()>,
}

impl Caches {
    pub(crate) fn new(bytes: u64) -> Self {
        let clamp = |weight: usize| u32::try_from(weight).unwrap_or(u32::MAX);
        Self {
            documents: Cache::builder()
                .max_capacity(bytes)
                .weigher(move |key: &DocumentKey, Made { document, .. }: &Made| {
                    // Twice and half: room for the gzip form, which comes later.
                    clamp(document.body.len() / 2 * 3 + key.package.len() + key.variant.len() + key.base.len() + 256)
                })
                .build(),
            records: Cache::builder()
                .max_capacity(bytes / 4)
                .weigher(move |_: &(i64, String, &'static str, Arc<str>), records: &Arc<Records>| clamp(records.weight()))
                .build(),
            stamps: Cache::builder().max_capacity(50_000).build(),
            folders: Cache::builder().max_capacity(10_000).build(),
            entries: Cache::builder()
                .max_capacity(bytes / 2)
                .weigher(move |(_, _, path): &(At, u64, String), entry: &Arc<StoredEntry>| {
                    clamp(path.len() * 2 + entry.inline.as_ref().map_or(0, bytes::Bytes::len) + entry.entry.data.len() + 512)
                })
                .build(),
            upstream: Cache::builder().max_capacity(50_000).build(),
            missing: Cache::builder().max_capacity(50_000).time_to_live(Duration::from_secs(24 * 3600)).build(),
            prefixes: Cache::builder().max_capacity(16).build(),
            sources: Cache::builder().max_capacity(50_000).time_to_live(Duration::from_secs(600)).build(),
            origins: Cache::builder().max_capacity(ORIGINS).time_to_idle(Duration::from_secs(600)).build(),
        }
    }

    /// Whether documents for this base URL may take room in the cache.
    pub(crate) fn keeps(&self, base: &BaseUrl) -> bool {
        if self.origins.get(&base.origin).is_some() {
            return true;
        }
        // First come, first kept, until it is idle: a flood finds no room beside the names that are in use.
        self.origins.run_pending_tasks();
        if self.origins.entry_count() >= ORIGINS {
            return false;
        }
        self.origins.insert(base.origin.clone(), ());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Caches, ORIGINS};
    use entrepot_kit::BaseUrl;

    fn base(origin: String) -> BaseUrl {
        BaseUrl { origin, path: String::from("/main/npm") }
    }

    #[test]
    fn a_flood_of_invented_hosts_takes_no_room() {
        let caches = Caches::new(1 << 20);
        let real = base(String::from("https://packages.example"));
        assert!((0..20).all(|_| caches.keeps(&real)));
        let kept = (0..5000).filter(|number| caches.keeps(&base(format!("http://h{number}.example")))).count();
        assert!(kept < 4 * usize::try_from(ORIGINS).unwrap(), "{kept} of 5000 invented hosts");
        assert!(caches.keeps(&real), "the real one stays");
    }
}
