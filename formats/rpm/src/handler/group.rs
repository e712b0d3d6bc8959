//! Groups: one metadata made of that of the members, signed by the group's own key.
//!
//! Of what two members have (the same package in the same version, or something at the same path) the first member's counts. Of packages whose
//! name a hosted member owns, proxies have no say, unless a rule of the group merges them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use entrepot_kit::{Document, Error, File, Kind, Pieces, Read, Repository, Result, Sha256Digest, Timestamp, blocking};
use serde_json::Value;

use super::extras::Extra;
use super::generation::Generation;
use super::{extras as uploaded, get, proxy};
use crate::place;
use crate::repodata::{self, Compression, Compressor, Data, Listed, read};
use crate::xml;

/// Fragments that are read at once.
const PAGE: usize = 250;
/// Separates the fields of a line of the selection. It cannot occur in XML.
const FIELD: char = '\u{1}';

/// A member that has something below the folder.
#[derive(Clone)]
pub(super) struct Member {
    repository: Repository<Read>,
    has: Has,
    /// Names its state.
    stamp: String,
    /// What is said beside its packages.
    pub(super) extras: Vec<Data>,
}

impl Member {
    /// What it says beside its packages, of one kind.
    pub(super) async fn beside(&self, folder: &str, extra: &Extra) -> Result<Option<File>> {
        match &self.has {
            Has::Fragments(_) => self.repository.entry(&repodata::path(folder, extra.name)).await,
            Has::Metadata(_) => match self.extras.iter().rfind(|data| extra.kinds().any(|kind| kind == data.kind)) {
                Some(data) => proxy::document(&self.repository, folder, data).await,
                None => Ok(None),
            },
        }
    }

    /// Whether it has no package there, at present.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.has, Has::Fragments(0))
    }
}

#[derive(Clone)]
enum Has {
    /// The fragments of a hosted repository, of so many packages.
    Fragments(u64),
    /// An upstream's metadata.
    Metadata(Arc<proxy::State>),
}

/// The members that have something below a folder, and when the newest of these states came to be. `None` where nobody has anything.
pub(super) async fn members(group: &Repository<Read>, folder: &str) -> Result<Option<(Vec<Member>, Timestamp)>> {
    let mut members = Vec::new();
    let mut newest = Timestamp(0);
    for member in group.members(None).await? {
        let address = member.address().to_string();
        if member.kind() == Kind::Hosted {
            let Some(state) = member.folder(folder).await? else { continue };
            let repository = member.at(entrepot_kit::Moment::Revision(state.revision))?;
            let extras = uploaded::data(&repository, folder).await?;
            newest = newest.max(state.time);
            members.push(Member { repository, has: Has::Fragments(state.files), stamp: format!("{address}@{}", state.revision), extras });
        } else {
            // All or nothing: clients would take what a member that failed has for removed.
            let Some(state) = proxy::state(&member, folder).await.map_err(|error| failed(&address, error))? else { continue };
            newest = newest.max(state.file.entry.created);
            let extras = state.repomd.data.iter().filter(|data| uploaded::kinds().any(|kind| kind == data.kind)).cloned().collect();
            let stamp = format!("{address}#{}", state.digest);
            members.push(Member { repository: member, has: Has::Metadata(Arc::new(state)), stamp, extras });
        }
    }
    Ok((folder.is_empty() || !members.is_empty()).then_some((members, newest)))
}

fn failed(member: &str, error: Error) -> Error {
    let seconds = error.retry_after().unwrap_or(5);
    Error::unavailable(format!("the member {member} of this group failed: {}", error.message()), seconds).with_source(error)
}

/// The settings that say which names come from where.
const RULES: [&str; 2] = ["members", "rules"];

/// Names the states of members, and what is taken of them.
pub(super) fn stamp(group: &Repository<Read>, members: &[Member]) -> String {
    let mut all: Vec<String> = members.iter().map(|member| member.stamp.clone()).collect();
    all.extend(RULES.iter().filter_map(|rule| group.setting::<Value>(rule)).map(|rule| rule.to_string()));
    let mut stamp = Sha256Digest::of(all.join(";").as_bytes()).hex();
    stamp.truncate(32);
    stamp
}

