//! Metadata from the one before and what changed since: a publish costs the same whatever was published before it.
//!
//! Only where the order of all versions is one ([`Parsed::is_ordinary`]) and nothing has to be known of what is written differently: all
//! else is made anew, from the records.

use entrepot_kit::{Changes, Records, Result};

use crate::index::{METADATA, listed, snapshot_of, written, written_snapshot};
use crate::metadata::{lines, of_line, write_line};
use crate::version::Parsed;

/// A version that can be put into a list, and found in it.
fn ordinary(version: &str) -> Option<Parsed> {
    let is_written_as_it_is = !version.chars().any(|c| c.is_control() || matches!(c, '<' | '>' | '&' | '"' | '\''));
    Some(Parsed::of(version)).filter(|parsed| is_written_as_it_is && parsed.is_ordinary())
}

/// Whether the document of these records can be amended.
pub(crate) fn amends(variant: &str, records: &Records) -> bool {
    snapshot_of(variant).is_some() || (variant == METADATA && listed(&records.versions).all(|version| ordinary(version).is_some()))
}

/// The document after these changes.
pub(crate) fn amend(variant: &str, before: &[u8], changes: &Changes) -> Result<Option<Vec<u8>>> {
    if let Some(version) = snapshot_of(variant) {
        return snapshot(version, before, changes).map(Some);
    }
    match std::str::from_utf8(before) {
        Ok(before) if variant == METADATA => list(before, changes),
        _ => Ok(None),
    }
}

fn snapshot(version: &str, before: &[u8], changes: &Changes) -> Result<Vec<u8>> {
    let changed = changes.versions.iter().find(|record| record.version == version);
    if changed.is_none() && !changes.ended.iter().any(|ended| ended == version) {
        return Ok(before.to_vec());
    }
    written_snapshot(&changes.package, version, changed)
}

fn list(before: &str, changes: &Changes) -> Result<Option<Vec<u8>>> {
    let mut begun = Vec::new();
    for version in listed(&changes.versions) {
        let Some(parsed) = ordinary(version) else { return Ok(None) };
        let mut line = String::new();
        write_line(&mut line, version);
        begun.push((parsed, version, line));
    }
    let mut lines = lines(before);
    let unlisted = changes.versions.iter().filter(|record| record.bytes.is_empty()).map(|record| &record.version);
    for version in changes.ended.iter().chain(unlisted) {
        let Some(parsed) = ordinary(version) else { continue };
        let (from, to) = place(&lines, &parsed);
        if let Some(at) = (from..to).find(|at| lines.get(*at).is_some_and(|line| of_line(line) == version)) {
            lines.remove(at);
        }
    }
    for (parsed, version, line) in &begun {
        let (from, to) = place(&lines, parsed);
        match lines.get(from..to) {
            Some([]) => lines.insert(from, line),
            Some([only]) if of_line(only) == *version => {}
            // Among those that are equal they are in the order of their publication.
            _ => return Ok(None),
        }
    }
    let of = (changes.package.as_str(), changes.document.as_str(), changes.modified);
    written(of, lines.iter().rev().map(|line| of_line(line)), |out| lines.iter().for_each(|line| out.push_str(line))).map(Some)
}

/// Where the versions stand that are equal to one, or where it belongs.
fn place(lines: &[&str], version: &Parsed) -> (usize, usize) {
    let from = lines.partition_point(|line| Parsed::of(of_line(line)).compare(version).is_lt());
    let behind = lines.iter().skip(from).take_while(|line| Parsed::of(of_line(line)).compare(version).is_eq());
    (from, from + behind.count())
}

#[cfg(test)]
#[path = "amend_tests.rs"]
mod tests;
