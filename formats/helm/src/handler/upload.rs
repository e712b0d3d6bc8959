//! Uploads: a form with a chart, its provenance file or both; or either of them as the body.

use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::route::Answer;
use entrepot_kit::{BlobSource, Body, Error, Multipart, Publish, Repository, Request, Resource, Response, Result, StageSpec, Staged, blocking};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::json;

use super::commit::{Archive, ProvFile, Upload, commit};
use super::hosted_only;
use crate::archive::inspect;
use crate::name::{PROV, TGZ};
use crate::provenance::{self, Provenance};

/// `POST /api/charts` and `POST /`.
pub(crate) fn post(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move { take(repository, request, None).await })
}

/// `POST /api/prov`.
pub(crate) fn post_prov(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move { take(repository, request, Some(true)).await })
}

/// `PUT` and `POST` of a file under its name, wherever: what it is, it says itself.
pub(crate) fn put(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        let path = request.captures.get("path");
        let file = path.rsplit('/').next().unwrap_or_default();
        let is_prov = file.ends_with(PROV);
        if !file.is_empty() && !is_prov && !file.ends_with(TGZ) {
            let why = format!("upload a chart as a file that ends in {TGZ}, or its provenance file that ends in {TGZ}{PROV}; or POST it to api/charts");
            return Err(Error::bad_request(why));
        }
        let is_prov = (!file.is_empty()).then_some(is_prov);
        take(repository, request, is_prov).await
    })
}

async fn take(repository: Repository<Publish>, request: Request, is_prov: Option<bool>) -> Result<Response> {
    hosted_only(repository.kind())?;
    if request.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send a chart without Content-Encoding"));
    }
    let force = request.query.get("force").is_some_and(|value| !matches!(value, "false" | "0"));
    let content_type = request.header(CONTENT_TYPE.as_str()).unwrap_or_default().to_owned();
    let is_form = content_type.trim_start().to_ascii_lowercase().starts_with("multipart/");
    let (archive, prov) = match (is_form, is_prov) {
        (true, _) => form(&repository, &content_type, request.body).await?,
        (false, Some(true)) => (None, Some(request.body.collect(provenance::LARGEST).await?)),
        (false, _) => (Some(repository.stage_body(StageSpec::default(), request.body).await?), None),
    };
    let archive = match archive {
        Some(staged) => Some(look(staged).await?),
        None => None,
    };
    let prov = match prov {
        Some(bytes) => Some(read_prov(&repository, bytes).await?),
        None => None,
    };
    let upload = match (archive, prov) {
        (None, None) => return Err(Error::bad_request("the form has neither a field \"chart\" nor a field \"prov\"")),
        (archive, prov) => Upload { archive, prov, manifest: None, force },
    };
    upload.check()?;
    let repository = repository.grant::<Publish>(&Resource::Package(upload.name().to_owned())).await?;
    commit(&repository, upload).await?;
    Response::json(StatusCode::CREATED, &json!({ "saved": true }))
}

/// A form's fields `chart` and `prov`. What clients call the files says nothing: some send the whole path on their disk.
async fn form(repository: &Repository<Publish>, content_type: &str, body: Body) -> Result<(Option<Arc<dyn Staged>>, Option<Bytes>)> {
    let mut parts = Multipart::new(Some(content_type), body)?;
    let (mut archive, mut prov) = (None, None);
    while let Some(part) = parts.next().await? {
        let twice = || Error::bad_request(format!("the form has two fields {:?}", part.name));
        match part.name.as_str() {
            "chart" => {
                let mut staging = repository.stage(StageSpec::default()).await?;
                while let Some(bytes) = parts.chunk().await? {
                    staging.write(bytes).await?;
                }
                if archive.replace(staging.finish().await?).is_some() {
                    return Err(twice());
                }
            }
            "prov" => {
                let mut bytes = Vec::new();
                while let Some(chunk) = parts.chunk().await? {
                    if bytes.len() + chunk.len() > provenance::LARGEST {
                        return Err(Error::too_large(format!("a provenance file has at most {} bytes here", provenance::LARGEST)));
                    }
                    bytes.extend_from_slice(&chunk);
                }
                if prov.replace(Bytes::from(bytes)).is_some() {
                    return Err(twice());
                }
            }
            _ => {}
        }
    }
    Ok((archive, prov))
}

/// Looks into a chart, where blocking is allowed.
async fn look(staged: Arc<dyn Staged>) -> Result<Archive> {
    let (reader, size) = (staged.reader().await?, staged.size());
    let chart = blocking(move || inspect(reader, size)).await?;
    Ok(Archive { chart, digest: staged.digest(), size, bytes: BlobSource::Staged(staged) })
}

async fn read_prov(repository: &Repository<Publish>, bytes: Bytes) -> Result<ProvFile> {
    let said = Provenance::parse(&bytes).map_err(|why| Error::bad_request(format!("this is no provenance file: {why}")))?;
    let staged = repository.stage_body(StageSpec::default(), Body::from(bytes)).await?;
    Ok(ProvFile { said, digest: staged.digest(), size: staged.size(), bytes: BlobSource::Staged(staged) })
}
