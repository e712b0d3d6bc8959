//! Bodies on their way in: hashed and written in one pass, readable while they grow.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use entrepot_kit::records::Content;
use entrepot_kit::{Algorithm, Digests, Error, FEW_BYTES, Hasher, ReadSeek, Result, Sha256Digest, Staged};
use parking_lot::Mutex;
use tempfile::TempPath;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::content::{PositionedReader, read_exact_at};
use super::s3::Spooled;
use super::{INLINE_LIMIT, WriteSpec, storage_failed};
use crate::store::model::BlobFacts;

/// Bytes that are handed to a blocking thread at once when nobody reads along.
const BATCH: usize = 512 * 1024;

/// Bodies of this process that are being taken in or wait for their commit.
static BODIES: AtomicI64 = AtomicI64::new(0);

/// How many bodies are being taken in or wait for their commit.
#[must_use]
pub fn bodies() -> i64 {
    BODIES.load(Ordering::Relaxed)
}

/// A body, counted from its first byte until nobody needs it any more.
struct CountedBody;

impl CountedBody {
    fn new() -> Self {
        BODIES.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        BODIES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What readers of a growing body share with its writer.
struct Shared {
    /// The bytes, as long as they are few.
    memory: Mutex<BytesMut>,
    /// The file, once there are more.
    file: OnceLock<Arc<File>>,
    written: watch::Sender<u64>,
}

/// Takes a body in. Dropping it removes what was written.
pub struct BlobWriter {
    shared: Arc<Shared>,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    total: u64,
    limit: u64,
    followed: bool,
    state: State,
    counted: CountedBody,
}

/// The part that travels to blocking threads and back: one batch is worked on while the next arrives.
enum State {
    Idle(Box<Work>),
    /// With the batch, to be freed by the thread that took it in: memory that crosses threads is given back late.
    Busy(JoinHandle<io::Result<(Box<Work>, Vec<Bytes>)>>),
    Broken,
}

struct Work {
    hasher: Hasher,
    folder: PathBuf,
    temporary: Option<TempPath>,
    shared: Arc<Shared>,
}

impl BlobWriter {
    pub(super) fn new(folder: PathBuf, spec: &WriteSpec) -> Self {
        let shared = Arc::new(Shared { memory: Mutex::default(), file: OnceLock::new(), written: watch::Sender::new(0) });
        let work = Work { hasher: Hasher::new(&spec.algorithms), folder, temporary: None, shared: Arc::clone(&shared) };
        Self {
            shared,
            pending: Vec::new(),
            pending_bytes: 0,
            total: 0,
            limit: spec.limit,
            followed: false,
            state: State::Idle(Box::new(work)),
            counted: CountedBody::new(),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// 413 over the limit, 507 when the storage is full.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.total += bytes.len() as u64;
        if self.total > self.limit {
            return Err(Error::too_large(format!("the file is larger than the {} bytes that are allowed", self.limit)));
        }
        self.pending_bytes += bytes.len();
        self.pending.push(bytes);
        let idle = match &self.state {
            State::Busy(work) => work.is_finished(),
            State::Idle(_) | State::Broken => true,
        };
        // Readers who follow get bytes as soon as a thread is free for them; else batches save hops.
        if self.pending_bytes >= BATCH || (self.followed && idle) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Hands what is pending to a blocking thread.
    async fn flush(&mut self) -> Result<()> {
        let mut work = self.settle().await?;
        let batch = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        self.state = State::Busy(tokio::task::spawn_blocking(move || {
            work.take(&batch)?;
            Ok((work, batch))
        }));
        Ok(())
    }

    /// Waits for the batch that is under way.
    async fn settle(&mut self) -> Result<Box<Work>> {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Idle(work) => Ok(work),
            State::Busy(running) => Ok(running.await.map_err(Error::internal)?.map_err(storage_failed)?.0),
            State::Broken => Err(Error::internal("a body was written on after a failure")),
        }
    }

    /// A reader that follows. From now on bytes are passed on as they come.
    #[must_use]
    pub fn tail(&mut self) -> BlobTail {
        self.followed = true;
        BlobTail { shared: Arc::clone(&self.shared) }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// 507 when the storage is full.
    pub async fn finish(mut self) -> Result<StagedBlob> {
        if self.total > FEW_BYTES as u64 {
            self.flush().await?;
        }
        let mut work = *self.settle().await?;
        // Few bytes stay in memory, and are hashed sooner than another thread takes them over.
        work.take(&self.pending).map_err(storage_failed)?;
        let size = work.hasher.size();
        let (digest, digests) = work.hasher.finish();
        let file = self.shared.file.get().cloned();
        let inline = file.is_none().then(|| self.shared.memory.lock().clone().freeze());
        Ok(StagedBlob {
            facts: BlobFacts { digest, size, digests, inline, location: None },
            file,
            temporary: Mutex::new(work.temporary),
            place: OnceLock::new(),
            stored: None,
            learned: Mutex::default(),
            _counted: self.counted,
        })
    }
}

impl Work {
    fn take(&mut self, batch: &[Bytes]) -> io::Result<()> {
        for bytes in batch {
            self.hasher.update(bytes);
            self.append(bytes)?;
        }
        self.shared.written.send_replace(self.hasher.size());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.shared.file.get().is_none() {
            let mut memory = self.shared.memory.lock();
            if (memory.len() + bytes.len()) as u64 <= INLINE_LIMIT {
                memory.extend_from_slice(bytes);
                return Ok(());
            }
            let (mut file, path) = tempfile::Builder::new().prefix("blob-").tempfile_in(&self.folder)?.into_parts();
            file.write_all(&memory)?;
            self.temporary = Some(path);
            // Readers look for the file first: the memory may go once they can find it.
            let _ = self.shared.file.set(Arc::new(file));
            *memory = BytesMut::new();
        }
        self.shared.file.get().map_or(Ok(()), |file| (&**file).write_all(bytes))
    }
}

/// Reads a body while it is written.
#[derive(Clone)]
pub struct BlobTail {
    shared: Arc<Shared>,
}

impl BlobTail {
    /// How many bytes can be read. The channel closes when the writer is gone.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<u64> {
        self.shared.written.subscribe()
    }

    /// Up to `most` bytes at `offset`, all of which must have been written.
    ///
    /// # Errors
    /// Failures of the storage.
    pub async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes> {
        let most = u64::try_from(most).unwrap_or(u64::MAX).min(self.shared.written.borrow().saturating_sub(offset));
        if self.shared.file.get().is_none() {
            let memory = self.shared.memory.lock();
            let start = usize::try_from(offset).map_err(Error::internal)?;
            let end = start.saturating_add(usize::try_from(most).map_err(Error::internal)?);
            // Between the two looks the bytes may have moved to the file.
            if let Some(bytes) = memory.get(start..end) {
                return Ok(Bytes::copy_from_slice(bytes));
            }
        }
        let file = self.shared.file.get().cloned().ok_or_else(|| Error::internal("a body was read further than it was written"))?;
        let read = tokio::task::spawn_blocking(move || read_exact_at(&file, offset, most));
        Ok(read.await.map_err(Error::internal)?.map_err(storage_failed)?.into())
    }
}

/// A body that has ended: hashed, not yet durable. Dropping it removes its file.
pub struct StagedBlob {
    facts: BlobFacts,
    file: Option<Arc<File>>,
    temporary: Mutex<Option<TempPath>>,
    /// Where it became durable.
    place: OnceLock<String>,
    /// Its bytes, when they were stored before it was staged.
    stored: Option<Arc<dyn Content>>,
    /// Digests that were computed after it was staged.
    learned: Mutex<Digests>,
    _counted: CountedBody,
}

impl StagedBlob {
    /// A small body whose bytes are in its facts.
    pub(in crate::store) fn inline(facts: BlobFacts) -> Self {
        Self { facts, file: None, temporary: Mutex::default(), place: OnceLock::new(), stored: None, learned: Mutex::default(), _counted: CountedBody::new() }
    }

    /// A body that is durable already, where its facts say.
    pub(in crate::store) fn stored(facts: BlobFacts, content: Arc<dyn Content>) -> Self {
        let place = facts.location.clone().map(OnceLock::from).unwrap_or_default();
        Self { facts, file: None, temporary: Mutex::default(), place, stored: Some(content), learned: Mutex::default(), _counted: CountedBody::new() }
    }

    /// Digest, size and, for a small one, the bytes.
    #[must_use]
    pub fn facts(&self) -> &BlobFacts {
        &self.facts
    }

    /// These facts with all digests that are known by now.
    #[must_use]
    pub fn with_learned(&self, mut facts: BlobFacts) -> BlobFacts {
        let learned = self.learned.lock();
        for algorithm in learned.algorithms() {
            facts.digests.insert(algorithm, learned.get(algorithm).unwrap_or_default().to_vec());
        }
        facts
    }

    /// What the catalog needs to know once the blob is durable at `location`.
    pub(super) fn placed(&self, location: String) -> BlobFacts {
        let location = self.place.get_or_init(|| location).clone();
        BlobFacts { location: Some(location), ..self.facts.clone() }
    }

    /// The same, when it was made durable before or needs no place.
    pub(super) fn settled(&self) -> Option<BlobFacts> {
        let location = self.place.get().cloned();
        (location.is_some() || self.facts.inline.is_some()).then(|| BlobFacts { location, ..self.facts.clone() })
    }

    /// The spooled file, for a store that sends it elsewhere.
    pub(super) fn spooled(&self) -> Result<Spooled> {
        let path = self.temporary.lock().as_ref().map(|path| path.to_path_buf());
        let spooled = self.file.clone().zip(path).map(|(file, path)| Spooled { file, path });
        spooled.ok_or_else(|| Error::internal("a staged blob without a file"))
    }

    /// The spooled file, given once: whoever takes it moves it to its place.
    pub(super) fn take_file(&self) -> Option<(Arc<File>, TempPath)> {
        let path = self.temporary.lock().take()?;
        self.file.clone().map(|file| (file, path))
    }
}

#[async_trait]
impl Staged for StagedBlob {
    fn digest(&self) -> Sha256Digest {
        self.facts.digest
    }

    fn size(&self) -> u64 {
        self.facts.size
    }

    fn digests(&self) -> &Digests {
        &self.facts.digests
    }

    fn learn(&self, algorithm: Algorithm, digest: &[u8]) {
        self.learned.lock().insert(algorithm, digest.to_vec());
    }

    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        if let Some(content) = &self.stored {
            return content.reader().await;
        }
        match (&self.file, &self.facts.inline) {
            (Some(file), _) => Ok(Box::new(PositionedReader { file: Arc::clone(file), position: 0, size: self.facts.size })),
            (None, Some(bytes)) => Ok(Box::new(io::Cursor::new(bytes.clone()))),
            (None, None) => Err(Error::internal("a staged blob without bytes")),
        }
    }
}
