//! What the deployment of files changes: the files, their versions where these are new or say more now, the plugins of their groups, and the
//! archetypes. One file that is put, or whole releases at once: one change, and so one revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use entrepot_kit::{
    Algorithm, Birth, BlobSource, Body, Change, Death, Digests, Entry, Error, Overwrite, PackageState, Precondition, Publish, Repository, Resource, Result,
    Sha256Digest, StageSpec, Staged, VersionState,
};
use http::StatusCode;

use super::put::{mismatch, parked};
use super::{ATTEMPTS, at, media, overtaken, seal, terms};
use crate::archetype::{self, Mark};
use crate::checksum;
use crate::coordinates::{Build, Coordinates, package_of_folder};
use crate::document::VersionDocument;
use crate::facts::Facts;
use crate::index::PackageDocument;
use crate::settings;

/// The version that a file is of.
pub(crate) struct Owner {
    pub(crate) package: String,
    group: String,
    pub(crate) version: String,
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

/// The bytes of a file: where they are, and what they hash to.
pub(crate) struct Sent {
    pub(crate) source: BlobSource,
    pub(crate) digest: Sha256Digest,
    pub(crate) digests: Digests,
}

impl Sent {
    pub(crate) fn staged(staged: Arc<dyn Staged>) -> Self {
        Self { digest: staged.digest(), digests: staged.digests().clone(), source: BlobSource::Staged(staged) }
    }

    pub(crate) fn hex(&self, algorithm: Algorithm) -> Option<String> {
        match algorithm {
            Algorithm::Sha256 => Some(self.digest.hex()),
            other => self.digests.hex(other),
        }
    }
}

/// A file that was looked at.
pub(crate) struct Arrival {
    pub(crate) path: String,
    pub(crate) owner: Option<Owner>,
    pub(crate) bytes: Sent,
    pub(crate) facts: Facts,
}

/// Files that become visible together, or not at all.
pub(crate) struct Batch {
    /// What it is, for the history.
    pub(crate) action: &'static str,
    /// What it is of, for people.
    pub(crate) subject: String,
    pub(crate) arrivals: Vec<Arrival>,
    /// What ends with their coming, if it is still what it was.
    pub(crate) moved: Vec<(String, Sha256Digest)>,
    /// Whether the releases take no more files after this.
    pub(crate) seal: bool,
}

/// Stores files; the revision, or nothing where all of them are here already.
///
/// # Errors
/// 409 when other bytes have a path and may not be replaced, or a release is sealed; 400 when a checksum that came before says that it is
/// another file.
pub(crate) async fn store(repository: &Repository<Publish>, batch: &Batch) -> Result<Option<u64>> {
    for _ in 0..ATTEMPTS {
        let Some(change) = plan(repository, batch).await? else { return Ok(None) };
        match repository.commit(change).await {
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            other => return other.map(Some),
        }
    }
    Err(overtaken(&batch.subject))
}

/// The change from the state that is there; `None` when nothing changes.
///
/// # Errors
/// Those of [`store`].
pub(crate) async fn plan(repository: &Repository<Publish>, batch: &Batch) -> Result<Option<Change>> {
    let mut change = Change::new(batch.action, batch.subject.clone());
    let mut fresh = Vec::with_capacity(batch.arrivals.len());
    for arrival in &batch.arrivals {
        let path = &arrival.path;
        change = match repository.stored(path).await? {
            Some(existing) if existing.digest == Some(arrival.bytes.digest) => continue,
            Some(existing) => {
                may_replace(repository, arrival, &existing).await?;
                let digest = existing.digest.ok_or_else(|| overtaken(path))?;
                change.only_if(Precondition::EntryIs { path: path.clone(), digest })
            }
            None => change.only_if(Precondition::EntryAbsent(path.clone())),
        };
        change = compare(repository, arrival, change).await?;
        fresh.push(arrival);
    }
    for (path, digest) in &batch.moved {
        change = change.only_if(Precondition::EntryIs { path: path.clone(), digest: *digest }).end(Death::Entry(path.clone()));
    }
    change = packages(repository, &fresh, change).await?;
    change = plugins(repository, &fresh, change).await?;
    change = archetypes(repository, &fresh, change).await?;
    for arrival in fresh {
        change = change.begin(Birth::Entry {
            path: arrival.path.clone(),
            package: arrival.owner.as_ref().map(|owner| owner.package.clone()),
            version: arrival.owner.as_ref().map(|owner| owner.version.clone()),
            blob: arrival.bytes.source.clone(),
            content_type: Some(media::by_name(&arrival.path).to_owned()),
            data: String::new(),
        });
    }
    if batch.seal {
        change = seals(repository, batch, change).await?;
    }
    Ok((!change.births.is_empty() || !change.deaths.is_empty()).then_some(change))
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
        arrival.bytes.digest.hex()
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
        let actual = arrival.bytes.hex(algorithm).unwrap_or_default();
        if entry.data != actual {
            return Err(mismatch(&arrival.path, algorithm, &entry.data, &actual));
        }
        if let Some(digest) = entry.digest {
            change = change.only_if(Precondition::EntryIs { path: waiting.clone(), digest });
        }
        change = change.end(Death::Entry(waiting));
    }
    Ok(change)
}

