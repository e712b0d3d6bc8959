//! Pulled through: metadata as the upstream sent it, and packages as that metadata says.
//!
//! A `repomd.xml` is kept by its time; all that it names is kept for good, under its digest. What belongs to a new one is fetched together with
//! it, so that a client that read it gets the rest, though the upstream may have moved on. A package is only taken if metadata names it, and
//! with the checksum that it says.

use std::io::Read as _;
use std::sync::Arc;

use entrepot_kit::path::encode_path;
use entrepot_kit::{Algorithm, Digests, Document, Error, File, LimitedReader, Located, Read, Repository, Response, Result, Sha256Digest, Source, blocking};
use futures::future::join_all;

use super::get::respond;
use super::missing;
use crate::repodata::{self, Data, LARGEST_REPOMD, Repomd, is_hex, read};
use crate::{place, settings, upstream};

/// What clients fetch of every state.
const WANTED: [&str; 5] = ["primary", "filelists", "updateinfo", "group", "modules"];
/// The milliseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1000;
/// For so many days a list of mirrors is looked at.
const DAYS: i64 = 7;
/// Most bytes of one.
const LARGEST_LIST: usize = 1 << 20;
/// Separates the fields of a line of what is remembered of a primary document. It cannot occur in XML.
const FIELD: char = '\u{1}';

/// A state of an upstream's metadata.
pub(super) struct State {
    /// `repomd.xml` as it came.
    pub(super) file: File,
    /// Its digest.
    pub(super) digest: Sha256Digest,
    /// What it says.
    pub(super) repomd: Repomd,
}

