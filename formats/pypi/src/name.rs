//! Names of projects and of files.

use entrepot_kit::path::{check_segments, encode_segment};

/// Longest name of a project.
pub const MAX_NAME: usize = 200;
/// Longest name of a file; what its metadata and signatures are called must fit into a path too.
pub const MAX_FILENAME: usize = 240;

/// The normal form of a name (PEP 503): lower case, each run of `-`, `_` and `.` one `-`.
#[must_use]
pub fn normalise(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            _ => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

/// Whether a text is a name of a project, as it may be written: letters and digits of ASCII at its ends, `-`, `_` and `.` between.
#[must_use]
pub fn is_valid(name: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= MAX_NAME
        && ends(name.bytes().next())
        && ends(name.bytes().next_back())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// The normal form of what is a name at all.
#[must_use]
pub fn project(name: &str) -> Option<String> {
    is_valid(name).then(|| normalise(name))
}

/// Whether a text can be the name of a file here, however old and odd: one segment of a path, and harmless in pages.
#[must_use]
pub fn is_filename(text: &str) -> bool {
    text.len() <= MAX_FILENAME
        && !text.contains('/')
        && check_segments(text).is_ok()
        && text.chars().all(|c| !c.is_whitespace() || c == ' ')
        && !text.starts_with(' ')
        && !text.ends_with(' ')
}

/// Where a file is, below the repository.
#[must_use]
pub fn file_path(project: &str, filename: &str) -> String {
    format!("{FILES}{project}/{filename}")
}

/// The address of a file as pages name it: relative to `simple/{project}/`.
#[must_use]
pub fn file_url(project: &str, filename: &str) -> String {
    format!("../../{FILES}{project}/{}", encode_segment(filename))
}

/// The folder of all files.
pub const FILES: &str = "files/";

/// What an entry path below [`FILES`] leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePath<'a> {
    /// The project, in its normal form.
    pub project: &'a str,
    /// The file that it is about.
    pub filename: &'a str,
    /// Which of its bytes.
    pub part: Part,
}

/// What there is of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The file itself.
    Itself,
    /// Its core metadata (`.metadata`).
    Metadata,
    /// Its attestations (`.provenance`).
    Provenance,
    /// Its signature by OpenPGP (`.asc`).
    Signature,
}

impl<'a> FilePath<'a> {
    /// Reads an entry path; `None` for any other path.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let (project, name) = path.strip_prefix(FILES)?.split_once('/')?;
        let parts = [(".metadata", Part::Metadata), (".provenance", Part::Provenance), (".asc", Part::Signature)];
        let found = parts.into_iter().find_map(|(suffix, part)| Some((name.strip_suffix(suffix)?, part)));
        let (filename, part) = found.unwrap_or((name, Part::Itself));
        (is_valid(project) && normalise(project) == project && is_filename(filename)).then_some(Self { project, filename, part })
    }
}

#[cfg(test)]
mod tests {
    use super::{FilePath, Part, file_path, file_url, is_filename, is_valid, normalise, project};

    #[test]
    fn runs_of_separators_are_one_dash() {
        for (written, normal) in [
            ("Acme.Foo_Bar", "acme-foo-bar"),
            ("a..b", "a-b"),
            ("a-_.b", "a-b"),
            ("a___b--c", "a-b-c"),
            ("zope.interface", "zope-interface"),
            ("A", "a"),
            ("0", "0"),
            ("ruamel.yaml.clib", "ruamel-yaml-clib"),
        ] {
            assert_eq!(project(written).as_deref(), Some(normal), "{written}");
            assert_eq!(normalise(normal), normal);
        }
    }

    #[test]
    fn names_are_of_ascii_and_have_ends() {
        for bad in ["", "-a", "a-", ".a", "a.", "_", "a b", "a/b", "ä", "a\n", "a%2e", "../x", &"a".repeat(201)] {
            assert!(!is_valid(bad), "{bad:?}");
            let _ = normalise(bad);
        }
    }

    #[test]
    fn odd_files_have_names_and_tricks_have_none() {
        for good in
            ["torch-2.1.0+cu121-cp311-cp311-linux_x86_64.whl", "Old Thing-1.0.win32 (py2.7).exe", "é-1.0.tar.gz", "a", "x-1!2.0.zip", "a-1.0'\"<b>&.zip"]
        {
            assert!(is_filename(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\\b", "a\nb", "a\u{0}", " a", "a ", "a\u{a0}b\tc", &"a".repeat(241)] {
            assert!(!is_filename(bad), "{bad:?}");
        }
    }

    #[test]
    fn paths_say_what_they_lead_to() {
        let path = file_path("acme-foo", "acme_foo-1.0+x.whl");
        assert_eq!(path, "files/acme-foo/acme_foo-1.0+x.whl");
        assert_eq!(file_url("acme-foo", "a b+c%.whl"), "../../files/acme-foo/a%20b+c%25.whl");
        let parse = |path| FilePath::parse(path).map(|found| (found.project, found.filename, found.part));
        assert_eq!(parse(&path), Some(("acme-foo", "acme_foo-1.0+x.whl", Part::Itself)));
        assert_eq!(parse("files/a/a-1.whl.metadata"), Some(("a", "a-1.whl", Part::Metadata)));
        assert_eq!(parse("files/a/a-1.whl.provenance"), Some(("a", "a-1.whl", Part::Provenance)));
        assert_eq!(parse("files/a/a-1.whl.asc"), Some(("a", "a-1.whl", Part::Signature)));
        for bad in ["", "files/", "files/a", "files/a/", "files/A/a", "files/a.b/a", "files/a/b/c", "files/a/.metadata", "simple/a/", "x/files/a/b"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
