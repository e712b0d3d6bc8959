//! What is kept of packages and versions as JSON.

use entrepot_kit::{Error, Fragment, Result};
use serde::{Deserialize, Serialize};

use crate::info::Info;

/// The kind of the fragments that indexes are made of.
pub const INDEX: &str = "index";

/// What is said of a package as a whole: that of its upload that came last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PackageDocument {
    /// What it is, in a line.
    pub description: String,
    /// Where its project is.
    pub url: String,
    /// Its licence.
    pub license: String,
    /// What it was built from.
    pub origin: String,
}

impl PackageDocument {
    /// What a package says of itself.
    #[must_use]
    pub fn of(info: &Info) -> Self {
        Self { description: info.description.clone(), url: info.url.clone(), license: info.license.clone(), origin: info.origin.clone() }
    }

    /// As text.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }
}

/// A file of a package: each is a version of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionDocument {
    /// Its record in an index.
    pub record: String,
}

impl VersionDocument {
    /// As text.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }
}

/// The fragment of a version.
///
/// # Errors
/// 500 when the document is none of this format.
pub fn fragments(document: &str) -> Result<Vec<Fragment>> {
    let document: VersionDocument = serde_json::from_str(document).map_err(Error::internal)?;
    Ok(vec![Fragment { kind: INDEX, bytes: document.record.into() }])
}
