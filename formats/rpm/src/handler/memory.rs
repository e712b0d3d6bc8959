//! Bytes in memory as a file: ranges, validators and the rest are then the server's work as for any other.

use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::body::ByteStream;
use entrepot_kit::records::Content;
use entrepot_kit::{Digests, Entry, File, ReadSeek, Result, Sha256Digest, Source, Timestamp};

struct InMemory(Bytes);

impl InMemory {
    fn part(&self, range: Option<Range<u64>>) -> Bytes {
        let length = self.0.len();
        let place = |at: u64| usize::try_from(at).unwrap_or(length).min(length);
        let Some(range) = range else { return self.0.clone() };
        let (start, end) = (place(range.start), place(range.end));
        self.0.slice(start.min(end)..end)
    }
}

#[async_trait::async_trait]
impl Content for InMemory {
    fn size(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    async fn stream(&self, range: Option<Range<u64>>) -> Result<ByteStream> {
        Ok(Box::pin(futures::stream::iter([Ok(self.part(range))])))
    }

    fn bytes(&self, range: Range<u64>) -> Option<Bytes> {
        Some(self.part(Some(range)))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Cursor::new(self.0.clone())))
    }
}

/// A file that never changes.
pub(super) fn file(path: &str, bytes: Bytes, sha256: Sha256Digest, media_type: &str, created: Timestamp) -> File {
    let entry = Entry {
        path: path.to_owned(),
        digest: Some(sha256),
        size: Some(bytes.len() as u64),
        digests: Digests::new(),
        content_type: Some(media_type.to_owned()),
        data: String::new(),
        created,
        package: None,
        version: None,
    };
    File { entry, content: Arc::new(InMemory(bytes)), source: Source::Hosted, mutable: false }
}
