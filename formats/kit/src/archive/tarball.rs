//! Tar, plain or packed with gzip: read from the front, in one pass, with long names held to a limit.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType, PaxExtensions};

use super::window::Window;
use super::{Member, Place, broken};
use crate::error::{Error, Result};
use crate::limit::LimitedReader;
use crate::path::check_segments;
use crate::records::ReadSeek;

/// Most bytes that a packed archive may unpack to: some, and a factor that real ones stay below.
const ALWAYS_ALLOWED: u64 = 64 << 20;
const BEST_FACTOR: u64 = 250;
const MOST_UNPACKED: u64 = 4 << 30;

/// Longest name, and longest record of extended headers.
const LONGEST_RECORD: u64 = 64 * 1024;

/// How much a packed archive of that size may unpack to.
pub(super) fn bound(size: u64) -> u64 {
    size.saturating_mul(BEST_FACTOR).saturating_add(ALWAYS_ALLOWED).min(MOST_UNPACKED)
}

/// The tar inside a gzip file; reading more than its bound fails.
pub(super) fn unpacked(reader: Box<dyn ReadSeek>, size: u64) -> impl Read + Send {
    LimitedReader::new(MultiGzDecoder::new(reader), bound(size))
}

pub(super) fn walk(reader: impl Read, limit: u64, visit: &mut dyn FnMut(Member) -> Result<()>) -> Result<()> {
    let mut archive = Archive::new(LimitedReader::new(reader, limit));
    let mut long_name: Option<String> = None;
    let mut headers = 0_usize;
    for entry in archive.entries().map_err(|error| broken(&error))?.raw(true) {
        let mut entry = entry.map_err(|error| broken(&error))?;
        headers += 1;
        // Each member has at most a few headers of its own in front.
        if headers > 4 * super::MOST_MEMBERS {
            return Err(Error::unprocessable("the archive has too many entries"));
        }
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => {
                let record = record(&mut entry)?;
                long_name = Some(text(record.split(|byte| *byte == 0).next().unwrap_or_default())?);
                continue;
            }
            EntryType::XHeader => {
                if let Some(name) = extended_name(&record(&mut entry)?)? {
                    long_name = Some(name);
                }
                continue;
            }
            EntryType::GNULongLink | EntryType::XGlobalHeader => continue,
            _ => {}
        }
        let path = match long_name.take() {
            Some(name) => name,
            None => text(&entry.path_bytes())?,
        };
        if kind == EntryType::Directory || (kind.is_file() && path.ends_with('/')) {
            let name = path.trim_end_matches('/');
            let named = name.strip_prefix("./").unwrap_or(name);
            if named.is_empty() || named == "." || check_segments(named).is_ok() {
                continue;
            }
        }
        let place = match kind {
            EntryType::Regular | EntryType::Continuous => Place::Tar { offset: entry.raw_file_position() },
            EntryType::Directory => Place::Refused("a folder"),
            EntryType::Symlink | EntryType::Link => Place::Refused("a link"),
            _ => Place::Refused("a device or another special file"),
        };
        visit(Member { path, size: entry.size(), place })?;
    }
    Ok(())
}

/// The whole of a header that extends the next one.
fn record(entry: &mut impl Read) -> Result<Vec<u8>> {
    let mut record = Vec::new();
    LimitedReader::new(entry, LONGEST_RECORD).read_to_end(&mut record).map_err(|error| broken(&error))?;
    Ok(record)
}

/// The name that an extended header gives to the next entry. One that gives it another size is not read: readers disagree on it.
fn extended_name(record: &[u8]) -> Result<Option<String>> {
    let mut name = None;
    for extension in PaxExtensions::new(record) {
        let extension = extension.map_err(|error| broken(&error))?;
        match extension.key_bytes() {
            b"path" => name = Some(text(extension.value_bytes())?),
            b"size" => return Err(Error::unprocessable("the archive has entries with sizes in extended headers, which are not read here")),
            key if key.starts_with(b"GNU.sparse") => return Err(Error::unprocessable("the archive has sparse files, which are not read here")),
            _ => {}
        }
    }
    Ok(name)
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::unprocessable("the archive has a name that is not UTF-8"))
}

pub(super) fn open(mut reader: impl Read + Send + 'static, offset: u64, size: u64) -> Result<Box<dyn Read + Send>> {
    let skipped = io::copy(&mut reader.by_ref().take(offset), &mut io::sink()).map_err(|error| broken(&error))?;
    if skipped < offset {
        return Err(broken(&io::Error::from(io::ErrorKind::UnexpectedEof)));
    }
    Ok(Box::new(Whole { inner: reader.take(size), left: size }))
}

/// A reader that fails, rather than ends, before it gave as many bytes as the header says.
struct Whole<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.left = self.left.saturating_sub(read as u64);
        if read == 0 && !out.is_empty() && self.left > 0 { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) } else { Ok(read) }
    }
}

/// A plain tar read through a buffer.
pub(super) fn plain(reader: Box<dyn ReadSeek>) -> Result<Window> {
    Window::new(reader).map_err(|error| broken(&error))
}
