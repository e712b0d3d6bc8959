//! Blobs as local files: `sha256/ab/cd/<digest>-<unique>`, spooled beside in `staging`. Those of the first version have no `-<unique>`.
//!
//! A file gets its name only after its bytes are on the disk, and the folders are synced before a commit may name it. Files left in
//! `staging` belong to nobody: the server, which is alone with its data directory, removes them at start.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use entrepot_kit::records::Content;
use entrepot_kit::{Error, Result, Timestamp};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::content::FileContent;
use super::places::{location, unique_name};
use super::{BlobStore, BlobWriter, StagedBlob, StoredObject, WriteSpec, storage_failed};
use crate::store::model::{BlobFacts, BlobPlace};

/// Local files below one folder.
pub struct FileBlobs {
    root: PathBuf,
    staging: PathBuf,
}

impl FileBlobs {
    /// Opens the folder; makes it when it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub async fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.join("sha256"), staging: root.join("staging") };
        let (root, staging) = (store.root.clone(), store.staging.clone());
        entrepot_kit::blocking(move || {
            fs::create_dir_all(&root).map_err(storage_failed)?;
            fs::create_dir_all(&staging).map_err(storage_failed)
        })
        .await?;
        Ok(store)
    }

    /// Removes what ended processes left in `staging`. For the server only, which holds the lock of the data directory: commands
    /// that run beside it must not take away what it spools.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file in it not be removed.
    pub async fn clear_staging(&self) -> Result<()> {
        let staging = self.staging.clone();
        entrepot_kit::blocking(move || {
            for entry in fs::read_dir(&staging).map_err(storage_failed)? {
                fs::remove_file(entry.map_err(storage_failed)?.path()).map_err(storage_failed)?;
            }
            Ok(())
        })
        .await
    }

    fn path(&self, place: &BlobPlace) -> Result<PathBuf> {
        let name = location(place)?;
        let (first, rest) = name.split_at(2);
        let (second, _) = rest.split_at(2);
        Ok(self.root.join(first).join(second).join(&name))
    }
}

#[async_trait]
impl BlobStore for FileBlobs {
    async fn writer(&self, spec: WriteSpec) -> Result<BlobWriter> {
        Ok(BlobWriter::new(self.staging.clone(), &spec))
    }

    async fn persist(&self, staged: &StagedBlob) -> Result<BlobFacts> {
        if let Some(facts) = staged.settled() {
            return Ok(facts);
        }
        let Some((file, temporary)) = staged.take_file() else { return Err(Error::internal("a staged blob is being made durable twice at once")) };
        let facts = staged.facts();
        let name = unique_name(&facts.digest)?;
        let target = self.path(&BlobPlace { digest: facts.digest, size: facts.size, location: Some(name.clone()) })?;
        let root = self.root.clone();
        entrepot_kit::blocking(move || {
            let place = || -> io::Result<()> {
                file.sync_all()?;
                let folder = target.parent().unwrap_or(&root);
                fs::create_dir_all(folder)?;
                temporary.persist(&target)?;
                // All folders on the way: one of them may be new, made here or by a neighbour that has not synced yet.
                for folder in target.ancestors().skip(1).take(3) {
                    File::open(folder)?.sync_all()?;
                }
                Ok(())
            };
            place().map_err(storage_failed)
        })
        .await?;
        Ok(staged.placed(name))
    }

    async fn open(&self, place: &BlobPlace) -> Result<Arc<dyn Content>> {
        let (path, digest, size) = (self.path(place)?, place.digest, place.size);
        entrepot_kit::blocking(move || {
            let lost = |what: String| Error::internal(format!("blob {digest}: {what}"));
            let file = File::open(&path).map_err(|cause| lost(cause.to_string()))?;
            let actual = file.metadata().map_err(|cause| lost(cause.to_string()))?.len();
            if actual != size {
                return Err(lost(format!("the file has {actual} bytes instead of {size}")));
            }
            Ok(Arc::new(FileContent::new(Arc::new(file), size)) as Arc<dyn Content>)
        })
        .await
    }

    async fn remove(&self, place: &BlobPlace) -> Result<()> {
        let path = self.path(place)?;
        entrepot_kit::blocking(move || match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(storage_failed(cause)),
            _ => Ok(()),
        })
        .await
    }

    fn list(&self) -> BoxStream<'_, Result<StoredObject>> {
        let shards = (0..=0xffff_u32).map(|number| self.root.join(format!("{:02x}", number >> 8)).join(format!("{:02x}", number & 0xff)));
        let folders = futures::stream::iter(shards).then(|folder| entrepot_kit::blocking(move || files_of(&folder)));
        folders.map_ok(|files| futures::stream::iter(files.into_iter().map(Ok))).try_flatten().boxed()
    }
}

/// The files of one folder; none when it is not there.
fn files_of(folder: &Path) -> Result<Vec<StoredObject>> {
    let entries = match fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(storage_failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(storage_failed)?;
        // Gone since the folder was read: removed, which is as good as not listed.
        let Ok(metadata) = entry.metadata() else { continue };
        let (Ok(name), true) = (entry.file_name().into_string(), metadata.is_file()) else { continue };
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
        files.push(StoredObject { location: name, size: metadata.len(), modified: Timestamp(i64::try_from(modified.as_millis()).unwrap_or(i64::MAX)) });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::FileBlobs;
    use crate::store::blobs::suite;

    #[tokio::test(flavor = "multi_thread")]
    async fn files_pass_the_suite() {
        let folder = tempfile::tempdir().expect("a folder");
        suite::run(&FileBlobs::open(folder.path()).await.expect("opened")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_persisted_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let staged = || std::fs::read_dir(folder.path().join("staging")).expect("read").count();
        let store = FileBlobs::open(folder.path()).await.expect("opened");
        suite::dropped_bodies_are_forgotten(&store).await;
        // A batch that was under way when its writer was dropped removes the file when it ends.
        for _ in 0..500 {
            if staged() == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(staged(), 0);
        std::fs::write(folder.path().join("staging/blob-of-a-crash"), "x").expect("written");
        let store = FileBlobs::open(folder.path()).await.expect("opened again");
        assert_eq!(staged(), 1, "a command beside the server leaves it alone");
        store.clear_staging().await.expect("cleared");
        assert_eq!(staged(), 0);
    }
}
