//! What is said about packages besides what they say themselves: groups, advisories, modules. Each is uploaded as a whole, and is part of the
//! metadata of its folder from then on.

use std::io::Read as _;

use entrepot_kit::{
    Birth, BlobSource, Body, Change, Death, Delete, Entry, Error, LimitedReader, Listing, ListingItem, Publish, Read, Repository, Resource, Response, Result,
    Sha256Digest, StageSpec, Timestamp, blocking,
};
use http::StatusCode;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::repodata::{self, Data};

/// Most bytes of one, plain and compressed.
pub(super) const LARGEST: usize = 64 << 20;
/// Deepest elements.
const DEEPEST: usize = 64;
/// Old ones that stay, and how long they stay in any case, in milliseconds: clients may be about to fetch them.
const KEPT: usize = 10;
const KEPT_FOR: i64 = 7 * 24 * 3600 * 1000;

/// A kind of them.
pub(super) struct Extra {
    /// The name under which it is uploaded.
    pub(super) name: &'static str,
    /// What its root is; none for YAML.
    pub(super) root: Option<&'static str>,
    /// Its type in `repomd.xml`, and that of its compressed form where it has both.
    pub(super) kinds: (&'static str, Option<&'static str>),
    /// Its media type, plain.
    pub(super) media_type: &'static str,
}

impl Extra {
    /// Its types in `repomd.xml`.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.kinds.0).chain(self.kinds.1)
    }
}

/// All kinds.
pub(super) static EXTRAS: [Extra; 3] = [
    Extra { name: "comps.xml", root: Some("comps"), kinds: ("group", Some("group_gz")), media_type: "application/xml" },
    Extra { name: "updateinfo.xml", root: Some("updates"), kinds: ("updateinfo", None), media_type: "application/xml" },
    Extra { name: "modules.yaml", root: None, kinds: ("modules", None), media_type: "application/yaml" },
];

/// What an entry says of itself: its lines of `repomd.xml`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    data: Vec<Data>,
}

fn extra(name: &str) -> Option<&'static Extra> {
    EXTRAS.iter().find(|extra| extra.name == name)
}

/// The types of these documents in `repomd.xml`.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    EXTRAS.iter().flat_map(Extra::kinds)
}

/// Takes one in.
///
/// # Errors
/// 400 for another name, 422 for what is not what it is called.
pub(super) async fn put(repository: &Repository<Publish>, folder: &str, name: &str, body: Body) -> Result<Response> {
    let plain_name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    let extra = extra(plain_name).ok_or_else(|| {
        Error::bad_request(format!(
            "{name:?} is made by the server; what can be uploaded here is comps.xml, updateinfo.xml and modules.yaml, plain, as .gz or as .zst"
        ))
    })?;
    if !folder.is_empty() {
        crate::place::check(&format!("{folder}x"))?;
    }
    let sent = body.collect(LARGEST).await?;
    let (plain, zipped) = blocking(move || {
        let plain = open(&sent)?;
        check(extra, &plain)?;
        let zipped = repodata::whole(&plain)?;
        Ok((plain, zipped))
    })
    .await?;
    let now = repository.now();
    let (plain_sum, zipped_sum) = (Sha256Digest::of(&plain).hex(), Sha256Digest::of(&zipped).hex());
    let data = |kind: &str, sum: &str, ending: &str, size: usize, open| Data {
        kind: kind.to_owned(),
        algorithm: String::from("sha256"),
        checksum: sum.to_owned(),
        open,
        href: format!("{}/{sum}-{}{ending}", repodata::FOLDER, extra.name),
        base: None,
        timestamp: now.seconds(),
        size: size as u64,
    };
    let open = Some((plain_sum.clone(), plain.len() as u64));
    let record = Record {
        data: match extra.kinds {
            (kind, Some(zipped_kind)) => {
                vec![data(kind, &plain_sum, "", plain.len(), None), data(zipped_kind, &zipped_sum, ".gz", zipped.len(), open)]
            }
            (kind, None) => vec![data(kind, &zipped_sum, ".gz", zipped.len(), open)],
        },
    };
    let path = repodata::path(folder, extra.name);
    let mut change = Change::new("metadata", path.clone());
    for old in outdated(repository, folder, extra, now).await? {
        change = change.end(Death::Entry(old));
    }
    let main = repository.stage_body(StageSpec::default(), Body::from(plain)).await?;
    let packed = repository.stage_body(StageSpec::default(), Body::from(bytes::Bytes::from(zipped))).await?;
    let birth = |path: String, blob, media_type: &str, data| Birth::Entry {
        path,
        package: None,
        version: None,
        blob: BlobSource::Staged(blob),
        content_type: Some(media_type.to_owned()),
        data,
    };
    for line in &record.data {
        let (blob, media_type) = if line.open.is_some() { (&packed, "application/gzip") } else { (&main, extra.media_type) };
        change = change.begin(birth(format!("{folder}{}", line.href), std::sync::Arc::clone(blob), media_type, String::new()));
    }
    let text = serde_json::to_string(&record).map_err(Error::internal)?;
    repository.commit(change.begin(birth(path.clone(), main, extra.media_type, text))).await?;
    Response::json(StatusCode::CREATED, &json!({ "path": path, "files": record.data.iter().map(|line| &line.href).collect::<Vec<_>>() }))
}

