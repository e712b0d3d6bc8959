//! Uploads in several requests, by the tus protocol 1.0.0 (core, creation, creation-with-upload, expiration).
//!
//! `POST` to the path of the file begins an upload, whose address is the same path with `?upload=ID`; `PATCH` there continues it, `HEAD` says
//! where it stands. The file is there once its last byte is: it is stored as a `PUT` of the whole would store it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrepot_kit::{Algorithm, Body, Error, NewUpload, Publish, Read, Repository, Request, Resource, Response, Result, Upload, path::encode_path};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderName, Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::checksum::Claims;
use crate::{media, upload};

/// The version of the protocol.
const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,expiration";
const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
/// The query of an upload's address.
pub(crate) const UPLOAD: &str = "upload";
/// Most URLs of parts in one answer.
const MOST_URLS: u32 = 100;
/// The media type of a `PATCH`.
const CHUNK: &str = "application/offset+octet-stream";

/// What an upload must know again when it continues.
#[derive(Debug, Serialize, Deserialize)]
struct Wanted {
    path: String,
    length: u64,
    content_type: Option<String>,
    claims: Claims,
}

/// `OPTIONS`: what is served.
pub(crate) fn options() -> Response {
    let response = Response::empty(StatusCode::NO_CONTENT).with_header(RESUMABLE, VERSION);
    response.with_header(HeaderName::from_static("tus-version"), VERSION).with_header(HeaderName::from_static("tus-extension"), EXTENSIONS)
}

/// `POST`: begins an upload.
pub(crate) async fn create(repository: Repository<Publish>, request: Request) -> Result<Response> {
    check_version(&request)?;
    if request.query.get(UPLOAD).is_some() {
        return direct(repository, request).await;
    }
    let path = upload::writable_path(repository.kind(), &request)?;
    if request.path.trailing_slash() || path.is_empty() {
        return Err(Error::bad_request("POST to the path that the file shall have, such as /FOLDER/FILE"));
    }
    if request.headers.contains_key("upload-defer-length") {
        return Err(Error::bad_request("the length must be known at the beginning: send Upload-Length"));
    }
    let length = number(&request, &LENGTH)?.ok_or_else(|| Error::bad_request("Upload-Length is missing: the number of bytes of the whole file"))?;
    let claims = Claims::read(&request.headers)?;
    let content_type = request.header("upload-metadata").and_then(file_type);
    let wanted = Wanted { path, length, content_type, claims };
    let algorithms = wanted.claims.algorithms().into_iter().filter(|algorithm| *algorithm != Algorithm::Sha256).collect();
    let data = serde_json::to_string(&wanted).map_err(Error::internal)?;
    let mut begun = repository.uploads()?.begin(NewUpload { algorithms, limit: Some(length), data }).await?;
    let location = format!("{}/{}?{UPLOAD}={}", request.base, encode_path(&wanted.path), begun.id);
    let carries_bytes = request.header(CONTENT_TYPE.as_str()).is_some_and(|value| value.eq_ignore_ascii_case(CHUNK));
    if carries_bytes || length == 0 {
        let body = if carries_bytes { request.body } else { Body::empty() };
        begun = proceed(&repository, begun, &wanted, body).await?;
    }
    Ok(standing(StatusCode::CREATED, &begun).with_header(LOCATION, &location))
}

/// `PATCH`: the next bytes.
pub(crate) async fn patch(repository: Repository<Publish>, request: Request) -> Result<Response> {
    check_version(&request)?;
    if !request.header(CONTENT_TYPE.as_str()).is_some_and(|value| value.eq_ignore_ascii_case(CHUNK)) {
        return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body of a PATCH is {CHUNK}")));
    }
    let offset = number(&request, &OFFSET)?.ok_or_else(|| Error::bad_request("Upload-Offset is missing: where in the file the body begins"))?;
    let (found, wanted) = find(&repository, named(&request)?).await?;
    if offset != found.offset {
        return Err(Error::conflict(format!("the upload stands at byte {}: send Upload-Offset: {0} and the bytes from there", found.offset)));
    }
    let now = proceed(&repository, found, &wanted, request.body).await?;
    Ok(standing(StatusCode::NO_CONTENT, &now))
}

/// `POST` to an upload: the client sends the bytes to the server's storage itself. `&parts=FIRST-LAST` answers URLs for parts,
/// `&complete=true` has them put together and checked: 202 until all of it was read, at most a piece each time.
async fn direct(repository: Repository<Publish>, request: Request) -> Result<Response> {
    let (found, wanted) = find(&repository, named(&request)?).await?;
    let uploads = repository.uploads()?;
    if let Some(numbers) = request.query.get("parts") {
        let (first, last) = part_numbers(numbers)?;
        let parts = uploads.direct_parts(&found.id, wanted.length, first, last).await?;
        return Ok(Response::json(StatusCode::OK, &parts)?.with_header(CACHE_CONTROL, "no-store"));
    }
    if request.query.get("complete") != Some("true") {
        return Err(Error::bad_request("POST to the address of an upload asks for parts (&parts=1-100) or ends it (&complete=true)"));
    }
    let now = if found.committed { found } else { uploads.assemble(&found.id, wanted.length).await? };
    if now.offset < wanted.length {
        return Ok(standing(StatusCode::ACCEPTED, &now));
    }
    let now = proceed(&repository, now, &wanted, Body::empty()).await?;
    Ok(standing(StatusCode::CREATED, &now))
}

