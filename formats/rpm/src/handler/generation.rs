//! A state of the metadata of a folder, made from records: of a hosted repository at a revision, of a group at a time.

use std::sync::Arc;

use entrepot_kit::{Document, Error, Kind, Moment, Piece, Pieces, Read, Repository, Result, Timestamp, blocking};
use futures::channel::mpsc;
use futures::future::{try_join, try_join_all};
use futures::{SinkExt as _, StreamExt as _};

use super::{beside, extras, group};
use crate::repodata::{self, Compression, Compressor, Data, Name, Part, Repomd};
use crate::{place, xml};

/// Fragments that are read at once.
const PAGE: usize = 100;
/// Pages that may wait for a document, beside the newest. With those which are added, and those which are read and given, eleven are in memory at most.
const AHEAD: usize = 4;
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
    pub(super) fn key(&self, what: &str) -> String {
        format!("rpm/{what}/{:?}/{}/{}", self.moment, self.stamp, self.folder)
    }

    /// A document.
    pub(super) async fn part(&self, kind: repodata::Kind, compression: Compression) -> Result<Part> {
        let making = self.clone();
        let make = async move {
            match &making.made_of {
                MadeOf::Packages(files) => {
                    let mut made = making.packages(&[kind], compression, *files).await?;
                    made.pop().ok_or_else(|| Error::internal("a document was not made"))
                }
                MadeOf::Members(members) => group::document(&making, members, kind, compression).await,
            }
        };
        let document = self.repository.derived(&self.document_key(kind, compression), Box::pin(make)).await?;
        Part::of(&document)
    }

    fn document_key(&self, kind: repodata::Kind, compression: Compression) -> String {
        self.key(&format!("{}.{}", kind.name(), compression.ending()))
    }

    /// All documents: those of packages in one walk over these.
    async fn parts(&self, compression: Compression) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        if let MadeOf::Packages(files) = &self.made_of {
            for (kind, document) in repodata::Kind::ALL.into_iter().zip(self.packages(&repodata::Kind::ALL, compression, *files).await?) {
                let made = Box::pin(std::future::ready(Ok(document)));
                parts.push(Part::of(&*self.repository.derived(&self.document_key(kind, compression), made).await?)?);
            }
            return Ok(parts);
        }
        for kind in repodata::Kind::ALL {
            parts.push(self.part(kind, compression).await?);
        }
        Ok(parts)
    }

    /// Documents of so many packages. Each is made at its own pace, some pages behind the one who reads: none waits for the longest of each page.
    async fn packages(&self, kinds: &[repodata::Kind], compression: Compression, files: u64) -> Result<Vec<Document>> {
        let (senders, making): (Vec<_>, Vec<_>) = kinds
            .iter()
            .map(|kind| {
                let (sender, pages) = mpsc::channel(AHEAD);
                (sender, self.document(*kind, compression, files, pages))
            })
            .unzip();
        Ok(try_join(self.read_for(senders), try_join_all(making)).await?.1)
    }

    /// Reads all fragments, and gives them to those who make documents of them.
    async fn read_for(&self, mut senders: Vec<mpsc::Sender<Arc<Vec<Piece>>>>) -> Result<()> {
        let mut page = self.page(None).await?;
        while let Some(last) = page.last() {
            let after = (page.len() == PAGE).then(|| last.path.clone());
            let pieces = Arc::new(page);
            let giving = async {
                for sender in &mut senders {
                    sender.send(Arc::clone(&pieces)).await.map_err(Error::internal)?;
                }
                Ok(())
            };
            // The next is read meanwhile.
            let reading = async { if after.is_some() { self.page(after).await } else { Ok(Vec::new()) } };
            page = try_join(reading, giving).await?.0;
        }
        Ok(())
    }

    /// A document of what comes.
    async fn document(&self, kind: repodata::Kind, compression: Compression, files: u64, pages: mpsc::Receiver<Arc<Vec<Piece>>>) -> Result<Document> {
        let mut document = Compressor::new(kind, compression, files)?;
        let folder = Arc::<str>::from(self.folder.as_str());
        // All that wait are added at once: each change of threads costs.
        let mut pages = pages.ready_chunks(AHEAD + 1);
        while let Some(pages) = pages.next().await {
            let folder = Arc::clone(&folder);
            document = blocking(move || {
                for piece in pages.iter().flat_map(|pieces| pieces.iter()) {
                    document.add(xml::piece(&piece.bytes, kind), piece.path.strip_prefix(&*folder).unwrap_or(&piece.path))?;
                }
                Ok(document)
            })
            .await?;
        }
        let time = self.time;
        blocking(move || document.finish(time)).await
    }

    async fn page(&self, after: Option<String>) -> Result<Vec<Piece>> {
        self.repository.pieces(Pieces { folder: self.folder.clone(), kind: xml::FRAGMENT, after, limit: PAGE }).await
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
            for (kind, part) in repodata::Kind::ALL.into_iter().zip(making.parts(compression).await?) {
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
                MadeOf::Members(members) => beside::lines(&making, members).await?,
            });
            Ok(Document::new(repomd.text().into_bytes(), XML, Some(making.time)))
        };
        self.repository.derived(&self.key(&format!("repomd.{}", compression.ending())), Box::pin(make)).await
    }
}

/// The document of any generation, by its name; `None` when there is no such generation, or it never had such a document.
pub(super) async fn document(repository: &Repository<Read>, folder: &str, name: Name<'_>) -> Result<Option<(Part, Timestamp)>> {
    let Some(generation) = at(repository, folder, name.moment).await? else { return Ok(None) };
    let part = generation.part(name.kind, name.compression).await?;
    Ok((part.sha256.hex() == name.sha256).then_some((part, generation.time)))
}

/// What a group's members say beside their packages, joined, by its name.
pub(super) async fn beside(group: &Repository<Read>, folder: &str, name: beside::Name<'_>) -> Result<Option<Arc<Document>>> {
    let Some(generation) = at(group, folder, name.moment).await? else { return Ok(None) };
    match &generation.made_of {
        MadeOf::Members(members) => beside::named(&generation, members, &name).await,
        MadeOf::Packages(_) => Ok(None),
    }
}

/// The generation of a moment.
async fn at(repository: &Repository<Read>, folder: &str, moment: Moment) -> Result<Option<Generation>> {
    let is_time = matches!(moment, Moment::Time(_));
    if is_time != (repository.kind() == Kind::Group) {
        return Ok(None);
    }
    // The present, as a rule; that of a group is not always what is found of it later, when a member's clock is not that of another.
    let newest = Generation::of(repository, folder).await?;
    let past = || async {
        match repository.at(moment) {
            Ok(past) => Generation::of(&past, folder).await,
            Err(error) => Err(error),
        }
    };
    match newest {
        Some(newest) if newest.moment == moment => Ok(Some(newest)),
        Some(_) => past().await.or_else(|error| if error.status() == http::StatusCode::NOT_FOUND { Ok(None) } else { Err(error) }),
        None => Ok(None),
    }
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
