//! Asking the upstream, and keeping what it answers.

use std::sync::Arc;

use entrepot_kit::{Algorithm, Digests, Error, Kind, Result, Sidecar, Source, Staged as _, Timestamp};
use futures::StreamExt as _;
use http::{Method, StatusCode};
use tokio::sync::watch;

use super::job::{Job, What};
use super::{PATIENCE, PATIENCE_WITH_COPY};
use crate::access::without_tokens;
use crate::registry::facade::Known;
use crate::registry::fill::{Head, Progress};
use crate::registry::news::News;
use crate::registry::paths::Renewal;
use crate::registry::{Engine, Repo};
use crate::store::blobs::{StagedBlob, WriteSpec};
use crate::store::model::{CatalogError, Commit, NewBlob, NewRow, StoredEntry, UpstreamState};
use crate::upstream::{Fetch, Fetched, Target, is_out_of_reach};

/// Most bytes of a file that says what another one hashes to.
const MAX_SIDECAR: usize = 64 << 10;
/// Who is named in revisions that an upstream caused.
const UPSTREAM_PRINCIPAL: &str = "upstream";

impl Engine {
    pub(super) async fn upstream_state(&self, repo: &Repo, path: &str) -> Result<Option<Arc<UpstreamState>>> {
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

    pub(super) async fn note_upstream(&self, repo: &Repo, state: UpstreamState) -> Result<()> {
        self.catalog.put_upstream_state(repo.id(), state.clone()).await?;
        self.board.tell(&self.metrics, News::Upstream(repo.id(), state.key.clone()));
        self.cache.upstream.insert((repo.id(), state.key.clone()), Arc::new(state));
        Ok(())
    }

    pub(super) fn start(
        self: &Arc<Self>,
        repo: &Arc<Repo>,
        job: Job,
        kept: Option<Arc<StoredEntry>>,
        state: Option<Arc<UpstreamState>>,
    ) -> watch::Receiver<Progress> {
        let path = job.path.clone();
        let (engine, repo) = (Arc::clone(self), Arc::clone(repo));
        let id = repo.id();
        self.fill(id, &path, |progress| async move {
            match engine.fetch_and_keep(&repo, &job, kept.as_ref(), state.as_deref(), &progress).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::warn!(repository = %repo.address(), path = %without_tokens(&job.path), %error, cause = ?std::error::Error::source(&error), "fetching from upstream failed");
                    // Whoever has the beginning of the new bytes must not get the end of the old ones.
                    let is_read = matches!(*progress.borrow(), Progress::Running(..));
                    match engine.in_place_of(&repo, &job, kept.filter(|_| !is_read), state.as_deref(), &error).await {
                        Some((stored, source)) => Progress::Done(stored, source),
                        None => Progress::Failed(Arc::new(error)),
                    }
                }
            }
        })
    }

    /// What of the kept copy is served when nothing came of asking.
    async fn in_place_of(
        &self,
        repo: &Repo,
        job: &Job,
        kept: Option<Arc<StoredEntry>>,
        state: Option<&UpstreamState>,
        error: &Error,
    ) -> Option<(Arc<StoredEntry>, Source)> {
        if !repo.paths.is_given() {
            return Some((stale(repo, kept, state, self.now(), error)?, Source::Stale));
        }
        let is_there = state.is_none_or(|state| state.status == i32::from(StatusCode::OK.as_u16()));
        let kept = kept.filter(|_| is_there && is_out_of_reach(error))?;
        // As if the upstream had said that nothing changed.
        let [url, etag, last_modified] = match state {
            Some(state) => [Some(state.url.clone()), state.etag.clone(), state.last_modified.clone()],
            None => Default::default(),
        };
        let status = i32::from(StatusCode::OK.as_u16());
        let refreshed = UpstreamState { key: job.path.clone(), url: url.unwrap_or_default(), etag, last_modified, checked: self.now(), status };
        if let Err(error) = self.note_upstream(repo, refreshed).await {
            tracing::warn!(repository = %repo.address(), %error, "that a kept file counts as fresh again could not be written down");
        }
        Some((kept, Source::Cache))
    }

    /// Asks by `HEAD` whether a kept file is still what the upstream has. `None` when it does not say so: the file is then asked for itself.
    async fn ask_by_head(&self, repo: &Repo, job: &Job, kept: &Arc<StoredEntry>, state: Option<&UpstreamState>) -> Result<Option<Progress>> {
        let is_known = |state: &&UpstreamState| state.status == i32::from(StatusCode::OK.as_u16()) && (state.etag.is_some() || state.last_modified.is_some());
        let Some(state) = state.filter(is_known) else { return Ok(None) };
        let validators = (state.etag.as_deref(), state.last_modified.as_deref());
        let fetch = Fetch { method: Method::HEAD, etag: validators.0, last_modified: validators.1, patience: PATIENCE_WITH_COPY, ..fetch_of(job) };
        match self.ask(repo, &fetch).await {
            Ok(fetched) if fetched.status == StatusCode::NOT_MODIFIED => {
                self.note_upstream(repo, checked(job, &fetched, self.now(), StatusCode::OK, Some(state))).await?;
                Ok(Some(Progress::Done(Arc::clone(kept), Source::Cache)))
            }
            // Some that refuse a HEAD answer a GET.
            Err(error) if error.status() != StatusCode::BAD_GATEWAY => Err(error),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    async fn fetch_and_keep(
        self: &Arc<Self>,
        repo: &Arc<Repo>,
        job: &Job,
        kept: Option<&Arc<StoredEntry>>,
        state: Option<&UpstreamState>,
        progress: &watch::Sender<Progress>,
    ) -> Result<Progress> {
        if let Some(done) = self.done_meanwhile(repo, job, kept, state).await? {
            return Ok(done);
        }
        if let What::Part { whole, expected } = &job.what {
            return self.keep_part(repo, job, whole, expected).await;
        }
        let state = state.filter(|_| kept.is_some());
        let _permit = match job.what {
            What::Index { .. } => Some(self.indexes.acquire().await.map_err(Error::internal)?),
            What::File { .. } | What::Part { .. } | What::Document(_) => None,
        };
        if let (What::Document(document), Some(kept)) = (&job.what, kept)
            && let Some(header) = document.named_by.filter(|_| job.changes())
            && let Some(outcome) = self.ask_for_name(repo, job, header, kept, state).await?
        {
            return Ok(outcome);
        }
        if job.renewal == Renewal::Head
            && let Some(kept) = kept
            && let Some(outcome) = self.ask_by_head(repo, job, kept, state).await?
        {
            return Ok(outcome);
        }
        let state = state.filter(|_| job.renewal == Renewal::Conditional);
        let sidecar = sidecar_of(repo, job);
        let asked = fetch_of(job);
        let fetch = Fetch {
            named_by: asked.named_by.or(sidecar.as_ref().map(|sidecar| sidecar.header)),
            etag: state.and_then(|state| state.etag.as_deref()),
            last_modified: state.and_then(|state| state.last_modified.as_deref()),
            patience: if kept.is_some() { PATIENCE_WITH_COPY } else { PATIENCE },
            ..asked
        };
        let fetched = self.ask(repo, &fetch).await?;
        match (fetched.status, kept) {
            (StatusCode::OK, _) => self.keep(repo, job, kept, state, fetched, progress).await,
            (StatusCode::NOT_MODIFIED, Some(kept)) => {
                self.note_upstream(repo, checked(job, &fetched, self.now(), StatusCode::OK, state)).await?;
                Ok(Progress::Done(Arc::clone(kept), Source::Cache))
            }
            (status, _) => {
                let answered = checked(job, &fetched, self.now(), StatusCode::NOT_FOUND, None);
                self.without_body(repo, job, kept, answered, status).await
            }
        }
    }

    /// What another fill of the same path brought between the look of whoever started this one and its begin.
    async fn done_meanwhile(&self, repo: &Repo, job: &Job, kept: Option<&Arc<StoredEntry>>, seen: Option<&UpstreamState>) -> Result<Option<Progress>> {
        if job.changes() {
            let Some(state) = self.upstream_state(repo, &job.path).await? else { return Ok(None) };
            let is_newer = seen.is_none_or(|seen| state.checked > seen.checked);
            match (is_newer, state.status == i32::from(StatusCode::OK.as_u16())) {
                (true, false) => return Ok(Some(Progress::Missing)),
                (false, false) => return Ok(None),
                // The file was looked for before the other fill ended, and the state after that.
                (false, true) if kept.is_some() => return Ok(None),
                (_, true) => {}
            }
        }
        let stored = self.stored(repo, &job.path, None).await?.filter(|stored| !stored.damaged);
        Ok(stored.map(|stored| Progress::Done(stored, Source::Cache)))
    }

    /// What an answer means that brings nothing.
    pub(super) async fn without_body(
        &self,
        repo: &Repo,
        job: &Job,
        kept: Option<&Arc<StoredEntry>>,
        answered: UpstreamState,
        status: StatusCode,
    ) -> Result<Progress> {
        let missing = match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => true,
            // What is not shown to us is not there, as long as we never had it.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => kept.is_none(),
            // So is what it finds malformed, or does not serve at all.
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => kept.is_none() && matches!(job.what, What::Document(_)),
            _ => false,
        };
        if !missing {
            return Err(Error::bad_gateway(format!("the upstream of {} answered {status}", repo.address())));
        }
        if job.changes() {
            self.note_upstream(repo, answered).await?;
        } else {
            self.note_missing(repo, job).await?;
        }
        Ok(Progress::Missing)
    }

    async fn keep(
        self: &Arc<Self>,
        repo: &Arc<Repo>,
        job: &Job,
        kept: Option<&Arc<StoredEntry>>,
        state: Option<&UpstreamState>,
        fetched: Fetched,
        progress: &watch::Sender<Progress>,
    ) -> Result<Progress> {
        let mut answered = checked(job, &fetched, self.now(), StatusCode::OK, None);
        let head = Head { length: fetched.length, content_type: fetched.content_type.clone() };
        let mut about = About { content_type: head.content_type.clone(), data: String::new() };
        let staged = match &job.what {
            What::File { expected, .. } => self.stage_file(repo, job, expected, fetched, progress).await?,
            What::Index { .. } | What::Part { .. } | What::Document(_) => {
                let taken = self.take_whole(repo, job, fetched).await?;
                if let (What::Index { .. }, Some(kept)) = (&job.what, kept)
                    && is_older(&taken.found.data, &kept.entry.data)
                    && may_be_stale(repo, kept, state, self.now())
                {
                    return Err(Error::bad_gateway(format!("the upstream's index of {:?} is older than the one that is kept; it was not taken", job.name())));
                }
                if taken.pages > 1 {
                    // The validators are those of the first page.
                    (answered.etag, answered.last_modified) = (None, None);
                }
                about = About { content_type: taken.found.content_type.or(about.content_type), data: taken.found.data };
                for path in taken.found.also {
                    let also = Job { path, what: What::File { expected: Digests::new(), changes: false }, ..job.clone() };
                    self.place(repo, &also, &taken.staged, &about).await?;
                }
                taken.staged
            }
        };
        if kept.is_none_or(|kept| kept.entry.digest != Some(staged.facts().digest)) {
            self.place(repo, job, &staged, &about).await?;
        }
        if job.changes() {
            self.note_upstream(repo, answered).await?;
        }
        Ok(Progress::Done(self.placed(repo, &job.path).await?, Source::Remote))
    }

    /// What was kept just now.
    pub(super) async fn placed(&self, repo: &Repo, path: &str) -> Result<Arc<StoredEntry>> {
        self.stored(repo, path, None).await?.ok_or_else(|| Error::internal(format!("{path:?} was kept and is not there")))
    }

    /// Makes staged bytes durable and writes down where they are.
    async fn place(&self, repo: &Repo, job: &Job, staged: &StagedBlob, about: &About) -> Result<()> {
        match self.keep_row(repo, job, row(job, self.arrive(staged, Known::Trusted).await?, about)).await {
            Err(CatalogError::BlobGone(_)) => Ok(self.keep_row(repo, job, row(job, self.arrive(staged, Known::BroughtAgain).await?, about)).await?),
            other => Ok(other?),
        }
    }

    /// Writes down what was fetched: a file that never changes quietly, anything else as a revision.
    pub(super) async fn keep_row(&self, repo: &Repo, job: &Job, row: NewRow) -> Result<(), CatalogError> {
        if !job.changes() {
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
        self.committed(repo, self.catalog.commit(commit).await?);
        Ok(())
    }

    /// Keeps bytes that were made here of what the upstream has.
    pub(super) async fn keep_bytes(&self, repo: &Arc<Repo>, job: &Job, expected: &Digests, bytes: bytes::Bytes) -> Result<Progress> {
        let algorithms = expected.algorithms().filter(|algorithm| *algorithm != Algorithm::Sha256).collect();
        let mut writer = self.blobs.writer(WriteSpec { algorithms, limit: bytes.len() as u64 }).await?;
        writer.write(bytes).await?;
        let staged = writer.finish().await?;
        check(job, expected, &staged)?;
        self.place(repo, job, &staged, &About { content_type: None, data: String::new() }).await?;
        Ok(Progress::Done(self.placed(repo, &job.path).await?, Source::Remote))
    }

    /// Takes a file in while readers follow, and checks it.
    async fn stage_file(&self, repo: &Arc<Repo>, job: &Job, expected: &Digests, fetched: Fetched, progress: &watch::Sender<Progress>) -> Result<StagedBlob> {
        let head = Head { length: fetched.length, content_type: fetched.content_type.clone() };
        if let Some(encoding) = &fetched.content_encoding {
            return Err(Error::bad_gateway(format!("the upstream sent {:?} in the encoding {encoding:?}, which was not asked for; it was not kept", job.path)));
        }
        let limit = self.max_upload.min(repo.upstream()?.settings().max_size);
        if head.length.is_some_and(|length| length > limit) {
            return Err(Error::bad_gateway(format!("the upstream's {:?} is larger than the {limit} bytes that are kept", job.path)));
        }
        let sidecar = sidecar_of(repo, job);
        let promised = sidecar.as_ref().and_then(|sidecar| (sidecar.read)(fetched.name.as_deref()?));
        let mut algorithms: Vec<Algorithm> = repo.format.file_digests().to_vec();
        algorithms.extend(expected.algorithms().filter(|algorithm| *algorithm != Algorithm::Sha256 && !repo.format.file_digests().contains(algorithm)));
        let mut writer = self.blobs.writer(WriteSpec { algorithms, limit }).await?;
        let mut body = fetched.body;
        let mut next = body.next().await.transpose()?;
        repo.format.check_upstream_file(&job.path, head.content_type.as_deref(), next.as_deref().unwrap_or_default())?;
        progress.send_replace(Progress::Running(head, writer.tail()));
        while let Some(bytes) = next {
            writer.write(bytes).await?;
            next = body.next().await.transpose()?;
        }
        let staged = writer.finish().await?;
        check(job, expected, &staged)?;
        let promised = match (promised, sidecar) {
            (None, Some(sidecar)) => self.ask_sidecar(repo, job, &sidecar).await?,
            (promised, _) => promised,
        };
        check(job, &promised.unwrap_or_default(), &staged)?;
        if let Some(promise) = job.promise.clone() {
            let (format, path, mut reader, size) = (Arc::clone(&repo.format), job.path.clone(), staged.reader().await?, staged.facts().size);
            entrepot_kit::blocking(move || format.check_promise(&path, &promise, &mut *reader, size)).await?;
        }
        Ok(staged)
    }

    /// What the small file beside another one says, if there is one.
    async fn ask_sidecar(&self, repo: &Arc<Repo>, job: &Job, sidecar: &Sidecar) -> Result<Option<Digests>> {
        let path = entrepot_kit::path::encode_path(&sidecar.path);
        let fetch = Fetch { space: job.package.as_deref(), patience: PATIENCE, ..Fetch::get(Target::Path(&path)) };
        let fetched = self.ask(repo, &fetch).await?;
        if fetched.status != StatusCode::OK {
            return Ok(None);
        }
        let text = fetched.document(MAX_SIDECAR).await?;
        Ok(std::str::from_utf8(&text).ok().and_then(sidecar.read))
    }
}

/// Where the upstream says what a file hashes to, when nothing said it before.
fn sidecar_of(repo: &Repo, job: &Job) -> Option<Sidecar> {
    match &job.what {
        What::File { expected, .. } if expected.is_empty() => repo.format.sidecar(&job.path),
        _ => None,
    }
}

/// Whether the bytes are those that were promised.
fn check(job: &Job, expected: &Digests, staged: &StagedBlob) -> Result<()> {
    match expected.mismatch(&staged.facts().digests) {
        Some(algorithm) => {
            Err(Error::bad_gateway(format!("the upstream's {:?} has another {} than was promised; it was not kept", job.path, algorithm.name())))
        }
        None => Ok(()),
    }
}

/// Whether the number of an index comes before that of the kept one.
fn is_older(new: &str, kept: &str) -> bool {
    matches!((new.parse::<u64>(), kept.parse::<u64>()), (Ok(new), Ok(kept)) if new < kept)
}

/// The question for a job, without validators.
pub(super) fn fetch_of(job: &Job) -> Fetch<'_> {
    let target = if job.target.contains("://") { Target::Url(&job.target) } else { Target::Path(&job.target) };
    let named_by = match &job.what {
        What::Index { serial, .. } => *serial,
        What::File { .. } | What::Part { .. } | What::Document(_) => None,
    };
    Fetch { accept: job.accept, named_by, space: job.package.as_deref(), gzip: matches!(job.what, What::Index { .. }), ..Fetch::get(target) }
}

