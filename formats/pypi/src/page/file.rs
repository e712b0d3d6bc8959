//! One file of a page.

use std::collections::BTreeMap;

use entrepot_kit::path::encode_segment;
use entrepot_kit::{Error, Result};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::BASE;
use crate::name::file_url;

/// What a page says of a file's core metadata, which is at the file's address and `.metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CoreMetadata {
    /// There is none.
    #[default]
    None,
    /// It is there, and nothing says what it hashes to.
    Unhashed,
    /// It is there, and hashes to this: algorithms and hexadecimal digests.
    Hashed(BTreeMap<String, String>),
}

impl CoreMetadata {
    /// Metadata with that SHA-256.
    #[must_use]
    pub fn sha256(hex: impl Into<String>) -> Self {
        Self::Hashed(BTreeMap::from([(String::from("sha256"), hex.into())]))
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        *self != Self::None
    }
}

impl Serialize for CoreMetadata {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_bool(false),
            Self::Unhashed => serializer.serialize_bool(true),
            Self::Hashed(hashes) => hashes.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for CoreMetadata {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said {
            There(bool),
            Hashes(BTreeMap<String, String>),
        }
        Ok(match Said::deserialize(deserializer)? {
            Said::There(false) => Self::None,
            Said::There(true) => Self::Unhashed,
            Said::Hashes(hashes) if hashes.is_empty() => Self::Unhashed,
            Said::Hashes(hashes) => Self::Hashed(hashes),
        })
    }
}

/// A file as a page shows it: all that the simple API 1.4 says of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PageFile {
    /// Its name.
    pub filename: String,
    /// Its address, relative to the page.
    pub url: String,
    /// Algorithms and hexadecimal digests.
    #[serde(default)]
    pub hashes: BTreeMap<String, String>,
    /// Which Pythons it is for.
    #[serde(default)]
    pub requires_python: Option<String>,
    /// Its length in bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// When it was uploaded: RFC 3339 in UTC, at most microseconds.
    #[serde(default)]
    pub upload_time: Option<String>,
    /// Whether it was withdrawn, and why; an empty reason is none.
    #[serde(default, deserialize_with = "yanked::deserialize")]
    pub yanked: Option<String>,
    /// Its metadata.
    #[serde(default)]
    pub core_metadata: CoreMetadata,
    /// Whether there is a signature at the file's address and `.asc`, where that is known.
    #[serde(default)]
    pub gpg_sig: Option<bool>,
    /// Where its attestations are.
    #[serde(default)]
    pub provenance: Option<String>,
}

impl PageFile {
    /// A file of a project here, of which nothing is known but its name: its address is that of [`crate::name::file_path`].
    #[must_use]
    pub fn named(project: &str, filename: &str) -> Self {
        Self { filename: filename.to_owned(), url: file_url(project, filename), ..Self::default() }
    }

    /// The same file with attestations, which are served at `integrity/{project}/{version}/{filename}/provenance`.
    #[must_use]
    pub fn with_provenance(self, project: &str, version: &str) -> Self {
        let url = format!("{BASE}/integrity/{project}/{}/{}/provenance", encode_segment(version), encode_segment(&self.filename));
        Self { provenance: Some(url), ..self }
    }

    /// The SHA-256, where it is known.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.hashes.get("sha256").map(String::as_str)
    }
}

impl Serialize for PageFile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("filename", &self.filename)?;
        map.serialize_entry("url", &self.url)?;
        map.serialize_entry("hashes", &self.hashes)?;
        if let Some(python) = &self.requires_python {
            map.serialize_entry("requires-python", python)?;
        }
        if let Some(size) = self.size {
            map.serialize_entry("size", &size)?;
        }
        if let Some(time) = &self.upload_time {
            map.serialize_entry("upload-time", time)?;
        }
        match self.yanked.as_deref() {
            None => map.serialize_entry("yanked", &false)?,
            Some("") => map.serialize_entry("yanked", &true)?,
            Some(reason) => map.serialize_entry("yanked", reason)?,
        }
        map.serialize_entry("core-metadata", &self.core_metadata)?;
        // What older clients look for.
        map.serialize_entry("dist-info-metadata", &self.core_metadata)?;
        if let Some(signed) = self.gpg_sig {
            map.serialize_entry("gpg-sig", &signed)?;
        }
        map.serialize_entry("provenance", &self.provenance)?;
        map.end()
    }
}

/// `false`, `true`, or the reason.
mod yanked {
    use serde::{Deserialize as _, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Said {
            Whether(bool),
            Reason(Option<String>),
        }
        Ok(match Said::deserialize(deserializer)? {
            Said::Whether(true) => Some(String::new()),
            Said::Whether(false) => None,
            // The standard knows no empty reason: installers take one for "not yanked".
            Said::Reason(reason) => reason.filter(|reason| !reason.is_empty()),
        })
    }
}

/// What is kept of a file: its data in the store, and the fragment of the page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileRecord {
    /// What pages show of it.
    pub file: PageFile,
    /// The version that it belongs to, as it is listed; empty where its name does not say one.
    pub version: String,
    /// What pages do not show: other digests, the kind of the file.
    pub private: Map<String, Value>,
}

/// The text of a record: the page's object first, as the page has it.
#[derive(Serialize, Deserialize)]
pub(super) struct Parts<'a> {
    #[serde(borrow)]
    pub(super) page: &'a RawValue,
    #[serde(default, borrow)]
    pub(super) version: std::borrow::Cow<'a, str>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(super) private: Option<&'a RawValue>,
}

impl<'a> Parts<'a> {
    /// Takes a fragment apart without reading what is in the parts.
    pub(super) fn of(fragment: &'a [u8]) -> Result<Self> {
        serde_json::from_slice(fragment).map_err(Error::internal)
    }
}

impl FileRecord {
    /// Reads what [`Self::to_text`] wrote.
    ///
    /// # Errors
    /// 500 when what is stored is damaged.
    pub fn parse(text: &str) -> Result<Self> {
        let parts = Parts::of(text.as_bytes())?;
        let private = parts.private.map_or_else(|| Ok(Map::new()), |private| serde_json::from_str(private.get()).map_err(Error::internal))?;
        Ok(Self { file: serde_json::from_str(parts.page.get()).map_err(Error::internal)?, version: parts.version.into_owned(), private })
    }

    /// The record as one line of JSON.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub fn to_text(&self) -> Result<String> {
        let page = serde_json::value::to_raw_value(&self.file).map_err(Error::internal)?;
        let private = if self.private.is_empty() { None } else { Some(serde_json::value::to_raw_value(&self.private).map_err(Error::internal)?) };
        let parts = Parts { page: &page, version: self.version.as_str().into(), private: private.as_deref() };
        serde_json::to_string(&parts).map_err(Error::internal)
    }
}
