//! Blobs whose bytes are known to be missing or wrong: never sent, and mended by whoever brings the same bytes again.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use entrepot_kit::records::Content;
use entrepot_kit::{ByteStream, Entry, Error, ReadSeek, Result};

use crate::registry::Engine;
use crate::store::blobs::StagedBlob;

/// The content of an entry whose bytes are lost. What is known of it can be read: it can be deleted, replaced, published again.
struct Damaged {
    size: Option<u64>,
    why: String,
}

pub(crate) fn damaged(entry: &Entry) -> Arc<dyn Content> {
    let digest = entry.digest.map(|digest| digest.hex()).unwrap_or_default();
    let why = format!("blob {digest} of {:?}: `entrepot verify` found its bytes missing or wrong; publish the same bytes again", entry.path);
    Arc::new(Damaged { size: entry.size, why })
}

#[async_trait]
impl Content for Damaged {
    fn size(&self) -> Option<u64> {
        self.size
    }

    async fn stream(&self, _range: Option<Range<u64>>) -> Result<ByteStream> {
        Err(Error::internal(self.why.clone()))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        Err(Error::internal(self.why.clone()))
    }
}

impl Engine {
    /// How often marks of damage changed, as far as this process knows.
    pub(crate) fn damage(&self) -> u64 {
        self.damage.load(Ordering::Acquire)
    }

    /// Gives a damaged blob its bytes back when somebody sent just those, whatever becomes of the request: the name of a blob is its
    /// proof, and formats refuse to publish what they have.
    pub(crate) async fn mend(&self, staged: &StagedBlob) -> Result<()> {
        let digest = staged.facts().digest;
        if self.damage() == 0 || self.catalog.blob_row(digest).await?.is_none_or(|row| row.damaged.is_none()) {
            return Ok(());
        }
        let facts = self.blobs.persist(staged).await?;
        if self.catalog.mend_blob(facts).await? {
            tracing::info!(%digest, "a damaged blob was mended: its bytes were sent again");
        }
        Ok(())
    }
}
