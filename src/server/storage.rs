//! Where a server keeps things: SQLite and files in a data directory, or PostgreSQL and a bucket that any number of replicas share.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use entrepot_kit::{Error, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};

use super::{DataDirectory, StartError};
use crate::config::Config;
use crate::registry::keys::MasterKey;
use crate::store::blobs::{BlobStore, FileBlobs, S3Blobs, S3Settings};
use crate::store::catalog::Catalog;
use crate::store::uploads::{LocalUploads, SharedUploads, UploadStore};

/// Which storage, and what it needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory. Replicas only spool and write the first password there.
    pub data: PathBuf,
    /// The master key in hexadecimal; without it the file in the data directory.
    pub master_key: Option<SecretString>,
    /// What replicas share; without it everything is in the data directory.
    pub shared: Option<Shared>,
}

/// The storage that replicas share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The PostgreSQL database.
    pub database_url: SecretString,
    /// The bucket.
    pub blobs: S3Settings,
}

impl Settings {
    /// Everything in a data directory.
    #[must_use]
    pub fn embedded(data: PathBuf) -> Self {
        Self { data, master_key: None, shared: None }
    }

    /// What the configuration says.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let (url, blobs) = (&config.database.url, &config.blobs);
        let shared = (!url.is_sqlite()).then(|| Shared {
            database_url: url.expose().into(),
            blobs: S3Settings {
                bucket: blobs.bucket.clone(),
                region: blobs.region.clone(),
                endpoint: blobs.endpoint.clone(),
                public_endpoint: blobs.public_endpoint.clone(),
                path_style: blobs.path_style,
                credentials: blobs.secret_key.clone().map(|secret| (blobs.access_key.clone(), secret)),
                authorities: blobs.authorities.clone(),
                prefix: blobs.prefix.clone(),
            },
        });
        Self { data: config.server.data.clone(), master_key: config.server.master_key.clone(), shared }
    }

    /// Whether a server made something here already, as far as that can be seen without making it.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.shared.is_some() || DataDirectory::at(&self.data).database().exists()
    }
}

/// Who opens a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A server: the only one on its data directory, or one replica of many.
    Server,
    /// A command, perhaps beside servers.
    Command,
}

/// The records, and the data directory.
pub struct Records {
    /// The data directory.
    pub directory: DataDirectory,
    /// The catalog.
    pub catalog: Catalog,
}

/// Records and bytes.
pub struct Storage {
    /// The records.
    pub records: Records,
    /// The bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// Uploads in several requests.
    pub uploads: Arc<dyn UploadStore>,
    /// What seals the keys in the catalog; proven to be the one that sealed them.
    pub master_key: MasterKey,
    /// What keeps a second server off the data directory as long as it is kept.
    pub lock: Option<File>,
}

/// Opens the records only.
///
/// # Errors
/// When the data directory or the database cannot be used.
pub async fn open_records(settings: &Settings) -> Result<Records, StartError> {
    let directory = DataDirectory::open(&settings.data)?;
    records(settings, directory).await
}

async fn records(settings: &Settings, directory: DataDirectory) -> Result<Records, StartError> {
    let catalog = match &settings.shared {
        None => Catalog::open_sqlite(&directory.database()).await,
        Some(shared) => Catalog::open_postgres(shared.database_url.expose_secret()).await,
    };
    Ok(Records { catalog: catalog.map_err(Error::from)?, directory })
}

/// Records and bytes as they lie there, for moving them as a whole: nothing is added, and they may be half filled.
///
/// # Errors
/// When one of them cannot be used, in words for the operator.
pub async fn open_at_rest(settings: &Settings, directory: &DataDirectory) -> Result<(Catalog, Arc<dyn BlobStore>), StartError> {
    match &settings.shared {
        None => {
            let catalog = Catalog::open_sqlite_at_rest(&directory.database()).await.map_err(Error::from)?;
            Ok((catalog, Arc::new(FileBlobs::open(&directory.blobs()).await?)))
        }
        Some(shared) => {
            let blobs = S3Blobs::open(&shared.blobs, &directory.staging()).await?;
            let catalog = Catalog::open_postgres_at_rest(shared.database_url.expose_secret()).await.map_err(Error::from)?;
            Ok((catalog, Arc::new(blobs)))
        }
    }
}

fn master_key(settings: &Settings, directory: &DataDirectory) -> Result<MasterKey, StartError> {
    match &settings.master_key {
        Some(key) => Ok(MasterKey::from_hex(key)?),
        None => directory.master_key(),
    }
}

/// The records, and what seals the keys in them; proven to be the one that sealed them.
///
/// # Errors
/// When they cannot be used, in words for the operator.
pub async fn open_keys(settings: &Settings, now: Timestamp) -> Result<(Records, MasterKey), StartError> {
    let records = open_records(settings).await?;
    let master_key = master_key(settings, &records.directory)?;
    master_key.prove(&records.catalog, now).await?;
    Ok((records, master_key))
}

/// Opens records and bytes.
///
/// # Errors
/// When one of them cannot be used, in words for the operator; [`StartError::Locked`] for the second server on a data directory.
pub async fn open(settings: &Settings, who: Who, now: Timestamp) -> Result<Storage, StartError> {
    let directory = DataDirectory::open(&settings.data)?;
    let lock = (settings.shared.is_none() && who == Who::Server).then(|| directory.lock()).transpose()?;
    let master_key = master_key(settings, &directory)?;
    let (records, blobs, uploads): (_, Arc<dyn BlobStore>, Arc<dyn UploadStore>) = match &settings.shared {
        None => {
            let files = FileBlobs::open(&directory.blobs()).await?;
            if who == Who::Server {
                files.clear_staging().await?;
            }
            let files = Arc::new(files);
            (records(settings, directory).await?, Arc::clone(&files) as _, Arc::new(LocalUploads::new(files)))
        }
        Some(shared) => {
            let objects = Arc::new(S3Blobs::open(&shared.blobs, &directory.staging()).await?);
            let records = records(settings, directory).await?;
            let uploads = SharedUploads::new(records.catalog.clone(), Arc::clone(&objects) as _);
            (records, objects, Arc::new(uploads))
        }
    };
    master_key.prove(&records.catalog, now).await?;
    Ok(Storage { records, blobs, uploads, master_key, lock })
}
