//! The legacy JSON API: what some tools still ask for about a project or a release.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use entrepot_kit::route::Answer;
use entrepot_kit::{BaseUrl, Document, Error, Read, Records, Repository, Request, Response, Result, blocking};
use futures::StreamExt as _;
use serde_json::{Map, Value, json};

use super::commit::find_release;
use super::project::Release;
use super::{Named, named, no_project, redirect};
use crate::metadata::{LARGEST, Metadata};
use crate::name::file_path;
use crate::page::{FRAGMENTS, FileRecord, ProjectDocument, Status};
use crate::version;

/// `GET /pypi/{project}/json`.
pub(crate) fn project(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move { answer(repository, request, None).await })
}

/// `GET /pypi/{project}/{version}/json`.
pub(crate) fn release(repository: Repository<Read>, request: Request) -> Answer {
    let version = request.captures.get("version").to_owned();
    Box::pin(async move { answer(repository, request, Some(version)).await })
}

/// The files of a project by release, the newest release last.
struct Files {
    releases: Vec<(String, Vec<FileRecord>)>,
    document: ProjectDocument,
    serial: Option<u64>,
}

impl Files {
    fn of(records: &Records) -> Result<Self> {
        let document = ProjectDocument::parse(&records.document)?;
        let mut releases: BTreeMap<String, (String, Vec<FileRecord>)> = BTreeMap::new();
        for record in records.versions.iter().filter(|_| document.status != Status::Quarantined) {
            let text = std::str::from_utf8(&record.bytes).map_err(Error::internal)?;
            let record = FileRecord::parse(text)?;
            let (_, files) = releases.entry(version::key(&record.version)).or_insert_with(|| (record.version.clone(), Vec::new()));
            files.push(record);
        }
        let mut releases: Vec<_> = releases.into_values().collect();
        releases.sort_by(|(one, _), (other, _)| version::compare(one, other));
        Ok(Self { releases, document, serial: records.stamp.parse().ok() })
    }

    fn is_yanked(files: &[FileRecord]) -> bool {
        !files.is_empty() && files.iter().all(|record| record.file.yanked.is_some())
    }

    /// The release that is shown where none is asked for: the newest that is final and not yanked, else the newest.
    fn latest(&self) -> Option<&(String, Vec<FileRecord>)> {
        let is_final = |text: &str| version::parse(text).is_some_and(|version| !version.any_prerelease());
        let wanted = self.releases.iter().rev().find(|(version, files)| is_final(version) && !Self::is_yanked(files));
        wanted.or_else(|| self.releases.iter().rev().find(|(_, files)| !Self::is_yanked(files))).or(self.releases.last())
    }
}

async fn answer(repository: Repository<Read>, request: Request, wanted: Option<String>) -> Result<Response> {
    let project = match named(&request)? {
        Named::Project(project) => project,
        Named::OtherSpelling(project) => {
            let between = wanted.map(|version| format!("{version}/")).unwrap_or_default();
            return Ok(redirect(&request, &format!("pypi/{project}/{between}json")));
        }
    };
    let records = repository.records(&project, FRAGMENTS).await?.ok_or_else(|| no_project(&project))?;
    let files = blocking(move || Files::of(&records)).await?;
    let chosen = match &wanted {
        Some(wanted) => files.releases.iter().find(|(known, _)| version::same(known, wanted)),
        None => files.latest(),
    };
    let (version, of_release) = match (chosen, &wanted) {
        (Some((version, of_release)), _) => (version.clone(), of_release.as_slice()),
        (None, Some(wanted)) => return Err(Error::not_found(format!("there is no release {wanted:?} of {project:?} here"))),
        (None, None) => (String::new(), [].as_slice()),
    };
    let metadata = core_metadata(&repository, &project, &version, of_release).await?;
    let link = |record: &FileRecord| as_json(&request.base, &project, record);
    let mut body = Map::new();
    body.insert(String::from("info"), information(&project, &version, &metadata, of_release, &files.document));
    body.insert(String::from("last_serial"), files.serial.map_or(Value::Null, Value::from));
    if wanted.is_none() {
        let releases: Map<String, Value> = files.releases.iter().map(|(version, files)| (version.clone(), files.iter().map(link).collect())).collect();
        body.insert(String::from("releases"), releases.into());
    }
    body.insert(String::from("urls"), of_release.iter().map(link).collect());
    body.insert(String::from("vulnerabilities"), json!([]));
    Ok(Response::document(Arc::new(Document::new(Value::Object(body).to_string().into_bytes(), "application/json", None))))
}

