//! Uploads for any number of replicas: a row of the catalog, and parts of an object.
//!
//! Bytes that make a part go to the blob store, then the row is advanced on the condition that nobody else advanced it: of two
//! replicas that continue the same upload one wins, and no lock is held while bytes stream. Each part has a number of its own,
//! so that what a loser sent is simply not named when the object is put together. The last few bytes wait in the row.

mod direct;

use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use entrepot_kit::{Body, DirectParts, Error, Hasher, NewUpload, Result, Timestamp, Upload};
use serde::{Deserialize, Serialize};

use super::{COMMITTED_LIFETIME, LIFETIME, MOST, Owner, UploadStore, elsewhere, no_such_upload, over, random_id, too_many};
use crate::store::blobs::{INLINE_LIMIT, ObjectParts, PartStore, StagedBlob};
use crate::store::catalog::Catalog;
use crate::store::model::{BlobFacts, BlobPlace, UploadRow};

/// The size of the first thousand parts, in bytes; those of each further thousand have twice the size, up to [`LARGEST_PART`].
const PART: usize = 8 << 20;
/// What one request holds in memory at most, but for one chunk.
const LARGEST_PART: usize = 64 << 20;
/// Parts but the last must have so many bytes: fewer wait in the catalog.
const SMALLEST_PART: usize = 5 << 20;
/// A part that grows beyond this gets all its room at once: growing by doubling holds two copies, and ends with twice the room.
const SMALL: usize = 256 << 10;
/// Parts of one object.
const MOST_PARTS: i64 = 10_000;
/// Uploads that are over and removed at once.
const EXPIRED_AT_ONCE: usize = 50;

/// Uploads in the catalog and the blob store.
pub struct SharedUploads {
    catalog: Catalog,
    blobs: Arc<dyn PartStore>,
}

/// What a row remembers besides its columns.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    data: String,
    limit: u64,
    /// The upload in parts, once there are any.
    parts: Option<ObjectParts>,
    /// Number and tag of each part, in order.
    list: Vec<(i32, String)>,
    /// All bytes are at the row's location.
    whole: bool,
    /// The client sends the parts to the storage itself: `size` and the hashes tell how far they were read back.
    #[serde(default)]
    direct: bool,
    committed: bool,
}

/// A row that was read, and what it remembers.
struct Session {
    row: UploadRow,
    state: State,
}

impl Session {
    fn told(&self) -> Upload {
        Upload {
            id: self.row.id.clone(),
            offset: self.row.size,
            data: self.state.data.clone(),
            expires: self.row.touched.plus(LIFETIME),
            committed: self.state.committed,
        }
    }

    fn hasher(&self) -> Result<Hasher> {
        Hasher::thaw(&self.row.hashes).ok_or_else(|| Error::internal("the hashes of an upload cannot be read"))
    }

    /// How large the next part shall be.
    fn part_size(&self) -> usize {
        let doublings = u32::try_from(self.state.list.len() / 1000).unwrap_or(u32::MAX);
        PART.checked_shl(doublings).filter(|size| (PART..=LARGEST_PART).contains(size)).unwrap_or(LARGEST_PART)
    }

    /// The place of the bytes, once the upload is whole.
    fn place(&self) -> Result<Option<BlobPlace>> {
        let (digest, _) = self.hasher()?.finish();
        Ok(self.row.location.clone().map(|location| BlobPlace { digest, size: self.row.size, location: Some(location) }))
    }
}

impl SharedUploads {
    /// Uploads of this catalog and blob store.
    #[must_use]
    pub fn new(catalog: Catalog, blobs: Arc<dyn PartStore>) -> Self {
        Self { catalog, blobs }
    }

