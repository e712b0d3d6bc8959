//! Indexes that are made here, of hosted repositories and of groups.

use std::sync::Arc;

use entrepot_kit::{Document, Error, FolderState, KeyKind, Kind, Moment, Pieces, Read, Repository, Result, SigningKeys, Timestamp, blocking};

use super::group;
use crate::document::INDEX;
use crate::index::{GZIP, Record, Text};
use crate::place::{Folder, NOARCH};
use crate::version;

/// Fragments that are read at once.
const PAGE: usize = 1000;

/// The signed index of a folder; `None` where nothing is.
pub(super) async fn document(repository: &Repository<Read>, folder: &Folder) -> Result<Option<Arc<Document>>> {
    let keys = repository.signing_keys(KeyKind::Rsa).await?;
    let key = |stamp: &str| {
        let signers: Vec<&str> = keys.signing.iter().map(|key| key.public().id.as_str()).collect();
        format!("alpine/{}/{stamp}/{}", folder.path(), signers.join("+"))
    };
    let (made, within, signers) = (repository.clone(), folder.clone(), Arc::clone(&keys));
    if repository.kind() == Kind::Group {
        let Some((members, time)) = group::members(repository, folder).await? else { return Ok(None) };
        let key = key(&group::stamp(repository, &members));
        let make = async move {
            let records = group::joined(&made, &within, &members).await?;
            finish(&made, within, records, signers, time).await
        };
        return repository.derived(&key, Box::pin(make)).await.map(Some);
    }
    let Some(state) = state(repository, folder).await? else { return Ok(None) };
    let then = repository.at(Moment::Revision(state.revision))?;
    let make = async move {
        let records = hosted(&then, &within).await?;
        finish(&made, within, records, signers, state.time).await
    };
    repository.derived(&key(&state.revision.to_string()), Box::pin(make)).await.map(Some)
}

/// What an index of a hosted repository is made of, as a whole: the folder, and what fits all architectures. `None` where nothing is.
pub(super) async fn state(repository: &Repository<Read>, folder: &Folder) -> Result<Option<FolderState>> {
    let own = repository.folder(&folder.path()).await?;
    let general = if folder.arch == NOARCH { None } else { repository.folder(&folder.noarch().path()).await? };
    let joined = match (own, general) {
        (Some(one), Some(other)) => {
            Some(FolderState { revision: one.revision.max(other.revision), time: one.time.max(other.time), files: one.files + other.files })
        }
        (one, other) => one.or(other),
    };
    Ok(joined.filter(|state| state.files > 0))
}

/// The records of a hosted repository's folder, and of what fits all architectures.
pub(super) async fn hosted(repository: &Repository<Read>, folder: &Folder) -> Result<Vec<String>> {
    let mut records = Vec::new();
    let mut folders = vec![folder.path()];
    if folder.arch != NOARCH {
        folders.push(folder.noarch().path());
    }
    for folder in folders {
        let mut after = None;
        loop {
            let pieces = repository.pieces(Pieces { folder: folder.clone(), kind: INDEX, after, limit: PAGE }).await?;
            let Some(last) = pieces.last() else { break };
            after = Some(last.path.clone());
            for piece in pieces {
                records.push(String::from_utf8(piece.bytes.to_vec()).map_err(Error::internal)?);
            }
        }
    }
    Ok(records)
}

/// Puts records in order, once each, and signs them.
async fn finish(repository: &Repository<Read>, folder: Folder, records: Vec<String>, keys: Arc<SigningKeys>, time: Timestamp) -> Result<Document> {
    let name = repository.address().repository.to_string();
    blocking(move || {
        let named = |record: String| {
            let fields = Record::new(&record);
            (fields.name().to_owned(), fields.version().to_owned(), record)
        };
        let mut records: Vec<(String, String, String)> = records.into_iter().map(named).collect();
        // The order is stable: of the same version the folder's own, or the first member's, stays.
        records.sort_by(|one, other| one.0.cmp(&other.0).then_with(|| version::compare(&other.1, &one.1)).then_with(|| one.1.cmp(&other.1)));
        records.dedup_by(|later, first| (&later.0, &later.1) == (&first.0, &first.1));
        let mut text = Text::default();
        for (.., record) in &records {
            text.add(record, &folder.arch);
        }
        let index = text.finish(&format!("{} {}", folder.branch, folder.repository), &name, &keys, time)?;
        Ok(Document::new(index, GZIP, Some(time)))
    })
    .await
}
