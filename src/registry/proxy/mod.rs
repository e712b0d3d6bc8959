//! Proxies: a hosted repository that fills itself from one upstream.
//!
//! Three kinds of things are fetched: files whose bytes never change (kept for good, no revision), files that may change and
//! package indexes (revalidated after `mutable_ttl`; a new state is a revision, so the past can be read).

use std::sync::Arc;
use std::time::Duration;

use entrepot_kit::{ALL_PACKAGES, Action, Digests, Entry, Error, File, Kind, Located, Records, Result, Source, UpstreamPath, split_listed};
use http::StatusCode;
use tokio::sync::watch;

use crate::registry::fill::{FillContent, Progress, again};
use crate::registry::reader::Reader;
use crate::registry::{Engine, Repo};
use crate::store::model::StoredEntry;

mod document;
mod fetch;
mod job;
mod part;
mod parts;
mod reach;

use job::{Job, MAX_INDEX, What};
use parts::is_put_together;

/// How long upstream may take to begin its answer when there is nothing else to give.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take when a kept copy could be served instead.
pub(crate) const PATIENCE_WITH_COPY: Duration = Duration::from_secs(3);
/// How long the list of all packages is fresh at least, in seconds: it has tens of megabytes, and every state of it is kept.
const LIST_LIFETIME: u64 = 3600;

impl Reader {
    pub(crate) async fn proxy_stamp(&self, repo: &Arc<Repo>, package: &str) -> Result<Option<Arc<str>>> {
        if is_put_together(repo, package) {
            return self.stamp_of_parts(repo).await;
        }
        Ok(self.index(repo, package).await?.and_then(|index| stamp_of(repo, &index)))
    }

    pub(crate) async fn proxy_records(&self, repo: &Arc<Repo>, package: &str, kind: &'static str) -> Result<Option<Records>> {
        if is_put_together(repo, package) {
            return self.records_of_parts(repo, kind).await;
        }
        let Some(stored) = self.index(repo, package).await? else { return Ok(None) };
        let document = self.engine.whole(&stored).await?;
        let (format, package, digest) = (Arc::clone(&repo.format), package.to_owned(), stored.entry.digest);
        let (full, listing) = (repo.full_name(&package).into_owned(), Arc::clone(repo));
        entrepot_kit::blocking(move || {
            let mut records = format.upstream_records(&full, &document, kind)?;
            if package == ALL_PACKAGES {
                let admits = |name: &str| listing.rules.admits(name) && listing.patterns.admits(name);
                records.versions.retain(|record| admits(split_listed(&record.version).0));
            }
            Ok(Some(Records { package, stamp: digest.map(|digest| digest.hex()).unwrap_or_default(), ..records }))
        })
        .await
    }

    /// The upstream's index of a package, fresh enough.
    async fn index(&self, repo: &Arc<Repo>, package: &str) -> Result<Option<Arc<StoredEntry>>> {
        let full = repo.full_name(package);
        if package != ALL_PACKAGES && !self.admits(repo, package, &full).await? {
            return Ok(None);
        }
        let Some(job) = Job::index(repo, &full) else { return Ok(None) };
        let (stored, source) = match self.changing(repo, job).await? {
            Answer::Kept(stored, source) => (stored, source),
            Answer::Missing => return Ok(None),
            Answer::Filling(mut progress) => match settled(&mut progress, true).await? {
                Progress::Done(stored, source) => (stored, source),
                Progress::Failed(error) => return Err(again(&error)),
                _ => return Ok(None),
            },
        };
        self.note(source);
        Ok(Some(stored))
    }

    /// Whether a name is one that this proxy answers for. What a client calls by a short name is granted by the full one as well.
    async fn admits(&self, repo: &Repo, asked: &str, full: &str) -> Result<bool> {
        if !repo.rules.admits(full) {
            return Ok(false);
        }
        repo.patterns.check(full)?;
        Ok(asked == full || self.engine.access.decide(&self.caller, Action::Read, &repo.target(Some(full))).await?.allowed)
    }

    pub(crate) async fn proxy_entry(&self, repo: &Arc<Repo>, path: &str) -> Result<Option<File>> {
        self.proxy_entry_from(repo, path, None).await
    }