    async fn session(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<Session> {
        let row = self.catalog.upload(id).await?.ok_or_else(no_such_upload)?;
        if row.repository != owner.repository || row.principal != owner.principal || row.touched.plus(LIFETIME) <= now {
            return Err(no_such_upload());
        }
        let state = serde_json::from_str(&row.state).map_err(Error::internal)?;
        Ok(Session { row, state })
    }

    /// Writes a session down, on the condition that nobody else did.
    async fn advance(&self, session: &mut Session, now: Timestamp) -> Result<()> {
        session.row.state = serde_json::to_string(&session.state).map_err(Error::internal)?;
        session.row.touched = now;
        if self.catalog.advance_upload(session.row.clone()).await? {
            session.row.step += 1;
            return Ok(());
        }
        let offset = self.catalog.upload(&session.row.id).await?.ok_or_else(no_such_upload)?.size;
        Err(elsewhere(offset))
    }

    /// Sends a part, and writes down that it was sent. `fresh` is what of it was not counted yet.
    async fn send(&self, session: &mut Session, part: Bytes, fresh: Fresh, now: Timestamp) -> Result<()> {
        if session.state.parts.is_none() {
            let parts = self.blobs.begin_parts().await?;
            session.row.location = Some(parts.location.clone());
            session.state.parts = Some(parts);
        }
        let Some(parts) = session.state.parts.clone() else { return Err(no_such_upload()) };
        let number = self.catalog.next_upload_part(&session.row.id).await?.ok_or_else(no_such_upload)?;
        if number > MOST_PARTS {
            return Err(over(session.row.size));
        }
        let number = i32::try_from(number).map_err(Error::internal)?;
        let tag = self.blobs.send_part(&parts, number, part).await?;
        session.state.list.push((number, tag));
        session.row.tail = Bytes::new();
        fresh.count(&mut session.row);
        self.advance(session, now).await
    }

    /// Makes all bytes one object.
    async fn put_together(&self, session: &mut Session, now: Timestamp) -> Result<()> {
        let tail = session.row.tail.clone();
        match session.state.parts.clone() {
            None => {
                let location = self.blobs.new_location()?;
                // Written down first: gc leaves alone what an upload names.
                session.row.location = Some(location.clone());
                self.advance(session, now).await?;
                self.blobs.put(&location, tail).await?;
            }
            Some(parts) => {
                if !tail.is_empty() {
                    let hasher = session.hasher()?;
                    self.send(session, tail, Fresh { size: session.row.size, hasher }, now).await?;
                }
                self.blobs.complete_parts(&parts, &session.state.list, session.row.size).await?;
            }
        }
        session.state.whole = true;
        session.row.open = false;
        session.row.tail = Bytes::new();
        self.advance(session, now).await
    }

    /// Removes the bytes of an upload, unless a blob has them.
    async fn remove_bytes(&self, session: &Session) -> Result<()> {
        if !session.state.whole
            && let Some(parts) = &session.state.parts
        {
            self.blobs.abort_parts(parts).await?;
        }
        let Some(place) = session.place()? else { return Ok(()) };
        // A completion whose answer was lost left an object where only parts were known.
        let known = self.catalog.blob_location(place.digest).await?;
        if known.flatten() == place.location { Ok(()) } else { self.blobs.remove(&place).await }
    }
}

/// How an upload stands once what was received is counted.
struct Fresh {
    size: u64,
    hasher: Hasher,
}

impl Fresh {
    fn count(self, row: &mut UploadRow) {
        row.size = self.size;
        row.hashes = self.hasher.freeze();
    }
}

/// The room of bytes that nobody else holds any more: freed blocks of this size stay the process's for a while.
fn emptied(bytes: Bytes) -> BytesMut {
    let mut room = bytes.try_into_mut().unwrap_or_default();
    room.clear();
    room
}

/// Hashes bytes where blocking is allowed.
async fn hash(mut hasher: Hasher, bytes: Bytes) -> Result<Hasher> {
    entrepot_kit::blocking(move || {
        hasher.update(&bytes);
        Ok(hasher)
    })
    .await
}

#[async_trait]
impl UploadStore for SharedUploads {
    async fn begin(&self, owner: &Owner, new: NewUpload, limit: u64, now: Timestamp) -> Result<Upload> {
        let state = State { data: new.data, limit, ..State::default() };
        let row = UploadRow {
            id: random_id()?,
            repository: owner.repository,
            principal: owner.principal.clone(),
            touched: now,
            step: 0,
            size: 0,
            open: true,
            location: None,
            hashes: Hasher::new(&new.algorithms).freeze(),
            state: serde_json::to_string(&state).map_err(Error::internal)?,
            tail: Bytes::new(),
        };
        let session = Session { row, state };
        if self.catalog.begin_upload(session.row.clone(), i64::try_from(MOST).unwrap_or(i64::MAX)).await? { Ok(session.told()) } else { Err(too_many()) }
    }

