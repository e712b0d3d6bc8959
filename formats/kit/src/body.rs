//! Bodies: streams of bytes with a bound wherever they are collected.

use std::io::Read as _;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};

use crate::error::{Error, Result};
use crate::limit::LimitedReader;

/// A stream of bytes that may fail on the way.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// The body of a request.
pub struct Body {
    stream: ByteStream,
    length: Option<u64>,
}

impl Body {
    /// A body that streams; `length` is what `Content-Length` said, if anything.
    #[must_use]
    pub fn new(stream: ByteStream, length: Option<u64>) -> Self {
        Self { stream, length }
    }

    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// What `Content-Length` announced. `None` for chunked bodies.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// What broke the transfer: the client went away, or sent more than the server takes.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.stream.next().await.transpose()
    }

    /// The whole body, for small documents.
    ///
    /// # Errors
    /// 413 when it is longer than `limit` bytes.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes> {
        let too_large = || Error::too_large(format!("the body is larger than the {limit} bytes that are allowed here"));
        if self.length.is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let mut collected = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if collected.len() + bytes.len() > limit {
                return Err(too_large());
            }
            collected.extend_from_slice(&bytes);
        }
        Ok(collected.freeze())
    }

    /// The whole body with its `Content-Encoding: gzip` undone; `limit` bounds both forms.
    ///
    /// # Errors
    /// 413 over the limit, 415 for another encoding, 400 when it is not gzip.
    pub async fn collect_decoded(self, headers: &http::HeaderMap, limit: usize) -> Result<Bytes> {
        match headers.get(http::header::CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
            None | Some(b"identity" | b"") => self.collect(limit).await,
            Some(b"gzip" | b"x-gzip") => {
                let packed = self.collect(limit).await?;
                crate::blocking(move || {
                    let mut plain = Vec::new();
                    let decoder = flate2::bufread::MultiGzDecoder::new(&*packed);
                    LimitedReader::new(decoder, limit as u64).read_to_end(&mut plain).map_err(|error| match error.kind() {
                        std::io::ErrorKind::FileTooLarge => Error::too_large(format!("the body unpacks to more than the {limit} bytes that are allowed here")),
                        _ => Error::bad_request("the body is not valid gzip"),
                    })?;
                    Ok(Bytes::from(plain))
                })
                .await
            }
            Some(_) => Err(Error::new(http::StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body plain or with Content-Encoding: gzip")),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let length = Some(bytes.len() as u64);
        Self { stream: Box::pin(futures::stream::iter((!bytes.is_empty()).then_some(Ok(bytes)))), length }
    }
}
