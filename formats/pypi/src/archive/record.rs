//! `RECORD`: what a wheel says of its own members. Installers trust it, so it must be true.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entrepot_kit::Result;
use sha2::{Digest as _, Sha256};

use super::zipfile::{Member, Zip};
use super::{broken, refused};

/// Longest line: a path, a hash and a number.
const LONGEST_LINE: u64 = 8 << 10;
/// Largest `RECORD`: 100,000 lines of ordinary length.
const LARGEST: u64 = 32 << 20;

/// Unpacked bytes whose hashes are held against the record. What a wheel of more has beyond them, its installer checks.
const MOST_HASHED: u64 = 2 << 30;

/// Holds the record against the members: every one is listed, once, with its size and its hash, and nothing else is.
pub(super) fn check(zip: &mut Zip, record: &Member) -> Result<()> {
    if record.size > LARGEST {
        return Err(refused("its RECORD is larger than any that is read"));
    }
    // The record, and signatures of it, cannot be in it with a hash.
    let signatures = [format!("{}.jws", record.name), format!("{}.p7s", record.name)];
    let is_exempt = |name: &str| name == record.name || signatures.iter().any(|signature| signature == name);
    let mut missing: HashMap<String, u64> = zip.members.iter().map(|member| (member.name.clone(), member.size)).collect();
    let mut hashes: HashMap<String, String> = HashMap::new();
    let mut lines = BufReader::new(zip.open_member(record)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(|error| broken(&error))?;
        if read == 0 {
            break;
        }
        if read as u64 == LONGEST_LINE && !line.ends_with(b"\n") {
            return Err(refused("its RECORD has a line that is too long"));
        }
        let text = std::str::from_utf8(&line).map_err(|_| refused("its RECORD is not UTF-8"))?.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            continue;
        }
        let [path, hash, size] = columns(text).ok_or_else(|| refused(format!("its RECORD has a line that is not \"path,hash,size\": {text:?}")))?;
        let Some(actual) = missing.remove(&path) else {
            return Err(refused(format!("its RECORD lists {path:?}, which it does not have, or lists it twice")));
        };
        if is_exempt(&path) {
            continue;
        }
        if !size.is_empty() && size.parse() != Ok(actual) {
            return Err(refused(format!("its RECORD says that {path:?} has {size} bytes, and it has {actual}")));
        }
        let (algorithm, digest) = hash.split_once('=').ok_or_else(|| refused(format!("its RECORD has no hash of {path:?}")))?;
        if ["md5", "sha1"].contains(&algorithm) {
            return Err(refused(format!("its RECORD has a hash of {path:?} by {algorithm}, which installers refuse: use sha256")));
        }
        if algorithm == "sha256" {
            hashes.insert(path, digest.trim_end_matches('=').to_owned());
        }
    }
    drop(lines);
    if let Some(name) = missing.into_keys().filter(|name| !is_exempt(name)).min() {
        return Err(refused(format!("its RECORD does not list {name:?}")));
    }
    check_hashes(zip, &hashes)
}

/// Holds the members' bytes against the hashes of the record.
fn check_hashes(zip: &mut Zip, hashes: &HashMap<String, String>) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut left = MOST_HASHED;
    for member in zip.members.clone() {
        let Some(listed) = hashes.get(&member.name) else { continue };
        let Some(rest) = left.checked_sub(member.size) else { return Ok(()) };
        left = rest;
        let (mut bytes, mut hasher) = (zip.open_member(&member)?, Sha256::new());
        loop {
            match bytes.read(&mut buffer).map_err(|error| broken(&error))? {
                0 => break,
                read => hasher.update(buffer.get(..read).unwrap_or_default()),
            }
        }
        if *listed != URL_SAFE_NO_PAD.encode(hasher.finalize()) {
            return Err(refused(format!("its RECORD has another hash of {:?} than that file", member.name)));
        }
    }
    Ok(())
}

/// The three columns of a line; the first may be in quotes.
fn columns(line: &str) -> Option<[String; 3]> {
    let (path, rest) = match line.strip_prefix('"') {
        None => line.split_once(',').map(|(path, rest)| (path.to_owned(), rest))?,
        Some(quoted) => {
            let mut path = String::new();
            let mut characters = quoted.char_indices();
            loop {
                match characters.next()? {
                    (_, '"') => match characters.next()? {
                        (_, '"') => path.push('"'),
                        (at, ',') => break (path, quoted.get(at + 1..)?),
                        _ => return None,
                    },
                    (_, character) => path.push(character),
                }
            }
        }
    };
    let (hash, size) = rest.split_once(',')?;
    let plain = |text: &str| text.trim_matches('"').to_owned();
    Some([path, plain(hash), plain(size)])
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn lines_have_three_columns() {
        let three = |line: &str| columns(line).map(|columns| columns.join("|"));
        assert_eq!(three("a/b.py,sha256=x,12").as_deref(), Some("a/b.py|sha256=x|12"));
        assert_eq!(three("a-1.dist-info/RECORD,,").as_deref(), Some("a-1.dist-info/RECORD||"));
        assert_eq!(three("\"a,\"\"b\",sha256=x,12").as_deref(), Some("a,\"b|sha256=x|12"));
        for bad in ["", "a", "a,b", "\"a,b,c", "\"a\"b,c,d"] {
            assert_eq!(three(bad), None, "{bad}");
        }
    }
}
