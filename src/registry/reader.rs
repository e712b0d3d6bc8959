//! The one read interface over hosted, proxy and group repositories.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use entrepot_kit::records::Content;
use entrepot_kit::{ALL_PACKAGES, BaseUrl, Document, File, Format, Index, Kind, Listing, ListingPage, Records, Result, Source, Timestamp};
use parking_lot::Mutex;

use crate::access::Caller;
use crate::registry::cache::{DocumentKey, Made};
use crate::registry::{Engine, Moment, Repo, Use, mend};
use crate::store::model::{BlobPlace, StoredEntry};

/// No repository has this number.
const NOBODY: i64 = 0;

/// Reads for one caller, at one moment.
pub struct Reader {
    pub(crate) engine: Arc<Engine>,
    pub(crate) caller: Caller,
    pub(crate) now: Timestamp,
    pub(crate) moment: Option<Moment>,
    source: Arc<Mutex<Option<Source>>>,
    /// Whose file was read last.
    origin: Arc<AtomicI64>,
}

impl Reader {
    /// A reader for a caller, of the newest state or of a past moment.
    #[must_use]
    pub fn new(engine: Arc<Engine>, caller: Caller, now: Timestamp, moment: Option<Moment>) -> Self {
        Self { engine, caller, now, moment, source: Arc::default(), origin: Arc::new(AtomicI64::new(NOBODY)) }
    }

    /// A reader of another moment, for the same answer: what it reads counts as read by this one.
    pub(crate) fn beside(&self, moment: Option<Moment>) -> Self {
        let (source, origin) = (Arc::clone(&self.source), Arc::clone(&self.origin));
        Self { engine: Arc::clone(&self.engine), caller: self.caller.clone(), now: self.now, moment, source, origin }
    }

