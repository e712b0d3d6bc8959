//! Putting the house together: data directory, catalog, blobs, access, engine, listener.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use entrepot_kit::Error;
use secrecy::{ExposeSecret as _, SecretString};

use crate::access::Access;
use crate::clock::Clock;
use crate::http::{Listening, Settings};
use crate::registry::keys::MasterKey;
use crate::registry::reconcile::{DeclaredSystem, Wanted, check, reconcile};
use crate::registry::{Engine, Parts};
use crate::store::blobs::FileBlobs;
use crate::store::catalog::Catalog;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("the data directory {}: {cause}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        cause: io::Error,
    },
    /// Another server runs on the same data.
    #[error("another entrepot serves from {}: one server per data directory", .0.display())]
    Locked(PathBuf),
    /// The address cannot be listened on.
    #[error("cannot listen: {0}")]
    Listen(#[from] io::Error),
    /// Whatever else.
    #[error("{}", explain(.0))]
    Other(#[from] Error),
}

fn explain(error: &Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.message().to_owned(), |cause| format!("{}: {cause}", error.message()))
}

/// What a server is started with.
pub struct Options {
    /// The data directory.
    pub data: PathBuf,
    /// How it is reached.
    pub http: Settings,
    /// How access is decided.
    pub access: crate::access::Settings,
    /// Bytes of cached documents.
    pub cache_bytes: u64,
    /// Most bytes of one file.
    pub max_upload: u64,
    /// The password of `admin` on the first start.
    pub admin_password: Option<SecretString>,
    /// Declared systems.
    pub systems: Vec<DeclaredSystem>,
    /// Declared repositories.
    pub repositories: Vec<Wanted>,
    /// The formats.
    pub formats: Vec<Arc<dyn entrepot_kit::Format>>,
    /// The time.
    pub clock: Clock,
}

/// A server that runs.
pub struct Running {
    /// Its listener.
    pub listening: Listening,
    /// Its engine.
    pub engine: Arc<Engine>,
    /// The file with the first password, when this start made one.
    pub password_file: Option<PathBuf>,
    _lock: File,
}

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
        let path = self.master_key_file();
        let failed = |cause| StartError::Data { path: path.clone(), cause };
        let bytes = match self.stored_master_key()? {
            Some(bytes) => bytes,
            None => {
                let mut bytes = vec![0; MasterKey::LENGTH];
                getrandom::fill(&mut bytes).map_err(|cause| failed(io::Error::other(cause.to_string())))?;
                write_private(&path, &bytes).map_err(failed)?;
                bytes
            }
        };
        Ok(MasterKey::new(&bytes)?)
    }
}

/// Writes a file that only its owner can read; durable before it is there under its name.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let staged = path.with_extension("new");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&staged, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// The catalog and who is in it, opened: what the server and the commands on its data directory share.
pub struct Accounts {
    /// The catalog.
    pub catalog: Catalog,
    /// Principals, tokens and policies.
    pub access: Arc<Access>,
    /// The file with the first password, when this was the first start and none was given.
    pub password_file: Option<PathBuf>,
}

/// Opens the catalog of a data directory. Whoever comes first, server or command, makes the user `admin`.
///
/// # Errors
/// When the catalog or the file for the password cannot be opened, or the policies are wrong.
pub async fn open_accounts(
    directory: &DataDirectory,
    settings: crate::access::Settings,
    admin_password: Option<SecretString>,
    clock: Clock,
) -> Result<Accounts, StartError> {
    let catalog = Catalog::open_sqlite(&directory.database()).await.map_err(Error::from)?;
    let access = Access::new(catalog.clone(), settings, clock).await?;
    let mut password_file = None;
    if let Some(password) = access.first_start(admin_password).await? {
        let path = directory.admin_password();
        let line = format!("{}\n", password.expose_secret());
        write_private(&path, line.as_bytes()).map_err(|cause| StartError::Data { path: path.clone(), cause })?;
        password_file = Some(path);
    }
    Ok(Accounts { catalog, access, password_file })
}

/// Starts a server.
///
/// # Errors
/// What keeps it from starting, in words for the operator.
pub async fn start(options: Options) -> Result<Running, StartError> {
    for wanted in &options.repositories {
        check(wanted, &options.formats)?;
    }
    let directory = DataDirectory::open(&options.data)?;
    let lock = directory.lock()?;
    let master_key = directory.master_key()?;
    let blobs = Arc::new(FileBlobs::open(&directory.blobs()).await?);
    let Accounts { catalog, access, password_file } = open_accounts(&directory, options.access, options.admin_password, Arc::clone(&options.clock)).await?;
    reconcile(&catalog, &options.systems, &options.repositories, (options.clock)()).await?;
    let engine = Engine::new(Parts {
        catalog,
        blobs,
        access,
        formats: options.formats,
        master_key,
        clock: options.clock,
        cache_bytes: options.cache_bytes,
        max_upload: options.max_upload,
    })
    .await?;
    tokio::spawn(Arc::clone(&engine).watch());
    let listening = crate::http::listen(Arc::clone(&engine), options.http)?;
    Ok(Running { listening, engine, password_file, _lock: lock })
}
