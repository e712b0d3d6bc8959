//! `DELETE`: a file, or a folder with all that lies below it.

use std::collections::{BTreeMap, BTreeSet};

use entrepot_kit::route::Answer;
use entrepot_kit::{Birth, Change, Death, Delete, Entry, Error, Precondition, Read, Repository, Request, Resource, Response, Result};
use http::StatusCode;

use super::{ATTEMPTS, at, overtaken, terms, writable_path};
use crate::archetype;
use crate::coordinates::{Place, package_of_folder, place};
use crate::document::VersionDocument;
use crate::index::PackageDocument;

/// Most files of a folder that goes in one change.
const MOST: usize = 100_000;

/// Removes a file or a folder; the history keeps both.
pub(crate) fn delete(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        let path = writable_path(repository.kind(), &request)?;
        if path.is_empty() {
            return Err(Error::bad_request("this would delete every file of the repository: name a file or a folder"));
        }
        if !matches!(place(&path), Place::Artifact(_) | Place::Other) {
            return Err(Error::bad_request(format!("{path:?} is made by the server, and goes with the files that it is made of")));
        }
        // To delete is to learn what was there.
        let reader = repository.grant::<Read>(&Resource::Repository).await?;
        for _ in 0..ATTEMPTS {
            let file = if request.path.trailing_slash() { None } else { repository.stored(&path).await? };
            let gone = match file {
                Some(file) => vec![file],
                None => reader.files_below(&format!("{path}/"), MOST).await?,
            };
            if gone.is_empty() {
                return Err(Error::not_found(format!("there is no file or folder {path:?} in this repository")));
            }
            let change = plan(&repository, &reader, &path, gone).await?;
            match repository.commit(change).await {
                Err(error) if error.status() == StatusCode::CONFLICT => {}
                other => return other.map(|_| Response::empty(StatusCode::NO_CONTENT)),
            }
        }
        Err(overtaken(&path))
    })
}

async fn plan(repository: &Repository<Delete>, reader: &Repository<Read>, path: &str, gone: Vec<Entry>) -> Result<Change> {
    let mut change = Change::new("delete", path);
    let mut owners: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for file in gone {
        match (file.package, file.version) {
            (Some(package), Some(version)) => {
                owners.entry(package).or_default().entry(version).or_default().insert(file.path.clone());
            }
            _ => change = change.only_if(Precondition::EntryIs { path: file.path.clone(), digest: file.digest.ok_or_else(|| overtaken(path))? }),
        }
        change = change.end(Death::Entry(file.path));
    }
    for (package, versions) in owners {
        change = package_without(repository, reader, &package, versions, change).await?;
    }
    Ok(change)
}

/// What is left of a package without some files.
async fn package_without(
    repository: &Repository<Delete>,
    reader: &Repository<Read>,
    package: &str,
    versions: BTreeMap<String, BTreeSet<String>>,
    mut change: Change,
) -> Result<Change> {
    let state = repository.package(package).await?;
    change = change.only_if(at(package, state.as_ref()));
    let mut ended = BTreeSet::new();
    for (version, gone) in versions {
        let folder = crate::coordinates::version_folder(package, &version);
        let mut left = reader.files_below(&format!("{folder}/"), MOST).await?;
        left.retain(|file| !gone.contains(&file.path) && file.version.as_deref() == Some(&version));
        if left.is_empty() {
            change = change.end(Death::Version { package: package.to_owned(), version: version.clone() });
            ended.insert(version);
            continue;
        }
        let Some(found) = repository.version(package, &version).await?.filter(|found| found.live) else { continue };
        let mut document = VersionDocument::parse(&found.document)?;
        document.forget(gone.iter().map(String::as_str));
        if gone.iter().any(|path| path.ends_with(&format!("-{version}.jar"))) {
            change = change.end(Death::Entry(archetype::mark(package, &version)));
        }
        let document = document.to_text()?;
        if document != found.document {
            change = change.begin(Birth::Version { package: package.to_owned(), version, document });
        }
    }
    let document = PackageDocument::parse(state.as_ref().map_or("", |state| state.document.as_str()))?;
    let lives = repository.versions(package).await?.iter().any(|version| version.live && !ended.contains(&version.version));
    if !lives {
        if document.plugins.is_empty() {
            change = change.end(Death::Package(package.to_owned()));
        }
        change = group_without(repository, package, change).await?;
    }
    Ok(change)
}

/// A plugin that is gone is not named by its group any more.
async fn group_without(repository: &Repository<Delete>, package: &str, change: Change) -> Result<Change> {
    let Some((group, artifact)) = package.split_once(':') else { return Ok(change) };
    let Some(above) = package_of_folder(&group.replace('.', "/")) else { return Ok(change) };
    let Some(state) = repository.package(&above).await? else { return Ok(change) };
    let mut document = PackageDocument::parse(&state.document)?;
    let before = document.plugins.len();
    document.plugins.retain(|plugin| plugin.artifact != artifact);
    if document.plugins.len() == before {
        return Ok(change);
    }
    let change = change.only_if(at(&above, Some(&state)));
    let is_empty = document.plugins.is_empty() && !repository.versions(&above).await?.iter().any(|version| version.live);
    Ok(if is_empty {
        change.end(Death::Package(above))
    } else {
        change.begin(Birth::Package { terms: terms(&above), document: document.to_text()?, package: above })
    })
}
