//! A bundle: whole releases as one ZIP of the layout, as they are sent to central repositories. All of it is checked, and stored in one
//! revision, or nothing.

use std::collections::HashSet;
use std::io::Read as _;
use std::sync::Arc;

use entrepot_kit::archive::{self, Kind, Member, Place as Inner, streamed};
use entrepot_kit::route::Answer;
use entrepot_kit::{Algorithm, Body, Error, Publish, ReadSeek, Repository, Request, Response, Result, StageSpec, Staged, blocking};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;

use super::commit::{Arrival, Batch, Owner, Sent, store};
use super::put::{DIGESTS, read_checksum};
use super::staging::{asks_for_seal, incomplete};
use super::writable_path;
use crate::checksum;
use crate::coordinates::{Build, Coordinates, Place, place};
use crate::facts::Facts;
use crate::release::{Item, Sum, problems, versions};
use crate::settings::{self, Checks};

/// Most files that are stored, and most entries with their checksums.
const MOST_FILES: usize = 2000;
const MOST_ENTRIES: usize = 20_000;
/// How much larger than the archive all of it may be, besides what is always allowed, and at most.
const RATIO: u64 = 100;
const ALWAYS_ALLOWED: u64 = 64 << 20;
const MOST_BYTES: u64 = 32 << 30;
/// Files up to this size are held in memory until all is stored; so much of them.
const SMALL: u64 = 64 << 10;
const MOST_SMALL: u64 = 64 << 20;

/// What a bundle has.
#[derive(Default)]
struct Contents {
    files: Vec<Member>,
    sums: Vec<(String, Algorithm, Member)>,
}

fn refused(why: impl std::fmt::Display) -> Error {
    Error::unprocessable(format!("the bundle is refused, and nothing of it was stored: {why}")).with_reason("The bundle is refused")
}

/// `PUT` or `POST .bundle`: stores what the archive holds.
pub(crate) fn upload(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        writable_path(repository.kind(), &request)?;
        let checks = Checks::of(&repository, &request.query)?;
        let seal = asks_for_seal(&request)?;
        if request.header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("multipart/")) {
            let why = "this is a form, not the archive: send the bytes alone (curl --upload-file bundle.zip URL)";
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let bundle = repository.stage_body(StageSpec::default(), request.body).await?;
        let (reader, size) = (bundle.reader().await?, bundle.size());
        let contents = blocking(move || look(reader, size)).await?;
        let mut sums = Vec::with_capacity(contents.sums.len());
        for (of, algorithm, member) in contents.sums {
            sums.push((of, algorithm, read_sum(&bundle, &member, algorithm).await?));
        }
        let mut arrivals = Vec::with_capacity(contents.files.len());
        for member in &contents.files {
            arrivals.push(arrival(&repository, &bundle, member).await?);
        }
        let items: Vec<Item<'_>> = arrivals
            .iter()
            .map(|arrival| Item { path: &arrival.path, digest: Some(arrival.bytes.digest), digests: &arrival.bytes.digests, facts: &arrival.facts })
            .collect();
        let sums: Vec<Sum<'_>> = sums.iter().map(|(of, algorithm, sent)| Sum { of, algorithm: *algorithm, sent }).collect();
        let problems = problems(&items, &sums, checks);
        if !problems.is_empty() {
            return Err(incomplete("the bundle is refused", &problems));
        }
        let versions = versions(arrivals.iter().map(|arrival| arrival.path.as_str()));
        let files = arrivals.len();
        let batch = Batch { action: "bundle", subject: versions.first().cloned().unwrap_or_default(), arrivals, moved: Vec::new(), seal };
        let revision = store(&repository, &batch).await?;
        let status = if revision.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        Response::json(status, &json!({ "revision": revision, "files": files, "versions": versions }))
    })
}

/// What an archive holds, within bounds.
fn look(reader: Box<dyn ReadSeek>, size: u64) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut seen = HashSet::new();
    let most = size.saturating_mul(RATIO).saturating_add(ALWAYS_ALLOWED).min(MOST_BYTES);
    let (mut bytes, mut small) = (0_u64, 0_u64);
    archive::walk(Kind::Zip, reader, size, &mut |member| {
        if seen.len() >= MOST_ENTRIES {
            return Err(refused(format!("it has more than {MOST_ENTRIES} entries")));
        }
        if !seen.insert(member.path.clone()) {
            return Err(refused(format!("it has {:?} more than once", member.path)));
        }
        if let Inner::Refused(what) = member.place {
            return Err(refused(format!("{:?} is {what}", member.path)));
        }
        bytes = bytes.saturating_add(member.size);
        if member.size <= SMALL {
            small = small.saturating_add(member.size);
        }
        match place(&member.path) {
            Place::Artifact(coordinates) if coordinates.build == Build::Release => contents.files.push(member),
            Place::Checksum { of, algorithm } => match place(of) {
                Place::Metadata { .. } => {}
                _ => contents.sums.push((of.to_owned(), algorithm, member)),
            },
            Place::Metadata { .. } => {}
            _ => return Err(refused(format!("{:?} is no file of a release: a bundle has the layout of a repository, from its root", member.path))),
        }
        if contents.files.len() > MOST_FILES || bytes > most || small > MOST_SMALL {
            let why = format!("it has more than {MOST_FILES} files, {most} bytes, or {MOST_SMALL} bytes of small files: deploy to a stage instead");
            return Err(Error::too_large(format!("the bundle is refused, and nothing of it was stored: {why}")).with_reason("The bundle is too large"));
        }
        Ok(())
    })?;
    if contents.files.is_empty() {
        return Err(refused("it has no file of a release"));
    }
    Ok(contents)
}

async fn read_sum(bundle: &Arc<dyn Staged>, member: &Member, algorithm: Algorithm) -> Result<String> {
    if member.size > checksum::LARGEST as u64 {
        return Err(refused(format!("{:?} is no checksum", member.path)));
    }
    let (reader, size, member) = (bundle.reader().await?, bundle.size(), member.clone());
    blocking(move || {
        let mut text = Vec::new();
        archive::open(Kind::Zip, reader, size, &member)?.read_to_end(&mut text).map_err(|error| refused(format!("{:?}: {error}", member.path)))?;
        read_checksum(&text, algorithm).map_err(|error| refused(format!("{:?}: {}", member.path, error.message())))
    })
    .await
}

/// Stages one file out of the archive.
async fn arrival(repository: &Repository<Publish>, bundle: &Arc<dyn Staged>, member: &Member) -> Result<Arrival> {
    let coordinates = artifact(&member.path)?;
    settings::check_version(repository, coordinates.version)?;
    let (reader, size, wanted) = (bundle.reader().await?, bundle.size(), member.clone());
    let open = blocking(move || archive::open(Kind::Zip, reader, size, &wanted)).await?;
    let body = Body::new(streamed(open), Some(member.size));
    let staged = repository.stage_body(StageSpec { algorithms: DIGESTS.to_vec(), limit: None }, body).await?;
    let facts = Facts::of(&staged, &coordinates).await?;
    Ok(Arrival { path: member.path.clone(), owner: Some(Owner::of(&coordinates)), bytes: Sent::staged(staged), facts })
}

fn artifact(path: &str) -> Result<Coordinates<'_>> {
    match place(path) {
        Place::Artifact(coordinates) => Ok(coordinates),
        _ => Err(refused(format!("{path:?} is no file of a release"))),
    }
}
