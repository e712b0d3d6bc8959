//! The simple repository API: the list of projects, and the page of one.

use std::sync::Arc;

use entrepot_kit::route::Answer;
use entrepot_kit::{Document, Index, Listing, ListingItem, Read, Repository, Request, Response, Result, blocking};
use http::header::ACCEPT;

use super::{Named, named, namespaces, no_project, redirect};
use crate::name::FILES;
use crate::page::{FRAGMENTS, Form, negotiate, render_html, render_json, render_list_html, render_list_json};

/// Projects that are read at once.
const PAGE: usize = 10_000;

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
        let names = projects(&repository).await?;
        let render = move || {
            let names = names.iter().map(String::as_str);
            let body = if form.is_json() { render_list_json(names)? } else { render_list_html(names) };
            Ok(Document::new(body, form.content_type(), None))
        };
        Ok(Response::document(Arc::new(blocking(render).await?)))
    })
}

/// Every project that has a file.
async fn projects(repository: &Repository<Read>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut listing = Listing { prefix: FILES.to_owned(), after: None, limit: PAGE, recursive: false };
    loop {
        let page = repository.entries(&listing).await?;
        listing.after = page.items.last().map(|item| item.path().to_owned());
        let folders = page.items.iter().filter(|item| matches!(item, ListingItem::Folder(_)));
        names.extend(folders.filter_map(|folder| Some(folder.path().strip_prefix(FILES)?.trim_end_matches('/').to_owned())));
        if !page.more {
            return Ok(names);
        }
    }
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
