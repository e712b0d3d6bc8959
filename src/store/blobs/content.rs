//! Reading blobs: inline bytes and files.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_kit::records::Content;
use entrepot_kit::{ByteStream, Error, ReadSeek, Result};
use tokio::task::JoinHandle;

use crate::store::blobs::piece;

/// Bytes per read of a file, and the most that is read ahead of a slow client.
const CHUNK: u64 = 256 * 1024;

/// Bytes that are in memory already.
struct Inline(Bytes);

/// Content for bytes from the catalog.
#[must_use]
pub fn inline(bytes: Bytes) -> Arc<dyn Content> {
    Arc::new(Inline(bytes))
}

#[async_trait]
impl Content for Inline {
    fn size(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    fn bytes(&self, range: Range<u64>) -> Option<Bytes> {
        let size = self.0.len();
        let clamp = |at: u64| usize::try_from(at).map_or(size, |at| at.min(size));
        let (start, end) = (clamp(range.start), clamp(range.end));
        Some(self.0.slice(start..end.max(start)))
    }

    async fn stream(&self, range: Option<Range<u64>>) -> Result<ByteStream> {
        let bytes = range.map_or_else(|| Some(self.0.clone()), |range| self.bytes(range)).unwrap_or_default();
        Ok(Box::pin(futures::stream::iter((!bytes.is_empty()).then_some(Ok(bytes)))))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        Ok(Box::new(io::Cursor::new(self.0.clone())))
    }
}

/// A file, read by position so that any number of readers share one handle.
pub(super) struct FileContent {
    file: Arc<File>,
    size: u64,
}

impl FileContent {
    pub(super) fn new(file: Arc<File>, size: u64) -> Self {
        Self { file, size }
    }
}

#[async_trait]
impl Content for FileContent {
    fn size(&self) -> Option<u64> {
        Some(self.size)
    }

    fn file(&self) -> Option<Arc<File>> {
        Some(Arc::clone(&self.file))
    }

    async fn stream(&self, range: Option<Range<u64>>) -> Result<ByteStream> {
        let range = range.unwrap_or(0..self.size);
        let ahead = ReadAhead { file: Arc::clone(&self.file), next: range.start, end: range.end.min(self.size), waits: false, running: None };
        Ok(Box::pin(futures::stream::try_unfold(ahead, |mut ahead| async move { Ok(ahead.chunk().await?.map(|bytes| (bytes, ahead))) })))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        Ok(Box::new(PositionedReader { file: Arc::clone(&self.file), position: 0, size: self.size }))
    }
}

/// Reads a file in order: what the kernel has in memory at once, from where it first has to wait for the disk on blocking threads, one
/// chunk further than the client has taken.
struct ReadAhead {
    file: Arc<File>,
    next: u64,
    end: u64,
    waits: bool,
    running: Option<JoinHandle<io::Result<Vec<u8>>>>,
}

impl ReadAhead {
    fn begin(&mut self) {
        if self.running.is_none() && self.next < self.end {
            let (file, at, length) = (Arc::clone(&self.file), self.next, (self.end - self.next).min(CHUNK));
            self.next += length;
            // Made here, by the thread that will free it: memory that crosses threads is given back late.
            let mut buffer = vec![0; usize::try_from(length).unwrap_or(0)];
            self.running = Some(tokio::task::spawn_blocking(move || {
                file.read_exact_at(&mut buffer, at)?;
                Ok(buffer)
            }));
        }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if !self.waits && self.next < self.end {
            if let Some(bytes) = piece::read_without_waiting(&self.file, self.next, self.end - self.next) {
                self.next += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            self.waits = true;
        }
        self.begin();
        let Some(running) = self.running.take() else { return Ok(None) };
        let bytes = running.await.map_err(Error::internal)?.map_err(Error::internal)?;
        self.begin();
        Ok(Some(bytes.into()))
    }
}

/// Reads exactly `length` bytes: a file that is shorter than its record says is damage, not an end.
pub(super) fn read_exact_at(file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut buffer, at)?;
    Ok(buffer)
}

/// `Read + Seek` over a shared handle.
pub(super) struct PositionedReader {
    pub(super) file: Arc<File>,
    pub(super) position: u64,
    pub(super) size: u64,
}

impl Read for PositionedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for PositionedReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek(to, self.position, self.size)?;
        Ok(self.position)
    }
}

/// Where a seek leads.
pub(super) fn seek(to: SeekFrom, position: u64, size: u64) -> io::Result<u64> {
    let target = match to {
        SeekFrom::Start(at) => Some(at),
        SeekFrom::End(by) => size.checked_add_signed(by),
        SeekFrom::Current(by) => position.checked_add_signed(by),
    };
    target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before the start"))
}
