//! Retention: what a repository's rules let go ends by ordinary commits, which can be looked up and taken back as long as the history
//! reaches; what died before that is forgotten, and gc frees its bytes.
//!
//! Each package is looked at as it is, [`plan`] decides, and the change is made on the condition that nobody changed the package since: a tag
//! that moved meanwhile, a manifest that was pushed, makes it begin again. Bytes that a client saw and sent nothing again for come back with
//! the push that needs them (`Birth::Again`). Everything is done in short slices, beside everything that servers do.

mod own;
mod plan;
mod report;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{Death, Error, Format, Holding, Kind, Precondition, Result, Sha256Digest, Timestamp, UpstreamPath};
use futures::StreamExt as _;

pub use plan::Reason;
pub use report::{Gone, MOST_TOLD, Report, Stays, What};

use crate::jobs::pace::Pace;
use crate::registry::Engine;
use crate::registry::retention::Retention;
use crate::store::blobs::BlobStore;
use crate::store::catalog::Catalog;
use crate::store::facts::{Forgetting, LiveEntry, PackageFacts};
use crate::store::model::{BlobPlace, CatalogError, Commit, HOUSEKEEPING, NewRow, RepositoryRow};
use plan::{Judge, Plan, judge_file};

/// Packages of one page.
const PACKAGES: usize = 500;
/// Files of one page.
const FILES: usize = 1000;
/// Ends of one commit.
const SLICE: usize = 200;
/// Rows of the past that one transaction removes, of each kind.
const FORGET: usize = 300;
/// Such rows that one question finds.
const FORGETTABLE: usize = 5000;
/// Most paths of a package that are looked at.
const MOST_PATHS: usize = 200_000;
/// Attempts at a package that changes meanwhile.
const ATTEMPTS: usize = 3;
/// Largest document that is read.
const MOST_DOCUMENT: u64 = 4 << 20;

/// What a run works on.
pub struct Run<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The bytes of documents.
    pub blobs: &'a dyn BlobStore,
    /// The formats.
    pub formats: &'a [Arc<dyn Format>],
    /// The time.
    pub now: Timestamp,
    /// Only say what would be done.
    pub dry_run: bool,
    /// The server that it runs in, if it does: it moves the heads that it knows.
    pub engine: Option<&'a Engine>,
}

impl<'a> Run<'a> {
    /// A run in a server.
    #[must_use]
    pub fn of(engine: &'a Engine, now: Timestamp, dry_run: bool) -> Self {
        Self { catalog: &engine.catalog, blobs: &*engine.blobs, formats: &engine.formats, now, dry_run, engine: Some(engine) }
    }

    /// Does all repositories; tells of those where something is to be told. One that fails does not keep the others.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn all(&self, pace: &mut Pace<'_>, tell: &mut (dyn FnMut(Report) + Send)) -> Result<()> {
        for row in self.catalog.repositories().await? {
            match self.repository(&row, pace).await {
                Ok(Some(report)) => tell(report),
                Ok(None) => {}
                Err(error) if error.status().is_client_error() => tracing::warn!(repository = %row.address, %error, "retention was not held to"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Does one repository; `None` when it has no rules.
    ///
    /// # Errors
    /// 400 for rules that cannot be read; failures of the catalog.
    pub async fn repository(&self, row: &RepositoryRow, pace: &mut Pace<'_>) -> Result<Option<Report>> {
        let Some(format) = self.formats.iter().find(|format| format.id() == row.format) else { return Ok(None) };
        if row.kind == Kind::Group {
            return Ok(None);
        }
        let rules = Retention::from_settings(&row.settings, row.kind, &**format)?;
        let is_hosted = row.kind == Kind::Hosted;
        let tidies = is_hosted && format.tidies(&row.settings);
        let waits = is_hosted && !format.waiting().is_empty();
        if !rules.is_needed() && !tidies && !waits {
            return Ok(None);
        }
        let since = self.catalog.pulls_since().await?;
        let work = Work { run: self, row, format, judge: Judge { rules: &rules, format: &**format, now: self.now, since } };
        let mut report = Report::new(row.address.clone(), self.dry_run);
        if is_hosted && (rules.has_rules() || rules.unheld.is_some() || tidies) {
            work.packages(&mut report, pace).await?;
        }
        if waits {
            work.waiting(&mut report, pace).await?;
        }
        if is_hosted && rules.unheld.is_some() {
            work.strays(&mut report, pace).await?;
        }
        if rules.has_rules() && rules.keep.is_none() {
            work.files(&mut report, pace).await?;
        }
        work.forget(&mut report, pace).await?;
        Ok(Some(report))
    }
}

/// One thing that ends, and the ends that make it.
struct End {
    what: What,
    name: String,
    deaths: Vec<Death>,
    /// What is said anew of something that stays.
    births: Vec<NewRow>,
}

impl End {
    fn new(what: What, name: String, deaths: Vec<Death>) -> Self {
        Self { what, name, deaths, births: Vec::new() }
    }
}

/// One repository.
struct Work<'a> {
    run: &'a Run<'a>,
    row: &'a RepositoryRow,
    format: &'a Arc<dyn Format>,
    judge: Judge<'a>,
}

impl Work<'_> {
    async fn packages(&self, report: &mut Report, pace: &mut Pace<'_>) -> Result<()> {
        let mut after = None;
        let mut looked_at = 0_usize;
        loop {
            let page = self.run.catalog.packages(self.row.id, after, PACKAGES, None).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.clone());
            for package in page {
                self.package(&package.name, report, pace).await?;
                looked_at += 1;
                pace.step(|| format!("{}: looked at {looked_at} packages, {} things go", self.row.address, report.total())).await?;
            }
        }
    }

