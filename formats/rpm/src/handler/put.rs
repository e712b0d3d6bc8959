//! `PUT` and `POST`: packages, and what is uploaded beside them.

use std::io::{Read, Seek as _, SeekFrom};
use std::sync::Arc;

use entrepot_kit::route::Answer;
use entrepot_kit::{
    Algorithm, Birth, BlobSource, Body, Change, Error, Hasher, Precondition, Publish, Repository, Request, Response, Result, StageSpec, Staged, blocking,
};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use serde_json::json;

use super::{ATTEMPTS, extras, overtaken, terms, writable_path};
use crate::header::{Front, tag};
use crate::package::{Arrived, Package};
use crate::{place, repodata};

/// The media type of packages.
const MEDIA_TYPE: &str = "application/x-rpm";
/// What a request ends with that leaves it to the package where it goes.
const UPLOAD: &str = "upload";
/// What a request ends with that brings advisories.
const ERRATA: &str = "errata";
/// Public keys, which people fetch from beside packages.
const KEY_PREFIX: &str = "RPM-GPG-KEY";
const KEY_BEGINS: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
const LARGEST_KEY: usize = 256 << 10;
/// Bytes of a payload that are read at once.
const STEP: usize = 128 << 10;
/// SHA-256, as OpenPGP and rpm number it.
const SHA256: u64 = 8;

/// Stores what was sent.
pub(crate) fn put(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        let path = writable_path(repository.kind(), &request)?;
        if request.path.trailing_slash() {
            return Err(Error::bad_request("the path of a file does not end with a slash; folders need not be made"));
        }
        if request.header(CONTENT_TYPE.as_str()).is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("multipart/")) {
            let why = "this is a form, not the file: send the bytes alone (curl --upload-file FILE URL)";
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let (folder, file) = place::split(&path);
        match (file, &request.method) {
            (UPLOAD, _) => return package(&repository, Target::Folder(folder.to_owned()), request.body).await,
            (ERRATA, &Method::POST) => return extras::put(&repository, folder, "updateinfo.xml", request.body).await,
            (_, &Method::POST) => {
                let why = "POST takes …/upload (a package) and …/errata (an updateinfo.xml): send other files by PUT";
                return Err(Error::new(StatusCode::METHOD_NOT_ALLOWED, why));
            }
            _ => {}
        }
        match repodata::split(&path) {
            Some((folder, name)) => extras::put(&repository, folder, name, request.body).await,
            None if file.ends_with(place::ENDING) => package(&repository, Target::Path(path), request.body).await,
            None if file.starts_with(KEY_PREFIX) => key(&repository, &path, request.body).await,
            None => Err(Error::bad_request(format!(
                "{path:?} is not a package: the paths of packages end with .rpm, those of public keys begin with RPM-GPG-KEY; comps.xml, updateinfo.xml and modules.yaml go into the folder {:?}",
                repodata::path(folder, "")
            ))),
        }
    })
}

/// Where a package goes.
enum Target {
    /// There.
    Path(String),
    /// Into this folder (empty, or ending with a slash), under its ordinary name.
    Folder(String),
}

async fn package(repository: &Repository<Publish>, target: Target, body: Body) -> Result<Response> {
    if let Target::Path(path) = &target {
        place::check(path)?;
    }
    let staged = repository.stage_body(StageSpec::default(), body).await?;
    let reader = staged.reader().await?;
    let (sha256, size, time) = (staged.digest().hex(), staged.size(), repository.now().seconds());
    let (package, record) = blocking(move || {
        let mut reader = reader;
        let front = Front::read(&mut reader)?;
        reader.seek(SeekFrom::Start(front.end)).map_err(Error::internal)?;
        check_digests(&front, &mut reader)?;
        let package = Package::read(&front, Arrived { sha256: &sha256, size, time })?;
        let record = package.to_text()?;
        Ok((package, record))
    })
    .await?;
    let path = match target {
        Target::Path(path) => path,
        Target::Folder(folder) => format!("{folder}{}", package.file_name()),
    };
    place::check(&path)?;
    if let Some(called) = place::package_of(&path).filter(|called| *called != package.name) {
        let why = format!("by its file's name this is the package {called:?}, by its header {:?}: call the file {:?}", package.name, package.file_name());
        return Err(Error::bad_request(why));
    }
    let status = store(repository, &path, &package, record, staged).await?;
    Response::json(status, &json!({ "path": path, "name": package.name, "version": package.version(), "sha256": package.sha256, "size": package.size }))
}

