//! Gathering: a proxy is made to fetch every file whose path matches a pattern, as far as its upstream says what it has.

mod names;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use entrepot_kit::path::encode_path;
use entrepot_kit::{Error, Kind, Result, Source};
use futures::StreamExt as _;
use http::StatusCode;
use regex::{Regex, RegexBuilder};
use tokio::sync::OwnedSemaphorePermit;

use self::names::{Found, beginning};
use crate::registry::artifactapi::{Package, Remote};
use crate::registry::prefetch::{AT_ONCE, Wanted, size_of};
use crate::registry::reader::Reader;
use crate::registry::{Context, Engine, Repo};
use crate::upstream::{Fetch, Target};

/// Most files that one gathering fetches.
pub(crate) const MOST_FILES: usize = 1000;
/// Most folders that it looks into, and how deep it goes.
const MOST_FOLDERS: (usize, usize) = (100, 8);
/// Largest page that lists a folder.
const MOST_PAGE: usize = 4 << 20;
/// Longest pattern, and most memory of it once it is compiled.
const MOST_PATTERN: (usize, usize) = (1000, 1 << 20);

/// What became of a file.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// It is kept, and was before.
    Kept(u64),
    /// It was fetched just now.
    Fetched(u64),
    /// The upstream names it and does not have it.
    Missing,
    /// It could not be had.
    Failed(String),
}

/// What came of a gathering.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Each file that matches.
    pub(crate) files: Vec<(String, Outcome)>,
    /// Whether there is more than was looked at or fetched.
    pub(crate) more: bool,
}

/// A gathering that has its place among those that may run.
pub(crate) struct Gathering {
    engine: Arc<Engine>,
    context: Context,
    reader: Reader,
    repo: Arc<Repo>,
    package: Package,
    pattern: Regex,
    _place: OwnedSemaphorePermit,
}

impl Engine {
    /// Takes a place for a gathering.
    ///
    /// # Errors
    /// 400 for a repository that fetches nothing, or a pattern that is none; 503 when enough of them run.
    pub(crate) fn gather(self: &Arc<Self>, context: &Context, repo: &Arc<Repo>, pattern: &str) -> Result<Gathering> {
        if repo.kind() != Kind::Proxy {
            return Err(Error::bad_request(format!("{} has no upstream to fetch from", repo.address())));
        }
        let (longest, memory) = MOST_PATTERN;
        if pattern.is_empty() || pattern.len() > longest {
            return Err(Error::bad_request(format!("pattern is a regular expression of at most {longest} bytes over paths, such as \"^v3/main/.*\\\\.apk$\"")));
        }
        let compiled = RegexBuilder::new(pattern).size_limit(memory).dfa_size_limit(memory).build();
        let pattern = compiled.map_err(|error| Error::bad_request(format!("pattern: {error}")))?;
        let place = Arc::clone(&self.prefetches).try_acquire_owned();
        let place = place.map_err(|_| Error::unavailable(format!("{AT_ONCE} prefetches run already: try again when one has ended"), 30))?;
        let package = Remote::from_settings(&repo.row.settings)?.unwrap_or_default().package;
        let reader = Reader::new(Arc::clone(self), context.caller.clone(), context.now, None);
        Ok(Gathering { engine: Arc::clone(self), context: context.clone(), reader, repo: Arc::clone(repo), package, pattern, _place: place })
    }

    /// Runs a gathering to its end, whoever waits for it.
    pub(crate) fn run_gathering(&self, gathering: Gathering) -> tokio::task::JoinHandle<Result<Gathered>> {
        self.runtime.spawn(async move {
            let outcome = gathering.run().await;
            let (repository, pattern) = (gathering.repo.address(), gathering.pattern.as_str());
            match &outcome {
                Ok(done) => tracing::info!(%repository, pattern, files = done.files.len(), more = done.more, "gathered"),
                Err(error) => tracing::warn!(%repository, pattern, %error, cause = ?std::error::Error::source(error), "a gathering failed"),
            }
            outcome
        })
    }
}

impl Gathering {
    async fn run(&self) -> Result<Gathered> {
        let (paths, more) = match self.package {
            Package::Docker => self.tags().await?,
            _ => self.files().await?,
        };
        let outcomes = futures::stream::iter(paths.into_iter().map(async |path| {
            let outcome = self.bring(&path).await.unwrap_or_else(|error| Outcome::Failed(error.message().to_owned()));
            (path, outcome)
        }));
        Ok(Gathered { files: outcomes.buffered(AT_ONCE).collect().await, more })
    }

    /// Waits until a file is kept.
    async fn bring(&self, path: &str) -> Result<Outcome> {
        if self.package == Package::Docker {
            return self.bring_image(path).await;
        }
        let Some(file) = self.reader.entry(&self.repo, path).await? else { return Ok(Outcome::Missing) };
        let size = size_of(&file).await?;
        Ok(if file.source == Source::Remote { Outcome::Fetched(size) } else { Outcome::Kept(size) })
    }

    /// An image is what its tag leads to, with all that this needs.
    async fn bring_image(&self, path: &str) -> Result<Outcome> {
        let Some((image, tag)) = path.split_once("/manifests/") else { return Ok(Outcome::Missing) };
        let wanted = Wanted { package: image.to_owned(), version: tag.to_owned(), platforms: Vec::new() };
        match self.engine.prefetch_beside(&self.context, &self.repo, wanted, path.to_owned()).run().await {
            Ok(done) if done.fetched > 0 => Ok(Outcome::Fetched(done.bytes)),
            Ok(done) => Ok(Outcome::Kept(done.bytes)),
            Err(error) if error.status() == StatusCode::NOT_FOUND => Ok(Outcome::Missing),
            Err(error) => Err(error),
        }
    }

