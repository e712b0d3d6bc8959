//! `PUT`: a file, a checksum, or metadata.

use std::sync::Arc;

use entrepot_kit::route::Answer;
use entrepot_kit::{
    Algorithm, Birth, BlobSource, Body, Change, Entry, Error, Precondition, Publish, Repository, Request, Response, Result, StageSpec, Staged, blocking,
};
use http::StatusCode;

use super::commit::{Arrival, Owner, store};
use super::{ATTEMPTS, notes, overtaken, writable_path};
use crate::coordinates::{Coordinates, PARKED, Place, place};
use crate::metadata::{self, Metadata};
use crate::{checksum, plugin, settings};

/// Stores what was sent.
pub(crate) fn put(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        let path = writable_path(repository.kind(), &request)?;
        if request.path.trailing_slash() {
            return Err(Error::bad_request("the path of a file does not end with a slash; folders need not be made"));
        }
        let status = match place(&path) {
            Place::Own | Place::Catalog | Place::Prefixes => {
                return Err(Error::bad_request(format!("{path:?} is made by the server, from what is deployed")).with_reason("This file is made by the server"));
            }
            Place::Checksum { of, algorithm } => checksum_file(&repository, of, algorithm, request.body).await?,
            Place::Metadata { folder } => {
                let document = request.body.collect(metadata::LARGEST).await?;
                let document = blocking(move || Metadata::parse(&document)).await?;
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

async fn file(repository: &Repository<Publish>, path: &str, coordinates: Option<&Coordinates<'_>>, body: Body) -> Result<StatusCode> {
    let algorithms = vec![Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha512];
    let staged = repository.stage_body(StageSpec { algorithms, limit: None }, body).await?;
    let may_be_plugin = coordinates.is_some_and(|coordinates| coordinates.classifier.is_empty() && coordinates.extension == "jar");
    let plugin = if may_be_plugin { look(&staged, coordinates).await? } else { None };
    store(repository, Arrival { path: path.to_owned(), owner: coordinates.map(Owner::of), staged, plugin }).await
}

/// The plugin that a jar holds.
async fn look(staged: &Arc<dyn Staged>, coordinates: Option<&Coordinates<'_>>) -> Result<Option<metadata::Plugin>> {
    let reader = staged.reader().await?;
    let artifact = coordinates.map(|coordinates| coordinates.artifact.to_owned()).unwrap_or_default();
    // What the descriptor says of its own name is for people; where it is deployed counts.
    blocking(move || Ok(plugin::read(reader).map(|plugin| metadata::Plugin { artifact, ..plugin }))).await
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
    let sent = std::str::from_utf8(&text).ok().and_then(|text| checksum::parse(text, algorithm));
    let sent = sent.ok_or_else(|| Error::bad_request(format!("there is no {} in this checksum file", algorithm.name())).with_reason("This is no checksum"))?;
    let ending = format!(".{}", algorithm.name().replace('-', ""));
    let waiting = parked(of, &ending);
    for _ in 0..ATTEMPTS {
        if let Some(entry) = repository.stored(of).await? {
            check(of, algorithm, &sent, &entry)?;
            return Ok(StatusCode::CREATED);
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

fn check(path: &str, algorithm: Algorithm, sent: &str, entry: &Entry) -> Result<()> {
    let known = match algorithm {
        Algorithm::Sha256 => entry.digest.map(|digest| digest.hex()),
        other => entry.digests.hex(other),
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