    /// The least direct source of all that was read so far.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        *self.source.lock()
    }

    /// The use of the file that was read last, if it counts.
    #[must_use]
    pub fn use_of(&self, path: &str, downloaded: bool) -> Option<Use> {
        let repository = self.origin.load(Ordering::Relaxed);
        (repository != NOBODY).then(|| Use { repository, path: path.to_owned(), downloaded })
    }

    /// Remembers whose file is read: in a group, the member's. Of a cache every file counts, elsewhere the format says.
    pub(crate) fn begin_at(&self, repo: &Repo, path: &str) {
        let counts = repo.kind() == Kind::Proxy || repo.format.counts_pulls(path);
        self.origin.store(if counts { repo.id() } else { NOBODY }, Ordering::Relaxed);
    }

    pub(crate) fn note(&self, source: Source) {
        let mut noted = self.source.lock();
        *noted = (*noted).max(Some(source));
    }

    /// Names the present state of a package: equal stamps mean equal records. `None` when there is no such package.
    pub(crate) async fn stamp(&self, repo: &Arc<Repo>, package: &str) -> Result<Option<Arc<str>>> {
        match repo.kind() {
            Kind::Hosted => self.hosted_stamp(repo, package).await,
            Kind::Proxy => self.proxy_stamp(repo, package).await,
            Kind::Group => self.group_stamp(repo, package).await,
        }
    }

    /// What an index of the package is made of.
    ///
    /// # Errors
    /// 502 and 503 when an upstream that might have it failed.
    pub async fn records(&self, repo: &Arc<Repo>, package: &str, kind: &'static str) -> Result<Option<Arc<Records>>> {
        let Some(stamp) = self.stamp(repo, package).await? else { return Ok(None) };
        match self.records_at(repo, package, kind, stamp).await? {
            Some(records) if package == ALL_PACKAGES => self.without_hidden(repo, records, kind).await.map(Some),
            records => Ok(records),
        }
    }

    pub(crate) async fn records_at(&self, repo: &Arc<Repo>, package: &str, kind: &'static str, stamp: Arc<str>) -> Result<Option<Arc<Records>>> {
        let key = (repo.id(), package.to_owned(), kind, Arc::clone(&stamp));
        if let Some(records) = self.engine.cache.records.get(&key) {
            return Ok(Some(records));
        }
        let records = match repo.kind() {
            Kind::Hosted => self.hosted_records(repo, package, kind).await?,
            Kind::Proxy => self.proxy_records(repo, package, kind).await?,
            Kind::Group => self.group_records(repo, package, kind).await?,
        };
        let Some(records) = records.map(Arc::new) else { return Ok(None) };
        self.engine.cache.records.insert(key, Arc::clone(&records));
        Ok(Some(records))
    }

    /// An index document: from the cache while its package has not changed, else made now, once for all who wait.
    ///
    /// # Errors
    /// Those of [`Self::records`] and of the format's rendering.
    pub async fn document(&self, repo: &Arc<Repo>, base: &BaseUrl, index: Index<'_>) -> Result<Option<Arc<Document>>> {
        let Some(stamp) = self.stamp(repo, index.package).await? else { return Ok(None) };
        if index.package == ALL_PACKAGES
            && let Some(all) = self.records_at(repo, index.package, index.fragments, Arc::clone(&stamp)).await?
        {
            let seen = self.without_hidden(repo, Arc::clone(&all), index.fragments).await?;
            if !Arc::ptr_eq(&all, &seen) {
                // This caller's own, and nobody else's.
                return made(base, index, seen, None).await.map(|(document, _)| Some(document));
            }
        }
        let key = DocumentKey {
            repository: repo.id(),
            scope: if repo.kind() == Kind::Group { self.group_scope(repo, index.package).await? } else { 0 },
            package: index.package.to_owned(),
            variant: index.variant.to_owned(),
            base: base.to_string(),
        };
        let cached = || self.engine.cache.documents.get(&key).filter(|made| made.stamp == stamp).map(|made| made.document);
        let metrics = &self.engine.metrics;
        if let Some(document) = cached() {
            metrics.document_hits.inc();
            return Ok(Some(document));
        }
        let _one_at_a_time = self.engine.locks.lock(&format!("document/{}/{}/{}/{}", key.repository, key.variant, key.package, key.base)).await;
        if let Some(document) = cached() {
            metrics.document_hits.inc();
            return Ok(Some(document));
        }
        let before = self.engine.cache.documents.get(&key).filter(|made| made.amends);
        if let Some(newer) = before.as_ref().filter(|made| self.hosted_is_behind(repo, &stamp, &made.stamp)) {
            // Made by somebody who asked later and came first.
            metrics.document_hits.inc();
            return Ok(Some(Arc::clone(&newer.document)));
        }
        metrics.document_misses.inc();
        let made = match before {
            Some(before) => self.amended(repo, base, index, before).await?,
            None => None,
        };
        let (document, amends) = match made {
            Some(document) => {
                metrics.documents_amended.inc();
                (document, true)
            }
            None => {
                let Some(records) = self.records_at(repo, index.package, index.fragments, Arc::clone(&stamp)).await? else { return Ok(None) };
                let amends = repo.kind() == Kind::Hosted && index.package != ALL_PACKAGES;
                let format = Arc::clone(&repo.format);
                self::made(base, index, records, amends.then_some(format)).await?
            }
        };
        if self.engine.cache.keeps(base) {
            self.engine.cache.documents.insert(key, Made { stamp, document: Arc::clone(&document), amends });
        }
        Ok(Some(document))
    }

    /// An index document of a hosted package from the one before, by what changed since; `None` where it has to be made anew. It is right
    /// also where a part of that is in it already: records are read as they are now, which may be later than their stamp.
    async fn amended(&self, repo: &Arc<Repo>, base: &BaseUrl, index: Index<'_>, before: Made) -> Result<Option<Arc<Document>>> {
        let Some(changes) = self.hosted_changes(repo, index.package, index.fragments, &before.stamp).await? else { return Ok(None) };
        let (format, base, variant, content_type) = (Arc::clone(&repo.format), base.clone(), index.variant.to_owned(), index.content_type);
        entrepot_kit::blocking(move || {
            let body = format.amend(&variant, &before.document.body, &changes, &base)?;
            Ok(body.map(|body| Arc::new(Document::new(body, content_type, changes.modified))))
        })
        .await
    }

    /// The file at a path.
    ///
    /// # Errors
    /// 502 and 503 when an upstream that might have it failed.
    pub async fn entry(&self, repo: &Arc<Repo>, path: &str) -> Result<Option<File>> {
        // No path of a client begins with a slash: those are the engine's own (kept upstream documents).
        if path.starts_with('/') {
            return Ok(None);
        }
        let file = match repo.kind() {
            Kind::Hosted => self.hosted_entry(repo, path).await?,
            Kind::Proxy => self.proxy_entry(repo, path).await?,
            Kind::Group => self.group_entry(repo, path).await?,
        };
        if let Some(file) = &file {
            self.note(file.source);
        }
        Ok(file)
    }

    /// The file at a path of a group, and the member that has it.
    ///
    /// # Errors
    /// Those of [`Self::entry`].
    pub(crate) async fn found(&self, group: &Arc<Repo>, path: &str) -> Result<Option<(Arc<Repo>, File)>> {
        let found = if path.starts_with('/') { None } else { self.group_found(group, path).await? };
        if let Some((_, file)) = &found {
            self.note(file.source);
        }
        Ok(found)
    }

    /// The file of every member of a group that has it; of any other repository its own.
    ///
    /// # Errors
    /// Those of [`Self::entry`], where nobody has it.
    pub(crate) async fn each(&self, repo: &Arc<Repo>, path: &str) -> Result<Vec<File>> {
        if repo.kind() != Kind::Group || path.starts_with('/') {
            return Ok(self.entry(repo, path).await?.into_iter().collect());
        }
        let files = self.group_each(repo, path).await?;
        files.iter().for_each(|file| self.note(file.source));
        Ok(files)
    }

    /// Paths below a prefix: what is hosted, or kept.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn entries(&self, repo: &Arc<Repo>, listing: &Listing) -> Result<ListingPage> {
        match repo.kind() {
            Kind::Group => self.group_entries(repo, listing).await,
            Kind::Hosted | Kind::Proxy => self.stored_entries(repo, listing).await,
        }
    }

    pub(crate) async fn stored_entries(&self, repo: &Arc<Repo>, listing: &Listing) -> Result<ListingPage> {
        let at = self.engine.revision(repo, self.moment).await?;
        // The engine's own paths sort between '.' and '0': a page may lose items to the filter, never its continuation.
        let mut page = self.engine.catalog.entries(repo.id(), listing, at).await?;
        page.items.retain(|item| !item.path().starts_with('/'));
        Ok(page)
    }
}

