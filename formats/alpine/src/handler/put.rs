//! Uploads: a package at its path, or to a repository, which finds out where it belongs.

use std::sync::Arc;

use entrepot_kit::path::encode_path;
use entrepot_kit::route::Answer;
use entrepot_kit::{
    Birth, BlobSource, Body, Change, Error, Precondition, Publish, Repository, Request, Resource, Response, Result, StageSpec, Staged, blocking,
};
use http::StatusCode;
use http::header::LOCATION;
use serde_json::json;

use super::{ATTEMPTS, hosted_only, overtaken};
use crate::document::{PackageDocument, VersionDocument};
use crate::package::Package;
use crate::place::{self, Folder, NOARCH, Place};

/// The media type of packages: their clients go by the name.
const MEDIA: &str = "application/octet-stream";

/// `PUT {branch}/{repository}/{arch}/{file}`.
pub(crate) fn put(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        hosted_only(repository.kind())?;
        let path = request.path.joined();
        let (folder, file) = match place::place(&path) {
            Some(Place::Package(folder, file)) if !request.path.trailing_slash() => (folder, file),
            Some(Place::Index(_)) => return Err(Error::bad_request("the index is made by the server, from the packages that are uploaded")),
            _ => return Err(Error::bad_request(format!("{path:?} is no path of a package: branch/repository/architecture/name-1.2.3-r0.apk is"))),
        };
        let (staged, package) = take(&repository, request.body).await?;
        let expected = place::file(&package.info.name, &package.info.version);
        if file != expected {
            return Err(Error::bad_request(format!("the package is {expected}, not {file:?}: clients find it by that name only")));
        }
        let arch = package.info.arch.as_str();
        if arch != folder.arch && arch != NOARCH {
            return Err(Error::bad_request(format!("the package is for {arch}, not for {}", folder.arch)));
        }
        store(&repository, &Arrival { folder, staged, package }, &request.base.path).await
    })
}

/// `PUT` or `POST {branch}/{repository}`: the package says the rest.
pub(crate) fn add(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        hosted_only(repository.kind())?;
        let (branch, name) = (request.captures.get("branch").to_owned(), request.captures.get("repository").to_owned());
        Folder::new(&branch, &name, NOARCH)?;
        let (staged, package) = take(&repository, request.body).await?;
        let folder = Folder::new(&branch, &name, &package.info.arch)?;
        store(&repository, &Arrival { folder, staged, package }, &request.base.path).await
    })
}

/// A package that was looked at, and where it shall lie.
struct Arrival {
    folder: Folder,
    staged: Arc<dyn Staged>,
    package: Package,
}

impl Arrival {
    fn path(&self) -> String {
        self.folder.path() + &place::file(&self.package.info.name, &self.package.info.version)
    }

    fn version(&self) -> String {
        place::version(&self.package.info.version, &self.folder)
    }
}

/// Stages a body and reads all of it.
async fn take(repository: &Repository<Publish>, body: Body) -> Result<(Arc<dyn Staged>, Package)> {
    let staged = repository.stage_body(StageSpec::default(), body).await?;
    let (reader, size) = (staged.reader().await?, staged.size());
    let package = blocking(move || Package::read(reader, size)).await?;
    repository.grant::<Publish>(&Resource::Package(package.info.name.clone())).await?;
    Ok((staged, package))
}

async fn store(repository: &Repository<Publish>, arrival: &Arrival, base: &str) -> Result<Response> {
    let info = &arrival.package.info;
    for _ in 0..ATTEMPTS {
        let status = match plan(repository, arrival).await? {
            None => StatusCode::OK,
            Some(change) => match repository.commit(change).await {
                Ok(_) => StatusCode::CREATED,
                Err(error) if error.status() == StatusCode::CONFLICT => continue,
                Err(error) => return Err(error),
            },
        };
        let path = arrival.path();
        let said = json!({ "name": info.name, "version": info.version, "arch": info.arch, "path": path });
        return Ok(Response::json(status, &said)?.with_header(LOCATION, &format!("{base}/{}", encode_path(&path))));
    }
    Err(overtaken(&info.name))
}

/// The change from the state that is there; `None` when it is there already.
async fn plan(repository: &Repository<Publish>, arrival: &Arrival) -> Result<Option<Change>> {
    let (info, path, version) = (&arrival.package.info, arrival.path(), arrival.version());
    if let Some(existing) = repository.stored(&path).await? {
        if existing.digest == Some(arrival.staged.digest()) {
            return Ok(None);
        }
        return Err(Error::conflict(format!("{path:?} is here already with other bytes, and packages are never replaced: raise pkgrel and upload that")));
    }
    let state = repository.package(&info.name).await?;
    if repository.version(&info.name, &version).await?.is_some_and(|found| !found.live) {
        return Err(Error::conflict(format!("{path:?} was here and was deleted; its name is not used again: raise pkgrel and upload that")));
    }
    let package = PackageDocument::of(info).to_text()?;
    let mut change = Change::new("publish", format!("{} {version}", info.name))
        .only_if(Precondition::EntryAbsent(path.clone()))
        .only_if(Precondition::VersionNew { package: info.name.clone(), version: version.clone() });
    if state.is_none_or(|state| state.document != package) {
        change = change.begin(Birth::Package { package: info.name.clone(), document: package, terms: terms(arrival) });
    }
    let document = VersionDocument { record: arrival.package.record() }.to_text()?;
    Ok(Some(change.begin(Birth::Version { package: info.name.clone(), version: version.clone(), document }).begin(Birth::Entry {
        path,
        package: Some(info.name.clone()),
        version: Some(version),
        blob: BlobSource::Staged(Arc::clone(&arrival.staged)),
        content_type: Some(MEDIA.to_owned()),
        data: String::new(),
    })))
}

/// Words under which a package is found.
fn terms(arrival: &Arrival) -> Vec<String> {
    let info = &arrival.package.info;
    let mut terms = vec![info.name.to_lowercase()];
    for text in [&info.name, &info.description, &info.origin] {
        terms.extend(text.to_lowercase().split(|character: char| !character.is_alphanumeric()).filter(|word| word.len() > 1).map(str::to_owned));
    }
    let mut seen = std::collections::HashSet::new();
    terms.retain(|term| seen.insert(term.clone()));
    terms
}
