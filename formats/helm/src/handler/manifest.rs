//! Charts as container clients push and pull them.

use std::io::Read as _;

use bytes::Bytes;
use entrepot_kit::{
    ALL_PACKAGES, Birth, BlobSource, Body, Change, Death, Delete, Error, File, Kind, Precondition, Publish, Read, Repository, Request, Resource, Response,
    Result, StageSpec, Staged, blocking,
};
use entrepot_oci_core::error::{DENIED, MANIFEST_BLOB_UNKNOWN, MANIFEST_INVALID, NAME_INVALID, NAME_UNKNOWN};
use entrepot_oci_core::manifest::MAX_MANIFEST;
use entrepot_oci_core::name::{Reference, is_tag, no_manifest};
use entrepot_oci_core::serve::upload::{check_digest, with_digest};
use entrepot_oci_core::serve::{self, image, new_image};
use entrepot_oci_core::{Digest, Manifest, housekeeping, layout, media, referrer};
use http::header::{ETAG, LOCATION};
use http::{HeaderName, StatusCode};
use std::collections::BTreeSet;
use std::sync::Arc;

use super::artifact::settled;
use super::commit::{Archive, ProvFile, Pushed, Upload, commit};
use super::hosted_only;
use super::made::Made;
use crate::archive::inspect;
use crate::artifact::{Parts, parts};
use crate::index::{FRAGMENTS, versions};
use crate::name::is_name;
use crate::provenance::{self, Provenance};
use crate::version;

/// The kind of the records of one chart's tags.
const TAGS: &str = "tags";
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// `GET` and `HEAD` of a manifest.
pub(crate) async fn get(repository: Repository<Read>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let name = request.captures.get("reference");
    let reference = Reference::parse(name)?;
    let missing = || no_manifest(&image, name);
    let found = settled(&repository, &layout::manifest(&image, name)).await?;
    let made = match (&found, &reference) {
        (Some((member, file)), _) => Made::again(member, &image, file).await?,
        (None, Reference::Tag(tag)) if repository.kind() != Kind::Hosted => {
            let version = version::of_tag(tag);
            let made = Made::of(&repository, &image, &version).await?.ok_or_else(missing)?;
            made.note(&repository, &image, &version).await?;
            Some(made)
        }
        (None, _) => return Err(missing()),
    };
    if let Some(made) = made {
        let (bytes, digest) = made.manifest();
        if matches!(&reference, Reference::Digest(wanted) if *wanted != digest) {
            // The upstream says something else of the chart by now.
            return Err(missing());
        }
        return Ok(with_digest(Response::bytes(StatusCode::OK, media::IMAGE, bytes).with_header(ETAG, &format!("\"{digest}\"")), &digest));
    }
    let (_, file) = found.ok_or_else(missing)?;
    let (digest, mutable) = match reference {
        Reference::Digest(digest) => (digest, false),
        Reference::Tag(_) => (file.entry.digest.map(Digest::sha256).ok_or_else(missing)?, true),
    };
    let response = Response::file(File { mutable, ..file }).with_header(ETAG, &format!("\"{digest}\""));
    Ok(with_digest(response, &digest))
}

/// `GET` and `HEAD` of a blob.
pub(crate) async fn blob(repository: Repository<Read>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let digest = Digest::demand(request.captures.get("digest"))?;
    if repository.kind() != Kind::Hosted
        && let Some((member, file)) = repository.find(&layout::blob(&image, &digest)).await?
        && let Some(made) = Made::again(&member, &image, &file).await?
    {
        let bytes = made.bytes(&digest).ok_or_else(|| serve::blob::no_blob(&image, request.captures.get("digest")))?;
        return Ok(with_digest(Response::bytes(StatusCode::OK, "application/octet-stream", bytes), &digest));
    }
    serve::blob::get(repository, request).await
}

/// `GET …/tags/list`.
pub(crate) async fn tags(repository: Repository<Read>, request: Request) -> Result<Response> {
    if repository.kind() == Kind::Hosted {
        return serve::tags::list(repository, request).await;
    }
    let image = image(&request)?;
    let missing = || Error::not_found(format!("there is no chart {image}")).with_code(NAME_UNKNOWN);
    // Classic upstreams list versions, registries and hosted members tags.
    let (listed, tagged) = (repository.records(ALL_PACKAGES, FRAGMENTS).await?, repository.records(&image, TAGS).await?);
    let of_index = listed.iter().flat_map(|records| versions(records, &image));
    let of_chart = tagged.iter().flat_map(|records| records.versions.iter().map(|record| record.version.as_str()));
    let tags: BTreeSet<_> = of_index.chain(of_chart).map(serve::tags::tag_of).filter(|tag| is_tag(tag)).collect();
    let tags: Vec<_> = tags.into_iter().collect();
    if tags.is_empty() { Err(missing()) } else { serve::tags::answer(&request, &image, tags) }
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::bad_request(why.to_string()).with_code(MANIFEST_INVALID)
}

