//! Pages of other indexes, in JSON or HTML: read leniently, within bounds, and never believed to be what they are not.

use std::collections::{BTreeMap, HashSet};

use entrepot_kit::{Algorithm, Error, Result, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::markup::{Piece, Pieces, Tag};
use super::{CoreMetadata, PageFile, Status};
use crate::name::{self, is_filename};
use crate::version;

/// Most files of a page; the largest known projects have some ten thousand.
pub const MOST_FILES: usize = 200_000;
/// Most projects of a list.
pub const MOST_PROJECTS: usize = 5_000_000;
/// Longest text that is kept of a file: its requirement of Python, the reason of a withdrawal.
const LONGEST_TEXT: usize = 2_000;
/// Longest address of a file.
const LONGEST_URL: usize = 4_000;
/// Most hashes of a file.
const MOST_HASHES: usize = 16;

/// What another index says of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamPage {
    /// The state of the project.
    pub status: Status,
    /// Why it is in that state.
    pub reason: String,
    /// The versions that the page lists.
    pub versions: Vec<String>,
    /// The files. Their addresses are as the page has them: absolute, or relative to the page.
    pub files: Vec<PageFile>,
}

/// Which form a document has.
fn is_json(document: &[u8]) -> bool {
    document.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte == b'{')
}

fn refuse(what: &str) -> Error {
    Error::bad_gateway(format!("what the upstream sent is no page of a package index: {what}"))
}

fn markup(document: &[u8]) -> Result<std::borrow::Cow<'_, str>> {
    let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
    if !document.contains(&b'<') || document.contains(&0) {
        return Err(refuse("it is neither JSON nor HTML"));
    }
    Ok(String::from_utf8_lossy(document))
}

/// Refuses what a later API may mean by the same words.
fn check_version(version: &str) -> Result<()> {
    if version.split('.').next() == Some("1") { Ok(()) } else { Err(refuse(&format!("it is of version {:?} of the API", shorten(version, 20)))) }
}

