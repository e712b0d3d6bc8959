//! `GET`: files, and what is made of them: checksums, metadata, lists.

use std::io::Read as _;
use std::sync::Arc;

use entrepot_kit::archive::{self, Browsing};
use entrepot_kit::route::Answer;
use entrepot_kit::{
    ALL_PACKAGES, Algorithm, BaseUrl, Document, Error, File, Hasher, Index, Kind, Read, Records, Repository, Request, Response, Result, blocking, listing,
};
use http::{HeaderName, StatusCode};

use super::{catalog, media};
use crate::coordinates::{Build, Coordinates, METADATA, OWN, PREFIXES, Place, package_of_folder, place, snapshot_of_folder};
use crate::index::{METADATA as VARIANT, SNAPSHOT, VERSIONS, XML, builds, render, render_snapshot, snapshot_variant};
use crate::metadata::{LARGEST, Metadata};

/// The headers by which clients save themselves the requests for checksum files.
const HEADERS: [(HeaderName, Algorithm); 4] = [
    (HeaderName::from_static("x-checksum-md5"), Algorithm::Md5),
    (HeaderName::from_static("x-checksum-sha1"), Algorithm::Sha1),
    (HeaderName::from_static("x-checksum-sha256"), Algorithm::Sha256),
    (HeaderName::from_static("x-checksum-sha512"), Algorithm::Sha512),
];

/// What a path leads to.
enum Found {
    File(Box<File>),
    Document(Arc<Document>),
}

impl Found {
    fn file(file: File) -> Self {
        Self::File(Box::new(file))
    }
}

/// Answers with what the path leads to.
pub(crate) fn get(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let path = request.path.joined();
        if let Some(inside) = archive::split(&path, request.path.trailing_slash()) {
            return match find(&repository, inside.archive).await?.ok_or_else(|| missing(inside.archive))? {
                Found::File(file) => archive::get(*file, request, inside, Browsing { media: media::inside, pages: true }).await,
                Found::Document(_) => Err(missing(&path)),
            };
        }
        if request.path.trailing_slash() {
            return listing::get(&repository, request, &path, Some(OWN)).await;
        }
        if let Place::Checksum { of, algorithm } = place(&path) {
            let found = find(&repository, of).await?.ok_or_else(|| missing(&path))?;
            let digest = match found {
                Found::File(file) => digest_of(&repository, of, *file, algorithm).await?,
                Found::Document(document) => document.digest(algorithm),
            };
            return Ok(Response::bytes(StatusCode::OK, "text/plain; charset=utf-8", digest));
        }
        match find(&repository, &path).await?.ok_or_else(|| missing(&path))? {
            Found::File(mut file) => {
                file.entry.content_type.get_or_insert_with(|| media::by_name(&path).to_owned());
                let digests: Vec<Option<String>> = HEADERS.iter().map(|(_, algorithm)| known(&file, *algorithm)).collect();
                let response = Response::file(*file);
                Ok(HEADERS.into_iter().zip(digests).fold(response, |response, ((header, _), digest)| match digest {
                    Some(digest) => response.with_header(header, &digest),
                    None => response,
                }))
            }
            Found::Document(document) => {
                // One is enough for clients, and a large document is new with each publish: others are computed when they are asked for.
                let [_, (header, algorithm), ..] = HEADERS;
                let digest = document.digest(algorithm);
                Ok(Response::document(document).with_header(header, &digest))
            }
        }
    })
}

fn missing(path: &str) -> Error {
    Error::not_found(format!("there is no file {path:?} in this repository"))
}

async fn find(repository: &Repository<Read>, path: &str) -> Result<Option<Found>> {
    match place(path) {
        Place::Own | Place::Checksum { .. } => Ok(None),
        Place::Metadata { folder } => metadata(repository, folder).await,
        // Of some members only it would keep clients from asking for what the others have.
        Place::Prefixes if repository.kind() == Kind::Group => Ok(None),
        Place::Prefixes if repository.kind() == Kind::Hosted => {
            let index = Index { package: ALL_PACKAGES, variant: PREFIXES, fragments: VERSIONS, content_type: "text/plain", render: render_prefixes };
            Ok(repository.document(index).await?.map(Found::Document))
        }
        Place::Catalog if repository.kind() != Kind::Proxy => Ok(Some(Found::Document(catalog::document(repository).await?))),
        Place::Catalog | Place::Prefixes | Place::Other => Ok(repository.entry(path).await?.map(Found::file)),
        Place::Artifact(coordinates) => artifact(repository, path, &coordinates).await,
    }
}

/// Metadata of a snapshot from its builds, or as its upstream has it; any other from the records.
async fn metadata(repository: &Repository<Read>, folder: &str) -> Result<Option<Found>> {
    let some = |document: Option<Arc<Document>>| document.filter(|document| !document.body.is_empty()).map(Found::Document);
    if let Some((package, version)) = snapshot_of_folder(folder) {
        let variant = snapshot_variant(version);
        let index = Index { package: &package, variant: &variant, fragments: SNAPSHOT, content_type: XML, render: render_snapshot };
        let path = format!("{folder}/{METADATA}");
        return match repository.kind() {
            Kind::Hosted => Ok(some(repository.document(index).await?)),
            Kind::Proxy => Ok(repository.entry(&path).await?.map(Found::file)),
            Kind::Group => {
                let ours = repository.document(index).await?.filter(|document| !document.body.is_empty());
                joined(repository, &path, ours).await
            }
        };
    }
    let Some(package) = package_of_folder(folder) else { return Ok(None) };
    let index = Index { package: &package, variant: VARIANT, fragments: VERSIONS, content_type: XML, render };
    Ok(some(repository.document(index).await?))
}

