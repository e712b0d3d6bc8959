//! What housekeeping asks a format about the paths of a package: what holds what, so that nothing goes that something needs.

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
