//! The metadata of a wheel that may be far away: the end of the archive, its directory, and one member are all that is read.

use std::io::{Read as _, SeekFrom};

use bytes::Bytes;
use entrepot_kit::{Error, LimitedReader, ReadSeek, Result};
use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::name::normalise;
use crate::version::same;

/// Largest metadata that is taken out.
const LARGEST: u64 = 4 << 20;
/// Largest directory that is read.
const LARGEST_DIRECTORY: u64 = 12 << 20;
/// The record at the end, and the comment that may follow it.
const END: u64 = 22;
const LONGEST_END: u64 = END + u16::MAX as u64;
/// How long the fixed part of a directory's entry, and of a member's header, is.
const ENTRY: usize = 46;
const HEADER: u64 = 30;
const STORED: u64 = 0;
const DEFLATED: u64 = 8;

fn broken(why: impl std::fmt::Display) -> Error {
    Error::bad_gateway(format!("the upstream's wheel cannot be read: {why}"))
}

/// A little-endian number of so many bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Result<u64> {
    let field = at.checked_add(length).and_then(|end| bytes.get(at..end)).ok_or_else(|| broken("a record ends before its time"))?;
    Ok(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn bytes_at(file: &mut dyn ReadSeek, at: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(broken)?];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes)).map_err(broken)?;
    Ok(bytes)
}

struct Member {
    header: u64,
    packed: u64,
    size: u64,
    method: u64,
    crc: u64,
}

/// Takes `METADATA` out of the wheel of that name.
pub(super) fn metadata(filename: &str, file: &mut dyn ReadSeek) -> Result<Bytes> {
    let directory = directory(file)?;
    let member = find(filename, &directory)?;
    if member.size > LARGEST || member.packed > LARGEST {
        return Err(broken(format!("its metadata has more than {LARGEST} bytes")));
    }
    let header = bytes_at(file, member.header, HEADER)?;
    if !header.starts_with(b"PK\x03\x04") {
        return Err(broken("its directory leads nowhere"));
    }
    let start = member.header + HEADER + number(&header, 26, 2)? + number(&header, 28, 2)?;
    let packed = bytes_at(file, start, member.packed)?;
    let plain = match member.method {
        STORED => packed,
        DEFLATED => {
            let mut plain = Vec::new();
            LimitedReader::new(DeflateDecoder::new(&*packed), member.size).read_to_end(&mut plain).map_err(broken)?;
            plain
        }
        _ => return Err(broken("its metadata is packed in a way that installers do not know")),
    };
    let mut sum = Crc::new();
    sum.update(&plain);
    if plain.len() as u64 != member.size || u64::from(sum.sum()) != member.crc {
        return Err(broken("its metadata is damaged"));
    }
    Ok(plain.into())
}

/// The central directory.
fn directory(file: &mut dyn ReadSeek) -> Result<Vec<u8>> {
    let size = file.seek(SeekFrom::End(0)).map_err(broken)?;
    // What nearly every wheel has: no comment.
    for length in [END, LONGEST_END] {
        let length = length.min(size);
        let tail = bytes_at(file, size - length, length)?;
        let Some(at) = memchr::memmem::rfind(&tail, b"PK\x05\x06") else { continue };
        let (mut length, mut start) = (number(&tail, at + 12, 4)?, number(&tail, at + 16, 4)?);
        if length == u64::from(u32::MAX) || start == u64::from(u32::MAX) {
            let end_at = size - tail.len() as u64 + at as u64;
            let place = bytes_at(file, end_at.checked_sub(20).ok_or_else(|| broken("it is too short"))?, 20)?;
            let record = bytes_at(file, number(&place, 8, 8)?, 56)?;
            if !place.starts_with(b"PK\x06\x07") || !record.starts_with(b"PK\x06\x06") {
                return Err(broken("its end is damaged"));
            }
            (length, start) = (number(&record, 40, 8)?, number(&record, 48, 8)?);
        }
        if length > LARGEST_DIRECTORY || start.checked_add(length).is_none_or(|end| end > size) {
            return Err(broken("its directory is too large, or is not there"));
        }
        return bytes_at(file, start, length);
    }
    Err(broken("it is no ZIP archive"))
}

/// Finds the metadata: of the one folder that has the wheel's name and version.
fn find(filename: &str, directory: &[u8]) -> Result<Member> {
    let mut parts = filename.split('-');
    let (name, version) = (normalise(parts.next().unwrap_or_default()), parts.next().unwrap_or_default());
    let mut found = None;
    let mut at = 0;
    while directory.get(at..).is_some_and(|rest| rest.starts_with(b"PK\x01\x02")) {
        let lengths = [number(directory, at + 28, 2)?, number(directory, at + 30, 2)?, number(directory, at + 32, 2)?];
        let [of_name, of_extra, of_comment] = lengths.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let path = directory.get(at + ENTRY..at + ENTRY + of_name).ok_or_else(|| broken("its directory is cut off"))?;
        let folder = path.strip_suffix(b".dist-info/METADATA").and_then(|folder| std::str::from_utf8(folder).ok());
        let is_ours = folder.and_then(|folder| folder.rsplit_once('-')).is_some_and(|(of, at)| normalise(of) == name && same(at, version));
        if is_ours {
            let member = Member {
                header: number(directory, at + 42, 4)?,
                packed: number(directory, at + 20, 4)?,
                size: number(directory, at + 24, 4)?,
                method: number(directory, at + 10, 2)?,
                crc: number(directory, at + 16, 4)?,
            };
            let member = with_large(member, directory.get(at + ENTRY + of_name..at + ENTRY + of_name + of_extra).unwrap_or_default())?;
            if found.replace(member).is_some() {
                return Err(broken("it has two of its metadata"));
            }
        }
        at += ENTRY + of_name + of_extra + of_comment;
    }
    found.ok_or_else(|| broken("it has no metadata of its name and version"))
}

/// Takes what does not fit into four bytes from where it is then.
fn with_large(mut member: Member, mut extra: &[u8]) -> Result<Member> {
    let large = u64::from(u32::MAX);
    while extra.len() >= 4 {
        let (kind, length) = (number(extra, 0, 2)?, number(extra, 2, 2)?);
        let field = extra.get(4..4 + usize::try_from(length).unwrap_or(usize::MAX)).ok_or_else(|| broken("its directory is cut off"))?;
        if kind == 1 {
            let mut at = 0;
            for value in [&mut member.size, &mut member.packed, &mut member.header] {
                if *value == large {
                    *value = number(field, at, 8)?;
                    at += 8;
                }
            }
        }
        extra = extra.get(4 + field.len()..).unwrap_or_default();
    }
    Ok(member)
}
