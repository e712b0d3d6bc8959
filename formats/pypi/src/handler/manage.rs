//! What is done to what was uploaded: yanking, deleting, and the state of a project. Each is one revision, and seen at once.

use entrepot_kit::route::Answer;
use entrepot_kit::{
    Access, Birth, BlobSource, Body, Change, Death, Delete, Error, Manage, Precondition, Publish, Read, Records, Repository, Request, Resource, Response,
    Result, StageSpec,
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::commit::{FILE, at, deleted_path, find_release};
use super::project::{Project, Release};
use super::{ATTEMPTS, hosted_only, no_project, overtaken, project};
use crate::name::file_path;
use crate::page::{FRAGMENTS, FileRecord, Status};
use crate::version::same;

/// Largest body of these requests.
const SMALL: usize = 64 << 10;
/// Longest reason.
const LONGEST_REASON: usize = 1000;

/// What a request names: a release, or one file of it.
struct Target {
    project: String,
    version: String,
    file: Option<String>,
}

impl Target {
    fn of(request: &Request) -> Result<Self> {
        let captured = |name: &str| Some(request.captures.get(name).to_owned()).filter(|text| !text.is_empty());
        Ok(Self { project: project(request)?, version: captured("version").unwrap_or_default(), file: captured("file") })
    }

    fn missing(&self) -> Error {
        let file = self.file.as_ref().map(|file| format!("the file {file:?} of ")).unwrap_or_default();
        Error::not_found(format!("there is no {file}{} {} here", self.project, self.version).replace("no the", "no"))
    }

    /// The files that are named, with the state in which they were seen.
    async fn files<A: Access>(&self, repository: &Repository<A>) -> Result<(Precondition, Vec<FileRecord>)> {
        let reader: Repository<Read> = repository.grant(&Resource::Package(self.project.clone())).await?;
        let records = reader.records(&self.project, FRAGMENTS).await?.ok_or_else(|| no_project(&self.project))?;
        let mut found = Vec::new();
        for record in &records.versions {
            if self.file.as_ref().is_some_and(|file| *file != record.version) {
                continue;
            }
            let record = FileRecord::parse(std::str::from_utf8(&record.bytes).map_err(Error::internal)?)?;
            if same(&record.version, &self.version) {
                found.push(record);
            }
        }
        Ok((as_seen(&records)?, found))
    }
}

/// That nobody changes the project between a look and a commit.
fn as_seen(records: &Records) -> Result<Precondition> {
    let revision = records.stamp.parse().map_err(Error::internal)?;
    Ok(Precondition::PackageAt { package: records.package.clone(), revision })
}

fn reason(text: &str) -> Result<String> {
    let text = text.trim();
    if text.len() > LONGEST_REASON || text.chars().any(char::is_control) {
        return Err(Error::bad_request(format!("a reason is one line of at most {LONGEST_REASON} bytes")));
    }
    Ok(text.to_owned())
}

async fn body<T: for<'de> Deserialize<'de> + Default>(body: Body) -> Result<T> {
    let bytes = body.collect(SMALL).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| Error::bad_request(format!("the body is not what is expected here: {error}")))
}

fn changed(project: &str, revision: u64) -> Result<Response> {
    Response::json(StatusCode::OK, &json!({"project": project, "revision": revision}))
}

/// `POST …/yank` with `{"reason": "…"}`, or without a body.
pub(crate) fn yank(repository: Repository<Publish>, request: Request) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Yank {
        #[serde(default)]
        reason: String,
    }
    Box::pin(async move {
        hosted_only(repository.kind())?;
        let target = Target::of(&request)?;
        let yank: Yank = body(request.body).await?;
        set_yanked(&repository, &target, Some(reason(&yank.reason)?)).await
    })
}

/// `DELETE …/yank`.
pub(crate) fn unyank(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        hosted_only(repository.kind())?;
        set_yanked(&repository, &Target::of(&request)?, None).await
    })
}

async fn set_yanked(repository: &Repository<Publish>, target: &Target, yanked: Option<String>) -> Result<Response> {
    for _ in 0..ATTEMPTS {
        let (seen, files) = target.files(repository).await?;
        if files.is_empty() {
            return Err(target.missing());
        }
        let Precondition::PackageAt { revision, .. } = seen else { return Err(Error::internal("another condition")) };
        let action = if yanked.is_some() { "yank" } else { "unyank" };
        let mut change = Change::new(action, format!("{} {} {}", target.project, target.version, target.file.as_deref().unwrap_or_default()).trim());
        change.preconditions.push(seen);
        for mut record in files.into_iter().filter(|record| record.file.yanked != yanked) {
            record.file.yanked.clone_from(&yanked);
            let path = file_path(&target.project, &record.file.filename);
            change.births.push(Birth::Entry {
                path: path.clone(),
                package: Some(target.project.clone()),
                version: Some(record.version.clone()),
                blob: BlobSource::Entry(path),
                content_type: Some(FILE.to_owned()),
                data: record.to_text()?,
            });
        }
        if change.births.is_empty() {
            return changed(&target.project, revision);
        }
        match repository.commit(change).await {
            Ok(revision) => return changed(&target.project, revision),
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            Err(error) => return Err(error),
        }
    }
    Err(overtaken(&target.project))
}

