//! Folders for what processes spool: each has its own, and what an ended process left is removed by the next.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use entrepot_kit::{Error, Result};
use tempfile::TempDir;

use super::storage_failed;

/// Another process may take a folder for an abandoned one before it is locked.
const ATTEMPTS: usize = 100;

/// The folder of this process. It goes when this value is dropped, or when the next process finds its lock free.
pub(super) struct Staging {
    // In this order: the folder goes before its lock.
    folder: TempDir,
    _lock: File,
}

impl Staging {
    /// Makes a folder below `root`, and removes those of ended processes.
    ///
    /// # Errors
    /// When folders cannot be made or read.
    pub(super) async fn open(root: &Path) -> Result<Self> {
        let root = root.to_owned();
        entrepot_kit::blocking(move || {
            let named = |cause: io::Error| Error::new(storage_failed_status(&cause), format!("the staging folder {}: {cause}", root.display()));
            fs::create_dir_all(&root).map_err(named)?;
            remove_abandoned(&root).map_err(named)?;
            Self::make(&root).map_err(named)
        })
        .await
    }

    fn make(root: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let folder = tempfile::Builder::new().prefix("process-").tempdir_in(root)?;
            let Ok(lock) = File::open(folder.path()) else { continue };
            if lock.try_lock().is_ok() && folder.path().is_dir() {
                return Ok(Self { folder, _lock: lock });
            }
        }
        Err(io::Error::other("no folder stays: is something else removing them?"))
    }

    /// Where to spool.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn storage_failed_status(cause: &io::Error) -> http::StatusCode {
    storage_failed(io::Error::from(cause.kind())).status()
}

fn remove_abandoned(root: &Path) -> io::Result<()> {
    let folders: Vec<PathBuf> = fs::read_dir(root)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    for folder in folders {
        // Gone meanwhile, or somebody's: both are none of our business.
        let Ok(lock) = File::open(&folder) else { continue };
        if lock.try_lock().is_ok() && folder.is_dir() {
            let _ = fs::remove_dir_all(&folder);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Staging;

    #[tokio::test]
    async fn folders_of_ended_processes_are_removed_and_those_of_others_stay() {
        let root = tempfile::tempdir().expect("a folder");
        let count = || std::fs::read_dir(root.path()).expect("read").count();
        std::fs::create_dir(root.path().join("process-of-a-crash")).expect("made");
        std::fs::write(root.path().join("process-of-a-crash/blob-1"), "x").expect("written");
        let first = Staging::open(root.path()).await.expect("opened");
        assert_eq!(count(), 1, "the folder of the ended process is gone");
        std::fs::write(first.folder().join("blob-2"), "x").expect("written");
        let second = Staging::open(root.path()).await.expect("opened");
        assert_ne!(first.folder(), second.folder());
        assert!(first.folder().join("blob-2").exists());
        drop(first);
        assert_eq!(count(), 1);
        drop(second);
        assert_eq!(count(), 0);
    }
}
