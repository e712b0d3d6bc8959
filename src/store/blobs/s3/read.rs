//! Reading objects: streams that survive a broken connection, and `Read + Seek` for blocking code.

use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream as Body;
use bytes::Bytes;
use entrepot_kit::records::{Content, DirectHeaders};
use entrepot_kit::{ByteStream, Error, ReadSeek, Result};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::Bucket;
use super::failure::{Reason, away, explained, failed, reason};
use crate::store::blobs::content::seek;
use crate::store::model::BlobPlace;

/// How long the next bytes may take.
const IDLE: Duration = Duration::from_secs(30);
/// How often one stream goes on after it broke.
const RESUMES: u32 = 4;
/// The wait before that, longer each time.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a URL opens an object: a client follows a redirect at once, and what began in time is sent to its end.
const DIRECT: Duration = Duration::from_secs(300);
/// Bytes that blocking code reads at once.
const AHEAD: u64 = 1 << 20;

/// A durable object.
struct Object {
    bucket: Bucket,
    key: String,
    digest: String,
    size: u64,
}

/// The object's bytes; nothing is asked yet.
pub(super) fn content(bucket: Bucket, key: String, place: &BlobPlace) -> Arc<dyn Content> {
    Arc::new(Shared(Arc::new(Object { bucket, key, digest: place.digest.to_string(), size: place.size })))
}

struct Shared(Arc<Object>);

#[async_trait]
impl Content for Shared {
    fn size(&self) -> Option<u64> {
        Some(self.0.size)
    }

    async fn stream(&self, range: Option<Range<u64>>) -> Result<ByteStream> {
        let object = Arc::clone(&self.0);
        let range = range.unwrap_or(0..object.size);
        let (next, end) = (range.start, range.end.min(object.size));
        if next >= end {
            return Ok(Box::pin(futures::stream::empty()));
        }
        // Before the answer has a head: an object that is missing or damaged is no whole answer.
        let (body, tag) = object.get(next..end, None).await?;
        let running = Running { object, body, tag, next, end, resumes: 0 };
        Ok(Box::pin(futures::stream::try_unfold(running, |mut running| async move { Ok(running.chunk().await?.map(|bytes| (bytes, running))) })))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Reader { object: Arc::clone(&self.0), position: 0, start: 0, buffer: Bytes::new() }))
    }

    async fn direct_url(&self, headers: DirectHeaders) -> Result<Option<String>> {
        let object = Arc::clone(&self.0);
        // Credentials of the standard chain may have to be fetched for the signature.
        on(&self.0.bucket.runtime, async move { object.sign(headers).await }).await
    }
}

impl Object {
    /// Asks for a range; gives its body and the tag of the object.
    async fn get(self: &Arc<Self>, range: Range<u64>, tag: Option<String>) -> Result<(Body, Option<String>)> {
        let object = Arc::clone(self);
        on(&self.bucket.runtime, async move { object.ask(range, tag).await }).await
    }

