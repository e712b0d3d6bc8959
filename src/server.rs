//! Putting the house together: storage, access, engine, listener.

mod data_directory;
pub mod remotes;
pub mod storage;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use entrepot_kit::Error;
use secrecy::{ExposeSecret as _, SecretString};

use crate::access::{Access, DeclaredPublisher};
use crate::clock::Clock;
use crate::http::{Listening, Settings};
use crate::jobs::Schedule;
use crate::registry::reconcile::{DeclaredSystem, Wanted, check, reconcile};
use crate::registry::{Engine, Parts};
use crate::replicas::Meeting;
use data_directory::write_private;
use storage::{Records, Storage, Who};

pub use data_directory::DataDirectory;

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
    /// Where it keeps things.
    pub storage: storage::Settings,
    /// How it is reached.
    pub http: Settings,
    /// How access is decided.
    pub access: crate::access::Settings,
    /// Bytes of cached documents.
    pub cache_bytes: u64,
    /// Most bytes of one file.
    pub max_upload: u64,
    /// When garbage is removed.
    pub gc: Schedule,
    /// The Redis server by which replicas tell each other what changed.
    pub redis: Option<SecretString>,
    /// The password of `admin` on the first start.
    pub admin_password: Option<SecretString>,
    /// Declared systems.
    pub systems: Vec<DeclaredSystem>,
    /// Declared repositories.
    pub repositories: Vec<Wanted>,
    /// The file that declares some of them, which may change.
    pub remotes: Option<remotes::Remotes>,
    /// Declared publishers.
    pub publishers: Vec<DeclaredPublisher>,
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
    /// Who watches the file of remotes.
    pub remotes: Option<Arc<remotes::Watch>>,
    _lock: Option<File>,
}

/// Who is in a catalog: what the server and the commands on its records share.
pub struct Accounts {
    /// Principals, tokens and policies.
    pub access: Arc<Access>,
    /// The file with the first password, when this was the first start and none was given.
    pub password_file: Option<PathBuf>,
}

/// Opens the accounts in a catalog. Whoever comes first, server or command, makes the user `admin`.
///
/// # Errors
/// When the file for the password cannot be written, or the policies are wrong, and failures of the catalog.
pub async fn open_accounts(
    records: &Records,
    settings: crate::access::Settings,
    admin_password: Option<SecretString>,
    clock: Clock,
) -> Result<Accounts, StartError> {
    let access = Access::new(records.catalog.clone(), settings, clock).await?;
    let mut password_file = None;
    if let Some(password) = access.first_start(admin_password).await? {
        let path = records.directory.admin_password();
        let line = format!("{}\n", password.expose_secret());
        write_private(&path, line.as_bytes()).map_err(|cause| StartError::Data { path: path.clone(), cause })?;
        password_file = Some(path);
    }
    Ok(Accounts { access, password_file })
}

/// Starts a server.
///
/// # Errors
/// What keeps it from starting, in words for the operator.
pub async fn start(options: Options) -> Result<Running, StartError> {
    for wanted in &options.repositories {
        check(wanted, &options.formats)?;
    }
    for publisher in &options.publishers {
        publisher.check().map_err(|error| Error::bad_request(format!("the publisher {}: {}", publisher.name, error.message())))?;
    }
    let meeting = meeting(&options)?;
    let remotes = options.remotes.map(|remotes| (remotes.look(), remotes));
    let Storage { records, blobs, uploads, master_key, lock } = storage::open(&options.storage, Who::Server, (options.clock)()).await?;
    let Accounts { access, password_file } = open_accounts(&records, options.access, options.admin_password, Arc::clone(&options.clock)).await?;
    reconcile(&records.catalog, &options.systems, &options.repositories, (options.clock)()).await?;
    access.declare_publishers(&options.publishers).await?;
    let engine = Engine::new(Parts {
        catalog: records.catalog,
        blobs,
        uploads,
        access,
        formats: options.formats,
        master_key,
        clock: options.clock,
        cache_bytes: options.cache_bytes,
        max_upload: options.max_upload,
    })
    .await?;
    if let Some(meeting) = meeting {
        meeting.join(&engine).map_err(Error::internal)?;
    }
    tokio::spawn(Arc::clone(&engine).watch());
    tokio::spawn(crate::jobs::run(Arc::clone(&engine), options.gc));
    tokio::spawn(crate::jobs::forget_uploads(Arc::clone(&engine)));
    tokio::spawn(Arc::clone(&engine).keep_notes());
    let remotes = remotes.map(|(seen, remotes)| remotes::Watch::new(remotes, seen, Arc::clone(&engine), options.systems));
    if let Some(remotes) = &remotes {
        tokio::spawn(Arc::clone(remotes).run());
    }
    tokio::spawn(crate::registry::keys::begin_randomness());
    let listening = crate::http::listen(Arc::clone(&engine), options.http)?;
    Ok(Running { listening, engine, password_file, remotes, _lock: lock })
}

/// Where the replicas of this server meet, if there is such a place and there are replicas.
fn meeting(options: &Options) -> Result<Option<Meeting>, StartError> {
    match (&options.redis, &options.storage.shared, &options.storage.master_key) {
        (None, ..) => Ok(None),
        (Some(url), Some(_), Some(master_key)) => Ok(Some(Meeting::new(url, master_key).map_err(Error::bad_request)?)),
        (Some(_), ..) => {
            tracing::info!("redis.url is not used: a server on a data directory of its own has nobody to tell anything");
            Ok(None)
        }
    }
}