/// The first characters of a text, without those that have no place in a page.
fn shorten(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    name: Option<Value>,
    #[serde(borrow, rename = "project-status")]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    versions: Option<&'a RawValue>,
    #[serde(borrow)]
    files: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    projects: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Meta {
    #[serde(rename = "api-version")]
    version: Value,
    #[serde(rename = "_last-serial")]
    serial: Value,
}

fn outline(document: &[u8]) -> Result<(Outline<'_>, Meta)> {
    let outline: Outline<'_> = serde_json::from_slice(document).map_err(|error| refuse(&format!("as JSON it is broken ({error})")))?;
    let meta: Meta = outline.meta.and_then(|meta| serde_json::from_str(meta.get()).ok()).unwrap_or_default();
    if let Some(version) = meta.version.as_str() {
        check_version(version)?;
    }
    Ok((outline, meta))
}

/// The number of a page among all that its index ever had, where the page says it. What has a lower one is older.
#[must_use]
pub fn serial(document: &[u8]) -> Option<u64> {
    if is_json(document) {
        #[derive(Deserialize)]
        struct OnlyMeta {
            meta: Meta,
        }
        return serde_json::from_slice::<OnlyMeta>(document).ok()?.meta.serial.as_u64();
    }
    let text = markup(document).ok()?;
    let comments = Pieces::of(&text).filter_map(|piece| match piece {
        Piece::Comment(text) => text.trim().strip_prefix("SERIAL ").and_then(|number| number.trim().parse().ok()),
        Piece::Tag(_) => None,
    });
    comments.last()
}

/// Reads the page of a project.
///
/// # Errors
/// 502 when it is no such page, is one of another project, or is larger than any could be.
pub fn project(project: &str, document: &[u8]) -> Result<UpstreamPage> {
    let mut page = if is_json(document) { from_json(project, document)? } else { from_html(project, document)? };
    let mut seen = HashSet::new();
    page.files.retain(|file| seen.insert(file.filename.clone()));
    Ok(page)
}

/// Finds one file of a page, without reading the others where that can be helped. A project in quarantine offers none.
///
/// # Errors
/// Those of [`project`].
pub fn file(name: &str, document: &[u8], filename: &str) -> Result<Option<PageFile>> {
    if is_json(document) {
        let (outline, _) = outline(document)?;
        if status(&outline).0 == Status::Quarantined {
            return Ok(None);
        }
        let files = outline.files.unwrap_or_default();
        let mut naming = files.iter().filter(|raw| memchr::memmem::find(raw.get().as_bytes(), filename.as_bytes()).is_some());
        if let Some(found) = naming.find_map(|raw| json_file(raw).filter(|file| file.filename == filename)) {
            return Ok(Some(found));
        }
    }
    let page = project(name, document)?;
    Ok(page.files.into_iter().find(|file| file.filename == filename && page.status != Status::Quarantined))
}

/// The state of the project, and why it is in that.
fn status(outline: &Outline<'_>) -> (Status, String) {
    let Some(Value::Object(status)) = outline.status.and_then(|raw| serde_json::from_str(raw.get()).ok()) else { return Default::default() };
    let text = |key: &str| status.get(key).and_then(Value::as_str).unwrap_or_default();
    (Status::parse(text("status")).unwrap_or_default(), shorten(text("reason"), LONGEST_TEXT))
}

fn from_json(project: &str, document: &[u8]) -> Result<UpstreamPage> {
    let (outline, _) = outline(document)?;
    if let Some(Value::String(named)) = &outline.name
        && name::normalise(named) != project
    {
        return Err(refuse(&format!("it is about {:?}", shorten(named, 80))));
    }
    let files = outline.files.as_deref().ok_or_else(|| refuse("it has no files"))?;
    if files.len() > MOST_FILES {
        return Err(refuse(&format!("it has more than {MOST_FILES} files")));
    }
    let mut page = UpstreamPage { files: files.iter().filter_map(|raw| json_file(raw)).collect(), ..UpstreamPage::default() };
    (page.status, page.reason) = status(&outline);
    if let Some(Value::Array(versions)) = outline.versions.and_then(|raw| serde_json::from_str(raw.get()).ok()) {
        let harmless = |text: &&str| !text.is_empty() && text.len() <= 256 && !text.contains(char::is_control);
        page.versions = versions.iter().take(MOST_FILES).filter_map(Value::as_str).filter(harmless).map(str::to_owned).collect();
    }
    Ok(page)
}

/// A file of a page in JSON; what is said of it in another type than the standard's is passed over.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct JsonFile {
    filename: Value,
    url: Value,
    hashes: Value,
    requires_python: Value,
    size: Value,
    upload_time: Value,
    yanked: Value,
    core_metadata: Value,
    dist_info_metadata: Value,
    data_dist_info_metadata: Value,
    gpg_sig: Value,
    provenance: Value,
}

fn json_file(raw: &RawValue) -> Option<PageFile> {
    let said: JsonFile = serde_json::from_str(raw.get()).ok()?;
    let filename = said.filename.as_str().filter(|filename| is_filename(filename))?;
    let url = said.url.as_str().filter(|url| is_address(url))?;
    let metadata = [&said.core_metadata, &said.dist_info_metadata, &said.data_dist_info_metadata].into_iter().find(|value| !value.is_null());
    Some(PageFile {
        filename: filename.to_owned(),
        url: without_fragment(url).to_owned(),
        hashes: hashes(&said.hashes),
        requires_python: text(&said.requires_python),
        size: said.size.as_u64(),
        upload_time: said.upload_time.as_str().and_then(time),
        yanked: match &said.yanked {
            Value::Bool(true) => Some(String::new()),
            // No empty reason: installers take one for "not yanked".
            Value::String(reason) if !reason.is_empty() => Some(shorten(reason, LONGEST_TEXT)),
            _ => None,
        },
        core_metadata: match metadata {
            Some(Value::Bool(true)) => CoreMetadata::Unhashed,
            Some(value @ Value::Object(_)) => Some(hashes(value)).filter(|hashes| !hashes.is_empty()).map_or(CoreMetadata::Unhashed, CoreMetadata::Hashed),
            _ => CoreMetadata::None,
        },
        gpg_sig: said.gpg_sig.as_bool(),
        provenance: said.provenance.as_str().filter(|url| is_address(url)).map(str::to_owned),
    })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.trim().is_empty()).map(|text| shorten(text, LONGEST_TEXT))
}

