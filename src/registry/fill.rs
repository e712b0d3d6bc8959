//! Fetching from upstream: one fill per path however many ask. It belongs to the server, not to the client that started it;
//! readers follow it while it runs; the end is held back until the digest and the commit are good.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_kit::records::Content;
use entrepot_kit::{ByteStream, Error, ReadSeek, Result, Source};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::registry::Engine;
use crate::store::blobs::BlobTail;
use crate::store::model::StoredEntry;

/// The end of a body that readers get only once it is verified and kept: a wrong body never looks like a whole one.
const HELD_BACK: u64 = 16 * 1024;
/// Bytes read at once by a reader that follows.
const CHUNK: usize = 256 * 1024;

/// What upstream said before the body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub(crate) length: Option<u64>,
    pub(crate) content_type: Option<String>,
}

/// How a fill stands.
#[derive(Clone)]
pub(crate) enum Progress {
    /// Upstream was asked and has not answered.
    Asking,
    /// Bytes arrive.
    Running(Head, BlobTail),
    /// Kept, or found to be unchanged, or past its time while upstream is away.
    Done(Arc<StoredEntry>, Source),
    /// Upstream has no such thing.
    Missing,
    /// It failed; everyone who waits gets the same answer.
    Failed(Arc<Error>),
}

/// The fills that run.
#[derive(Default)]
pub(crate) struct Fills {
    running: Mutex<HashMap<(i64, String), watch::Receiver<Progress>>>,
}

impl Engine {
    /// How many fills run.
    pub(crate) fn running_fills(&self) -> usize {
        self.fills.running.lock().len()
    }

    /// Follows the fill of a path, or starts it.
    pub(crate) fn fill<F>(self: &Arc<Self>, repository: i64, path: &str, work: impl FnOnce(watch::Sender<Progress>) -> F) -> watch::Receiver<Progress>
    where
        F: Future<Output = Progress> + Send + 'static,
    {
        let key = (repository, path.to_owned());
        let mut running = self.fills.running.lock();
        if let Some(progress) = running.get(&key) {
            return progress.clone();
        }
        let (sender, receiver) = watch::channel(Progress::Asking);
        running.insert(key.clone(), receiver.clone());
        drop(running);
        let work = work(sender.clone());
        let engine = Arc::clone(self);
        self.runtime.spawn(async move {
            // The inner task, so that a panic ends the fill with an error instead of leaving everyone to wait.
            let outcome = engine.runtime.spawn(work).await.unwrap_or_else(|cause| Progress::Failed(Arc::new(Error::internal(cause))));
            // First out of the list, then the news: whoever asks from now on finds what was kept.
            engine.fills.running.lock().remove(&key);
            sender.send_replace(outcome);
        });
        receiver
    }
}

/// The error of a failed fill for one more of its readers.
pub(crate) fn again(error: &Error) -> Error {
    let copy = Error::new(error.status(), error.message());
    error.retry_after().map_or_else(|| Error::new(error.status(), error.message()), |seconds| copy.with_retry_after(seconds))
}

/// The content of a file that is being fetched.
pub(crate) struct FillContent {
    engine: Arc<Engine>,
    progress: watch::Receiver<Progress>,
    size: Option<u64>,
}

impl FillContent {
    pub(crate) fn new(engine: Arc<Engine>, progress: watch::Receiver<Progress>, size: Option<u64>) -> Self {
        Self { engine, progress, size }
    }

    async fn finished(&self) -> Result<Arc<StoredEntry>> {
        let mut progress = self.progress.clone();
        let state = progress.wait_for(|state| !matches!(state, Progress::Asking | Progress::Running(..))).await.map_err(Error::internal)?.clone();
        match state {
            Progress::Done(stored, _) => Ok(stored),
            Progress::Failed(error) => Err(again(&error)),
            _ => Err(Error::bad_gateway("the upstream has no such file")),
        }
    }
}

/// A reader's place in a fill.
struct Follower {
    engine: Arc<Engine>,
    progress: watch::Receiver<Progress>,
    offset: u64,
    end: u64,
    /// The stored file, once there is one.
    rest: Option<ByteStream>,
}

impl Follower {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        use futures::StreamExt as _;
        loop {
            if let Some(rest) = &mut self.rest {
                return rest.next().await.transpose();
            }
            if self.offset >= self.end {
                return Ok(None);
            }
            let state = self.progress.borrow_and_update().clone();
            match state {
                Progress::Asking => self.progress.changed().await.map_err(Error::internal)?,
                Progress::Running(_, tail) => {
                    let mut written = tail.written();
                    let ready = written.borrow_and_update().saturating_sub(HELD_BACK).min(self.end);
                    if ready > self.offset {
                        let most = usize::try_from(ready - self.offset).unwrap_or(CHUNK).min(CHUNK);
                        let bytes = tail.read_at(self.offset, most).await?;
                        self.offset += bytes.len() as u64;
                        return Ok(Some(bytes));
                    }
                    tokio::select! {
                        changed = self.progress.changed() => changed.map_err(Error::internal)?,
                        // A writer that is gone has its outcome on the way.
                        Ok(()) = written.changed() => {}
                    }
                }
                Progress::Done(stored, _) => {
                    let end = self.end.min(stored.entry.size.unwrap_or(self.end));
                    self.rest = Some(self.engine.content(&stored).await?.stream(Some(self.offset.min(end)..end)).await?);
                }
                Progress::Missing => return Err(Error::bad_gateway("the upstream has no such file")),
                Progress::Failed(error) => return Err(again(&error)),
            }
        }
    }
}

#[async_trait]
impl Content for FillContent {
    fn size(&self) -> Option<u64> {
        self.size
    }

    async fn stream(&self, range: Option<Range<u64>>) -> Result<ByteStream> {
        if self.size == Some(0) {
            // There is nothing to hold back: whether nothing is right is known at the end only.
            drop(self.finished().await?);
        }
        let range = range.unwrap_or(0..self.size.unwrap_or(u64::MAX));
        let follower = Follower { engine: Arc::clone(&self.engine), progress: self.progress.clone(), offset: range.start, end: range.end, rest: None };
        Ok(Box::pin(futures::stream::try_unfold(follower, |mut follower| async move { Ok(follower.next().await?.map(|bytes| (bytes, follower))) })))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        let stored = self.finished().await?;
        self.engine.content(&stored).await?.reader().await
    }
}
