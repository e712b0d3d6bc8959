//! Entries of archives: `folder/file.zip!/inner/path` is one of them, `folder/file.zip!/` lists them.
//!
//! Formats whose files are archives serve these addresses by [`split`] and [`get`]; [`walk`] and [`open`] are for what is looked into otherwise.
//! Archives are hostile until read: every length, count and decompressed size is bounded, nothing but plain files is served,
//! and names that could mean another path to someone else condemn the whole archive.

mod content;
mod tarball;
mod window;
mod zipfile;

use std::io::{self, Read as _};

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use serde_json::{Value, json};

pub use content::streamed;

use crate::blocking;
use crate::digest::Sha256Digest;
use crate::error::{Error, Result};
use crate::html::{self, escape};
use crate::listing::wants_html;
use crate::path::{check_segments, encode_path};
use crate::records::{File, ReadSeek};
use crate::request::{Request, Response, ResponseBody};

/// Most entries of an archive that is looked into.
const MOST_MEMBERS: usize = 100_000;
/// Most bytes of one entry.
const LARGEST_MEMBER: u64 = 2 << 30;
/// Entries up to this size are held in memory, with ranges and a digest of their own; larger ones are streamed.
const HELD: u64 = 1 << 20;
/// Members on a page when the client does not say, and at most.
const PAGE: usize = 1000;
const MOST_ON_PAGE: usize = 10_000;

/// What a browser may do with a page of an archive (of a javadoc jar, say) that is shown and not saved: look as the archive's own styles and
/// images make it look. No script of it runs, no form of it is sent, and it is of no origin, so that it is signed in nowhere.
const SHOWN: &str = "sandbox; default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// A kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ZIP, and all that is one: jars, wheels.
    Zip,
    /// A plain tar.
    Tar,
    /// A tar packed with gzip.
    TarGz,
}

/// How a format shows entries of archives.
#[derive(Debug, Clone, Copy)]
pub struct Browsing {
    /// The media type that a name says.
    pub media: fn(&str) -> &'static str,
    /// Whether pages open in browsers, in a sandbox; else they are saved.
    pub pages: bool,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".tar.gz", ".tgz", ".crate"]) {
            Some(Self::TarGz)
        } else if ends(&[".tar"]) {
            Some(Self::Tar)
        } else if ends(&[".zip", ".jar", ".war", ".ear", ".aar", ".whl", ".nupkg"]) {
            Some(Self::Zip)
        } else {
            None
        }
    }
}

/// A path that goes on inside an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inside<'a> {
    /// The kind of the archive, by its name.
    pub kind: Kind,
    /// Its path.
    pub archive: &'a str,
    /// Empty for the list of all.
    pub inner: &'a str,
}

/// Splits at the first `!` that ends the name of an archive and has a slash behind it. Other `!` are part of names.
#[must_use]
pub fn split(path: &str, trailing_slash: bool) -> Option<Inside<'_>> {
    let ends = path.match_indices("!/").map(|(at, _)| at).chain(path.strip_suffix('!').filter(|_| trailing_slash).map(str::len));
    let mut inside = ends.filter_map(|at| {
        let archive = path.get(..at)?;
        let name = archive.rsplit('/').next()?;
        Some(Inside { kind: Kind::of(name)?, archive, inner: path.get(at + 2..).unwrap_or_default() })
    });
    inside.next()
}

/// Where an entry's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a ZIP: where its local header is, and how it is packed.
    Zip {
        /// The place of the local header.
        header: u64,
        /// Bytes in the archive.
        packed: u64,
        /// By deflate; else not at all.
        deflated: bool,
        /// The checksum.
        crc: u32,
    },
    /// In a tar: where its bytes begin, after decompression.
    Tar {
        /// The place.
        offset: u64,
    },
    /// Nowhere that is served: why not.
    Refused(
        /// What it is: `a link`.
        &'static str,
    ),
}

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, checked; folders are passed over.
    pub path: String,
    /// Its bytes, unpacked.
    pub size: u64,
    /// Where they are.
    pub place: Place,
}

