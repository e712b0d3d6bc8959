//! Prefetches: a proxy is made to fetch a version with all that it needs, before somebody waits for it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{Error, File, Need, Result, Source};
use futures::StreamExt as _;
use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;

use crate::registry::reader::Reader;
use crate::registry::{Context, Engine, Repo};

/// Prefetches that run at the same time, and files that one of them fetches at the same time.
pub(super) const AT_ONCE: usize = 4;
/// Most files of one prefetch.
const MOST_FILES: usize = 5000;
/// Largest document that is looked into.
const MOST_DOCUMENT: u64 = 16 << 20;

/// What is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The package.
    pub(crate) package: String,
    /// The version.
    pub(crate) version: String,
    /// Only what is for these platforms, where there are several; empty: everything.
    pub(crate) platforms: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Prefetched {
    /// Files that the version needs, the documents among them.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Those that were fetched just now.
    pub(crate) fetched: u64,
    /// Those that the upstream does not have: children of an index, for example, that were never published.
    pub(crate) missing: u64,
}

/// A prefetch that has its place among those that may run.
pub(crate) struct Prefetch {
    reader: Reader,
    repo: Arc<Repo>,
    wanted: Wanted,
    start: String,
    _place: Option<OwnedSemaphorePermit>,
}

impl Engine {
    /// Takes a place for a prefetch.
    ///
    /// # Errors
    /// 400 for a format without versions that could be prefetched; 503 when enough of them run.
    pub(crate) fn prefetch(self: &Arc<Self>, context: &Context, repo: &Arc<Repo>, wanted: Wanted) -> Result<Prefetch> {
        let start = repo.format.version_path(&wanted.package, &wanted.version);
        let start = start
            .ok_or_else(|| Error::bad_request(format!("{} {} of a {} repository cannot be prefetched", wanted.package, wanted.version, repo.row.format)))?;
        let place = Arc::clone(&self.prefetches).try_acquire_owned();
        let place = place.map_err(|_| Error::unavailable(format!("{AT_ONCE} prefetches run already: try again when one has ended"), 30))?;
        let reader = Reader::new(Arc::clone(self), context.caller.clone(), context.now, None);
        Ok(Prefetch { reader, repo: Arc::clone(repo), wanted, start, _place: Some(place) })
    }

    /// A prefetch that is part of something that has a place.
    pub(super) fn prefetch_beside(self: &Arc<Self>, context: &Context, repo: &Arc<Repo>, wanted: Wanted, start: String) -> Prefetch {
        let reader = Reader::new(Arc::clone(self), context.caller.clone(), context.now, None);
        Prefetch { reader, repo: Arc::clone(repo), wanted, start, _place: None }
    }

    /// Runs a prefetch to its end, whoever waits for it.
    pub(crate) fn run_prefetch(&self, prefetch: Prefetch) -> tokio::task::JoinHandle<Result<Prefetched>> {
        self.runtime.spawn(async move {
            let outcome = prefetch.run().await;
            let (repository, package, version) = (prefetch.repo.address(), &prefetch.wanted.package, &prefetch.wanted.version);
            match &outcome {
                Ok(done) => tracing::info!(%repository, package, version, files = done.files, fetched = done.fetched, bytes = done.bytes, "prefetched"),
                Err(error) => tracing::warn!(%repository, package, version, %error, cause = ?std::error::Error::source(error), "a prefetch failed"),
            }
            outcome
        })
    }
}

impl Prefetch {
    pub(super) async fn run(&self) -> Result<Prefetched> {
        let mut done = Prefetched::default();
        let mut seen = HashSet::from([self.start.clone()]);
        let mut documents = VecDeque::from([self.start.clone()]);
        let mut files = Vec::new();
        while let Some(path) = documents.pop_front() {
            let Some(file) = self.reader.entry(&self.repo, &path).await? else {
                if path == self.start {
                    return Err(Error::not_found(format!("{} {} is not there, upstream neither", self.wanted.package, self.wanted.version)));
                }
                done.missing += 1;
                continue;
            };
            let document = self.whole(&file).await?;
            count(&mut done, &file, document.len() as u64);
            let (format, platforms) = (Arc::clone(&self.repo.format), self.wanted.platforms.clone());
            let needs = entrepot_kit::blocking(move || format.needs(&path, &document, &platforms)).await?;
            for Need { path, document } in needs {
                if !seen.insert(path.clone()) {
                    continue;
                }
                if seen.len() > MOST_FILES {
                    return Err(Error::unprocessable(format!("it needs more than {MOST_FILES} files")));
                }
                if document {
                    documents.push_back(path);
                } else {
                    files.push(path);
                }
            }
        }
        let mut fetches = futures::stream::iter(files.into_iter().map(|path| self.bring(path))).buffer_unordered(AT_ONCE);
        while let Some(outcome) = fetches.next().await {
            match outcome? {
                Some((file, size)) => count(&mut done, &file, size),
                None => done.missing += 1,
            }
        }
        Ok(done)
    }

    /// Waits until a file is kept.
    async fn bring(&self, path: String) -> Result<Option<(File, u64)>> {
        let Some(file) = self.reader.entry(&self.repo, &path).await? else { return Ok(None) };
        let size = size_of(&file).await?;
        Ok(Some((file, size)))
    }

    async fn whole(&self, file: &File) -> Result<Bytes> {
        let reader = file.content.reader().await?;
        entrepot_kit::blocking(move || {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entrepot_kit::LimitedReader::new(reader, MOST_DOCUMENT), &mut bytes)
                .map_err(|_| Error::new(StatusCode::UNPROCESSABLE_ENTITY, "a document of it is too large, or cannot be read"))?;
            Ok(bytes.into())
        })
        .await
    }
}

/// The size of a file, once it is kept.
pub(super) async fn size_of(file: &File) -> Result<u64> {
    if let (Some(_), Some(size)) = (file.entry.digest, file.entry.size) {
        return Ok(size);
    }
    // It is being fetched: a reader is to be had when that has ended well.
    let mut reader = file.content.reader().await?;
    entrepot_kit::blocking(move || std::io::Seek::seek(&mut reader, std::io::SeekFrom::End(0)).map_err(Error::internal)).await
}

fn count(done: &mut Prefetched, file: &File, size: u64) {
    done.files += 1;
    done.bytes += size;
    if file.source == Source::Remote {
        done.fetched += 1;
    }
}
