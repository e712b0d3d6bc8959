//! Manifests, by digest and by tag.

use entrepot_kit::{Change, Death, Delete, Entry, Error, File, Precondition, Publish, Read, Repository, Request, Response, Result, Sha256Digest};
use entrepot_oci_core::error::{MANIFEST_INVALID, NAME_UNKNOWN};
use entrepot_oci_core::manifest::MAX_MANIFEST;
use entrepot_oci_core::name::{Reference, no_manifest};
use entrepot_oci_core::serve::upload::with_digest;
use entrepot_oci_core::serve::{image, new_image};
use entrepot_oci_core::{Digest, Manifest, check_tag, layout};
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION, WARNING};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::publish::{Condition, Publication};
use crate::settings;
use crate::signatures::gate;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");
/// Most tags that one request gives a manifest.
const MOST_TAGS: usize = 64;
/// Manifests up to this size are read where the request is answered: it takes less than handing them over.
const SMALL: usize = 64 * 1024;

/// What an entry says besides its bytes: nothing, unless its manifest was pushed under another digest than SHA-256.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Named {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
}

/// The digest under which a manifest is known to clients.
pub(super) fn digest_of(entry: &Entry) -> Option<Digest> {
    let named: Named = serde_json::from_str(&entry.data).unwrap_or_default();
    named.digest.and_then(|digest| Digest::parse(&digest)).or_else(|| entry.digest.map(Digest::sha256))
}

/// `GET` and `HEAD`: the bytes as they were pushed, with the type as it was pushed, whatever `Accept` says.
pub(crate) async fn get(repository: Repository<Read>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let name = request.captures.get("reference");
    let reference = Reference::parse(name)?;
    let path = layout::manifest(&image, name);
    let missing = || no_manifest(&image, name);
    let (mut member, mut file) = repository.find(&path).await?.ok_or_else(missing)?;
    if file.entry.digest.is_none() {
        // On its way from upstream: its digest is known once it is here.
        drop(file.content.reader().await?);
        (member, file) = repository.find(&path).await?.ok_or_else(missing)?;
    }
    let is_head = request.method == http::Method::HEAD;
    let passage = gate::check_pull(&repository, &member, &image, &reference, (&file, is_head)).await?;
    let (digest, mutable) = match reference {
        Reference::Digest(digest) => (digest, false),
        Reference::Tag(_) => (digest_of(&file.entry).ok_or_else(missing)?, true),
    };
    let mutable = mutable || passage.is_ruled;
    let mut response = Response::file(File { mutable, ..file }).with_header(ETAG, &format!("\"{digest}\""));
    if let Some(warning) = passage.warning {
        response = response.with_header(WARNING, &quoted(&warning));
    }
    Ok(with_digest(response, &digest))
}

/// A warning as clients print it (RFC 7234, 5.5): 299, from nobody in particular.
fn quoted(warning: &str) -> String {
    let plain = warning.chars().map(|letter| if letter.is_ascii() && !letter.is_ascii_control() { letter } else { '?' });
    format!("299 - \"{}\"", plain.collect::<String>().replace('\\', "\\\\").replace('"', "\\\""))
}

/// `PUT`: stores a manifest whose parts are here, and gives it tags.
pub(crate) async fn put(repository: Repository<Publish>, request: Request) -> Result<Response> {
    let image = new_image(&request)?;
    let reference = Reference::parse(request.captures.get("reference"))?;
    let tags = tags(&request, &reference)?;
    let condition = condition(&request)?;
    let content_type = request.header("content-type").map(str::to_owned);
    let (opaque, base) = (settings::media_types(&repository), request.base.path.clone());
    let body = request.body.collect(MAX_MANIFEST).await.map_err(|error| error.with_code(MANIFEST_INVALID))?;
    let parse = {
        let body = body.clone();
        move || Manifest::parse(&body, content_type.as_deref(), &opaque)
    };
    let manifest = if body.len() <= SMALL { parse()? } else { entrepot_kit::blocking(parse).await? };
    if manifest.kind == entrepot_oci_core::ManifestKind::Schema1 {
        return Err(Error::bad_request("manifests of schema 1 are not taken any more: push the image with a newer client").with_code(MANIFEST_INVALID));
    }
    let subject = manifest.subject.as_ref().map(|subject| subject.digest.clone());
    let digest = match &reference {
        Reference::Digest(digest) => Some(digest.clone()),
        Reference::Tag(_) => None,
    };
    let publication = Publication { image: image.clone(), manifest, named: digest, tags: tags.clone(), condition };
    let digest = publication.store(&repository, body).await?;
    let location = format!("{base}/{}", layout::manifest(&image, &digest.to_string()));
    let mut response = with_digest(Response::empty(StatusCode::CREATED).with_header(LOCATION, &location), &digest);
    if let Some(subject) = subject {
        response = response.with_header(SUBJECT, &subject);
    }
    if matches!(reference, Reference::Digest(_)) {
        for tag in tags {
            response.headers.append(TAG, HeaderValue::from_str(&tag).map_err(Error::internal)?);
        }
    }
    Ok(response)
}