    /// A file of a proxy, which is asked for at this URL where that differs from what its path says.
    pub(crate) async fn proxy_entry_from(&self, repo: &Arc<Repo>, path: &str, url: Option<&str>) -> Result<Option<File>> {
        let asked = repo.format.package_of(path);
        let (path, package) = repo.full_path(path);
        let name = package.as_deref().unwrap_or(&path);
        if !self.admits(repo, asked.as_deref().unwrap_or(name), name).await? {
            return Ok(None);
        }
        let standing = repo.paths.standing(&path)?;
        self.begin_at(repo, &path);
        let job = match repo.format.classify(&path) {
            UpstreamPath::NotOurs => return Ok(None),
            UpstreamPath::Own => return self.kept(repo, &path).await,
            UpstreamPath::Mutable => Job::standing(&path, package, standing, repo.upstream()?.settings().immutable_ttl),
            UpstreamPath::Document(document) => Job::file(&path, package, What::Document(document)),
            UpstreamPath::Immutable { expected } => Job::file(&path, package, What::File { expected, changes: false }),
            UpstreamPath::Needs { package: needed } => {
                // What is kept needs no index: a build goes on while the upstream, or the package, is gone.
                if let Some(file) = self.kept(repo, &path).await? {
                    return Ok(Some(file));
                }
                let Some(index) = self.index(repo, &needed).await? else { return Ok(None) };
                let located = match repo.format.lists_versions().filter(|_| needed == ALL_PACKAGES) {
                    Some(kind) => {
                        let Some(stamp) = stamp_of(repo, &index) else { return Ok(None) };
                        let records = self.records_at(repo, &needed, kind, stamp).await?;
                        records.and_then(|records| repo.format.locate_listed(&path, &records))
                    }
                    None => {
                        let document = self.engine.whole(&index).await?;
                        let (format, wanted) = (Arc::clone(&repo.format), path.clone().into_owned());
                        entrepot_kit::blocking(move || format.locate(&wanted, &needed, &document)).await?
                    }
                };
                let Some(located) = located else { return Ok(None) };
                return self.located(repo, &path, package, &index.entry.path, located).await;
            }
        };
        let job = match url {
            Some(url) => Job { target: url.to_owned(), ..job },
            None => job,
        };
        let changes = job.changes();
        let answer = if changes { self.changing(repo, job).await? } else { self.unchanging(repo, job).await? };
        self.engine.answer(answer, &path, changes).await
    }

    /// A file of which a document at `from` says where it is: kept, or fetched.
    pub(crate) async fn located_entry(&self, repo: &Arc<Repo>, path: &str, from: &str, located: Located) -> Result<Option<File>> {
        if path.starts_with('/') || repo.kind() != Kind::Proxy {
            return Ok(None);
        }
        let asked = repo.format.package_of(path);
        let (path, package) = repo.full_path(path);
        let name = package.as_deref().unwrap_or(&path);
        if !self.admits(repo, asked.as_deref().unwrap_or(name), name).await? {
            return Ok(None);
        }
        repo.paths.standing(&path)?;
        self.begin_at(repo, &path);
        let file = match self.kept(repo, &path).await? {
            Some(file) => Some(file),
            None => self.located(repo, &path, package, from, located).await?,
        };
        if let Some(file) = &file {
            self.note(file.source);
        }
        Ok(file)
    }

    /// A file of which an index says where it is: kept, or fetched once from the first place that has it.
    async fn located(&self, repo: &Arc<Repo>, path: &str, package: Option<String>, index: &str, mut located: Located) -> Result<Option<File>> {
        let mut is_first = true;
        let mut failed = None;
        loop {
            let otherwise = located.otherwise.take();
            let url = self.engine.absolute(repo, index, &located.url).await?;
            let job = Job::located(path, package.clone(), located, url);
            // That it is missing in one place says nothing of the next.
            let answer = if is_first { self.unchanging(repo, job).await? } else { Answer::Filling(self.engine.start(repo, job, None, None)) };
            match (self.engine.answer(answer, path, false).await, otherwise) {
                (Ok(None), Some(next)) => (located, is_first) = (*next, false),
                // Some hosts say so of what they do not have, and some cannot be reached.
                (Err(error), Some(next)) if matches!(error.status(), StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) => {
                    (located, is_first) = (*next, false);
                    failed.get_or_insert(error);
                }
                (Ok(None), None) => {
                    let Some(failure) = failed else { return Ok(None) };
                    // That it is not in the last place was noted of the file: it may be in the one that failed.
                    self.engine.forget_missing(repo, path);
                    return Err(failure);
                }
                (found, _) => return found,
            }
        }
    }

    /// A file that is here, undamaged.
    async fn kept(&self, repo: &Arc<Repo>, path: &str) -> Result<Option<File>> {
        let at = self.engine.revision(repo, self.moment).await?;
        match self.engine.stored(repo, path, at).await?.filter(|stored| !stored.damaged) {
            Some(stored) => self.engine.file(&stored, Source::Cache, false).await.map(Some),
            None => Ok(None),
        }
    }

    /// A file whose bytes never change: kept, or fetched once.
    async fn unchanging(&self, repo: &Arc<Repo>, job: Job) -> Result<Answer> {
        let at = self.engine.revision(repo, self.moment).await?;
        if let Some(stored) = self.engine.stored(repo, &job.path, at).await?.filter(|stored| !stored.damaged) {
            return Ok(Answer::Kept(stored, Source::Cache));
        }
        if self.is_missing(repo, &job).await? || self.is_out_of_reach(repo, &job).await {
            return Ok(Answer::Missing);
        }
        Ok(Answer::Filling(self.engine.start(repo, job, None, None)))
    }

