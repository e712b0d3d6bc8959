//! What the deployment of a file changes: the file, its version where that is new or says more now, and the plugins of its group.

use std::sync::Arc;

use entrepot_kit::{Algorithm, Birth, BlobSource, Change, Entry, Error, Overwrite, Precondition, Publish, Repository, Resource, Result, Staged};
use http::StatusCode;

use super::put::{mismatch, parked};
use super::{ATTEMPTS, at, media, overtaken, terms};
use crate::checksum;
use crate::coordinates::{Build, Coordinates, package_of_folder};
use crate::document::VersionDocument;
use crate::index::PackageDocument;
use crate::metadata::Plugin;
use crate::settings;

/// The version that a file is of.
pub(crate) struct Owner {
    package: String,
    group: String,
    version: String,
    /// `None` of a release.
    snapshot: Option<Snapshot>,
    classifier: String,
    extension: String,
}

enum Snapshot {
    Plain,
    Stamped(String),
}

impl Owner {
    pub(crate) fn of(coordinates: &Coordinates<'_>) -> Self {
        Self {
            package: coordinates.package(),
            group: coordinates.group.clone(),
            version: coordinates.version.to_owned(),
            snapshot: match coordinates.build {
                Build::Release => None,
                Build::Plain => Some(Snapshot::Plain),
                Build::Stamped(stamp) => Some(Snapshot::Stamped(stamp.to_owned())),
            },
            classifier: coordinates.classifier.to_owned(),
            extension: coordinates.extension.to_owned(),
        }
    }

    /// Notes the file in the record of its version.
    fn note(&self, document: &mut VersionDocument) {
        match &self.snapshot {
            Some(Snapshot::Stamped(stamp)) => document.add(stamp, &self.classifier, &self.extension),
            Some(Snapshot::Plain) => {
                let kind = (self.classifier.clone(), self.extension.clone());
                if !document.plain.contains(&kind) {
                    document.plain.push(kind);
                }
            }
            None => {}
        }
        // Without its pom a version can be resolved by few: it is listed from then on.
        document.listed |= self.classifier.is_empty() && self.extension == "pom";
    }
}

/// A file that was staged and looked at.
pub(crate) struct Arrival {
    pub(crate) path: String,
    pub(crate) owner: Option<Owner>,
    pub(crate) staged: Arc<dyn Staged>,
    pub(crate) plugin: Option<Plugin>,
}

/// Stores a file.
///
/// # Errors
/// 409 when other bytes have the path and may not be replaced; 400 when a checksum that came before says that it is another file.
pub(crate) async fn store(repository: &Repository<Publish>, arrival: Arrival) -> Result<StatusCode> {
    for _ in 0..ATTEMPTS {
        let Some(change) = plan(repository, &arrival).await? else { return Ok(StatusCode::OK) };
        match repository.commit(change).await {
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            other => return other.map(|_| StatusCode::CREATED),
        }
    }
    Err(overtaken(&arrival.path))
}

/// The change from the state that is there; `None` when the file is there already.
async fn plan(repository: &Repository<Publish>, arrival: &Arrival) -> Result<Option<Change>> {
    let path = &arrival.path;
    let mut change = Change::new("deploy", path.clone());
    change = match repository.stored(path).await? {
        Some(existing) if existing.digest == Some(arrival.staged.digest()) => return Ok(None),
        Some(existing) => {
            may_replace(repository, arrival, &existing).await?;
            let digest = existing.digest.ok_or_else(|| overtaken(path))?;
            change.only_if(Precondition::EntryIs { path: path.clone(), digest })
        }
        None => change.only_if(Precondition::EntryAbsent(path.clone())),
    };
    change = compare(repository, arrival, change).await?;
    if let Some(owner) = &arrival.owner {
        change = version(repository, owner, change).await?;
        if let Some(plugin) = &arrival.plugin {
            change = group(repository, owner, plugin, change).await?;
        }
    }
    Ok(Some(change.begin(Birth::Entry {
        path: path.clone(),
        package: arrival.owner.as_ref().map(|owner| owner.package.clone()),
        version: arrival.owner.as_ref().map(|owner| owner.version.clone()),
        blob: BlobSource::Staged(Arc::clone(&arrival.staged)),
        content_type: Some(media::by_name(path).to_owned()),
        data: String::new(),
    })))
}

