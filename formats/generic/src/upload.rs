//! `PUT`: stage the body, check what the client says of it, and commit on the condition that the path is still what it was.

use std::sync::Arc;

use entrepot_kit::{
    Algorithm, Birth, BlobSource, Change, Entry, Error, Kind, Listing, Overwrite, Precondition, Publish, Read, Repository, Request, Resource, Response, Result,
    Sha256Digest, StageSpec, Staged, archive, path::encode_path,
};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use crate::checksum::Claims;
use crate::media;

/// The setting that allows other bytes under a path that is taken.
pub(crate) const OVERWRITE: &str = "overwrite";

/// Shortest `ETag` of a file that is compared: half of its SHA-256.
const SHORTEST_ETAG: usize = 32;

/// Stores a file.
pub(crate) async fn put(repository: Repository<Publish>, request: Request) -> Result<Response> {
    let path = writable_path(repository.kind(), &request)?;
    check_headers(&request)?;
    let claims = Claims::read(&request.headers)?;
    // Who may publish but not read gets no early answers: the commit's conditions still hold.
    let reader = repository.grant::<Read>(&Resource::Repository).await.ok();
    let found = match &reader {
        Some(reader) => reader.entry(&path).await?.map(|file| file.entry),
        None => None,
    };
    check_conditions(&request.headers, found.as_ref())?;
    match (&found, &reader) {
        // The body need not be read to know that it is another one.
        (Some(existing), _) if differs(existing, &request, &claims) => may_replace(&repository, &path).await?,
        (None, Some(reader)) if is_folder(reader, &path).await? => return Err(is_a_folder(&path)),
        _ => {}
    }

    let content_type = media::said(request.header(CONTENT_TYPE.as_str())).unwrap_or_else(|| media::by_name(&path).to_owned());
    let staged = repository.stage_body(StageSpec { algorithms: claims.algorithms(), limit: None }, request.body).await?;
    claims.check(staged.digests())?;
    let answer = Answer { path: &path, location: format!("{}/{}", request.base, encode_path(&path)), staged: &staged, algorithms: claims.algorithms() };
    answer.give(commit(&repository, reader.as_ref(), &path, found.as_ref(), &staged, content_type, &request.headers).await?)
}

/// Stores a staged file as a `PUT` without conditions would.
///
/// # Errors
/// 409 when other bytes have the path and may not be replaced, or it cannot be a file.
pub(crate) async fn store(repository: &Repository<Publish>, path: &str, staged: Arc<dyn Staged>, content_type: String) -> Result<StatusCode> {
    let reader = repository.grant::<Read>(&Resource::Repository).await.ok();
    let found = match &reader {
        Some(reader) => reader.entry(path).await?.map(|file| file.entry),
        None => None,
    };
    match &reader {
        Some(reader) if found.is_none() && is_folder(reader, path).await? => Err(is_a_folder(path)),
        _ => commit(repository, reader.as_ref(), path, found.as_ref(), &staged, content_type, &HeaderMap::new()).await,
    }
}

/// Commits on the condition that the path is still what was found.
async fn commit(
    repository: &Repository<Publish>,
    reader: Option<&Repository<Read>>,
    path: &str,
    found: Option<&Entry>,
    staged: &Arc<dyn Staged>,
    content_type: String,
    headers: &HeaderMap,
) -> Result<StatusCode> {
    if let Some(existing) = found {
        if existing.digest == Some(staged.digest()) {
            return Ok(StatusCode::OK);
        }
        may_replace(repository, path).await?;
    }
    match repository.commit(change(path, found, Arc::clone(staged), content_type)).await {
        Ok(_) => Ok(if found.is_some() { StatusCode::OK } else { StatusCode::CREATED }),
        Err(error) if error.status() == StatusCode::CONFLICT => match reader {
            Some(reader) if lost_to_the_same(reader, headers, path, staged.digest()).await? => Ok(StatusCode::OK),
            _ => Err(Error::conflict(format!("{path:?} was changed by someone else during this upload; look at it, then try again"))),
        },
        Err(error) => Err(error),
    }
}

/// The path of a request that changes a file.
pub(crate) fn writable_path(kind: Kind, request: &Request) -> Result<String> {
    if kind != Kind::Hosted {
        return Err(Error::new(StatusCode::METHOD_NOT_ALLOWED, "a proxy or group repository takes no changes: send them to a hosted repository"));
    }
    let path = request.path.joined();
    if archive::split(&path, request.path.trailing_slash()).is_some() {
        return Err(Error::bad_request(format!("{path:?} is inside an archive: archives are only read; replace the whole archive instead")));
    }
    Ok(path)
}

fn check_headers(request: &Request) -> Result<()> {
    if request.path.trailing_slash() {
        return Err(Error::bad_request("the path of a file does not end with a slash; folders need not be made"));
    }
    if request.header("x-checksum-deploy").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(Error::not_implemented("X-Checksum-Deploy is not served here: send the file itself"));
    }
    if request.headers.contains_key(CONTENT_RANGE) {
        return Err(Error::bad_request("a PUT with Content-Range is not a whole file: send all of it"));
    }
    let content_type = request.header(CONTENT_TYPE.as_str()).unwrap_or_default().trim_start();
    if content_type.get(..20).is_some_and(|start| start.eq_ignore_ascii_case("multipart/form-data;")) {
        return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this is a form, not the file: send the bytes alone (curl --upload-file FILE URL)"));
    }
    Ok(())
}

