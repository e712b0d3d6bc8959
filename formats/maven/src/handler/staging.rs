//! Stages: releases that are deployed where nobody sees them, looked at, and made visible in one revision.
//!
//! What waits lies below [`STAGING`], at the paths of the layout, kept without revisions: no package, version or list knows of it, and only who
//! may publish is let in. A promotion is one change: it ends what waits and begins the same bytes at their places.

use std::collections::BTreeSet;

use entrepot_kit::route::Answer;
use entrepot_kit::{
    Access, Algorithm, Birth, BlobSource, Body, Change, Death, Entry, Error, File, Listing, ListingItem, Precondition, Publish, Read, Records, Repository,
    Request, Resource, Response, Result, StageSpec, Timestamp, VersionRecord, blocking,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::commit::{Arrival, Batch, Owner, Sent, plan};
use super::put::{DIGESTS, check, check_file_path, read_checksum};
use super::{ATTEMPTS, media, overtaken, writable_path};
use crate::checksum;
use crate::coordinates::{Build, Coordinates, Place, STAGING, package_of, package_of_folder, place};
use crate::facts::Facts;
use crate::index::{self, LISTED, XML};
use crate::metadata::{self, Metadata};
use crate::release::{Item, Sum, problems, versions};
use crate::settings::{self, Checks};

/// Most files of a stage.
const MOST: usize = 10_000;
/// Files that are read at once.
const PAGE: usize = 1000;
/// Most stages that are listed.
const MOST_STAGES: usize = 1000;
/// Longest name of a stage.
const LONGEST: usize = 64;

/// The folder of a stage, with a slash at its end.
fn folder(id: &str) -> String {
    format!("{STAGING}{id}/")
}

/// The stage that a request names.
fn stage<A: Access>(repository: &Repository<A>, request: &Request) -> Result<String> {
    writable_path(repository.kind(), request)?;
    let id = request.captures.get("id");
    let is_name = |id: &str| id.len() <= LONGEST && !id.starts_with('.') && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if is_name(id) {
        return Ok(id.to_owned());
    }
    Err(Error::bad_request(format!("a stage has a name of up to {LONGEST} letters, digits, '.', '_' and '-', not {id:?}")))
}

/// `PUT .staging/{id}/{path}`: a file that waits.
pub(crate) fn put(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        let id = stage(&repository, &request)?;
        let path = request.captures.get("path").to_owned();
        check_file_path(&request, &path)?;
        match place(&path) {
            Place::Metadata { .. } => {
                let document = request.body.collect(metadata::LARGEST).await?;
                blocking(move || Metadata::parse(&document).map(drop)).await?;
            }
            Place::Checksum { of, algorithm } => put_checksum(&repository, &id, (&path, of, algorithm), request.body).await?,
            Place::Artifact(coordinates) if coordinates.build == Build::Release => {
                settings::check_version(&repository, coordinates.version)?;
                put_file(&repository, &id, &path, &coordinates, request.body).await?;
            }
            Place::Artifact(_) => {
                let why = format!("{path:?} is of a snapshot: only releases wait in stages; deploy snapshots to the repository itself");
                return Err(Error::conflict(why).with_reason("Only releases wait in stages"));
            }
            _ => return Err(Error::bad_request(format!("{path:?} is no file of a release")).with_reason("This is no file of a release")),
        }
        Ok(Response::empty(StatusCode::CREATED))
    })
}

async fn put_file(repository: &Repository<Publish>, id: &str, path: &str, coordinates: &Coordinates<'_>, body: Body) -> Result<()> {
    let staged = repository.stage_body(StageSpec { algorithms: DIGESTS.to_vec(), limit: None }, body).await?;
    let digest = staged.digest();
    let data = Facts::of(&staged, coordinates).await?.to_text()?;
    let at = format!("{}{path}", folder(id));
    keep(repository, &at, BlobSource::Staged(staged), data, media::by_name(path)).await?;
    match repository.stored(&at).await? {
        Some(stored) if stored.digest == Some(digest) => Ok(()),
        _ => Err(Error::conflict(format!("{path:?} waits in the stage {id:?} already, with other bytes: drop the stage and deploy to it again"))
            .with_reason("This file is in the stage with other bytes: drop the stage")),
    }
}

