//! `GET`: packages, metadata, folders.

use entrepot_kit::route::Answer;
use entrepot_kit::{BaseUrl, File, Kind, Read, Repository, Request, Response, Result, Sha256Digest, Timestamp, listing};
use http::header::CACHE_CONTROL;
use http::{HeaderName, StatusCode};

use super::{beside, generation, group, memory, missing, proxy, sign};
use crate::repodata::{self, Name, RepoFile};
use crate::{place, settings};

const SHA256: HeaderName = HeaderName::from_static("x-checksum-sha256");
const REVALIDATE: &str = "public, max-age=0, must-revalidate";

/// Answers with what the path leads to.
pub(crate) fn get(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let path = request.path.joined();
        if request.path.trailing_slash() {
            return listing::get(&repository, request, &path, None).await;
        }
        if request.path.segments().iter().any(|segment| segment.contains('/')) {
            return Err(missing(&path));
        }
        if let Some((folder, name)) = repodata::split(&path) {
            return match repository.kind() {
                Kind::Proxy => proxy::metadata(&repository, folder, name).await,
                Kind::Hosted | Kind::Group => metadata(&repository, folder, name).await,
            };
        }
        // Ours before what an upstream may have under that name: that one is about the upstream.
        let base = request.base;
        if let Some(text) = repo_file(&repository, &base, &path).await? {
            return Ok(Response::bytes(StatusCode::OK, "text/plain; charset=utf-8", text));
        }
        file(&repository, &path).await?.map(respond).ok_or_else(|| missing(&path))
    })
}

/// A package, or another file outside of metadata.
pub(super) async fn file(repository: &Repository<Read>, path: &str) -> Result<Option<File>> {
    match repository.kind() {
        Kind::Hosted => repository.entry(path).await,
        Kind::Proxy => proxy::file(repository, path).await,
        Kind::Group => group::file(repository, path).await,
    }
}

/// A file as it is sent.
pub(super) fn respond(file: File) -> Response {
    let sha256 = file.entry.digest.map(|digest| digest.hex());
    let response = Response::file(file);
    match sha256 {
        Some(sha256) => response.with_header(SHA256, &sha256),
        None => response,
    }
}

/// A file of metadata that is made here.
async fn metadata(repository: &Repository<Read>, folder: &str, name: &str) -> Result<Response> {
    let path = repodata::path(folder, name);
    let compression = settings::compression(repository);
    match name {
        repodata::REPOMD => {
            let found = generation::Generation::of(repository, folder).await?.filter(|found| !found.is_gone());
            let found = found.ok_or_else(|| generation::missing(folder))?;
            let document = found.repomd(compression).await?;
            sign::given(repository, &found).await;
            Ok(Response::document(document))
        }
        repodata::SIGNATURE => {
            let found = sign::asked_for(repository, folder).await?.ok_or_else(|| generation::missing(folder))?;
            // Not a document, which could be given again: whose signature it is depends on who asked before.
            let signature = sign::signature(repository, &found, compression).await?;
            Ok(Response::bytes(StatusCode::OK, "application/pgp-signature", signature.body.clone()))
        }
        repodata::KEY if generation::exists(repository, folder).await? => {
            let keys = sign::keys(repository).await?;
            Ok(Response::bytes(StatusCode::OK, "application/pgp-keys", keys).with_header(CACHE_CONTROL, REVALIDATE))
        }
        _ => {
            if let Some(wanted) = Name::parse(name) {
                let (part, time) = generation::document(repository, folder, wanted).await?.ok_or_else(|| missing(&path))?;
                return Ok(respond(memory::file(&path, part.bytes, part.sha256, wanted.compression.media_type(), time)));
            }
            if let Some(wanted) = beside::Name::parse(name).filter(|_| repository.kind() == Kind::Group) {
                let found = generation::beside(repository, folder, wanted).await?.ok_or_else(|| missing(&path))?;
                let (sum, time) = (Sha256Digest::of(&found.body), found.modified.unwrap_or(Timestamp(0)));
                return Ok(respond(memory::file(&path, found.body.clone(), sum, found.content_type, time)));
            }
            let found = match repository.kind() {
                Kind::Group => group::metadata(repository, folder, name).await?,
                Kind::Hosted | Kind::Proxy => repository.entry(&path).await?,
            };
            found.map(respond).ok_or_else(|| missing(&path))
        }
    }
}

/// What clients are set up with: `{repository}.repo`, `rpm.repo` or `entrepot.repo` beside what it is about, or `{folder}.repo` beside the folder.
async fn repo_file(repository: &Repository<Read>, base: &BaseUrl, path: &str) -> Result<Option<String>> {
    let Some(stem) = path.strip_suffix(".repo") else { return Ok(None) };
    let (beside, name) = place::split(stem);
    let address = repository.address();
    let is_own = [address.repository.as_str(), crate::ID, "entrepot"].contains(&name);
    let folder = if is_own { beside.to_owned() } else { format!("{stem}/") };
    let is_there = match repository.kind() {
        Kind::Proxy => proxy::has_metadata(repository, &folder).await?,
        Kind::Hosted | Kind::Group => generation::exists(repository, &folder).await?,
    };
    if !is_there {
        return Ok(None);
    }
    let below: String = folder.split('/').filter(|part| !part.is_empty()).map(|part| format!("-{part}")).collect();
    let id = format!("{}-{}{below}", address.system, address.repository);
    let url = format!("{base}/{}", entrepot_kit::path::encode_path(&folder));
    let package_keys = settings::package_keys(repository);
    let gpgcheck = !package_keys.is_empty();
    // What a proxy passes on was signed by others: who trusts them says so, by package_keys.
    let is_signed = repository.kind() != Kind::Proxy;
    let own = is_signed.then(|| format!("{url}{}/{}", repodata::FOLDER, repodata::KEY));
    let keys: Vec<String> = own.into_iter().chain(package_keys).collect();
    Ok(Some(RepoFile { id: &id, url: &url, keys: &keys, gpgcheck, repo_gpgcheck: is_signed }.text()))
}
