//! Repositories that an artifactapi file declares: what that says besides of them.

use entrepot_kit::{Error, Result};
use serde::Deserialize as _;

/// The setting.
pub const ARTIFACTAPI: &str = "artifactapi";

/// What kind of files a remote has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Package {
    /// Any.
    #[default]
    Generic,
    /// Packages of Alpine Linux and their indexes.
    Alpine,
    /// Packages of rpm and their `repodata`.
    Rpm,
    /// Images.
    Docker,
}

/// Each name, and the kind that it is of.
const PACKAGES: [(&str, Package); 4] = [("generic", Package::Generic), ("alpine", Package::Alpine), ("rpm", Package::Rpm), ("docker", Package::Docker)];

impl Package {
    /// The names of all.
    pub const NAMES: [&'static str; 4] = [PACKAGES[0].0, PACKAGES[1].0, PACKAGES[2].0, PACKAGES[3].0];

    /// The kind of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        PACKAGES.iter().find(|(known, _)| *known == name).map(|(_, package)| *package)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        PACKAGES.iter().find(|(_, package)| *package == self).map_or("generic", |(name, _)| name)
    }

    /// The format of a repository with such files. Those of Alpine and rpm are files like any others here: what may be asked for, and what is
    /// fresh, the patterns say.
    #[must_use]
    pub fn format(self) -> &'static str {
        match self {
            Self::Docker => "oci",
            Self::Generic | Self::Alpine | Self::Rpm => "generic",
        }
    }

    /// Paths that name something else each day: always served, and fetched anew when they expire.
    #[must_use]
    pub fn mutable(self) -> &'static [&'static str] {
        match self {
            Self::Generic => &[],
            Self::Alpine => &[r"APKINDEX\.tar\.gz$"],
            Self::Rpm => &[r"repomd\.xml$", r"(^|/)repodata/", r"Packages\.gz$"],
            Self::Docker => &[r"/manifests/[^/:]+$", r"/tags/list$"],
        }
    }
}

/// What is known of a remote besides.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Remote {
    /// What its files are.
    pub package: Package,
    /// For people.
    pub description: String,
}

impl Remote {
    /// Reads the setting; `None` for a repository that is no remote.
    ///
    /// # Errors
    /// 400 saying what is wrong with it.
    pub fn from_settings(settings: &serde_json::Value) -> Result<Option<Self>> {
        let Some(value) = settings.get(ARTIFACTAPI) else { return Ok(None) };
        Self::deserialize(value).map(Some).map_err(|error| Error::bad_request(format!("{ARTIFACTAPI}: {error}")))
    }
}
