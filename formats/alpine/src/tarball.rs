//! Tar: the segments of packages, walked within limits; those of indexes, written.

use std::io::{self, Read};

use entrepot_kit::{Error, LimitedReader, Result};
use tar::{Archive, EntryType, Header, PaxExtensions};

/// Most entries of a segment.
const MOST_ENTRIES: usize = 500_000;
/// Longest record of extended headers.
const LONGEST_RECORD: u64 = 64 << 10;
/// The bytes of a block.
const BLOCK: usize = 512;

/// An entry that is shown to whoever walks a segment.
pub(crate) struct Entry<'a> {
    /// Its name, as it is written there.
    pub(crate) name: &'a str,
    /// What it is.
    pub(crate) kind: EntryType,
    /// Where a link leads to.
    pub(crate) link: Option<&'a str>,
    /// Its length.
    pub(crate) length: u64,
    /// Its bytes.
    pub(crate) content: &'a mut dyn Read,
}

impl Entry<'_> {
    /// All of the bytes, at most `most`.
    pub(crate) fn whole(&mut self, most: u64) -> Result<Vec<u8>> {
        if self.length > most {
            return Err(refused(format!("{:?} is larger than the {most} bytes that are read", self.name)));
        }
        let mut bytes = Vec::new();
        self.content.read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        Ok(bytes)
    }
}

/// What cannot be taken, and why.
pub(crate) fn refused(why: impl AsRef<str>) -> Error {
    Error::unprocessable(format!("this is no package that can be taken: {}", why.as_ref()))
}

/// What cannot be read.
pub(crate) fn broken(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => refused("it unpacks to more than is looked at"),
        _ => refused(format!("it cannot be read to its end ({error})")),
    }
}

/// Shows every entry of a segment to `visit`; folders too. A segment need not have the blocks that end a tar archive.
pub(crate) fn walk(reader: &mut dyn Read, limit: u64, visit: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
    let mut limited = LimitedReader::new(reader, limit);
    let mut archive = Archive::new(&mut limited);
    let (mut long_name, mut long_link): (Option<String>, Option<String>) = (None, None);
    let mut headers = 0_usize;
    for entry in archive.entries().map_err(|error| broken(&error))?.raw(true) {
        let mut entry = entry.map_err(|error| broken(&error))?;
        headers += 1;
        if headers > MOST_ENTRIES {
            return Err(refused(format!("it has more than {MOST_ENTRIES} entries")));
        }
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => {
                long_name = Some(text(until_zero(&record(&mut entry)?))?);
                continue;
            }
            EntryType::GNULongLink => {
                long_link = Some(text(until_zero(&record(&mut entry)?))?);
                continue;
            }
            EntryType::XHeader => {
                let (name, link) = extended(&record(&mut entry)?)?;
                long_name = name.or(long_name);
                long_link = link.or(long_link);
                continue;
            }
            EntryType::XGlobalHeader => continue,
            _ => {}
        }
        let name = long_name.take().map_or_else(|| text(&entry.path_bytes()), Ok)?;
        let link = match (long_link.take(), entry.link_name_bytes()) {
            (Some(link), _) => Some(link),
            (None, Some(bytes)) => Some(text(&bytes)?),
            (None, None) => None,
        };
        let length = entry.size();
        visit(Entry { name: &name, kind, link: link.as_deref(), length, content: &mut entry })?;
    }
    // Behind the end there may be zeros that fill the last record, and nothing else.
    let mut rest = [0; 8192];
    loop {
        let count = limited.read(&mut rest).map_err(|error| broken(&error))?;
        match rest.get(..count) {
            Some([]) | None => return Ok(()),
            Some(bytes) if bytes.iter().any(|byte| *byte != 0) => return Err(refused("there are bytes behind the end of an archive")),
            Some(_) => {}
        }
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The whole of a header that extends the next one.
fn record(entry: &mut impl Read) -> Result<Vec<u8>> {
    let mut record = Vec::new();
    LimitedReader::new(entry, LONGEST_RECORD).read_to_end(&mut record).map_err(|error| broken(&error))?;
    Ok(record)
}

/// Name and link that an extended header gives to the next entry. One that gives it another size is not read: readers disagree on it.
fn extended(record: &[u8]) -> Result<(Option<String>, Option<String>)> {
    let (mut name, mut link) = (None, None);
    for extension in PaxExtensions::new(record) {
        let extension = extension.map_err(|error| broken(&error))?;
        match extension.key_bytes() {
            b"path" => name = Some(text(extension.value_bytes())?),
            b"linkpath" => link = Some(text(extension.value_bytes())?),
            b"size" => return Err(refused("it has entries with sizes in extended headers, which are not read here")),
            key if key.starts_with(b"GNU.sparse") => return Err(refused("it has sparse files, which are not read here")),
            _ => {}
        }
    }
    Ok((name, link))
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| refused("it has a name that is not UTF-8"))
}

/// Adds a file to a segment.
///
/// # Errors
/// 500 for a name that a plain header cannot have.
pub(crate) fn add(segment: &mut Vec<u8>, name: &str, content: &[u8], seconds: u64) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(name).map_err(Error::internal)?;
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(seconds);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    segment.extend_from_slice(header.as_bytes());
    segment.extend_from_slice(content);
    segment.resize(segment.len().next_multiple_of(BLOCK), 0);
    Ok(())
}

/// Ends a segment that is the last one.
pub(crate) fn end(segment: &mut Vec<u8>) {
    segment.resize(segment.len() + 2 * BLOCK, 0);
}