    /// The manifests by tag of the image that the pattern begins with.
    async fn tags(&self) -> Result<(Vec<String>, bool)> {
        let (beginning, _) = beginning(self.pattern.as_str());
        let image = beginning.split_once("/manifests").map_or(beginning.as_str(), |(image, _)| image).trim_end_matches('/');
        let image = self.repo.full_name(image).into_owned();
        let records = self.reader.records(&self.repo, &image, "").await?;
        let records = records.ok_or_else(|| Error::not_found(format!("the upstream has no image {image:?}: begin the pattern with the name of one")))?;
        let paths = records.versions.iter().filter_map(|record| self.repo.format.version_path(&image, &record.version));
        let mut matching = paths.filter(|path| self.pattern.is_match(path));
        let paths: Vec<String> = matching.by_ref().take(MOST_FILES).collect();
        Ok((paths, matching.next().is_some()))
    }

    /// The files that indexes and listings name.
    async fn files(&self) -> Result<(Vec<String>, bool)> {
        let (beginning, is_whole) = beginning(self.pattern.as_str());
        let mut found = BTreeSet::new();
        let mut more = false;
        let folder = beginning.rsplit_once('/').map_or_else(String::new, |(folder, _)| format!("{folder}/"));
        let mut starts = vec![folder];
        if !self.pattern.as_str().starts_with('^') && !starts.contains(&String::new()) {
            starts.push(String::new());
        }
        let mut waiting: VecDeque<(String, usize)> = starts.into_iter().map(|folder| (folder, 0)).collect();
        let mut seen: HashSet<String> = waiting.iter().map(|(folder, _)| folder.clone()).collect();
        let (mut failed, mut is_listed) = (None, false);
        let (most_folders, deepest) = MOST_FOLDERS;
        let mut looked = 0;
        while let Some((folder, depth)) = waiting.pop_front() {
            if looked == most_folders || found.len() >= MOST_FILES {
                more = true;
                break;
            }
            looked += 1;
            let names = match self.look(&folder).await {
                Ok(names) => names,
                Err(error) => {
                    failed.get_or_insert(error);
                    continue;
                }
            };
            is_listed = true;
            more |= names.more;
            for path in names.paths {
                if path.ends_with('/') {
                    if depth < deepest && seen.insert(path.clone()) {
                        waiting.push_back((path, depth + 1));
                    }
                } else if self.pattern.is_match(&path) {
                    found.insert(path);
                }
            }
        }
        if found.is_empty() && is_whole && self.pattern.is_match(&beginning) {
            // It is a path itself: no listing is needed.
            found.insert(beginning);
        }
        match failed {
            Some(error) if found.is_empty() && !is_listed => Err(error),
            _ => {
                more |= found.len() > MOST_FILES;
                Ok((found.into_iter().take(MOST_FILES).collect(), more))
            }
        }
    }

    /// What is in a folder: by the index of the files of its kind, where there is one, else by the page that lists it.
    async fn look(&self, folder: &str) -> Result<Found> {
        let found = match self.package {
            Package::Alpine => self.apkindex(folder).await?,
            Package::Rpm => self.repodata(folder).await?,
            Package::Generic | Package::Docker => None,
        };
        match found {
            Some(found) => Ok(found),
            None => self.listing(folder).await,
        }
    }

    async fn apkindex(&self, folder: &str) -> Result<Option<Found>> {
        let index = format!("{folder}APKINDEX.tar.gz");
        let Some(file) = self.reader.entry(&self.repo, &index).await? else { return Ok(None) };
        let (reader, folder, pattern) = (file.content.reader().await?, folder.to_owned(), self.pattern.clone());
        let mut found = entrepot_kit::blocking(move || names::of_apkindex(reader, &folder, &pattern, Found::at_most(MOST_FILES))).await?;
        found.paths.push(index);
        Ok(Some(found))
    }

    async fn repodata(&self, folder: &str) -> Result<Option<Found>> {
        let index = format!("{folder}repodata/repomd.xml");
        let Some(file) = self.reader.entry(&self.repo, &index).await? else { return Ok(None) };
        let reader = file.content.reader().await?;
        let documents = entrepot_kit::blocking(move || names::of_repomd(reader)).await?;
        let mut found = Found::at_most(MOST_FILES);
        if let Some((_, primary)) = documents.iter().find(|(kind, href)| kind == "primary" && names::is_readable(href))
            && let Some(file) = self.reader.entry(&self.repo, &format!("{folder}{primary}")).await?
        {
            let (reader, folder, pattern) = (file.content.reader().await?, folder.to_owned(), self.pattern.clone());
            found = entrepot_kit::blocking(move || names::of_primary(reader, &folder, &pattern, found)).await?;
        }
        found.paths.extend(documents.into_iter().map(|(_, href)| format!("{folder}{href}")).chain([index]));
        Ok(Some(found))
    }

    /// A page is asked for each time, and not kept: it is no file of the remote.
    async fn listing(&self, folder: &str) -> Result<Found> {
        let path = encode_path(folder);
        let fetched = self.engine.ask(&self.repo, &Fetch { accept: Some("text/html"), ..Fetch::get(Target::Path(&path)) }).await?;
        let missing = || Error::not_found(format!("the upstream has neither an index nor a listing at {folder:?}"));
        if fetched.status != StatusCode::OK || !fetched.content_type.as_deref().is_some_and(|said| said.starts_with("text/html")) {
            return Err(missing());
        }
        let url = fetched.url.clone();
        let page = fetched.document(MOST_PAGE).await?;
        let mut found = Found::at_most(MOST_FILES);
        let base = url::Url::parse(&url).map_err(|_| missing())?;
        found.paths = names::of_listing(&String::from_utf8_lossy(&page), &base, folder);
        Ok(found)
    }
}
