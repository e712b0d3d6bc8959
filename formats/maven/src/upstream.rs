//! Pulling through: what the paths of another repository are, and what its metadata says.

use std::collections::BTreeSet;

use bytes::Bytes;
use entrepot_kit::path::{check_segments, encode_path};
use entrepot_kit::{
    ALL_PACKAGES, Algorithm, CheckedDocument, Digests, Error, PathPrefixes, Records, Result, UpstreamDocument, UpstreamIndex, UpstreamPath, VersionRecord,
};

use crate::checksum;
use crate::coordinates::{Build, METADATA, Place, package_folder, package_of_folder, place, snapshot_of_folder};
use crate::index::{LISTED, PackageDocument, VERSIONS};
use crate::metadata::{LARGEST, Metadata, parse_time};

/// What a list of prefixes begins with.
const PREFIXES_MARK: &str = "## repository-prefixes/";

const ACCEPT: &str = "application/xml, text/xml;q=0.9, */*;q=0.5";

/// What an entry path is at an upstream. Checksums and lists of versions are made here.
pub(crate) fn classify(path: &str) -> UpstreamPath {
    let document = |accept| UpstreamPath::Document(UpstreamDocument { accept, limit: LARGEST, immutable: false, named_by: None, pages: 1 });
    match place(path) {
        Place::Artifact(coordinates) if coordinates.build == Build::Plain => UpstreamPath::Mutable,
        Place::Artifact(_) => UpstreamPath::Immutable { expected: Digests::new() },
        Place::Metadata { folder } if snapshot_of_folder(folder).is_some() => document(ACCEPT),
        Place::Catalog => document(ACCEPT),
        Place::Prefixes => document("text/plain"),
        Place::Metadata { .. } | Place::Checksum { .. } | Place::Own => UpstreamPath::NotOurs,
        Place::Other => UpstreamPath::Mutable,
    }
}

/// Whether a document is what its path promises.
pub(crate) fn check(path: &str, document: &Bytes) -> Result<CheckedDocument> {
    let is_right = match place(path) {
        Place::Metadata { .. } => {
            return Metadata::parse(document).map(|_| CheckedDocument { content_type: Some(String::from(crate::index::XML)), ..CheckedDocument::default() });
        }
        Place::Catalog => memchr_text(document, "<archetype-catalog"),
        Place::Prefixes => document.starts_with(PREFIXES_MARK.as_bytes()),
        _ => true,
    };
    if is_right { Ok(CheckedDocument::default()) } else { Err(Error::bad_gateway(format!("what the upstream sent for {path:?} is not that"))) }
}

/// A SHA-1 as a header or a checksum file has it.
pub(crate) fn read_sha1(text: &str) -> Option<Digests> {
    let mut digests = Digests::new();
    let digest = checksum::parse(text, Algorithm::Sha1)?;
    digests.insert_hex(Algorithm::Sha1, &digest).then_some(digests)
}

/// Whether the beginning of a file is that of a page for people, or of something else than its name says.
pub(crate) fn check_file(path: &str, content_type: Option<&str>, beginning: &[u8]) -> Result<()> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if beginning.len() < 4 || ends(&[".html", ".htm"]) {
        return Ok(());
    }
    let text =
        String::from_utf8_lossy(beginning.get(..beginning.len().min(512)).unwrap_or_default()).trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    let is_page = text.starts_with("<!doctype html") || text.starts_with("<html");
    let says_page = content_type.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    let is_other = (ends(&[".jar", ".war", ".ear", ".aar", ".zip"]) && !beginning.starts_with(b"PK")) || (ends(&[".pom"]) && !text.starts_with('<'));
    if is_page || is_other || (says_page && text.starts_with('<') && !ends(&[".pom", ".xml"])) {
        return Err(Error::bad_gateway(format!("what the upstream sent for {path:?} is not that, but a page or something else; it was not kept")));
    }
    Ok(())
}

fn memchr_text(document: &Bytes, text: &str) -> bool {
    std::str::from_utf8(document).is_ok_and(|document| document.contains(text))
}

/// Most prefixes that are looked at.
const MOST_PREFIXES: usize = 200_000;

/// What an upstream's paths begin with. A list that is cut off, or of a form that is not known, says nothing: what is left out of it would not be found.
pub(crate) fn read_prefixes(document: &Bytes) -> Option<PathPrefixes> {
    let mut lines = std::str::from_utf8(document).ok()?.lines().map(str::trim);
    if !lines.next()?.starts_with(PREFIXES_MARK) {
        return None;
    }
    let mut prefixes = BTreeSet::new();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // An "@ unsupported" is one of these.
        let prefix = line.strip_prefix('/')?.trim_end_matches('/');
        if check_segments(prefix).is_err() || prefixes.len() >= MOST_PREFIXES {
            return None;
        }
        prefixes.insert(prefix.to_owned());
    }
    PathPrefixes::new(prefixes)
}

/// Where the metadata of a package is. Without a list of all packages: what clients are told to ask for is not known then.
pub(crate) fn index(package: &str) -> Option<UpstreamIndex> {
    let folder = package_folder(package);
    if package == ALL_PACKAGES || check_segments(&folder).is_err() || package_of_folder(&folder).as_deref() != Some(package) {
        return None;
    }
    Some(UpstreamIndex::whole(encode_path(&format!("{folder}/{METADATA}")), ACCEPT))
}