/// The time as the standard wants it: in UTC, of microseconds at most.
fn time(text: &str) -> Option<String> {
    let read = Timestamp::parse_rfc3339(text)?;
    let is_fine = text.len() <= "2026-11-01T12:00:00.000000Z".len() && text.ends_with('Z') && text.contains('T');
    Some(if is_fine { text.to_owned() } else { read.rfc3339() })
}

fn hash(algorithm: &str, digest: &str) -> Option<(String, String)> {
    let algorithm = algorithm.to_ascii_lowercase();
    let is_name = (1..=20).contains(&algorithm.len()) && algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_digest = (2..=256).contains(&digest.len()) && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = Algorithm::parse(&algorithm).is_none_or(|known| known.length() * 2 == digest.len());
    (is_name && is_digest && fits).then(|| (algorithm, digest.to_ascii_lowercase()))
}

fn hashes(value: &Value) -> BTreeMap<String, String> {
    let Value::Object(said) = value else { return BTreeMap::new() };
    said.iter().filter_map(|(algorithm, digest)| hash(algorithm, digest.as_str()?)).take(MOST_HASHES).collect()
}

/// Whether an address could be that of a file: relative, or of the web.
fn is_address(url: &str) -> bool {
    let scheme =
        url.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)));
    let is_web = scheme.is_none_or(|scheme| ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)));
    !url.is_empty() && url.len() <= LONGEST_URL && is_web && !url.contains(|c: char| c.is_control() || c == '\\')
}

fn without_fragment(url: &str) -> &str {
    url.split('#').next().unwrap_or(url)
}

fn from_html(project: &str, document: &[u8]) -> Result<UpstreamPage> {
    let text = markup(document)?;
    let mut page = UpstreamPage::default();
    let (mut base, mut is_index, mut is_site) = (None, text.contains("Links for "), false);
    for piece in Pieces::of(&text) {
        let Piece::Tag(tag) = piece else { continue };
        match tag.name.as_str() {
            "base" => base = base.or_else(|| tag.get("href").filter(|href| is_address(href)).map(str::to_owned)),
            "meta" => match (tag.get("name").unwrap_or_default().to_ascii_lowercase().as_str(), tag.get("content").unwrap_or_default()) {
                ("pypi:repository-version", version) => {
                    check_version(version)?;
                    is_index = true;
                }
                ("pypi:project-status", status) => page.status = Status::parse(status).unwrap_or_default(),
                ("pypi:project-status-reason", reason) => page.reason = shorten(reason, LONGEST_TEXT),
                _ => {}
            },
            "a" => match html_file(&tag, base.as_deref()) {
                Some(file) => page.files.push(file),
                None => is_site = true,
            },
            "form" | "input" | "script" | "iframe" | "frame" | "img" => is_site = true,
            _ => {}
        }
        if page.files.len() > MOST_FILES {
            return Err(refuse(&format!("it has more than {MOST_FILES} files")));
        }
    }
    // The page of a captive portal, or a notice that the site is being worked on.
    if page.files.is_empty() && is_site && !is_index {
        return Err(refuse("it is some other page of a site"));
    }
    page.versions =
        version::distinct(page.files.iter().filter_map(|file| version::of_filename(project, &file.filename))).into_iter().map(version::normalise).collect();
    Ok(page)
}