/// The upstream's mirrors, where it has a list of them; none where it has not. A list counts for a day, and the last ones while there is no newer.
async fn mirrors(repository: &Repository<Read>) -> Result<Vec<String>> {
    let Some(list) = settings::mirror_list(repository) else { return Ok(Vec::new()) };
    let today = repository.now().0.div_euclid(DAY);
    let mut failed = None;
    for day in (today - DAYS..=today).rev() {
        let path = format!("{}{day}", upstream::MIRRORS);
        let found =
            if day == today { repository.located(&path, "", Located::at(list.as_str(), Digests::new(), None)).await } else { repository.entry(&path).await };
        let read = match found {
            Ok(Some(file)) => match text_of(&file, LARGEST_LIST).await {
                Ok(text) => crate::mirrors::read(&text),
                Err(error) => Err(error),
            },
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        match read {
            Ok(mirrors) => return Ok(mirrors),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    Err(failed.unwrap_or_else(|| Error::bad_gateway("the upstream has no list of mirrors where the setting \"mirror_list\" says")))
}

/// All of a file, in memory.
async fn text_of(file: &File, limit: usize) -> Result<Vec<u8>> {
    let reader = file.content.reader().await?;
    blocking(move || {
        let mut text = Vec::new();
        LimitedReader::new(reader, limit as u64).read_to_end(&mut text).map_err(Error::internal)?;
        Ok(text)
    })
    .await
}

/// A file that may change: of the first mirror that has it, else what is kept of it.
async fn mutable(repository: &Repository<Read>, path: &str) -> Result<Option<File>> {
    let mirrors = match mirrors(repository).await {
        Ok(mirrors) => mirrors,
        // What is kept was asked for at its path or at some mirror: a place at which nothing is leads to it.
        Err(error) => return repository.entry(path).await.ok().flatten().map_or(Err(error), |file| Ok(Some(file))),
    };
    if mirrors.is_empty() {
        return repository.entry(path).await;
    }
    let mut last = Ok(None);
    for mirror in mirrors {
        match repository.entry_from(path, &format!("{mirror}{}", encode_path(path))).await {
            Ok(Some(file)) if file.source != Source::Stale => return Ok(Some(file)),
            Ok(None) if !matches!(last, Ok(None)) => {}
            Err(_) if matches!(last, Ok(Some(_))) => {}
            other => last = other,
        }
    }
    last
}

/// The same file at the mirrors that have not been asked for it.
async fn elsewhere(repository: &Repository<Read>, path: &str, located: Located) -> Result<Located> {
    if settings::mirror_list(repository).is_none() || located.url.contains("://") {
        return Ok(located);
    }
    let mut otherwise = None;
    for mirror in mirrors(repository).await.unwrap_or_default().into_iter().rev() {
        let there = Located::at(format!("{mirror}{}", encode_path(path)), located.expected.clone(), None);
        otherwise = Some(Box::new(Located { otherwise, ..there }));
    }
    Ok(Located { otherwise, ..located })
}

/// The state of a folder's metadata; `None` where the upstream has none.
pub(super) async fn state(repository: &Repository<Read>, folder: &str) -> Result<Option<State>> {
    let Some(file) = mutable(repository, &repodata::path(folder, repodata::REPOMD)).await? else { return Ok(None) };
    let text = text_of(&file, LARGEST_REPOMD).await?;
    let state = State { digest: Sha256Digest::of(&text), repomd: Repomd::parse(&text)?, file };
    if state.file.source == Source::Remote {
        together(repository, folder, &state).await;
    }
    Ok(Some(state))
}

/// Whether there is metadata of a folder.
pub(super) async fn has_metadata(repository: &Repository<Read>, folder: &str) -> Result<bool> {
    Ok(mutable(repository, &repodata::path(folder, repodata::REPOMD)).await?.is_some())
}

/// Begins to fetch what belongs to a new state: fills belong to the server, and go on when this is over. What fails now is tried again by who
/// asks for it.
async fn together(repository: &Repository<Read>, folder: &str, state: &State) {
    let signature = async { drop(signature(repository, folder, state).await) };
    let wanted = state.repomd.data.iter().filter(|data| WANTED.contains(&data.kind.as_str()));
    let documents = join_all(wanted.map(|data| async move { drop(document(repository, folder, data).await) }));
    futures::join!(signature, documents);
}

/// The signature that came with a state.
async fn signature(repository: &Repository<Read>, folder: &str, state: &State) -> Result<Option<File>> {
    let path = repodata::path(folder, &format!("{}.{}.asc", repodata::REPOMD, state.digest.hex()));
    let from = repodata::path(folder, repodata::REPOMD);
    repository.located(&path, &from, Located::at(repodata::SIGNATURE, Digests::new(), None)).await
}

/// A document that a state names.
pub(super) async fn document(repository: &Repository<Read>, folder: &str, data: &Data) -> Result<Option<File>> {
    let name = data.name();
    // Kept under a name of its digest, also where the upstream calls every state's alike.
    let name = if name.starts_with(&data.checksum) || data.checksum.is_empty() { name.to_owned() } else { format!("{}-{name}", data.checksum) };
    if data.digests().is_empty() {
        return Err(Error::bad_gateway(format!("the upstream's {} has a checksum that this server does not know: {:?}", data.kind, data.algorithm)));
    }
    let url = address(data.base.as_deref(), &data.href);
    let from = repodata::path(folder, repodata::REPOMD);
    let located = elsewhere(repository, &format!("{folder}{}", data.href), Located::at(url, data.digests(), None)).await?;
    repository.located(&repodata::path(folder, &name), &from, located).await
}

/// An address relative to the folder of metadata.
fn address(base: Option<&str>, href: &str) -> String {
    match base.filter(|base| base.starts_with("http://") || base.starts_with("https://")) {
        Some(base) => format!("{}/{}", base.trim_end_matches('/'), encode_path(href)),
        None => format!("../{}", encode_path(href)),
    }
}

/// Answers with a file of metadata.
pub(super) async fn metadata(repository: &Repository<Read>, folder: &str, name: &str) -> Result<Response> {
    let path = repodata::path(folder, name);
    let none = || missing(&path);
    match name {
        repodata::REPOMD => Ok(respond(state(repository, folder).await?.ok_or_else(none)?.file)),
        repodata::KEY => mutable(repository, &path).await?.map(respond).ok_or_else(none),
        repodata::SIGNATURE => {
            let state = state(repository, folder).await?.ok_or_else(none)?;
            let mut file = signature(repository, folder, &state).await?.ok_or_else(none)?;
            // Of this state for ever; but the path will lead to that of another.
            file.mutable = true;
            Ok(respond(file))
        }
        _ => {
            let state = state(repository, folder).await?.ok_or_else(none)?;
            if let Some(data) = state.repomd.data.iter().find(|data| data.name() == name) {
                let mut file = document(repository, folder, data).await?.ok_or_else(none)?;
                file.mutable = !name.starts_with(&data.checksum);
                return Ok(respond(file));
            }
            // Of an older state: kept, or still there under a name that says what it must hash to.
            let expected = digest_in(name).ok_or_else(none)?;
            let from = repodata::path(folder, repodata::REPOMD);
            let located = Located::at(format!("../{}/{}", repodata::FOLDER, encode_path(name)), expected, None);
            repository.located(&path, &from, located).await?.map(respond).ok_or_else(none)
        }
    }
}

/// The digest that a name begins with.
fn digest_in(name: &str) -> Option<Digests> {
    let (digits, _) = name.split_once('-').filter(|(digits, _)| is_hex(digits))?;
    let algorithm = match digits.len() {
        40 => Algorithm::Sha1,
        64 => Algorithm::Sha256,
        128 => Algorithm::Sha512,
        _ => return None,
    };
    let mut digests = Digests::new();
    digests.insert_hex(algorithm, digits);
    Some(digests)
}

/// Where packages are, as the first document of a state says: a line for each.
async fn packages(repository: &Repository<Read>, folder: &str, state: &State) -> Result<Option<Arc<Document>>> {
    let Some(data) = state.repomd.of("primary") else { return Ok(None) };
    let Some(file) = document(repository, folder, data).await? else { return Ok(None) };
    let key = format!("rpm/packages/{}:{}/{folder}", data.algorithm, data.checksum);
    let make = async move {
        let reader = file.content.reader().await?;
        blocking(move || {
            let mut lines = String::from("\n");
            let mut plain = read::open(reader)?;
            read::packages(&mut plain, &mut |piece| {
                let found = read::listed(piece)?;
                let is_plain = |text: &str| !text.contains(['\n', FIELD]);
                if [&found.href, &found.algorithm, &found.checksum].iter().all(|text| is_plain(text)) {
                    let base = found.base.as_deref().filter(|base| is_plain(base)).unwrap_or_default();
                    for (field, end) in [(found.href.as_str(), FIELD), (&found.algorithm, FIELD), (&found.checksum, FIELD), (base, '\n')] {
                        lines.push_str(field);
                        lines.push(end);
                    }
                }
                Ok(())
            })?;
            Ok(Document::new(lines.into_bytes(), "text/plain", None))
        })
        .await
    };
    repository.derived(&key, Box::pin(make)).await.map(Some)
}

/// What a line says of a package.
fn line<'a>(lines: &'a [u8], href: &str) -> Option<[&'a str; 3]> {
    let wanted = format!("\n{href}{FIELD}");
    let at = memchr::memmem::find(lines, wanted.as_bytes())? + wanted.len();
    let rest = lines.get(at..)?;
    let end = memchr::memchr(b'\n', rest)?;
    let mut fields = std::str::from_utf8(rest.get(..end)?).ok()?.split(FIELD);
    Some([fields.next()?, fields.next()?, fields.next()?])
}

/// A file outside of metadata: a package that metadata names, or whatever else the upstream has.
pub(super) async fn file(repository: &Repository<Read>, path: &str) -> Result<Option<File>> {
    // What is kept, and what is no package.
    if let Some(file) = repository.entry(path).await? {
        return Ok(Some(file));
    }
    if !upstream::is_package(path) {
        return if settings::mirror_list(repository).is_some() { mutable(repository, path).await } else { Ok(None) };
    }
    let mut others = Vec::new();
    // Metadata that clients read before, then any.
    for folder in place::above(path) {
        if repository.stored(&repodata::path(folder, repodata::REPOMD)).await?.is_none() {
            others.push(folder);
        } else if let Some(file) = named(repository, folder, path).await? {
            return Ok(Some(file));
        }
    }
    for folder in others {
        if let Some(file) = named(repository, folder, path).await? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// A package, if the metadata of that folder names it.
async fn named(repository: &Repository<Read>, folder: &str, path: &str) -> Result<Option<File>> {
    let Some(state) = state(repository, folder).await? else { return Ok(None) };
    let Some(packages) = packages(repository, folder, &state).await? else { return Ok(None) };
    let Some(href) = path.strip_prefix(folder) else { return Ok(None) };
    let Some([algorithm, checksum, base]) = line(&packages.body, href) else { return Ok(None) };
    let said = Data { algorithm: algorithm.to_owned(), checksum: checksum.to_owned(), ..Data::default() };
    let expected = said.digests();
    if expected.is_empty() {
        return Err(Error::bad_gateway(format!("the upstream gives {path:?} a checksum that this server does not know: {algorithm:?}")));
    }
    let url = address((!base.is_empty()).then_some(base), href);
    let located = elsewhere(repository, path, Located::at(url, expected, None)).await?;
    repository.located(path, &repodata::path(folder, repodata::REPOMD), located).await
}
