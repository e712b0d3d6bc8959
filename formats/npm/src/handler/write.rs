//! `PUT /{package}`: publish, and deprecate.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::route::Answer;
use entrepot_kit::{
    Algorithm, Birth, BlobSource, Body, Change, Digests, Error, FEW_BYTES, PackageState, Precondition, Publish, Repository, Request, Response, Result,
    StageSpec, Staged, Staging, blocking, working,
};
use http::StatusCode;
use serde_json::{Map, Value};

use super::{ATTEMPTS, changed, not_found, overtaken, package, parse_stored, refuse_proxy, stale};
use crate::attachments::{Base64Decoder, Event, Scanner};
use crate::manifest::{Contents, check_agreement, inspect, inspect_small};
use crate::name::NpmName;
use crate::packument;
use crate::publish::{Edit, Facts, Publication, Put, package_document, parse_rev, read_provenance, read_put, signed_text, version_document};
use crate::raw::RawObject;
use crate::search::terms;

/// Largest provenance bundle.
const MAX_PROVENANCE: usize = 4 << 20;
/// Longest message of a deprecation.
const MAX_MESSAGE: usize = 4096;

/// `PUT /{package}`.
pub(crate) fn put(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        refuse_proxy(repository.kind())?;
        let name = package(request.captures.get("package"))?;
        if request.headers.get(http::header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send a publish without Content-Encoding"));
        }
        let received = receive(&repository, request.body).await?;
        let attached = received.package.as_ref().map(|(file, _)| file.clone());
        let (outline, reader) = (received.outline, name.clone());
        let put = working(outline.len(), move || read_put(&reader, &outline, attached.as_deref())).await?;
        match (put, received.package) {
            (Put::Publication(publication), Some((_, staged))) => publish(&repository, &name, *publication, staged, received.provenance).await,
            (Put::Edit(edit), _) => deprecate(&repository, &name, &edit).await,
            (Put::Publication(_), None) => Err(Error::bad_request("a publish carries its package in \"_attachments\"")),
        }
    })
}

/// A body of which the package was staged while it arrived.
struct Received {
    outline: Vec<u8>,
    package: Option<(String, Arc<dyn Staged>)>,
    provenance: Option<Vec<u8>>,
}

/// Where the data of an attachment goes.
enum Sink {
    Package { file: String, staging: Box<dyn Staging>, decoder: Base64Decoder },
    Provenance(Vec<u8>),
}

async fn receive(repository: &Repository<Publish>, mut body: Body) -> Result<Received> {
    let mut scanner = Scanner::default();
    let mut sink = None;
    let (mut package, mut provenance) = (None, None);
    while let Some(chunk) = body.next().await? {
        for event in scanner.feed(&chunk)? {
            match (event, &mut sink) {
                (Event::Begin(file), _) if file.ends_with(".tgz") && package.is_none() => {
                    let staging = repository.stage(StageSpec { algorithms: vec![Algorithm::Sha1, Algorithm::Sha512], limit: None }).await?;
                    sink = Some(Sink::Package { file, staging, decoder: Base64Decoder::default() });
                }
                (Event::Begin(file), _) if file.ends_with(".sigstore") && provenance.is_none() => sink = Some(Sink::Provenance(Vec::new())),
                (Event::Begin(_), _) => {
                    return Err(Error::bad_request("a publish has one attachment that ends in .tgz, and at most one that ends in .sigstore"));
                }
                (Event::Data(text), Some(Sink::Package { staging, decoder, .. })) => {
                    let bytes = decoder.feed(&text)?;
                    if !bytes.is_empty() {
                        staging.write(bytes).await?;
                    }
                }
                (Event::Data(text), Some(Sink::Provenance(bundle))) => {
                    if bundle.len() + text.len() > MAX_PROVENANCE {
                        return Err(Error::too_large(format!("the attached provenance is larger than {MAX_PROVENANCE} bytes")));
                    }
                    bundle.extend_from_slice(&text);
                }
                (Event::Data(_) | Event::End, None) => {}
                (Event::End, Some(_)) => match sink.take() {
                    Some(Sink::Package { file, staging, decoder }) => {
                        decoder.finish()?;
                        package = Some((file, staging.finish().await?));
                    }
                    Some(Sink::Provenance(bundle)) => provenance = Some(bundle),
                    None => {}
                },
            }
        }
    }
    Ok(Received { outline: scanner.finish()?, package, provenance })
}