    /// Does a package, again when it changed meanwhile.
    async fn package(&self, package: &str, report: &mut Report, pace: &mut Pace<'_>) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let Some(facts) = self.run.catalog.package_facts(self.row.id, package, MOST_PATHS).await? else { return Ok(()) };
            if facts.too_many {
                break;
            }
            let mut plan = self.judge.plan(&facts);
            let mut going = self.outdated(&facts, &mut plan).await?;
            let parts = self.unneeded(&facts, &plan).await?;
            going.extend(ends(&facts, &plan, parts));
            let ends = going;
            if self.end(&facts, ends, report, pace).await? {
                for (version, reason) in plan.stays {
                    report.stay(package, &version, reason);
                }
                return Ok(());
            }
        }
        report.passed_over += 1;
        Ok(())
    }

    /// Parts that no document needs which stays.
    async fn unneeded(&self, facts: &PackageFacts, plan: &Plan) -> Result<Vec<String>> {
        if plan.candidates.is_empty() {
            return Ok(Vec::new());
        }
        let mut needed: HashSet<String> = HashSet::new();
        for entry in plan.staying.iter().filter_map(|number| facts.entries.get(*number)) {
            let parts = match self.document(entry).await {
                Ok(document) => self.format.parts(&entry.path, entry.content_type.as_deref(), &document),
                Err(error) => Err(error),
            };
            match parts {
                Ok(parts) => needed.extend(parts),
                Err(error) => {
                    tracing::debug!(repository = %self.row.address, path = entry.path, %error, "what a document needs is not known: nothing of its package is unneeded");
                    return Ok(Vec::new());
                }
            }
        }
        let candidates = plan.candidates.iter().filter_map(|number| facts.entries.get(*number)).map(|entry| entry.path.clone());
        Ok(candidates.filter(|path| !needed.contains(path)).collect())
    }

    async fn document(&self, entry: &LiveEntry) -> Result<Bytes> {
        let gone = || Error::internal(format!("the bytes of {:?} are not there", entry.path));
        let facts = self.run.catalog.blob(entry.blob).await?.ok_or_else(gone)?;
        if let Some(bytes) = facts.inline {
            return Ok(bytes);
        }
        if facts.size > MOST_DOCUMENT {
            return Err(Error::too_large(format!("{:?} is too large to be a document", entry.path)));
        }
        let content = self.run.blobs.open(&BlobPlace { digest: facts.digest, size: facts.size, location: facts.location }).await?;
        let mut stream = content.stream(None).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        if Sha256Digest::of(&bytes) == entry.blob { Ok(bytes.into()) } else { Err(gone()) }
    }

    /// Ends things of a package, in slices, each on the condition that only the one before it changed the package; `false` when somebody else
    /// did.
    async fn end(&self, facts: &PackageFacts, ends: Vec<End>, report: &mut Report, pace: &mut Pace<'_>) -> Result<bool> {
        let mut changed = facts.changed;
        for slice in slices(ends) {
            if !self.run.dry_run {
                let deaths = slice.iter().flat_map(|end| end.deaths.iter().cloned()).collect();
                let births = slice.iter().flat_map(|end| end.births.iter().cloned()).collect();
                let unchanged = Precondition::PackageAt { package: facts.package.clone(), revision: changed };
                let subject = match slice.as_slice() {
                    [End { what: What::Version, name, .. }] => format!("{} {name}", facts.package),
                    _ => facts.package.clone(),
                };
                match self.commit(subject, vec![unchanged], deaths, births).await? {
                    // A package that is none has no last change.
                    Some(_) if facts.changed == 0 => {}
                    Some(revision) => changed = revision,
                    None => return Ok(false),
                }
            }
            for end in slice {
                match end.what {
                    What::File => end.deaths.iter().for_each(|death| {
                        if let Death::Entry(path) = death {
                            report.goes(What::File, &facts.package, path);
                        }
                    }),
                    what => report.goes(what, &facts.package, &end.name),
                }
            }
            pace.step(|| format!("{}: {} things go", self.row.address, report.total())).await?;
        }
        Ok(true)
    }

    /// Commits; `None` when a condition does not hold.
    async fn commit(&self, subject: String, preconditions: Vec<Precondition>, deaths: Vec<Death>, births: Vec<NewRow>) -> Result<Option<u64>> {
        let commit = Commit {
            repository: self.row.id,
            principal: HOUSEKEEPING.to_owned(),
            request_id: String::new(),
            now: self.run.now,
            action: HOUSEKEEPING.to_owned(),
            subject,
            preconditions,
            deaths,
            births,
        };
        match self.run.catalog.commit(commit).await {
            Ok(revision) => {
                if let Some(engine) = self.run.engine
                    && let Some(repo) = engine.repo(&self.row.address).filter(|repo| repo.id() == self.row.id)
                {
                    engine.committed(&repo, revision);
                }
                Ok(Some(revision))
            }
            Err(CatalogError::Conflict(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Parts of packages that are none: somebody pushed them, and never what needs them.
    async fn strays(&self, report: &mut Report, pace: &mut Pace<'_>) -> Result<()> {
        let mut after = String::new();
        let mut looked_at = 0_usize;
        loop {
            let page = self.run.catalog.file_facts(self.row.id, &after, FILES).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.path);
            looked_at += page.len();
            let mut strays: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let mut known: HashMap<String, bool> = HashMap::new();
            for file in page {
                let Some(package) = file.package else { continue };
                let is_old = file.created.0 <= self.run.now.0.saturating_sub(plan::LEAST_AGE);
                if !is_old || self.format.holding(&package, &file.path) != Holding::Part {
                    continue;
                }
                if !known.contains_key(&package) {
                    known.insert(package.clone(), self.run.catalog.package(self.row.id, &package, None).await?.is_some());
                }
                if known.get(&package) == Some(&false) {
                    strays.entry(package).or_default().push(file.path);
                }
            }
            for (package, paths) in strays {
                let facts = PackageFacts { package, ..PackageFacts::default() };
                let part = |path: String| End::new(What::Part, path.clone(), vec![Death::Entry(path)]);
                // Somebody may have pushed what needs them just now: then there is such a package, and its turn comes.
                self.end(&facts, paths.into_iter().map(part).collect(), report, pace).await?;
            }
            pace.step(|| format!("{}: looked at {looked_at} files", self.row.address)).await?;
        }
    }

    /// Files that stand for themselves, and what a proxy keeps.
    async fn files(&self, report: &mut Report, pace: &mut Pace<'_>) -> Result<()> {
        let mut after = String::new();
        let mut looked_at = 0_usize;
        loop {
            let page = self.run.catalog.file_facts(self.row.id, &after, FILES).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.path);
            looked_at += page.len();
            let mut going = Vec::new();
            for file in page {
                // What belongs to a package was judged with it; the engine's own paths are no files.
                if file.path.starts_with('/') || (self.row.kind == Kind::Hosted && file.package.is_some()) || self.is_own(&file.path) {
                    continue;
                }
                if self.row.kind == Kind::Hosted && self.format.waiting().iter().any(|waiting| file.path.starts_with(waiting.folder)) {
                    continue;
                }
                let package = file.package.clone().unwrap_or_default();
                match judge_file(&self.judge, &file) {
                    Some(reason) => report.stay(&package, &file.path, reason),
                    None => going.push(file),
                }
            }
            for slice in going.chunks(SLICE) {
                self.end_files(slice, report).await?;
                pace.step(|| format!("{}: looked at {looked_at} files, {} go", self.row.address, report.total())).await?;
            }
        }
    }

    async fn end_files(&self, files: &[LiveEntry], report: &mut Report) -> Result<()> {
        let gone = match self.run.dry_run || self.commit_files(files).await? {
            true => files.iter().collect(),
            // One of them was written again meanwhile: it stays, and the others go each by itself.
            false => {
                let mut gone = Vec::new();
                for file in files {
                    if self.commit_files(std::slice::from_ref(file)).await? {
                        gone.push(file);
                    }
                }
                gone
            }
        };
        for file in gone {
            report.goes(What::File, file.package.as_deref().unwrap_or_default(), &file.path);
        }
        Ok(())
    }

    async fn commit_files(&self, files: &[LiveEntry]) -> Result<bool> {
        let unchanged = files.iter().map(|file| Precondition::EntryIs { path: file.path.clone(), digest: file.blob }).collect();
        let deaths = files.iter().map(|file| Death::Entry(file.path.clone())).collect();
        let subject = files.first().map(|file| file.path.clone()).unwrap_or_default();
        let Some(revision) = self.commit(subject, unchanged, deaths, Vec::new()).await? else { return Ok(false) };
        if self.row.kind == Kind::Proxy {
            // These can be fetched again, for the past too: nothing is left of them.
            let unchanging = files.iter().filter(|file| self.never_changes(&file.path)).map(|file| file.path.clone()).collect();
            self.run.catalog.forget_evicted(self.row.id, revision, unchanging).await?;
        }
        Ok(true)
    }

    /// What no upstream has (a verdict about a signature, say) cannot be fetched again.
    fn is_own(&self, path: &str) -> bool {
        self.row.kind == Kind::Proxy && self.format.classify(path) == UpstreamPath::Own
    }

    fn never_changes(&self, path: &str) -> bool {
        match self.format.classify(path) {
            UpstreamPath::Immutable { .. } | UpstreamPath::Needs { .. } => true,
            UpstreamPath::Document(document) => document.immutable,
            UpstreamPath::Mutable | UpstreamPath::Own | UpstreamPath::NotOurs => false,
        }
    }

    /// Forgets what died before the history begins.
    async fn forget(&self, report: &mut Report, pace: &mut Pace<'_>) -> Result<()> {
        if !self.run.dry_run {
            while self.run.catalog.forget_pulls(self.row.id, FILES).await? > 0 {
                pace.step(|| format!("{}: forgets the use of files that are gone", self.row.address)).await?;
            }
        }
        let Some(history) = self.judge.rules.history else { return Ok(()) };
        let ago = |age: i64| Timestamp(self.run.now.0.saturating_sub(age));
        let died = self.run.catalog.revision_at(self.row.id, ago(history)).await?;
        // When bytes lost their last name is read off the past, as long as that counts.
        let named = self.run.catalog.revision_at(self.row.id, ago(history.max(self.judge.rules.unheld.unwrap_or(0)))).await?;
        let what = Forgetting { repository: self.row.id, died, named, reuses_versions: self.format.reuses_versions() };
        if self.run.dry_run {
            report.forgotten = self.run.catalog.count_forgettable(what).await?;
            return Ok(());
        }
        if died == 0 || self.run.catalog.count_forgettable(what).await?.rows() == 0 {
            return Ok(());
        }
        self.run.catalog.set_horizon(self.row.id, died).await?;
        loop {
            let mut rows = self.run.catalog.forgettable(what, FORGETTABLE).await?;
            let mut all = true;
            while let Some(slice) = rows.take(FORGET) {
                all = false;
                report.forgotten += self.run.catalog.forget(slice).await?;
                pace.step(|| format!("{}: {} rows of the past forgotten", self.row.address, report.forgotten.rows())).await?;
            }
            if all {
                return Ok(());
            }
        }
    }
}

/// What ends, in the order in which it does; with the last of it the package.
fn ends(facts: &PackageFacts, plan: &Plan, parts: Vec<String>) -> Vec<End> {
    let package = &facts.package;
    let mut ends: Vec<End> = Vec::new();
    for version in &plan.versions {
        let death = Death::Version { package: package.clone(), version: version.clone() };
        ends.push(End::new(What::Version, version.clone(), vec![death]));
    }
    for paths in &plan.documents {
        let name = paths.first().cloned().unwrap_or_default();
        ends.push(End::new(What::Document, name, paths.iter().cloned().map(Death::Entry).collect()));
    }
    ends.extend(parts.into_iter().map(|path| End::new(What::Part, path.clone(), vec![Death::Entry(path)])));
    if !ends.is_empty() && is_all(facts, plan, &ends) {
        ends.push(End::new(What::Package, package.clone(), vec![Death::Package(package.clone())]));
    }
    ends
}

/// Whether nothing of the package is left.
fn is_all(facts: &PackageFacts, plan: &Plan, ends: &[End]) -> bool {
    let versions: HashSet<&str> = plan.versions.iter().map(String::as_str).collect();
    let paths: HashSet<&str> = ends
        .iter()
        .flat_map(|end| &end.deaths)
        .filter_map(|death| match death {
            Death::Entry(path) => Some(path.as_str()),
            _ => None,
        })
        .collect();
    let goes = |entry: &LiveEntry| match &entry.version {
        Some(version) => versions.contains(version.as_str()),
        None => paths.contains(entry.path.as_str()),
    };
    facts.versions.iter().all(|version| versions.contains(version.version.as_str())) && facts.entries.iter().all(goes)
}

/// Things in commits: none is torn apart.
fn slices(ends: Vec<End>) -> Vec<Vec<End>> {
    let mut slices: Vec<Vec<End>> = Vec::new();
    let mut room = 0;
    for end in ends {
        let size = end.deaths.len();
        match slices.last_mut() {
            Some(slice) if size <= room => {
                slice.push(end);
                room -= size;
            }
            _ => {
                slices.push(vec![end]);
                room = SLICE.saturating_sub(size);
            }
        }
    }
    slices
}
