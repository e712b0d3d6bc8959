//! Lists of tags, in the order of their bytes.

use std::borrow::Cow;

use entrepot_kit::path::encode_segment;
use entrepot_kit::{BaseUrl, Error, Index, Read, Records, Repository, Request, Response, Result};
use http::StatusCode;
use http::header::LINK;
use serde_json::json;

use super::{full_name, image, name_below, page_size};
use crate::error::NAME_UNKNOWN;
use crate::name::is_tag;

/// Most tags of one answer.
const MOST_TAGS: usize = 10_000;
/// The kind of the records' fragments: tags have none.
const FRAGMENTS: &str = "tags";

fn no_image(name: &str) -> Error {
    Error::not_found(format!("there is no image {name}")).with_code(NAME_UNKNOWN)
}

/// `GET …/tags/list?n=&last=`.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn list(repository: Repository<Read>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let (size, last) = (page_size(&request)?, request.query.get("last").filter(|last| !last.is_empty()));
    let name = full_name(&request, &image);
    let records = repository.records(&image, FRAGMENTS).await?.ok_or_else(|| no_image(&name))?;
    if size.is_none() && last.is_none() && records.versions.len() <= MOST_TAGS {
        let index = Index { package: &image, variant: "tags", fragments: FRAGMENTS, content_type: "application/json", render };
        return repository.document(index).await?.map(Response::document).ok_or_else(|| no_image(&name));
    }
    answer(&request, &image, sorted(&records))
}

/// A list of tags, or the page of it that is asked for.
///
/// # Errors
/// Those of the protocol.
pub fn answer(request: &Request, image: &str, mut tags: Vec<Cow<'_, str>>) -> Result<Response> {
    tags.sort_unstable();
    let (size, last) = (page_size(request)?, request.query.get("last").filter(|last| !last.is_empty()));
    let name = full_name(request, image);
    let (tags, more) = page(&tags, last, size.unwrap_or(MOST_TAGS).min(MOST_TAGS));
    let response = Response::json(StatusCode::OK, &json!({ "name": name, "tags": tags }))?;
    Ok(match tags.last().filter(|_| more) {
        Some(last) => {
            let (path, last) = (format!("{}/{image}/tags/list", request.base.path), encode_segment(last));
            response.with_header(LINK, &format!("<{path}?n={}&last={last}>; rel=\"next\"", tags.len()))
        }
        None => response,
    })
}

/// The tags. A version that no tag can be called has an underscore where its plus is, as charts have it.
fn sorted(records: &Records) -> Vec<Cow<'_, str>> {
    let mut tags: Vec<Cow<'_, str>> = records.versions.iter().map(|record| tag_of(&record.version)).filter(|tag| is_tag(tag)).collect();
    tags.sort_unstable();
    tags
}

/// The tag of a version.
#[must_use]
pub fn tag_of(version: &str) -> Cow<'_, str> {
    if version.contains('+') { Cow::Owned(version.replace('+', "_")) } else { Cow::Borrowed(version) }
}

/// The tags behind `last`, and whether there are more than these.
fn page<'a>(tags: &'a [Cow<'a, str>], last: Option<&str>, size: usize) -> (Vec<&'a str>, bool) {
    let first = last.map_or(0, |last| tags.partition_point(|tag| tag.as_ref() <= last));
    let mut page: Vec<&str> = tags.get(first..).unwrap_or_default().iter().map(AsRef::as_ref).collect();
    let more = size > 0 && page.len() > size;
    page.truncate(size);
    (page, more)
}

fn render(records: &Records, base: &BaseUrl, _variant: &str) -> Result<Vec<u8>> {
    let document = json!({ "name": name_below(&base.path, &records.package), "tags": sorted(records) });
    serde_json::to_vec(&document).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::{page, sorted};
    use entrepot_kit::{Records, VersionRecord};

    #[test]
    fn pages_follow_each_other() {
        let record = |tag: &str| VersionRecord { version: tag.to_owned(), published: None, bytes: bytes::Bytes::new() };
        let records = Records { versions: ["b", "a", "C", "d"].map(record).into(), ..Records::default() };
        assert_eq!(page(&sorted(&records), None, 2), (vec!["C", "a"], true));
        assert_eq!(page(&sorted(&records), Some("a"), 2), (vec!["b", "d"], false));
        assert_eq!(page(&sorted(&records), Some("bb"), 9), (vec!["d"], false), "the last one need not exist");
        assert_eq!(page(&sorted(&records), None, 0), (vec![], false));
    }
}