    /// Something that may change: kept while it is fresh, else asked for again.
    async fn changing(&self, repo: &Arc<Repo>, job: Job) -> Result<Answer> {
        if self.moment.is_some() || repo.frozen().is_some() {
            let at = self.engine.revision(repo, self.moment).await?;
            let stored = self.engine.stored(repo, &job.path, at).await?;
            return Ok(stored.map_or(Answer::Missing, |stored| Answer::Kept(stored, Source::Cache)));
        }
        // What is damaged is fetched anew, whole.
        let kept = self.engine.stored(repo, &job.path, None).await?.filter(|stored| !stored.damaged);
        let state = self.engine.upstream_state(repo, &job.path).await?;
        let settings = repo.upstream()?.settings();
        if let Some(state) = &state {
            let found = state.status == i32::from(StatusCode::OK.as_u16());
            let lifetime = match (found, job.is_behind) {
                (true, true) if settings.mutable_ttl > 0 => settings.mutable_ttl.max(LIST_LIFETIME),
                (true, _) => job.lifetime.unwrap_or(settings.mutable_ttl),
                (false, _) => settings.negative_ttl,
            };
            if self.now.0.saturating_sub(state.checked.0) < i64::try_from(lifetime).unwrap_or(i64::MAX).saturating_mul(1000) {
                match (found, &kept) {
                    (true, Some(stored)) => return Ok(Answer::Kept(Arc::clone(stored), Source::Cache)),
                    // Of one mirror: another may have it.
                    (false, _) if job.target.contains("://") => {}
                    (false, _) => return Ok(Answer::Missing),
                    (true, None) => {}
                }
            }
        }
        if job.is_behind {
            // It comes for those who ask later.
            drop(self.engine.start(repo, job, kept.clone(), state));
            let wait = || Error::unavailable("the list of packages is being fetched from the upstream: try again later", 10);
            return kept.map(|kept| Answer::Kept(kept, Source::Cache)).ok_or_else(wait);
        }
        if kept.is_none() && self.is_out_of_reach(repo, &job).await {
            return Ok(Answer::Missing);
        }
        Ok(Answer::Filling(self.engine.start(repo, job, kept, state)))
    }
}

/// Names the state of an upstream's index.
fn stamp_of(repo: &Repo, index: &StoredEntry) -> Option<Arc<str>> {
    index.entry.digest.map(|digest| format!("{}#{digest}", repo.id()).into())
}

/// What a look-up in a proxy led to.
enum Answer {
    Kept(Arc<StoredEntry>, Source),
    Missing,
    Filling(watch::Receiver<Progress>),
}

/// Waits until upstream has answered (`whole`: until the fill has ended).
async fn settled(progress: &mut watch::Receiver<Progress>, whole: bool) -> Result<Progress> {
    let state = progress.wait_for(|state| match state {
        Progress::Asking => false,
        Progress::Running(..) => !whole,
        _ => true,
    });
    Ok(state.await.map_err(Error::internal)?.clone())
}

impl Engine {
    /// All bytes of a kept index.
    async fn whole(&self, stored: &StoredEntry) -> Result<bytes::Bytes> {
        if let Some(bytes) = &stored.inline {
            return Ok(bytes.clone());
        }
        let mut reader = self.content(stored).await?.reader().await?;
        let size = stored.entry.size.unwrap_or(0).min(MAX_INDEX as u64);
        entrepot_kit::blocking(move || {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            reader.read_to_end(&mut bytes).map_err(Error::internal)?;
            Ok(bytes.into())
        })
        .await
    }

    async fn answer(self: &Arc<Self>, answer: Answer, path: &str, mutable: bool) -> Result<Option<File>> {
        let (stored, source) = match answer {
            Answer::Missing => return Ok(None),
            Answer::Kept(stored, source) => (stored, source),
            Answer::Filling(mut progress) => match settled(&mut progress, false).await? {
                Progress::Done(stored, source) => (stored, source),
                Progress::Failed(error) => return Err(again(&error)),
                Progress::Running(head, _) => {
                    let entry = Entry {
                        path: path.to_owned(),
                        digest: None,
                        size: head.length,
                        digests: Digests::new(),
                        content_type: head.content_type,
                        data: String::new(),
                        created: self.now(),
                        package: None,
                        version: None,
                    };
                    let content = Arc::new(FillContent::new(Arc::clone(self), progress, head.length));
                    return Ok(Some(File { entry, content, source: Source::Remote, mutable }));
                }
                Progress::Asking | Progress::Missing => return Ok(None),
            },
        };
        self.file(&stored, source, mutable).await.map(Some)
    }
}
