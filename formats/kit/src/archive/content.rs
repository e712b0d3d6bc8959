//! An archive's entry as a body: held in memory, or unpacked while it is sent.

use std::io::{Cursor, Read};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;

use super::broken;
use crate::blocking;
use crate::body::ByteStream;
use crate::digest::{Digests, Sha256Digest};
use crate::error::Result;
use crate::records::{Content, Entry, File, ReadSeek};

/// Bytes that are unpacked per hop to where blocking is allowed.
const CHUNK: usize = 256 * 1024;

struct Held(Bytes);

#[async_trait]
impl Content for Held {
    fn size(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    async fn stream(&self, range: Option<Range<u64>>) -> Result<ByteStream> {
        let position = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.0.len());
        let bytes = match range {
            Some(range) => self.0.slice(position(range.start)..position(range.end).max(position(range.start))),
            None => self.0.clone(),
        };
        Ok(Box::pin(stream::iter((!bytes.is_empty()).then_some(Ok(bytes)))))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Cursor::new(self.0.clone())))
    }
}

/// A small entry of the archive `file` as a file of its own.
pub(super) fn held(file: File, inner: &str, bytes: Vec<u8>, content_type: &str) -> File {
    let entry = Entry {
        path: format!("{}!/{inner}", file.entry.path),
        digest: Some(Sha256Digest::of(&bytes)),
        size: Some(bytes.len() as u64),
        digests: Digests::new(),
        content_type: Some(content_type.to_owned()),
        data: String::new(),
        ..file.entry
    };
    File { entry, content: Arc::new(Held(bytes.into())), source: file.source, mutable: file.mutable }
}

/// What a reader gives as a stream: it unpacks as fast as the client reads: between two chunks nothing waits on a thread.
#[must_use]
pub fn streamed(reader: Box<dyn Read + Send>) -> ByteStream {
    Box::pin(stream::try_unfold(reader, |mut reader| async move {
        let (chunk, reader) = blocking(move || {
            let mut chunk = Vec::with_capacity(CHUNK);
            reader.by_ref().take(CHUNK as u64).read_to_end(&mut chunk).map_err(|error| broken(&error))?;
            Ok((chunk, reader))
        })
        .await?;
        Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), reader)))
    }))
}