/// What is chosen of the members' packages: by member and checksum, where each is.
struct Selection(HashMap<(usize, String), String>);

impl Selection {
    fn read(document: &Document) -> Result<Self> {
        let text = std::str::from_utf8(&document.body).map_err(Error::internal)?;
        let line = |line: &str| {
            let mut fields = line.splitn(3, FIELD);
            Some(((fields.next()?.parse().ok()?, fields.next()?.to_owned()), fields.next()?.to_owned()))
        };
        Ok(Self(text.lines().filter_map(line).collect()))
    }
}

/// What was seen of the members so far.
#[derive(Default)]
struct Chosen {
    packages: HashSet<String>,
    paths: HashSet<String>,
    lines: String,
}

impl Chosen {
    fn add(&mut self, member: usize, found: &Listed) {
        let is_plain = !found.href.contains(['\n', FIELD]) && !found.checksum.contains(['\n', FIELD]);
        if is_plain && !self.paths.contains(&found.href) && self.packages.insert(found.nevra()) {
            self.paths.insert(found.href.clone());
            self.lines.push_str(&format!("{member}{FIELD}{}{FIELD}{}\n", found.checksum, found.href));
        }
    }
}

async fn selection(generation: &Generation, members: &[Member]) -> Result<Selection> {
    let (making, members) = (generation.clone(), members.to_vec());
    let key = format!("rpm/selection/{}/{}", generation.stamp, generation.folder);
    let make = async move {
        let mut chosen = Chosen::default();
        for (index, member) in members.iter().enumerate() {
            let listed = all(&making.folder, member).await?;
            let hidden = match &member.has {
                Has::Fragments(_) => HashSet::new(),
                Has::Metadata(_) => {
                    let mut names: Vec<String> = listed.iter().map(|found| found.name.clone()).collect();
                    names.sort_unstable();
                    names.dedup();
                    making.repository.private_names(&names).await?
                }
            };
            listed.iter().filter(|found| !hidden.contains(&found.name)).for_each(|found| chosen.add(index, found));
        }
        Ok(Document::new(chosen.lines.into_bytes(), "text/plain", None))
    };
    let document = generation.repository.derived(&key, Box::pin(make)).await?;
    blocking(move || Selection::read(&document)).await
}

/// What a member has below a folder.
async fn all(folder: &str, member: &Member) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    match &member.has {
        Has::Fragments(_) => {
            let mut after = None;
            loop {
                let wanted = Pieces { folder: folder.to_owned(), kind: xml::FRAGMENT, after, limit: PAGE };
                let pieces = member.repository.pieces(wanted).await?;
                let Some(last) = pieces.last() else { return Ok(listed) };
                after = Some(last.path.clone());
                for piece in &pieces {
                    let text = std::str::from_utf8(xml::piece(&piece.bytes, repodata::Kind::Primary)).map_err(Error::internal)?;
                    let href = piece.path.strip_prefix(folder).unwrap_or(&piece.path).to_owned();
                    listed.push(Listed { href, ..read::listed(text)? });
                }
            }
        }
        Has::Metadata(state) => {
            let Some(file) = part_of(folder, member, state, repodata::Kind::Primary).await? else { return Ok(listed) };
            let reader = file.content.reader().await?;
            blocking(move || {
                read::packages(&mut read::open(reader)?, &mut |piece| {
                    listed.push(read::listed(piece)?);
                    Ok(())
                })?;
                Ok(listed)
            })
            .await
        }
    }
}

async fn part_of(folder: &str, member: &Member, state: &proxy::State, kind: repodata::Kind) -> Result<Option<File>> {
    match state.repomd.of(kind.name()) {
        Some(data) => proxy::document(&member.repository, folder, data).await,
        None => Ok(None),
    }
}

