//! Documents that are put together of compressed parts: gzip members and zstd frames may follow one another. Where a part ends depends on what
//! is in it, so that a package that comes or goes changes one part of a document, and the others need not be compressed again.

use std::collections::{HashMap, VecDeque};
use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use entrepot_kit::{Document, Error, Hasher, Result, Sha256Digest, Timestamp};
use flate2::{Compress, FlushCompress, Status};

use super::{Compression, Kind};
use crate::xml::HREF;

/// Bytes of a part, before compression: at least, and at most (and one package).
const LEAST: usize = 64 << 10;
const MOST: usize = 1 << 20;
/// One package of so many ends a part that has [`LEAST`] bytes.
const ONE_OF: u64 = 16;
/// Of the metadata of 10,000 packages, 61 MB, level 6 makes 4.65 MB in twice the time that level 4 takes for 4.84, and level 2 makes 5.29 in half of it.
const GZIP_LEVEL: u32 = 4;
/// The largest window that gzip has.
const WINDOW_BITS: u8 = 15;
/// Where a gzip member says which system made it, and what says none.
const SYSTEM: usize = 9;
const UNKNOWN_SYSTEM: u8 = 255;
/// Of the same, level 9 makes 3.31 MB in six times as long as level 3 takes for 3.28.
const ZSTD_LEVEL: i32 = 3;
/// Bytes of compressed parts that are remembered.
const REMEMBERED: usize = 32 << 20;
/// What stands behind a document in memory: its SHA-256, that of its plain form, and the length of that.
const TRAILER: usize = 32 + 32 + 8;

/// Parts that were compressed, by the digest of their plain form.
#[derive(Default)]
struct Memory {
    parts: HashMap<(Sha256Digest, Compression), Bytes>,
    order: VecDeque<(Sha256Digest, Compression)>,
    bytes: usize,
}

/// A pure function's results: the same for every repository.
static MEMORY: LazyLock<Mutex<Memory>> = LazyLock::new(Mutex::default);

impl Memory {
    /// Compresses a part, unless that was done before.
    fn compressed(plain: &[u8], compression: Compression, press: &mut Press) -> Result<Bytes> {
        let key = (Sha256Digest::of(plain), compression);
        if let Some(known) = MEMORY.lock().unwrap_or_else(PoisonError::into_inner).parts.get(&key) {
            return Ok(known.clone());
        }
        let part = Bytes::copy_from_slice(press.compress(plain)?);
        let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.parts.insert(key, part.clone()).is_none() {
            memory.order.push_back(key);
            memory.bytes += part.len();
        }
        while memory.bytes > REMEMBERED {
            let Some(oldest) = memory.order.pop_front() else { break };
            let gone = memory.parts.remove(&oldest).map_or(0, |part| part.len());
            memory.bytes = memory.bytes.saturating_sub(gone);
        }
        Ok(part)
    }
}

/// Compresses one part after the other, all in the same memory: new memory for each would have to be cleared.
struct Press {
    method: Method,
    out: Vec<u8>,
}

enum Method {
    Gzip(Compress),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Press {
    fn new(compression: Compression) -> Result<Self> {
        let method = match compression {
            Compression::Gzip => Method::Gzip(Compress::new_gzip(flate2::Compression::new(GZIP_LEVEL), WINDOW_BITS)),
            Compression::Zstd => Method::Zstd(zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(Error::internal)?),
        };
        Ok(Self { method, out: Vec::new() })
    }

    /// One gzip member or zstd frame.
    fn compress(&mut self, plain: &[u8]) -> Result<&[u8]> {
        self.out.clear();
        match &mut self.method {
            Method::Gzip(deflate) => {
                deflate.reset();
                let mut rest = plain;
                loop {
                    self.out.reserve(rest.len() / 8 + 1024);
                    let before = deflate.total_in();
                    let status = deflate.compress_vec(rest, &mut self.out, FlushCompress::Finish).map_err(Error::internal)?;
                    if status == Status::StreamEnd {
                        break;
                    }
                    let taken = usize::try_from(deflate.total_in() - before).map_err(Error::internal)?;
                    rest = rest.get(taken..).unwrap_or_default();
                }
                // The same bytes on every system, so that replicas call a document by the same name.
                if let Some(system) = self.out.get_mut(SYSTEM) {
                    *system = UNKNOWN_SYSTEM;
                }
            }
            Method::Zstd(frames) => {
                self.out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
                frames.compress_to_buffer(plain, &mut self.out).map_err(Error::internal)?;
            }
        }
        Ok(&self.out)
    }
}

/// Compresses a whole file.
///
/// # Errors
/// 500 when that fails.
pub(crate) fn whole(plain: &[u8]) -> Result<Vec<u8>> {
    let mut press = Press::new(Compression::Gzip)?;
    press.compress(plain)?;
    Ok(press.out)
}

/// Makes a document, package by package.
pub(crate) struct Compressor {
    kind: Kind,
    compression: Compression,
    press: Press,
    /// The part that is under way.
    plain: Vec<u8>,
    open: Hasher,
    made: Vec<u8>,
}

impl Compressor {
    /// A document of so many packages.
    pub(crate) fn new(kind: Kind, compression: Compression, packages: u64) -> Result<Self> {
        let plain = kind.beginning(packages).into_bytes();
        let mut begun = Self { kind, compression, press: Press::new(compression)?, plain, open: Hasher::new(&[]), made: Vec::new() };
        // A part of its own: the number changes with every package.
        begun.flush()?;
        Ok(begun)
    }

