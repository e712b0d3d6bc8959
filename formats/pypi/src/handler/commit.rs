//! What an upload changes: one file, its metadata and attestations, and the release and the project where they are new.

use std::sync::Arc;

use entrepot_kit::{Birth, BlobSource, Body, Change, Error, PackageState, Precondition, Publish, Repository, Result, StageSpec, Staged, VersionState};
use http::StatusCode;

use super::form::Uploaded;
use super::project::{Project, Release};
use super::{ATTEMPTS, overtaken};
use crate::metadata::Metadata;
use crate::name::file_path;
use crate::page::{FileRecord, Status};
use crate::version;

/// The media type of files: what clients do with one depends on its name alone.
pub(crate) const FILE: &str = "application/octet-stream";

/// A file that was looked at.
pub(crate) struct Upload {
    pub(crate) file: Uploaded,
    pub(crate) metadata: Metadata,
    /// The metadata, where installers may read it alone.
    pub(crate) shown: Option<Vec<u8>>,
    /// What is served of its attestations.
    pub(crate) provenance: Option<String>,
    pub(crate) record: FileRecord,
    /// The namespace in which the project is made, if it is new.
    pub(crate) namespace: Option<String>,
}

/// Where the name of a deleted file is kept.
pub(crate) fn deleted_path(project: &str, filename: &str) -> String {
    format!("deleted/{project}/{filename}")
}

/// Stores an upload, and says what was done.
///
/// # Errors
/// 400 when the name is taken by other bytes, or was; 403 when the project takes no uploads.
pub(crate) async fn commit(repository: &Repository<Publish>, upload: Upload) -> Result<String> {
    let project = upload.file.name.project.clone();
    let mut beside: Vec<(&'static str, &'static str, Arc<dyn Staged>)> = Vec::new();
    if let Some(bytes) = upload.shown.clone() {
        beside.push((".metadata", FILE, stage(repository, bytes).await?));
    }
    if let Some(document) = &upload.provenance {
        beside.push((".provenance", "application/vnd.pypi.integrity.v1+json", stage(repository, document.clone().into_bytes()).await?));
    }
    for _ in 0..ATTEMPTS {
        let Some(change) = plan(repository, &upload, &beside).await? else { return Ok(format!("{} was here already\n", upload.file.written)) };
        match repository.commit(change).await {
            Ok(_) => return Ok(format!("{} was stored\n", upload.file.written)),
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            Err(error) => return Err(error),
        }
    }
    Err(overtaken(&project))
}

async fn stage(repository: &Repository<Publish>, bytes: Vec<u8>) -> Result<Arc<dyn Staged>> {
    repository.stage_body(StageSpec::default(), Body::from(bytes::Bytes::from(bytes))).await
}

/// The change from the state that is there; `None` when it is there already.
async fn plan(repository: &Repository<Publish>, upload: &Upload, beside: &[(&'static str, &'static str, Arc<dyn Staged>)]) -> Result<Option<Change>> {
    let (name, filename) = (&upload.file.name, upload.file.written.as_str());
    let project = name.project.as_str();
    let path = file_path(project, filename);
    let state = repository.package(project).await?;
    if let Some(existing) = repository.stored(&path).await? {
        return if existing.digest == Some(upload.file.staged.digest()) { Ok(None) } else { Err(taken(filename)) };
    }
    if repository.stored(&deleted_path(project, filename)).await?.is_some() {
        return Err(deleted(filename, "it was used by a file that was deleted"));
    }
    let mut document = Project::of(state.as_ref())?;
    check_status(project, &document)?;
    let (version, found) = find_release(repository, project, &name.version).await?;
    let mut release = match &found {
        Some(found) if !found.live => return Err(deleted(filename, "its release was deleted")),
        Some(found) => Release::parse(&found.document)?,
        None => Release::new(&upload.metadata),
    };
    let is_source = name.distribution.is_source();
    if let Some(other) = release.source().filter(|_| is_source) {
        let why = format!("the release {version} of {project} has its source distribution already, {other:?}: a release has one");
        return Err(Error::bad_request(why).with_reason("Only one source distribution may be uploaded per release"));
    }
    let mut record = upload.record.clone();
    record.version.clone_from(&version);
    if upload.provenance.is_some() {
        record.file = record.file.with_provenance(project, &version);
    }
    let mut change = Change::new("publish", format!("{project} {version}: {filename}"))
        .only_if(Precondition::EntryAbsent(path.clone()))
        .only_if(Precondition::EntryAbsent(deleted_path(project, filename)));
    if is_source {
        release.set_source(Some(filename));
    }
    if found.is_none() {
        document.describe(&upload.metadata, &version);
        if let Some(namespace) = &upload.namespace {
            document.set_namespace(namespace);
        }
        change = change.only_if(Precondition::VersionNew { package: project.to_owned(), version: version.clone() }).begin(document.birth(project)?);
    } else {
        change = change.only_if(Precondition::VersionLive { package: project.to_owned(), version: version.clone() });
    }
    if found.is_none() || is_source {
        // What was decided by the state of the project holds only while that is the same. Files beside files need no such thing.
        change = change.only_if(at(project, state.as_ref())).begin(release.birth(project, &version));
    }
    change = change.begin(entry(upload, path.clone(), &version, &upload.file.staged, FILE, record.to_text()?));
    for (ending, content_type, staged) in beside {
        change = change.begin(entry(upload, format!("{path}{ending}"), &version, staged, content_type, String::new()));
    }
    Ok(Some(change))
}

/// That the project is as it was read.
pub(crate) fn at(project: &str, state: Option<&PackageState>) -> Precondition {
    Precondition::PackageAt { package: project.to_owned(), revision: state.map_or(0, |state| state.changed) }
}

fn entry(upload: &Upload, path: String, version: &str, staged: &Arc<dyn Staged>, content_type: &str, data: String) -> Birth {
    Birth::Entry {
        path,
        package: Some(upload.file.name.project.clone()),
        version: Some(version.to_owned()),
        blob: BlobSource::Staged(Arc::clone(staged)),
        content_type: Some(content_type.to_owned()),
        data,
    }
}

/// A release in whatever spelling it was made first, with its name; else the name that a new one gets. Zeros at the end of a version do not
/// count, and so there are few spellings.
pub(crate) async fn find_release<A: entrepot_kit::Access>(repository: &Repository<A>, project: &str, written: &str) -> Result<(String, Option<VersionState>)> {
    let normal = version::normalise(written);
    for spelling in version::spellings(&normal) {
        if let Some(found) = repository.version(project, &spelling).await? {
            return Ok((spelling, Some(found)));
        }
    }
    Ok((normal, None))
}

fn check_status(project: &str, document: &Project) -> Result<()> {
    let (status, reason) = document.status();
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    match status {
        Status::Active | Status::Deprecated => Ok(()),
        Status::Archived => Err(Error::forbidden(format!("the project {project:?} is archived and takes no uploads{because}"))
            .with_reason("The project is archived and takes no uploads")),
        Status::Quarantined => Err(Error::forbidden(format!("the project {project:?} is quarantined and takes no uploads{because}"))
            .with_reason("The project is quarantined and takes no uploads")),
    }
}

/// In the words that upload tools look for.
fn taken(filename: &str) -> Error {
    let why = format!("File already exists ({filename:?}, with other bytes): a file is never replaced; upload it under another version");
    Error::bad_request(why).with_reason("File already exists")
}

fn deleted(filename: &str, how: &str) -> Error {
    let why = format!("This filename has already been used, use a different version: {filename:?} is not used again, as {how}");
    Error::bad_request(why).with_reason("This filename has already been used, use a different version")
}
