//! Proxies: a hosted repository that fills itself from one upstream.
//!
//! Three kinds of things are fetched: files whose bytes never change (kept for good, no revision), files that may change and
//! package indexes (revalidated after `mutable_ttl`; a new state is a revision, so the past can be read).

use std::sync::Arc;
use std::time::Duration;

use entrepot_kit::{Algorithm, Digests, Entry, Error, File, Kind, Records, Result, Source, Timestamp, UpstreamPath};
use futures::StreamExt as _;
use http::StatusCode;
use tokio::sync::watch;

use crate::access::without_tokens;
use crate::registry::facade::Known;
use crate::registry::fill::{FillContent, Head, Progress, again};
use crate::registry::reader::Reader;
use crate::registry::{Engine, Repo};
use crate::store::blobs::{StagedBlob, WriteSpec};
use crate::store::model::{CatalogError, Commit, NewRow, StoredEntry, UpstreamState};
use crate::upstream::{Fetch, Fetched, Target};

/// Largest package index that is kept, in bytes; the largest known public ones have 40 MB.
const MAX_INDEX: usize = 128 << 20;
/// How long upstream may take to begin its answer when there is nothing else to give.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take when a kept copy could be served instead.
pub(crate) const PATIENCE_WITH_COPY: Duration = Duration::from_secs(3);
/// Who is named in revisions that an upstream caused.
const UPSTREAM_PRINCIPAL: &str = "upstream";

/// What a fill does.
struct Job {
    /// Path of the entry.
    path: String,
    /// A URL, or a path below the upstream's root.
    target: String,
    class: Class,
    accept: Option<&'static str>,
    expected: Digests,
    package: Option<String>,
    version: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Immutable,
    Mutable,
    Index,
}

/// Where the engine keeps an upstream's index of a package.
fn index_path(package: &str) -> String {
    format!("/index/{package}")
}

impl Reader {
    pub(crate) async fn proxy_stamp(&self, repo: &Arc<Repo>, package: &str) -> Result<Option<Arc<str>>> {
        let index = self.index(repo, package).await?;
        Ok(index.and_then(|stored| stored.entry.digest).map(|digest| format!("{}#{digest}", repo.id()).into()))
    }

    pub(crate) async fn proxy_records(&self, repo: &Arc<Repo>, package: &str, kind: &'static str) -> Result<Option<Records>> {
        let Some(stored) = self.index(repo, package).await? else { return Ok(None) };
        let document = self.engine.whole(&stored).await?;
        let (format, package, digest) = (Arc::clone(&repo.format), package.to_owned(), stored.entry.digest);
        entrepot_kit::blocking(move || {
            let records = format.upstream_records(&package, &document, kind)?;
            Ok(Some(Records { stamp: digest.map(|digest| digest.hex()).unwrap_or_default(), ..records }))
        })
        .await
    }

