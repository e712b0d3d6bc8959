//! Requests and responses as formats see them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};

use crate::body::{Body, ByteStream};
use crate::error::Result;
use crate::path::RequestPath;
use crate::records::{Document, File};
use crate::route::Captures;

/// Where clients reach the repository: what absolute URLs in documents begin with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    /// Scheme, host and port: `https://packages.example.com`.
    pub origin: String,
    /// The repository's path, with a leading and without a trailing slash; empty on a host of its own. It keeps the
    /// view of the past that the caller named: `/main/npm.at-r12`.
    pub path: String,
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// The query of a request, decoded.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`; `+` is a space. At most 64 pairs are kept.
    #[must_use]
    pub fn parse(raw: &str) -> Self {
        let decode = |text: &str| percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).take(64);
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The first value of `key` as a number, held within `0..=most`; `default` when absent or no number.
    #[must_use]
    pub fn number(&self, key: &str, default: usize, most: usize) -> usize {
        self.get(key).and_then(|value| value.parse().ok()).unwrap_or(default).min(most)
    }

    /// Every pair in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// A request that was routed and allowed.
pub struct Request {
    /// The method as the client sent it, `HEAD` included (whose answer is a `GET`'s without body).
    pub method: Method,
    /// The decoded path below the repository.
    pub path: RequestPath,
    /// What the route's template captured.
    pub captures: Captures,
    /// The decoded query.
    pub query: Query,
    /// The headers, credentials removed.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
    /// Where the caller reaches the repository.
    pub base: BaseUrl,
}

impl Request {
    /// A header as text; `None` when absent or not visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether `media_type` is named in `Accept` (a name only: wildcards and a `q` of 0 do not count).
    #[must_use]
    pub fn accepts(&self, media_type: &str) -> bool {
        self.headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type))
                && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    }
}

/// What a response carries. Ranges, conditional requests, compression and `HEAD` are the server's work.
pub enum ResponseBody {
    /// Nothing.
    Empty,
    /// A small answer.
    Bytes(Bytes),
    /// An index: strong `ETag`, gzip form, `304`.
    Document(Arc<Document>),
    /// A stored file: strong `ETag`, ranges, `304`.
    File(File),
    /// Bytes made on the way, of unknown length.
    Stream(ByteStream),
}

/// An answer.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Headers that the format sets; those that follow from the body are added later.
    pub headers: HeaderMap,
    /// The body.
    pub body: ResponseBody,
    /// How long caches may give a document or file without asking, in seconds, where a setting says so and not the kind of thing.
    pub max_age: Option<u32>,
}

impl Response {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: ResponseBody::Empty, max_age: None }
    }

    /// A small body with its media type.
    #[must_use]
    pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body: ResponseBody::Bytes(body.into()), max_age: None }
    }

    /// A small JSON body.
    ///
    /// # Errors
    /// 500 when the value cannot be written as JSON.
    pub fn json(status: StatusCode, value: &impl serde::Serialize) -> Result<Self> {
        let body = serde_json::to_vec(value).map_err(crate::Error::internal)?;
        Ok(Self::bytes(status, "application/json", body))
    }

    /// An index document.
    #[must_use]
    pub fn document(document: Arc<Document>) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: ResponseBody::Document(document), max_age: None }
    }

    /// A stored file.
    #[must_use]
    pub fn file(file: File) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: ResponseBody::File(file), max_age: None }
    }

    /// The same answer, which caches may give so many seconds without asking.
    #[must_use]
    pub fn with_max_age(mut self, seconds: u32) -> Self {
        self.max_age = Some(seconds);
        self
    }

    /// The same answer with one more header; a value that is not valid in a header is dropped.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}