/// The packages and versions that are new, or whose records change.
async fn packages(repository: &Repository<Publish>, fresh: &[&Arrival], mut change: Change) -> Result<Change> {
    let mut owners: BTreeMap<&str, BTreeMap<&str, Vec<&Owner>>> = BTreeMap::new();
    for owner in fresh.iter().filter_map(|arrival| arrival.owner.as_ref()) {
        owners.entry(&owner.package).or_default().entry(&owner.version).or_default().push(owner);
    }
    for (package, versions) in owners {
        // The package before the version: what changes in between is seen by the condition.
        let state = repository.package(package).await?;
        if state.is_none() {
            let document = PackageDocument::default().to_text()?;
            change = change.begin(Birth::Package { package: package.to_owned(), document, terms: terms(package) });
        }
        for (version, files) in versions {
            let found = repository.version(package, version).await?;
            change = self::version(repository, (package, version), &files, state.as_ref(), found, change).await?;
        }
    }
    Ok(change)
}

/// The version, where it is new or its record changes.
async fn version(
    repository: &Repository<Publish>,
    (package, version): (&str, &str),
    files: &[&Owner],
    state: Option<&PackageState>,
    found: Option<VersionState>,
    mut change: Change,
) -> Result<Change> {
    let live = found.as_ref().filter(|found| found.live);
    let before = VersionDocument::parse(live.map_or("", |found| found.document.as_str()))?;
    let mut document = before.clone();
    files.iter().for_each(|owner| owner.note(&mut document));
    let is_release = files.iter().all(|owner| owner.snapshot.is_none());
    if is_release && let Some(live) = live {
        seal::check(repository, package, version, live.published).await?;
        change = change.only_if(Precondition::EntryAbsent(seal::mark(package, version)));
    }
    let is_live = || Precondition::VersionLive { package: package.to_owned(), version: version.to_owned() };
    if live.is_some() && document == before {
        return Ok(change.only_if(is_live()));
    }
    change = match (state, &found) {
        // Versions beside each other need not wait for each other.
        (Some(_), None) => change.only_if(Precondition::VersionNew { package: package.to_owned(), version: version.to_owned() }),
        // The record of a release only ever gets listed.
        (Some(_), Some(found)) if found.live && is_release => change.only_if(is_live()),
        _ => change.only_if(at(package, state)),
    };
    Ok(change.begin(Birth::Version { package: package.to_owned(), version: version.to_owned(), document: document.to_text()? }))
}

