//! Pulling through: what the paths of an upstream registry are, and what its answers say.

use bytes::Bytes;
use entrepot_kit::{
    Algorithm, CheckedDocument, Error, Hasher, Need, Records, Result, Sha256Digest, UpstreamDocument, UpstreamIndex, UpstreamPath, VersionRecord,
};
use serde_json::{Value, json};

use crate::manifest::MAX_MANIFEST;
use crate::name::{is_name, is_tag};
use crate::{Digest, layout, media, schema1};

/// The header by which registries name what a tag leads to.
const NAMED_BY: &str = "docker-content-digest";
/// Most pages of a list of tags or referrers that are put together.
const MOST_PAGES: usize = 200;
/// The namespace whose images of one part belong to `library`.
const DOCKER_HUB: &str = "docker.io";

/// What a path of a repository is, upstream.
enum Place {
    Blob(Digest),
    Manifest(Digest),
    Tag,
    Referrers,
    Own,
}

/// Reads a path from the right: the image may hold the words of the protocol.
fn place(path: &str) -> Option<(&str, Place)> {
    let (before, last) = path.rsplit_once('/')?;
    let (image, folder) = before.rsplit_once('/')?;
    let place = match folder {
        "blobs" => Place::Blob(Digest::parse(last)?),
        "manifests" if last.contains(':') => Place::Manifest(Digest::parse(last)?),
        "manifests" if is_tag(last) => Place::Tag,
        "referrers" if Digest::parse(last).is_some() => Place::Referrers,
        _ => {
            let image = layout::image_of(path)?;
            let own = path.get(image.len()..)?.trim_start_matches('/').split('/').next();
            return own.filter(|folder| layout::BACK_REFERENCES.contains(folder)).map(|_| (image, Place::Own));
        }
    };
    is_name(image).then_some((image, place))
}

/// What a path is.
#[must_use]
pub fn classify(path: &str) -> UpstreamPath {
    let manifest = |immutable: bool| {
        let named_by = (!immutable).then_some(NAMED_BY);
        UpstreamPath::Document(UpstreamDocument { accept: media::ANY_MANIFEST, limit: MAX_MANIFEST, immutable, named_by, pages: 1 })
    };
    match place(path) {
        Some((_, Place::Blob(digest))) => UpstreamPath::Immutable { expected: digest.expected() },
        Some((_, Place::Manifest(_))) => manifest(true),
        Some((_, Place::Tag)) => manifest(false),
        Some((_, Place::Referrers)) => {
            UpstreamPath::Document(UpstreamDocument { accept: media::INDEX, limit: MAX_MANIFEST, immutable: false, named_by: None, pages: MOST_PAGES })
        }
        Some((_, Place::Own)) => UpstreamPath::Own,
        None => UpstreamPath::NotOurs,
    }
}

/// `library/alpine` for `alpine` at Docker Hub.
#[must_use]
pub fn full_name(namespace: &str, image: &str) -> Option<String> {
    (namespace == DOCKER_HUB && !image.contains('/')).then(|| format!("library/{image}"))
}

/// The list of an image's tags.
#[must_use]
pub fn index(image: &str) -> Option<UpstreamIndex> {
    is_name(image).then(|| UpstreamIndex { path: format!("{image}/tags/list?n=1000"), accept: "application/json", pages: MOST_PAGES, serial: None })
}

fn not_a(what: &str) -> Error {
    Error::bad_gateway(format!("it is no {what}"))
}

/// One version for each tag.
///
/// # Errors
/// 502 when it is no list of tags.
pub fn records(image: &str, document: &Bytes) -> Result<Records> {
    let list: Value = serde_json::from_slice(document).map_err(|_| not_a("list of tags"))?;
    let tags = match list.get("tags") {
        Some(Value::Array(tags)) => tags.as_slice(),
        // Distribution says so of an image without tags.
        Some(Value::Null) if list.get("name").is_some() => &[],
        _ => return Err(not_a("list of tags")),
    };
    let mut tags: Vec<&str> = tags.iter().filter_map(Value::as_str).filter(|tag| is_tag(tag)).collect();
    tags.sort_unstable();
    tags.dedup();
    let record = |tag: &str| VersionRecord { version: tag.to_owned(), published: None, bytes: Bytes::new() };
    Ok(Records { package: image.to_owned(), versions: tags.into_iter().map(record).collect(), ..Records::default() })
}

/// Where the bytes are that an upstream named by their digest.
#[must_use]
pub fn path_of_name(path: &str, name: &str) -> Option<String> {
    let (image, _) = place(path)?;
    Digest::parse(name).map(|digest| layout::manifest(image, &digest.to_string()))
}

/// Puts pages of tags or of referrers together.
///
/// # Errors
/// 502 when they are not pages of one list.
pub fn join_pages(pages: &[Bytes]) -> Result<Bytes> {
    let mut joined: Option<(Value, &str)> = None;
    for page in pages {
        let page: Value = serde_json::from_slice(page).map_err(|_| not_a("page of a list"))?;
        let Some((whole, key)) = &mut joined else {
            let key = ["tags", "manifests"].into_iter().find(|key| page.get(key).is_some()).ok_or_else(|| not_a("page of a list"))?;
            joined = Some((page, key));
            continue;
        };
        let more = match page.get(*key) {
            Some(Value::Array(more)) => more.clone(),
            Some(Value::Null) => Vec::new(),
            _ => return Err(not_a("page of the same list")),
        };
        if let Some(list) = whole.get_mut(*key) {
            match list {
                Value::Array(list) => list.extend(more),
                list => *list = more.into(),
            }
        }
    }
    let (whole, _) = joined.ok_or_else(|| not_a("list"))?;
    Ok(whole.to_string().into())
}