/// Whether other bytes may take the path: always those of a snapshot under its plain name, else by the repository's settings.
async fn may_replace(repository: &Repository<Publish>, arrival: &Arrival, existing: &Entry) -> Result<()> {
    let owner = arrival.owner.as_ref();
    let snapshot = owner.and_then(|owner| owner.snapshot.as_ref());
    if matches!(snapshot, Some(Snapshot::Plain)) {
        return Ok(());
    }
    if settings::replaces(repository) && snapshot.is_none() {
        let resource = owner.map_or(Resource::Repository, |owner| Resource::Package(owner.package.clone()));
        return repository.grant::<Overwrite>(&resource).await.map(drop);
    }
    let known = existing.digest.map(|digest| digest.hex()).unwrap_or_default();
    let why = format!(
        "{:?} is here already with other bytes (SHA-256 {known}, sent was {}), and this repository replaces none: deploy another version",
        arrival.path,
        arrival.staged.digest().hex()
    );
    Err(Error::conflict(why).with_reason("This file exists with other bytes and is not replaced: deploy another version"))
}

/// Holds the file against the checksums that came before it, which end with its coming. Those that come now find it.
async fn compare(repository: &Repository<Publish>, arrival: &Arrival, mut change: Change) -> Result<Change> {
    for (ending, algorithm) in checksum::ENDINGS {
        let waiting = parked(&arrival.path, ending);
        let Some(entry) = repository.stored(&waiting).await? else {
            change = change.only_if(Precondition::EntryAbsent(waiting));
            continue;
        };
        let actual = match algorithm {
            Algorithm::Sha256 => arrival.staged.digest().hex(),
            other => arrival.staged.digests().hex(other).unwrap_or_default(),
        };
        if entry.data != actual {
            return Err(mismatch(&arrival.path, algorithm, &entry.data, &actual));
        }
        if let Some(digest) = entry.digest {
            change = change.only_if(Precondition::EntryIs { path: waiting.clone(), digest });
        }
        change = change.end(entrepot_kit::Death::Entry(waiting));
    }
    Ok(change)
}

/// The version, where it is new or its record changes.
async fn version(repository: &Repository<Publish>, owner: &Owner, mut change: Change) -> Result<Change> {
    let (package, version) = (&owner.package, &owner.version);
    // The package before the version: what changes in between is seen by the condition.
    let state = repository.package(package).await?;
    let found = repository.version(package, version).await?;
    let live = found.as_ref().filter(|found| found.live);
    let before = VersionDocument::parse(live.map_or("", |found| found.document.as_str()))?;
    let mut document = before.clone();
    owner.note(&mut document);
    let is_new = live.is_none();
    if !is_new && document == before {
        return Ok(change.only_if(Precondition::VersionLive { package: package.clone(), version: version.clone() }));
    }
    if state.is_none() {
        let document = PackageDocument::default().to_text()?;
        change = change.begin(Birth::Package { package: package.clone(), document, terms: terms(package) });
    }
    change = match (&state, &found) {
        // Versions beside each other need not wait for each other.
        (Some(_), None) => change.only_if(Precondition::VersionNew { package: package.clone(), version: version.clone() }),
        // The record of a release only ever gets listed.
        (Some(_), Some(found)) if found.live && owner.snapshot.is_none() => {
            change.only_if(Precondition::VersionLive { package: package.clone(), version: version.clone() })
        }
        _ => change.only_if(at(package, state.as_ref())),
    };
    Ok(change.begin(Birth::Version { package: package.clone(), version: version.clone(), document: document.to_text()? }))
}

/// The plugins of the group, where this one is new among them.
async fn group(repository: &Repository<Publish>, owner: &Owner, plugin: &Plugin, change: Change) -> Result<Change> {
    let Some(package) = package_of_folder(&owner.group.replace('.', "/")) else { return Ok(change) };
    let state = repository.package(&package).await?;
    let mut document = PackageDocument::parse(state.as_ref().map_or("", |state| state.document.as_str()))?;
    if !document.add(plugin) {
        return Ok(change);
    }
    let birth = Birth::Package { terms: terms(&package), document: document.to_text()?, package: package.clone() };
    Ok(change.only_if(at(&package, state.as_ref())).begin(birth))
}
