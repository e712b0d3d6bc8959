//! Very large files, whose parts the client sends to the storage itself by signed URLs.
//!
//! The parts are cut by the server, so that their sizes can be signed and checked. Once they are one object nobody can change it: it is
//! read back then, for the hashes that nobody saw go by, a piece in each request: a request has an end, and another replica goes on.

use std::ops::RangeInclusive;

use bytes::BytesMut;
use entrepot_kit::{DirectPart, DirectParts, Error, Result, Timestamp, Upload};
use futures::TryStreamExt as _;

use super::{Fresh, MOST_PARTS, Session, SharedUploads, hash};
use crate::store::blobs::{INLINE_LIMIT, StoredPart};
use crate::store::model::BlobPlace;

/// The least size of parts but the last.
const LEAST_PART: u64 = 64 << 20;
/// Bytes that are read back in one request.
const READ_BACK: u64 = 1 << 30;
/// Bytes that are hashed at once.
const BATCH: usize = 1 << 20;
/// An upload that URLs are asked for is touched again after so much time, in milliseconds.
const TOUCH: i64 = 3600 * 1000;

/// How a file is cut: the size of all parts but the last, in whole MiB.
fn part_size(length: u64) -> u64 {
    let mebibytes = length.div_ceil(MOST_PARTS.unsigned_abs()).div_ceil(1 << 20);
    LEAST_PART.max(mebibytes << 20)
}

/// The parts of a file: number, offset, size.
fn parts(length: u64) -> impl Iterator<Item = (u32, u64, u64)> {
    let size = part_size(length);
    (1..).zip(0..length.div_ceil(size)).map(move |(number, index)| (number, index * size, size.min(length - index * size)))
}

/// Number and tag of each part, if these are the parts of a file of this length.
fn complete(stored: &[StoredPart], length: u64) -> Result<Vec<(i32, String)>> {
    let expected: Vec<_> = parts(length).collect();
    for (number, _, size) in &expected {
        let found = stored.iter().find(|part| u32::try_from(part.number) == Ok(*number));
        if found.is_none_or(|part| part.size != *size) {
            let has = found.map_or_else(|| String::from("is missing"), |part| format!("has {} bytes", part.size));
            return Err(Error::conflict(format!("part {number} of {} {has}: its size is {size}; send it again", expected.len())));
        }
    }
    Ok(stored
        .iter()
        .filter(|part| usize::try_from(part.number).is_ok_and(|number| number <= expected.len()))
        .map(|part| (part.number, part.tag.clone()))
        .collect())
}

impl SharedUploads {
    /// URLs for these parts.
    pub(super) async fn cut(&self, mut session: Session, length: u64, numbers: RangeInclusive<u32>, now: Timestamp) -> Result<DirectParts> {
        if session.state.whole || session.state.committed {
            return Err(Error::conflict("the upload is whole: it takes no more parts"));
        }
        if length <= INLINE_LIMIT || length > session.state.limit {
            return Err(Error::bad_request(format!("a file of {length} bytes does not go to the storage in parts: send it to the server")));
        }
        let count = u32::try_from(parts(length).count()).map_err(Error::internal)?;
        if *numbers.end() > count {
            return Err(Error::bad_request(format!("there are {count} parts: there is no part {}", numbers.end())));
        }
        if !session.state.direct {
            if session.row.size > 0 || session.state.parts.is_some() {
                return Err(Error::conflict("bytes of this upload were sent to the server: go on by PATCH"));
            }
            let begun = self.blobs.begin_parts().await?;
            session.row.location = Some(begun.location.clone());
            (session.state.parts, session.state.direct) = (Some(begun), true);
            self.advance(&mut session, now).await?;
        } else if session.row.touched.plus(TOUCH) <= now {
            self.advance(&mut session, now).await?;
        }
        let Some(begun) = session.state.parts else { return Err(Error::internal("an upload in parts without parts")) };
        let mut signed = Vec::new();
        for (number, offset, size) in parts(length).filter(|(number, ..)| numbers.contains(number)) {
            let url = self.blobs.sign_part(&begun, i32::try_from(number).map_err(Error::internal)?, size).await?;
            signed.push(DirectPart { number, offset, size, url });
        }
        Ok(DirectParts { count, part_size: part_size(length), parts: signed })
    }

    /// Makes the parts one object if they are not, and reads on in it.
    pub(super) async fn join(&self, mut session: Session, length: u64, now: Timestamp) -> Result<Upload> {
        if session.state.committed {
            return Ok(session.told());
        }
        let (true, Some(begun)) = (session.state.direct, session.state.parts.clone()) else {
            return Err(Error::conflict("no part of this upload goes to the storage: continue it by PATCH"));
        };
        let (digest, _) = session.hasher()?.finish();
        let place = BlobPlace { digest, size: length, location: Some(begun.location.clone()) };
        if !session.state.whole {
            match self.blobs.list_parts(&begun).await? {
                Some(stored) => self.blobs.complete_parts(&begun, &complete(&stored, length)?, length).await?,
                // It was put together by a request that did not live to write it down.
                None if self.blobs.look(&place).await? == Some(length) => {}
                None => return Err(Error::conflict("the storage has no parts of this upload any more: begin a new one")),
            }
            (session.state.whole, session.row.open) = (true, false);
            self.advance(&mut session, now).await?;
        }
        let end = length.min(session.row.size.saturating_add(READ_BACK));
        if session.row.size < end {
            let mut stream = self.blobs.open(&place).await?.stream(Some(session.row.size..end)).await?;
            let (mut hasher, mut batch) = (session.hasher()?, BytesMut::with_capacity(2 * BATCH));
            while let Some(chunk) = stream.try_next().await? {
                batch.extend_from_slice(&chunk);
                if batch.len() >= BATCH {
                    hasher = hash(hasher, batch.split().freeze()).await?;
                }
            }
            let hasher = hash(hasher, batch.freeze()).await?;
            Fresh { size: end, hasher }.count(&mut session.row);
            self.advance(&mut session, now).await?;
        }
        Ok(session.told())
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST_PART, complete, parts};
    use crate::store::blobs::StoredPart;

    fn stored(length: u64) -> Vec<StoredPart> {
        parts(length).map(|(number, _, size)| StoredPart { number: i32::try_from(number).unwrap(), tag: number.to_string(), size }).collect()
    }

    #[test]
    fn parts_cover_a_file_and_are_as_many_as_the_storage_takes() {
        for length in [1, LEAST_PART, LEAST_PART + 1, LEAST_PART * 10_000 + 1, 5 << 40] {
            let end = parts(length).try_fold(0, |end, (_, offset, size)| (offset == end && size > 0).then_some(end + size));
            assert_eq!(end, Some(length));
            assert!(parts(length).count() <= 10_000, "{length}");
        }
    }

    #[test]
    fn only_the_parts_of_the_file_make_it() {
        let length = 2 * LEAST_PART + 5;
        let whole = stored(length);
        assert_eq!(complete(&whole, length).unwrap().len(), 3);
        assert!(complete(&whole[1..], length).unwrap_err().message().contains("part 1 of 3 is missing"));
        assert!(complete(&whole, length + 1).unwrap_err().message().contains("part 3 of 3 has 5 bytes"));
        let more = [whole, stored(4 * LEAST_PART).split_off(3)].concat();
        assert_eq!(complete(&more, length).unwrap().len(), 3, "what nobody asked for is not named");
    }
}
