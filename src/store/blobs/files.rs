//! Blobs as local files: `sha256/ab/cd/<digest>`, spooled beside in `staging`.
//!
//! A file gets its name only after its bytes are on the disk, and the folders are synced before a commit may name it. Files left in
//! `staging` belong to nobody: they are removed at start.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use entrepot_kit::records::Content;
use entrepot_kit::{Error, Result, Sha256Digest};

use super::content::FileContent;
use super::{BlobStore, BlobWriter, StagedBlob, WriteSpec, storage_failed};

/// Local files below one folder.
pub struct FileBlobs {
    root: PathBuf,
    staging: PathBuf,
}

impl FileBlobs {
    /// Opens the folder; makes it when it is not there; removes what an ended process left in `staging`.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub async fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.join("sha256"), staging: root.join("staging") };
        let (root, staging) = (store.root.clone(), store.staging.clone());
        entrepot_kit::blocking(move || {
            fs::create_dir_all(&root).map_err(storage_failed)?;
            fs::create_dir_all(&staging).map_err(storage_failed)?;
            for entry in fs::read_dir(&staging).map_err(storage_failed)? {
                fs::remove_file(entry.map_err(storage_failed)?.path()).map_err(storage_failed)?;
            }
            Ok(())
        })
        .await?;
        Ok(store)
    }

    fn path(&self, digest: &Sha256Digest) -> PathBuf {
        let name = digest.hex();
        let (first, rest) = name.split_at(2);
        let (second, _) = rest.split_at(2);
        self.root.join(first).join(second).join(&name)
    }
}

#[async_trait]
impl BlobStore for FileBlobs {
    async fn writer(&self, spec: WriteSpec) -> Result<BlobWriter> {
        Ok(BlobWriter::new(self.staging.clone(), &spec))
    }

    async fn persist(&self, staged: &StagedBlob) -> Result<()> {
        let Some((file, temporary)) = staged.take_file() else { return Ok(()) };
        let (target, size, root) = (self.path(&staged.facts().digest), staged.facts().size, self.root.clone());
        entrepot_kit::blocking(move || {
            let place = || -> io::Result<()> {
                file.sync_all()?;
                let folder = target.parent().unwrap_or(&root);
                fs::create_dir_all(folder)?;
                // The same bytes may have come before: the file that is there stays, for it may be open or being sent.
                if fs::metadata(&target).map_or(true, |known| known.len() != size) {
                    temporary.persist(&target)?;
                }
                // All folders on the way: one of them may be new, made here or by a neighbour that has not synced yet.
                for folder in target.ancestors().skip(1).take(3) {
                    File::open(folder)?.sync_all()?;
                }
                Ok(())
            };
            place().map_err(storage_failed)
        })
        .await
    }

    async fn open(&self, digest: &Sha256Digest, size: u64) -> Result<Arc<dyn Content>> {
        let path = self.path(digest);
        let digest = *digest;
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

    /// A file can be made where bodies are spooled. A disk without room is no reason to be taken for dead: it can still be read.
    async fn ready(&self) -> Result<()> {
        let (root, staging) = (self.root.clone(), self.staging.clone());
        entrepot_kit::blocking(move || {
            let look = || -> io::Result<()> {
                fs::metadata(&root)?;
                match tempfile::Builder::new().prefix("ready-").tempfile_in(&staging) {
                    Err(cause) if matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Ok(()),
                    other => other.map(drop),
                }
            };
            look().map_err(|cause| Error::unavailable("the folder of blobs cannot be written to", 5).with_source(cause))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::FileBlobs;
    use crate::store::blobs::{BlobStore as _, suite};

    #[tokio::test(flavor = "multi_thread")]
    async fn files_pass_the_suite() {
        let folder = tempfile::tempdir().expect("a folder");
        suite::run(&FileBlobs::open(folder.path()).await.expect("opened")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_that_is_gone_is_not_ready() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = FileBlobs::open(folder.path()).await.expect("opened");
        store.ready().await.expect("ready");
        assert_eq!(std::fs::read_dir(folder.path().join("staging")).expect("read").count(), 0);
        std::fs::remove_dir(folder.path().join("staging")).expect("removed");
        assert_eq!(store.ready().await.expect_err("not ready").status(), 503);
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
        FileBlobs::open(folder.path()).await.expect("opened again");
        assert_eq!(staged(), 0);
    }
}
