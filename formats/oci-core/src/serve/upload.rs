//! Uploads of blobs: in one request, or begun, continued and ended in several, each of which may reach another replica.
//!
//! A client that lost an answer can send the same again: a `PATCH` is told where the upload stands, a closing `PUT` is answered as before.

use std::io::Read as _;
use std::sync::Arc;

use entrepot_kit::{
    Algorithm, Body, Error, Hasher, Mount, MountFrom, NewUpload, Publish, Repository, Request, Response, Result, StageSpec, Staged, Upload, Uploads,
};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE};
use http::{HeaderName, StatusCode};
use serde::{Deserialize, Serialize};

use super::{CONTENT_DIGEST, blob, image, new_image};
use crate::error::{BLOB_UPLOAD_INVALID, BLOB_UPLOAD_UNKNOWN, DIGEST_INVALID, RANGE_INVALID, SIZE_INVALID};
use crate::layout;
use crate::name::is_name;
use crate::{Digest, render_error};

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// Bytes that are read at once where a body must be hashed again.
const CHUNK: usize = 256 * 1024;

/// What an upload must know again when it continues.
#[derive(Debug, Serialize, Deserialize)]
struct Wanted {
    image: String,
}

/// `POST`: mounts what is here already, takes a whole blob, or begins an upload.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn begin(repository: Repository<Publish>, request: Request) -> Result<Response> {
    let image = new_image(&request)?;
    if let Some(digest) = request.query.get("mount") {
        let digest = Digest::demand(digest)?;
        let from = request.query.get("from").map(|name| mount_from(&request.base.path, name));
        // A mount that cannot be is an upload that begins: clients go on with the bytes.
        if let Some(mount) = mount(&image, &digest, from)
            && repository.mount(mount).await?
        {
            return Ok(blob::created(&request.base.path, &image, &digest));
        }
        return open(&repository, &request.base.path, image, digest.algorithm()).await;
    }
    match (request.query.get("digest"), request.query.get("digest-algorithm")) {
        (Some(digest), _) => {
            let digest = Digest::demand(digest)?;
            let spec = StageSpec { algorithms: besides(digest.algorithm()), limit: None };
            let staged = repository.stage_body(spec, request.body).await?;
            check_digest(&staged, &digest).await?;
            blob::link(&repository, &image, &digest, staged).await?;
            Ok(blob::created(&request.base.path, &image, &digest))
        }
        (None, Some("sha512")) => open(&repository, &request.base.path, image, Algorithm::Sha512).await,
        (None, None | Some("sha256")) => open(&repository, &request.base.path, image, Algorithm::Sha256).await,
        (None, Some(other)) => {
            let shown: String = other.chars().take(40).collect();
            Err(Error::bad_request(format!("digest-algorithm is sha256 or sha512, not {shown:?}")).with_code(DIGEST_INVALID))
        }
    }
}

/// Where a mount takes its bytes from: on a host of its own a repository's images have no more before them.
fn mount_from(base: &str, name: &str) -> Option<MountFrom> {
    let from = if base == "/v2" { MountFrom::Package } else { MountFrom::Name };
    is_name(name).then(|| from(name.to_owned()))
}

fn mount(image: &str, digest: &Digest, from: Option<Option<MountFrom>>) -> Option<Mount> {
    let from = match from {
        None => None,
        Some(from) => Some(from?),
    };
    Some(Mount { from, package: image.to_owned(), tail: format!("/blobs/{digest}") })
}

/// The hashes that are computed besides SHA-256.
fn besides(algorithm: Algorithm) -> Vec<Algorithm> {
    if algorithm == Algorithm::Sha256 { Vec::new() } else { vec![algorithm] }
}

async fn open(repository: &Repository<Publish>, base: &str, image: String, algorithm: Algorithm) -> Result<Response> {
    let data = serde_json::to_string(&Wanted { image: image.clone() }).map_err(Error::internal)?;
    let upload = repository.uploads()?.begin(NewUpload { algorithms: besides(algorithm), limit: None, data }).await?;
    Ok(standing(StatusCode::ACCEPTED, base, &image, &upload))
}

