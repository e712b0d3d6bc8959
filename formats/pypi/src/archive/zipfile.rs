//! ZIP, read strictly: one central directory at the very end, members that fill all that lies before it, each in the place and under the
//! name that the directory says. What two readers could understand in two ways is refused.

use std::collections::HashSet;
use std::io::{BufReader, Read, Seek as _, SeekFrom};

use entrepot_kit::{ChecksumReader, ReadSeek, Result};
use flate2::read::DeflateDecoder;

use super::{MOST_MEMBERS, broken, check_name, refused};

const END_OF_DIRECTORY: &[u8] = b"PK\x05\x06";
const END_OF_LARGE_DIRECTORY: &[u8] = b"PK\x06\x06";
const PLACE_OF_LARGE_END: &[u8] = b"PK\x06\x07";
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const DESCRIPTOR: &[u8] = b"PK\x07\x08";

/// Most bytes of all names together.
const MOST_NAME_BYTES: usize = 16 << 20;
/// Bits of the flags: encrypted, sizes behind the data, strongly encrypted, masked headers.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const SIZES_BEHIND: u16 = 1 << 3;
/// Ways of packing.
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Deflate packs at most 1032 bytes into one.
const BEST_RATIO: u64 = 1032;

const KIND_OF_FILE: u32 = 0o170_000;
const PLAIN_FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// A file of the archive.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its name, which was checked.
    pub(super) name: String,
    /// Its length, unpacked.
    pub(super) size: u64,
    packed: u64,
    method: u16,
    flags: u16,
    crc: u32,
    header: u64,
    /// Where its bytes begin.
    start: u64,
}

/// An archive whose directory was read and found consistent.
pub(super) struct Zip {
    reader: Box<dyn ReadSeek>,
    /// Its files, folders left out.
    pub(super) members: Vec<Member>,
}

/// Where the directory is, and how much of it.
struct Directory {
    start: u64,
    end: u64,
    count: u64,
}

/// Little-endian numbers from the front of some bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&mut self, length: usize) -> Result<u64> {
        let (field, rest) = self.0.split_at_checked(length).ok_or_else(|| refused("a header ends before its time"))?;
        self.0 = rest;
        Ok(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn short(&mut self) -> Result<u16> {
        self.number(2).map(|number| number as u16)
    }

    fn skip(&mut self, length: usize) -> Result<()> {
        self.0 = self.0.get(length..).ok_or_else(|| refused("a header ends before its time"))?;
        Ok(())
    }
}

impl Zip {
    /// Reads the directory, and holds the members against it.
    pub(super) fn open(mut reader: Box<dyn ReadSeek>) -> Result<Self> {
        let size = reader.seek(SeekFrom::End(0)).map_err(|error| broken(&error))?;
        let directory = directory(&mut *reader, size)?;
        let mut members = entries(&mut *reader, &directory)?;
        members.sort_unstable_by_key(|member| member.header);
        check_places(&mut *reader, &mut members, directory.start)?;
        members.retain(|member| !member.name.ends_with('/'));
        Ok(Self { reader, members })
    }

    /// Bytes of all members, unpacked, as the directory says.
    pub(super) fn unpacked(&self) -> u64 {
        self.members.iter().fold(0, |sum, member| sum.saturating_add(member.size))
    }

    /// The bytes of a member, checked against its length and checksum when they end.
    pub(super) fn open_member(&mut self, member: &Member) -> Result<impl Read + '_> {
        self.reader.seek(SeekFrom::Start(member.start)).map_err(|error| broken(&error))?;
        let packed = BufReader::with_capacity(32 << 10, (&mut self.reader).take(member.packed));
        let plain: Box<dyn Read + '_> = if member.method == DEFLATED { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) };
        Ok(ChecksumReader::new(plain, member.size, member.crc))
    }

    /// All bytes of a member of at most `limit`.
    pub(super) fn read(&mut self, member: &Member, limit: u64) -> Result<Vec<u8>> {
        if member.size > limit {
            return Err(refused(format!("{:?} has {} bytes, more than the {limit} that are read of such a file", member.name, member.size)));
        }
        let mut bytes = Vec::new();
        self.open_member(member)?.read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        Ok(bytes)
    }
}

fn bytes_at<const LENGTH: usize>(reader: &mut dyn ReadSeek, position: u64) -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    reader.seek(SeekFrom::Start(position)).and_then(|_| reader.read_exact(&mut bytes)).map_err(|error| broken(&error))?;
    Ok(bytes)
}

