//! Blobs as local files: `sha256/ab/cd/<digest>-<unique>`, spooled beside in `staging`. Those of the first version have no `-<unique>`.
//!
//! A file gets its name only after its bytes are on the disk, and the folders are synced before a commit may name it. Files left in
//! `staging` belong to nobody: the server, which is alone with its data directory, removes them at start.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_kit::records::Content;
use entrepot_kit::{Error, Result, Sha256Digest, Timestamp};
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
            fs::create_dir_all(&staging).map_err(storage_failed)?;
            // These folders may be new; what a publish syncs later are only those below them.
            for folder in root.ancestors().skip(1).take(2) {
                File::open(folder).and_then(|folder| folder.sync_all()).map_err(storage_failed)?;
            }
            Ok(())
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

    async fn nameless(&self, bytes: Bytes) -> Result<Option<Arc<File>>> {
        let staging = self.staging.clone();
        entrepot_kit::blocking(move || {
            let make = || -> io::Result<File> {
                let file = tempfile::tempfile_in(&staging)?;
                file.write_all_at(&bytes, 0)?;
                Ok(file)
            };
            make().map(|file| Some(Arc::new(file))).map_err(storage_failed)
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

    async fn remove(&self, place: &BlobPlace) -> Result<()> {
        let path = self.path(place)?;
        entrepot_kit::blocking(move || match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(storage_failed(cause)),
            _ => Ok(()),
        })
        .await
    }

    async fn look(&self, place: &BlobPlace) -> Result<Option<u64>> {
        let path = self.path(place)?;
        entrepot_kit::blocking(move || match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(storage_failed(cause)),
        })
        .await
    }

    async fn sweep(&self, before: Timestamp) -> Result<u64> {
        let staging = self.staging.clone();
        entrepot_kit::blocking(move || {
            let mut removed = 0;
            for file in files_of(&staging, |_| true)?.into_iter().filter(|file| file.modified < before) {
                match fs::remove_file(staging.join(&file.location)) {
                    Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(storage_failed(cause)),
                    outcome => removed += u64::from(outcome.is_ok()),
                }
            }
            Ok(removed)
        })
        .await
    }

    fn list(&self) -> BoxStream<'_, Result<StoredObject>> {
        fn each<T>(found: Vec<T>) -> impl futures::Stream<Item = Result<T>> {
            futures::stream::iter(found.into_iter().map(Ok))
        }
        let root = self.root.clone();
        let first = futures::stream::once(entrepot_kit::blocking(move || folders_of(&root))).map_ok(each).try_flatten();
        let second = first.and_then(|folder| entrepot_kit::blocking(move || folders_of(&folder))).map_ok(each).try_flatten();
        second.and_then(|folder| entrepot_kit::blocking(move || files_of(&folder, is_ours))).map_ok(each).try_flatten().boxed()
    }
}

/// Whether a file has a name that this store gives: others are not its business.
fn is_ours(name: &str) -> bool {
    let (digest, rest) = name.split_at_checked(64).unwrap_or_default();
    let unique = rest.strip_prefix('-').unwrap_or(rest);
    Sha256Digest::parse_hex(digest).is_some() && rest.is_empty() == unique.is_empty() && unique.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The folders in one folder: at most 256, by the names that this store gives; none when it is not there.
fn folders_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(storage_failed)?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(storage_failed)?;
        if entry.file_name().len() == 2 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// The files of one folder that have such names; none when it is not there.
fn files_of(folder: &Path, wanted: fn(&str) -> bool) -> Result<Vec<StoredObject>> {
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
        if !wanted(&name) {
            continue;
        }
        // A body may have been spooled long before it got its name: that moved the second time only.
        let seconds = metadata.mtime().max(metadata.ctime());
        files.push(StoredObject { location: name, size: metadata.len(), modified: Timestamp(seconds.saturating_add(1).saturating_mul(1000)) });
    }
    Ok(files)
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
        for _ in 0..6000 {
            if staged() == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(staged(), 0);
    }

    #[tokio::test]
    async fn what_a_crash_left_is_removed_by_the_server_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        FileBlobs::open(folder.path()).await.expect("opened");
        let left = folder.path().join("staging/blob-of-a-crash");
        std::fs::write(&left, "x").expect("written");
        let store = FileBlobs::open(folder.path()).await.expect("opened again");
        assert!(left.exists(), "a command beside the server leaves it alone");
        store.clear_staging().await.expect("cleared");
        assert!(!left.exists());
    }
}