/// The plugins of groups, where one is new among them.
async fn plugins(repository: &Repository<Publish>, fresh: &[&Arrival], mut change: Change) -> Result<Change> {
    let mut groups: BTreeMap<String, Vec<&Arrival>> = BTreeMap::new();
    for arrival in fresh {
        let group = arrival.facts.plugin.as_ref().and(arrival.owner.as_ref()).and_then(|owner| package_of_folder(&owner.group.replace('.', "/")));
        if let Some(group) = group {
            groups.entry(group).or_default().push(arrival);
        }
    }
    for (package, arrivals) in groups {
        let state = repository.package(&package).await?;
        let mut document = PackageDocument::parse(state.as_ref().map_or("", |state| state.document.as_str()))?;
        let mut is_new = false;
        for plugin in arrivals.iter().filter_map(|arrival| arrival.facts.plugin.as_ref()) {
            is_new |= document.add(plugin);
        }
        if is_new {
            let birth = Birth::Package { terms: terms(&package), document: document.to_text()?, package: package.clone() };
            change = change.only_if(at(&package, state.as_ref())).begin(birth);
        }
    }
    Ok(change)
}

/// The marks of archetypes, where one is new or says more now.
async fn archetypes(repository: &Repository<Publish>, fresh: &[&Arrival], mut change: Change) -> Result<Change> {
    let mut marks: BTreeMap<(&str, &str), Mark> = BTreeMap::new();
    for arrival in fresh {
        let Some(owner) = arrival.owner.as_ref().filter(|owner| owner.classifier.is_empty()) else { continue };
        let pom = arrival.facts.pom.as_ref().filter(|pom| pom.packaging == archetype::PACKAGING);
        if arrival.facts.archetype || pom.is_some() {
            let mark = marks.entry((&owner.package, &owner.version)).or_default();
            if let Some(pom) = pom {
                mark.description.clone_from(&pom.description);
            }
        }
    }
    for ((package, version), mark) in marks {
        let path = archetype::mark(package, version);
        let data = serde_json::to_string(&mark).map_err(Error::internal)?;
        match repository.stored(&path).await? {
            // A jar says less than the pom that came before it.
            Some(existing) if existing.data == data || mark.description.is_empty() => continue,
            Some(existing) => {
                let digest = existing.digest.ok_or_else(|| overtaken(&path))?;
                change = change.only_if(Precondition::EntryIs { path: path.clone(), digest });
            }
            None => change = change.only_if(Precondition::EntryAbsent(path.clone())),
        }
        change = change.begin(own_entry(repository, path, package, version, data).await?);
    }
    Ok(change)
}

/// The marks of releases that take no more files.
async fn seals(repository: &Repository<Publish>, batch: &Batch, mut change: Change) -> Result<Change> {
    let mut sealed: Vec<(&str, &str)> = Vec::new();
    for owner in batch.arrivals.iter().filter_map(|arrival| arrival.owner.as_ref()).filter(|owner| owner.snapshot.is_none()) {
        let version = (owner.package.as_str(), owner.version.as_str());
        if sealed.contains(&version) {
            continue;
        }
        sealed.push(version);
        let path = seal::mark(version.0, version.1);
        if repository.stored(&path).await?.is_none() {
            change = change.begin(own_entry(repository, path, version.0, version.1, String::new()).await?);
        }
    }
    Ok(change)
}

/// A file of the repository's own about a version, which goes with it.
pub(crate) async fn own_entry(repository: &Repository<Publish>, path: String, package: &str, version: &str, data: String) -> Result<Birth> {
    let bytes = if data.is_empty() { format!("{package} {version}") } else { data.clone() };
    let staged = repository.stage_body(StageSpec::default(), Body::from(bytes::Bytes::from(bytes))).await?;
    Ok(Birth::Entry {
        path,
        package: Some(package.to_owned()),
        version: Some(version.to_owned()),
        blob: BlobSource::Staged(staged),
        content_type: Some(String::from("text/plain; charset=utf-8")),
        data,
    })
}