/// The metadata of a release: what is beside one of its files, else what was published of it.
async fn core_metadata(repository: &Repository<Read>, project: &str, version: &str, files: &[FileRecord]) -> Result<Map<String, Value>> {
    if let Some(record) = files.iter().find(|record| record.file.core_metadata.is_there()) {
        let path = format!("{}.metadata", file_path(project, &record.file.filename));
        if let Some(file) = repository.entry(&path).await?
            && file.content.size().is_some_and(|size| size <= LARGEST)
        {
            let mut bytes = BytesMut::new();
            let mut stream = file.content.stream(None).await?;
            while let Some(chunk) = stream.next().await {
                bytes.extend_from_slice(&chunk?);
            }
            if let Ok(metadata) = Metadata::parse(&bytes) {
                return Ok(metadata.fields);
            }
        }
    }
    let (_, found) = if version.is_empty() { (String::new(), None) } else { find_release(repository, project, version).await? };
    found.map_or_else(|| Ok(Map::new()), |state| Release::parse(&state.document).map(|release| release.metadata()))
}

fn information(project: &str, version: &str, metadata: &Map<String, Value>, files: &[FileRecord], document: &ProjectDocument) -> Value {
    const TEXTS: [&str; 14] = [
        "author",
        "author_email",
        "bugtrack_url",
        "description",
        "description_content_type",
        "download_url",
        "home_page",
        "keywords",
        "license",
        "license_expression",
        "maintainer",
        "maintainer_email",
        "requires_python",
        "summary",
    ];
    let mut info = Map::new();
    let written = metadata.get("name").and_then(Value::as_str).or(Some(document.written.as_str()).filter(|name| !name.is_empty())).unwrap_or(project);
    info.insert(String::from("name"), written.into());
    info.insert(String::from("version"), version.into());
    for key in TEXTS {
        info.insert(key.to_owned(), metadata.get(key).cloned().unwrap_or(Value::Null));
    }
    for (key, header) in [
        ("classifiers", "classifier"),
        ("license_files", "license_file"),
        ("dynamic", "dynamic"),
        ("platform", "platform"),
        ("provides_extra", "provides_extra"),
        ("requires_dist", "requires_dist"),
    ] {
        let absent = if key == "classifiers" { json!([]) } else { Value::Null };
        info.insert(key.to_owned(), metadata.get(header).cloned().unwrap_or(absent));
    }
    let urls = metadata.get("project_url").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let urls: Map<String, Value> = urls.filter_map(|line| line.split_once(',')).map(|(label, url)| (label.trim().to_owned(), url.trim().into())).collect();
    info.insert(String::from("project_urls"), if urls.is_empty() { Value::Null } else { urls.into() });
    let is_yanked = Files::is_yanked(files);
    let reason = files.iter().find_map(|record| record.file.yanked.as_deref()).filter(|reason| is_yanked && !reason.is_empty());
    info.insert(String::from("yanked"), is_yanked.into());
    info.insert(String::from("yanked_reason"), reason.into());
    info.into()
}

fn as_json(base: &BaseUrl, project: &str, record: &FileRecord) -> Value {
    let file = &record.file;
    let mut digests: Map<String, Value> = file.hashes.iter().map(|(name, hex)| (name.clone(), hex.as_str().into())).collect();
    for name in ["md5", "blake2b_256"] {
        if let Some(hex) = record.private.get(name) {
            digests.entry(name).or_insert_with(|| hex.clone());
        }
    }
    let time = file.upload_time.as_deref();
    let kind = if file.filename.ends_with(".whl") { "bdist_wheel" } else { "sdist" };
    let private = |key: &str| record.private.get(key).cloned();
    json!({
        "filename": file.filename,
        "url": format!("{base}/{}", entrepot_kit::path::encode_path(&file_path(project, &file.filename))),
        "digests": digests,
        "md5_digest": digests.get("md5"),
        "size": file.size,
        "upload_time": time.map(|time| time.split('.').next().unwrap_or(time).trim_end_matches('Z')),
        "upload_time_iso_8601": time,
        "requires_python": file.requires_python,
        "packagetype": private("packagetype").unwrap_or_else(|| kind.into()),
        "python_version": private("python_version").unwrap_or_else(|| "source".into()),
        "yanked": file.yanked.is_some(),
        "yanked_reason": file.yanked.as_deref().filter(|reason| !reason.is_empty()),
        "comment_text": null,
        "downloads": -1,
        "has_sig": file.gpg_sig.unwrap_or(false),
    })
}
