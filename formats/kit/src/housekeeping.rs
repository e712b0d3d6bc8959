//! What housekeeping asks a format about the paths of a package: what holds what, so that nothing goes that something needs;
//! and what goes by the format's own rules.

use crate::time::Timestamp;

/// How a live path of a package is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// By itself: it stays until its version goes, or somebody ends it.
    Itself,
    /// It is a document, which goes when no version leads to the same bytes, no document that stays holds it, and nobody used it for long.
    Document,
    /// A mark that goes with the document of the same bytes: that lives as long as the document at this path, whatever else holds it.
    HeldBy(
        /// The path.
        String,
    ),
    /// A mark that goes with the document of the same bytes: that holds the document at this path as long as it lives itself.
    Holds(
        /// The path.
        String,
    ),
    /// Bytes that only documents need ([`crate::Format::parts`]).
    Part,
}

/// A folder of the format's own with what waits for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The folder, with a slash at its end.
    pub folder: &'static str,
    /// After how many days it goes.
    pub days: u32,
    /// Whether all of a folder below it goes together, so long after the last of it came; else each path goes by itself.
    pub together: bool,
}

/// What lives in a hosted package.
#[derive(Debug, Clone, Default)]
pub struct Held<'a> {
    /// Its name.
    pub package: &'a str,
    /// Its versions, and when they were first published.
    pub versions: Vec<(&'a str, Timestamp)>,
    /// Its files.
    pub files: Vec<HeldFile<'a>>,
}

/// A file that lives.
#[derive(Debug, Clone, Copy)]
pub struct HeldFile<'a> {
    /// Its path.
    pub path: &'a str,
    /// The version that it belongs to.
    pub version: Option<&'a str>,
    /// When it was published.
    pub created: Timestamp,
}

/// What goes of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outdated {
    /// Versions as a whole.
    pub versions: Vec<String>,
    /// Files of versions that stay, by version.
    pub files: Vec<(String, Vec<String>)>,
}
