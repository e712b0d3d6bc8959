//! `APKINDEX.tar.gz`: written, signed and read.

use std::io::{BufReader, Read, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrepot_kit::{Error, PublicKey, Result, SignatureScheme, SigningKeys, Timestamp};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::member::{Tap, next};
use crate::place::{ENDING, NOARCH};
use crate::tarball::{self, Entry, walk};

/// The media type of an index.
pub const GZIP: &str = "application/gzip";
/// What is above the records.
const DESCRIPTION: &str = "DESCRIPTION";
/// The records.
const APKINDEX: &str = "APKINDEX";
/// Most unpacked bytes of an index; the largest public ones have some megabytes.
const MOST_UNPACKED: u64 = 256 << 20;
/// How hard an index is compressed: it is made often, and read quickly whatever this says.
const LEVEL: u32 = 6;
/// Longest beginning of a repository's name in the name of its key.
const LONGEST_NAME: usize = 40;

/// The name of a public key's file, which signatures carry: clients look their keys up by it.
#[must_use]
pub fn key_file(repository: &str, key: &PublicKey) -> String {
    let name: String = repository.chars().take(LONGEST_NAME).collect();
    let id: String = key.id.chars().take(16).collect();
    format!("{name}-{id}.rsa.pub")
}

/// A record of an index, without the empty line that ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a>(&'a str);

impl<'a> Record<'a> {
    /// A record of this text.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.0
    }

    /// The first value of a field; empty when it is not there.
    #[must_use]
    pub fn field(&self, key: char) -> &'a str {
        let line = self.0.lines().find(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
        line.and_then(|line| line.get(2..)).unwrap_or_default()
    }

    /// The name of the package.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.field('P')
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &'a str {
        self.field('V')
    }

    /// What the index promises of the file.
    #[must_use]
    pub fn promise(&self) -> Option<Promise> {
        let identity = STANDARD.decode(self.field('C').strip_prefix("Q1")?).ok()?;
        Some(Promise { identity: identity.try_into().ok()?, size: self.field('S').parse().ok()? })
    }
}

/// What an index promises of a package's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// The SHA-1 of the control part, which knows the SHA-256 of the data.
    pub identity: [u8; 20],
    /// The length.
    pub size: u64,
}

impl Promise {
    /// The promise in a line.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{} {}", hex::encode(self.identity), self.size)
    }

    /// Reads what [`Self::to_text`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (identity, size) = text.split_once(' ')?;
        Some(Self { identity: hex::decode(identity).ok()?.try_into().ok()?, size: size.parse().ok()? })
    }
}

/// The text of an index in the making.
#[derive(Debug, Default)]
pub struct Text(Vec<u8>);

impl Text {
    /// Adds a record; one that fits all architectures is listed as one of `arch`, so that its file is asked for below that.
    pub fn add(&mut self, record: &str, arch: &str) {
        let general = format!("\nA:{NOARCH}\n");
        match record.split_once(&general) {
            Some((before, after)) => {
                for part in [before, "\nA:", arch, "\n", after] {
                    self.0.extend_from_slice(part.as_bytes());
                }
            }
            None => self.0.extend_from_slice(record.as_bytes()),
        }
        if !record.ends_with('\n') {
            self.0.push(b'\n');
        }
        self.0.push(b'\n');
    }

    /// The signed index.
    ///
    /// # Errors
    /// 500 when it cannot be signed.
    pub fn finish(self, description: &str, repository: &str, keys: &SigningKeys, time: Timestamp) -> Result<Vec<u8>> {
        let seconds = u64::try_from(time.0.div_euclid(1000)).unwrap_or(0);
        let mut segment = Vec::with_capacity(self.0.len() + 4096);
        tarball::add(&mut segment, DESCRIPTION, description.as_bytes(), seconds)?;
        tarball::add(&mut segment, APKINDEX, &self.0, seconds)?;
        drop(self);
        tarball::end(&mut segment);
        let content = compress(&segment)?;
        let mut signatures = Vec::new();
        // Any one that a client trusts is enough for it: the better ones first.
        for (kind, scheme) in [("RSA256", SignatureScheme::RsaSha256), ("RSA", SignatureScheme::RsaSha1)] {
            for key in &keys.signing {
                let signature = key.sign(scheme, &content)?;
                tarball::add(&mut signatures, &format!(".SIGN.{kind}.{}", key_file(repository, key.public())), &signature, seconds)?;
            }
        }
        let mut index = compress(&signatures)?;
        index.extend_from_slice(&content);
        Ok(index)
    }
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3 + 64), Compression::new(LEVEL));
    encoder.write_all(bytes).map_err(Error::internal)?;
    encoder.finish().map_err(Error::internal)
}

