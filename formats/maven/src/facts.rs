//! What is found by a look into a file that is sent: kept with those that wait in a stage, so that none is read twice.

use std::io::Read as _;
use std::sync::Arc;

use entrepot_kit::{Error, LimitedReader, Result, Staged, blocking};
use serde::{Deserialize, Serialize};

use crate::coordinates::Coordinates;
use crate::metadata::Plugin;
use crate::plugin;
use crate::pom::Pom;

/// Most bytes of a pom that is read.
const LARGEST_POM: u64 = 4 << 20;
/// How a signature by OpenPGP begins.
const ARMOR: &[u8] = b"-----BEGIN PGP SIGNATURE-----";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The plugin that a jar is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plugin: Option<Plugin>,
    /// Whether a jar is an archetype.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) archetype: bool,
    /// What a pom says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pom: Option<Pom>,
    /// Whether it is a signature.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) signature: bool,
}

impl Facts {
    /// Looks into a file.
    ///
    /// # Errors
    /// Failures of the store: what cannot be understood tells nothing.
    pub(crate) async fn of(staged: &Arc<dyn Staged>, coordinates: &Coordinates<'_>) -> Result<Self> {
        let artifact = coordinates.artifact.to_owned();
        match (coordinates.classifier, coordinates.extension) {
            ("", "jar") => {
                let reader = staged.reader().await?;
                blocking(move || {
                    let (plugin, archetype) = plugin::read(reader);
                    // What the descriptor says of its own name is for people; where it is deployed counts.
                    Ok(Self { plugin: plugin.map(|plugin| Plugin { artifact, ..plugin }), archetype, ..Self::default() })
                })
                .await
            }
            ("", "pom") if staged.size() <= LARGEST_POM => {
                let reader = staged.reader().await?;
                blocking(move || {
                    let mut text = Vec::new();
                    LimitedReader::new(reader, LARGEST_POM).read_to_end(&mut text).map_err(Error::internal)?;
                    Ok(Self { pom: std::str::from_utf8(&text).ok().and_then(Pom::parse), ..Self::default() })
                })
                .await
            }
            (_, extension) if extension.ends_with(".asc") => {
                let reader = staged.reader().await?;
                blocking(move || {
                    let mut beginning = Vec::new();
                    reader.take(ARMOR.len() as u64).read_to_end(&mut beginning).map_err(Error::internal)?;
                    Ok(Self { signature: beginning == ARMOR, ..Self::default() })
                })
                .await
            }
            _ => Ok(Self::default()),
        }
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// 500 for a damaged record.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.is_empty() { Ok(Self::default()) } else { serde_json::from_str(text).map_err(Error::internal) }
    }

    /// Writes it down.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub(crate) fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }
}
