//! The data directory of a server.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::StartError;
use crate::registry::keys::MasterKey;

/// The files and folders of a data directory. The only place that names them.
pub struct DataDirectory(PathBuf);

impl DataDirectory {
    /// Opens the directory; makes it, for its owner only, when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let failed = |cause| StartError::Data { path: path.to_owned(), cause };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        Ok(Self(path.to_owned()))
    }

    /// The directory, whether it is there or not.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The embedded catalog.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("entrepot.db")
    }

    /// The folder of blobs.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.0.join("blobs")
    }

    /// The folder in which replicas spool what goes into a bucket.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.0.join("staging")
    }

    /// Where the first password is written.
    #[must_use]
    pub fn admin_password(&self) -> PathBuf {
        self.0.join("admin-password")
    }

    /// Takes the lock that a server holds while it runs.
    ///
    /// # Errors
    /// [`StartError::Locked`] when another has it.
    pub fn lock(&self) -> Result<File, StartError> {
        let path = self.0.join("lock");
        let failed = |cause| StartError::Data { path: path.clone(), cause };
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(StartError::Locked(self.0.clone())),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    /// Whether both are the same folder.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        matches!((self.0.canonicalize(), other.0.canonicalize()), (Ok(this), Ok(that)) if this == that)
    }

    /// The file of the master key.
    #[must_use]
    pub fn master_key_file(&self) -> PathBuf {
        self.0.join("master-key")
    }

    /// The bytes of the master key, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stored_master_key(&self) -> Result<Option<Vec<u8>>, StartError> {
        let path = self.master_key_file();
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StartError::Data { path, cause }),
        }
    }

    /// Takes over the master key of another place, unless it is there.
    ///
    /// # Errors
    /// When there is another one, or it cannot be written.
    pub fn adopt_master_key(&self, bytes: &[u8]) -> Result<(), StartError> {
        MasterKey::new(bytes)?;
        let path = self.master_key_file();
        match self.stored_master_key()? {
            Some(stored) if stored == bytes => Ok(()),
            Some(_) => Err(StartError::Data { path, cause: io::Error::other("there is another master key already") }),
            None => write_private(&path, bytes).map_err(|cause| StartError::Data { path, cause }),
        }
    }

    /// Reads the master key; makes it on the first start.
    ///
    /// # Errors
    /// When it cannot be read or written, or is not 32 bytes long.
    pub fn master_key(&self) -> Result<MasterKey, StartError> {
        let bytes = match self.stored_master_key()? {
            Some(bytes) => bytes,
            None => {
                let path = self.master_key_file();
                self.make_master_key(&path).map_err(|cause| StartError::Data { path, cause })?
            }
        };
        Ok(MasterKey::new(&bytes)?)
    }

    fn make_master_key(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; MasterKey::LENGTH];
        getrandom::fill(&mut bytes).map_err(|cause| io::Error::other(cause.to_string()))?;
        // Readable for its owner only, as all temporary files are.
        let mut file = tempfile::Builder::new().prefix("master-key-").tempfile_in(&self.0)?;
        file.write_all(&bytes)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => File::open(&self.0)?.sync_all().map(|()| bytes),
            // A command and the server that start together use one key.
            Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => std::fs::read(path),
            Err(lost) => Err(lost.error),
        }
    }
}

/// Writes a file that only its owner can read; durable before it is there under its name.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let staged = path.with_extension("new");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&staged, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