/// Finds the directory by the record at the end of the archive. Behind it may be what old tools leave there, their name: a short text in which
/// no other record can hide.
fn directory(reader: &mut dyn ReadSeek, size: u64) -> Result<Directory> {
    const RECORD: usize = 22;
    const LONGEST_COMMENT: usize = 64;
    let length = size.min((RECORD + LONGEST_COMMENT) as u64);
    let mut tail = vec![0; usize::try_from(length).unwrap_or_default()];
    reader.seek(SeekFrom::Start(size - length)).and_then(|_| reader.read_exact(&mut tail)).map_err(|error| broken(&error))?;
    let mut found = memchr::memmem::find_iter(&tail, END_OF_DIRECTORY);
    let missing = || refused("it is no ZIP archive, or something follows its directory");
    let at = found.next().ok_or_else(missing)?;
    if found.next().is_some() {
        return Err(two());
    }
    let end_at = size - length + at as u64;
    let (record, comment) = tail.get(at..).and_then(|rest| rest.split_at_checked(RECORD)).ok_or_else(missing)?;
    let mut fields = Fields(record.get(END_OF_DIRECTORY.len()..).unwrap_or_default());
    let (disk, directory_disk, here, count) = (fields.short()?, fields.short()?, fields.short()?, fields.short()?);
    let (length, start, comment_length) = (fields.number(4)?, fields.number(4)?, fields.short()?);
    if usize::from(comment_length) != comment.len() || !comment.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return Err(missing());
    }
    if disk != 0 || directory_disk != 0 || here != count {
        return Err(refused("it is one part of several"));
    }
    let is_large = count == u16::MAX || length == u64::from(u32::MAX) || start == u64::from(u32::MAX);
    let directory = if is_large {
        large_directory(reader, end_at)?
    } else {
        let end = start.checked_add(length).filter(|end| *end == end_at);
        Directory { start, end: end.ok_or_else(two)?, count: u64::from(count) }
    };
    if directory.count > MOST_MEMBERS as u64 {
        return Err(refused(format!("it has more than {MOST_MEMBERS} members")));
    }
    Ok(directory)
}

fn two() -> entrepot_kit::Error {
    refused("its central directory is not where its end says, or there are two")
}

/// The directory of an archive with more members or bytes than the oldest form can say.
fn large_directory(reader: &mut dyn ReadSeek, end_at: u64) -> Result<Directory> {
    const PLACE: u64 = 20;
    const RECORD: u64 = 56;
    let place_at = end_at.checked_sub(PLACE).ok_or_else(two)?;
    let place: [u8; PLACE as usize] = bytes_at(reader, place_at)?;
    let mut fields = Fields(place.strip_prefix(PLACE_OF_LARGE_END).ok_or_else(two)?);
    let (disk, record_at, disks) = (fields.number(4)?, fields.number(8)?, fields.number(4)?);
    if disk != 0 || disks != 1 || record_at.checked_add(RECORD) != Some(place_at) {
        return Err(two());
    }
    let record: [u8; RECORD as usize] = bytes_at(reader, record_at)?;
    let mut fields = Fields(record.strip_prefix(END_OF_LARGE_DIRECTORY).ok_or_else(two)?);
    let length = fields.number(8)?;
    fields.skip(4)?;
    let (disk, directory_disk, here, count) = (fields.number(4)?, fields.number(4)?, fields.number(8)?, fields.number(8)?);
    let (directory_length, start) = (fields.number(8)?, fields.number(8)?);
    let end = start.checked_add(directory_length).filter(|end| *end == record_at);
    if length != RECORD - 12 || disk != 0 || directory_disk != 0 || here != count {
        return Err(two());
    }
    Ok(Directory { start, end: end.ok_or_else(two)?, count })
}

/// The entries of the directory, which fill it.
fn entries(reader: &mut dyn ReadSeek, directory: &Directory) -> Result<Vec<Member>> {
    reader.seek(SeekFrom::Start(directory.start)).map_err(|error| broken(&error))?;
    let mut source = BufReader::with_capacity(64 << 10, reader).take(directory.end - directory.start);
    let (mut members, mut names, mut name_bytes) = (Vec::new(), HashSet::new(), 0);
    for _ in 0..directory.count {
        let mut fixed = [0; 46];
        source.read_exact(&mut fixed).map_err(|error| broken(&error))?;
        let mut fields = Fields(fixed.strip_prefix(DIRECTORY_ENTRY).ok_or_else(two)?);
        fields.skip(4)?;
        let (flags, method) = (fields.short()?, fields.short()?);
        fields.skip(4)?;
        let (crc, packed, size) = (fields.number(4)? as u32, fields.number(4)?, fields.number(4)?);
        let (name_length, extra_length, comment_length) = (fields.short()?, fields.short()?, fields.short()?);
        fields.skip(4)?;
        let (attributes, header) = (fields.number(4)?, fields.number(4)?);
        let mut take = |length: u16| {
            let mut bytes = vec![0; usize::from(length)];
            source.read_exact(&mut bytes).map(|()| bytes).map_err(|error| broken(&error))
        };
        let (name, extra, _) = (take(name_length)?, take(extra_length)?, take(comment_length)?);
        let name = String::from_utf8(name).map_err(|_| refused("it has a name that is not UTF-8"))?;
        let mut member = Member { name, size, packed, method, flags, crc, header, start: 0 };
        member.widen(&extra)?;
        member.check(attributes as u32 >> 16)?;
        name_bytes += member.name.len();
        if name_bytes > MOST_NAME_BYTES {
            return Err(refused("its names are too long"));
        }
        if !names.insert(member.name.trim_end_matches('/').to_owned()) {
            return Err(refused(format!("it has {:?} twice", member.name)));
        }
        members.push(member);
    }
    if source.limit() > 0 {
        return Err(two());
    }
    Ok(members)
}

