//! A state of the metadata of a folder, made from records: of a hosted repository at a revision, of a group at a time.

use std::sync::Arc;

use entrepot_kit::{Document, Error, Kind, Moment, Pieces, Read, Repository, Result, Timestamp, blocking};

use super::{extras, group};
use crate::place;
use crate::repodata::{self, Compression, Compressor, Data, Name, Part, Repomd};

/// Fragments that are read at once.
const PAGE: usize = 250;
const XML: &str = "application/xml";

/// A state of a folder's metadata.
#[derive(Clone)]
pub(super) struct Generation {
    /// Names it, in the names of its documents.
    pub(super) moment: Moment,
    /// When it came to be.
    pub(super) time: Timestamp,
    /// The repository at that moment.
    pub(super) repository: Repository<Read>,
    /// The folder: empty, or ending with a slash.
    pub(super) folder: String,
    /// What else tells it from others of the same folder.
    pub(super) stamp: String,
    made_of: MadeOf,
}

#[derive(Clone)]
enum MadeOf {
    /// So many packages.
    Packages(u64),
    /// Those of members.
    Members(Arc<[group::Member]>),
}

impl Generation {
    /// The newest state, or that of the moment which `repository` is of; `None` for a folder in which there never was anything.
    pub(super) async fn of(repository: &Repository<Read>, folder: &str) -> Result<Option<Self>> {
        if repository.kind() == Kind::Group {
            let Some((members, time)) = group::members(repository, folder).await? else { return Ok(None) };
            let moment = Moment::Time(time);
            let stamp = group::stamp(repository, &members);
            let made_of = MadeOf::Members(members.into());
            return Ok(Some(Self { moment, time, repository: repository.clone(), folder: folder.to_owned(), stamp, made_of }));
        }
        let state = match repository.folder(folder).await? {
            Some(state) => state,
            // A client may be set up before the first package comes.
            None if folder.is_empty() => entrepot_kit::FolderState { revision: 0, time: Timestamp(0), files: 0 },
            None => return Ok(None),
        };
        let moment = Moment::Revision(state.revision);
        Ok(Some(Self {
            moment,
            time: state.time,
            repository: repository.at(moment)?,
            folder: folder.to_owned(),
            stamp: String::new(),
            made_of: MadeOf::Packages(state.files),
        }))
    }

    /// Whether it is that of a folder below which no package lies: to clients such a folder is not there. Its older states are.
    pub(super) fn is_gone(&self) -> bool {
        let has_none = match &self.made_of {
            MadeOf::Packages(files) => *files == 0,
            MadeOf::Members(members) => members.iter().all(group::Member::is_empty),
        };
        has_none && !self.folder.is_empty()
    }

    /// What a key of this generation's documents begins with.
    fn key(&self, what: &str) -> String {
        format!("rpm/{what}/{:?}/{}/{}", self.moment, self.stamp, self.folder)
    }

    /// A document.
    pub(super) async fn part(&self, kind: repodata::Kind, compression: Compression) -> Result<Part> {
        let making = self.clone();
        let make = async move {
            match &making.made_of {
                MadeOf::Packages(files) => making.packages(kind, compression, *files).await,
                MadeOf::Members(members) => group::document(&making, members, kind, compression).await,
            }
        };
        let document = self.repository.derived(&self.key(&format!("{}.{}", kind.name(), compression.ending())), Box::pin(make)).await?;
        Part::of(&document)
    }

    async fn packages(&self, kind: repodata::Kind, compression: Compression, files: u64) -> Result<Document> {
        let mut compressor = Compressor::new(kind, compression, files)?;
        let mut after = None;
        loop {
            let wanted = Pieces { folder: self.folder.clone(), kind: kind.name(), after, limit: PAGE };
            let pieces = self.repository.pieces(wanted).await?;
            let Some(last) = pieces.last() else { break };
            after = Some(last.path.clone());
            let folder = self.folder.clone();
            compressor = blocking(move || {
                for piece in pieces {
                    compressor.add(&piece.bytes, piece.path.strip_prefix(folder.as_str()).unwrap_or(&piece.path))?;
                }
                Ok(compressor)
            })
            .await?;
        }
        let time = self.time;
        blocking(move || compressor.finish(time)).await
    }

    /// The name of a document.
    fn name(&self, part: &Part, kind: repodata::Kind, compression: Compression) -> String {
        Name { sha256: &part.sha256.hex(), moment: self.moment, kind, compression }.to_string()
    }

    /// `repomd.xml`.
    pub(super) async fn repomd(&self, compression: Compression) -> Result<Arc<Document>> {
        let making = self.clone();
        let make = async move {
            let mut repomd = Repomd { revision: making.time.seconds().to_string(), data: Vec::new() };
            for kind in repodata::Kind::ALL {
                let part = making.part(kind, compression).await?;
                repomd.data.push(Data {
                    kind: kind.name().to_owned(),
                    algorithm: String::from("sha256"),
                    checksum: part.sha256.hex(),
                    open: Some((part.open.hex(), part.open_size)),
                    href: format!("{}/{}", repodata::FOLDER, making.name(&part, kind, compression)),
                    base: None,
                    timestamp: making.time.seconds(),
                    size: part.bytes.len() as u64,
                });
            }
            repomd.data.extend(match &making.made_of {
                MadeOf::Packages(_) => extras::data(&making.repository, &making.folder).await?,
                MadeOf::Members(members) => group::extras(members),
            });
            Ok(Document::new(repomd.text().into_bytes(), XML, Some(making.time)))
        };
        self.repository.derived(&self.key(&format!("repomd.{}", compression.ending())), Box::pin(make)).await
    }
}

/// The document of any generation, by its name; `None` when there is no such generation, or it never had such a document.
pub(super) async fn document(repository: &Repository<Read>, folder: &str, name: Name<'_>) -> Result<Option<(Part, Timestamp)>> {
    let is_time = matches!(name.moment, Moment::Time(_));
    if is_time != (repository.kind() == Kind::Group) {
        return Ok(None);
    }
    // The present, as a rule; that of a group is not always what is found of it later, when a member's clock is not that of another.
    let newest = Generation::of(repository, folder).await?;
    let past = || async {
        match repository.at(name.moment) {
            Ok(past) => Generation::of(&past, folder).await,
            Err(error) => Err(error),
        }
    };
    let generation = match newest {
        Some(newest) if newest.moment == name.moment => Some(newest),
        Some(_) => past().await.or_else(|error| if error.status() == http::StatusCode::NOT_FOUND { Ok(None) } else { Err(error) })?,
        None => None,
    };
    let Some(generation) = generation else { return Ok(None) };
    let part = generation.part(name.kind, name.compression).await?;
    Ok((part.sha256.hex() == name.sha256).then_some((part, generation.time)))
}

/// Whether a package lies below a folder.
pub(super) async fn exists(repository: &Repository<Read>, folder: &str) -> Result<bool> {
    match place::split(folder).0 {
        "" => Ok(true),
        _ => Ok(Generation::of(repository, folder).await?.is_some_and(|found| !found.is_gone())),
    }
}

/// What a folder without metadata is answered with.
pub(super) fn missing(folder: &str) -> Error {
    Error::not_found(format!("there are no packages below {:?} in this repository", format!("/{folder}")))
}
