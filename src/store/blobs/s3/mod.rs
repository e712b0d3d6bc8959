//! Blobs as objects of a bucket: `<prefix><digest>-<unique>`, spooled on local disk first.
//!
//! A body is hashed while it is spooled, so that a check of its content reads it locally and its object is written once, under a name
//! that was never used: nothing is copied or renamed at commit. Objects whose commit did not come about belong to nobody; gc
//! removes them.

mod chunks;
mod client;
mod failure;
mod parts;
mod read;
#[cfg(test)]
pub(crate) mod tests;
mod write;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use entrepot_kit::records::Content;
use entrepot_kit::{Result, Timestamp};
use futures::stream::{BoxStream, Iter};
use futures::{StreamExt as _, TryStreamExt as _};
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::places::{location, unique_name};
use super::staging::Staging;
use super::{BlobStore, BlobWriter, StagedBlob, StoredObject, WriteSpec};
use crate::store::model::{BlobFacts, BlobPlace};
use failure::{Reason, failed, reason};

pub(super) use write::Spooled;

/// Uploads in parts are abandoned when they are older by so much, in milliseconds: an upload in several requests may take days.
const ABANDONED: i64 = 6 * 24 * 3600 * 1000;
/// Requests with a body that are under way at once, for the whole process: each has buffers of its own.
const UPLOADS: usize = 8;

/// Where a bucket is, and how it is reached.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The bucket, which exists.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The URL of another S3 server than that of AWS.
    pub endpoint: Option<String>,
    /// The URL by which clients reach the same server, where it is another: redirected downloads go there.
    pub public_endpoint: Option<String>,
    /// Whether the bucket stands in the path of URLs, not in the name of the host.
    pub path_style: bool,
    /// The access key and its secret; without them the standard chain is asked: environment, profile, web identity, roles.
    pub credentials: Option<(String, SecretString)>,
    /// Certificates (PEM) of the authorities that are trusted in place of the system's.
    pub authorities: Option<String>,
    /// What all keys begin with; a slash is put behind it.
    pub prefix: String,
}

/// A bucket as this process uses it.
#[derive(Clone)]
struct Bucket {
    client: Client,
    name: Arc<str>,
    prefix: Arc<str>,
    public_endpoint: Option<Arc<str>>,
    /// Connections live on the runtime that made the store, not on the one of whoever needs them first.
    runtime: Handle,
    uploads: Arc<Semaphore>,
}

/// Objects of a bucket.
pub struct S3Blobs {
    bucket: Bucket,
    staging: Staging,
}

impl S3Blobs {
    /// Looks into the bucket, and makes a folder below `staging` for what this process spools.
    ///
    /// # Errors
    /// What is wrong with the bucket, its credentials or the folder, in words for the operator.
    pub async fn open(settings: &S3Settings, staging: &Path) -> Result<Self> {
        let prefix = settings.prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let bucket = Bucket {
            client: client::connect(settings).await?,
            name: settings.bucket.as_str().into(),
            prefix: prefix.into(),
            public_endpoint: settings.public_endpoint.as_deref().map(Into::into),
            runtime: Handle::current(),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
        };
        client::check(&bucket, settings).await?;
        Ok(Self { bucket, staging: Staging::open(staging).await? })
    }
}

impl Bucket {
    /// The key of an object.
    fn key(&self, name: &str) -> String {
        // No folders: S3 has none, and servers that keep objects as files remove an empty one while the next object goes in.
        format!("{}{name}", self.prefix)
    }

    /// What [`Self::key`] made a key of; nothing for objects that others put into the bucket.
    fn name<'k>(&self, key: &'k str) -> Option<&'k str> {
        let name = key.rsplit('/').next()?;
        let is_ours = name.len() > 64 && name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') && self.key(name) == key;
        is_ours.then_some(name)
    }
}

#[async_trait]
impl BlobStore for S3Blobs {
    async fn writer(&self, spec: WriteSpec) -> Result<BlobWriter> {
        Ok(BlobWriter::new(self.staging.folder().to_owned(), &spec))
    }

    async fn persist(&self, staged: &StagedBlob) -> Result<BlobFacts> {
        if let Some(facts) = staged.settled() {
            return Ok(facts);
        }
        let spooled = staged.spooled()?;
        // A new name each time: whatever a failed attempt left, or still sends, is not this object.
        let name = unique_name(&staged.facts().digest)?;
        self.bucket.upload(&self.bucket.key(&name), &spooled, staged.facts().size).await?;
        Ok(staged.placed(name))
    }

    async fn open(&self, place: &BlobPlace) -> Result<Arc<dyn Content>> {
        // The catalog knows the size: whether the object is there and has it shows when it is read.
        let key = self.bucket.key(&location(place)?);
        Ok(read::content(self.bucket.clone(), key, place))
    }

    async fn remove(&self, place: &BlobPlace) -> Result<()> {
        let key = self.bucket.key(&location(place)?);
        let sent = self.bucket.client.delete_object().bucket(&*self.bucket.name).key(key).send().await;
        sent.map(drop).map_err(|error| failed("cannot remove an object", error))
    }

    async fn look(&self, place: &BlobPlace) -> Result<Option<u64>> {
        let key = self.bucket.key(&location(place)?);
        match self.bucket.client.head_object().bucket(&*self.bucket.name).key(key).send().await {
            Ok(found) => Ok(Some(found.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or_default())),
            Err(error) if matches!(reason(&error), Reason::Missing) => Ok(None),
            Err(error) => Err(failed("cannot look at an object", error)),
        }
    }

    async fn ready(&self) -> Result<()> {
        let sent = self.bucket.client.head_bucket().bucket(&*self.bucket.name).send().await;
        sent.map(drop).map_err(|error| failed("cannot look at the bucket", error))
    }

    async fn sweep(&self, before: Timestamp) -> Result<u64> {
        parts::sweep(&self.bucket, before.plus(-ABANDONED)).await
    }

    fn list(&self) -> BoxStream<'_, Result<StoredObject>> {
        let pages = futures::stream::try_unfold(Some(None), move |next: Option<Option<String>>| async move {
            match next {
                None => Ok(None),
                Some(token) => self.page(token).await.map(Some),
            }
        });
        pages.try_flatten().boxed()
    }
}

/// Listed objects, and where the next page begins.
type Page = (Iter<std::vec::IntoIter<Result<StoredObject>>>, Option<Option<String>>);

impl S3Blobs {
    async fn page(&self, token: Option<String>) -> Result<Page> {
        let request = self.bucket.client.list_objects_v2().bucket(&*self.bucket.name).prefix(&*self.bucket.prefix);
        let page = request.set_continuation_token(token).send().await.map_err(|error| failed("cannot list the bucket", error))?;
        let next = page.next_continuation_token().map(|token| Some(token.to_owned()));
        Ok((futures::stream::iter(self.objects(page.contents())), next))
    }

    fn objects(&self, listed: &[aws_sdk_s3::types::Object]) -> Vec<Result<StoredObject>> {
        let stored = |object: &aws_sdk_s3::types::Object| {
            let modified = object.last_modified().and_then(|time| time.to_millis().ok()).unwrap_or_default();
            let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
            let location = self.bucket.name(object.key()?)?.to_owned();
            Some(Ok(StoredObject { location, size, modified: Timestamp(modified) }))
        };
        listed.iter().filter_map(stored).collect()
    }
}
