//! Documents of upstreams: taken whole, page by page, and checked by their format before they replace what is kept.

use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{ALL_PACKAGES, CheckedDocument, Error, Result, Source, UpstreamPath};
use http::{Method, StatusCode};

use super::fetch::{About, checked, fetch_of, row};
use super::job::{Job, What};
use super::{PATIENCE, PATIENCE_WITH_COPY, settled};
use crate::registry::fill::{Progress, again};
use crate::registry::{Engine, Repo};
use crate::store::blobs::{StagedBlob, WriteSpec};
use crate::store::model::{NewBlob, StoredEntry, UpstreamState};
use crate::upstream::{Fetch, Fetched, Target};

/// Most paths besides its own that one document is kept at.
const MOST_PATHS: usize = 8;

/// A document that was taken in.
pub(super) struct Taken {
    pub(super) staged: StagedBlob,
    pub(super) found: CheckedDocument,
    pub(super) pages: usize,
}

impl Engine {
    /// Takes a document in. An answer that is none of this format (the page of a captive portal, say) must not replace a good one.
    pub(super) async fn take_whole(&self, repo: &Arc<Repo>, job: &Job, fetched: Fetched) -> Result<Taken> {
        let (content_type, serial) = (fetched.content_type.clone(), fetched.name.as_deref().and_then(|serial| serial.trim().parse().ok()));
        let pages = self.pages(repo, job, fetched).await?;
        let count = pages.len();
        let (format, path, package) = (Arc::clone(&repo.format), job.path.clone(), job.package.clone().unwrap_or_else(|| ALL_PACKAGES.to_owned()));
        let is_index = matches!(job.what, What::Index { .. });
        let check = move || {
            let document = match pages.as_slice() {
                [whole] => whole.clone(),
                pages => format.join_pages(pages)?,
            };
            let mut found = if is_index {
                format.check_upstream_index(&package, &document)?;
                let serial: Option<u64> = serial.or_else(|| format.upstream_serial(&document));
                CheckedDocument { data: serial.map(|serial| serial.to_string()).unwrap_or_default(), ..CheckedDocument::default() }
            } else {
                format.check_upstream_document(&path, content_type.as_deref(), &document)?
            };
            found.also.retain(|also| *also != path);
            found.also.truncate(MOST_PATHS);
            Ok((document, found))
        };
        let (document, found) = entrepot_kit::blocking(check).await.map_err(|error| {
            let what = if is_index { "index of " } else { "" };
            Error::bad_gateway(format!("the upstream's {what}{:?} cannot be read, and was not kept: {}", job.name(), error.message()))
        })?;
        let mut writer = self.blobs.writer(WriteSpec { algorithms: Vec::new(), limit: document.len() as u64 }).await?;
        writer.write(document).await?;
        Ok(Taken { staged: writer.finish().await?, found, pages: count })
    }

    /// The pages of a document, as far as the job goes along.
    async fn pages(&self, repo: &Arc<Repo>, job: &Job, first: Fetched) -> Result<Vec<Bytes>> {
        let (most, limit) = job.pages();
        let mut next = first.next.clone().filter(|_| most > 1);
        let mut pages = vec![first.document(limit).await?];
        let mut size = pages.first().map_or(0, Bytes::len);
        while let Some(url) = next {
            if pages.len() >= most {
                tracing::warn!(repository = %repo.address(), document = job.name(), "the upstream's document has more than {most} pages: the rest is left out");
                break;
            }
            // Where the next page is, the upstream says: a link like any other.
            let fetch = Fetch { target: Target::Url(&url), patience: PATIENCE, ..fetch_of(job) };
            let fetched = self.ask(repo, &fetch).await?;
            if fetched.status != StatusCode::OK {
                return Err(Error::bad_gateway(format!("the upstream of {} answered {} to the next page of {:?}", repo.address(), fetched.status, job.name())));
            }
            next = fetched.next.clone();
            let page = fetched.document(limit.saturating_sub(size)).await?;
            size += page.len();
            pages.push(page);
        }
        Ok(pages)
    }

    /// Asks by `HEAD` which bytes a document has now. When that names what is kept, nothing is fetched; what it names instead is fetched by
    /// that name, unless it is here already. `None` when the answer names nothing: the document is then asked for itself.
    pub(super) async fn ask_for_name(
        self: &Arc<Self>,
        repo: &Arc<Repo>,
        job: &Job,
        header: &'static str,
        kept: &Arc<StoredEntry>,
        state: Option<&UpstreamState>,
    ) -> Result<Option<Progress>> {
        let fetch = Fetch { method: Method::HEAD, named_by: Some(header), patience: PATIENCE_WITH_COPY, ..fetch_of(job) };
        let fetched = self.ask(repo, &fetch).await?;
        match fetched.status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => return Ok(None),
            status => {
                let answered = checked(job, &fetched, self.now(), StatusCode::NOT_FOUND, None);
                return self.without_body(repo, job, Some(kept), answered, status).await.map(Some);
            }
        }
        let Some(path) = fetched.name.as_deref().and_then(|name| repo.format.path_of_name(&job.path, name)) else { return Ok(None) };
        let answered = checked(job, &fetched, self.now(), StatusCode::OK, state);
        let Some(named) = self.document_at(repo, &path, job.package.clone()).await? else { return Ok(None) };
        if named.entry.digest == kept.entry.digest {
            self.note_upstream(repo, answered).await?;
            return Ok(Some(Progress::Done(Arc::clone(kept), Source::Cache)));
        }
        let about = About { content_type: named.entry.content_type.clone(), data: named.entry.data.clone() };
        self.keep_row(repo, job, row(job, NewBlob::Entry(path), &about)).await?;
        self.note_upstream(repo, answered).await?;
        Ok(Some(Progress::Done(self.placed(repo, &job.path).await?, Source::Remote)))
    }

    /// A document that never changes: kept, or fetched now together with whoever else wants it.
    async fn document_at(self: &Arc<Self>, repo: &Arc<Repo>, path: &str, package: Option<String>) -> Result<Option<Arc<StoredEntry>>> {
        if let Some(stored) = self.stored(repo, path, None).await?.filter(|stored| !stored.damaged) {
            return Ok(Some(stored));
        }
        let UpstreamPath::Document(document) = repo.format.classify(path) else { return Ok(None) };
        let mut progress = self.start(repo, Job::file(path, package, What::Document(document)), None, None);
        match settled(&mut progress, true).await? {
            Progress::Done(stored, _) => Ok(Some(stored)),
            Progress::Failed(error) => Err(again(&error)),
            _ => Ok(None),
        }
    }
}