/// `If-Match` and `If-None-Match` against what is there.
///
/// # Errors
/// 412 when one of them does not hold.
pub(crate) fn check_conditions(headers: &HeaderMap, found: Option<&Entry>) -> Result<()> {
    let failed = |message: &str| Err(Error::new(StatusCode::PRECONDITION_FAILED, message));
    if headers.contains_key("if-none-match") && names(headers, "if-none-match", found) {
        return failed("the file exists already, and If-None-Match asks that it does not");
    }
    if headers.contains_key("if-match") && !names(headers, "if-match", found) {
        return failed("the file is not the one that If-Match names");
    }
    Ok(())
}

/// Whether a header of entity tags names the file: by `*`, or by its SHA-256 (whole, or the beginning that `ETag` shows).
fn names(headers: &HeaderMap, header: &str, found: Option<&Entry>) -> bool {
    let Some(found) = found else { return false };
    let sha256 = found.digest.map(|digest| digest.hex()).unwrap_or_default();
    headers.get_all(header).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
        let opaque = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
        let hex = opaque.strip_prefix("sha256:").unwrap_or(opaque);
        tag == "*" || (hex.len() >= SHORTEST_ETAG && sha256.starts_with(hex))
    })
}

/// Whether the headers alone show that the body is not what is stored.
fn differs(existing: &Entry, request: &Request, claims: &Claims) -> bool {
    let other_size = matches!((existing.size, request.body.length()), (Some(stored), Some(sent)) if stored != sent);
    let mut known = existing.digests.clone();
    if let Some(digest) = existing.digest {
        known.insert(Algorithm::Sha256, digest.as_bytes().to_vec());
    }
    other_size || claims.contradict(&known)
}

/// Whether other bytes may take the path.
async fn may_replace(repository: &Repository<Publish>, path: &str) -> Result<()> {
    if !repository.setting::<bool>(OVERWRITE).unwrap_or_default() {
        return Err(Error::conflict(format!(
            "{path:?} exists with other bytes, and this repository does not replace files: choose another path, delete the file first, or set \"overwrite\": true in the repository's settings"
        )));
    }
    repository.grant::<Overwrite>(&Resource::Repository).await.map(drop)
}

/// Whether anything lies below the path.
pub(crate) async fn is_folder(reader: &Repository<Read>, path: &str) -> Result<bool> {
    let listing = Listing { prefix: format!("{path}/"), after: None, limit: 1, recursive: false };
    Ok(!reader.entries(&listing).await?.items.is_empty())
}

fn is_a_folder(path: &str) -> Error {
    Error::conflict(format!("{path:?} is a folder: a file cannot have the same path; choose another, or delete the folder first"))
}

/// The paths above a path: each would be a folder.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

fn change(path: &str, found: Option<&Entry>, staged: Arc<dyn Staged>, content_type: String) -> Change {
    let (action, condition) = match found.and_then(|entry| entry.digest) {
        Some(digest) => ("overwrite", Precondition::EntryIs { path: path.to_owned(), digest }),
        None => ("publish", Precondition::EntryAbsent(path.to_owned())),
    };
    let folders_only = ancestors(path).map(|folder| Precondition::EntryAbsent(folder.to_owned()));
    let mut change = Change::new(action, path).only_if(condition);
    change.preconditions.extend(folders_only);
    change.begin(Birth::Entry {
        path: path.to_owned(),
        package: None,
        version: None,
        blob: BlobSource::Staged(staged),
        content_type: Some(content_type),
        data: String::new(),
    })
}

/// Why a commit's conditions did not hold: `true` when someone else stored the same bytes first.
///
/// # Errors
/// 412 or 409 with the reason, where it is known.
async fn lost_to_the_same(reader: &Repository<Read>, headers: &HeaderMap, path: &str, digest: Sha256Digest) -> Result<bool> {
    for folder in ancestors(path) {
        if reader.entry(folder).await?.is_some() {
            return Err(Error::conflict(format!("{folder:?} is a file: nothing can be stored below it; choose another path, or delete that file first")));
        }
    }
    let found = reader.entry(path).await?.map(|file| file.entry);
    check_conditions(headers, found.as_ref())?;
    Ok(found.is_some_and(|entry| entry.digest == Some(digest)))
}

/// What the client is told of its file.
struct Answer<'a> {
    path: &'a str,
    location: String,
    staged: &'a Arc<dyn Staged>,
    algorithms: Vec<Algorithm>,
}

impl Answer<'_> {
    fn give(&self, status: StatusCode) -> Result<Response> {
        let mut facts = Map::new();
        facts.insert("path".into(), self.path.into());
        facts.insert("size".into(), self.staged.size().into());
        for algorithm in &self.algorithms {
            facts.insert(algorithm.name().into(), self.staged.digests().hex(*algorithm).into());
        }
        Ok(Response::json(status, &Value::Object(facts))?.with_header(LOCATION, &self.location))
    }
}
