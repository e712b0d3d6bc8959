//! `backup`: a snapshot of the catalog and the blobs that it names, while the server runs.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Seek as _, Write};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use entrepot_kit::{ByteStream, Sha256Digest, Timestamp};
use futures::StreamExt as _;
use tokio::runtime::Handle;

use super::archive::{FORMAT, LONGEST_LINE, MANIFEST, Manifest, TableOfArchive, Writer, blob_member, rows_member};
use super::lease::{self, Lease};
use super::{Progress, Result, Storage, TransferError, archive_failed, explained, human, lost, place_of, refused};
use crate::clock::Clock;
use crate::store::blobs::BlobStore;
use crate::store::catalog::tables::{BLOBS, Table};
use crate::store::catalog::transfer::{ExportSink, Row, Snapshot, TableSummary, Value};
use crate::store::model::BlobPlace;

/// Bytes of rows in one member.
const PART: usize = 4 << 20;
/// Blobs that are opened ahead.
const AHEAD: usize = 8;

/// What a backup holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// Rows of all tables.
    pub rows: u64,
    /// Blobs in files of their own.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Blobs whose bytes were lost before, and are not in the archive either.
    pub damaged: u64,
}

/// Writes everything that is stored into an archive, as it is at one moment. The server may run, and publish.
///
/// # Errors
/// When something cannot be read or written; what was written then is not a whole archive.
pub async fn backup<W: Write + Send + 'static>(storage: &Storage, output: W, clock: &Clock, mut progress: Progress) -> Result<(W, BackedUp)> {
    let lease = Arc::new(Lease::take(&lease::GC, &storage.catalog, clock, &mut progress).await?);
    let written = written(storage, output, clock(), Arc::clone(&lease), progress).await;
    let given_back = lease.give_back().await;
    let written = written?;
    given_back?;
    Ok(written)
}

async fn written<W: Write + Send + 'static>(storage: &Storage, output: W, now: Timestamp, lease: Arc<Lease>, progress: Progress) -> Result<(W, BackedUp)> {
    let described = if storage.catalog.is_shared() { "PostgreSQL" } else { "SQLite" };
    let sink = Sink::new(output, now, described, progress).map_err(archive_failed)?;
    let sink = storage.catalog.export(sink).await?;
    let (handle, blobs) = (Handle::current(), Arc::clone(&storage.blobs));
    let written = tokio::task::spawn_blocking(move || sink.blobs(&handle, blobs, &lease));
    written.await.map_err(|cause| refused(format!("the backup was aborted: {cause}")))?
}

/// Takes the tables, and remembers the blobs.
struct Sink<W: Write> {
    writer: Writer<W>,
    time: Timestamp,
    storage: &'static str,
    part: Vec<u8>,
    parts: u32,
    /// The blobs to come, a line each: too many for the memory.
    list: BufWriter<File>,
    listed: u64,
    facts: BackedUp,
    progress: Progress,
}

impl<W: Write> Sink<W> {
    fn new(output: W, time: Timestamp, storage: &'static str, progress: Progress) -> io::Result<Self> {
        let writer = Writer::new(output, time.0);
        let list = BufWriter::new(tempfile::tempfile()?);
        Ok(Self { writer, time, storage, part: Vec::new(), parts: 0, list, listed: 0, facts: BackedUp::default(), progress })
    }

    /// Writes the rows that are gathered.
    fn flush(&mut self, table: &Table) -> io::Result<()> {
        if !self.part.is_empty() {
            self.parts += 1;
            self.writer.member(&rows_member(table.name, self.parts), self.part.len() as u64, self.part.as_slice())?;
            self.part.clear();
        }
        Ok(())
    }

    /// A blob's row: the archive does not say where its bytes were.
    fn blob(&mut self, row: &mut Row) -> io::Result<()> {
        match place_of(row).map_err(io::Error::other)? {
            Some(place) => {
                self.listed += 1;
                writeln!(self.list, "{}", serde_json::json!([place.digest.hex(), place.size, place.location]))?;
            }
            None if row.get(&BLOBS, "inline") == Some(&Value::Null) => self.facts.damaged += 1,
            None => {}
        }
        row.set(&BLOBS, "location", Value::Null);
        Ok(())
    }