    /// The upstream's index of a package, fresh enough.
    async fn index(&self, repo: &Arc<Repo>, package: &str) -> Result<Option<Arc<StoredEntry>>> {
        if !repo.rules.admits(package) {
            return Ok(None);
        }
        let Some(index) = repo.format.upstream_index(package) else { return Ok(None) };
        let job = Job {
            path: index_path(package),
            target: index.path,
            class: Class::Index,
            accept: Some(index.accept),
            expected: Digests::new(),
            package: Some(package.to_owned()),
            version: None,
        };
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

    pub(crate) async fn proxy_entry(&self, repo: &Arc<Repo>, path: &str) -> Result<Option<File>> {
        let package = repo.format.package_of(path);
        if !repo.rules.admits(package.as_deref().unwrap_or(path)) {
            return Ok(None);
        }
        let mut job = Job {
            path: path.to_owned(),
            target: entrepot_kit::path::encode_path(path),
            class: Class::Immutable,
            accept: None,
            expected: Digests::new(),
            package,
            version: None,
        };
        match repo.format.classify(path) {
            UpstreamPath::NotOurs => return Ok(None),
            UpstreamPath::Mutable => {
                job.class = Class::Mutable;
                let answer = self.changing(repo, job).await?;
                return self.engine.answer(answer, path, true).await;
            }
            UpstreamPath::Immutable { expected } => job.expected = expected,
            UpstreamPath::Needs { package } => {
                // What is kept needs no index: a build goes on while the upstream, or the package, is gone.
                let at = self.engine.revision(repo, self.moment).await?;
                if let Some(stored) = self.engine.stored(repo, path, at).await?.filter(|stored| !stored.damaged) {
                    return self.engine.file(&stored, Source::Cache, false).await.map(Some);
                }
                let Some(index) = self.index(repo, &package).await? else { return Ok(None) };
                let document = self.engine.whole(&index).await?;
                let (format, wanted) = (Arc::clone(&repo.format), path.to_owned());
                let located = entrepot_kit::blocking(move || format.locate(&wanted, &package, &document)).await?;
                let Some(located) = located else { return Ok(None) };
                (job.target, job.expected, job.version) = (located.url, located.expected, located.version);
            }
        }
        let answer = self.unchanging(repo, job).await?;
        self.engine.answer(answer, path, false).await
    }

    /// A file whose bytes never change: kept, or fetched once.
    async fn unchanging(&self, repo: &Arc<Repo>, job: Job) -> Result<Answer> {
        let at = self.engine.revision(repo, self.moment).await?;
        if let Some(stored) = self.engine.stored(repo, &job.path, at).await?.filter(|stored| !stored.damaged) {
            return Ok(Answer::Kept(stored, Source::Cache));
        }
        if self.engine.cache.missing.get(&(repo.id(), job.path.clone())).is_some() {
            return Ok(Answer::Missing);
        }
        Ok(Answer::Filling(self.engine.start(repo, job, None, None)))
    }

    /// Something that may change: kept while it is fresh, else asked for again.
    async fn changing(&self, repo: &Arc<Repo>, job: Job) -> Result<Answer> {
        if self.moment.is_some() {
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
            let lifetime = if found { settings.mutable_ttl } else { settings.negative_ttl };
            if self.now.0.saturating_sub(state.checked.0) < i64::try_from(lifetime).unwrap_or(i64::MAX).saturating_mul(1000) {
                match (found, &kept) {
                    (true, Some(stored)) => return Ok(Answer::Kept(Arc::clone(stored), Source::Cache)),
                    (false, _) => return Ok(Answer::Missing),
                    (true, None) => {}
                }
            }
        }
        Ok(Answer::Filling(self.engine.start(repo, job, kept, state)))
    }
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

    async fn upstream_state(&self, repo: &Repo, path: &str) -> Result<Option<Arc<UpstreamState>>> {
        let key = (repo.id(), path.to_owned());
        if let Some(state) = self.cache.upstream.get(&key) {
            return Ok(Some(state));
        }
        let state = self.catalog.upstream_state(repo.id(), path).await?.map(Arc::new);
        if let Some(state) = &state {
            self.cache.upstream.insert(key, Arc::clone(state));
        }
        Ok(state)
    }

    async fn note_upstream(&self, repo: &Repo, state: UpstreamState) -> Result<()> {
        self.catalog.put_upstream_state(repo.id(), state.clone()).await?;
        self.cache.upstream.insert((repo.id(), state.key.clone()), Arc::new(state));
        Ok(())
    }

    fn start(self: &Arc<Self>, repo: &Arc<Repo>, job: Job, kept: Option<Arc<StoredEntry>>, state: Option<Arc<UpstreamState>>) -> watch::Receiver<Progress> {
        let path = job.path.clone();
        let (engine, repo) = (Arc::clone(self), Arc::clone(repo));
        let id = repo.id();
        self.fill(id, &path, |progress| async move {
            match engine.fetch_and_keep(&repo, &job, kept.as_ref(), state.as_deref(), &progress).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::warn!(repository = %repo.address(), path = %without_tokens(&job.path), %error, cause = ?std::error::Error::source(&error), "fetching from upstream failed");
                    match stale(&repo, kept, state.as_deref(), engine.now(), &error) {
                        Some(stored) => Progress::Done(stored, Source::Stale),
                        None => Progress::Failed(Arc::new(error)),
                    }
                }
            }
        })
    }

    async fn fetch_and_keep(
        self: &Arc<Self>,
        repo: &Arc<Repo>,
        job: &Job,
        kept: Option<&Arc<StoredEntry>>,
        state: Option<&UpstreamState>,
        progress: &watch::Sender<Progress>,
    ) -> Result<Progress> {
        let upstream = repo.upstream()?;
        let state = state.filter(|_| kept.is_some());
        let _permit = match job.class {
            Class::Index => Some(self.indexes.acquire().await.map_err(Error::internal)?),
            Class::Immutable | Class::Mutable => None,
        };
        let target = if job.target.contains("://") { Target::Url(&job.target) } else { Target::Path(&job.target) };
        let fetch = Fetch {
            accept: job.accept,
            etag: state.and_then(|state| state.etag.as_deref()),
            last_modified: state.and_then(|state| state.last_modified.as_deref()),
            gzip: job.class == Class::Index,
            patience: if kept.is_some() { PATIENCE_WITH_COPY } else { PATIENCE },
            ..Fetch::get(target)
        };
        let fetched = upstream.fetch(&fetch).await?;
        match (fetched.status, kept) {
            (StatusCode::OK, _) => self.keep(repo, job, kept, fetched, progress).await,
            (StatusCode::NOT_MODIFIED, Some(kept)) => {
                self.note_upstream(repo, checked(job, &fetched, self.now(), StatusCode::OK, state)).await?;
                Ok(Progress::Done(Arc::clone(kept), Source::Cache))
            }
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) => {
                if job.class == Class::Immutable {
                    self.cache.missing.insert((repo.id(), job.path.clone()), ());
                } else {
                    self.note_upstream(repo, checked(job, &fetched, self.now(), StatusCode::NOT_FOUND, None)).await?;
                }
                Ok(Progress::Missing)
            }
            (status, _) => Err(Error::bad_gateway(format!("the upstream of {} answered {status}", repo.address()))),
        }
    }

    async fn keep(
        self: &Arc<Self>,
        repo: &Arc<Repo>,
        job: &Job,
        kept: Option<&Arc<StoredEntry>>,
        fetched: Fetched,
        progress: &watch::Sender<Progress>,
    ) -> Result<Progress> {
        let answered = checked(job, &fetched, self.now(), StatusCode::OK, None);
        let head = Head { length: fetched.length, content_type: fetched.content_type.clone() };
        let staged = match job.class {
            Class::Index => self.stage_index(repo, job, fetched).await?,
            Class::Immutable | Class::Mutable => self.stage_file(repo, job, fetched, &head, progress).await?,
        };
        if kept.is_none_or(|kept| kept.entry.digest != Some(staged.facts().digest)) {
            let content_type = head.content_type.filter(|text| text.len() <= 255);
            let row = |blob| NewRow::Entry {
                path: job.path.clone(),
                package: job.package.clone(),
                version: job.version.clone(),
                blob,
                content_type: content_type.clone(),
                data: String::new(),
            };
            match self.keep_row(repo, job, row(self.arrive(&staged, Known::Trusted).await?)).await {
                Err(CatalogError::BlobGone(_)) => self.keep_row(repo, job, row(self.arrive(&staged, Known::BroughtAgain).await?)).await?,
                other => other?,
            }
        }
        if job.class != Class::Immutable {
            self.note_upstream(repo, answered).await?;
        }
        let stored = self.stored(repo, &job.path, None).await?;
        let stored = stored.ok_or_else(|| Error::internal(format!("{:?} was kept and is not there", job.path)))?;
        Ok(Progress::Done(stored, Source::Remote))
    }

    /// Writes down what was fetched: a file that never changes quietly, anything else as a revision.
    async fn keep_row(&self, repo: &Repo, job: &Job, row: NewRow) -> Result<(), CatalogError> {
        if job.class == Class::Immutable {
            return self.catalog.keep(repo.id(), row, self.now()).await;
        }
        let commit = Commit {
            repository: repo.id(),
            principal: UPSTREAM_PRINCIPAL.to_owned(),
            request_id: String::new(),
            now: self.now(),
            action: String::from("upstream-change"),
            subject: job.package.clone().unwrap_or_else(|| job.path.clone()),
            preconditions: Vec::new(),
            deaths: Vec::new(),
            births: vec![row],
        };
        repo.advance(self.catalog.commit(commit).await?);
        Ok(())
    }

    /// Takes a file in while readers follow, and checks it.
    async fn stage_file(&self, repo: &Arc<Repo>, job: &Job, fetched: Fetched, head: &Head, progress: &watch::Sender<Progress>) -> Result<StagedBlob> {
        if let Some(encoding) = &fetched.content_encoding {
            return Err(Error::bad_gateway(format!("the upstream sent {:?} in the encoding {encoding:?}, which was not asked for; it was not kept", job.path)));
        }
        let limit = self.max_upload.min(repo.upstream()?.settings().max_size);
        if head.length.is_some_and(|length| length > limit) {
            return Err(Error::bad_gateway(format!("the upstream's {:?} is larger than the {limit} bytes that are kept", job.path)));
        }
        let algorithms = job.expected.algorithms().filter(|algorithm| *algorithm != Algorithm::Sha256).collect();
        let mut writer = self.blobs.writer(WriteSpec { algorithms, limit }).await?;
        progress.send_replace(Progress::Running(head.clone(), writer.tail()));
        let mut body = fetched.body;
        while let Some(bytes) = body.next().await.transpose()? {
            writer.write(bytes).await?;
        }
        let staged = writer.finish().await?;
        match job.expected.mismatch(&staged.facts().digests) {
            Some(algorithm) => {
                Err(Error::bad_gateway(format!("the upstream's {:?} has another {} than its index promised; it was not kept", job.path, algorithm.name())))
            }
            None => Ok(staged),
        }
    }

    /// Takes an index in. An answer that is none of this format (the page of a captive portal, say) must not replace a good one.
    async fn stage_index(&self, repo: &Arc<Repo>, job: &Job, fetched: Fetched) -> Result<StagedBlob> {
        let document = fetched.document(MAX_INDEX).await?;
        let (format, package, checked) = (Arc::clone(&repo.format), job.package.clone().unwrap_or_default(), document.clone());
        entrepot_kit::blocking(move || format.check_upstream_index(&package, &checked)).await.map_err(|error| {
            let name = job.package.as_deref().unwrap_or(&job.path);
            Error::bad_gateway(format!("the upstream's index of {name:?} cannot be read: {}", error.message()))
        })?;
        let mut writer = self.blobs.writer(WriteSpec { algorithms: Vec::new(), limit: MAX_INDEX as u64 }).await?;
        writer.write(document).await?;
        writer.finish().await
    }
}

