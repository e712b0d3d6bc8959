//! What an upload changes: a version of a chart, its files, and the chart where it is new.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{
    Access, Birth, BlobSource, Body, Change, Death, Entry, Error, Overwrite, PackageState, Precondition, Publish, Repository, Resource, Result, Sha256Digest,
    StageSpec, Staged,
};
use entrepot_oci_core::name::is_name;
use entrepot_oci_core::{Digest, check_tag, layout, media};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{ATTEMPTS, overtaken};
use crate::artifact::Artifact;
use crate::chart::Chart;
use crate::document::{FileFacts, VersionDocument};
use crate::name;
use crate::provenance::Provenance;
use crate::settings::{self, OverwriteRule};
use crate::version::tag;

/// The media type of charts.
pub(crate) const ARCHIVE: &str = "application/gzip";
/// The media type of provenance files.
pub(crate) const PROVENANCE: &str = "application/pgp-signature";
/// Most words of a chart.
const MOST_TERMS: usize = 64;
/// Longest word that is kept.
const LONGEST_TERM: usize = 64;

/// A chart that was looked at.
pub(crate) struct Archive {
    pub(crate) chart: Chart,
    pub(crate) digest: Sha256Digest,
    pub(crate) size: u64,
    pub(crate) bytes: BlobSource,
}

/// A provenance file that was read.
pub(crate) struct ProvFile {
    pub(crate) said: Provenance,
    pub(crate) digest: Sha256Digest,
    pub(crate) size: u64,
    pub(crate) bytes: BlobSource,
}

/// What came in: a chart, a provenance file or both.
pub(crate) struct Upload {
    pub(crate) archive: Option<Archive>,
    pub(crate) prov: Option<ProvFile>,
    /// The manifest that a container client pushed.
    pub(crate) manifest: Option<Pushed>,
    /// Whether other bytes shall take the place of what is there.
    pub(crate) force: bool,
}

/// A manifest with its parts here.
pub(crate) struct Pushed {
    pub(crate) staged: Arc<dyn Staged>,
    pub(crate) digest: Digest,
    /// Where its parts are, besides archive and provenance file.
    pub(crate) blobs: BTreeSet<String>,
}

/// What the entry of a provenance file says that came before its chart.
#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    archive: String,
}

impl Upload {
    fn chart(&self) -> Option<&Chart> {
        self.archive.as_ref().map(|archive| &archive.chart).or_else(|| self.prov.as_ref().map(|prov| &prov.said.chart))
    }

    /// The chart's name.
    pub(crate) fn name(&self) -> &str {
        self.chart().map_or("", |chart| &chart.name)
    }

    /// The chart's version.
    pub(crate) fn version(&self) -> &str {
        self.chart().map_or("", |chart| &chart.version)
    }

    /// Whether the two belong together.
    pub(crate) fn check(&self) -> Result<()> {
        match (&self.archive, &self.prov) {
            (Some(archive), Some(prov)) => check_prov(prov, &archive.chart.name, &archive.chart.version, &archive.digest.hex()),
            _ => Ok(()),
        }
    }
}

fn check_prov(prov: &ProvFile, name: &str, version: &str, digest: &str) -> Result<()> {
    let said = &prov.said;
    if said.chart.name != name || said.chart.version != version {
        let why = format!("the provenance file is that of {} {}, and the chart is {name} {version}", said.chart.name, said.chart.version);
        return Err(Error::bad_request(why));
    }
    if said.digest.hex() != digest {
        return Err(Error::bad_request(format!("the provenance file is that of other bytes (sha256:{}) than the chart's (sha256:{digest})", said.digest)));
    }
    Ok(())
}

/// Stores an upload. What is here already is not stored again.
///
/// # Errors
/// 409 when the version is there with other bytes.
pub(crate) async fn commit(repository: &Repository<Publish>, upload: Upload) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let Some(change) = plan(repository, &upload).await? else { return Ok(()) };
        match repository.commit(change).await {
            Ok(_) => return Ok(()),
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            Err(error) => return Err(error),
        }
    }
    Err(overtaken(upload.name()))
}