/// A version is published once; removing it does not make its name free.
fn taken(version: &str) -> Error {
    Error::forbidden(format!("You cannot publish over the previously published versions: {version}."))
}

async fn publish(
    repository: &Repository<Publish>,
    name: &NpmName,
    publication: Publication,
    staged: Arc<dyn Staged>,
    provenance: Option<Vec<u8>>,
) -> Result<Response> {
    // Names that were allowed once stay publishable where they live.
    if let Err(error) = NpmName::parse_new(name.as_str())
        && repository.package(name.as_str()).await?.is_none()
    {
        return Err(error);
    }
    // Only the package's own document is read, never its versions: the thousandth publish costs what the first did. Whether the version is
    // new the commit says as well; to be asked before the package is unpacked it must be worth a question.
    let state = repository.package(name.as_str()).await?;
    if state.is_some() && repository.version(name.as_str(), &publication.version).await?.is_some() {
        return Err(taken(&publication.version));
    }
    check_digests(&publication, &*staged)?;
    let contents = contents(&*staged).await?;
    let (mut publication, contents) = working(contents.manifest.len(), move || {
        check_agreement(&publication.manifest, &contents.manifest)?;
        Ok((publication, contents))
    })
    .await?;
    let digests = staged.digests();
    let missing = || Error::internal("the store did not compute the digests that were asked for");
    let integrity = digests.integrity(Algorithm::Sha512).ok_or_else(missing)?;
    let attestations = match provenance {
        Some(bundle) => {
            let document = read_provenance(&bundle, &digests.hex(Algorithm::Sha512).ok_or_else(missing)?)?;
            Some((stage_bytes(repository, document.0.into()).await?, document.1))
        }
        None => None,
    };
    let facts = Facts {
        shasum: digests.hex(Algorithm::Sha1).ok_or_else(missing)?,
        files: contents.files,
        unpacked: contents.unpacked,
        signature: repository.sign(signed_text(name, &publication.version, &integrity).as_bytes()).await?,
        predicate_type: attestations.as_ref().map(|(_, predicate_type)| predicate_type.clone()),
        integrity,
    };
    let published = std::mem::take(&mut publication.manifest);
    let document = version_document(name, &publication.version, published, &facts, &repository.principal().name);
    let mut births = vec![entry(name, &publication.version, name.tarball_path(&publication.version), staged, "application/octet-stream")];
    if let Some((attested, _)) = attestations {
        births.push(entry(name, &publication.version, name.attestations_path(&publication.version), attested, "application/json"));
    }
    commit_publication(repository, name, &publication, &document, births, state).await
}

/// What is in a package. One that is small, packed and unpacked, is read at once; what is wrong with another is found where blocking is allowed.
async fn contents(staged: &dyn Staged) -> Result<Contents> {
    if staged.size() <= FEW_BYTES as u64
        && let Ok(contents) = inspect_small(staged.reader().await?)
    {
        return Ok(contents);
    }
    let reader = staged.reader().await?;
    blocking(move || inspect(std::io::BufReader::with_capacity(128 << 10, reader))).await
}

async fn commit_publication(
    repository: &Repository<Publish>,
    name: &NpmName,
    publication: &Publication,
    document: &Map<String, Value>,
    births: Vec<Birth>,
    mut state: Option<PackageState>,
) -> Result<Response> {
    let version = &publication.version;
    let text = serde_json::to_string(document).map_err(Error::internal)?;
    for _ in 0..ATTEMPTS {
        let previous = state.as_ref().map(|state| state.document.as_str());
        let mut tags = previous.and_then(RawObject::parse).map_or_else(BTreeMap::new, |document| packument::tags(&document));
        tags.extend(publication.tags.iter().map(|tag| (tag.clone(), version.clone())));
        tags.entry(String::from("latest")).or_insert_with(|| version.clone());
        let is_latest = tags.get("latest") == Some(version);
        let package = package_document(previous, &tags, is_latest.then_some(document), &repository.principal().name);
        let mut change = Change::new("publish", format!("{} {version}", name.as_str()))
            .only_if(Precondition::PackageAt { package: name.as_str().to_owned(), revision: state.as_ref().map_or(0, |state| state.changed) })
            .only_if(Precondition::VersionNew { package: name.as_str().to_owned(), version: version.clone() })
            .begin(Birth::Package { package: name.as_str().to_owned(), terms: terms(name, &parse_stored(&package)?), document: package })
            .begin(Birth::Version { package: name.as_str().to_owned(), version: version.clone(), document: text.clone() });
        change.births.extend(births.iter().cloned());
        match repository.commit(change).await {
            Ok(revision) => return changed(StatusCode::CREATED, name, revision),
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            Err(error) => return Err(error),
        }
        state = repository.package(name.as_str()).await?;
        if repository.version(name.as_str(), version).await?.is_some() {
            return Err(taken(version));
        }
    }
    Err(overtaken(name))
}