/// `GET`: where an upload stands. It is a part of a publish: a client whose token only reads is told to ask for one that publishes.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn status(repository: Repository<Publish>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let upload = find(&repository, request.captures.get("upload"), &image).await?;
    Ok(standing(StatusCode::NO_CONTENT, &request.base.path, &image, &upload))
}

/// `PATCH`: the next bytes, wherever the upload stands or where `Content-Range` says.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn patch(repository: Repository<Publish>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let upload = find(&repository, request.captures.get("upload"), &image).await?;
    match take(&repository, &request.base.path, &image, upload, range(&request)?, request.body).await? {
        Taken::All(upload) => Ok(standing(StatusCode::ACCEPTED, &request.base.path, &image, &upload)),
        Taken::Elsewhere(refusal) => Ok(*refusal),
    }
}

/// `PUT`: the last bytes, if any are left, and the digest of them all.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn end(repository: Repository<Publish>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let digest = request
        .query
        .get("digest")
        .ok_or_else(|| Error::bad_request("the end of an upload names the digest of its bytes: ?digest=sha256:…").with_code(DIGEST_INVALID))?;
    let digest = Digest::demand(digest)?;
    let upload = find(&repository, request.captures.get("upload"), &image).await?;
    let base = request.base.path.clone();
    if upload.committed {
        // The answer was lost, and the client asks again.
        let known = repository.stored(&layout::blob(&image, &digest)).await?;
        return known.map(|_| blob::created(&base, &image, &digest)).ok_or_else(no_upload);
    }
    let id = upload.id.clone();
    let range = range(&request)?;
    // Most clients sent everything before.
    let is_empty = request.body.length() == Some(0) && range.is_none();
    if !is_empty && let Taken::Elsewhere(refusal) = take(&repository, &base, &image, upload, range, request.body).await? {
        return Ok(*refusal);
    }
    let uploads = repository.uploads()?;
    let staged = uploads.finish(&id).await?;
    check_digest(&staged, &digest).await?;
    blob::link(&repository, &image, &digest, staged).await?;
    uploads.committed(&id).await?;
    Ok(blob::created(&base, &image, &digest))
}

/// `DELETE`: forgets an upload.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn cancel(repository: Repository<Publish>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let upload = find(&repository, request.captures.get("upload"), &image).await?;
    repository.uploads()?.cancel(&upload.id).await?;
    Ok(Response::empty(StatusCode::NO_CONTENT))
}

fn no_upload() -> Error {
    Error::not_found("there is no such upload here: it was ended, cancelled, or nobody continued it for a day; begin a new one").with_code(BLOB_UPLOAD_UNKNOWN)
}

/// The upload that a request is about, if it was begun for this image by this caller.
async fn find(repository: &Repository<Publish>, id: &str, image: &str) -> Result<Upload> {
    let found = repository.uploads()?.find(id).await.map_err(unknown)?;
    let wanted: Option<Wanted> = serde_json::from_str(&found.data).ok();
    wanted.filter(|wanted| wanted.image == image).ok_or_else(no_upload)?;
    Ok(found)
}

/// What the store says of an upload that is not there, in the words of the protocol.
fn unknown(error: Error) -> Error {
    if error.status() == StatusCode::NOT_FOUND { no_upload() } else { error }
}

/// What became of a body.
enum Taken {
    All(Upload),
    /// It does not begin where the upload stands.
    Elsewhere(Box<Response>),
}

