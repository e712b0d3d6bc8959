//! A page from its fragments.

use entrepot_kit::html::escape_into;
use entrepot_kit::{BaseUrl, Error, Records, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::file::Parts;
use super::html::write_file;
use super::{API_VERSION, API_VERSION_NAMESPACES, API_VERSION_WITHOUT_SIZES, BASE_IN_JSON, PageFile};
use crate::version::distinct;

/// The state of a project (PEP 792).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As usual.
    #[default]
    Active,
    /// Nothing new is expected, and no upload is taken.
    Archived,
    /// Taken for harmful: no file is offered, and no upload is taken.
    Quarantined,
    /// Superseded: installed as usual.
    Deprecated,
}

impl Status {
    /// The word of the standard.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Archived => "archived",
            Self::Quarantined => "quarantined",
            Self::Deprecated => "deprecated",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Archived, Self::Quarantined, Self::Deprecated].into_iter().find(|status| status.name() == name)
    }
}

/// The document of a package: what a page says about the project as a whole. Members that are not here are the handlers' own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectDocument {
    /// The state.
    #[serde(default)]
    pub status: Status,
    /// Why it is in that state; empty for no reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The name as it was last written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub written: String,
    /// Versions that the page lists although no file is of them: an upstream's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
}

impl ProjectDocument {
    /// Reads the package's document; an empty one is that of an active project.
    ///
    /// # Errors
    /// 500 when what is stored is damaged.
    pub fn parse(document: &str) -> Result<Self> {
        if document.is_empty() { Ok(Self::default()) } else { serde_json::from_str(document).map_err(Error::internal) }
    }

    /// The document as JSON.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }
}

/// What ends the name of a variant that says who has the project's namespace.
const NAMESPACES: &str = "+namespaces=";

/// The variant of a page of API 1.5, with the JSON value of its `namespaces`.
#[must_use]
pub fn variant_with_namespaces(variant: &str, namespaces: &serde_json::Value) -> String {
    format!("{variant}{NAMESPACES}{namespaces}")
}

fn namespaces(variant: &str) -> Option<&str> {
    variant.split_once(NAMESPACES).map(|(_, json)| json)
}

/// What both forms are made of.
struct Page<'a> {
    project: &'a ProjectDocument,
    versions: Vec<&'a str>,
    files: Vec<&'a RawValue>,
    sized: bool,
}

impl<'a> Page<'a> {
    fn of(parts: &'a [Parts<'a>], project: &'a ProjectDocument) -> Self {
        let offers = project.status != Status::Quarantined;
        let versions = project.versions.iter().map(String::as_str).chain(parts.iter().map(|part| &*part.version));
        Self {
            versions: distinct(versions),
            files: parts.iter().filter(|_| offers).map(|part| part.page).collect(),
            sized: parts.iter().all(|part| memchr::memmem::find(part.page.get().as_bytes(), b"\"size\":").is_some()),
            project,
        }
    }
}

#[derive(Serialize)]
struct Meta<'a> {
    #[serde(rename = "api-version")]
    api_version: &'a str,
    #[serde(rename = "_last-serial", skip_serializing_if = "Option::is_none")]
    last_serial: Option<u64>,
}

#[derive(Serialize)]
struct StatusOf<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

#[derive(Serialize)]
struct Outline<'a> {
    meta: Meta<'a>,
    name: &'a str,
    #[serde(rename = "project-status")]
    status: StatusOf<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<&'a RawValue>,
    versions: &'a [&'a str],
    files: &'a [&'a RawValue],
}

fn parts(records: &Records) -> Result<Vec<Parts<'_>>> {
    records.versions.iter().map(|record| Parts::of(&record.bytes)).collect()
}

fn api_version(page: &Page<'_>, variant: &str) -> &'static str {
    match (page.sized, namespaces(variant)) {
        (false, _) => API_VERSION_WITHOUT_SIZES,
        (true, Some(_)) => API_VERSION_NAMESPACES,
        (true, None) => API_VERSION,
    }
}

/// The page in JSON.
///
/// # Errors
/// 500 when what is stored is damaged.
pub fn render_json(records: &Records, base: &BaseUrl, variant: &str) -> Result<Vec<u8>> {
    let (parts, project) = (parts(records)?, ProjectDocument::parse(&records.document)?);
    let page = Page::of(&parts, &project);
    let namespaces = namespaces(variant).map(|text| serde_json::from_str::<&RawValue>(text).map_err(Error::internal)).transpose()?;
    let outline = Outline {
        meta: Meta { api_version: api_version(&page, variant), last_serial: records.stamp.parse().ok() },
        name: &records.package,
        status: StatusOf { status: page.project.status.name(), reason: &page.project.reason },
        namespaces,
        versions: &page.versions,
        files: &page.files,
    };
    let mut text = Vec::with_capacity(records.weight() + 256);
    serde_json::to_writer(&mut text, &outline).map_err(Error::internal)?;
    Ok(with_base(text, &base.to_string()))
}

/// Puts the repository's base URL where it belongs.
fn with_base(text: Vec<u8>, base: &str) -> Vec<u8> {
    let marks: Vec<usize> = memchr::memmem::find_iter(&text, BASE_IN_JSON).collect();
    if marks.is_empty() {
        return text;
    }
    let mut out = Vec::with_capacity(text.len() + marks.len() * base.len());
    let mut start = 0;
    for at in marks {
        out.extend_from_slice(text.get(start..at).unwrap_or_default());
        out.extend_from_slice(base.as_bytes());
        start = at + BASE_IN_JSON.len();
    }
    out.extend_from_slice(text.get(start..).unwrap_or_default());
    out
}

/// The page in HTML.
///
/// # Errors
/// 500 when what is stored is damaged.
pub fn render_html(records: &Records, base: &BaseUrl, variant: &str) -> Result<Vec<u8>> {
    let (parts, project) = (parts(records)?, ProjectDocument::parse(&records.document)?);
    let page = Page::of(&parts, &project);
    let base = base.to_string();
    let mut out = String::with_capacity(records.weight() + 512);
    out.push_str("<!DOCTYPE html>\n<html>\n<head>\n");
    meta(&mut out, "pypi:repository-version", api_version(&page, variant));
    meta(&mut out, "pypi:project-status", page.project.status.name());
    if !page.project.reason.is_empty() {
        meta(&mut out, "pypi:project-status-reason", &page.project.reason);
    }
    for tag in ["title", "h1"] {
        out.push_str(if tag == "title" { "<title>Links for " } else { "</head>\n<body>\n<h1>Links for " });
        escape_into(&mut out, &records.package);
        out.push_str(if tag == "title" { "</title>\n" } else { "</h1>\n" });
    }
    for file in &page.files {
        let file: PageFile = serde_json::from_str(file.get()).map_err(Error::internal)?;
        write_file(&mut out, &file, &base);
    }
    out.push_str("</body>\n</html>\n");
    Ok(out.into_bytes())
}

fn meta(out: &mut String, name: &str, content: &str) {
    out.push_str("<meta name=\"");
    out.push_str(name);
    out.push_str("\" content=\"");
    escape_into(out, content);
    out.push_str("\">\n");
}