/// A document of the group's metadata.
pub(super) async fn document(generation: &Generation, members: &[Member], kind: repodata::Kind, compression: Compression) -> Result<Document> {
    let selection = Arc::new(selection(generation, members).await?);
    let mut compressor = Compressor::new(kind, compression, selection.0.len() as u64)?;
    for (index, member) in members.iter().enumerate() {
        let selection = Arc::clone(&selection);
        match &member.has {
            Has::Fragments(_) => compressor = of_fragments(&generation.folder, (index, member), kind, selection, compressor).await?,
            Has::Metadata(state) => {
                let Some(file) = part_of(&generation.folder, member, state, kind).await? else { continue };
                let reader = file.content.reader().await?;
                compressor = blocking(move || {
                    read::packages(&mut read::open(reader)?, &mut |piece| {
                        let Some((href, marked)) = chosen(kind, index, piece, &selection)? else { return Ok(()) };
                        compressor.add(&marked, href)
                    })?;
                    Ok(compressor)
                })
                .await?;
            }
        }
    }
    let time = generation.time;
    blocking(move || compressor.finish(time)).await
}

/// The piece of a package of an upstream, if it is chosen, with a mark in place of its address.
fn chosen<'a>(kind: repodata::Kind, index: usize, piece: &str, selection: &'a Selection) -> Result<Option<(&'a str, Vec<u8>)>> {
    let (checksum, href) = match kind {
        repodata::Kind::Primary => {
            let found = read::listed(piece)?;
            (found.checksum, Some(found.href))
        }
        repodata::Kind::Filelists | repodata::Kind::Other => (read::pkgid(piece)?, None),
    };
    let Some(chosen) = selection.0.get(&(index, checksum)) else { return Ok(None) };
    if href.is_some_and(|href| href != *chosen) {
        return Ok(None);
    }
    let marked = match kind {
        repodata::Kind::Primary => read::without_href(piece).ok_or_else(|| Error::bad_gateway("a package of an upstream's metadata has no address"))?,
        repodata::Kind::Filelists | repodata::Kind::Other => [piece.as_bytes(), b"\n"].concat(),
    };
    Ok(Some((chosen, marked)))
}

async fn of_fragments(
    folder: &str,
    (index, member): (usize, &Member),
    kind: repodata::Kind,
    selection: Arc<Selection>,
    mut compressor: Compressor,
) -> Result<Compressor> {
    let mut after = None;
    loop {
        let pieces = member.repository.pieces(Pieces { folder: folder.to_owned(), kind: xml::FRAGMENT, after, limit: PAGE }).await?;
        let Some(last) = pieces.last() else { return Ok(compressor) };
        after = Some(last.path.clone());
        let (folder, selection) = (folder.to_owned(), Arc::clone(&selection));
        compressor = blocking(move || {
            for piece in &pieces {
                let own = xml::piece(&piece.bytes, kind);
                let text = std::str::from_utf8(own).map_err(Error::internal)?;
                let checksum = if kind == repodata::Kind::Primary { read::listed(text)?.checksum } else { read::pkgid(text)? };
                let href = piece.path.strip_prefix(folder.as_str()).unwrap_or(&piece.path);
                if selection.0.get(&(index, checksum)).is_some_and(|chosen| chosen == href) {
                    compressor.add(own, href)?;
                }
            }
            Ok(compressor)
        })
        .await?;
    }
}

/// A file of metadata that no group makes itself: what one member only says beside packages.
pub(super) async fn metadata(group: &Repository<Read>, folder: &str, name: &str) -> Result<Option<File>> {
    for member in group.members(None).await? {
        let found = if member.kind() == Kind::Hosted {
            member.entry(&repodata::path(folder, name)).await?
        } else {
            match proxy::state(&member, folder).await? {
                Some(state) => match state.repomd.data.iter().find(|data| data.name() == name) {
                    Some(data) => proxy::document(&member, folder, data).await?,
                    None => None,
                },
                None => None,
            }
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// A package or another file, of the first member that has it.
pub(super) async fn file(group: &Repository<Read>, path: &str) -> Result<Option<File>> {
    let package = place::package_of(path);
    let mut failure = None;
    for member in group.members(package.as_deref()).await? {
        match Box::pin(get::file(&member, path)).await {
            Ok(Some(file)) => return Ok(Some(file)),
            Ok(None) => {}
            Err(error) => failure = Some(failed(&member.address().to_string(), error)),
        }
    }
    failure.map_or(Ok(None), Err)
}