/// Makes an index document, where blocking is allowed; and says whether its format, where it is named, can amend it later.
async fn made(base: &BaseUrl, index: Index<'_>, records: Arc<Records>, amending: Option<Arc<dyn Format>>) -> Result<(Arc<Document>, bool)> {
    let (base, variant, modified) = (base.clone(), index.variant.to_owned(), records.modified);
    let (render, content_type) = (index.render, index.content_type);
    entrepot_kit::blocking(move || {
        let amends = amending.is_some_and(|format| format.amends(&variant, &records));
        Ok((Arc::new(Document::new(render(&records, &base, &variant)?, content_type, modified)), amends))
    })
    .await
}

impl Engine {
    /// The stored entry at a path, from memory when it was read at this revision before.
    pub(crate) async fn stored(&self, repo: &Repo, path: &str, at: Option<u64>) -> Result<Option<Arc<StoredEntry>>> {
        // The count is read before the entry: what is read now is never older than it.
        let key = ((repo.id(), at.unwrap_or_else(|| repo.head())), self.damage(), path.to_owned());
        if let Some(entry) = self.cache.entries.get(&key) {
            return Ok(Some(entry));
        }
        let entry = self.catalog.entry(repo.id(), path, at).await?.map(Arc::new);
        // What is damaged may be mended at any time, by whoever brings the same bytes.
        if let Some(entry) = entry.as_ref().filter(|entry| !entry.damaged) {
            self.cache.entries.insert(key, Arc::clone(entry));
        }
        Ok(entry)
    }

    /// The bytes of a stored entry.
    pub(crate) async fn content(&self, stored: &StoredEntry) -> Result<Arc<dyn Content>> {
        if stored.damaged {
            return Ok(mend::damaged(&stored.entry));
        }
        match (&stored.inline, &stored.entry.digest, stored.entry.size) {
            (Some(bytes), ..) => Ok(crate::store::blobs::inline(bytes.clone())),
            (None, Some(digest), Some(size)) => {
                let place = BlobPlace { digest: *digest, size, location: stored.location.clone() };
                self.blobs.open(&place).await
            }
            _ => Err(entrepot_kit::Error::internal(format!("the entry {:?} has no blob", stored.entry.path))),
        }
    }

    /// A stored entry as a file that can be sent.
    pub(crate) async fn file(&self, stored: &StoredEntry, source: Source, mutable: bool) -> Result<File> {
        Ok(File { content: self.content(stored).await?, entry: stored.entry.clone(), source, mutable })
    }
}