/// Forms of old ones that nobody is about to fetch any more.
async fn outdated(repository: &Repository<Publish>, folder: &str, extra: &Extra, now: Timestamp) -> Result<Vec<String>> {
    // Who may not read leaves them where they are.
    let Ok(reader) = repository.grant::<Read>(&Resource::Repository).await else { return Ok(Vec::new()) };
    let listing = Listing { prefix: repodata::path(folder, ""), after: None, limit: 1000, recursive: false };
    let page = reader.entries(&listing).await?;
    let mark = format!("-{}", extra.name);
    let mut old: Vec<Entry> = page
        .items
        .into_iter()
        .filter_map(|item| match item {
            ListingItem::File(entry) if entry.path.contains(&mark) => Some(entry),
            _ => None,
        })
        .collect();
    old.sort_by_key(|entry| std::cmp::Reverse(entry.created));
    let is_old = |entry: &Entry| now.0.saturating_sub(entry.created.0) > KEPT_FOR;
    Ok(old.into_iter().skip(2 * KEPT).filter(is_old).map(|entry| entry.path).collect())
}

/// Its plain form.
fn open(sent: &bytes::Bytes) -> Result<bytes::Bytes> {
    let limit = LARGEST as u64;
    let mut plain = Vec::new();
    let read = match sent.get(..4) {
        Some([0x1f, 0x8b, ..]) => LimitedReader::new(flate2::bufread::MultiGzDecoder::new(&**sent), limit).read_to_end(&mut plain),
        Some([0x28, 0xb5, 0x2f, 0xfd]) => {
            let mut decoder = zstd::stream::read::Decoder::new(&**sent).map_err(Error::internal)?;
            decoder.window_log_max(27).map_err(Error::internal)?;
            LimitedReader::new(decoder, limit).read_to_end(&mut plain)
        }
        _ => return Ok(sent.clone()),
    };
    match read {
        Ok(_) => Ok(plain.into()),
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            Err(Error::too_large(format!("the document unpacks to more than the {LARGEST} bytes that are allowed here")))
        }
        Err(_) => Err(Error::unprocessable("the document cannot be unpacked: it is damaged")),
    }
}

/// Whether it is what it is called.
fn check(extra: &Extra, plain: &[u8]) -> Result<()> {
    let broken = |why: String| Error::unprocessable(format!("this is no {}: {why}", extra.name));
    let text = std::str::from_utf8(plain).map_err(|_| broken(String::from("it is not UTF-8")))?;
    let Some(root) = extra.root else {
        let is_module = text.lines().any(|line| line.trim_end().starts_with("document: modulemd"));
        return if is_module { Ok(()) } else { Err(broken(String::from("no document of it says \"document: modulemd\" or the like"))) };
    };
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let (mut depth, mut seen) = (0_usize, false);
    loop {
        match reader.read_event().map_err(|error| broken(error.to_string()))? {
            Event::Start(start) => {
                if depth == 0 && (seen || start.local_name().as_ref() != root) {
                    return Err(broken(format!("its root is not <{root}>")));
                }
                seen = true;
                depth += 1;
                if depth > DEEPEST {
                    return Err(broken(String::from("its elements are too deep in each other")));
                }
            }
            Event::Empty(start) if depth == 0 => {
                if seen || start.local_name().as_ref() != root {
                    return Err(broken(format!("its root is not <{root}>")));
                }
                seen = true;
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::DocType(kind) if kind.contains('[') => return Err(broken(String::from("it declares entities"))),
            Event::Eof => break,
            _ => {}
        }
    }
    if seen && depth == 0 { Ok(()) } else { Err(broken(String::from("it ends before its time"))) }
}

/// The lines of `repomd.xml` for what was uploaded to a folder.
pub(super) async fn data(repository: &Repository<Read>, folder: &str) -> Result<Vec<Data>> {
    let mut all = Vec::new();
    for extra in &EXTRAS {
        if let Some(entry) = repository.stored(&repodata::path(folder, extra.name)).await? {
            let record: Record = serde_json::from_str(&entry.data).map_err(Error::internal)?;
            all.extend(record.data);
        }
    }
    Ok(all)
}

/// Removes one: the forms that clients may be about to fetch stay.
pub(super) async fn delete(repository: &Repository<Delete>, path: &str, name: &str) -> Result<Response> {
    if extra(name).is_none() {
        return Err(Error::bad_request(format!("{path:?} is made by the server, and goes with what it is made of")));
    }
    if repository.stored(path).await?.is_none() {
        return Err(super::missing(path));
    }
    repository.commit(Change::new("delete", path).end(Death::Entry(path.to_owned()))).await?;
    Ok(Response::empty(StatusCode::NO_CONTENT))
}
