//! Uploads on one machine: in the process. A restart forgets them, and clients begin again.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use entrepot_kit::{Body, Error, NewUpload, Result, Timestamp, Upload};
use moka::sync::Cache;
use parking_lot::Mutex;

use super::{COMMITTED_LIFETIME, LIFETIME, MOST, Owner, UploadStore, busy, elsewhere, no_such_upload, over, random_id, too_many};
use crate::store::blobs::{BlobStore, BlobWriter, StagedBlob, WriteSpec};

/// Uploads that were committed and are remembered.
const MOST_COMMITTED: u64 = 20_000;

/// Uploads in the memory of this process, their bytes in the blob store's staging.
pub struct LocalUploads {
    blobs: Arc<dyn BlobStore>,
    /// What is under way.
    sessions: Mutex<HashMap<String, Session>>,
    /// What was committed a while ago, so that a client whose answer was lost learns it.
    done: Cache<String, (Owner, Upload)>,
}

struct Session {
    owner: Owner,
    data: String,
    limit: u64,
    touched: Timestamp,
    offset: u64,
    /// Held by the request that continues the upload.
    bytes: Arc<tokio::sync::Mutex<Bytes>>,
}

enum Bytes {
    Coming(BlobWriter),
    Whole(Arc<StagedBlob>),
    /// Writing failed: what there is cannot be trusted.
    Lost,
}

impl Session {
    fn told(&self, id: &str) -> Upload {
        Upload { id: id.to_owned(), offset: self.offset, data: self.data.clone(), expires: self.touched.plus(LIFETIME), committed: false }
    }
}

impl LocalUploads {
    /// No uploads yet.
    #[must_use]
    pub fn new(blobs: Arc<dyn BlobStore>) -> Self {
        let remembered_for = std::time::Duration::from_millis(COMMITTED_LIFETIME.unsigned_abs());
        let done = Cache::builder().max_capacity(MOST_COMMITTED).time_to_live(remembered_for).build();
        Self { blobs, sessions: Mutex::default(), done }
    }

    fn with<T>(&self, owner: &Owner, id: &str, now: Timestamp, look: impl FnOnce(&mut Session) -> T) -> Result<T> {
        let mut sessions = self.sessions.lock();
        let session = sessions.get_mut(id).filter(|session| session.owner == *owner && session.touched.plus(LIFETIME) > now);
        session.map(look).ok_or_else(no_such_upload)
    }
}

#[async_trait]
impl UploadStore for LocalUploads {
    async fn begin(&self, owner: &Owner, new: NewUpload, limit: u64, now: Timestamp) -> Result<Upload> {
        self.expire(now).await?;
        let writer = self.blobs.writer(WriteSpec { algorithms: new.algorithms, limit }).await?;
        let bytes = Arc::new(tokio::sync::Mutex::new(Bytes::Coming(writer)));
        let id = random_id()?;
        let session = Session { owner: owner.clone(), data: new.data, limit, touched: now, offset: 0, bytes };
        let upload = session.told(&id);
        let mut sessions = self.sessions.lock();
        if sessions.values().filter(|session| session.owner == *owner).count() >= MOST {
            return Err(too_many());
        }
        sessions.insert(id, session);
        Ok(upload)
    }

    async fn find(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<Upload> {
        if let Some((_, upload)) = self.done.get(id).filter(|(of, _)| of == owner) {
            return Ok(upload);
        }
        self.with(owner, id, now, |session| session.told(id))
    }

    async fn append(&self, owner: &Owner, id: &str, offset: u64, mut body: Body, now: Timestamp) -> Result<Upload> {
        let (bytes, limit) = self.with(owner, id, now, |session| {
            session.touched = now;
            (Arc::clone(&session.bytes), session.limit)
        })?;
        let mut bytes = bytes.try_lock().map_err(|_| busy())?;
        let mut stands = self.find(owner, id, now).await?.offset;
        if stands != offset {
            return Err(elsewhere(stands));
        }
        let outcome = loop {
            let chunk = match body.next().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let length = chunk.len() as u64;
            // Asked first: a writer that was given too much cannot go on.
            if stands + length > limit {
                break Err(over(limit));
            }
            let Bytes::Coming(writer) = &mut *bytes else { break Err(Error::conflict("the upload is whole: it takes no more bytes")) };
            if let Err(error) = writer.write(chunk).await {
                *bytes = Bytes::Lost;
                break Err(error);
            }
            stands += length;
            self.with(owner, id, now, |session| session.offset = stands)?;
        };
        outcome?;
        self.find(owner, id, now).await
    }

    async fn finish(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<Arc<StagedBlob>> {
        let bytes = self.with(owner, id, now, |session| Arc::clone(&session.bytes))?;
        let mut bytes = bytes.try_lock().map_err(|_| busy())?;
        match std::mem::replace(&mut *bytes, Bytes::Lost) {
            Bytes::Coming(writer) => {
                let staged = Arc::new(writer.finish().await?);
                *bytes = Bytes::Whole(Arc::clone(&staged));
                Ok(staged)
            }
            Bytes::Whole(staged) => {
                *bytes = Bytes::Whole(Arc::clone(&staged));
                Ok(staged)
            }
            Bytes::Lost => Err(Error::conflict("writing this upload failed before: begin a new one")),
        }
    }

    async fn committed(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<()> {
        let upload = Upload { committed: true, expires: now.plus(COMMITTED_LIFETIME), ..self.find(owner, id, now).await? };
        self.done.insert(id.to_owned(), (owner.clone(), upload));
        self.sessions.lock().remove(id);
        Ok(())
    }

    async fn cancel(&self, owner: &Owner, id: &str, now: Timestamp) -> Result<()> {
        self.find(owner, id, now).await?;
        self.done.invalidate(id);
        self.sessions.lock().remove(id);
        Ok(())
    }

    async fn expire(&self, now: Timestamp) -> Result<usize> {
        let mut sessions = self.sessions.lock();
        let before = sessions.len();
        sessions.retain(|_, session| session.touched.plus(LIFETIME) > now);
        Ok(before - sessions.len())
    }
}