fn entry(name: &NpmName, version: &str, path: String, staged: Arc<dyn Staged>, content_type: &str) -> Birth {
    Birth::Entry {
        path,
        package: Some(name.as_str().to_owned()),
        version: Some(version.to_owned()),
        blob: BlobSource::Staged(staged),
        content_type: Some(content_type.to_owned()),
        data: String::new(),
    }
}

async fn stage_bytes(repository: &Repository<Publish>, bytes: Bytes) -> Result<Arc<dyn Staged>> {
    repository.stage_body(StageSpec::default(), Body::from(bytes)).await
}

/// What the client says of its package must be what arrived.
fn check_digests(publication: &Publication, staged: &dyn Staged) -> Result<()> {
    let refuse = |what: &str| Err(Error::bad_request(format!("the package that arrived has another {what} than its metadata says; publish again")));
    if publication.length.is_some_and(|length| length != staged.size()) {
        return refuse("length");
    }
    let dist = publication.manifest.get("dist").and_then(Value::as_object);
    let says = |key: &str| dist.and_then(|dist| dist.get(key)).and_then(Value::as_str);
    if says("integrity").map(Digests::parse_integrity).is_some_and(|claimed| claimed.mismatch(staged.digests()).is_some()) {
        return refuse("integrity");
    }
    if says("shasum").is_some_and(|claimed| !staged.digests().hex(Algorithm::Sha1).is_some_and(|actual| actual.eq_ignore_ascii_case(claimed))) {
        return refuse("shasum");
    }
    Ok(())
}

/// Of an edited packument only what it says about deprecation is taken.
async fn deprecate(repository: &Repository<Publish>, name: &NpmName, edit: &Edit) -> Result<Response> {
    let wanted = edit
        .versions
        .as_ref()
        .ok_or_else(|| Error::not_implemented("who may change a package is decided by the server's policies; its maintainers are not edited here"))?;
    for _ in 0..ATTEMPTS {
        let state = repository.package(name.as_str()).await?.ok_or_else(not_found)?;
        let read_at = edit.rev.as_deref().and_then(parse_rev);
        if read_at.is_some_and(|revision| revision != state.changed) {
            return Err(stale());
        }
        let births = deprecations(repository, name, wanted).await?;
        if births.is_empty() {
            return changed(StatusCode::OK, name, state.changed);
        }
        let mut change =
            Change::new("deprecate", name.as_str()).only_if(Precondition::PackageAt { package: name.as_str().to_owned(), revision: state.changed });
        change.births = births;
        match repository.commit(change).await {
            Ok(revision) => return changed(StatusCode::CREATED, name, revision),
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            Err(error) => return Err(error),
        }
    }
    Err(overtaken(name))
}

async fn deprecations(repository: &Repository<Publish>, name: &NpmName, wanted: &[(String, Option<String>)]) -> Result<Vec<Birth>> {
    let states = repository.versions(name.as_str()).await?;
    let states: BTreeMap<&str, _> = states.iter().map(|state| (state.version.as_str(), state)).collect();
    let mut births = Vec::new();
    for (version, message) in wanted {
        let state = match states.get(version.as_str()) {
            Some(state) if state.live => state,
            Some(_) => return Err(stale()),
            None => {
                return Err(Error::bad_request(format!(
                    "{:?} has no version {:?}; a publish carries its package in \"_attachments\"",
                    name.as_str(),
                    crate::version::shorten(version)
                )));
            }
        };
        if message.as_ref().is_some_and(|message| message.len() > MAX_MESSAGE) {
            return Err(Error::bad_request(format!("the message of a deprecation has at most {MAX_MESSAGE} bytes")));
        }
        let current = RawObject::parse(&state.document).and_then(|document| document.string("deprecated"));
        if current.filter(|message| !message.is_empty()) != *message {
            let mut document = parse_stored(&state.document)?;
            match message {
                Some(message) => drop(document.insert(String::from("deprecated"), message.clone().into())),
                None => drop(document.shift_remove("deprecated")),
            }
            births.push(Birth::Version { package: name.as_str().to_owned(), version: version.clone(), document: Value::Object(document).to_string() });
        }
    }
    Ok(births)
}