/// The metadata of a snapshot from the hosted members of a group and from those of its proxies that have it. What cannot be read counts for nothing.
async fn joined(repository: &Repository<Read>, path: &str, ours: Option<Arc<Document>>) -> Result<Option<Found>> {
    let mut theirs = match repository.entry_of_each(path).await {
        Ok(files) => files,
        Err(error) if ours.is_none() => return Err(error),
        Err(_) => Vec::new(),
    };
    if ours.is_some() && theirs.is_empty() {
        return Ok(ours.map(Found::Document));
    }
    if ours.is_none() && theirs.len() < 2 {
        return Ok(theirs.pop().map(Found::file));
    }
    let modified = theirs.iter().map(|file| file.entry.created).chain(ours.as_ref().and_then(|document| document.modified)).max();
    let mut parts: Vec<Metadata> = ours.iter().filter_map(|document| Metadata::parse(&document.body).ok()).collect();
    for file in theirs {
        let mut reader = file.content.reader().await?;
        let part = blocking(move || {
            let mut bytes = Vec::new();
            (&mut reader).take(LARGEST as u64).read_to_end(&mut bytes).map_err(Error::internal)?;
            Ok(Metadata::parse(&bytes).ok())
        });
        parts.extend(part.await?);
    }
    Ok(Some(Found::Document(Arc::new(Document::new(Metadata::join_snapshots(parts).render(), XML, modified)))))
}

/// A file; of a snapshot that was asked for by its plain name the newest build, where there is no such file.
async fn artifact(repository: &Repository<Read>, path: &str, coordinates: &Coordinates<'_>) -> Result<Option<Found>> {
    let found = repository.entry(path).await?;
    if coordinates.build != Build::Plain {
        return Ok(found.map(Found::file));
    }
    let found = match found {
        None if repository.kind() != Kind::Proxy => newest(repository, coordinates).await?,
        found => found,
    };
    Ok(found.map(|file| Found::file(File { mutable: true, ..file })))
}

async fn newest(repository: &Repository<Read>, coordinates: &Coordinates<'_>) -> Result<Option<File>> {
    let package = coordinates.package();
    let Some(records) = repository.records(&package, SNAPSHOT).await? else { return Ok(None) };
    let Some(document) = builds(&records, coordinates.version)? else { return Ok(None) };
    let Some(stamp) = document.newest(coordinates.classifier, coordinates.extension) else { return Ok(None) };
    let base = coordinates.version.get(..coordinates.version.len().saturating_sub("SNAPSHOT".len())).unwrap_or_default();
    let dash = if coordinates.classifier.is_empty() { "" } else { "-" };
    let (folder, artifact) = (coordinates.folder(), coordinates.artifact);
    repository.entry(&format!("{folder}/{artifact}-{base}{stamp}{dash}{}.{}", coordinates.classifier, coordinates.extension)).await
}

/// What all groups begin with, in the form that Maven 4 asks for.
fn render_prefixes(records: &Records, _: &BaseUrl, _: &str) -> Result<Vec<u8>> {
    let mut prefixes: Vec<String> = records
        .versions
        .iter()
        .map(|record| {
            let group = record.version.split(':').next().unwrap_or_default();
            group.split('.').take(3).collect::<Vec<_>>().join("/")
        })
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let mut out = String::from("## repository-prefixes/2.0\n");
    for prefix in prefixes {
        out.push('/');
        out.push_str(&prefix);
        out.push('\n');
    }
    Ok(out.into_bytes())
}

/// A digest that is known of a file.
fn known(file: &File, algorithm: Algorithm) -> Option<String> {
    match algorithm {
        Algorithm::Sha256 => file.entry.digest.map(|digest| digest.hex()),
        other => file.entry.digests.hex(other),
    }
}

/// A digest of a file: what is known, or what its bytes give once they are all here.
async fn digest_of(repository: &Repository<Read>, path: &str, file: File, algorithm: Algorithm) -> Result<String> {
    if let Some(digest) = known(&file, algorithm) {
        return Ok(digest);
    }
    let mut reader = file.content.reader().await?;
    // What was on its way is here now, and most likely with its digests.
    if let Some(digest) = repository.entry(path).await?.and_then(|file| known(&file, algorithm)) {
        return Ok(digest);
    }
    blocking(move || {
        let mut hasher = Hasher::new(&[algorithm]);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = reader.read(&mut buffer).map_err(Error::internal)?;
            match buffer.get(..read).filter(|bytes| !bytes.is_empty()) {
                Some(bytes) => hasher.update(bytes),
                None => break,
            }
        }
        Ok(hasher.finish().1.hex(algorithm).unwrap_or_default())
    })
    .await
}
