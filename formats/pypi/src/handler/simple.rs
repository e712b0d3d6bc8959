//! The simple repository API: the list of projects, and the page of one.

use entrepot_kit::route::Answer;
use entrepot_kit::{ALL_PACKAGES, Error, Index, Read, Repository, Request, Response, Result};
use http::header::ACCEPT;

use super::{Named, named, namespaces, no_project, redirect};
use crate::page::{FRAGMENTS, Form, negotiate, render_html, render_json, render_projects_html, render_projects_json};

/// The form that a client wants.
pub(crate) fn form(request: &Request) -> Result<Form> {
    negotiate(request.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()), request.query.get("format"))
}

/// `GET /simple/`.
pub(crate) fn list(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        if !request.path.trailing_slash() {
            return Ok(redirect(&request, "simple/"));
        }
        let form = form(&request)?;
        let render = if form.is_json() { render_projects_json } else { render_projects_html };
        let index = Index { package: ALL_PACKAGES, variant: form.variant(), fragments: FRAGMENTS, content_type: form.content_type(), render };
        let document = repository.document(index).await?.ok_or_else(|| Error::not_found("the upstream has no list of projects"))?;
        Ok(Response::document(document))
    })
}

/// `GET /simple/{project}/`.
pub(crate) fn page(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let project = match named(&request)? {
            Named::Project(project) if request.path.trailing_slash() => project,
            Named::Project(project) | Named::OtherSpelling(project) => return Ok(redirect(&request, &format!("simple/{project}/"))),
        };
        let form = form(&request)?;
        let variant = namespaces::variant(&repository, &project, form).await?;
        let render = if form.is_json() { render_json } else { render_html };
        let index = Index { package: &project, variant: &variant, fragments: FRAGMENTS, content_type: form.content_type(), render };
        let document = repository.document(index).await?.ok_or_else(|| no_project(&project))?;
        Ok(Response::document(document))
    })
}