async fn put_checksum(repository: &Repository<Publish>, id: &str, (path, of, algorithm): (&str, &str, Algorithm), body: Body) -> Result<()> {
    let text = body.collect(checksum::LARGEST).await?;
    match place(of) {
        Place::Metadata { .. } => return Ok(()),
        Place::Artifact(coordinates) if coordinates.build == Build::Release => {}
        _ => return Err(Error::bad_request(format!("{of:?} is no file of a release")).with_reason("This is no file of a release")),
    }
    let sent = read_checksum(&text, algorithm)?;
    // One that comes before its file is compared when all is looked at.
    if let Some(file) = repository.stored(&format!("{}{of}", folder(id))).await? {
        check(of, algorithm, &sent, file.digest, &file.digests)?;
    }
    let at = format!("{}{path}", folder(id));
    let staged = repository.stage_body(StageSpec::default(), Body::from(bytes::Bytes::from(sent.clone()))).await?;
    keep(repository, &at, BlobSource::Staged(staged), sent.clone(), "text/plain; charset=utf-8").await?;
    match repository.stored(&at).await? {
        Some(stored) if stored.data == sent => Ok(()),
        _ => Err(Error::conflict(format!("another {} of {of:?} is in the stage {id:?}: drop the stage and deploy to it again", algorithm.name()))
            .with_reason("Another checksum of this file is in the stage: drop the stage")),
    }
}

/// Keeps a file without a revision. Its package is none as long as it waits.
async fn keep(repository: &Repository<Publish>, path: &str, blob: BlobSource, data: String, content_type: &str) -> Result<()> {
    let birth = Birth::Entry { path: path.to_owned(), package: None, version: None, blob, content_type: Some(content_type.to_owned()), data };
    repository.keep(birth).await
}

/// What waits in a stage.
#[derive(Default)]
struct Stage {
    /// Files, by the paths that they will have.
    files: Vec<(String, Entry)>,
    /// Checksums that were sent, with what they are of.
    sums: Vec<(String, Algorithm, Entry)>,
}

impl Stage {
    async fn read(reader: &Repository<Read>, id: &str, below: &str) -> Result<Self> {
        let root = folder(id);
        let mut found = Self::default();
        let mut after = None;
        loop {
            let page = reader.entries(&Listing { prefix: format!("{root}{below}"), after, limit: PAGE, recursive: true }).await?;
            after = page.items.last().map(|item| item.path().to_owned());
            for item in page.items {
                let ListingItem::File(entry) = item else { continue };
                let Some(path) = entry.path.strip_prefix(&root).map(str::to_owned) else { continue };
                match place(&path) {
                    Place::Checksum { of, algorithm } => found.sums.push((of.to_owned(), algorithm, entry)),
                    _ => found.files.push((path, entry)),
                }
            }
            if found.files.len() > MOST {
                return Err(Error::unprocessable(format!("the stage {id:?} has more than {MOST} files: drop it, and use several")));
            }
            if !page.more || after.is_none() {
                return Ok(found);
            }
        }
    }

    fn demand(self, id: &str) -> Result<Self> {
        if self.files.is_empty() && self.sums.is_empty() { Err(Error::not_found(format!("nothing waits in a stage {id:?}"))) } else { Ok(self) }
    }

    fn problems<'a>(&'a self, facts: &'a [Facts], wanted: Checks) -> Vec<String> {
        let item = |(path, entry): &'a (String, Entry), facts: &'a Facts| Item { path, digest: entry.digest, digests: &entry.digests, facts };
        let items: Vec<Item<'_>> = self.files.iter().zip(facts).map(|(file, facts)| item(file, facts)).collect();
        let sums: Vec<Sum<'_>> = self.sums.iter().map(|(of, algorithm, entry)| Sum { of, algorithm: *algorithm, sent: &entry.data }).collect();
        problems(&items, &sums, wanted)
    }

    fn facts(&self) -> Result<Vec<Facts>> {
        self.files.iter().map(|(_, entry)| Facts::parse(&entry.data)).collect()
    }

    fn versions(&self) -> Vec<String> {
        versions(self.files.iter().map(|(path, _)| path.as_str()))
    }

    /// All of it as it lies there.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.files.iter().map(|(_, entry)| entry).chain(self.sums.iter().map(|(.., entry)| entry))
    }
}