/// `PUT`: publishes the chart that the manifest is, or keeps what it says about one.
pub(crate) async fn put(repository: Repository<Publish>, request: Request) -> Result<Response> {
    let image = new_image(&request)?;
    hosted_only(repository.kind())?;
    if !is_name(&image) {
        let why = format!("{image:?} is no name of a chart: push charts to oci://HOST/SYSTEM/REPOSITORY itself, without folders below it");
        return Err(Error::bad_request(why).with_code(NAME_INVALID));
    }
    let reference = Reference::parse(request.captures.get("reference"))?;
    let content_type = request.header("content-type").map(str::to_owned);
    let base = request.base.path.clone();
    let body = request.body.collect(MAX_MANIFEST).await.map_err(|error| error.with_code(MANIFEST_INVALID))?;
    let manifest = {
        let body = body.clone();
        blocking(move || Manifest::parse(&body, content_type.as_deref(), &[])).await?
    };
    let staged = repository.stage_body(StageSpec::default(), Body::from(body)).await?;
    let digest = match &reference {
        Reference::Digest(named) => {
            check_digest(&staged, named).await?;
            named.clone()
        }
        Reference::Tag(_) => Digest::sha256(staged.digest()),
    };
    let tag = match reference {
        Reference::Tag(tag) => Some(tag),
        Reference::Digest(_) => None,
    };
    let subject = manifest.subject.as_ref().map(|subject| subject.digest.clone());
    let push = Push { image: image.clone(), tag, digest: digest.clone(), manifest, staged };
    match parts(&push.manifest).map_err(|why| invalid(format!("the manifest is no chart that can be taken: {why}")))? {
        Some(parts) => push.chart(&repository, parts).await?,
        None => push.about(&repository).await?,
    }
    let location = format!("{base}/{}", layout::manifest(&image, &digest.to_string()));
    let response = with_digest(Response::empty(StatusCode::CREATED).with_header(LOCATION, &location), &digest);
    Ok(match subject {
        Some(subject) => response.with_header(SUBJECT, &subject),
        None => response,
    })
}

/// A manifest on its way in.
struct Push {
    image: String,
    tag: Option<String>,
    digest: Digest,
    manifest: Manifest,
    staged: Arc<dyn Staged>,
}

impl Push {
    /// A chart: it is published as if it had come any other way.
    async fn chart(self, repository: &Repository<Publish>, parts: Parts) -> Result<()> {
        serve::parts::demand(repository, &self.image, &self.manifest).await?;
        let mut blobs = serve::parts::paths(&self.image, &self.manifest);
        blobs.retain(|path| std::iter::once(&parts.archive).chain(&parts.prov).all(|digest| *path != layout::blob(&self.image, digest)));
        let readable = repository.grant::<Read>(&Resource::Package(self.image.clone())).await?;
        let archive = archive(&readable, &self.image, &parts.archive).await?;
        if archive.chart.name != self.image {
            return Err(invalid(format!("the chart in it is called {:?}, and the manifest was pushed as {:?}", archive.chart.name, self.image)));
        }
        let tag = version::tag(&archive.chart.version);
        if self.tag.as_ref().is_some_and(|pushed| *pushed != tag) {
            return Err(invalid(format!("the version of the chart is {:?}: push it under the tag {tag}", archive.chart.version)));
        }
        let prov = match &parts.prov {
            Some(digest) => Some(prov(&readable, &self.image, digest).await?),
            None => None,
        };
        let manifest = Some(Pushed { staged: self.staged, digest: self.digest, blobs });
        let upload = Upload { archive: Some(archive), prov, manifest, force: false };
        upload.check().map_err(|error| error.with_code(MANIFEST_INVALID))?;
        commit(repository, upload).await.map_err(|error| if error.status() == StatusCode::CONFLICT { error.with_code(DENIED) } else { error })
    }

