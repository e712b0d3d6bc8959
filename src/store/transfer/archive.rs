//! The form of a backup: a tar file.
//!
//! | member | what |
//! |---|---|
//! | `manifest.json` | first: the format's version, when and by what it was made, the tables with their columns and rows |
//! | `tables/{name}/{000001}.jsonl` | the rows of a table, each a JSON array in the order of the columns; bytes in base64 |
//! | `blobs/sha256/{ab}/{digest}` | the bytes of a blob that is not in its row, in the order of digests |
//! | `closing.json` | last: counts, and the SHA-256 over the lines `{sha256} {size} {name}` of all members before it |

use std::io::{self, Read, Write};

use entrepot_kit::Sha256Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Result, archive_failed, refused};
use crate::store::catalog::tables::{Column, Table, lasting};

/// The version that is written and read.
pub(super) const FORMAT: u32 = 1;
/// The name of the first member.
pub(super) const MANIFEST: &str = "manifest.json";
/// The name of the last member.
pub(super) const CLOSING: &str = "closing.json";
/// The longest line of a table.
pub(super) const LONGEST_LINE: u64 = 256 << 20;
/// The longest document about the archive itself.
const LONGEST_DOCUMENT: u64 = 4 << 20;

/// What an archive says first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// The version of the server.
    pub(super) version: String,
    /// When the snapshot was taken, in milliseconds since 1970.
    pub(super) time: i64,
    /// What it was taken of.
    pub(super) storage: String,
    pub(super) tables: Vec<TableOfArchive>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableOfArchive {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) rows: u64,
    /// The highest number that the table ever gave a row.
    pub(super) highest: i64,
}

/// What an archive says last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Closing {
    pub(super) rows: u64,
    pub(super) blobs: u64,
    pub(super) blob_bytes: u64,
    /// Members before this one.
    pub(super) members: u64,
    pub(super) sha256: String,
}

/// A table as an archive has it: where each of our columns stands in its rows.
pub(super) struct KnownTable {
    pub(super) table: &'static Table,
    pub(super) columns: Vec<(usize, &'static Column)>,
    pub(super) rows: u64,
    pub(super) highest: i64,
}

impl Manifest {
    /// The tables, provided that they can be read without a loss.
    pub(super) fn known_tables(&self) -> Result<Vec<KnownTable>> {
        if self.format != FORMAT {
            return Err(refused(format!(
                "the archive has format {}, this version reads {FORMAT}: use the version that made it ({}), or a newer one",
                self.format, self.version
            )));
        }
        let mut ours = lasting();
        self.tables.iter().map(|found| known_table(found, &mut ours)).collect()
    }
}

fn known_table(found: &TableOfArchive, ours: &mut impl Iterator<Item = &'static Table>) -> Result<KnownTable> {
    let newer =
        |what: String| refused(format!("the archive has {what} that this version does not know: restore it with the version that made it, or a newer one"));
    let table = ours.find(|table| table.name == found.name).ok_or_else(|| newer(format!("a table {:?}", found.name)))?;
    if let Some(foreign) = found.columns.iter().find(|name| table.position(name).is_none()) {
        return Err(newer(format!("a column {foreign:?} of the table {:?}", table.name)));
    }
    let mut columns = Vec::new();
    for column in table.columns {
        match found.columns.iter().position(|name| name == column.name) {
            Some(place) => columns.push((place, column)),
            None if column.optional => {}
            None => return Err(refused(format!("the archive lacks the column {:?} of the table {:?}", column.name, table.name))),
        }
    }
    if columns.len() != found.columns.len() || !(0..=1 << 60).contains(&found.highest) {
        return Err(refused(format!("the archive describes the table {:?} in a way that cannot be", table.name)));
    }
    Ok(KnownTable { table, columns, rows: found.rows, highest: found.highest })
}

/// The name of the member with the bytes of a blob.
pub(super) fn blob_member(digest: Sha256Digest) -> String {
    let hex = digest.hex();
    format!("blobs/sha256/{}/{hex}", hex.get(..2).unwrap_or_default())
}

/// The name of a member with rows of a table.
pub(super) fn rows_member(table: &str, part: u32) -> String {
    format!("tables/{table}/{part:06}.jsonl")
}

/// The hash over the members.
#[derive(Default)]
struct Seal {
    hasher: Sha256,
    members: u64,
}

impl Seal {
    fn member(&mut self, name: &str, size: u64, digest: &[u8]) {
        self.members += 1;
        self.hasher.update(format!("{} {size} {name}\n", hex::encode(digest)));
    }