impl Member {
    /// Takes the numbers that did not fit from the field that has them.
    fn widen(&mut self, extra: &[u8]) -> Result<()> {
        const LARGE: u16 = 1;
        let missing = u64::from(u32::MAX);
        let mut wanted: Vec<&mut u64> = [&mut self.size, &mut self.packed, &mut self.header].into_iter().filter(|number| **number == missing).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut fields = Fields(extra);
        while !fields.0.is_empty() {
            let (kind, length) = (fields.short()?, fields.short()?);
            if kind != LARGE {
                fields.skip(usize::from(length))?;
                continue;
            }
            for number in wanted.drain(..) {
                *number = fields.number(8)?;
            }
            return Ok(());
        }
        Err(refused("a member does not say how large it is"))
    }

    fn check(&self, mode: u32) -> Result<()> {
        check_name(self.name.strip_suffix('/').unwrap_or(&self.name))?;
        let refuse = |why: &str| Err(refused(format!("{:?} is {why}", self.name)));
        let kind = mode & KIND_OF_FILE;
        let expected = if self.name.ends_with('/') { FOLDER } else { PLAIN_FILE };
        if kind != 0 && kind != expected {
            return refuse("a link, a device or another special file");
        }
        if self.flags & ENCRYPTED != 0 {
            return refuse("encrypted");
        }
        if self.method != STORED && self.method != DEFLATED {
            return refuse("packed in a way that not every installer can read: only stored and deflated members are");
        }
        if (self.method == STORED && self.packed != self.size) || self.size / BEST_RATIO > self.packed {
            return refuse("of another size than it says");
        }
        if self.name.ends_with('/') && self.size > 0 {
            return refuse("a folder with bytes in it");
        }
        Ok(())
    }
}

/// Members lie one behind the other from the first byte to the directory, each with a header that agrees with it.
fn check_places(reader: &mut dyn ReadSeek, members: &mut [Member], end: u64) -> Result<()> {
    const HEADER: u64 = 30;
    let gap = || refused("there are bytes between its members that belong to none, or members that lie in each other");
    let mut next_headers: Vec<u64> = members.iter().skip(1).map(|member| member.header).collect();
    next_headers.push(end);
    let mut expected = 0;
    for (member, next) in members.iter_mut().zip(next_headers) {
        if member.header != expected {
            return Err(gap());
        }
        let header: [u8; HEADER as usize] = bytes_at(reader, member.header)?;
        let mut fields = Fields(header.strip_prefix(LOCAL_HEADER).ok_or_else(gap)?);
        fields.skip(2)?;
        let (flags, method) = (fields.short()?, fields.short()?);
        fields.skip(4)?;
        let (crc, packed, size) = (fields.number(4)? as u32, fields.number(4)?, fields.number(4)?);
        let (name_length, extra_length) = (fields.short()?, fields.short()?);
        let mut name = vec![0; usize::from(name_length)];
        reader.read_exact(&mut name).map_err(|error| broken(&error))?;
        let said = |number: u64| number != u64::from(u32::MAX);
        let sizes_agree = (!said(packed) || packed == member.packed) && (!said(size) || size == member.size) && crc == member.crc;
        let are_behind = flags & SIZES_BEHIND != 0;
        if name != member.name.as_bytes() || method != member.method || (flags ^ member.flags) & (ENCRYPTED | SIZES_BEHIND) != 0 || !(sizes_agree || are_behind)
        {
            return Err(refused(format!("{:?} is described in two ways", member.name)));
        }
        member.start = member.header + HEADER + u64::from(name_length) + u64::from(extra_length);
        let after = member.start.checked_add(member.packed).filter(|after| *after <= end).ok_or_else(gap)?;
        expected = if are_behind { behind_descriptor(reader, member, after, next)? } else { after };
    }
    if expected != end {
        return Err(gap());
    }
    Ok(())
}

/// Sizes behind the data end where the next member begins, and say what the directory says.
fn behind_descriptor(reader: &mut dyn ReadSeek, member: &Member, after: u64, next: u64) -> Result<u64> {
    let disagree = || refused(format!("{:?} is described in two ways", member.name));
    let (marked, width) = match next.checked_sub(after) {
        Some(12) => (false, 4),
        Some(16) => (true, 4),
        Some(20) => (false, 8),
        Some(24) => (true, 8),
        _ => return Err(refused("there are bytes between its members that belong to none, or members that lie in each other")),
    };
    let mut bytes = vec![0; if marked { 8 } else { 4 } + 2 * width];
    reader.seek(SeekFrom::Start(after)).and_then(|_| reader.read_exact(&mut bytes)).map_err(|error| broken(&error))?;
    let mut fields = Fields(if marked { bytes.strip_prefix(DESCRIPTOR).ok_or_else(disagree)? } else { &bytes });
    if (fields.number(4)? as u32, fields.number(width)?, fields.number(width)?) != (member.crc, member.packed, member.size) {
        return Err(disagree());
    }
    Ok(next)
}
