//! A folder of a repository as HTML for people and as JSON for programs, in pages: `?limit=`, `?after=`, `?recursive=`, `?format=`.

use std::fmt::Write as _;

use http::StatusCode;
use http::header::{LINK, VARY};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::facade::{Read, Repository};
use crate::html::{self, escape};
use crate::path::{encode_path, encode_segment};
use crate::records::{Listing, ListingItem, ListingPage};
use crate::request::{Request, Response};

/// Items of a page when the client does not say, and at most.
const PAGE: usize = 1000;
const MOST: usize = 5000;
/// What no path goes beyond.
const LAST: char = char::MAX;
/// Longest cursor.
const LONGEST_CURSOR: usize = 4096;

/// Lists a folder. What begins with `hidden` is the format's own and not shown; `None` where there is no such thing.
///
/// # Errors
/// 400 for a query that means nothing, 404 for a folder that is not there, and failures of the store.
pub async fn get(repository: &Repository<Read>, request: Request, folder: &str, hidden: Option<&str>) -> Result<Response> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let missing = || Error::not_found(format!("there is no folder {folder:?} in this repository"));
    let is_hidden = |path: &str| hidden.is_some_and(|hidden| path.starts_with(hidden));
    if is_hidden(&prefix) {
        return Err(missing());
    }
    let after = request.query.get("after").filter(|after| !after.is_empty()).map(str::to_owned);
    if after.as_ref().is_some_and(|after| after.len() > LONGEST_CURSOR || after.contains('\0') || !after.starts_with(&prefix)) {
        return Err(Error::bad_request("\"after\" is the path of the last item of the page before: take it from there"));
    }
    let recursive = request.query.get("recursive").is_some_and(|value| !matches!(value, "false" | "0"));
    let listing = Listing { prefix, after, limit: request.query.number("limit", PAGE, MOST).max(1), recursive };
    let mut page = repository.entries(&listing).await?;
    if let Some(hidden) = hidden
        && page.more
        && page.items.last().is_some_and(|last| is_hidden(last.path()))
    {
        // What is hidden is no cursor either: the page goes on behind all of it.
        page.items.retain(|item| !is_hidden(item.path()));
        let behind = Listing { after: Some(format!("{hidden}{LAST}")), limit: listing.limit - page.items.len(), ..listing.clone() };
        let rest = repository.entries(&behind).await?;
        page.items.extend(rest.items);
        page.more = rest.more;
    }
    // Where the next page begins is the last item's, also when that is not shown.
    let last = page.more.then(|| page.items.last().map(|last| last.path().to_owned())).flatten();
    page.items.retain(|item| !is_hidden(item.path()));
    if page.items.is_empty() && !page.more && listing.after.is_none() && !folder.is_empty() {
        return Err(missing());
    }
    let next = last.as_deref().map(|last| next_query(&listing, last));
    let response = if wants_html(&request)? {
        as_html(&request.base.path, &listing, &page, next.as_deref())
    } else {
        Response::json(StatusCode::OK, &as_json(&listing.prefix, &page, last.as_deref()))?
    };
    let response = response.with_header(VARY, "Accept");
    Ok(match next {
        Some(query) => response.with_header(LINK, &format!("<{query}>; rel=\"next\"")),
        None => response,
    })
}

/// HTML goes to who asks for it by name, as browsers do.
///
/// # Errors
/// 400 for a `format` that is neither `json` nor `html`.
pub fn wants_html(request: &Request) -> Result<bool> {
    match request.query.get("format") {
        Some("json") => Ok(false),
        Some("html") => Ok(true),
        None => Ok(request.accepts("text/html")),
        Some(other) => Err(Error::bad_request(format!("a folder is listed as format=json or format=html, not {other:?}"))),
    }
}

fn next_query(listing: &Listing, last: &str) -> String {
    let recursive = if listing.recursive { "&recursive=true" } else { "" };
    format!("?limit={}{recursive}&after={}", listing.limit, encode_segment(last).replace('+', "%2B"))
}

fn as_json(prefix: &str, page: &ListingPage, last: Option<&str>) -> Value {
    let items: Vec<Value> = page
        .items
        .iter()
        .map(|item| match item {
            ListingItem::Folder(path) => json!({ "type": "folder", "path": path }),
            ListingItem::File(entry) => json!({
                "type": "file",
                "path": entry.path,
                "size": entry.size,
                "sha256": entry.digest,
                "content_type": entry.content_type,
                "created": entry.created.rfc3339(),
            }),
        })
        .collect();
    json!({ "path": prefix, "items": items, "after": last })
}

fn as_html(base_path: &str, listing: &Listing, page: &ListingPage, next: Option<&str>) -> Response {
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
    html::table(&title, &rows, &more)
}
