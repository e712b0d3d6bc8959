//! A chart as container clients see it: a manifest with a configuration (what the chart says of itself), the archive, and the provenance file.
//!
//! What was published classically has a manifest made of its record: the same record makes the same bytes, and so the same digest.

use bytes::Bytes;
use entrepot_kit::{Error, Result};
use entrepot_oci_core::{Descriptor, Digest, Manifest, ManifestKind, media};
use serde_json::{Map, Value, json};

use crate::document::{FileFacts, VersionDocument};

/// The media type of the configuration.
pub const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
/// The media type of the archive.
pub const ARCHIVE: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// What the first clients called it.
const OLD_ARCHIVE: &str = "application/tar+gzip";
/// The media type of the provenance file.
pub const PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";

/// What is made of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The configuration.
    pub config: Bytes,
    /// The manifest.
    pub manifest: Bytes,
}

impl Artifact {
    /// The artifact of a version.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub fn of(document: &VersionDocument) -> Result<Self> {
        let config = Bytes::from(serde_json::to_vec(&document.chart).map_err(Error::internal)?);
        let facts = FileFacts::new(entrepot_kit::Sha256Digest::of(&config), config.len() as u64);
        let layers: Vec<Value> =
            std::iter::once(descriptor(ARCHIVE, &document.archive)).chain(document.prov.as_ref().map(|prov| descriptor(PROVENANCE, prov))).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::IMAGE,
            "config": descriptor(CONFIG, &facts),
            "layers": layers,
            "annotations": annotations(document),
        });
        Ok(Self { config, manifest: serde_json::to_vec(&manifest).map_err(Error::internal)?.into() })
    }
}

fn descriptor(media_type: &str, file: &FileFacts) -> Value {
    json!({ "mediaType": media_type, "digest": format!("sha256:{}", file.digest), "size": file.size })
}

/// What Helm itself says of a chart that it pushes.
fn annotations(document: &VersionDocument) -> Map<String, Value> {
    let text = |key: &str| document.chart.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let first_source = document.chart.get("sources").and_then(|sources| sources.get(0)).and_then(Value::as_str);
    let pairs = [
        ("created", Some(document.created.as_str())),
        ("description", text("description")),
        ("source", first_source),
        ("title", text("name")),
        ("url", text("home")),
        ("version", text("version")),
    ];
    pairs.into_iter().filter_map(|(key, value)| Some((format!("org.opencontainers.image.{key}"), value?.into()))).collect()
}

/// The parts of a manifest that is a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// The archive.
    pub archive: Digest,
    /// The provenance file.
    pub prov: Option<Digest>,
}

/// Reads the parts of a chart; `None` for a manifest that says to be something else.
///
/// # Errors
/// What is wrong with a chart.
pub fn parts(manifest: &Manifest) -> std::result::Result<Option<Parts>, &'static str> {
    let is_chart = manifest.kind == ManifestKind::Image && manifest.config.as_ref().is_some_and(|config| config.media_type == CONFIG);
    if !is_chart {
        return Ok(None);
    }
    let of_type = |wanted: &[&str]| manifest.layers.iter().filter(|layer| wanted.contains(&layer.media_type.as_str())).collect::<Vec<_>>();
    let digest = |layer: &Descriptor| layer.known_digest().filter(|digest| digest.as_sha256().is_some()).ok_or("its layers must be named by SHA-256");
    let archive = match of_type(&[ARCHIVE, OLD_ARCHIVE]).as_slice() {
        [archive] => digest(archive)?,
        _ => return Err("it must have exactly one layer with a chart's archive"),
    };
    let prov = match of_type(&[PROVENANCE]).as_slice() {
        [] => None,
        [prov] => Some(digest(prov)?),
        _ => return Err("it has more than one layer with a provenance file"),
    };
    Ok(Some(Parts { archive, prov }))
}

#[cfg(test)]
mod tests {
    use super::{Artifact, CONFIG, parts};
    use crate::chart::Chart;
    use crate::document::{FileFacts, VersionDocument};
    use crate::testing::chart_yaml;
    use entrepot_kit::Sha256Digest;
    use entrepot_oci_core::{Manifest, media};

    #[test]
    fn a_record_makes_one_manifest() {
        let chart = Chart::parse(chart_yaml("web", "1.0.0+x").as_bytes()).unwrap();
        let facts = |bytes: &[u8]| FileFacts::new(Sha256Digest::of(bytes), bytes.len() as u64);
        let created = String::from("2026-11-26T08:00:00.000Z");
        let document = VersionDocument { chart: chart.fields, created, archive: facts(b"archive"), prov: Some(facts(b"prov")) };
        let artifact = Artifact::of(&document).unwrap();
        assert_eq!(artifact, Artifact::of(&VersionDocument::parse(&document.to_text().unwrap()).unwrap()).unwrap());
        let manifest = Manifest::parse(&artifact.manifest, Some(media::IMAGE), &[]).unwrap();
        assert_eq!(manifest.config.as_ref().map(|config| config.media_type.as_str()), Some(CONFIG));
        let found = parts(&manifest).unwrap().unwrap();
        assert_eq!(found.archive.as_sha256(), Some(Sha256Digest::of(b"archive")));
        assert_eq!(found.prov.and_then(|prov| prov.as_sha256()), Some(Sha256Digest::of(b"prov")));
        assert!(manifest.annotations.contains(&(String::from("org.opencontainers.image.title"), String::from("web"))));
        let other = String::from_utf8(artifact.manifest.to_vec()).unwrap();
        let read = |text: String| parts(&Manifest::parse(text.as_bytes(), Some(media::IMAGE), &[]).unwrap());
        assert_eq!(read(other.replace(CONFIG, "application/vnd.oci.image.config.v1+json")), Ok(None));
        assert!(read(other.replace("chart.content", "chart.other")).is_err());
    }
}
