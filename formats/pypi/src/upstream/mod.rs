//! Pulling through: what the paths of another index are, and what its pages say.
//!
//! A page is kept as the other index sent it, and shown as ours: with files at addresses of this repository, and with promises only that this
//! repository keeps. Wheels without metadata of their own get it taken out of them.

mod wheel;

use bytes::Bytes;
use entrepot_kit::{ALL_PACKAGES, Algorithm, Digests, Error, Located, ReadSeek, Records, Result, Timestamp, UpstreamIndex, UpstreamPath, VersionRecord, Whole};

use crate::name::{FilePath, Part, file_path, file_url, is_valid, normalise};
use crate::page::{CoreMetadata, FileRecord, PageFile, ProjectDocument, read};
use crate::version;

/// What is asked for: JSON says more, HTML is what old indexes have.
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";
/// Numbers the states of an index: mirrors that lag behind have lower ones.
const SERIAL: &str = "x-pypi-last-serial";

/// What an entry path is at an upstream.
pub(crate) fn classify(path: &str) -> UpstreamPath {
    match FilePath::parse(path) {
        Some(path) => UpstreamPath::Needs { package: path.project.to_owned() },
        None => UpstreamPath::NotOurs,
    }
}

/// Where the page of a project is, below the URL of the index; or the list of projects.
pub(crate) fn index(project: &str) -> Option<UpstreamIndex> {
    let path = match project {
        ALL_PACKAGES => String::new(),
        project if is_valid(project) && normalise(project) == project => format!("{project}/"),
        _ => return None,
    };
    Some(UpstreamIndex { serial: Some(SERIAL), ..UpstreamIndex::whole(path, ACCEPT) })
}

/// Whether the metadata of a file can be taken out of it.
fn is_wheel(filename: &str) -> bool {
    filename.to_ascii_lowercase().ends_with(".whl")
}

/// What this repository says of a file of an upstream's page.
fn ours(project: &str, file: PageFile) -> FileRecord {
    let said = version::of_filename(project, &file.filename).map(version::normalise);
    let core_metadata = match file.core_metadata {
        CoreMetadata::None if is_wheel(&file.filename) => CoreMetadata::Unhashed,
        said => said,
    };
    let attested = file.provenance.is_some();
    let file = PageFile { url: file_url(project, &file.filename), core_metadata, provenance: None, ..file };
    let file = match &said {
        Some(version) if attested => file.with_provenance(project, version),
        _ => file,
    };
    FileRecord { file, version: said.unwrap_or_default(), ..FileRecord::default() }
}

/// The records of an upstream's page, or of its list of projects.
///
/// # Errors
/// 502 when it is neither.
pub(crate) fn records(project: &str, document: &Bytes) -> Result<Records> {
    if project == ALL_PACKAGES {
        let record = |name: String| VersionRecord { version: normalise(&name), published: None, bytes: Bytes::new() };
        return Ok(Records { package: project.to_owned(), versions: read::projects(document)?.into_iter().map(record).collect(), ..Records::default() });
    }
    let page = read::project(project, document)?;
    let document = ProjectDocument { status: page.status, reason: page.reason, versions: page.versions, ..ProjectDocument::default() };
    let mut versions = Vec::with_capacity(page.files.len());
    for file in page.files {
        let published = file.upload_time.as_deref().and_then(Timestamp::parse_rfc3339);
        let filename = file.filename.clone();
        versions.push(VersionRecord { version: filename, published, bytes: ours(project, file).to_text()?.into() });
    }
    Ok(Records { package: project.to_owned(), document: document.to_text()?, versions, ..Records::default() })
}

/// Where the page says that a file is, and what it must hash to.
///
/// # Errors
/// 502 when it is no page.
pub(crate) fn locate(path: &str, project: &str, document: &Bytes) -> Result<Option<Located>> {
    let Some(path) = FilePath::parse(path).filter(|path| path.project == project) else { return Ok(None) };
    let Some(file) = read::file(project, document, path.filename)? else { return Ok(None) };
    let version = version::of_filename(project, path.filename).map(version::normalise);
    Ok(match path.part {
        Part::Itself => Some(Located::at(file.url, digests(&file.hashes), version)),
        Part::Metadata => metadata(project, &file, version),
        Part::Provenance => file.provenance.map(|url| Located::at(url, Digests::new(), version)),
        Part::Signature => (file.gpg_sig != Some(false)).then(|| Located::at(beside(&file.url, ".asc"), Digests::new(), version)),
    })
}

/// Metadata is where the page promises it; a wheel has it in itself, whatever the upstream does of what it promised.
fn metadata(project: &str, file: &PageFile, version: Option<String>) -> Option<Located> {
    let expected = match &file.core_metadata {
        CoreMetadata::Hashed(hashes) => digests(hashes),
        CoreMetadata::None | CoreMetadata::Unhashed => Digests::new(),
    };
    let taken_out = is_wheel(&file.filename).then(|| Located {
        part_of: Some(Whole { path: file_path(project, &file.filename), expected: digests(&file.hashes) }),
        ..Located::at(file.url.clone(), expected.clone(), version.clone())
    });
    if !file.core_metadata.is_there() {
        return taken_out;
    }
    Some(Located { otherwise: taken_out.map(Box::new), ..Located::at(beside(&file.url, ".metadata"), expected, version) })
}

/// The address of what is beside a file.
fn beside(url: &str, ending: &str) -> String {
    match url.split_once('?') {
        Some((path, query)) => format!("{path}{ending}?{query}"),
        None => format!("{url}{ending}"),
    }
}

fn digests(hashes: &std::collections::BTreeMap<String, String>) -> Digests {
    let mut digests = Digests::new();
    for (name, digest) in hashes {
        if let Some(algorithm) = Algorithm::parse(name) {
            digests.insert_hex(algorithm, digest);
        }
    }
    digests
}

/// Takes the metadata out of a wheel.
///
/// # Errors
/// 404 for another part of another file, 502 when it is no wheel of that name.
pub(crate) fn extract(path: &str, whole: &mut dyn ReadSeek) -> Result<Bytes> {
    match FilePath::parse(path) {
        Some(FilePath { filename, part: Part::Metadata, .. }) if is_wheel(filename) => wheel::metadata(filename, whole),
        _ => Err(Error::not_found(format!("{path} is no part of a file"))),
    }
}

#[cfg(test)]
mod tests;