/// Checks what an upstream sent for a manifest or a list of referrers. It is kept byte for byte, so nothing is asked of it but that it is
/// what the path says.
///
/// # Errors
/// 502 when it is something else.
pub fn check(path: &str, content_type: Option<&str>, document: &Bytes) -> Result<CheckedDocument> {
    let (image, place) = place(path).ok_or_else(|| not_a("path of a document"))?;
    let root: Value = serde_json::from_slice(document).map_err(|_| not_a("JSON document"))?;
    if let Place::Referrers = place {
        let is_index = root.get("manifests").is_some_and(Value::is_array);
        return if is_index { Ok(CheckedDocument { content_type: Some(media::INDEX.to_owned()), ..CheckedDocument::default() }) } else { Err(not_a("index")) };
    }
    let is_manifest = ["layers", "manifests", "fsLayers", "config", "blobs", "mediaType"].iter().any(|key| root.get(key).is_some());
    if !is_manifest || (root.get("schemaVersion").is_none() && root.get("mediaType").is_none()) {
        return Err(not_a("manifest"));
    }
    let whole = Digest::sha256(Sha256Digest::of(document));
    let payload = if root.get("fsLayers").is_some() { schema1::payload(document) } else { None };
    let named = payload.as_deref().map(|payload| Digest::sha256(Sha256Digest::of(payload)));
    if let Place::Manifest(digest) = &place {
        let fits = match digest.algorithm() {
            Algorithm::Sha512 => sha512(document).as_ref() == Some(digest) || payload.and_then(|payload| sha512(&payload)).as_ref() == Some(digest),
            _ => whole == *digest || named.as_ref() == Some(digest),
        };
        if !fits {
            return Err(Error::bad_gateway("its digest is another one"));
        }
    }
    let data = named.as_ref().map(|digest| json!({ "digest": digest }).to_string()).unwrap_or_default();
    let also = layout::manifest(image, &named.unwrap_or(whole).to_string());
    Ok(CheckedDocument { content_type: Some(media_type(content_type, &root)), also: vec![also], data })
}

fn sha512(bytes: &[u8]) -> Option<Digest> {
    let mut hasher = Hasher::new(&[Algorithm::Sha512]);
    hasher.update(bytes);
    Digest::among(&hasher.finish().1, Algorithm::Sha512)
}

/// The type of a manifest: what the upstream says, unless it says nothing in particular.
fn media_type(content_type: Option<&str>, root: &Value) -> String {
    let said = content_type.map(media::essence).filter(|said| said.starts_with("application/vnd.") || said.ends_with("+json"));
    let own = root.get("mediaType").and_then(Value::as_str).filter(|own| own.len() <= 255 && own.bytes().all(|byte| byte.is_ascii_graphic()));
    let guess = if root.get("manifests").is_some() {
        media::INDEX
    } else if root.get("fsLayers").is_some() {
        if root.get("signatures").is_some() { media::SCHEMA1_SIGNED } else { media::SCHEMA1 }
    } else {
        media::IMAGE
    };
    said.or(own).unwrap_or(guess).to_owned()
}

/// The manifest with which a pull of a version begins.
#[must_use]
pub fn version_path(image: &str, version: &str) -> Option<String> {
    (is_name(image) && (is_tag(version) || Digest::parse(version).is_some())).then(|| layout::manifest(image, version))
}

/// What a manifest needs: an index its manifests (for some platforms), an image its configuration and its layers.
///
/// # Errors
/// 502 when it is no JSON document.
pub fn needs(path: &str, document: &Bytes, platforms: &[String]) -> Result<Vec<Need>> {
    let (image, _) = place(path).ok_or_else(|| not_a("path of a document"))?;
    let root: Value = serde_json::from_slice(document).map_err(|_| not_a("JSON document"))?;
    let list = |key: &str| root.get(key).and_then(Value::as_array).into_iter().flatten();
    let digest = |node: &Value, key: &str| node.get(key).and_then(Value::as_str).and_then(Digest::parse);
    let mut needs = Vec::new();
    for child in list("manifests").filter(|child| is_wanted(child.get("platform"), platforms)) {
        needs.extend(digest(child, "digest").map(|digest| Need { path: layout::manifest(image, &digest.to_string()), document: true }));
    }
    let own = root.get("config").into_iter().chain(list("layers")).chain(list("blobs"));
    let blobs = own.filter(|blob| !is_elsewhere(blob)).filter_map(|blob| digest(blob, "digest"));
    let old = list("fsLayers").filter_map(|layer| digest(layer, "blobSum"));
    needs.extend(blobs.chain(old).map(|digest| Need { path: layout::blob(image, &digest), document: false }));
    Ok(needs)
}

/// Whether a layer is not to be had from the registry: its URLs are never fetched here.
fn is_elsewhere(descriptor: &Value) -> bool {
    let has_urls = descriptor.get("urls").and_then(Value::as_array).is_some_and(|urls| !urls.is_empty());
    has_urls || descriptor.get("mediaType").and_then(Value::as_str).is_some_and(media::is_foreign)
}

fn is_wanted(platform: Option<&Value>, wanted: &[String]) -> bool {
    let Some(platform) = platform.filter(|_| !wanted.is_empty()) else { return true };
    let part = |key: &str| platform.get(key).and_then(Value::as_str).unwrap_or_default();
    let own = [part("os"), part("architecture"), part("variant")];
    wanted.iter().any(|wanted| wanted.split('/').zip(own).all(|(wanted, own)| wanted == own))
}

#[cfg(test)]
mod tests;
