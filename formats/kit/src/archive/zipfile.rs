//! ZIP: the central directory says what there is, and each entry is read from its own place.

use std::io::{self, Read, Seek as _, SeekFrom};

use flate2::read::DeflateDecoder;
use zip::CompressionMethod;
use zip::read::Config;
use zip::unstable::read::ZipIterable;

use super::window::Window;
use super::{MOST_MEMBERS, Member, Place, broken};
use crate::error::{Error, Result};
use crate::limit::ChecksumReader;
use crate::path::check_segments;
use crate::records::ReadSeek;

/// The fixed part of a local header, and where its two lengths stand.
const LOCAL_HEADER: usize = 30;
const LOCAL_SIGNATURE: [u8; 4] = *b"PK\x03\x04";

const KIND_OF_FILE: u32 = 0o170_000;
const PLAIN_FILE: u32 = 0o100_000;

/// Deflate packs at most 1032 bytes into one.
const BEST_RATIO: u64 = 1032;

pub(super) fn walk(reader: Box<dyn ReadSeek>, visit: &mut dyn FnMut(Member) -> Result<()>) -> Result<()> {
    let window = Window::new(reader).map_err(|error| broken(&error))?;
    let mut archive = ZipIterable::try_new(window, Config::default()).map_err(refused)?;
    if archive.len() > MOST_MEMBERS {
        return Err(Error::unprocessable(format!("the archive has more than {MOST_MEMBERS} entries")));
    }
    for entry in archive.files().map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let path = entry.name().map_err(refused)?.into_owned();
        let kind = entry.unix_mode().unwrap_or_default() & KIND_OF_FILE;
        let (packed, size) = (entry.compressed_size(), entry.size());
        let method = entry.compression();
        let place = if entry.encrypted() {
            Place::Refused("encrypted")
        } else if entry.is_symlink() {
            Place::Refused("a link")
        } else if entry.is_dir() {
            // The name of a folder is checked like any other.
            visit_folder(&path, visit)?;
            continue;
        } else if kind != 0 && kind != PLAIN_FILE {
            Place::Refused("a device or another special file")
        } else if !matches!(method, CompressionMethod::Stored | CompressionMethod::Deflated) {
            Place::Refused("packed by a method that is not read here")
        } else if (method == CompressionMethod::Stored && packed != size) || size / BEST_RATIO > packed {
            Place::Refused("of another size than it says")
        } else {
            Place::Zip { header: entry.header_start(), packed, deflated: method == CompressionMethod::Deflated, crc: entry.crc32() }
        };
        visit(Member { path, size, place })?;
    }
    Ok(())
}

/// Folders are not members; a hostile one still condemns the archive.
fn visit_folder(path: &str, visit: &mut dyn FnMut(Member) -> Result<()>) -> Result<()> {
    let name = path.trim_end_matches('/');
    let named = name.strip_prefix("./").unwrap_or(name);
    if named.is_empty() || named == "." || check_segments(named).is_ok() {
        return Ok(());
    }
    visit(Member { path: path.to_owned(), size: 0, place: Place::Refused("a folder") })
}

pub(super) fn open(reader: Box<dyn ReadSeek>, header: u64, packed: u64, deflated: bool, crc: u32, size: u64) -> Result<Box<dyn Read + Send>> {
    let mut window = Window::new(reader).map_err(|error| broken(&error))?;
    let start = (|| {
        window.seek(SeekFrom::Start(header))?;
        let mut local = [0; LOCAL_HEADER];
        window.read_exact(&mut local)?;
        let length = |at: usize| local.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map_or(0, |bytes| u64::from(u16::from_le_bytes(bytes)));
        if !local.starts_with(&LOCAL_SIGNATURE) {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let start = header + LOCAL_HEADER as u64 + length(26) + length(28);
        window.seek(SeekFrom::Start(start))
    })();
    start.map_err(|error| broken(&error))?;
    let bytes = window.take(packed);
    let plain: Box<dyn Read + Send> = if deflated { Box::new(DeflateDecoder::new(bytes)) } else { Box::new(bytes) };
    Ok(Box::new(ChecksumReader::new(plain, size, crc)))
}

fn refused(error: zip::result::ZipError) -> Error {
    match error {
        zip::result::ZipError::Io(error) => broken(&error),
        other => Error::unprocessable(format!("the ZIP archive cannot be read: {other}")),
    }
}