/// Shows every member to `visit`, in the archive's order. For where blocking is allowed.
///
/// # Errors
/// 422 for what is no such archive, has a name that is no plain relative path, or too many of them; those of `visit`.
pub fn walk(kind: Kind, reader: Box<dyn ReadSeek>, size: u64, visit: &mut dyn FnMut(Member) -> Result<()>) -> Result<()> {
    let mut count = 0;
    let mut checked = |mut member: Member| {
        count += 1;
        if count > MOST_MEMBERS {
            return Err(Error::unprocessable(format!("the archive has more than {MOST_MEMBERS} entries")));
        }
        if let Some(rest) = member.path.strip_prefix("./") {
            member.path = rest.to_owned();
        }
        check_segments(&member.path)
            .map_err(|_| Error::unprocessable("the archive has an entry whose name is no plain relative path; it is not looked into"))?;
        visit(member)
    };
    match kind {
        Kind::Zip => zipfile::walk(reader, &mut checked),
        Kind::Tar => tarball::walk(tarball::plain(reader)?, size, &mut checked),
        Kind::TarGz => tarball::walk(tarball::unpacked(reader, size), tarball::bound(size), &mut checked),
    }
}

/// The bytes of a member: exactly as many as it says, or an error. For where blocking is allowed.
///
/// # Errors
/// 422 for a member that is refused or not where the archive says.
pub fn open(kind: Kind, reader: Box<dyn ReadSeek>, archive_size: u64, member: &Member) -> Result<Box<dyn io::Read + Send>> {
    match (kind, member.place) {
        (_, Place::Refused(why)) => Err(Error::unprocessable(format!("{:?} is {why}: only plain files of an archive are served", member.path))),
        (Kind::Zip, Place::Zip { header, packed, deflated, crc }) => zipfile::open(reader, header, packed, deflated, crc, member.size),
        (Kind::Tar, Place::Tar { offset }) => tarball::open(tarball::plain(reader)?, offset, member.size),
        (Kind::TarGz, Place::Tar { offset }) => tarball::open(tarball::unpacked(reader, archive_size), offset, member.size),
        _ => Err(Error::internal("a member of another kind of archive")),
    }
}

/// What reading an archive failed of, for the caller.
fn broken(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Error::unprocessable("the archive unpacks to more than is looked into, or to more than it says"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other | io::ErrorKind::Unsupported => {
            Error::unprocessable("the archive is damaged or not of the kind that its name says")
        }
        _ => Error::internal(error.to_string()),
    }
}

/// Answers for a path inside an archive, which was found as `file`.
///
/// # Errors
/// 404 for what is not in it, 413 for what is too large, 422 for what cannot be read.
pub async fn get(file: File, request: Request, inside: Inside<'_>, browsing: Browsing) -> Result<Response> {
    let Inside { kind, archive, inner } = inside;
    let reader = file.content.reader().await?;
    let size = file.content.size().or(file.entry.size).unwrap_or_default();
    if inner.is_empty() {
        return list(request, archive, kind, reader, size).await;
    }
    if request.path.trailing_slash() {
        return Err(Error::not_found(format!("folders inside archives are not listed one by one: ask for \"{archive}!/\"")));
    }
    let wanted = inner.to_owned();
    let (member, reader) = {
        let again = file.content.reader().await?;
        let found = blocking(move || find(kind, reader, size, &wanted)).await?;
        (found.ok_or_else(|| Error::not_found(format!("there is no {inner:?} in {archive:?}")))?, again)
    };
    if member.size > LARGEST_MEMBER {
        return Err(Error::too_large(format!("{inner:?} is larger than the {LARGEST_MEMBER} bytes that are unpacked here: download the archive")));
    }
    let content_type = (browsing.media)(inner);
    // What a page needs besides is taken from here by browsers whatever it says of being saved.
    let is_page = browsing.pages && content_type.starts_with("text/html");
    if member.size <= HELD {
        let bytes = blocking(move || {
            let mut bytes = Vec::new();
            open(kind, reader, size, &member)?.read_to_end(&mut bytes).map_err(|error| broken(&error))?;
            Ok(bytes)
        })
        .await?;
        let response = Response::file(content::held(file, inner, bytes, content_type));
        return Ok(if is_page { response.with_header(CONTENT_SECURITY_POLICY, SHOWN) } else { response });
    }
    let etag = tag(&file, inner);
    if let Some(etag) = &etag {
        let tags = request.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        if tags.map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag) {
            return Ok(Response::empty(StatusCode::NOT_MODIFIED).with_header(ETAG, etag));
        }
    }
    let open = blocking(move || open(kind, reader, size, &member)).await?;
    let mut response = Response::empty(StatusCode::OK);
    response.body = ResponseBody::Stream(content::streamed(open));
    let response = response.with_header(CONTENT_TYPE, content_type).with_header(CACHE_CONTROL, "no-cache");
    let response = if is_page { response.with_header(CONTENT_SECURITY_POLICY, SHOWN) } else { response.with_header(CONTENT_DISPOSITION, "attachment") };
    Ok(match etag {
        Some(etag) => response.with_header(ETAG, &etag),
        None => response,
    })
}