fn html_file(tag: &Tag, base: Option<&str>) -> Option<PageFile> {
    let href = tag.get("href").map(str::trim).filter(|href| is_address(href))?;
    let (url, fragment) = href.split_once('#').unwrap_or((href, ""));
    let path = url.split('?').next().unwrap_or(url);
    // Without a path there is only the name of a host.
    let path = path.split_once("://").map_or(path, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let name = percent_encoding::percent_decode_str(path.rsplit('/').next().unwrap_or(path)).decode_utf8().ok()?;
    if !is_filename(&name) || version::stem(&name).is_none() || matches!(tag.get("rel"), Some("homepage")) {
        return None;
    }
    let said = |name: &str| tag.get(name);
    let metadata = said("data-core-metadata").or_else(|| said("data-dist-info-metadata"));
    Some(PageFile {
        filename: name.into_owned(),
        url: join(base, url),
        hashes: fragment
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter_map(|(algorithm, digest)| hash(algorithm, digest))
            .take(MOST_HASHES)
            .collect(),
        requires_python: said("data-requires-python").filter(|text| !text.trim().is_empty()).map(|text| shorten(text, LONGEST_TEXT)),
        size: None,
        upload_time: None,
        yanked: said("data-yanked").map(|reason| shorten(reason, LONGEST_TEXT)),
        core_metadata: match metadata {
            None => CoreMetadata::None,
            Some(text) if text.eq_ignore_ascii_case("false") => CoreMetadata::None,
            Some(text) => text
                .split_once('=')
                .and_then(|(algorithm, digest)| hash(algorithm, digest))
                .map_or(CoreMetadata::Unhashed, |hash| CoreMetadata::Hashed(BTreeMap::from([hash]))),
        },
        gpg_sig: said("data-gpg-sig").and_then(|text| text.parse().ok()),
        provenance: said("data-provenance").filter(|url| is_address(url)).map(str::to_owned),
    })
}

/// An address in a page with a `base`; whoever asks for it removes the dots.
fn join(base: Option<&str>, url: &str) -> String {
    let Some(base) = base.map(|base| without_fragment(base).split('?').next().unwrap_or_default()) else { return url.to_owned() };
    if url.contains("://") {
        return url.to_owned();
    }
    let (scheme, rest) = base.split_once("://").map_or(("", base), |(scheme, rest)| (scheme, rest));
    let host = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or(rest) };
    let origin = if scheme.is_empty() { String::new() } else { format!("{scheme}://{host}") };
    if url.starts_with("//") {
        return if scheme.is_empty() { url.to_owned() } else { format!("{scheme}:{url}") };
    }
    if url.starts_with('/') {
        return format!("{origin}{url}");
    }
    match rest.get(host.len()..).and_then(|path| path.rsplit_once('/')) {
        Some((folder, _)) => format!("{origin}{folder}/{url}"),
        None if scheme.is_empty() => url.to_owned(),
        None => format!("{origin}/{url}"),
    }
}

/// The names of a list of projects.
///
/// # Errors
/// 502 when it is no such list.
pub fn projects(document: &[u8]) -> Result<Vec<String>> {
    let mut names: Vec<String> = if is_json(document) {
        #[derive(Deserialize)]
        struct Project<'a> {
            #[serde(borrow)]
            name: std::borrow::Cow<'a, str>,
        }
        let (outline, _) = outline(document)?;
        let projects = outline.projects.ok_or_else(|| refuse("it has no projects"))?;
        let names = projects.iter().take(MOST_PROJECTS).filter_map(|raw| serde_json::from_str::<Project<'_>>(raw.get()).ok()?.name.into_owned().into());
        names.filter(|name| name::is_valid(name)).collect()
    } else {
        let text = markup(document)?;
        let links = Pieces::of(&text).filter_map(|piece| match piece {
            Piece::Tag(tag) if tag.name == "a" => tag.get("href").map(str::to_owned),
            _ => None,
        });
        let name = |href: String| {
            let path = href.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
            let name = percent_encoding::percent_decode_str(path.rsplit('/').next().unwrap_or_default()).decode_utf8().ok()?.into_owned();
            name::is_valid(&name).then_some(name)
        };
        let names: Vec<String> = links.filter_map(name).take(MOST_PROJECTS).collect();
        if names.is_empty() && !text.contains("pypi:repository-version") && !text.to_ascii_lowercase().contains("simple index") {
            return Err(refuse("it lists no projects"));
        }
        names
    };
    names.sort_by_cached_key(|name| name::normalise(name));
    names.dedup_by_key(|name| name::normalise(name));
    Ok(names)
}

#[cfg(test)]
mod tests;
