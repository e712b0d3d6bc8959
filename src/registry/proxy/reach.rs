//! What an upstream is not asked for: what it did not have a while ago, and what it says that it cannot have.

use std::sync::Arc;

use entrepot_kit::{PathPrefixes, Result, Sha256Digest, Timestamp, UpstreamPath};

use super::job::{Job, What, index_path};
use super::{Answer, settled};
use crate::registry::cache::Missing;
use crate::registry::fill::Progress;
use crate::registry::reader::Reader;
use crate::registry::{Engine, Repo};

/// For how many seconds an upstream is not asked again what its paths begin with after that failed.
const SILENCE: u32 = 10;

fn is_within(at: Timestamp, now: Timestamp, seconds: u32) -> bool {
    now.0.saturating_sub(at.0) < i64::from(seconds) * 1000
}

impl Engine {
    /// What is kept as the index of the package that a job is of.
    async fn index_digest(&self, repo: &Repo, job: &Job) -> Result<Option<Sha256Digest>> {
        let Some(package) = &job.package else { return Ok(None) };
        Ok(self.stored(repo, &index_path(package), None).await?.and_then(|stored| stored.entry.digest))
    }

    /// Remembers that the upstream has no such file, of those that never change.
    pub(super) async fn note_missing(&self, repo: &Repo, job: &Job) -> Result<()> {
        let index = self.index_digest(repo, job).await?;
        self.cache.missing.insert((repo.id(), job.path.clone()), Missing { at: self.now(), index });
        Ok(())
    }

    /// Takes back that an upstream has no such file.
    pub(super) fn forget_missing(&self, repo: &Repo, path: &str) {
        self.cache.missing.invalidate(&(repo.id(), path.to_owned()));
    }
}

impl Reader {
    /// Whether the upstream said lately that there is no such file, and the index of the package has said nothing new since.
    pub(super) async fn is_missing(&self, repo: &Repo, job: &Job) -> Result<bool> {
        match self.engine.cache.missing.get(&(repo.id(), job.path.clone())) {
            Some(missing) if is_within(missing.at, self.now, repo.format.missing_lifetime()) => Ok(missing.index == self.engine.index_digest(repo, job).await?),
            _ => Ok(false),
        }
    }

    /// Whether the upstream says that it has nothing where a job would ask. While it does not say what its paths begin with, everything is asked for.
    pub(super) async fn is_out_of_reach(&self, repo: &Arc<Repo>, job: &Job) -> bool {
        let Some(path) = repo.format.prefixes_path(&repo.row.settings) else { return false };
        if job.path == path || job.target.contains("://") || self.moment.is_some() {
            return false;
        }
        match self.prefixes(repo, path).await {
            Ok(Some(prefixes)) => !prefixes.admits(&job.target),
            Ok(None) => false,
            Err(error) => {
                tracing::debug!(repository = %repo.address(), %error, "what the upstream's paths begin with is not known");
                self.engine.cache.missing.insert((repo.id(), path.to_owned()), Missing { at: self.now, index: None });
                false
            }
        }
    }

    /// What the paths of an upstream begin with, from the document that says it: asked for as any other that changes.
    async fn prefixes(&self, repo: &Arc<Repo>, path: &str) -> Result<Option<Arc<PathPrefixes>>> {
        let silence = self.engine.cache.missing.get(&(repo.id(), path.to_owned()));
        let UpstreamPath::Document(document) = repo.format.classify(path) else { return Ok(None) };
        if silence.is_some_and(|silence| is_within(silence.at, self.now, SILENCE)) {
            return Ok(None);
        }
        let job = Job::file(path, None, What::Document(document));
        let stored = match Box::pin(self.changing(repo, job)).await? {
            Answer::Kept(stored, _) => stored,
            Answer::Missing => return Ok(None),
            Answer::Filling(mut progress) => match settled(&mut progress, true).await? {
                Progress::Done(stored, _) => stored,
                Progress::Failed(error) => return Err(crate::registry::fill::again(&error)),
                _ => return Ok(None),
            },
        };
        let Some(digest) = stored.entry.digest else { return Ok(None) };
        let key = (repo.format.id(), digest);
        if let Some(prefixes) = self.engine.cache.prefixes.get(&key) {
            return Ok(prefixes);
        }
        let (document, format) = (self.engine.whole(&stored).await?, Arc::clone(&repo.format));
        let prefixes = entrepot_kit::blocking(move || Ok(format.read_prefixes(&document).map(Arc::new))).await?;
        self.engine.cache.prefixes.insert(key, prefixes.clone());
        Ok(prefixes)
    }
}
