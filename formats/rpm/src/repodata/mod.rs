//! Repository metadata: its documents, their names, and `repomd.xml`, which names them.
//!
//! Every state of a folder is a *generation*, named by the revision that made it. Documents are called by their SHA-256 and their generation
//! (`<sha256>-r12-primary.xml.gz`): whoever read a `repomd.xml` finds what it names however much is published meanwhile, because any
//! generation can be made once more from the records, for as long as the history goes back.

mod compress;
pub mod read;
mod repomd;

use std::fmt::Write as _;

use entrepot_kit::{Moment, Timestamp};

pub(crate) use compress::{Compressor, Part, whole};
pub use read::Listed;
pub(crate) use repomd::LARGEST as LARGEST_REPOMD;
pub use repomd::{Data, Repomd};

/// The folder of metadata.
pub const FOLDER: &str = "repodata";
/// The document that names the others.
pub const REPOMD: &str = "repomd.xml";
/// Its signature.
pub const SIGNATURE: &str = "repomd.xml.asc";
/// The public keys of signatures.
pub const KEY: &str = "repomd.xml.key";

/// A document that is made of what packages say of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What most programs need to know.
    Primary,
    /// All files.
    Filelists,
    /// Change logs.
    Other,
}

impl Kind {
    /// All of them, in the order of `repomd.xml`.
    pub const ALL: [Self; 3] = [Self::Primary, Self::Filelists, Self::Other];

    /// Its type in `repomd.xml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Filelists => "filelists",
            Self::Other => "other",
        }
    }

    /// What it begins with.
    fn beginning(self, packages: u64) -> String {
        let spaces = match self {
            Self::Primary => "metadata xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"",
            Self::Filelists => "filelists xmlns=\"http://linux.duke.edu/metadata/filelists\"",
            Self::Other => "otherdata xmlns=\"http://linux.duke.edu/metadata/other\"",
        };
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{spaces} packages=\"{packages}\">\n")
    }

    fn end(self) -> &'static str {
        match self {
            Self::Primary => "</metadata>",
            Self::Filelists => "</filelists>",
            Self::Other => "</otherdata>",
        }
    }
}

/// How documents are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// What every client reads.
    Gzip,
    /// Smaller and quicker; the clients of EL 7 do not know it.
    Zstd,
}

impl Compression {
    /// The ending of file names.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }

    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => "application/gzip",
            Self::Zstd => "application/zstd",
        }
    }

    fn of_ending(ending: &str) -> Option<Self> {
        [Self::Gzip, Self::Zstd].into_iter().find(|compression| compression.ending() == ending)
    }
}

/// The name of a document of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: &'a str,
    /// Its generation: a revision, or in a group a time.
    pub moment: Moment,
    /// Which document.
    pub kind: Kind,
    /// How it is compressed.
    pub compression: Compression,
}

impl<'a> Name<'a> {
    /// Reads a name; `None` for any other file.
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        let (sha256, rest) = name.split_at_checked(64).filter(|(digits, _)| is_hex(digits))?;
        let (moment, rest) = rest.strip_prefix('-')?.split_once('-')?;
        let number = |digits: &str| digits.parse().ok().filter(|_| !digits.starts_with(['+', '-']));
        let moment = match moment.split_at_checked(1)? {
            ("r", digits) => Moment::Revision(u64::try_from(number(digits)?).ok()?),
            ("t", digits) => Moment::Time(Timestamp(number(digits)?)),
            _ => return None,
        };
        let (kind, compression) = rest.split_once(".xml.")?;
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
        Some(Self { sha256, moment, kind, compression: Compression::of_ending(compression)? })
    }
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let moment = match self.moment {
            Moment::Revision(revision) => format!("r{revision}"),
            Moment::Time(time) => format!("t{}", time.0),
        };
        write!(f, "{}-{moment}-{}.xml.{}", self.sha256, self.kind.name(), self.compression.ending())
    }
}

/// Whether these are lower-case hexadecimal digits.
pub(crate) fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The path of a file in the metadata of a folder (empty, or ending with a slash).
#[must_use]
pub fn path(folder: &str, name: &str) -> String {
    format!("{folder}{FOLDER}/{name}")
}

/// Splits the path of a file of metadata: the folder that it is about (empty, or ending with a slash), and its name.
#[must_use]
pub fn split(path: &str) -> Option<(&str, &str)> {
    let (above, name) = path.rsplit_once('/')?;
    let folder = above.strip_suffix(FOLDER).filter(|folder| folder.is_empty() || folder.ends_with('/'))?;
    Some((folder, name))
}

/// The `.repo` file of a folder.
#[derive(Debug)]
pub(crate) struct RepoFile<'a> {
    /// Its name within brackets.
    pub(crate) id: &'a str,
    /// Where the folder is.
    pub(crate) url: &'a str,
    /// Whether its metadata is signed, and by which keys: addresses.
    pub(crate) keys: &'a [String],
    /// Whether packages must be signed by one of these keys.
    pub(crate) gpgcheck: bool,
    /// Whether metadata must be.
    pub(crate) repo_gpgcheck: bool,
}

impl RepoFile<'_> {
    pub(crate) fn text(&self) -> String {
        let digit = u8::from;
        let mut text = format!("[{id}]\nname={id}\nbaseurl={url}\nenabled=1\n", id = self.id, url = self.url);
        let _ = writeln!(text, "gpgcheck={}\nrepo_gpgcheck={}", digit(self.gpgcheck), digit(self.repo_gpgcheck));
        if !self.keys.is_empty() {
            let _ = writeln!(text, "gpgkey={}", self.keys.join("\n       "));
        }
        // What was installed is asked for when it is, not two days later.
        text.push_str("metadata_expire=300\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Compression, Kind, Name, split};
    use entrepot_kit::{Moment, Timestamp};

    #[test]
    fn names_are_read_as_they_are_written() {
        let sha256 = "0a".repeat(32);
        for moment in [Moment::Revision(0), Moment::Revision(u64::try_from(i64::MAX).unwrap()), Moment::Time(Timestamp(1_700_000_000_000))] {
            for kind in Kind::ALL {
                let name = Name { sha256: &sha256, moment, kind, compression: Compression::Zstd };
                let text = name.to_string();
                assert!(text.starts_with(&sha256) && text.ends_with(&format!("-{}.xml.zst", kind.name())), "{text}");
                assert_eq!(Name::parse(&text), Some(name), "{text}");
            }
        }
        let bad = ["", "repomd.xml", "-r1-primary.xml.gz", "r1-primary.xml.gz", "x-r1-primary.xml.gz"];
        let close = ["-r-1-primary.xml.gz", "-r+1-primary.xml.gz", "-r1-secondary.xml.gz", "-r1-primary.xml.xz", "-primary.xml.gz", "-ré-primary.xml.gz"];
        for name in bad.into_iter().map(str::to_owned).chain(close.into_iter().map(|rest| format!("{sha256}{rest}"))) {
            assert_eq!(Name::parse(&name), None, "{name}");
        }
    }

    #[test]
    fn paths_of_metadata_are_split() {
        assert_eq!(split("repodata/repomd.xml"), Some(("", "repomd.xml")));
        assert_eq!(split("el9/x/repodata/repomd.xml"), Some(("el9/x/", "repomd.xml")));
        for other in ["repomd.xml", "myrepodata/repomd.xml", "repodata/x/y", "a.rpm"] {
            assert_eq!(split(other), None, "{other}");
        }
    }
}