/// The change from the state that is there; `None` when nothing changes.
async fn plan(repository: &Repository<Publish>, upload: &Upload) -> Result<Option<Change>> {
    let (name, version) = (upload.name(), upload.version());
    let state = repository.package(name).await?;
    let found = repository.version(name, version).await?;
    let (is_live, known) = found.map_or((false, None), |found| (found.live, VersionDocument::parse(&found.document)));
    let mut change = Change::new("publish", format!("{name} {version}")).only_if(at(name, state.as_ref()));
    let is_same = |known: &VersionDocument, archive: &Archive| known.archive.digest == archive.digest.hex();
    let mut document = match (&upload.archive, known) {
        (Some(archive), Some(known)) if is_live && is_same(&known, archive) => known,
        (Some(archive), known) => {
            if known.is_some_and(|known| !is_same(&known, archive)) {
                check_overwrite(repository, upload, is_live).await?;
                change = change.end(Death::Version { package: name.to_owned(), version: version.to_owned() });
            }
            change = change.begin(entry(upload, name::path(name, version), true, archive.bytes.clone(), ARCHIVE, String::new()));
            VersionDocument {
                chart: archive.chart.fields.clone(),
                created: repository.now().rfc3339(),
                archive: FileFacts::new(archive.digest, archive.size),
                prov: None,
            }
        }
        (None, Some(known)) if is_live => known,
        (None, _) => return wait(repository, upload, change).await,
    };
    let before = change.births.is_empty().then(|| document.clone());
    change = with_prov(repository, upload, &mut document, change).await?;
    if before.as_ref() == Some(&document) {
        return also(repository, upload, change).await;
    }
    change = match &upload.manifest {
        Some(pushed) => with_manifest(upload, pushed, true, change),
        None => with_artifact(repository, upload, &document, change).await?,
    };
    change = change.begin(Birth::Version { package: name.to_owned(), version: version.to_owned(), document: document.to_text()? });
    let package = Birth::Package { package: name.to_owned(), document: String::from("{}"), terms: terms(upload) };
    change.births.insert(0, package);
    Ok(Some(change))
}

/// One more manifest of a chart that is here as it is: found by its digest, as the tag stays where it is.
async fn also(repository: &Repository<Publish>, upload: &Upload, change: Change) -> Result<Option<Change>> {
    let Some(pushed) = &upload.manifest else { return Ok(None) };
    if repository.stored(&layout::manifest(upload.name(), &pushed.digest.to_string())).await?.is_some() {
        return Ok(None);
    }
    Ok(Some(with_manifest(upload, pushed, false, change)))
}

/// Adds a manifest that was pushed, and its tag.
fn with_manifest(upload: &Upload, pushed: &Pushed, is_tagged: bool, change: Change) -> Change {
    // What the client saw here may have been tidied away since.
    let change = pushed.blobs.iter().fold(change, |change, path| change.begin(Birth::Again(path.clone())));
    let change = if is_tagged { with_blobs(upload, None, change) } else { change };
    references(upload, &pushed.digest, is_tagged, &pushed.staged, change)
}

/// Adds what container clients ask for, made of the record. Charts with names that these cannot call are not there for them.
async fn with_artifact(repository: &Repository<Publish>, upload: &Upload, document: &VersionDocument, change: Change) -> Result<Change> {
    if !is_name(upload.name()) || check_tag(&tag(upload.version())).is_err() {
        return Ok(change);
    }
    let Artifact { config, manifest } = Artifact::of(document)?;
    let (config, manifest) = (stage(repository, config).await?, stage(repository, manifest).await?);
    let change = change.begin(blob(upload, config.digest(), BlobSource::Staged(Arc::clone(&config))));
    let change = with_blobs(upload, document.prov.as_ref(), change);
    Ok(references(upload, &Digest::sha256(manifest.digest()), true, &manifest, change))
}

/// A manifest under its digest, and under its tag.
fn references(upload: &Upload, digest: &Digest, is_tagged: bool, staged: &Arc<dyn Staged>, change: Change) -> Change {
    let (digest, tag) = (digest.to_string(), tag(upload.version()));
    std::iter::once(&digest).chain(is_tagged.then_some(&tag)).fold(change, |change, reference| {
        let source = BlobSource::Staged(Arc::clone(staged));
        change.begin(entry(upload, layout::manifest(upload.name(), reference), true, source, media::IMAGE, String::new()))
    })
}

/// The archive and the provenance file as parts of a manifest: they belong to the version, and go and come back with it. `prov` is that of
/// the record, which may have waited for the chart.
fn with_blobs(upload: &Upload, prov: Option<&FileFacts>, mut change: Change) -> Change {
    if let Some(archive) = &upload.archive {
        change = change.begin(blob(upload, archive.digest, archive.bytes.clone()));
    }
    match (&upload.prov, prov.and_then(|prov| Sha256Digest::parse_hex(&prov.digest))) {
        (Some(prov), _) => change.begin(blob(upload, prov.digest, prov.bytes.clone())),
        (None, Some(digest)) => change.begin(blob(upload, digest, BlobSource::Entry(name::prov_path(upload.name(), upload.version())))),
        (None, None) => change,
    }
}