    /// Adds the blobs, and closes the archive.
    fn blobs(mut self, handle: &Handle, blobs: Arc<dyn BlobStore>, lease: &Lease) -> Result<(W, BackedUp)> {
        let mut list = self.list.into_inner().map_err(|error| archive_failed(error.into_error()))?;
        list.rewind().map_err(archive_failed)?;
        let places = futures::stream::iter(BufReader::new(list).lines().map(|line| line.map_err(archive_failed).and_then(|line| parse(&line))));
        let mut opened = places
            .map(|place| {
                let blobs = Arc::clone(&blobs);
                async move {
                    let place: BlobPlace = place?;
                    let content = blobs.open(&place).await.map_err(|error| lost(place.digest, &explained(&error)))?;
                    let bytes = content.stream(None).await.map_err(|error| lost(place.digest, &explained(&error)))?;
                    Ok::<_, TransferError>((place, bytes))
                }
            })
            .buffered(AHEAD);
        while let Some(opened) = handle.block_on(opened.next()) {
            let (place, bytes) = opened?;
            lease.check()?;
            let reader = StreamReader { handle: handle.clone(), bytes, part: Bytes::new() };
            let digest = self.writer.member(&blob_member(place.digest), place.size, reader).map_err(|cause| match cause.get_ref() {
                Some(inner) if inner.is::<entrepot_kit::Error>() => lost(place.digest, &cause.to_string()),
                _ => archive_failed(cause),
            })?;
            if Sha256Digest::from_bytes(digest) != place.digest {
                return Err(lost(place.digest, "the stored bytes are others"));
            }
            self.facts.blobs += 1;
            self.facts.blob_bytes += place.size;
            let (facts, listed) = (&self.facts, self.listed);
            self.progress.tick(|| format!("{} of {listed} blobs, {}", facts.blobs, human(facts.blob_bytes)));
        }
        lease.check()?;
        let output = self.writer.close(self.facts.rows, self.facts.blobs, self.facts.blob_bytes).map_err(archive_failed)?;
        Ok((output, self.facts))
    }
}

fn parse(line: &str) -> Result<BlobPlace> {
    let parsed: Option<(String, u64, Option<String>)> = serde_json::from_str(line).ok();
    let place = parsed.and_then(|(hex, size, location)| {
        let digest = <[u8; 32]>::try_from(hex::decode(hex).ok()?).ok()?;
        Some(BlobPlace { digest: Sha256Digest::from_bytes(digest), size, location })
    });
    place.ok_or_else(|| refused("the list of blobs in the temporary folder was changed by somebody"))
}

impl<W: Write + Send + 'static> ExportSink for Sink<W> {
    fn begin(&mut self, snapshot: Snapshot) -> io::Result<()> {
        let described = |summary: TableSummary| TableOfArchive {
            name: summary.table.name.to_owned(),
            columns: summary.table.columns.iter().map(|column| column.name.to_owned()).collect(),
            rows: summary.rows,
            highest: summary.highest,
        };
        let tables = snapshot.tables.into_iter().map(described).collect();
        let manifest = Manifest { format: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned(), time: self.time.0, storage: self.storage.to_owned(), tables };
        self.writer.document(MANIFEST, &manifest)
    }

    fn rows(&mut self, table: &'static Table, rows: Vec<Row>) -> io::Result<()> {
        for mut row in rows {
            if table.name == BLOBS.name {
                self.blob(&mut row)?;
            }
            let line = row.to_line();
            if line.len() as u64 > LONGEST_LINE {
                return Err(io::Error::other(format!("a row of {} has {} bytes, more than fit into an archive", table.name, line.len())));
            }
            self.part.extend_from_slice(line.as_bytes());
            self.facts.rows += 1;
            if self.part.len() >= PART {
                self.flush(table)?;
            }
        }
        let rows = self.facts.rows;
        self.progress.tick(|| format!("{rows} rows, in table {}", table.name));
        Ok(())
    }

    fn end(&mut self, table: &'static Table) -> io::Result<()> {
        self.flush(table)?;
        self.parts = 0;
        Ok(())
    }
}

/// A stream as a reader, on a thread that may block.
struct StreamReader {
    handle: Handle,
    bytes: ByteStream,
    part: Bytes,
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.handle.block_on(self.bytes.next()) {
                Some(part) => self.part = part.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let length = self.part.len().min(buffer.len());
        self.part.copy_to_slice(buffer.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}
