//! Hosted repositories: the records themselves.

use std::sync::Arc;

use entrepot_kit::{ALL_PACKAGES, Changes, File, Records, Result, Source};

use crate::registry::Repo;
use crate::registry::reader::Reader;

/// What the revision follows in a stamp.
const REVISION: char = '@';

fn revision_of(stamp: &str) -> Option<u64> {
    stamp.split_once(REVISION)?.1.parse().ok()
}

impl Reader {
    pub(crate) async fn hosted_stamp(&self, repo: &Arc<Repo>, package: &str) -> Result<Option<Arc<str>>> {
        let at = self.engine.revision(repo, self.moment).await?;
        let key = ((repo.id(), at.unwrap_or_else(|| repo.head())), package.to_owned());
        self.note(Source::Hosted);
        if let Some(stamp) = self.engine.cache.stamps.get(&key) {
            return Ok(stamp);
        }
        let changed =
            if package == ALL_PACKAGES { Some(at.unwrap_or_else(|| repo.head())) } else { self.engine.catalog.package_changed(repo.id(), package, at).await? };
        let stamp: Option<Arc<str>> = changed.map(|revision| format!("{}{REVISION}{revision}", repo.id()).into());
        self.engine.cache.stamps.insert(key, stamp.clone());
        Ok(stamp)
    }

    pub(crate) async fn hosted_records(&self, repo: &Arc<Repo>, package: &str, kind: &'static str) -> Result<Option<Records>> {
        let at = self.engine.revision(repo, self.moment).await?;
        if package == ALL_PACKAGES {
            return match repo.format.lists_versions() {
                Some(_) => Ok(Some(self.engine.catalog.all_records(repo.id(), kind, at).await?)),
                None => self.hosted_names(repo, at).await.map(Some),
            };
        }
        Ok(match repo.format.fragment_folder(package, kind) {
            Some(folder) => self.engine.catalog.file_records(repo.id(), package, &folder, at).await?,
            None => self.engine.catalog.records(repo.id(), package, kind, at).await?,
        })
    }

    /// Whether a stamp is older than another, where the newest state is read.
    pub(crate) fn hosted_is_behind(&self, repo: &Repo, stamp: &str, other: &str) -> bool {
        let reads_newest = self.moment.is_none() && repo.frozen().is_none();
        reads_newest && revision_of(stamp).is_some_and(|revision| revision_of(other).is_some_and(|other| revision < other))
    }

    /// What became of a package since a stamp; `None` where its documents are made anew.
    pub(crate) async fn hosted_changes(&self, repo: &Arc<Repo>, package: &str, kind: &'static str, since: &str) -> Result<Option<Changes>> {
        let Some(since) = revision_of(since).filter(|_| package != ALL_PACKAGES && repo.format.fragment_folder(package, kind).is_none()) else {
            return Ok(None);
        };
        let at = self.engine.revision(repo, self.moment).await?;
        Ok(self.engine.catalog.changes(repo.id(), package, kind, since, at).await?)
    }

    pub(crate) async fn hosted_entry(&self, repo: &Arc<Repo>, path: &str) -> Result<Option<File>> {
        let at = self.engine.revision(repo, self.moment).await?;
        let Some(stored) = self.engine.stored(repo, path, at).await? else { return Ok(None) };
        self.begin_at(repo, path);
        // A file of a version never changes; a path of its own may be overwritten later.
        let mutable = stored.entry.version.is_none() && at.is_none();
        self.engine.file(&stored, Source::Hosted, mutable).await.map(Some)
    }
}
