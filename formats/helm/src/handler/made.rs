//! Charts of classic upstreams as container clients see them: manifest and configuration are made of the upstream's record and of the archive,
//! which is here then. What was made is found again by its digest, through a note that leads to the archive.

use bytes::Bytes;
use entrepot_kit::{ALL_PACKAGES, Conclusion, File, Read, Repository, Result, Sha256Digest, Source};
use entrepot_oci_core::{Digest, layout};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::Artifact;
use crate::chart::Chart;
use crate::document::{FileFacts, VersionDocument};
use crate::{index, name};

/// What a note says: of which version something was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    version: String,
}

/// What was made of a version, and what it was made of.
pub(crate) struct Made {
    document: VersionDocument,
    artifact: Artifact,
}

impl Made {
    /// Makes the artifact of a version; `None` when there is no such version, or it is not here to be had.
    pub(crate) async fn of(repository: &Repository<Read>, chart: &str, version: &str) -> Result<Option<Self>> {
        let Some(records) = repository.records(ALL_PACKAGES, index::FRAGMENTS).await? else { return Ok(None) };
        let Some(entry) = index::exactly(&records, chart, version) else { return Ok(None) };
        let entry: Value = serde_json::from_slice(&entry).unwrap_or_default();
        let Ok(said) = Chart::of(&entry) else { return Ok(None) };
        let Some((file, archive)) = whole(repository, &name::path(chart, version)).await? else { return Ok(None) };
        let prov = match whole(repository, &name::prov_path(chart, version)).await {
            // It would be here if it had been there when the archive came.
            Err(error) if file.source != Source::Remote && error.status().is_server_error() => None,
            other => other?.map(|(_, prov)| prov),
        };
        let created = entry.get("created").and_then(Value::as_str).unwrap_or_default().to_owned();
        let document = VersionDocument { chart: said.fields, created, archive, prov };
        Ok(Some(Self { artifact: Artifact::of(&document)?, document }))
    }

    /// The same from a note that is found where something was made before; `None` for a file that is what it seems.
    pub(crate) async fn again(member: &Repository<Read>, chart: &str, file: &File) -> Result<Option<Self>> {
        match serde_json::from_str::<Note>(&file.entry.data) {
            Ok(note) => Self::of(member, chart, &note.version).await,
            Err(_) => Ok(None),
        }
    }

    /// The bytes that have a digest, if any of what was made has.
    pub(crate) fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        let wanted = digest.as_sha256()?;
        [&self.artifact.manifest, &self.artifact.config].into_iter().find(|bytes| Sha256Digest::of(bytes) == wanted).cloned()
    }

    /// The manifest and its digest.
    pub(crate) fn manifest(&self) -> (Bytes, Digest) {
        (self.artifact.manifest.clone(), Digest::sha256(Sha256Digest::of(&self.artifact.manifest)))
    }

    /// Notes where all of it is, so that its parts are found by their digests.
    pub(crate) async fn note(&self, repository: &Repository<Read>, chart: &str, version: &str) -> Result<()> {
        let path = name::path(chart, version);
        let Some((member, _)) = repository.find(&path).await? else { return Ok(()) };
        let data = serde_json::to_string(&Note { version: version.to_owned() }).map_err(entrepot_kit::Error::internal)?;
        let of = |bytes: &Bytes| Digest::sha256(Sha256Digest::of(bytes));
        let mut notes = vec![
            (layout::manifest(chart, &of(&self.artifact.manifest).to_string()), path.clone(), data.clone()),
            (layout::blob(chart, &of(&self.artifact.config)), path.clone(), data),
        ];
        let files = [(path, Some(&self.document.archive)), (name::prov_path(chart, version), self.document.prov.as_ref())];
        for (from, facts) in files {
            let digest = facts.and_then(|facts| Sha256Digest::parse_hex(&facts.digest));
            notes.extend(digest.map(|digest| (layout::blob(chart, &Digest::sha256(digest)), from, String::new())));
        }
        for (path, from, data) in notes {
            match member.conclude(Conclusion { path, package: chart.to_owned(), from, data }).await {
                // It was tidied away meanwhile: what follows is asked for anew.
                Err(error) if error.status() == StatusCode::CONFLICT => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }
}

/// A file once it is here, with its digest.
async fn whole(repository: &Repository<Read>, path: &str) -> Result<Option<(File, FileFacts)>> {
    let Some(mut file) = repository.entry(path).await? else { return Ok(None) };
    if file.entry.digest.is_none() {
        // On its way from upstream: its digest is known once it is here.
        drop(file.content.reader().await?);
        let Some(kept) = repository.entry(path).await? else { return Ok(None) };
        file = kept;
    }
    let facts = file.entry.digest.zip(file.entry.size).map(|(digest, size)| FileFacts::new(digest, size));
    Ok(facts.map(|facts| (file, facts)))
}