/// The strong `ETag` of an entry that is not hashed: that of its archive, and its name.
fn tag(file: &File, inner: &str) -> Option<String> {
    let mut name = Sha256Digest::of(format!("{}!/{inner}", file.entry.digest?).as_bytes()).hex();
    name.truncate(32);
    Some(format!("\"{name}\""))
}

fn find(kind: Kind, reader: Box<dyn ReadSeek>, size: u64, wanted: &str) -> Result<Option<Member>> {
    let mut found = None;
    walk(kind, reader, size, &mut |member| {
        if member.path != wanted {
            return Ok(());
        }
        // Unpackers disagree on which of two counts.
        if found.replace(member).is_some() {
            return Err(Error::unprocessable(format!("the archive has {wanted:?} more than once: download it to decide which to take")));
        }
        Ok(())
    })?;
    Ok(found)
}

async fn list(request: Request, archive: &str, kind: Kind, reader: Box<dyn ReadSeek>, size: u64) -> Result<Response> {
    let (after, limit) = (request.query.number("after", 0, MOST_MEMBERS), request.query.number("limit", PAGE, MOST_ON_PAGE).max(1));
    let html = wants_html(&request)?;
    let (members, count) = blocking(move || {
        let (mut members, mut count) = (Vec::new(), 0);
        walk(kind, reader, size, &mut |member| {
            if count >= after && members.len() < limit {
                members.push(member);
            }
            count += 1;
            Ok(())
        })?;
        Ok((members, count))
    })
    .await?;
    let end = after + members.len();
    let next = (end < count).then_some(end);
    let response = if html {
        let row = |member: &Member| {
            let link = format!("{}/{}!/{}", request.base.path, encode_path(archive), encode_path(&member.path));
            format!("<tr><td><a href=\"{link}\">{}</a></td><td>{}</td><td></td></tr>\n", escape(&member.path), member.size)
        };
        let more = next.map_or_else(String::new, |next| format!("<p><a href=\"?after={next}&amp;limit={limit}\">more</a></p>\n"));
        html::table(&escape(&format!("/{archive}!/")), &members.iter().map(row).collect::<String>(), &more)
    } else {
        let items: Vec<Value> = members.iter().map(as_json).collect();
        Response::json(StatusCode::OK, &json!({ "path": format!("{archive}!/"), "items": items, "count": count, "after": next }))?
    };
    Ok(response.with_header(VARY, "Accept"))
}

fn as_json(member: &Member) -> Value {
    match member.place {
        Place::Refused(why) => json!({ "path": member.path, "size": member.size, "type": why }),
        _ => json!({ "path": member.path, "size": member.size, "type": "file" }),
    }
}

#[cfg(test)]
mod tests;