fn blob(upload: &Upload, digest: Sha256Digest, blob: BlobSource) -> Birth {
    Birth::Entry {
        path: layout::blob(upload.name(), &Digest::sha256(digest)),
        package: Some(upload.name().to_owned()),
        version: Some(upload.version().to_owned()),
        blob,
        content_type: None,
        data: String::new(),
    }
}

async fn stage(repository: &Repository<Publish>, bytes: Bytes) -> Result<Arc<dyn Staged>> {
    repository.stage_body(StageSpec::default(), Body::from(bytes)).await
}

/// That the chart is as it was read.
fn at(name: &str, state: Option<&PackageState>) -> Precondition {
    Precondition::PackageAt { package: name.to_owned(), revision: state.map_or(0, |state| state.changed) }
}

/// Adds the provenance file that came, or that waits for this chart.
async fn with_prov(repository: &Repository<Publish>, upload: &Upload, document: &mut VersionDocument, change: Change) -> Result<Change> {
    let (name, version) = (upload.name(), upload.version());
    let path = name::prov_path(name, version);
    if let Some(prov) = &upload.prov {
        check_prov(prov, name, version, &document.archive.digest)?;
        let facts = FileFacts::new(prov.digest, prov.size);
        if document.prov.as_ref() == Some(&facts) {
            return Ok(change);
        }
        if document.prov.is_some() {
            check_overwrite(repository, upload, true).await?;
        }
        document.prov = Some(facts);
        return Ok(change.begin(entry(upload, path, true, prov.bytes.clone(), PROVENANCE, String::new())));
    }
    if change.births.is_empty() {
        return Ok(change);
    }
    let Some(waiting) = repository.stored(&path).await?.filter(|entry| entry.version.is_none()) else { return Ok(change) };
    match (waits_for(&waiting), waiting.digest, waiting.size) {
        (Some(archive), Some(digest), Some(size)) if archive == document.archive.digest => {
            document.prov = Some(FileFacts::new(digest, size));
            Ok(change.begin(entry(upload, path.clone(), true, BlobSource::Entry(path), PROVENANCE, String::new())))
        }
        // It is of other bytes than those that came.
        _ => Ok(change.end(Death::Entry(path))),
    }
}

fn waits_for(entry: &Entry) -> Option<String> {
    serde_json::from_str::<Waiting>(&entry.data).ok().map(|waiting| waiting.archive)
}

/// Keeps a provenance file that came before its chart.
async fn wait(repository: &Repository<Publish>, upload: &Upload, change: Change) -> Result<Option<Change>> {
    let Some(prov) = &upload.prov else { return Ok(None) };
    let path = name::prov_path(upload.name(), upload.version());
    if repository.stored(&path).await?.is_some_and(|entry| entry.digest == Some(prov.digest)) {
        return Ok(None);
    }
    let data = serde_json::to_string(&Waiting { archive: prov.said.digest.hex() }).map_err(Error::internal)?;
    let package = Birth::Package { package: upload.name().to_owned(), document: String::from("{}"), terms: terms(upload) };
    Ok(Some(change.begin(package).begin(entry(upload, path, false, prov.bytes.clone(), PROVENANCE, data))))
}

fn terms(upload: &Upload) -> Vec<String> {
    let mut terms = upload.chart().map(Chart::terms).unwrap_or_default();
    terms.retain(|term| (1..=LONGEST_TERM).contains(&term.len()));
    terms.truncate(MOST_TERMS);
    terms
}

fn entry(upload: &Upload, path: String, is_of_version: bool, blob: BlobSource, content_type: &str, data: String) -> Birth {
    Birth::Entry {
        path,
        package: Some(upload.name().to_owned()),
        version: is_of_version.then(|| upload.version().to_owned()),
        blob,
        content_type: Some(content_type.to_owned()),
        data,
    }
}

/// Refuses other bytes under a version that is taken, unless the repository lets them be replaced and the caller may do that.
async fn check_overwrite<A: Access>(repository: &Repository<A>, upload: &Upload, is_live: bool) -> Result<()> {
    let (name, version) = (upload.name(), upload.version());
    let rule = settings::overwrite(repository);
    let refused = |what: &str| {
        let is = if is_live { "file already exists" } else { "file was deleted" };
        Err(Error::conflict(format!("{is}: {name} {version} has other bytes; {what}")))
    };
    match (rule, upload.force) {
        (OverwriteRule::Never, _) => return refused("no version is replaced here (the repository's setting \"overwrite\"): publish another one"),
        (OverwriteRule::Force, false) => return refused("publish another version, or replace this one with ?force"),
        (OverwriteRule::Force, true) | (OverwriteRule::Always, _) => {}
    }
    repository.grant::<Overwrite>(&Resource::Package(name.to_owned())).await.map(drop)
}
