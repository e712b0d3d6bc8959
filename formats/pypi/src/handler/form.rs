//! The form of an upload: fields in any order, and the file, which is staged while it arrives.

use std::sync::Arc;

use entrepot_kit::{Error, Multipart, Publish, Repository, Request, Resource, Result, StageSpec, Staged};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::attestation;
use crate::filename::Filename;
use crate::settings::{self, LINUX_WHEELS, LOCAL_VERSIONS};

/// Most bytes of all fields together: a long description, and attestations.
const MOST_TEXT: usize = 8 << 20;

/// A file that was staged.
pub(crate) struct Uploaded {
    /// Its name, read.
    pub(crate) name: Filename,
    /// Its name, as it was sent.
    pub(crate) written: String,
    /// Its bytes.
    pub(crate) staged: Arc<dyn Staged>,
}

/// A form that was read.
#[derive(Default)]
pub(crate) struct Form {
    fields: Vec<(String, String)>,
    content: Option<Uploaded>,
}

impl Form {
    /// The first value of a field; an empty one is none. `UNKNOWN` is what old tools send for what they do not know.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim()).filter(|value| !value.is_empty() && *value != "UNKNOWN")
    }

    /// Reads a form to its end.
    ///
    /// # Errors
    /// 400 for what is no upload, 410 for what is no longer served, 401 and 403 for a project that the caller may not publish.
    pub(crate) async fn receive(repository: &Repository<Publish>, request: Request) -> Result<(Self, Uploaded)> {
        if request.headers.get(http::header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send an upload without Content-Encoding"));
        }
        let content_type = request.header(CONTENT_TYPE.as_str()).map(str::to_owned);
        let mut parts = Multipart::new(content_type.as_deref(), request.body)?;
        let mut form = Self::default();
        let mut left = MOST_TEXT;
        while let Some(part) = parts.next().await? {
            match part.name.as_str() {
                "content" => {
                    let filename = part.filename.ok_or_else(|| Error::bad_request("the field \"content\" is the file: send it with its name"))?;
                    if form.content.is_some() {
                        return Err(Error::bad_request("an upload has one file, and this one has two"));
                    }
                    form.content = Some(stage(repository, &filename, &mut parts).await?);
                }
                // Signatures by OpenPGP say nothing to anybody any more.
                "gpg_signature" => {}
                name => {
                    let limit = if name == "attestations" { attestation::LARGEST } else { left };
                    let value = parts.text(limit.min(left)).await?;
                    left = left.saturating_sub(name.len() + value.len());
                    if name == ":action" {
                        check_action(value.trim())?;
                    }
                    form.fields.push((part.name, value));
                }
            }
        }
        let content = form.content.take().ok_or_else(|| Error::bad_request("an upload has a file, in the field \"content\"; this form has none"))?;
        Ok((form, content))
    }

    /// Holds what the form says of the file against the file's own name and metadata.
    pub(crate) fn check(&self, file: &Filename, metadata: &crate::metadata::Metadata) -> Result<()> {
        let differs = |what: &str, said: &str, is: &str| {
            let why = format!("the form says that the {what} is {said:?}, and the file's own metadata says {is:?}: nothing was stored");
            Err(Error::bad_request(why).with_reason("The form and the metadata in the file disagree"))
        };
        if let Some(filetype) = self.get("filetype").filter(|filetype| *filetype != file.distribution.package_type()) {
            return differs("filetype", filetype, file.distribution.package_type());
        }
        if let Some(name) = self.get("name").filter(|name| crate::name::normalise(name) != file.project) {
            return differs("name", name, &metadata.name);
        }
        if let Some(version) = self.get("version").filter(|version| !crate::version::same(version, &file.version)) {
            return differs("version", version, &metadata.version);
        }
        let python = metadata.requires_python.as_deref().unwrap_or_default();
        let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        match self.get("requires_python") {
            Some(said) if squeezed(said) != squeezed(python) => differs("requires_python", said, python),
            _ => Ok(()),
        }
    }
}

fn check_action(action: &str) -> Result<()> {
    match action {
        "file_upload" => Ok(()),
        "submit" | "submit_pkg_info" | "doc_upload" | "remove_pkg" | "verify" => {
            let error = Error::new(StatusCode::GONE, format!("the action {action:?} is no longer served: upload files, each brings its own metadata"));
            Err(error.with_reason("This action is no longer served: upload files"))
        }
        _ => Err(Error::bad_request(format!("{action:?} is no action that is known here: an upload is \"file_upload\""))),
    }
}

/// Stages a file, if it is one that this caller may upload here.
async fn stage(repository: &Repository<Publish>, written: &str, parts: &mut Multipart) -> Result<Uploaded> {
    let name = Filename::parse(written)?;
    repository.grant::<Publish>(&Resource::Package(name.project.clone())).await?;
    if name.version.contains('+') && !settings::allows(repository, LOCAL_VERSIONS) {
        let why = format!("{written:?} has a local version (\"+…\"), which this repository does not take: its setting {LOCAL_VERSIONS:?} is false");
        return Err(Error::bad_request(why).with_reason("This repository takes no local versions"));
    }
    if name.is_for_this_linux() && !settings::allows(repository, LINUX_WHEELS) {
        let why = format!(
            "{written:?} is for Linux without saying for which, and this repository takes only manylinux and musllinux wheels: its setting {LINUX_WHEELS:?} is false"
        );
        return Err(Error::bad_request(why).with_reason("This repository takes no wheels with the platform tag linux"));
    }
    let mut staging = repository.stage(StageSpec::default()).await?;
    while let Some(bytes) = parts.chunk().await? {
        staging.write(bytes).await?;
    }
    Ok(Uploaded { name, written: written.to_owned(), staged: staging.finish().await? })
}
