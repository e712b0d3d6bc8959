//! A folder as HTML for people and as JSON for programs.

use std::fmt::Write as _;

use entrepot_kit::path::{encode_path, encode_segment};
use entrepot_kit::{Error, Listing, ListingItem, ListingPage, Read, Repository, Request, Response, Result};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, LINK, VARY};
use serde_json::{Value, json};

use crate::coordinates::PARKED;
use crate::metadata::escape;

/// Items of a page when the client does not say, and at most.
const PAGE: usize = 1000;
const MOST: usize = 5000;
/// Longest cursor.
const LONGEST_CURSOR: usize = 4096;

/// Lists a folder.
pub(crate) async fn get(repository: &Repository<Read>, request: Request, folder: &str) -> Result<Response> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let missing = || Error::not_found(format!("there is no folder {folder:?} in this repository"));
    if prefix.starts_with(PARKED) {
        return Err(missing());
    }
    let after = request.query.get("after").filter(|after| !after.is_empty()).map(str::to_owned);
    if after.as_ref().is_some_and(|after| after.len() > LONGEST_CURSOR || after.contains('\0') || !after.starts_with(&prefix)) {
        return Err(Error::bad_request("\"after\" is the path of the last item of the page before: take it from there"));
    }
    let listing = Listing { prefix, after, limit: request.query.number("limit", PAGE, MOST).max(1), recursive: false };
    let mut page = repository.entries(&listing).await?;
    let next = page
        .more
        .then(|| page.items.last())
        .flatten()
        .map(|last| format!("?limit={}&after={}", listing.limit, encode_segment(last.path()).replace('+', "%2B")));
    page.items.retain(|item| !item.path().starts_with(PARKED));
    if page.items.is_empty() && !page.more && listing.after.is_none() && !folder.is_empty() {
        return Err(missing());
    }
    let response = if request.accepts("text/html") {
        html(&request.base.path, &listing, &page, next.as_deref())
    } else {
        Response::json(StatusCode::OK, &as_json(&listing.prefix, &page))?
    };
    let response = response.with_header(VARY, "Accept");
    Ok(match next {
        Some(query) => response.with_header(LINK, &format!("<{query}>; rel=\"next\"")),
        None => response,
    })
}

fn as_json(prefix: &str, page: &ListingPage) -> Value {
    let item = |item: &ListingItem| match item {
        ListingItem::Folder(path) => json!({ "type": "folder", "path": path }),
        ListingItem::File(entry) => json!({
            "type": "file",
            "path": entry.path,
            "size": entry.size,
            "sha256": entry.digest,
            "content_type": entry.content_type,
            "created": entry.created.rfc3339(),
        }),
    };
    let next = page.more.then(|| page.items.last().map(ListingItem::path));
    json!({ "path": prefix, "items": page.items.iter().map(item).collect::<Vec<_>>(), "after": next })
}

fn html(base_path: &str, listing: &Listing, page: &ListingPage, next: Option<&str>) -> Response {
    let mut rows = String::new();
    if !listing.prefix.is_empty() {
        rows.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    for item in &page.items {
        let name = item.path().strip_prefix(&listing.prefix).unwrap_or(item.path());
        let (size, created) = match item {
            ListingItem::Folder(_) => (String::new(), String::new()),
            ListingItem::File(entry) => (entry.size.map_or_else(String::new, |size| size.to_string()), entry.created.rfc3339()),
        };
        let _ = writeln!(rows, "<tr><td><a href=\"{base_path}/{}\">{}</a></td><td>{size}</td><td>{created}</td></tr>", encode_path(item.path()), escape(name));
    }
    let title = escape(&format!("/{}", listing.prefix));
    let more = next.map_or_else(String::new, |query| format!("<p><a href=\"{}\">more</a></p>\n", escape(query)));
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body><h1>{title}</h1>\n<table>\n<tr><th>Name</th><th>Size</th><th>Created</th></tr>\n{rows}</table>\n{more}</body></html>\n"
    );
    Response::bytes(StatusCode::OK, "text/html; charset=utf-8", body)
        .with_header(CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
        // Made here and free of scripts: to be shown, not saved.
        .with_header(CONTENT_DISPOSITION, "inline")
}
