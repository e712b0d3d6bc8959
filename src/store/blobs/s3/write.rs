//! Uploads: one request for what is small, several at once for the rest.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrepot_kit::{Error, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use md5::{Digest as _, Md5};
use tokio::sync::SemaphorePermit;

use super::Bucket;
use super::client::patient;
use super::failure::{Reason, away, failed, reason};
use crate::store::blobs::content::read_exact_at;
use crate::store::blobs::storage_failed;

/// The largest object that is put in one request, and the size of parts.
pub(super) const PART: u64 = 8 << 20;
/// Most parts that S3 takes.
const MOST_PARTS: u64 = 10_000;
/// Parts of one object that are sent at once.
const PARALLEL: usize = 4;
/// Bytes that are read from the spooled file at once.
const CHUNK: u64 = 256 * 1024;

/// A body on local disk.
pub(in crate::store::blobs) struct Spooled {
    pub(in crate::store::blobs) file: Arc<File>,
    pub(in crate::store::blobs) path: PathBuf,
}

/// A piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    number: i32,
    at: u64,
    length: u64,
}

/// How a body of this size is cut: into at most as many parts as S3 takes, all but the last of the same size.
fn pieces(size: u64) -> impl Iterator<Item = Piece> {
    let length = PART.max(size.div_ceil(MOST_PARTS));
    (1..).zip(0..size.div_ceil(length)).map(move |(number, index)| Piece { number, at: index * length, length: length.min(size - index * length) })
}

impl Spooled {
    /// The piece as a body that can be sent again.
    async fn body(&self, piece: Piece) -> Result<ByteStream> {
        let body = ByteStream::read_from().path(&self.path).offset(piece.at).length(Length::Exact(piece.length));
        body.buffer_size(usize::try_from(CHUNK).unwrap_or(usize::MAX)).build().await.map_err(Error::internal)
    }

    /// What the piece must hash to when it has arrived.
    async fn md5(&self, piece: Piece) -> Result<String> {
        let file = Arc::clone(&self.file);
        let hash = move || {
            let mut hasher = Md5::new();
            for at in (piece.at..piece.at + piece.length).step_by(usize::try_from(CHUNK).unwrap_or(usize::MAX)) {
                hasher.update(read_exact_at(&file, at, CHUNK.min(piece.at + piece.length - at)).map_err(storage_failed)?);
            }
            Ok(STANDARD.encode(hasher.finalize()))
        };
        entrepot_kit::blocking(hash).await
    }
}

fn signed(length: u64) -> Result<i64> {
    i64::try_from(length).map_err(Error::internal)
}

impl Bucket {
    /// Writes an object. After an error there is none, or one that nobody knows of.
    pub(super) async fn upload(&self, key: &str, spooled: &Spooled, size: u64) -> Result<()> {
        if size > PART { self.upload_parts(key, spooled, size).await } else { self.put(key, spooled, Piece { number: 1, at: 0, length: size }).await }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.uploads.acquire().await.map_err(Error::internal)
    }

    async fn put(&self, key: &str, spooled: &Spooled, piece: Piece) -> Result<()> {
        let _turn = self.turn().await?;
        let request = self.client.put_object().bucket(&*self.name).key(key).content_md5(spooled.md5(piece).await?).content_length(signed(piece.length)?);
        let sent = request.body(spooled.body(piece).await?).customize().config_override(patient(piece.length)).send().await;
        sent.map(drop).map_err(|error| failed("cannot put an object", error))
    }

    async fn upload_parts(&self, key: &str, spooled: &Spooled, size: u64) -> Result<()> {
        let begun = self.client.create_multipart_upload().bucket(&*self.name).key(key).send().await;
        let id = begun.map_err(|error| failed("cannot begin an upload", error))?.upload_id.ok_or_else(|| away(String::from("S3: an upload without an id")))?;
        let mut upload = Upload { bucket: self, key, id, is_done: false };
        let parts = futures::stream::iter(pieces(size)).map(|piece| upload.part(spooled, piece)).buffer_unordered(PARALLEL);
        let mut parts: Vec<CompletedPart> = parts.try_collect().await?;
        parts.sort_by_key(CompletedPart::part_number);
        upload.complete(parts, size).await?;
        upload.is_done = true;
        Ok(())
    }
}

/// An upload in parts. Unless it is done its parts are removed when it is dropped, in the background.
struct Upload<'a> {
    bucket: &'a Bucket,
    key: &'a str,
    id: String,
    is_done: bool,
}

impl Upload<'_> {
    async fn part(&self, spooled: &Spooled, piece: Piece) -> Result<CompletedPart> {
        let _turn = self.bucket.turn().await?;
        let request = self.bucket.client.upload_part().bucket(&*self.bucket.name).key(self.key).upload_id(&self.id).part_number(piece.number);
        let request = request.content_md5(spooled.md5(piece).await?).content_length(signed(piece.length)?).body(spooled.body(piece).await?);
        let sent = request.customize().config_override(patient(piece.length)).send().await.map_err(|error| failed("cannot put a part", error))?;
        Ok(CompletedPart::builder().part_number(piece.number).set_e_tag(sent.e_tag).build())
    }

    async fn complete(&self, parts: Vec<CompletedPart>, size: u64) -> Result<()> {
        let (client, name) = (&self.bucket.client, &*self.bucket.name);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = client.complete_multipart_upload().bucket(name).key(self.key).upload_id(&self.id).multipart_upload(parts);
        // Some servers copy all parts together now.
        let Err(error) = request.customize().config_override(patient(size / 8)).send().await else { return Ok(()) };
        // An upload that is not there any more was completed by an attempt whose answer was lost.
        if matches!(reason(&error), Reason::Missing)
            && let Ok(found) = client.head_object().bucket(name).key(self.key).send().await
            && found.content_length() == Some(signed(size)?)
        {
            return Ok(());
        }
        Err(match reason(&error) {
            Reason::Missing => away(super::failure::explained("an upload is gone", &error)),
            _ => failed("cannot complete an upload", error),
        })
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let (bucket, request) = (self.bucket, self.bucket.client.abort_multipart_upload());
        let request = request.bucket(&*bucket.name).key(self.key).upload_id(&self.id);
        bucket.runtime.spawn(async move {
            if let Err(error) = request.send().await
                && !matches!(reason(&error), Reason::Missing)
            {
                tracing::warn!(cause = super::failure::explained("cannot remove parts", &error), "parts of a broken upload stay in the bucket");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_PARTS, PART, Piece, pieces};

    #[test]
    fn bodies_are_cut_into_parts_that_cover_them() {
        assert_eq!(pieces(PART + 1).collect::<Vec<_>>(), [Piece { number: 1, at: 0, length: PART }, Piece { number: 2, at: PART, length: 1 }]);
        for size in [PART, PART * MOST_PARTS, PART * MOST_PARTS + 1, 5 << 40] {
            let mut end = 0;
            let mut count = 0;
            for piece in pieces(size) {
                assert_eq!((piece.at, piece.number), (end, count + 1));
                end += piece.length;
                count = piece.number;
            }
            assert_eq!(end, size);
            assert!(count as u64 <= MOST_PARTS);
        }
    }
}