    fn flush(&mut self) -> Result<()> {
        self.open.update(&self.plain);
        let part = Memory::compressed(&self.plain, self.compression, &mut self.press)?;
        self.made.extend_from_slice(&part);
        self.plain.clear();
        Ok(())
    }

    /// Adds the piece of a package that is at `href`.
    pub(crate) fn add(&mut self, piece: &[u8], href: &str) -> Result<()> {
        // No other document says where a package is.
        let mark = if self.kind == Kind::Primary { memchr::memchr(HREF, piece) } else { None };
        match mark.and_then(|at| Some((piece.get(..at)?, piece.get(at + 1..)?))) {
            Some((before, behind)) => {
                self.plain.extend_from_slice(before);
                self.plain.extend_from_slice(crate::xml::escape_href(href).as_bytes());
                self.plain.extend_from_slice(behind);
            }
            None => self.plain.extend_from_slice(piece),
        }
        // FNV-1a: the same on every machine, and of nobody's choosing but the packager's, who gains nothing.
        let hash = href.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        if self.plain.len() >= MOST || (self.plain.len() >= LEAST && (hash >> 32).is_multiple_of(ONE_OF)) {
            self.flush()?;
        }
        Ok(())
    }

    /// Ends the document.
    pub(crate) fn finish(mut self, modified: Timestamp) -> Result<Document> {
        self.plain.extend_from_slice(self.kind.end().as_bytes());
        self.flush()?;
        let (open, open_size) = (&self.open.size(), self.open);
        let (open_size, (open, _)) = (*open, open_size.finish());
        let sha256 = Sha256Digest::of(&self.made);
        self.made.extend_from_slice(sha256.as_bytes());
        self.made.extend_from_slice(open.as_bytes());
        self.made.extend_from_slice(&open_size.to_be_bytes());
        Ok(Document::new(self.made, self.compression.media_type(), Some(modified)))
    }
}

/// A document as it is sent, and what `repomd.xml` says of it.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// Their SHA-256.
    pub(crate) sha256: Sha256Digest,
    /// That of its plain form.
    pub(crate) open: Sha256Digest,
    /// The length of that.
    pub(crate) open_size: u64,
}

impl Part {
    /// What [`Compressor::finish`] made.
    pub(crate) fn of(document: &Document) -> Result<Self> {
        let broken = || Error::internal("a document of metadata has no end");
        let length = document.body.len().checked_sub(TRAILER).ok_or_else(broken)?;
        let digest = |at: usize| document.body.get(length + at..length + at + 32).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let size = document.body.get(length + 64..).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        Ok(Self {
            bytes: document.body.slice(..length),
            sha256: digest(0).map(Sha256Digest::from_bytes).ok_or_else(broken)?,
            open: digest(32).map(Sha256Digest::from_bytes).ok_or_else(broken)?,
            open_size: size.map(u64::from_be_bytes).ok_or_else(broken)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use entrepot_kit::{Sha256Digest, Timestamp};

    use super::{Compression, Compressor, Kind, Part};

    fn made(compression: Compression, packages: u64) -> Part {
        let mut compressor = Compressor::new(Kind::Primary, compression, packages).unwrap();
        for number in 0..packages {
            let piece = format!("<package><name>p{number}</name><location href=\"\u{1}\"/>{}</package>\n", "<x/>".repeat(500));
            compressor.add(piece.as_bytes(), &format!("a&b/p{number}.rpm")).unwrap();
        }
        Part::of(&compressor.finish(Timestamp(0)).unwrap()).unwrap()
    }

    #[test]
    fn parts_join_to_one_document_in_both_forms() {
        for packages in [0, 1, 500] {
            let (gzip, zstd) = (made(Compression::Gzip, packages), made(Compression::Zstd, packages));
            let mut plain = String::new();
            flate2::read::MultiGzDecoder::new(&*gzip.bytes).read_to_string(&mut plain).unwrap();
            assert_eq!(zstd::decode_all(&*zstd.bytes).unwrap(), plain.as_bytes());
            assert!(plain.contains(&format!("packages=\"{packages}\"")) && plain.ends_with("</metadata>"));
            assert_eq!(plain.matches("href=\"a&amp;b/p").count() as u64, packages);
            for part in [&gzip, &zstd] {
                assert_eq!((part.sha256, part.open, part.open_size), (Sha256Digest::of(&part.bytes), Sha256Digest::of(plain.as_bytes()), plain.len() as u64));
            }
            assert_eq!(gzip.bytes, made(Compression::Gzip, packages).bytes);
            assert_eq!(gzip.bytes.get(..10), Some(&[31, 139, 8, 0, 0, 0, 0, 0, 0, 255][..]));
        }
    }

    #[test]
    fn one_more_package_changes_little() {
        let (before, after) = (made(Compression::Gzip, 500), made(Compression::Gzip, 501));
        let same = before.bytes.iter().rev().zip(after.bytes.iter().rev()).take_while(|(one, other)| one == other).count();
        let begins = before.bytes.iter().zip(&after.bytes).skip(200).take_while(|(one, other)| one == other).count();
        assert!(begins + same > before.bytes.len() / 2, "{begins} and {same} of {}", before.bytes.len());
    }
}