/// Reads the records of an index, whoever signed it.
///
/// # Errors
/// 422 when it is none.
pub fn read(index: impl Read) -> Result<String> {
    struct Failure(Error);
    impl From<std::io::Error> for Failure {
        fn from(error: std::io::Error) -> Self {
            Self(tarball::broken(&error))
        }
    }
    let mut tap = Tap::new(BufReader::with_capacity(64 << 10, index));
    let mut text = None;
    loop {
        let look = |reader: &mut dyn Read| {
            let seen = walk(reader, MOST_UNPACKED, &mut |mut entry: Entry<'_>| {
                if entry.name == APKINDEX && entry.kind == tar::EntryType::Regular && text.is_none() {
                    text = Some(entry.whole(MOST_UNPACKED)?);
                }
                Ok(())
            });
            seen.map_err(Failure)
        };
        if next(&mut tap, look).map_err(|Failure(error)| error)?.is_none() {
            break;
        }
    }
    let text = text.ok_or_else(|| tarball::refused("there is no APKINDEX in it"))?;
    String::from_utf8(text).map_err(|_| tarball::refused("its APKINDEX is not UTF-8"))
}

/// The records of a text.
pub fn records(text: &str) -> impl Iterator<Item = Record<'_>> {
    text.split("\n\n").map(|record| record.trim_matches('\n')).filter(|record| !record.is_empty()).map(Record)
}

/// The record of a file.
#[must_use]
pub fn find<'a>(text: &'a str, file: &str) -> Option<Record<'a>> {
    let stem = file.strip_suffix(ENDING)?;
    records(text).find(|record| stem.strip_prefix(record.name()).and_then(|rest| rest.strip_prefix('-')) == Some(record.version()))
}

#[cfg(test)]
mod tests {
    use super::{Promise, Text, find, read, records};
    use crate::testing::{Built, gzip, segment};
    use entrepot_kit::{SigningKeys, Timestamp};
    use proptest::prelude::*;

    fn index(records: &[&str], arch: &str) -> Vec<u8> {
        let mut text = Text::default();
        for record in records {
            text.add(record, arch);
        }
        text.finish("v3.20 main", "alpine", &SigningKeys::default(), Timestamp(1_700_000_000_123)).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let packages = [Built::new("a", "1.0-r0", "x86_64"), Built::new("b", "2-r1", "noarch")];
        let read_all: Vec<String> = packages.iter().map(|built| crate::package::Package::read(&built.bytes()[..], 900).unwrap().record()).collect();
        let text = read(&index(&[&read_all[0], &read_all[1]], "x86_64")[..]).unwrap();
        let names: Vec<_> = records(&text).map(|record| (record.name(), record.version(), record.field('A'))).collect();
        assert_eq!(names, [("a", "1.0-r0", "x86_64"), ("b", "2-r1", "x86_64")]);
        let found = find(&text, "b-2-r1.apk").unwrap();
        assert_eq!(found.promise(), Some(Promise { identity: packages[1].identity(), size: 900 }));
        for none in ["b-2-r2.apk", "c-2-r1.apk", "b-2-r1", ""] {
            assert!(find(&text, none).is_none(), "{none}");
        }
        assert_eq!(read(&index(&[], "x86_64")[..]).unwrap(), "");
    }

    #[test]
    fn what_is_no_index_is_refused() {
        let page = b"<!doctype html><p>sign in</p>".to_vec();
        for bad in [Vec::new(), page.clone(), gzip(&page), gzip(&segment(&[("DESCRIPTION", tar::EntryType::Regular, b"x")], true))] {
            assert!(read(&bad[..]).is_err());
        }
        let whole = index(&["P:a\nV:1-r0\n"], "x86_64");
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_records(text in "[A-Za-z:\\n =Q1/-]{0,300}") {
            for record in records(&text) {
                let _ = (record.name(), record.version(), record.promise());
            }
            let _ = find(&text, "a-1-r0.apk");
        }

        #[test]
        fn any_member_is_answered(inner in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(read(&gzip(&inner)[..]).is_err() || inner.len() > 512);
        }
    }
}
