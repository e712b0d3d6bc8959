//! The record of a version: what the chart says of itself, and what is known of its files. Both views are made of it.

use bytes::Bytes;
use entrepot_kit::{Error, Fragment, Result, Sha256Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chart::Chart;
use crate::index::{self, Entry};

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Its SHA-256, in hexadecimal digits.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
}

impl FileFacts {
    /// Those of a file.
    #[must_use]
    pub fn new(digest: Sha256Digest, size: u64) -> Self {
        Self { digest: digest.hex(), size }
    }
}

/// The record of a version of a chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionDocument {
    /// The fields of its `Chart.yaml`.
    pub chart: Map<String, Value>,
    /// When it was published, as RFC 3339.
    pub created: String,
    /// The archive.
    pub archive: FileFacts,
    /// The provenance file, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prov: Option<FileFacts>,
}

impl VersionDocument {
    /// Reads a record; `None` for a version that is no chart (the signature of one).
    #[must_use]
    pub fn parse(document: &str) -> Option<Self> {
        serde_json::from_str(document).ok()
    }

    /// As it is kept.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }

    /// Its part of the index.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub fn fragment(&self) -> Result<Fragment> {
        let Ok(chart) = Chart::of(&self.chart.clone().into()) else { return Err(Error::internal("a record of something that is no chart")) };
        let entry = Entry { chart: &chart, created: &self.created, digest: Some(&self.archive.digest), urls: None };
        Ok(Fragment { kind: index::FRAGMENTS, bytes: Bytes::from(entry.to_bytes()?) })
    }
}
