//! Index documents of folders: what they are made of, and those that are held in memory.

use std::sync::Arc;

use entrepot_kit::{Document, Error, FolderState, Kind, Making, Moment, Piece, Pieces, Result};

use crate::registry::cache::{DocumentKey, Made};
use crate::registry::reader::Reader;
use crate::registry::{Engine, Repo};

/// The variant of documents that formats make themselves.
const DERIVED: &str = "derived";

fn check_hosted(repo: &Repo) -> Result<()> {
    match repo.kind() {
        Kind::Hosted => Ok(()),
        Kind::Proxy | Kind::Group => Err(Error::internal("only hosted repositories have fragments of folders")),
    }
}

impl Reader {
    /// What lies below a folder.
    pub(crate) async fn folder(&self, repo: &Arc<Repo>, folder: &str) -> Result<Option<FolderState>> {
        check_hosted(repo)?;
        self.note(entrepot_kit::Source::Hosted);
        // What is committed and not yet known as the newest cannot be read as of its revision: it is not looked at.
        let at = self.engine.revision(repo, self.moment).await?.unwrap_or_else(|| repo.head());
        let key = ((repo.id(), at), folder.to_owned());
        if let Some(state) = self.engine.cache.folders.get(&key) {
            return Ok(state);
        }
        let state = self.engine.catalog.folder(repo.id(), folder, repo.row.horizon, Some(at)).await?;
        self.engine.cache.folders.insert(key, state);
        Ok(state)
    }

    /// Fragments of the packages below a folder.
    pub(crate) async fn pieces(&self, repo: &Arc<Repo>, pieces: Pieces) -> Result<Vec<Piece>> {
        check_hosted(repo)?;
        let at = self.engine.revision(repo, self.moment).await?;
        Ok(self.engine.catalog.pieces(repo.id(), pieces, at.unwrap_or_else(|| repo.head())).await?)
    }
}

impl Engine {
    /// A document that a key says everything of.
    pub(crate) async fn derived(&self, repo: &Repo, key: &str, make: Making) -> Result<Arc<Document>> {
        let key = DocumentKey { repository: repo.id(), scope: 0, package: key.to_owned(), variant: DERIVED.to_owned(), base: String::new() };
        let cached = || self.cache.documents.get(&key).map(|made| made.document);
        if let Some(document) = cached() {
            self.metrics.document_hits.inc();
            return Ok(document);
        }
        let _one_at_a_time = self.locks.lock(&format!("{DERIVED}/{}/{}", key.repository, key.package)).await;
        if let Some(document) = cached() {
            self.metrics.document_hits.inc();
            return Ok(document);
        }
        self.metrics.document_misses.inc();
        let document = Arc::new(make.await?);
        self.cache.documents.insert(key, Made { stamp: Arc::from(""), document: Arc::clone(&document), amends: false });
        Ok(document)
    }
}

/// Before which moment nothing is remembered.
pub(super) fn remembered(repo: &Repo, moment: Moment) -> Result<Moment> {
    match moment {
        Moment::Revision(_) if repo.kind() == Kind::Group => Err(Error::not_found("a group has no revisions of its own: it is read as of a time")),
        Moment::Revision(revision) => Ok(Moment::Revision(revision.max(repo.row.horizon))),
        Moment::Time(_) => Ok(moment),
    }
}
