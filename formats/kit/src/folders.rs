//! Index documents of folders: of all packages that lie below one, whatever they are called. They are made of the fragments of these packages'
//! versions, some at a time, so that none has to be in memory whole; and they can be made once more as of any revision, so that no old state
//! of them has to be kept.

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::error::Result;
use crate::records::Document;
use crate::time::Timestamp;

/// A moment in a repository's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Right after a revision, which counts one repository.
    Revision(u64),
    /// A time.
    Time(Timestamp),
}

/// What lies below a folder of a hosted repository, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderState {
    /// The first revision that is remembered at which everything below the folder was as it is.
    pub revision: u64,
    /// When it was changed last.
    pub time: Timestamp,
    /// How many files of versions there are.
    pub files: u64,
}

/// Which fragments to read.
#[derive(Debug, Clone)]
pub struct Pieces {
    /// Of the packages below this folder; empty, or ending with a slash.
    pub folder: String,
    /// Which kind of them.
    pub kind: &'static str,
    /// Continue behind this path.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// A fragment, and the file that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The path of the file.
    pub path: String,
    /// Its package.
    pub package: String,
    /// The fragment.
    pub bytes: Bytes,
}

/// Makes a document that is kept in memory.
pub type Making = BoxFuture<'static, Result<Document>>;
