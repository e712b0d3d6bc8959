//! Distribution tags.

use entrepot_kit::route::Answer;
use entrepot_kit::{Birth, Change, Error, Index, Precondition, Publish, Read, Repository, Request, Response, Result};
use http::StatusCode;
use serde_json::{Map, Value};

use super::{ATTEMPTS, SMALL, changed, not_found, overtaken, package, parse_stored, refuse_proxy};
use crate::name::NpmName;
use crate::packument::{self, FULL, render_tags};
use crate::publish::package_document;
use crate::raw::RawObject;
use crate::search::terms;
use crate::version::{check_tag, shorten};

/// `GET /-/package/{package}/dist-tags`.
pub(crate) fn list(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let name = package(request.captures.get("package"))?;
        let index = Index { package: name.as_str(), variant: "dist-tags", fragments: FULL, content_type: "application/json", render: render_tags };
        Ok(Response::document(repository.document(index).await?.ok_or_else(not_found)?))
    })
}

/// `PUT` or `POST /-/package/{package}/dist-tags/{tag}` with the version as a JSON string.
pub(crate) fn add(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        refuse_proxy(repository.kind())?;
        let name = package(request.captures.get("package"))?;
        let tag = request.captures.get("tag").trim().to_owned();
        check_tag(&tag)?;
        let body = request.body.collect(SMALL).await?;
        let version: String = serde_json::from_slice(&body).map_err(|_| Error::bad_request("the body must be the version as a JSON string"))?;
        update(&repository, &name, &tag, Some(&version)).await
    })
}

/// `DELETE /-/package/{package}/dist-tags/{tag}`.
pub(crate) fn remove(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        refuse_proxy(repository.kind())?;
        let name = package(request.captures.get("package"))?;
        let tag = request.captures.get("tag");
        if tag == "latest" {
            return Err(Error::bad_request("the tag \"latest\" cannot be removed; move it to another version"));
        }
        update(&repository, &name, tag, None).await
    })
}

async fn update(repository: &Repository<Publish>, name: &NpmName, tag: &str, version: Option<&str>) -> Result<Response> {
    for _ in 0..ATTEMPTS {
        let state = repository.package(name.as_str()).await?.ok_or_else(not_found)?;
        let mut tags = RawObject::parse(&state.document).map(|document| packument::tags(&document)).unwrap_or_default();
        let latest = match version {
            Some(version) => {
                let target = repository.version(name.as_str(), version).await?.filter(|target| target.live);
                let target = target.ok_or_else(|| Error::not_found(format!("version not found: {}", shorten(version))))?;
                tags.insert(tag.to_owned(), version.to_owned());
                if tag == "latest" { Some(parse_stored(&target.document)?) } else { None }
            }
            None => {
                tags.remove(tag).ok_or_else(|| Error::not_found(format!("{:?} is not a tag of {:?}", shorten(tag), name.as_str())))?;
                None
            }
        };
        let document = package_document(Some(&state.document), &tags, latest.as_ref(), &repository.principal().name);
        let change = Change::new("dist-tag", format!("{} {tag}", name.as_str()))
            .only_if(Precondition::PackageAt { package: name.as_str().to_owned(), revision: state.changed })
            .begin(package_birth(name, document)?);
        match repository.commit(change).await {
            Ok(revision) => return changed(if version.is_some() { StatusCode::CREATED } else { StatusCode::OK }, name, revision),
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            Err(error) => return Err(error),
        }
    }
    Err(overtaken(name))
}

/// A new state of the package, with the words under which it is found.
pub(crate) fn package_birth(name: &NpmName, document: String) -> Result<Birth> {
    let parsed: Map<String, Value> = parse_stored(&document)?;
    Ok(Birth::Package { package: name.as_str().to_owned(), terms: terms(name, &parsed), document })
}