/// `GET .staging/`: the stages.
pub(crate) fn list(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        writable_path(repository.kind(), &request)?;
        let reader = repository.grant::<Read>(&Resource::Repository).await?;
        let page = reader.entries(&Listing { prefix: STAGING.to_owned(), after: None, limit: MOST_STAGES, recursive: false }).await?;
        let name = |item: &ListingItem| item.path().strip_prefix(STAGING).map(|name| name.trim_end_matches('/').to_owned());
        let stages: Vec<Value> = page.items.iter().filter_map(name).map(|id| json!({ "id": id })).collect();
        Response::json(StatusCode::OK, &json!({ "stages": stages, "more": page.more }))
    })
}

/// `GET .staging/{id}/{path}`: what waits, for who may publish; without a path the state of the stage.
pub(crate) fn get(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        let id = stage(&repository, &request)?;
        let path = request.captures.get("path").to_owned();
        if path.is_empty() {
            let checks = Checks::of(&repository, &request.query)?;
            return state(&repository, &id, checks).await;
        }
        // Who may publish some packages only sees nothing of others.
        let resource = package_of(&path).map_or(Resource::Repository, Resource::Package);
        repository.grant::<Publish>(&resource).await?;
        let reader = repository.grant::<Read>(&resource).await?;
        let missing = || Error::not_found(format!("{path:?} does not wait in the stage {id:?}"));
        match place(&path) {
            Place::Metadata { folder } => {
                let document = metadata(&reader, &id, folder).await?.ok_or_else(missing)?;
                Ok(Response::bytes(StatusCode::OK, XML, document))
            }
            Place::Checksum { of, algorithm } => {
                let digest = match place(of) {
                    Place::Metadata { folder } => algorithm.hex_of(&metadata(&reader, &id, folder).await?.ok_or_else(missing)?),
                    _ => {
                        let entry = repository.stored(&format!("{}{of}", folder(&id))).await?.ok_or_else(missing)?;
                        let known = if algorithm == Algorithm::Sha256 { entry.digest.map(|digest| digest.hex()) } else { entry.digests.hex(algorithm) };
                        known.ok_or_else(missing)?
                    }
                };
                Ok(Response::bytes(StatusCode::OK, "text/plain; charset=utf-8", digest))
            }
            _ => {
                let file = reader.entry(&format!("{}{path}", folder(&id))).await?.ok_or_else(missing)?;
                // The stage may be dropped, and filled again.
                Ok(Response::file(File { mutable: true, ..file }))
            }
        }
    })
}

/// The list of versions as this stage would have it alone.
async fn metadata(reader: &Repository<Read>, id: &str, folder: &str) -> Result<Option<Vec<u8>>> {
    let Some(package) = package_of_folder(folder) else { return Ok(None) };
    let stage = Stage::read(reader, id, &format!("{folder}/")).await?;
    let listed: BTreeSet<String> = stage
        .files
        .iter()
        .filter_map(|(path, _)| match place(path) {
            Place::Artifact(file) if file.package() == package && file.extension == "pom" => Some(file.version.to_owned()),
            _ => None,
        })
        .collect();
    let record = |version| VersionRecord { version, published: None, bytes: bytes::Bytes::from_static(LISTED) };
    let modified = stage.files.iter().map(|(_, entry)| entry.created).max();
    let records = Records { package, versions: listed.into_iter().map(record).collect(), modified, ..Records::default() };
    let document = index::render(&records, &entrepot_kit::BaseUrl { origin: String::new(), path: String::new() }, "")?;
    Ok((!document.is_empty()).then_some(document))
}