async fn store(repository: &Repository<Publish>, path: &str, package: &Package, record: String, staged: Arc<dyn Staged>) -> Result<StatusCode> {
    let version = place::version(path, &package.version(), &package.file_name());
    for _ in 0..ATTEMPTS {
        if let Some(known) = repository.stored(path).await? {
            if known.digest == Some(staged.digest()) {
                return Ok(StatusCode::OK);
            }
            return Err(Error::conflict(format!(
                "{path:?} is here with other bytes, and packages are never replaced: clients that know the old one would refuse it; raise the release, or delete the old one first"
            )));
        }
        let name = &package.name;
        let change = Change::new("publish", format!("{name} {version}"))
            .only_if(Precondition::EntryAbsent(path.to_owned()))
            .begin(Birth::Package { package: name.clone(), document: String::from("{}"), terms: terms(name) })
            .begin(Birth::Version { package: name.clone(), version: version.clone(), document: record.clone() })
            .begin(Birth::Entry {
                path: path.to_owned(),
                package: Some(name.clone()),
                version: Some(version.clone()),
                blob: BlobSource::Staged(Arc::clone(&staged)),
                content_type: Some(MEDIA_TYPE.to_owned()),
                data: String::new(),
            });
        match repository.commit(change).await {
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            other => return other.map(|_| StatusCode::CREATED),
        }
    }
    Err(overtaken(path))
}

/// Checks what a package says of its own bytes: the digests of header and payload, as far as they are there.
fn check_digests(front: &Front, payload: &mut dyn Read) -> Result<()> {
    let damaged =
        |what: &str| Error::unprocessable(format!("this package is damaged: the digest of its {what} is another one than it says; build or fetch it again"));
    let said = |tag| Ok::<_, Error>(Some(front.signature.text(tag)?).filter(|digest| !digest.is_empty()));
    for (tag, algorithm) in [(tag::SIGNATURE_SHA256, Algorithm::Sha256), (tag::SIGNATURE_SHA1, Algorithm::Sha1)] {
        if let Some(said) = said(tag)? {
            let mut hasher = Hasher::new(&[algorithm]);
            hasher.update(front.header.bytes());
            let (sha256, digests) = hasher.finish();
            let actual = if algorithm == Algorithm::Sha256 { Some(sha256.hex()) } else { digests.hex(algorithm) };
            if actual.is_none_or(|actual| !actual.eq_ignore_ascii_case(&said)) {
                return Err(damaged("header"));
            }
        }
    }
    let said = front.header.text(tag::PAYLOAD_DIGEST)?;
    let is_sha256 = front.header.number(tag::PAYLOAD_DIGEST_ALGORITHM)?.is_none_or(|algorithm| algorithm == SHA256);
    if said.is_empty() || !is_sha256 {
        return Ok(());
    }
    let mut hasher = Hasher::new(&[]);
    let mut step = vec![0; STEP];
    loop {
        let read = payload.read(&mut step).map_err(Error::internal)?;
        if read == 0 {
            break;
        }
        hasher.update(step.get(..read).unwrap_or_default());
    }
    if hasher.finish().0.hex().eq_ignore_ascii_case(&said) { Ok(()) } else { Err(damaged("payload")) }
}

/// A public key beside packages: the one thing here that may be replaced.
async fn key(repository: &Repository<Publish>, path: &str, body: Body) -> Result<Response> {
    place::check(path)?;
    let key = body.collect(LARGEST_KEY).await?;
    if !key.trim_ascii_start().starts_with(KEY_BEGINS) {
        return Err(Error::unprocessable("this is no armored OpenPGP public key (gpg --armor --export KEY)"));
    }
    let staged = repository.stage_body(StageSpec::default(), Body::from(key)).await?;
    let change = Change::new("key", path).begin(Birth::Entry {
        path: path.to_owned(),
        package: None,
        version: None,
        blob: BlobSource::Staged(staged),
        content_type: Some(String::from("application/pgp-keys")),
        data: String::new(),
    });
    repository.commit(change).await?;
    Ok(Response::empty(StatusCode::CREATED))
}
