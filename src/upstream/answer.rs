//! What comes back from an upstream.

use std::io::Read as _;

use bytes::Bytes;
use entrepot_kit::{Body, ByteStream, Error, LimitedReader};
use http::StatusCode;

/// An answer of an upstream whose body has yet to arrive.
pub struct Fetched {
    /// A success, 304 (only after a conditional request), 404, 410 or another client error but 407, 408 and 429. 401 and 403 only where the
    /// upstream said how to sign in, that was done, and the answer was still no: for all that is known, there is no such thing.
    pub status: StatusCode,
    /// The validator of this representation.
    pub etag: Option<String>,
    /// When the upstream says it was changed.
    pub last_modified: Option<String>,
    /// The media type.
    pub content_type: Option<String>,
    /// How many bytes the body has, as sent; a `HEAD`'s answer says what a `GET` would have.
    pub length: Option<u64>,
    /// Encodings that the body is still in; `None` for none.
    pub content_encoding: Option<String>,
    /// What [`super::Fetch::named_by`] asked for.
    pub name: Option<String>,
    /// The next page, if the upstream names one.
    pub next: Option<String>,
    /// Where the answer came from after redirects, without query: signed links carry their signature there.
    pub url: String,
    /// The body. It ends cleanly only when it is whole.
    pub body: ByteStream,
}

impl Fetched {
    /// Reads a small document whole and undoes gzip; `limit` bounds both forms.
    ///
    /// # Errors
    /// What broke the transfer, an encoding other than gzip, or a document over the limit.
    pub async fn document(self, limit: usize) -> Result<Bytes, UpstreamError> {
        let broken = |error: Error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                UpstreamError::BadAnswer(format!("the upstream's document is larger than the {limit} bytes that are allowed for one"))
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                UpstreamError::Unreachable { retry_after: error.retry_after().unwrap_or(1), cause: error.message().to_owned(), answered: false }
            }
            _ => UpstreamError::BadAnswer(error.message().to_owned()),
        };
        let raw = Body::new(self.body, None).collect(limit).await.map_err(broken)?;
        match self.content_encoding.as_deref() {
            None => Ok(raw),
            Some(encoding) if encoding.eq_ignore_ascii_case("gzip") || encoding.eq_ignore_ascii_case("x-gzip") => gunzip(raw, limit).await,
            Some(encoding) => Err(UpstreamError::BadAnswer(format!("the upstream sent a document in the encoding {encoding:?}, which was not asked for"))),
        }
    }
}

/// Undoes gzip on a blocking thread; fails rather than return more than `limit` bytes.
async fn gunzip(packed: Bytes, limit: usize) -> Result<Bytes, UpstreamError> {
    let unpack = move || {
        let mut plain = Vec::new();
        LimitedReader::new(flate2::bufread::MultiGzDecoder::new(&*packed), limit as u64).read_to_end(&mut plain).map(|_| Bytes::from(plain)).map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::FileTooLarge => format!("the upstream's document unpacks to more than the {limit} bytes that are allowed for one"),
                _ => "the upstream's document is not the gzip that it claims to be".to_owned(),
            }
        })
    };
    match tokio::task::spawn_blocking(unpack).await {
        Ok(result) => result.map_err(UpstreamError::BadAnswer),
        Err(error) => Err(UpstreamError::Unreachable { retry_after: 1, cause: error.to_string(), answered: false }),
    }
}

/// Why there is no usable answer. Never holds credentials or the query of a URL; may name hosts and addresses, so
/// callers get less than the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// It could not be reached, is overloaded or broken: a stale copy helps, and asking again later.
    #[error("the upstream cannot be reached: {cause}")]
    Unreachable {
        /// Seconds after which a new request has a chance.
        retry_after: u32,
        /// What happened, for the log.
        cause: String,
        /// It did answer, with an error of HTTP.
        answered: bool,
    },
    /// It answered with something that is of no use.
    #[error("{0}")]
    BadAnswer(String),
    /// A rule of ours forbids to go where it points.
    #[error("{0}")]
    Refused(String),
}

/// Whether an error says that an upstream gave no answer at all: it refused, its name is unknown, it took too long.
pub(crate) fn is_out_of_reach(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<UpstreamError>());
    matches!(source, Some(UpstreamError::Unreachable { answered: false, .. }))
}

impl From<UpstreamError> for Error {
    fn from(error: UpstreamError) -> Self {
        match &error {
            UpstreamError::Unreachable { retry_after, .. } => {
                Self::unavailable("the upstream of this repository cannot be reached at the moment: try again later", *retry_after).with_source(error)
            }
            UpstreamError::BadAnswer(message) => Self::bad_gateway(message.clone()),
            UpstreamError::Refused(_) => {
                Self::bad_gateway("the upstream of this repository points to an address that the server must not fetch from; the server's log names it")
                    .with_source(error)
            }
        }
    }
}