/// What an entry says besides its bytes.
pub(super) struct About {
    pub(super) content_type: Option<String>,
    pub(super) data: String,
}

/// The entry of a job.
pub(super) fn row(job: &Job, blob: NewBlob, about: &About) -> NewRow {
    NewRow::Entry {
        path: job.path.clone(),
        package: job.package.clone(),
        version: job.version.clone(),
        blob,
        content_type: about.content_type.clone().filter(|text| text.len() <= 255),
        data: about.data.clone(),
    }
}

/// The record of an answer; what a 304 does not repeat is taken from before.
pub(super) fn checked(job: &Job, fetched: &Fetched, now: Timestamp, status: StatusCode, before: Option<&UpstreamState>) -> UpstreamState {
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
    let kept = kept.filter(|_| error.status().is_server_error())?;
    may_be_stale(repo, &kept, state, now).then_some(kept)
}

/// Whether a kept copy can stand for what upstream should have said.
fn may_be_stale(repo: &Repo, kept: &StoredEntry, state: Option<&UpstreamState>, now: Timestamp) -> bool {
    let Ok(upstream) = repo.upstream() else { return false };
    let checked = state.map_or(kept.entry.created, |state| state.checked);
    let most = i64::try_from(upstream.settings().stale_for).unwrap_or(i64::MAX).saturating_mul(1000);
    now.0.saturating_sub(checked.0) <= most
}
