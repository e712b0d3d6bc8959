//! Uploads in several requests: begun, continued where they broke off, finished; on any replica.
//!
//! A session belongs to a repository and to the principal that began it; for everybody else it does not exist. What it has taken is
//! durable only as far as the storage of the server says (see the server's own documentation): a client asks for the offset and goes on there.

use std::sync::Arc;

use async_trait::async_trait;

use crate::body::Body;
use crate::digest::Algorithm;
use crate::error::{Error, Result};
use crate::facade::Staged;
use crate::time::Timestamp;

/// An upload to be begun.
#[derive(Debug, Clone, Default)]
pub struct NewUpload {
    /// Hashes besides SHA-256, computed while the bytes come.
    pub algorithms: Vec<Algorithm>,
    /// At most so many bytes; the server's own limit applies when absent or larger.
    pub limit: Option<u64>,
    /// What the format wants to know again later: at most a few KiB.
    pub data: String,
}

/// An upload that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its name: random, unguessable.
    pub id: String,
    /// Bytes taken so far.
    pub offset: u64,
    /// What the format gave at the beginning.
    pub data: String,
    /// It is forgotten then, unless it is continued.
    pub expires: Timestamp,
    /// Whether its bytes were committed: nothing is left to do.
    pub committed: bool,
}

/// A part of an upload that the client sends to the storage itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DirectPart {
    /// Its number, from 1.
    pub number: u32,
    /// Where in the file it begins.
    pub offset: u64,
    /// How many bytes it has.
    pub size: u64,
    /// Where to `PUT` them. It is a credential: for the client, and for no log.
    pub url: String,
}

/// How an upload is cut into parts, and where those go that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DirectParts {
    /// How many parts there are.
    pub count: u32,
    /// The size of all but the last.
    pub part_size: u64,
    /// The parts that were asked for.
    pub parts: Vec<DirectPart>,
}

/// The uploads of one caller in one repository. Use it through [`crate::Repository`].
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Begins an upload.
    ///
    /// # Errors
    /// 429 when the caller has too many.
    async fn begin(&self, new: NewUpload) -> Result<Upload>;

    /// How an upload stands.
    ///
    /// # Errors
    /// 404 when the caller has none of that name here, or it was forgotten.
    async fn find(&self, id: &str) -> Result<Upload>;

    /// Takes the next bytes, which begin at `offset`. What arrived of a body that breaks off is kept.
    ///
    /// # Errors
    /// 409 when the upload stands elsewhere, or somebody else is continuing it; 413 over the limit; what broke the body.
    async fn append(&self, id: &str, offset: u64, body: Body) -> Result<Upload>;

    /// Ends the bytes: a staged body, for a commit. Doing it again gives the same.
    ///
    /// # Errors
    /// Failures of the store.
    async fn finish(&self, id: &str) -> Result<Arc<dyn Staged>>;

    /// Notes that the bytes were committed. The session stays for a while, so that a client whose answer was lost learns it.
    ///
    /// # Errors
    /// Failures of the store.
    async fn committed(&self, id: &str) -> Result<()>;

    /// Where the client sends parts of an upload of this length itself, from the first of these numbers up to the second, in place of
    /// [`Self::append`].
    ///
    /// # Errors
    /// 501 where the storage takes nothing from clients; 400 for a file that is too small, or numbers of parts that it does not have; 409 when
    /// bytes of the upload were taken here.
    async fn direct_parts(&self, _id: &str, _length: u64, _first: u32, _last: u32) -> Result<DirectParts> {
        Err(Error::not_implemented("this server's storage takes no parts from clients: send them to the server by PATCH"))
    }

    /// Makes what clients sent to the storage one object of this length, and reads it back for its hashes: a piece of it each time,
    /// the offset says how far it came.
    ///
    /// # Errors
    /// 409 when parts are missing or have other sizes, or somebody else is at it.
    async fn assemble(&self, _id: &str, _length: u64) -> Result<Upload> {
        Err(Error::not_implemented("this server's storage takes no parts from clients: send them to the server by PATCH"))
    }

    /// Forgets an upload and its bytes.
    ///
    /// # Errors
    /// 404 as for [`Self::find`].
    async fn cancel(&self, id: &str) -> Result<()>;
}
