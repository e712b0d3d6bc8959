//! From a format's response to bytes on the wire: validators, ranges, compression, and the headers that keep browsers safe.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;

use actix_web::body::{BodySize, MessageBody, SizedStream};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use entrepot_kit::records::DirectHeaders;
use entrepot_kit::{Document, Error, File, Format, Response, ResponseBody, Result};
use futures::StreamExt as _;

use crate::http::conditional::{Wanted, accepts_gzip, none_match, range_applies, wanted};
use crate::http::sending::FilePart;

/// What of a request decides the form of its answer.
pub(crate) struct Asked<'a> {
    /// The request's headers.
    pub(crate) headers: &'a http::HeaderMap,
    /// The answer depends on who asks: shared caches must not keep it.
    pub(crate) private: bool,
    /// The view can never change.
    pub(crate) frozen: bool,
    /// A file may be sent by the storage itself.
    pub(crate) may_redirect: bool,
    /// A file is to be saved under its name, whatever it is.
    pub(crate) is_saved: bool,
}

impl Asked<'_> {
    fn header(&self, name: http::header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the storage would understand the request as we do. It knows a file by other validators, and its objects are older than the
    /// paths that lead to them: it would say 304 to a client that has something else. `If-None-Match` is safe, as each side has tags of
    /// its own, and so is `Range`.
    fn may_redirect(&self) -> bool {
        let ours = [http::header::IF_MATCH, http::header::IF_MODIFIED_SINCE, http::header::IF_UNMODIFIED_SINCE, http::header::IF_RANGE];
        self.may_redirect && !ours.iter().any(|name| self.headers.contains_key(name))
    }

    fn cache_control(&self, mutable: bool, max_age: Option<u32>) -> Cow<'static, str> {
        if let Some(seconds) = max_age.filter(|_| !self.frozen) {
            let (whose, then) = (if self.private { "private" } else { "public" }, if mutable { "must-revalidate" } else { "immutable" });
            return Cow::Owned(format!("{whose}, max-age={seconds}, {then}"));
        }
        Cow::Borrowed(match (self.private, mutable && !self.frozen) {
            (false, true) => "public, max-age=0, must-revalidate",
            (true, true) => "private, max-age=0, must-revalidate",
            (false, false) => "public, max-age=31536000, immutable",
            (true, false) => "private, max-age=31536000, immutable",
        })
    }
}

/// Makes the HTTP answer of a format's response.
pub(crate) async fn answer(response: Response, asked: &Asked<'_>, format: &dyn Format) -> Result<HttpResponse> {
    let mut builder = HttpResponse::build(StatusCode::from_u16(response.status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in &response.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_str().as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
            builder.append_header((name, value));
        }
    }
    builder.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    Ok(match response.body {
        ResponseBody::Empty => builder.finish(),
        ResponseBody::Bytes(bytes) => {
            if !response.headers.contains_key(http::header::CACHE_CONTROL) {
                builder.insert_header((header::CACHE_CONTROL, "no-cache"));
            }
            builder.body(bytes)
        }
        ResponseBody::Stream(stream) => builder.streaming(stream.map(|chunk| chunk.map_err(broken))),
        ResponseBody::Document(document) => send_document(builder, document, asked, response.max_age).await?,
        ResponseBody::File(file) => send_file(builder, file, asked, format, &response.headers, response.max_age).await?,
    })
}

/// A body that breaks must not end like a whole one: the connection is closed.
pub(crate) fn broken(error: Error) -> std::io::Error {
    tracing::warn!(%error, cause = ?std::error::Error::source(&error), "a body could not be sent to its end");
    std::io::Error::other(error)
}

/// The type of documents that are compressed as they are.
const GZIP: &str = "application/gzip";

async fn send_document(mut builder: HttpResponseBuilder, document: Arc<Document>, asked: &Asked<'_>, max_age: Option<u32>) -> Result<HttpResponse> {
    let zipped = document.content_type != GZIP && accepts_gzip(asked.header(http::header::ACCEPT_ENCODING)) && document.body.len() > 512;
    let gzip_tag = format!("{}-gzip", document.etag);
    let etag = if zipped { &gzip_tag } else { &document.etag };
    builder
        .insert_header((header::ETAG, format!("\"{etag}\"")))
        .insert_header((header::VARY, "Accept, Accept-Encoding, Authorization"))
        .insert_header((header::CACHE_CONTROL, asked.cache_control(true, max_age).as_ref()));
    if let Some(modified) = document.modified {
        builder.insert_header((header::LAST_MODIFIED, modified.http_date()));
    }
    // Either form's tag says that the client has the same document; only the form that it would get now may answer 304,
    // or a client that switched codings would pair the old body with the new tag.
    if asked.header(http::header::IF_NONE_MATCH).is_some_and(|header| none_match(header, &[etag])) {
        builder.status(StatusCode::NOT_MODIFIED);
        return Ok(builder.finish());
    }
    builder.insert_header((header::CONTENT_TYPE, document.content_type));
    if !zipped {
        return Ok(builder.body(document.body.clone()));
    }
    builder.insert_header((header::CONTENT_ENCODING, "gzip"));
    Ok(builder.body(gzip(document).await?))
}