    /// What says something about a chart: a signature, an attestation.
    async fn about(self, repository: &Repository<Publish>) -> Result<()> {
        let image = &self.image;
        let is_attached = self.tag.as_ref().is_some_and(|tag| housekeeping::attached_to(image, tag).is_some());
        if self.manifest.subject.is_none() && !is_attached {
            return Err(invalid(
                "this repository takes charts, and what refers to them (signatures, attestations): push images to a repository of the format oci",
            ));
        }
        serve::parts::demand(repository, image, &self.manifest).await?;
        let path = layout::manifest(image, &self.digest.to_string());
        let package = Birth::Package { package: image.clone(), document: String::from("{}"), terms: vec![image.clone()] };
        let mut change = Change::new("publish", format!("{image} {}", self.tag.as_deref().unwrap_or(&self.digest.to_string()))).begin(package);
        change = serve::parts::paths(image, &self.manifest).into_iter().fold(change, |change, path| change.begin(Birth::Again(path)));
        change = change.begin(self.entry(path, None, String::new()));
        if let Some(subject) = &self.manifest.subject {
            let descriptor = referrer::descriptor(&self.manifest, &self.digest, self.staged.size());
            change = change.begin(self.entry(format!("{}{}", layout::referrers(image, &subject.digest), self.digest), None, descriptor.to_string()));
        }
        if let Some(tag) = &self.tag {
            let path = layout::manifest(image, tag);
            if repository.stored(&path).await?.is_some_and(|known| known.digest != Some(self.staged.digest())) {
                // Signatures are added to such a tag by whoever may publish: each is a layer more.
                change = change.end(Death::Entry(path.clone()));
            }
            change = change.begin(Birth::Version { package: image.clone(), version: tag.clone(), document: String::from("{}") }).begin(self.entry(
                path,
                Some(tag.clone()),
                String::new(),
            ));
        }
        repository.commit(change).await.map(drop)
    }

    fn entry(&self, path: String, version: Option<String>, data: String) -> Birth {
        Birth::Entry {
            path,
            package: Some(self.image.clone()),
            version,
            blob: BlobSource::Staged(Arc::clone(&self.staged)),
            content_type: Some(self.manifest.media_type.clone()),
            data,
        }
    }
}

fn gone(digest: &Digest) -> Error {
    Error::bad_request(format!("the blob {digest} is not here any more: push it again")).with_code(MANIFEST_BLOB_UNKNOWN)
}

/// Looks into the archive that a manifest names.
async fn archive(repository: &Repository<Read>, image: &str, digest: &Digest) -> Result<Archive> {
    let path = layout::blob(image, digest);
    let file = repository.entry(&path).await?.ok_or_else(|| gone(digest))?;
    let (Some(sha256), Some(size)) = (file.entry.digest, file.entry.size) else { return Err(gone(digest)) };
    let reader = file.content.reader().await?;
    let chart = blocking(move || inspect(reader, size)).await.map_err(|error| error.with_code(MANIFEST_INVALID))?;
    Ok(Archive { chart, digest: sha256, size, bytes: BlobSource::Entry(path) })
}

/// Reads the provenance file that a manifest names.
async fn prov(repository: &Repository<Read>, image: &str, digest: &Digest) -> Result<ProvFile> {
    let path = layout::blob(image, digest);
    let file = repository.entry(&path).await?.ok_or_else(|| gone(digest))?;
    let (Some(sha256), Some(size)) = (file.entry.digest, file.entry.size) else { return Err(gone(digest)) };
    if size > provenance::LARGEST as u64 {
        return Err(invalid(format!("a provenance file has at most {} bytes here", provenance::LARGEST)));
    }
    let mut reader = file.content.reader().await?;
    let said = blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(Error::internal)?;
        Provenance::parse(&Bytes::from(bytes)).map_err(|why| invalid(format!("the provenance file in it: {why}")))
    });
    Ok(ProvFile { said: said.await?, digest: sha256, size, bytes: BlobSource::Entry(path) })
}

/// `DELETE`: a tag is a version of the chart, and so is the manifest that it leads to.
pub(crate) async fn delete(repository: Repository<Delete>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    hosted_only(repository.kind())?;
    let name = request.captures.get("reference");
    Reference::parse(name)?;
    let path = layout::manifest(&image, name);
    let entry = repository.stored(&path).await?.ok_or_else(|| no_manifest(&image, name))?;
    let digest = entry.digest.ok_or_else(|| no_manifest(&image, name))?;
    let mut change = Change::new("delete", format!("{image} {name}")).only_if(Precondition::EntryIs { path, digest });
    if let Some(version) = entry.version {
        change = change.end(Death::Version { package: image.clone(), version });
    }
    let folders = std::iter::once(layout::manifests(&image)).chain(layout::BACK_REFERENCES.iter().map(|folder| format!("{image}/{folder}/")));
    for folder in folders {
        change = change.end(Death::Blob { package: image.clone(), folder, digest });
    }
    repository.commit(change).await?;
    Ok(Response::empty(StatusCode::ACCEPTED))
}