/// `DELETE /manage/{project}/{version}/{file}`: its name is never used again.
pub(crate) fn delete_file(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        hosted_only(repository.kind())?;
        let target = Target::of(&request)?;
        let filename = target.file.clone().unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let (seen, files) = target.files(&repository).await?;
            let [record] = files.as_slice() else { return Err(target.missing()) };
            let path = file_path(&target.project, &filename);
            let mut change = Change::new("delete", format!("{} {}: {filename}", target.project, record.version)).only_if(seen);
            for ending in ["", ".metadata", ".provenance"] {
                change = change.end(Death::Entry(format!("{path}{ending}")));
            }
            let (version, found) = find_release(&repository, &target.project, &record.version).await?;
            if let Some(found) = found.filter(|found| found.live) {
                let mut release = Release::parse(&found.document)?;
                if release.source() == Some(filename.as_str()) {
                    release.set_source(None);
                    change = change.begin(release.birth(&target.project, &version));
                }
            }
            let mark = json!({"filename": filename, "version": version, "sha256": record.file.sha256(), "by": repository.principal().name}).to_string();
            change = change.begin(Birth::Entry {
                path: deleted_path(&target.project, &filename),
                package: None,
                version: None,
                blob: BlobSource::Staged(repository.stage_body(StageSpec::default(), Body::from(bytes::Bytes::from(mark))).await?),
                content_type: Some(String::from("application/json")),
                data: String::new(),
            });
            match repository.commit(change).await {
                Ok(revision) => return changed(&target.project, revision),
                Err(error) if error.status() == StatusCode::CONFLICT => {}
                Err(error) => return Err(error),
            }
        }
        Err(overtaken(&target.project))
    })
}

/// `DELETE /manage/{project}/{version}`: its number, and with it the names of its files, is never used again.
pub(crate) fn delete_release(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        hosted_only(repository.kind())?;
        let target = Target::of(&request)?;
        let (version, found) = find_release(&repository, &target.project, &target.version).await?;
        if !found.is_some_and(|found| found.live) {
            return Err(target.missing());
        }
        let death = Death::Version { package: target.project.clone(), version: version.clone() };
        let live = Precondition::VersionLive { package: target.project.clone(), version: version.clone() };
        let change = Change::new("delete", format!("{} {version}", target.project)).only_if(live).end(death);
        changed(&target.project, repository.commit(change).await?)
    })
}

/// `DELETE /manage/{project}`.
pub(crate) fn delete_project(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        hosted_only(repository.kind())?;
        let project = project(&request)?;
        repository.package(&project).await?.ok_or_else(|| no_project(&project))?;
        let change = Change::new("delete", project.as_str()).end(Death::Package(project.clone()));
        changed(&project, repository.commit(change).await?)
    })
}

/// `GET /manage/{project}/status`.
pub(crate) fn status(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let project = project(&request)?;
        let state = repository.package(&project).await?.ok_or_else(|| no_project(&project))?;
        let document = Project::parse(&state.document)?;
        let (status, reason) = document.status();
        Response::json(StatusCode::OK, &json!({"status": status.name(), "reason": Some(reason).filter(|reason| !reason.is_empty())}))
    })
}

/// `PUT /manage/{project}/status` with `{"status": "…", "reason": "…"}`.
pub(crate) fn set_status(repository: Repository<Manage>, request: Request) -> Answer {
    Box::pin(async move {
        hosted_only(repository.kind())?;
        let project = project(&request)?;
        let wanted: Value = body(request.body).await?;
        let text = |key: &str| wanted.get(key).and_then(Value::as_str);
        let status = text("status").and_then(Status::parse).ok_or_else(|| {
            Error::bad_request(
                "say {\"status\": \"…\", \"reason\": \"…\"}: a status is one of active, archived, deprecated, quarantined; the reason may be left out",
            )
        })?;
        let reason = reason(text("reason").unwrap_or_default())?;
        for _ in 0..ATTEMPTS {
            let state = repository.package(&project).await?.ok_or_else(|| no_project(&project))?;
            let mut document = Project::parse(&state.document)?;
            document.set_status(status, &reason);
            let change = Change::new("status", format!("{project}: {}", status.name())).only_if(at(&project, Some(&state))).begin(document.birth(&project)?);
            match repository.commit(change).await {
                Ok(revision) => return changed(&project, revision),
                Err(error) if error.status() == StatusCode::CONFLICT => {}
                Err(error) => return Err(error),
            }
        }
        Err(overtaken(&project))
    })
}