    async fn find(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<Upload> {
        Ok(self.session(owner, id, now).await?.told())
    }

    async fn append(&self, owner: &Owner, id: &str, offset: u64, mut body: Body, now: Timestamp) -> Result<Upload> {
        let mut session = self.session(owner, id, now).await?;
        if session.row.size != offset {
            return Err(elsewhere(session.row.size));
        }
        if !session.row.open {
            return Err(Error::conflict("the upload is whole: it takes no more bytes"));
        }
        if session.state.direct {
            return Err(Error::conflict("this upload goes to the storage in parts: send the rest there too"));
        }
        let mut part = BytesMut::from(session.row.tail.as_ref());
        let (mut counted, mut size) = (part.len(), offset);
        let outcome = loop {
            let mut chunk = match body.next().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            if size + chunk.len() as u64 > session.state.limit {
                break Err(over(session.state.limit));
            }
            size += chunk.len() as u64;
            while !chunk.is_empty() {
                let most = session.part_size();
                let fits = chunk.split_to(chunk.len().min(most.saturating_sub(part.len())));
                if part.len() + fits.len() > SMALL {
                    part.reserve(most.saturating_sub(part.len()));
                }
                part.extend_from_slice(&fits);
                if part.len() >= most {
                    let full = std::mem::take(&mut part).freeze();
                    let hasher = hash(session.hasher()?, full.slice(std::mem::take(&mut counted)..)).await?;
                    self.send(&mut session, full.clone(), Fresh { size: size - chunk.len() as u64, hasher }, now).await?;
                    part = emptied(full);
                }
            }
        };
        // What arrived is kept, whether or not the body came to its end.
        if size > session.row.size {
            let part = part.freeze();
            let fresh = Fresh { size, hasher: hash(session.hasher()?, part.slice(counted..)).await? };
            if part.len() >= SMALLEST_PART {
                self.send(&mut session, part, fresh, now).await?;
            } else {
                session.row.tail = part;
                fresh.count(&mut session.row);
                self.advance(&mut session, now).await?;
            }
        }
        outcome.map(|()| session.told())
    }

    async fn finish(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<Arc<StagedBlob>> {
        let mut session = self.session(owner, id, now).await?;
        let (digest, digests) = session.hasher()?.finish();
        let size = session.row.size;
        if size <= INLINE_LIMIT {
            let facts = BlobFacts { digest, size, digests, inline: Some(session.row.tail.clone()), location: None };
            return Ok(Arc::new(StagedBlob::inline(facts)));
        }
        if !session.state.whole {
            self.put_together(&mut session, now).await?;
        }
        let Some(place) = session.place()? else { return Err(no_such_upload()) };
        let content = self.blobs.open(&place).await?;
        let facts = BlobFacts { digest, size, digests, inline: None, location: place.location };
        Ok(Arc::new(StagedBlob::stored(facts, content)))
    }

    async fn committed(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<()> {
        let mut session = self.session(owner, id, now).await?;
        if session.state.committed {
            return Ok(());
        }
        // The same bytes may have been there before, at another place: these are not needed then.
        self.remove_bytes(&session).await?;
        (session.state.committed, session.row.open, session.row.location) = (true, false, None);
        session.row.tail = Bytes::new();
        self.advance(&mut session, now.plus(COMMITTED_LIFETIME - LIFETIME)).await
    }

    async fn direct_parts(&self, owner: &Owner, id: &str, length: u64, numbers: RangeInclusive<u32>, now: Timestamp) -> Result<DirectParts> {
        let session = self.session(owner, id, now).await?;
        self.cut(session, length, numbers, now).await
    }

    async fn assemble(&self, owner: &Owner, id: &str, length: u64, now: Timestamp) -> Result<Upload> {
        let session = self.session(owner, id, now).await?;
        self.join(session, length, now).await
    }

    async fn cancel(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<()> {
        let session = self.session(owner, id, now).await?;
        self.forget(&session).await.map(drop)
    }

    async fn expire(&self, now: Timestamp) -> Result<usize> {
        let mut forgotten = 0;
        for row in self.catalog.uploads_untouched_since(now.plus(-LIFETIME), EXPIRED_AT_ONCE).await? {
            let state = serde_json::from_str(&row.state).map_err(Error::internal)?;
            forgotten += usize::from(self.forget(&Session { row, state }).await?);
        }
        Ok(forgotten)
    }
}

impl SharedUploads {
    /// Removes a session, then its bytes: whoever continues it meanwhile finds it gone, and loses.
    async fn forget(&self, session: &Session) -> Result<bool> {
        if !self.catalog.remove_upload(&session.row.id, session.row.step).await? {
            return Ok(false);
        }
        self.remove_bytes(session).await?;
        Ok(true)
    }
}
