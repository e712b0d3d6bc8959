//! What a client's own metadata says that the files do not: that a build is whole, that a version without a pom is there, what plugins are
//! called. The rest of it may be older than what is here, and is passed over.

use entrepot_kit::{Birth, Change, Publish, Repository, Result};
use http::StatusCode;

use super::{ATTEMPTS, at, overtaken, terms};
use crate::coordinates::{package_of_folder, snapshot_of_folder};
use crate::document::VersionDocument;
use crate::index::PackageDocument;
use crate::metadata::Metadata;

/// Versions at the end of a list that are looked at: clients write the new one there.
const LAST: usize = 4;
/// Plugins that are looked at.
const PLUGINS: usize = 200;

/// Takes over what a document says.
///
/// # Errors
/// Failures of the store; 503 when others change the same package without end.
pub(crate) async fn take(repository: &Repository<Publish>, folder: &str, document: &Metadata) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let change = if let Some((package, version)) = snapshot_of_folder(folder) {
            snapshot(repository, &package, version, document).await?
        } else if let Some(package) = package_of_folder(folder) {
            match versions(repository, &package, document).await? {
                Some(change) => Some(change),
                None => plugins(repository, folder, &package, document).await?,
            }
        } else {
            None
        };
        let Some(change) = change else { return Ok(()) };
        match repository.commit(change).await {
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            other => return other.map(drop),
        }
    }
    Err(overtaken(folder))
}

/// The builds that are whole.
async fn snapshot(repository: &Repository<Publish>, package: &str, version: &str, document: &Metadata) -> Result<Option<Change>> {
    let base = version.get(..version.len().saturating_sub("SNAPSHOT".len())).unwrap_or_default();
    let state = repository.package(package).await?;
    let found = repository.version(package, version).await?.filter(|found| found.live);
    let Some(found) = found else { return Ok(None) };
    let mut known = VersionDocument::parse(&found.document)?;
    let mut stamps: Vec<String> = document.files.iter().filter_map(|file| file.value.strip_prefix(base)).map(str::to_owned).collect();
    stamps.extend(document.snapshot.iter().map(|(time, number)| format!("{time}-{number}")));
    let mut changes = !known.listed;
    known.listed = true;
    for stamp in stamps {
        changes |= known.complete(&stamp);
    }
    if !changes {
        return Ok(None);
    }
    let birth = Birth::Version { package: package.to_owned(), version: version.to_owned(), document: known.to_text()? };
    Ok(Some(Change::new("deploy", format!("{package} {version}")).only_if(at(package, state.as_ref())).begin(birth)))
}

/// Versions that have files here and no pom.
async fn versions(repository: &Repository<Publish>, package: &str, document: &Metadata) -> Result<Option<Change>> {
    let state = repository.package(package).await?;
    let mut named: Vec<&str> = document.versions.iter().rev().take(LAST).map(String::as_str).collect();
    named.extend([document.release.as_str(), document.latest.as_str()].into_iter().filter(|version| !version.is_empty()));
    named.sort_unstable();
    named.dedup();
    let mut change = Change::new("deploy", package).only_if(at(package, state.as_ref()));
    for version in named {
        let Some(found) = repository.version(package, version).await?.filter(|found| found.live) else { continue };
        let known = VersionDocument::parse(&found.document)?;
        if !known.listed {
            let document = VersionDocument { listed: true, ..known }.to_text()?;
            change = change.begin(Birth::Version { package: package.to_owned(), version: version.to_owned(), document });
        }
    }
    Ok((!change.births.is_empty()).then_some(change))
}

/// Plugins that are here and say nothing of themselves.
async fn plugins(repository: &Repository<Publish>, folder: &str, package: &str, document: &Metadata) -> Result<Option<Change>> {
    if document.plugins.is_empty() {
        return Ok(None);
    }
    let state = repository.package(package).await?;
    let mut known = PackageDocument::parse(state.as_ref().map_or("", |state| state.document.as_str()))?;
    let group = folder.replace('/', ".");
    let mut changes = false;
    for plugin in document.plugins.iter().filter(|plugin| !plugin.prefix.is_empty() && !plugin.artifact.is_empty()).take(PLUGINS) {
        let is_known = known.plugins.iter().any(|known| known.artifact == plugin.artifact);
        if !is_known && repository.package(&format!("{group}:{}", plugin.artifact)).await?.is_some() {
            changes |= known.add(plugin);
        }
    }
    if !changes {
        return Ok(None);
    }
    let birth = Birth::Package { package: package.to_owned(), document: known.to_text()?, terms: terms(package) };
    Ok(Some(Change::new("deploy", package).only_if(at(package, state.as_ref())).begin(birth)))
}
