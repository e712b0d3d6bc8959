//! `PUT`: a file, a checksum, or metadata.

use entrepot_kit::route::Answer;
use entrepot_kit::{
    Algorithm, Birth, BlobSource, Body, Change, Digests, Error, Precondition, Publish, Repository, Request, Response, Result, Sha256Digest, StageSpec, archive,
    blocking,
};
use http::StatusCode;

use super::commit::{Arrival, Batch, Owner, Sent, store};
use super::{ATTEMPTS, notes, overtaken, seal, writable_path};
use crate::coordinates::{Build, Coordinates, PARKED, Place, place};
use crate::facts::Facts;
use crate::metadata::{self, Metadata};
use crate::{checksum, settings};

/// What is computed of every file besides SHA-256.
pub(crate) const DIGESTS: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha512];

/// Stores what was sent.
pub(crate) fn put(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        let path = writable_path(repository.kind(), &request)?;
        check_file_path(&request, &path)?;
        let status = match place(&path) {
            Place::Own | Place::Catalog | Place::Prefixes => {
                return Err(Error::bad_request(format!("{path:?} is made by the server, from what is deployed")).with_reason("This file is made by the server"));
            }
            Place::Checksum { of, algorithm } => checksum_file(&repository, of, algorithm, request.body).await?,
            Place::Metadata { folder } => {
                let document = request.body.collect(metadata::LARGEST).await?;
                let document = blocking(move || Metadata::parse_news(&document)).await?;
                notes::take(&repository, folder, &document).await?;
                StatusCode::CREATED
            }
            Place::Artifact(coordinates) => {
                settings::check_version(&repository, coordinates.version)?;
                file(&repository, &path, Some(&coordinates), request.body).await?
            }
            Place::Other => file(&repository, &path, None, request.body).await?,
        };
        Ok(Response::empty(status))
    })
}

/// Whether a path can be that of a file.
pub(crate) fn check_file_path(request: &Request, path: &str) -> Result<()> {
    if request.path.trailing_slash() {
        return Err(Error::bad_request("the path of a file does not end with a slash; folders need not be made"));
    }
    if archive::split(path, false).is_some() {
        return Err(Error::bad_request(format!("{path:?} is inside an archive, and archives are only read: deploy the whole archive")));
    }
    Ok(())
}

async fn file(repository: &Repository<Publish>, path: &str, coordinates: Option<&Coordinates<'_>>, body: Body) -> Result<StatusCode> {
    let staged = repository.stage_body(StageSpec { algorithms: DIGESTS.to_vec(), limit: None }, body).await?;
    let facts = match coordinates {
        Some(coordinates) => Facts::of(&staged, coordinates).await?,
        None => Facts::default(),
    };
    let arrival = Arrival { path: path.to_owned(), owner: coordinates.map(Owner::of), bytes: Sent::staged(staged), facts };
    let batch = Batch { action: "deploy", subject: path.to_owned(), arrivals: vec![arrival], moved: Vec::new(), seal: false };
    Ok(if store(repository, &batch).await?.is_some() { StatusCode::CREATED } else { StatusCode::OK })
}

/// What a checksum file says.
///
/// # Errors
/// 400 when there is no such checksum in it.
pub(crate) fn read_checksum(text: &[u8], algorithm: Algorithm) -> Result<String> {
    let sent = std::str::from_utf8(text).ok().and_then(|text| checksum::parse(text, algorithm));
    sent.ok_or_else(|| Error::bad_request(format!("there is no {} in this checksum file", algorithm.name())).with_reason("This is no checksum"))
}

/// Where a checksum waits for its file.
pub(crate) fn parked(path: &str, ending: &str) -> String {
    format!("{PARKED}{path}{ending}")
}

/// Compares a checksum with the file that is here, or lets it wait for that.
async fn checksum_file(repository: &Repository<Publish>, of: &str, algorithm: Algorithm, body: Body) -> Result<StatusCode> {
    let text = body.collect(checksum::LARGEST).await?;
    let subject = place(of);
    if matches!(subject, Place::Metadata { .. }) {
        // Ours are made of what is served.
        return Ok(StatusCode::CREATED);
    }
    if !matches!(subject, Place::Artifact(_) | Place::Other) {
        return Err(Error::bad_request(format!("nobody deploys {of:?}, nor its checksum")));
    }
    let sent = read_checksum(&text, algorithm)?;
    let ending = format!(".{}", algorithm.name().replace('-', ""));
    let waiting = parked(of, &ending);
    for _ in 0..ATTEMPTS {
        if let Some(entry) = repository.stored(of).await? {
            check(of, algorithm, &sent, entry.digest, &entry.digests)?;
            return Ok(StatusCode::CREATED);
        }
        // For a file that would be refused none waits.
        if let Place::Artifact(coordinates) = &subject
            && coordinates.build == Build::Release
            && let Some(live) = repository.version(&coordinates.package(), coordinates.version).await?.filter(|found| found.live)
        {
            seal::check(repository, &coordinates.package(), coordinates.version, live.published).await?;
        }
        let staged = repository.stage_body(StageSpec::default(), Body::from(bytes::Bytes::from(sent.clone()))).await?;
        let change = Change::new("checksum", of).only_if(Precondition::EntryAbsent(of.to_owned())).begin(Birth::Entry {
            path: waiting.clone(),
            package: None,
            version: None,
            blob: BlobSource::Staged(staged),
            content_type: Some(String::from("text/plain; charset=utf-8")),
            data: sent.clone(),
        });
        match repository.commit(change).await {
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            other => return other.map(|_| StatusCode::CREATED),
        }
    }
    Err(overtaken(of))
}

/// Holds a checksum against a file.
///
/// # Errors
/// 400 with both when they differ.
pub(crate) fn check(path: &str, algorithm: Algorithm, sent: &str, digest: Option<Sha256Digest>, digests: &Digests) -> Result<()> {
    let known = match algorithm {
        Algorithm::Sha256 => digest.map(|digest| digest.hex()),
        other => digests.hex(other),
    };
    match known {
        Some(known) if known != sent => Err(mismatch(path, algorithm, sent, &known)),
        _ => Ok(()),
    }
}

/// A checksum is not that of the file.
pub(crate) fn mismatch(path: &str, algorithm: Algorithm, sent: &str, actual: &str) -> Error {
    let name = algorithm.name();
    Error::bad_request(format!("the {name} that was sent for {path:?} is {sent}, and the file's is {actual}: it was changed on its way; deploy it again"))
        .with_reason("The checksum is not that of the file")
}
