//! `POST /` and `POST /legacy/`: the upload of one file.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use entrepot_kit::route::Answer;
use entrepot_kit::{Algorithm, Error, Hasher, Publish, ReadSeek, Repository, Request, Response, Result, Sha256Digest, blocking};
use http::StatusCode;
use serde_json::Map;

use super::commit::{Upload, commit};
use super::form::{Form, Uploaded};
use super::{hosted_only, namespaces};
use crate::archive::inspect;
use crate::attestation;
use crate::metadata::Metadata;
use crate::page::{CoreMetadata, FileRecord, PageFile};

/// `POST /`.
pub(crate) fn post(repository: Repository<Publish>, request: Request) -> Answer {
    Box::pin(async move {
        hosted_only(repository.kind())?;
        let (form, file) = Form::receive(&repository, request).await?;
        check_sha256(&form, &file)?;
        let (metadata_bytes, metadata, digests) = look(&form, &file).await?;
        form.check(&file.name, &metadata)?;
        let sha256 = file.staged.digest().hex();
        let publisher = &repository.principal().name;
        let provenance = form.get("attestations").map(|text| attestation::provenance(text, &file.written, &sha256, publisher)).transpose()?;
        let namespace = match repository.package(&file.name.project).await? {
            Some(_) => None,
            None => namespaces::of_new(&repository, &file.name.project).await?,
        };
        let shown = shows_metadata(&file, &metadata).then_some(metadata_bytes);
        let record = record(&repository, &file, &metadata, shown.as_deref(), digests);
        let stored = commit(&repository, Upload { file, metadata, shown, provenance, record, namespace }).await?;
        Ok(Response::bytes(StatusCode::OK, "text/plain; charset=utf-8", stored))
    })
}

fn check_sha256(form: &Form, file: &Uploaded) -> Result<()> {
    match form.get("sha256_digest") {
        Some(said) if !said.eq_ignore_ascii_case(&file.staged.digest().hex()) => Err(other_digest("sha256_digest")),
        _ => Ok(()),
    }
}

fn other_digest(field: &str) -> Error {
    let why = format!("The digest supplied does not match a digest calculated from the uploaded file: {field}");
    Error::bad_request(why).with_reason("The digest supplied does not match a digest calculated from the uploaded file")
}

/// Digests besides SHA-256 that the client knows, by their names in the legacy JSON.
struct Claims {
    md5: Option<String>,
    blake2: Option<String>,
}

impl Claims {
    /// Reads the file once more where there are any.
    fn check(self, reader: &mut dyn ReadSeek) -> Result<Map<String, serde_json::Value>> {
        let mut digests = Map::new();
        if self.md5.is_none() && self.blake2.is_none() {
            return Ok(digests);
        }
        let mut md5 = Hasher::new(&[Algorithm::Md5]);
        let mut blake2 = Blake2b::<U32>::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = reader.read(&mut buffer).map_err(Error::internal)?;
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            if self.md5.is_some() {
                md5.update(bytes);
            }
            if self.blake2.is_some() {
                blake2.update(bytes);
            }
        }
        let (_, md5) = md5.finish();
        let actual = [
            ("md5", "md5_digest", self.md5, md5.hex(Algorithm::Md5).unwrap_or_default()),
            ("blake2b_256", "blake2_256_digest", self.blake2, hex::encode(blake2.finalize())),
        ];
        for (name, field, said, actual) in actual {
            if let Some(said) = said {
                if !said.eq_ignore_ascii_case(&actual) {
                    return Err(other_digest(field));
                }
                digests.insert(name.to_owned(), actual.into());
            }
        }
        Ok(digests)
    }
}

/// Looks at the staged file where blocking is allowed: its digests, what it is, its metadata.
async fn look(form: &Form, file: &Uploaded) -> Result<(Vec<u8>, Metadata, Map<String, serde_json::Value>)> {
    let claims = Claims { md5: form.get("md5_digest").map(str::to_owned), blake2: form.get("blake2_256_digest").map(str::to_owned) };
    let (mut reader, again) = (file.staged.reader().await?, file.staged.reader().await?);
    let (size, name, written) = (file.staged.size(), file.name.clone(), file.written.clone());
    blocking(move || {
        let digests = claims.check(&mut *reader)?;
        let bytes = inspect(again, size, &name).map_err(|error| error.with_reason("Invalid distribution file"))?;
        let metadata = Metadata::parse(&bytes).map_err(|error| error.with_reason("Invalid metadata in the distribution file"))?;
        if crate::name::normalise(&metadata.name) != name.project || !crate::version::same(&metadata.version, &name.version) {
            let why = format!("the file {written:?} says in its metadata that it is {} {}", metadata.name, metadata.version);
            return Err(Error::bad_request(why).with_reason("The file's name and its metadata disagree"));
        }
        Ok((bytes, metadata, digests))
    })
    .await
}

/// Whether installers may read the metadata in place of the file: always of a wheel, and of a source distribution that promises that what
/// it says will be true of what is built from it.
fn shows_metadata(file: &Uploaded, metadata: &Metadata) -> bool {
    const DECIDING: [&str; 5] = ["name", "version", "requires-dist", "requires-python", "provides-extra"];
    if !file.name.distribution.is_source() {
        return true;
    }
    let promises = metadata.text("metadata_version").is_some_and(|version| version.starts_with("2.") && !["2.0", "2.1"].contains(&version));
    let dynamic = metadata.fields.get("dynamic").and_then(serde_json::Value::as_array);
    promises && !dynamic.into_iter().flatten().filter_map(serde_json::Value::as_str).any(|field| DECIDING.contains(&field.to_ascii_lowercase().as_str()))
}

/// What pages say of the file.
fn record(repository: &Repository<Publish>, file: &Uploaded, metadata: &Metadata, shown: Option<&[u8]>, digests: Map<String, serde_json::Value>) -> FileRecord {
    let core_metadata = shown.map_or(CoreMetadata::None, |bytes| CoreMetadata::sha256(Sha256Digest::of(bytes).hex()));
    let page = PageFile {
        core_metadata,
        hashes: [(String::from("sha256"), file.staged.digest().hex())].into(),
        requires_python: metadata.requires_python.clone(),
        size: Some(file.staged.size()),
        upload_time: Some(repository.now().rfc3339()),
        ..PageFile::named(&file.name.project, &file.written)
    };
    let mut private = digests;
    private.insert(String::from("packagetype"), file.name.distribution.package_type().into());
    private.insert(String::from("python_version"), file.name.python.as_str().into());
    FileRecord { file: page, version: file.name.version.clone(), private }
}