/// What waits and what is wrong with it.
async fn state(repository: &Repository<Publish>, id: &str, checks: Checks) -> Result<Response> {
    let reader = repository.grant::<Read>(&Resource::Repository).await?;
    let stage = Stage::read(&reader, id, "").await?.demand(id)?;
    let packages: BTreeSet<String> = stage.files.iter().filter_map(|(path, _)| package_of(path)).collect();
    for package in packages {
        repository.grant::<Publish>(&Resource::Package(package)).await?;
    }
    let problems = stage.problems(&stage.facts()?, checks);
    let files: Vec<Value> = stage
        .files
        .iter()
        .map(|(path, entry)| json!({ "path": path, "size": entry.size, "sha256": entry.digest, "created": entry.created.rfc3339() }))
        .collect();
    let last = stage.entries().map(|entry| entry.created).max().unwrap_or(Timestamp(0));
    Response::json(
        StatusCode::OK,
        &json!({ "id": id, "versions": stage.versions(), "files": files, "changed": last.rfc3339(), "problems": problems, "complete": problems.is_empty() }),
    )
}

/// `POST .staging/{id}`: everything becomes visible at once, or stays where it is.
pub(crate) fn promote(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        let id = stage(&repository, &request)?;
        let checks = Checks::of(&repository, &request.query)?;
        let seal = asks_for_seal(&request)?;
        let reader = repository.grant::<Read>(&Resource::Repository).await?;
        for _ in 0..ATTEMPTS {
            let stage = Stage::read(&reader, &id, "").await?.demand(&id)?;
            let facts = stage.facts()?;
            let problems = stage.problems(&facts, checks);
            if !problems.is_empty() {
                return Err(incomplete(&format!("the stage {id:?} is not promoted"), &problems));
            }
            let (files, versions) = (stage.files.len(), stage.versions());
            let Some(change) = plan(&repository, &batch(&id, stage, facts, seal)).await? else { return Err(overtaken(&id)) };
            match repository.commit(change).await {
                Err(error) if error.status() == StatusCode::CONFLICT => {}
                other => {
                    let revision = other?;
                    return Response::json(StatusCode::OK, &json!({ "id": id, "revision": revision, "files": files, "versions": versions }));
                }
            }
        }
        Err(overtaken(&id))
    })
}

/// Everything of a stage on its way to its place.
fn batch(id: &str, stage: Stage, facts: Vec<Facts>, seal: bool) -> Batch {
    let moved = stage.entries().filter_map(|entry| Some((entry.path.clone(), entry.digest?))).collect();
    let arrival = |((path, entry), facts): ((String, Entry), Facts)| {
        let owner = match place(&path) {
            Place::Artifact(coordinates) => Some(Owner::of(&coordinates)),
            _ => None,
        };
        let bytes = Sent { digest: entry.digest?, digests: entry.digests, source: BlobSource::Entry(entry.path) };
        Some(Arrival { path, owner, bytes, facts })
    };
    let arrivals = stage.files.into_iter().zip(facts).filter_map(arrival).collect();
    Batch { action: "promote", subject: format!("stage {id}"), arrivals, moved, seal }
}

/// `DELETE .staging/{id}`: what waits there will never be seen.
pub(crate) fn drop_stage(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        let id = stage(&repository, &request)?;
        let reader = repository.grant::<Read>(&Resource::Repository).await?;
        for _ in 0..ATTEMPTS {
            let stage = Stage::read(&reader, &id, "").await?.demand(&id)?;
            let mut change = Change::new("drop", format!("stage {id}"));
            for entry in stage.entries() {
                let digest = entry.digest.ok_or_else(|| overtaken(&id))?;
                change = change.only_if(Precondition::EntryIs { path: entry.path.clone(), digest }).end(Death::Entry(entry.path.clone()));
            }
            match repository.commit(change).await {
                Err(error) if error.status() == StatusCode::CONFLICT => {}
                other => return other.map(|_| Response::empty(StatusCode::NO_CONTENT)),
            }
        }
        Err(overtaken(&id))
    })
}

/// Whether the releases shall take no more files: `?seal=true`.
pub(crate) fn asks_for_seal(request: &Request) -> Result<bool> {
    match request.query.get("seal") {
        None | Some("false") => Ok(false),
        Some("" | "true") => Ok(true),
        Some(other) => Err(Error::bad_request(format!("\"seal\" is true or false, not {other:?}"))),
    }
}

/// Releases are not taken as they are.
pub(crate) fn incomplete(what: &str, problems: &[String]) -> Error {
    Error::unprocessable(format!("{what}, and nothing of it is visible: {}", problems.join("; "))).with_reason("The release is not complete")
}
