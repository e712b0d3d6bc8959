//! Tar in gzip, as source distributions are: read from the front in one pass, unpacked size and names held to limits.

use std::io::{self, Read};

use entrepot_kit::{LimitedReader, ReadSeek, Result};
use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType, PaxExtensions};

use super::{MOST_MEMBERS, allowed_unpacked, broken, check_name, refused};

/// Longest name, and longest record of extended headers.
const LONGEST_RECORD: u64 = 64 << 10;

/// Shows every file of the archive to `visit`, with its name and length; folders are passed over. Links that lead out of the archive,
/// devices, and names that are no plain relative paths condemn all of it.
pub(super) fn walk(reader: Box<dyn ReadSeek>, size: u64, visit: &mut dyn FnMut(&str, u64, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut archive = Archive::new(LimitedReader::new(MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, reader)), allowed_unpacked(size)));
    let (mut long_name, mut long_link): (Option<String>, Option<String>) = (None, None);
    let mut headers = 0_usize;
    for entry in archive.entries().map_err(|error| broken(&error))?.raw(true) {
        let mut entry = entry.map_err(|error| broken(&error))?;
        headers += 1;
        // Each member has at most a few headers of its own in front.
        if headers > 4 * MOST_MEMBERS {
            return Err(refused(format!("it has more than {MOST_MEMBERS} members")));
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
        let path = long_name.take().map_or_else(|| text(entry.path_bytes()), Ok)?;
        let link = long_link.take();
        let name = path.trim_end_matches('/');
        let name = name.strip_prefix("./").unwrap_or(name);
        if kind == EntryType::Directory || path.ends_with('/') {
            if !name.is_empty() && name != "." {
                check_name(name)?;
            }
            continue;
        }
        check_name(name)?;
        match kind {
            EntryType::Regular | EntryType::Continuous => {
                let length = entry.size();
                visit(name, length, &mut entry)?;
            }
            EntryType::Symlink | EntryType::Link => {
                let target = match link {
                    Some(link) => link,
                    None => text(entry.link_name_bytes().unwrap_or_default())?,
                };
                check_link(name, &target, kind == EntryType::Symlink)?;
            }
            _ => return Err(refused(format!("{name:?} is a device or another special file"))),
        }
    }
    Ok(())
}

/// A link may lead to what is in the archive, never out of it.
fn check_link(name: &str, target: &str, relative: bool) -> Result<()> {
    let mut depth = if relative { name.split('/').count() - 1 } else { 0 };
    let escapes = || refused(format!("the link {name:?} leads out of the archive"));
    if target.starts_with('/') || target.contains(['\\', ':']) || target.is_empty() {
        return Err(escapes());
    }
    for segment in target.split('/') {
        match segment {
            "" | "." => {}
            // The first folder is the archive's own: what is above it is not the archive.
            ".." => depth = depth.checked_sub(1).filter(|depth| *depth > 0).ok_or_else(escapes)?,
            _ => depth += 1,
        }
    }
    Ok(())
}

fn until_zero(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
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
            b"size" => return Err(refused("it has members with sizes in extended headers, which are not read here")),
            key if key.starts_with(b"GNU.sparse") => return Err(refused("it has sparse files, which are not read here")),
            _ => {}
        }
    }
    Ok((name, link))
}

fn text(bytes: impl AsRef<[u8]>) -> Result<String> {
    String::from_utf8(bytes.as_ref().to_vec()).map_err(|_| refused("it has a name that is not UTF-8"))
}