/// The records of an upstream's metadata.
pub(crate) fn records(package: &str, document: &Bytes, fragments: &'static str) -> Result<Records> {
    let found = Metadata::parse(document).map_err(|error| Error::bad_gateway(error.message().to_owned()))?;
    let bytes = if fragments == VERSIONS { Bytes::from_static(LISTED) } else { Bytes::new() };
    let modified = parse_time(&found.last_updated);
    Ok(Records {
        package: package.to_owned(),
        document: PackageDocument { plugins: found.plugins }.to_text()?,
        versions: found.versions.into_iter().map(|version| VersionRecord { version, published: None, bytes: bytes.clone() }).collect(),
        modified,
        ..Records::default()
    })
}

#[cfg(test)]
mod tests {
    use super::{check, check_file, classify, index, read_prefixes, read_sha1, records};
    use crate::index::{SNAPSHOT, VERSIONS};
    use bytes::Bytes;
    use entrepot_kit::{ALL_PACKAGES, UpstreamPath};

    #[test]
    fn paths_are_told_apart() {
        for (path, wanted) in [
            ("a/b/1/b-1.jar", "immutable"),
            ("a/b/1/b-1.jar.asc", "immutable"),
            ("a/b/1-SNAPSHOT/b-1-20260101.000000-1.jar", "immutable"),
            ("a/b/1-SNAPSHOT/b-1-SNAPSHOT.jar", "mutable"),
            ("a/b/1-SNAPSHOT/maven-metadata.xml", "document"),
            (".meta/prefixes.txt", "document"),
            ("archetype-catalog.xml", "document"),
            ("a/b/maven-metadata.xml", "not ours"),
            ("a/b/1/b-1.jar.sha1", "not ours"),
            (".checksums/a", "not ours"),
            ("a/b/1/other", "mutable"),
        ] {
            let found = match classify(path) {
                UpstreamPath::Immutable { .. } => "immutable",
                UpstreamPath::Mutable => "mutable",
                UpstreamPath::Document(_) => "document",
                _ => "not ours",
            };
            assert_eq!(found, wanted, "{path}");
        }
    }

    #[test]
    fn pages_are_no_files() {
        for (path, kind, beginning, is_right) in [
            ("a.jar", None, &b"PK\x03\x04"[..], true),
            ("a.jar", Some("text/html"), b"PK\x03\x04", true),
            ("a.jar", None, b"<html>", false),
            ("a.pom", None, b"<?xml version=\"1.0\"?>", true),
            ("a.pom", Some("text/html"), b" \n<!DOCTYPE HTML>", false),
            ("a.pom", None, b"Sign in", false),
            ("a.tar.gz", Some("text/html; charset=utf-8"), b"<body>", false),
            ("a.tar.gz", None, b"\x1f\x8b\x08\x00", true),
            ("a.html", Some("text/html"), b"<html>", true),
        ] {
            assert_eq!(check_file(path, kind, beginning).is_ok(), is_right, "{path} {kind:?}");
        }
        assert!(read_sha1("a9993e364706816aba3e25717850c26c9cd0d89d  a.jar").is_some() && read_sha1("<html>").is_none());
    }

    #[test]
    fn prefixes_count_when_all_of_them_can_be_read() {
        let read = |text: &'static str| read_prefixes(&Bytes::from_static(text.as_bytes()));
        let prefixes = read("## repository-prefixes/2.0\n# ours\n/com/acme\n\n/org/example/\n").unwrap();
        assert!(prefixes.admits("com/acme/lib/1/lib-1.jar") && prefixes.admits("org/example/a/1/a-1.pom") && !prefixes.admits("net/a/1/a-1.pom"));
        for nothing in
            ["", "/com/acme\n", "## repository-prefixes/2.0\n", "## repository-prefixes/2.0\n@ unsupported\n", "## repository-prefixes/2.0\ncom/acme\n"]
        {
            assert_eq!(read(nothing), None, "{nothing}");
        }
        assert_eq!(read("## repository-prefixes/2.0\n/com/../acme\n"), None);
        assert_eq!(read("## repository-prefixes/2.0\n/\n"), None);
    }

    #[test]
    fn indexes_are_metadata() {
        assert_eq!(index("com.acme:my.lib").unwrap().path, "com/acme/my.lib/maven-metadata.xml");
        assert_eq!(index("acme").unwrap().path, "acme/maven-metadata.xml");
        for none in [ALL_PACKAGES, "..:x", "a:..", "a/b:c", "a:b:c", ""] {
            assert_eq!(index(none), None, "{none}");
        }
    }

    #[test]
    fn documents_are_looked_at() {
        let html = Bytes::from_static(b"<html>Sign in</html>");
        for path in [".meta/prefixes.txt", "archetype-catalog.xml", "a/b/1-SNAPSHOT/maven-metadata.xml"] {
            assert!(check(path, &html).is_err(), "{path}");
        }
        assert!(check(".meta/prefixes.txt", &Bytes::from_static(b"## repository-prefixes/2.0\n/a\n")).is_ok());
        assert!(records("a:b", &html, VERSIONS).is_err());
        let document = Bytes::from_static(b"<metadata><versioning><versions><version>1</version></versions></versioning></metadata>");
        assert_eq!(records("a:b", &document, VERSIONS).unwrap().versions[0].bytes, "1");
        assert!(records("a:b", &document, SNAPSHOT).unwrap().versions[0].bytes.is_empty());
    }
}
