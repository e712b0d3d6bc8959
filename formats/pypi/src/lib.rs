//! Python's packages: the simple repository API in JSON and HTML, hosted, pulled through from another index, or both in one group.
//!
//! A *package* is the normalised name of a project, a *version* its normal form by PEP 440. A file is the entry `files/{project}/{filename}`;
//! its data is a [`page::FileRecord`], which is what both forms of a project's page are made of.

pub mod name;
pub mod page;
pub mod version;

/// The identifier of the format.
pub const ID: &str = "pypi";