async fn take(repository: &Repository<Publish>, base: &str, image: &str, upload: Upload, range: Option<(u64, u64)>, body: Body) -> Result<Taken> {
    let uploads = repository.uploads()?;
    if let Some((first, last)) = range {
        if let Some(length) = body.length()
            && last.checked_sub(first).and_then(|distance| distance.checked_add(1)) != Some(length)
        {
            return Err(Error::bad_request(format!("the body has {length} bytes, and Content-Range says {first}-{last}")).with_code(SIZE_INVALID));
        }
        if first != upload.offset {
            return Ok(Taken::Elsewhere(Box::new(out_of_order(base, image, &upload))));
        }
    }
    match uploads.append(&upload.id, upload.offset, body).await {
        Ok(upload) => Ok(Taken::All(upload)),
        // Somebody else was faster: the client asks where the upload stands, and goes on there.
        Err(error) if error.status() == StatusCode::CONFLICT => Ok(Taken::Elsewhere(Box::new(out_of_order(base, image, &stands(uploads, &upload).await?)))),
        Err(error) => Err(unknown(error)),
    }
}

async fn stands(uploads: &dyn Uploads, upload: &Upload) -> Result<Upload> {
    uploads.find(&upload.id).await.map_err(unknown)
}

/// `Content-Range: first-last`, both inclusive; the unit that HTTP writes before it is taken too.
fn range(request: &Request) -> Result<Option<(u64, u64)>> {
    let Some(text) = request.header(CONTENT_RANGE.as_str()) else { return Ok(None) };
    let numbers = text.trim().trim_start_matches("bytes").trim_start_matches(['=', ' ']);
    let numbers = numbers.split('/').next().unwrap_or_default();
    let parsed = numbers.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let shown: String = text.chars().take(80).collect();
    parsed.map(Some).ok_or_else(|| Error::bad_request(format!("Content-Range is FIRST-LAST, not {shown:?}")).with_code(BLOB_UPLOAD_INVALID))
}

/// Where an upload stands, and where it goes on.
fn standing(status: StatusCode, base: &str, image: &str, upload: &Upload) -> Response {
    let location = format!("{base}/{image}/blobs/uploads/{}", upload.id);
    let response = Response::empty(status).with_header(LOCATION, &location).with_header(RANGE, &format!("0-{}", upload.offset.saturating_sub(1)));
    response.with_header(UPLOAD_UUID, &upload.id)
}

fn out_of_order(base: &str, image: &str, upload: &Upload) -> Response {
    let message = format!("the upload stands at byte {}: send the bytes from there", upload.offset);
    let (content_type, body) = render_error(&Error::new(StatusCode::RANGE_NOT_SATISFIABLE, message).with_code(RANGE_INVALID));
    let mut response = standing(StatusCode::RANGE_NOT_SATISFIABLE, base, image, upload);
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Response { body: entrepot_kit::ResponseBody::Bytes(body), ..response }
}

/// Whether staged bytes have the digest that the client names. One by an algorithm that was not announced costs another read.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn check_digest(staged: &Arc<dyn Staged>, digest: &Digest) -> Result<()> {
    let algorithm = digest.algorithm();
    let actual = match Digest::among(staged.digests(), algorithm) {
        Some(actual) => Some(actual),
        None if algorithm == Algorithm::Sha256 => Some(Digest::sha256(staged.digest())),
        None => {
            let mut reader = staged.reader().await?;
            let hashed = entrepot_kit::blocking(move || {
                let (mut hasher, mut chunk) = (Hasher::new(&[algorithm]), vec![0; CHUNK]);
                loop {
                    match reader.read(&mut chunk).map_err(Error::internal)? {
                        0 => return Ok(hasher.finish().1),
                        read => hasher.update(chunk.get(..read).unwrap_or_default()),
                    }
                }
            });
            let hashed = hashed.await?;
            hashed.get(algorithm).into_iter().for_each(|bytes| staged.learn(algorithm, bytes));
            Digest::among(&hashed, algorithm)
        }
    };
    if actual.as_ref() == Some(digest) {
        return Ok(());
    }
    let actual = actual.map(|actual| actual.to_string()).unwrap_or_default();
    Err(Error::bad_request(format!("the bytes that came have the digest {actual}, not {digest}: nothing was stored")).with_code(DIGEST_INVALID))
}

/// The header of answers that name a digest.
#[must_use]
pub fn with_digest(response: Response, digest: &Digest) -> Response {
    response.with_header(CONTENT_DIGEST, &digest.to_string())
}
