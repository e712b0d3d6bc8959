//! What has to come back with a version or a file that is restored: documents that it leads to and that ended meanwhile, what these need, and
//! what referred to them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{Error, Holding, Need, Result, Sha256Digest};
use futures::StreamExt as _;

use crate::registry::{Engine, Repo};
use crate::store::facts::DeadEntry;
use crate::store::model::{BlobPlace, NewRow};

/// Most paths of a package's past that are looked at.
const MOST_PATHS: usize = 100_000;
/// Most paths that come back with one.
const MOST: usize = 10_000;
/// Largest document that is read.
const MOST_DOCUMENT: u64 = 4 << 20;

impl Engine {
    /// The rows that bring back a version of a package, or the file at a path, with all that belongs to it.
    pub(crate) async fn restoration(&self, repo: &Arc<Repo>, package: &str, wanted: NewRow) -> Result<Vec<NewRow>> {
        let dead = self.catalog.dead_entries(repo.id(), package, MOST_PATHS).await?;
        let begins = |entry: &&DeadEntry| match &wanted {
            NewRow::RestoredVersion { version, .. } => entry.version.as_ref() == Some(version),
            NewRow::RestoredEntry { path } => entry.path == *path,
            _ => false,
        };
        let first: Vec<&DeadEntry> = dead.iter().filter(begins).collect();
        let own = match &wanted {
            NewRow::RestoredEntry { path } => Some(path.clone()),
            _ => None,
        };
        let mut search = Search { engine: self, repo, package, past: Past::new(repo, package, &dead), found: Vec::new(), seen: HashSet::new() };
        for entry in first {
            search.document(entry.path.clone(), entry.blob).await?;
        }
        let more = search.found.into_iter().filter(|path| Some(path) != own.as_ref()).map(|path| NewRow::RestoredEntry { path });
        Ok(std::iter::once(wanted).chain(more).collect())
    }
}

/// What ended of a package, by what it is asked for.
struct Past<'a> {
    paths: HashMap<&'a str, Sha256Digest>,
    of_blob: HashMap<Sha256Digest, Vec<&'a str>>,
    held_by: HashMap<String, Vec<(&'a str, Sha256Digest)>>,
}

impl<'a> Past<'a> {
    fn new(repo: &Repo, package: &str, dead: &'a [DeadEntry]) -> Self {
        let mut past = Self { paths: HashMap::new(), of_blob: HashMap::new(), held_by: HashMap::new() };
        for entry in dead.iter().filter(|entry| entry.version.is_none()) {
            past.paths.insert(&entry.path, entry.blob);
            match repo.format.holding(package, &entry.path) {
                Holding::HeldBy(document) => {
                    past.held_by.entry(document).or_default().push((&entry.path, entry.blob));
                    past.of_blob.entry(entry.blob).or_default().push(&entry.path);
                }
                Holding::Document | Holding::Holds(_) => past.of_blob.entry(entry.blob).or_default().push(&entry.path),
                Holding::Itself | Holding::Part => {}
            }
        }
        past
    }
}

struct Search<'a> {
    engine: &'a Engine,
    repo: &'a Arc<Repo>,
    package: &'a str,
    past: Past<'a>,
    found: Vec<String>,
    seen: HashSet<Sha256Digest>,
}

impl Search<'_> {
    /// Follows a document, and all that it leads to.
    async fn document(&mut self, path: String, blob: Sha256Digest) -> Result<()> {
        let mut waiting = vec![(path, blob)];
        while let Some((path, blob)) = waiting.pop() {
            if !self.seen.insert(blob) {
                continue;
            }
            let own: Vec<String> = self.past.of_blob.get(&blob).into_iter().flatten().map(|path| (*path).to_owned()).collect();
            for path in &own {
                for (mark, referrer) in self.past.held_by.get(path).into_iter().flatten() {
                    waiting.push(((*mark).to_owned(), *referrer));
                }
            }
            self.found.extend(own);
            for Need { path, document } in self.needs(&path, blob).await? {
                let Some(blob) = self.past.paths.get(path.as_str()).copied() else { continue };
                if document {
                    waiting.push((path, blob));
                } else if !self.found.contains(&path) {
                    self.found.push(path);
                }
            }
            if self.found.len() > MOST {
                return Err(Error::unprocessable(format!("more than {MOST} files of {:?} would have to come back with it", self.package)));
            }
        }
        Ok(())
    }

    /// What a document needs; nothing where it is none.
    async fn needs(&self, path: &str, blob: Sha256Digest) -> Result<Vec<Need>> {
        // Where nothing ended that something needs, nothing has to be read.
        if self.past.paths.is_empty() {
            return Ok(Vec::new());
        }
        let Some(facts) = self.engine.catalog.blob(blob).await?.filter(|facts| facts.size <= MOST_DOCUMENT) else { return Ok(Vec::new()) };
        let document: Bytes = match facts.inline {
            Some(bytes) => bytes,
            None => {
                let content = self.engine.blobs.open(&BlobPlace { digest: blob, size: facts.size, location: facts.location }).await?;
                let mut stream = content.stream(None).await?;
                let mut bytes = Vec::new();
                while let Some(chunk) = stream.next().await {
                    bytes.extend_from_slice(&chunk?);
                }
                bytes.into()
            }
        };
        let (format, path) = (Arc::clone(&self.repo.format), path.to_owned());
        // What is no document of the format needs nothing.
        entrepot_kit::blocking(move || Ok(format.needs(&path, &document, &[]).unwrap_or_default())).await
    }
}
