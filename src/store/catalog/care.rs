//! The care of what is stored: garbage, damage, and what is at which place.

use entrepot_kit::{Sha256Digest, Timestamp};

use super::{Catalog, Database, Result, postgres, sqlite};
use crate::store::model::{BlobFacts, BlobRow, BlobStretch, Need, Removal};

/// Attempts of a removal that commits get in the way of.
const ATTEMPTS: usize = 20;

#[expect(clippy::missing_errors_doc, reason = "as for all questions to the catalog")]
impl Catalog {
    /// Removes all rows of deleted repositories, so that no entry of theirs names a blob any more.
    pub async fn purge(&self) -> Result<()> {
        while self.purge_slice().await? {}
        Ok(())
    }

    /// The next blobs behind a digest, and those of them that no entry names.
    pub async fn blob_stretch(&self, after: Option<Sha256Digest>, limit: usize) -> Result<BlobStretch> {
        forward!(self.read(gc::stretch, after, limit))
    }

    /// Condemns those of these blobs that no entry names; says how many.
    pub async fn condemn_blobs(&self, digests: Vec<Sha256Digest>, now: Timestamp) -> Result<u64> {
        forward!(self.write(gc::condemn, &digests, now))
    }

    /// Lifts the sentence on condemned blobs that are named all the same; says on how many. 0: there are no more.
    pub async fn pardon_blobs(&self, limit: usize) -> Result<u64> {
        let named = forward!(self.read(gc::named_though_condemned, limit))?;
        if named.is_empty() {
            return Ok(0);
        }
        forward!(self.write(gc::pardon, &named))
    }

    /// Removes the rows of some blobs that were condemned at `until` or before, and says where their bytes are, which may go now. Named
    /// ones are revived. `Conflict` when commits named them again and again meanwhile.
    pub async fn remove_blobs(&self, until: Timestamp, limit: usize) -> Result<Removal> {
        let mut attempt = 1;
        loop {
            match forward!(self.write(gc::remove, until, limit)) {
                Err(crate::store::model::CatalogError::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
                other => return other,
            }
        }
    }

    /// Those of these places in the blob store that a blob is at.
    pub async fn known_places(&self, locations: Vec<String>) -> Result<Vec<String>> {
        forward!(self.read(gc::known_places, &locations))
    }

    /// A page of all blobs by digest, damaged ones among them.
    pub async fn blob_page(&self, after: Option<Sha256Digest>, limit: usize) -> Result<Vec<BlobRow>> {
        forward!(self.read(verify::page, after, limit))
    }

    /// What is known of a blob, damaged or not.
    pub async fn blob_row(&self, digest: Sha256Digest) -> Result<Option<BlobRow>> {
        forward!(self.read(verify::one, digest))
    }

    /// Entries that need a blob, of the present first.
    pub async fn needs(&self, digest: Sha256Digest, limit: usize) -> Result<Vec<Need>> {
        forward!(self.read(verify::needs, digest, limit))
    }

    /// Marks a blob as damaged, or lifts the mark, while its bytes are still at the place that was looked at; `false` when nothing changed.
    pub async fn mark_damaged(&self, digest: Sha256Digest, location: Option<String>, damaged: Option<Timestamp>) -> Result<bool> {
        forward!(self.write(verify::mark, digest, location.as_deref(), damaged))
    }

    /// Gives a damaged blob the bytes that these facts name; `false` when it is not damaged, or gone.
    pub async fn mend_blob(&self, facts: BlobFacts) -> Result<bool> {
        forward!(self.write(verify::mend, &facts))
    }

    /// How many such marks were set or lifted so far: what was read of entries before the last of them is old.
    pub async fn damage(&self) -> Result<u64> {
        forward!(self.read(verify::damage))
    }
}
