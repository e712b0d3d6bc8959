//! A project's page in the simple repository API: its model, its two forms, and the list of projects.
//!
//! A page is made of one fragment per file, the text of a [`FileRecord`], and of the package's document ([`ProjectDocument`]). The JSON form is their
//! concatenation; the HTML form says the same of each file, as far as it has attributes for it.

mod file;
mod html;
mod list;
mod markup;
mod negotiate;
pub mod read;
mod render;

pub use file::{CoreMetadata, FileRecord, PageFile};
pub use list::{render_list_html, render_list_json, render_projects_html, render_projects_json};
pub use negotiate::{Form, negotiate};
pub use render::{ProjectDocument, Status, render_html, render_json, variant_with_namespaces};

/// The kind of the fragments that pages are made of.
pub const FRAGMENTS: &str = "page";
/// The version of the API that is spoken.
pub const API_VERSION: &str = "1.4";
/// The version whose answers say who has a namespace.
pub const API_VERSION_NAMESPACES: &str = "1.5";
/// The version that does not promise the sizes of files, for what comes from upstreams that do not say them.
pub const API_VERSION_WITHOUT_SIZES: &str = "1.0";

/// What stands in the texts of a fragment for the repository's base URL, as it is in memory. No text that comes from elsewhere has it.
pub(crate) const BASE: char = '\u{1}';
/// The same as JSON writes it.
pub(crate) const BASE_IN_JSON: &[u8] = br"\u0001";

#[cfg(test)]
mod tests;