/// The tags that a manifest shall have.
fn tags(request: &Request, reference: &Reference) -> Result<Vec<String>> {
    let mut tags: Vec<String> = match reference {
        Reference::Tag(tag) => vec![tag.clone()],
        Reference::Digest(_) => Vec::new(),
    };
    for (_, tag) in request.query.pairs().filter(|(key, _)| *key == "tag") {
        check_tag(tag)?;
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    if tags.len() > MOST_TAGS {
        return Err(Error::new(StatusCode::URI_TOO_LONG, format!("one request gives a manifest at most {MOST_TAGS} tags")));
    }
    Ok(tags)
}

/// What the client says must hold of the tag (or manifest) that it writes: `If-Match` with the digest that it saw, or `If-None-Match: *`.
fn condition(request: &Request) -> Result<Option<Condition>> {
    let tag = |text: &str| text.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    match (request.header(IF_MATCH.as_str()), request.header(IF_NONE_MATCH.as_str())) {
        (Some("*"), None) => Ok(Some(Condition::Exists)),
        (Some(seen), None) => Ok(Some(Condition::Is(seen.split(',').map(tag).collect()))),
        (None, Some("*")) => Ok(Some(Condition::Absent)),
        (None, None) => Ok(None),
        _ => Err(Error::bad_request("a manifest is written with If-Match and the digest that was seen, or with If-None-Match: *")),
    }
}

/// `DELETE`: a tag alone, or a manifest with all tags on it.
pub(crate) async fn delete(repository: Repository<Delete>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let name = request.captures.get("reference");
    let reference = Reference::parse(name)?;
    let path = layout::manifest(&image, name);
    let Some(entry) = repository.stored(&path).await? else {
        return Err(match repository.package(&image).await? {
            Some(_) => no_manifest(&image, name),
            None => Error::not_found(format!("there is no image {image}")).with_code(NAME_UNKNOWN),
        });
    };
    let digest = entry.digest.ok_or_else(|| no_manifest(&image, name))?;
    let change = Change::new("delete", format!("{image} {name}"));
    let change = match reference {
        Reference::Tag(tag) => {
            if let Some(pattern) = settings::immutable_by(&repository, &tag) {
                return Err(Error::conflict(format!("the tag {tag} never moves here (immutable_tags: {pattern:?})")));
            }
            // Of two who move and delete it at once, one is told.
            change.only_if(Precondition::EntryIs { path, digest }).end(Death::Version { package: image, version: tag })
        }
        Reference::Digest(_) => {
            check_movable(&repository, &image, digest).await?;
            everything_of(&image, digest).into_iter().fold(change, Change::end)
        }
    };
    repository.commit(change).await?;
    Ok(Response::empty(StatusCode::ACCEPTED))
}

/// What ends with a manifest: its paths, the tags on it, and what it says about others.
pub(super) fn everything_of(image: &str, digest: Sha256Digest) -> Vec<Death> {
    let mut folders = vec![layout::manifests(image)];
    folders.extend(layout::BACK_REFERENCES.iter().map(|folder| format!("{image}/{folder}/")));
    folders.into_iter().map(|folder| Death::Blob { package: image.to_owned(), folder, digest }).collect()
}

/// Refuses to take a manifest from under a tag that never moves.
async fn check_movable(repository: &Repository<Delete>, image: &str, digest: Sha256Digest) -> Result<()> {
    if repository.setting::<serde_json::Value>(settings::IMMUTABLE_TAGS).is_none() {
        return Ok(());
    }
    for version in repository.versions(image).await?.into_iter().filter(|version| version.live) {
        if settings::immutable_by(repository, &version.version).is_none() {
            continue;
        }
        let entry = repository.stored(&layout::manifest(image, &version.version)).await?;
        if entry.and_then(|entry| entry.digest) == Some(digest) {
            return Err(Error::conflict(format!("the tag {} of this manifest never moves here (immutable_tags)", version.version)));
        }
    }
    Ok(())
}