/// The record of an answer; what a 304 does not repeat is taken from before.
fn checked(job: &Job, fetched: &Fetched, now: Timestamp, status: StatusCode, before: Option<&UpstreamState>) -> UpstreamState {
    UpstreamState {
        key: job.path.clone(),
        url: fetched.url.clone(),
        etag: fetched.etag.clone().or_else(|| before.and_then(|before| before.etag.clone())),
        last_modified: fetched.last_modified.clone().or_else(|| before.and_then(|before| before.last_modified.clone())),
        checked: now,
        status: i32::from(status.as_u16()),
    }
}

/// The kept copy, when upstream cannot be reached and the copy is not too old for that.
fn stale(repo: &Repo, kept: Option<Arc<StoredEntry>>, state: Option<&UpstreamState>, now: Timestamp, error: &Error) -> Option<Arc<StoredEntry>> {
    debug_assert_eq!(repo.kind(), Kind::Proxy);
    let settings = repo.upstream().ok()?.settings();
    let kept = kept.filter(|_| error.status().is_server_error())?;
    let checked = state.map_or(kept.entry.created, |state| state.checked);
    let most = i64::try_from(settings.stale_for).unwrap_or(i64::MAX).saturating_mul(1000);
    (now.0.saturating_sub(checked.0) <= most).then_some(kept)
}