/// The gzip form of a document, made once.
async fn gzip(document: Arc<Document>) -> Result<Bytes> {
    if let Some(zipped) = document.gzip.get() {
        return Ok(zipped.clone());
    }
    entrepot_kit::blocking(move || {
        let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(document.body.len() / 4), flate2::Compression::new(6));
        encoder.write_all(&document.body).map_err(Error::internal)?;
        let zipped = Bytes::from(encoder.finish().map_err(Error::internal)?);
        Ok(document.gzip.get_or_init(|| zipped).clone())
    })
    .await
}

async fn send_file(
    mut builder: HttpResponseBuilder,
    file: File,
    asked: &Asked<'_>,
    format: &dyn Format,
    set: &http::HeaderMap,
    max_age: Option<u32>,
) -> Result<HttpResponse> {
    // A format that names files by a digest of its own says so; else the blob's name is the tag.
    let said = set.get(http::header::ETAG).and_then(|value| value.to_str().ok()).map(|tag| tag.trim_matches('"').to_owned());
    let etag = said.or_else(|| file.entry.digest.map(|digest| digest.hex()));
    let last_modified = file.entry.created.http_date();
    let cache_control = asked.cache_control(file.mutable, max_age);
    builder.insert_header((header::CACHE_CONTROL, cache_control.as_ref()));
    if let Some(etag) = &etag {
        builder.insert_header((header::ETAG, format!("\"{etag}\""))).insert_header((header::LAST_MODIFIED, last_modified.clone()));
    }
    if asked.private {
        builder.insert_header((header::VARY, "Authorization"));
    }
    let not_modified = match (asked.header(http::header::IF_NONE_MATCH), asked.header(http::header::IF_MODIFIED_SINCE)) {
        (Some(header), _) => etag.as_deref().is_some_and(|etag| none_match(header, &[etag])),
        (None, Some(since)) => etag.is_some() && since == last_modified,
        (None, None) => false,
    };
    if not_modified {
        builder.status(StatusCode::NOT_MODIFIED);
        return Ok(builder.finish());
    }
    if let Some(header) = asked.header(http::header::IF_MATCH)
        && header.trim() != "*"
        && !etag.as_deref().is_some_and(|etag| none_match(header, &[etag]))
    {
        return Err(Error::new(http::StatusCode::PRECONDITION_FAILED, "the file is not the one that If-Match names"));
    }
    let content_type = set.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let content_type = content_type.or_else(|| file.entry.content_type.clone()).unwrap_or_else(|| String::from("application/octet-stream"));
    // The storage answers with the file's type and disposition, and with nothing else that the format said.
    let is_plain =
        ![http::header::CONTENT_ENCODING, http::header::CONTENT_DISPOSITION, http::header::CONTENT_SECURITY_POLICY].iter().any(|name| set.contains_key(name));
    // What a format shows in a sandbox of its own need not be saved.
    let is_sandboxed = set.get(http::header::CONTENT_SECURITY_POLICY).is_some_and(|policy| policy.as_bytes().starts_with(b"sandbox;"));
    let is_shown = is_sandboxed || format.shown_inline(&essence(&content_type));
    let disposition = (!is_shown || asked.is_saved).then(|| disposition(&file));
    if is_plain && asked.may_redirect() {
        let headers = DirectHeaders { content_type: content_type.clone(), disposition: disposition.clone(), cache_control };
        if let Some(url) = file.content.direct_url(headers).await? {
            return elsewhere(builder, &url);
        }
    }
    builder.insert_header((header::CONTENT_TYPE, content_type));
    if let Some(disposition) = disposition {
        builder.insert_header((header::CONTENT_DISPOSITION, disposition));
    }
    if !is_shown {
        builder.insert_header((header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"));
    }
    let Some(size) = file.content.size() else {
        return Ok(builder.streaming(file.content.stream(None).await?.map(|chunk| chunk.map_err(broken))));
    };
    builder.insert_header((header::ACCEPT_RANGES, "bytes"));
    let range = asked.header(http::header::RANGE).filter(|_| range_applies(asked.header(http::header::IF_RANGE), etag.as_deref(), &last_modified));
    let range = match wanted(range, size) {
        Wanted::Whole => 0..size,
        Wanted::Part(range) => {
            builder.status(StatusCode::PARTIAL_CONTENT);
            builder.insert_header((header::CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1)));
            range
        }
        Wanted::Unsatisfiable => {
            builder.status(StatusCode::RANGE_NOT_SATISFIABLE);
            builder.insert_header((header::CONTENT_RANGE, format!("bytes */{size}")));
            return Ok(builder.finish());
        }
    };
    if let Some(bytes) = file.content.bytes(range.clone()) {
        return Ok(builder.body(bytes));
    }
    let length = range.end - range.start;
    // The same bytes, for a connection over which the kernel can send them.
    let part = file.content.file().map(|file| FilePart::new(file, range.clone()));
    let stream = file.content.stream(Some(range)).await?;
    let body = SizedStream::new(length, stream.map(|chunk| chunk.map_err(|error| -> Box<dyn std::error::Error> { Box::new(broken(error)) })));
    debug_assert!(matches!(body.size(), BodySize::Sized(_)));
    let mut response = builder.body(body);
    if let Some(part) = part {
        response.extensions_mut().insert(part);
    }
    Ok(response)
}

/// Sends a client on to the storage. The URL lets in whoever knows it: no cache may keep it.
fn elsewhere(mut builder: HttpResponseBuilder, url: &str) -> Result<HttpResponse> {
    let location = HeaderValue::from_str(url).map_err(|_| Error::internal("the storage's URL is no header"))?;
    builder.status(StatusCode::TEMPORARY_REDIRECT).insert_header((header::LOCATION, location)).insert_header((header::CACHE_CONTROL, "no-store"));
    let mut response = builder.finish();
    // These are of the file, and this answer is not the file.
    for name in [header::ETAG, header::LAST_MODIFIED, header::CONTENT_TYPE] {
        response.headers_mut().remove(name);
    }
    Ok(response)
}

/// A media type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Keeps a stored file from running in a reader's browser under our name: the `Content-Disposition` of what is not to be shown there.
fn disposition(file: &File) -> String {
    let name = file.entry.path.rsplit('/').next().unwrap_or_default();
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-+@ ".contains(c) { c } else { '_' }).collect();
    let mut disposition = format!("attachment; filename=\"{plain}\"");
    if plain != name {
        disposition.push_str("; filename*=UTF-8''");
        disposition.push_str(&percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string());
    }
    disposition
}

/// Makes the HTTP answer of an error, in the words of the format that was asked (or plain JSON where none was).
pub(crate) fn refuse(error: &Error, format: Option<&dyn Format>) -> HttpResponse {
    refuse_with(error, format.map(|format| format.render_error(error)))
}

/// The same for container clients.
pub(crate) fn refuse_registry(error: &Error, format: Option<&dyn Format>) -> HttpResponse {
    refuse_with(error, format.map(|format| format.render_registry_error(error)))
}

fn refuse_with(error: &Error, rendered: Option<(&'static str, Bytes)>) -> HttpResponse {
    let status = StatusCode::from_u16(error.status().as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (content_type, body) = rendered.unwrap_or_else(|| ("application/json", Bytes::from(serde_json::json!({ "error": error.message() }).to_string())));
    let mut builder = HttpResponse::build(status);
    if let Some(reason) = error.reason() {
        builder.reason(reason);
    }
    builder
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if status == StatusCode::UNAUTHORIZED {
        builder.insert_header((header::WWW_AUTHENTICATE, "Basic realm=\"entrepot\", charset=\"UTF-8\""));
    }
    if let Some(seconds) = error.retry_after() {
        builder.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    if let Some(rule) = error.policy().and_then(|rule| HeaderValue::from_str(rule).ok()) {
        builder.insert_header((HeaderName::from_static("x-artifact-policy"), rule));
    }
    builder.body(body)
}

/// The refusal of a method, with those that would be taken.
pub(crate) fn method_not_allowed(methods: &[http::Method], format: Option<&dyn Format>, is_registry: bool) -> HttpResponse {
    let error = Error::new(http::StatusCode::METHOD_NOT_ALLOWED, "this address is not served by that method");
    let mut response = if is_registry { refuse_registry(&error, format) } else { refuse(&error, format) };
    let allow = methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", ");
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}
