//! Files, what is beside them, and their attestations.

use entrepot_kit::path::encode_segment;
use entrepot_kit::route::Answer;
use entrepot_kit::{BaseUrl, Error, Index, Kind, Read, Records, Repository, Request, Response, Result};
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE};

use super::project;
use crate::name::{FilePath, Part, file_path};
use crate::page::{ProjectDocument, Status};

/// The media type of attestations.
const INTEGRITY: &str = "application/vnd.pypi.integrity.v1+json";

/// `GET /files/{project}/{file}`: a file, or its metadata.
pub(crate) fn get(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let project = project(&request)?;
        let path = file_path(&project, request.captures.get("file"));
        let missing = || Error::not_found(format!("there is no file {path:?} in this repository"));
        FilePath::parse(&path).ok_or_else(missing)?;
        let (owner, file) = repository.find(&path).await?.ok_or_else(missing)?;
        refuse_quarantined(&owner, &project).await?;
        Ok(Response::file(file))
    })
}

/// Of a quarantined project no file is given, even to who knows its address.
async fn refuse_quarantined(owner: &Repository<Read>, project: &str) -> Result<()> {
    if owner.kind() != Kind::Hosted {
        return Ok(());
    }
    // A document for the sake of its cache: it changes when the project does, and is a word long.
    let index = Index { package: project, variant: "status", fragments: "status", content_type: "text/plain", render: render_status };
    let status = owner.document(index).await?;
    match status.as_deref().and_then(|status| std::str::from_utf8(&status.body).ok()).and_then(|text| text.split_once('\n')) {
        Some((status, reason)) if status == Status::Quarantined.name() => {
            let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            Err(Error::forbidden(format!("the project {project:?} is quarantined{because}")).with_reason("The project is quarantined"))
        }
        _ => Ok(()),
    }
}

fn render_status(records: &Records, _: &BaseUrl, _: &str) -> Result<Vec<u8>> {
    let document = ProjectDocument::parse(&records.document)?;
    Ok(format!("{}\n{}", document.status.name(), document.reason).into_bytes())
}

/// `GET /integrity/{project}/{version}/{file}/provenance`.
pub(crate) fn provenance(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let project = project(&request)?;
        let accepts = request.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let names: Vec<&str> = accepts.filter_map(|range| range.split(';').next()).map(str::trim).filter(|name| !name.is_empty()).collect();
        if !names.is_empty() && !names.iter().any(|name| [INTEGRITY, "application/json", "application/*", "*/*"].contains(name)) {
            return Response::json(StatusCode::NOT_ACCEPTABLE, &serde_json::json!({"message": format!("Request not acceptable: it is there as {INTEGRITY}")}));
        }
        let filename = request.captures.get("file");
        let path = format!("{}.provenance", file_path(&project, filename));
        let version = request.captures.get("version");
        let known = FilePath::parse(&path).filter(|path| path.part == Part::Provenance);
        let is_of_version = crate::version::of_filename(&project, filename).is_some_and(|named| crate::version::same(named, version));
        let found = if known.is_some() && is_of_version { repository.find(&path).await? } else { None };
        let Some((owner, file)) = found else {
            let name = encode_segment(filename);
            return Response::json(StatusCode::NOT_FOUND, &serde_json::json!({"message": format!("No provenance available for {name}")}));
        };
        refuse_quarantined(&owner, &project).await?;
        Ok(Response::file(file).with_header(CONTENT_TYPE, INTEGRITY))
    })
}