/// `FIRST-LAST`, or one number.
fn part_numbers(text: &str) -> Result<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last && last - first < MOST_URLS => Ok((first, last)),
        _ => Err(Error::bad_request(format!("parts are counted from 1 and asked for like this: parts=1-{MOST_URLS}, at most {MOST_URLS} at once"))),
    }
}

/// `HEAD`: where an upload stands.
pub(crate) async fn head(repository: Repository<Read>, request: Request) -> Result<Response> {
    if request.method != Method::HEAD {
        return Err(Error::bad_request("this is the address of an upload: ask by HEAD where it stands, continue it by PATCH"));
    }
    check_version(&request)?;
    let repository = repository.grant::<Publish>(&Resource::Repository).await?;
    let (mut found, wanted) = find(&repository, named(&request)?).await?;
    if found.offset == wanted.length && !found.committed {
        // All bytes are here, but whoever brought the last ones never saw them stored.
        found = proceed(&repository, found, &wanted, Body::empty()).await?;
    }
    Ok(standing(StatusCode::OK, &found).with_header(LENGTH, &wanted.length.to_string()))
}

/// The upload that a request is about: its id, and the path of its file.
fn named(request: &Request) -> Result<(String, String)> {
    let id = request.query.get(UPLOAD).ok_or_else(|| Error::bad_request(format!("the address of an upload ends with ?{UPLOAD}=ID, as POST answered it")))?;
    Ok((id.to_owned(), request.path.joined()))
}

async fn find(repository: &Repository<Publish>, (id, path): (String, String)) -> Result<(Upload, Wanted)> {
    let missing = || Error::not_found("there is no such upload here: begin a new one by POST");
    let found = repository.uploads()?.find(&id).await?;
    let wanted: Wanted = serde_json::from_str(&found.data).map_err(|_| missing())?;
    if wanted.path == path { Ok((found, wanted)) } else { Err(missing()) }
}

/// Takes bytes in, and stores the file when they are all there.
async fn proceed(repository: &Repository<Publish>, upload: Upload, wanted: &Wanted, body: Body) -> Result<Upload> {
    let uploads = repository.uploads()?;
    let now = if upload.offset < wanted.length { uploads.append(&upload.id, upload.offset, body).await? } else { upload };
    if now.offset < wanted.length || now.committed {
        return Ok(now);
    }
    let staged = uploads.finish(&now.id).await?;
    let stored = async {
        wanted.claims.check(staged.digests())?;
        let content_type = wanted.content_type.clone().unwrap_or_else(|| media::by_name(&wanted.path).to_owned());
        upload::store(repository, &wanted.path, Arc::clone(&staged), content_type).await
    };
    if let Err(error) = stored.await {
        if error.status().is_client_error() {
            // Other bytes of the same upload would be refused as well.
            uploads.cancel(&now.id).await?;
        }
        return Err(error);
    }
    uploads.committed(&now.id).await?;
    Ok(Upload { committed: true, ..now })
}

fn check_version(request: &Request) -> Result<()> {
    match request.header(RESUMABLE.as_str()) {
        Some(VERSION) => Ok(()),
        _ => Err(Error::new(StatusCode::PRECONDITION_FAILED, format!("uploads in several requests follow tus {VERSION}: send Tus-Resumable: {VERSION}"))),
    }
}

fn number(request: &Request, name: &HeaderName) -> Result<Option<u64>> {
    let text = request.header(name.as_str());
    text.map(|text| text.parse().map_err(|_| Error::bad_request(format!("{name} is a number of bytes, not {text:?}")))).transpose()
}

/// The media type in `Upload-Metadata`: a list of `key base64`.
fn file_type(metadata: &str) -> Option<String> {
    let mut pairs = metadata.split(',').filter_map(|pair| pair.trim().split_once(' '));
    let (_, value) = pairs.find(|(key, _)| matches!(*key, "filetype" | "content-type" | "type"))?;
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    media::said(Some(&text))
}

fn standing(status: StatusCode, upload: &Upload) -> Response {
    let response = Response::empty(status).with_header(RESUMABLE, VERSION).with_header(OFFSET, &upload.offset.to_string());
    response.with_header(EXPIRES, &upload.expires.http_date()).with_header(CACHE_CONTROL, "no-store")
}