    fn finish(self) -> (u64, String) {
        (self.members, hex::encode(self.hasher.finalize()))
    }
}

/// Counts and hashes what is read through it.
struct Hashed<R> {
    inner: R,
    hasher: Sha256,
    read: u64,
}

impl<R: Read> Hashed<R> {
    fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new(), read: 0 }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        self.read += read as u64;
        Ok(read)
    }
}

/// Writes an archive.
pub(super) struct Writer<W: Write> {
    builder: tar::Builder<W>,
    seal: Seal,
    /// For the members, in seconds since 1970.
    time: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(output: W, milliseconds: i64) -> Self {
        Self { builder: tar::Builder::new(output), seal: Seal::default(), time: u64::try_from(milliseconds / 1000).unwrap_or(0) }
    }

    /// Adds a member; gives the SHA-256 of its bytes.
    pub(super) fn member(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<[u8; 32]> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(self.time);
        header.set_size(size);
        // One byte more than there should be would be noticed.
        let mut hashed = Hashed::new(content.take(size.saturating_add(1)));
        self.builder.append_data(&mut header, name, &mut hashed)?;
        if hashed.read != size {
            return Err(io::Error::other(format!("{name} has not the {size} bytes that it should have")));
        }
        let digest: [u8; 32] = hashed.hasher.finalize().into();
        self.seal.member(name, size, &digest);
        Ok(digest)
    }

    pub(super) fn document(&mut self, name: &str, document: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(document)?;
        self.member(name, text.len() as u64, text.as_slice()).map(drop)
    }

    /// Adds the last member, and the end.
    pub(super) fn close(mut self, rows: u64, blobs: u64, blob_bytes: u64) -> io::Result<W> {
        let (members, sha256) = std::mem::take(&mut self.seal).finish();
        self.document(CLOSING, &Closing { rows, blobs, blob_bytes, members, sha256 })?;
        let mut output = self.builder.into_inner()?;
        output.flush()?;
        Ok(output)
    }
}

/// A member that is being read. What is behind it can be read only after its end.
pub(super) struct Member<'a, R: Read> {
    pub(super) name: String,
    pub(super) size: u64,
    content: Hashed<tar::Entry<'a, R>>,
}

impl<R: Read> Read for Member<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer)
    }
}

impl<R: Read> Member<'_, R> {
    /// A whole small document.
    pub(super) fn document<T: serde::de::DeserializeOwned>(&mut self) -> Result<T> {
        if self.size > LONGEST_DOCUMENT {
            return Err(refused(format!("the archive's {} is too long", self.name)));
        }
        let mut text = Vec::new();
        self.read_to_end(&mut text).map_err(archive_failed)?;
        serde_json::from_slice(&text).map_err(|cause| refused(format!("the archive's {} cannot be read: {cause}", self.name)))
    }
}

/// Reads the members of an archive, and believes nothing.
pub(super) struct Reader<'a, R: Read> {
    entries: tar::Entries<'a, R>,
    seal: Seal,
}

impl<'a, R: Read> Reader<'a, R> {
    pub(super) fn new(archive: &'a mut tar::Archive<R>) -> Result<Self> {
        // Raw: no member may change what the next one is.
        Ok(Self { entries: archive.entries().map_err(archive_failed)?.raw(true), seal: Seal::default() })
    }

    /// The next member.
    pub(super) fn next(&mut self) -> Result<Option<Member<'a, R>>> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        let entry = entry.map_err(archive_failed)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type() != tar::EntryType::Regular || name.len() > 200 {
            return Err(refused(format!(
                "the archive has a member that is no plain file, or with a long name: {:?}",
                name.chars().take(100).collect::<String>()
            )));
        }
        let size = entry.size();
        Ok(Some(Member { name, size, content: Hashed::new(entry) }))
    }

    /// Notes that a member was read to its end.
    pub(super) fn done(&mut self, member: Member<'a, R>) -> Result<()> {
        let Member { name, size, content } = member;
        if content.read != size {
            return Err(refused(format!("the archive is cut off in {name}")));
        }
        self.seal.member(&name, size, &content.hasher.finalize());
        Ok(())
    }

    /// How many members were read, and the hash over them.
    pub(super) fn sealed(&mut self) -> (u64, String) {
        std::mem::take(&mut self.seal).finish()
    }
}