    async fn ask(&self, range: Range<u64>, tag: Option<String>) -> Result<(Body, Option<String>)> {
        let length = range.end.saturating_sub(range.start);
        let mut request = self.bucket.client.get_object().bucket(&*self.bucket.name).key(&self.key).set_if_match(tag);
        if length < self.size {
            request = request.range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        let answer = request.send().await.map_err(|error| match reason(&error) {
            Reason::Missing => self.lost(&explained("it is not there", &error)),
            Reason::Different => self.lost(&explained("it is not what it was", &error)),
            _ => failed("cannot get an object", error),
        })?;
        let (found, whole) = lengths(&answer);
        if found != Some(length) || (length < self.size && whole != Some(self.size)) {
            return Err(self.lost(&format!("asked for {length} of {} bytes, the storage has {found:?} of {whole:?}", self.size)));
        }
        Ok((answer.body, answer.e_tag))
    }

    /// A URL that opens this object to whoever knows it.
    async fn sign(&self, headers: DirectHeaders) -> Result<Option<String>> {
        let expiry = PresigningConfig::expires_in(DIRECT).map_err(Error::internal)?;
        let request = self.bucket.client.get_object().bucket(&*self.bucket.name).key(&self.key);
        let request = request.response_content_type(headers.content_type).set_response_content_disposition(headers.disposition);
        let mut request = request.response_cache_control(headers.cache_control).customize();
        if let Some(endpoint) = &self.bucket.public_endpoint {
            // The name of the host is signed with the rest.
            request = request.config_override(Builder::new().endpoint_url(&**endpoint));
        }
        let signed = request.presigned(expiry).await.map_err(|error| failed("cannot sign a URL", error))?;
        // A client that follows a redirect sends no headers that it does not know of.
        Ok(signed.headers().next().is_none().then(|| signed.uri().to_owned()))
    }

    fn lost(&self, what: &str) -> Error {
        Error::internal(format!("blob {}: {what}", self.digest))
    }

    /// A range as a whole.
    async fn read(self: &Arc<Self>, range: Range<u64>) -> Result<Bytes> {
        let (body, tag) = self.get(range.clone(), None).await?;
        let mut running = Running { object: Arc::clone(self), body, tag, next: range.start, end: range.end, resumes: 0 };
        let mut bytes = Vec::with_capacity(usize::try_from(range.end.saturating_sub(range.start)).map_err(Error::internal)?);
        while let Some(chunk) = running.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }
}

/// The length of the answer, and of the whole object where the answer is a part of it.
fn lengths(answer: &GetObjectOutput) -> (Option<u64>, Option<u64>) {
    let whole = answer.content_range().and_then(|range| range.rsplit('/').next()).and_then(|whole| whole.parse().ok());
    (answer.content_length().and_then(|length| u64::try_from(length).ok()), whole)
}

/// Waits for work on another runtime, which ends when nobody waits any more.
async fn on<T: Send + 'static>(runtime: &Handle, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    struct Waited<T>(JoinHandle<T>);
    impl<T> Drop for Waited<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let mut waited = Waited(runtime.spawn(work));
    (&mut waited.0).await.map_err(Error::internal)?
}

/// A stream under way.
struct Running {
    object: Arc<Object>,
    body: Body,
    tag: Option<String>,
    next: u64,
    end: u64,
    resumes: u32,
}

impl Running {
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while self.next < self.end {
            let broken = match tokio::time::timeout(IDLE, self.body.next()).await {
                Ok(Some(Ok(bytes))) if bytes.is_empty() => continue,
                Ok(Some(Ok(bytes))) if bytes.len() as u64 <= self.end - self.next => {
                    self.next += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Ok(Some(Ok(_))) => return Err(self.object.lost("more bytes came than were asked for")),
                Ok(Some(Err(cause))) => cause.to_string(),
                Ok(None) => String::from("the connection ended"),
                Err(_) => format!("no byte came for {} s", IDLE.as_secs()),
            };
            self.resume(broken).await?;
        }
        Ok(None)
    }

    /// Goes on from where it broke, on the very same object.
    async fn resume(&mut self, broken: String) -> Result<()> {
        if self.resumes == RESUMES {
            return Err(away(format!("S3: blob {} broke off at byte {} again and again: {broken}", self.object.digest, self.next)));
        }
        self.resumes += 1;
        tokio::time::sleep(PAUSE * self.resumes).await;
        tracing::debug!(blob = self.object.digest, at = self.next, broken, "a stream from the storage goes on after it broke");
        let (body, tag) = self.object.get(self.next..self.end, self.tag.clone()).await?;
        (self.body, self.tag) = (body, tag);
        Ok(())
    }
}

/// `Read + Seek` in ranges, for blocking threads only.
struct Reader {
    object: Arc<Object>,
    position: u64,
    /// Where `buffer` begins.
    start: u64,
    buffer: Bytes,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || self.position >= self.object.size {
            return Ok(0);
        }
        if self.position < self.start || self.position >= self.start + self.buffer.len() as u64 {
            let range = self.position..self.object.size.min(self.position.saturating_add(AHEAD));
            self.buffer = self.object.bucket.runtime.block_on(self.object.read(range)).map_err(|error| io::Error::other(Failure(error)))?;
            self.start = self.position;
        }
        let skip = usize::try_from(self.position - self.start).map_err(io::Error::other)?;
        let read = self.buffer.get(skip..).unwrap_or_default().read(into)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek(to, self.position, self.object.size)?;
        Ok(self.position)
    }
}

/// An answer as the cause of a failed read.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message())]
struct Failure(#[source] Error);
