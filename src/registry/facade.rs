//! What formats get: the façade over one view of one repository, for one caller.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_kit::{
    Accounts, Action, Address, BaseUrl, Birth, BlobSource, Body, Change, Conclusion, DirectParts, Document, Entry, Error, Facade, File, FolderState, Found,
    Index, KeyKind, Kind, Listing, ListingPage, Located, Making, Moment, Mount, NewUpload, PackageState, Piece, Pieces, Principal, Question, Records, Resource,
    Result, SearchItem, SearchPage, Sha256Digest, Signature, SigningKeys, StageSpec, Staged, Staging, Timestamp, Upload, Uploads, UpstreamAnswer,
    VerificationKey, VersionState,
};
use http::StatusCode;
use parking_lot::Mutex;

use crate::access::{Caller, RequestFacts};
use crate::registry::proxy::PATIENCE_WITH_COPY;
use crate::registry::quota::Admission;
use crate::registry::reader::Reader;
use crate::registry::{Engine, Repo, Use, View, folders};
use crate::store::blobs::{BlobWriter, StagedBlob, WriteSpec};
use crate::store::model::{CatalogError, Commit, NewBlob, NewRow};
use crate::store::uploads::Owner;
use crate::upstream::{Fetch, Target};

/// Results that are looked at before a count of them is told to who asks for none.
const FIRST_PAGE: usize = 20;

/// Who asks, and what the logs call it.
#[derive(Clone)]
pub struct Context {
    /// The caller.
    pub caller: Caller,
    /// The time of the request.
    pub now: Timestamp,
    /// What the audit log says of the request.
    pub facts: RequestFacts,
}

/// One request's façade.
pub struct Session {
    engine: Arc<Engine>,
    view: View,
    base: BaseUrl,
    context: Context,
    reader: Reader,
    accounts: Arc<dyn Accounts>,
    /// What this request staged. A commit takes blobs from here and from nowhere else.
    staged: Arc<Mutex<HashMap<Sha256Digest, Arc<StagedBlob>>>>,
}

impl Session {
    /// A façade for a caller on a view, whose documents name `base`.
    #[must_use]
    pub fn new(engine: Arc<Engine>, view: View, base: BaseUrl, context: Context, accounts: Arc<dyn Accounts>) -> Arc<Self> {
        let reader = Reader::new(Arc::clone(&engine), context.caller.clone(), context.now, view.moment);
        Arc::new(Self { engine, view, base, context, reader, accounts, staged: Arc::default() })
    }

    /// The reads of this request: after it, they say where its answer came from.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(super) fn repo(&self) -> &Arc<Repo> {
        &self.view.repo
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// The same caller at another repository, or another moment.
    fn beside(&self, repo: Arc<Repo>, moment: Option<Moment>) -> Arc<Self> {
        Arc::new(Self {
            engine: Arc::clone(&self.engine),
            view: View { repo, moment },
            base: self.base.clone(),
            context: self.context.clone(),
            reader: self.reader.beside(moment),
            accounts: Arc::clone(&self.accounts),
            staged: Arc::default(),
        })
    }

    /// Whose uploads this request sees.
    fn owner(&self) -> Owner {
        Owner { repository: self.repo().id(), principal: self.context.caller.name() }
    }

    /// What the caller may read of the packages that were found.
    async fn visible(&self, readable: &[Arc<Repo>], found: Vec<(i64, PackageState)>) -> Result<Vec<SearchItem>> {
        let mut items = Vec::with_capacity(found.len());
        for (id, package) in found {
            let Some(repo) = readable.iter().find(|repo| repo.id() == id) else { continue };
            if self.engine.access.decide(&self.context.caller, Action::Read, &repo.target(Some(&package.name))).await?.allowed {
                items.push(SearchItem { package });
            }
        }
        Ok(items)
    }

    /// The proxies behind this repository that the caller may read.
    async fn proxies(&self) -> Result<Vec<Arc<Repo>>> {
        let mut readable = self.reader.readable(self.repo(), None).await?;
        readable.retain(|repo| repo.kind() == Kind::Proxy);
        Ok(readable)
    }
}

#[async_trait]
impl Facade for Session {
    fn address(&self) -> &Address {
        self.repo().address()
    }

    fn kind(&self) -> Kind {
        self.repo().kind()
    }

    fn settings(&self) -> &serde_json::Value {
        &self.repo().row.settings
    }

    fn now(&self) -> Timestamp {
        self.context.now
    }

    fn principal(&self) -> &Principal {
        &self.context.caller.principal
    }

    fn accounts(&self) -> &dyn Accounts {
        &*self.accounts
    }

    async fn grant(&self, action: Action, resource: &Resource) -> Result<()> {
        if action != Action::Read {
            self.view.check_writable()?;
        }
        let package = match resource {
            Resource::Repository => None,
            Resource::Package(name) => Some(name.as_str()),
        };
        self.engine.allow(&self.context, action, self.repo(), package).await
    }

    async fn entry(&self, path: &str) -> Result<Option<File>> {
        self.reader.entry(self.repo(), path).await
    }

    async fn entry_of_each(&self, path: &str) -> Result<Vec<File>> {
        self.reader.each(self.repo(), path).await
    }

    async fn find(&self, path: &str) -> Result<Option<Found>> {
        if self.kind() != Kind::Group {
            return Ok(self.entry(path).await?.map(|file| Found { file, member: None }));
        }
        let Some((member, file)) = self.reader.found(self.repo(), path).await? else { return Ok(None) };
        Ok(Some(Found { file, member: Some(self.beside(member, self.view.moment) as _) }))
    }

    async fn allows(&self, action: Action, resource: &Resource) -> Result<bool> {
        if action != Action::Read && self.view.check_writable().is_err() {
            return Ok(false);
        }
        let package = match resource {
            Resource::Repository => None,
            Resource::Package(name) => Some(name.as_str()),
        };
        Ok(self.engine.access.decide(&self.context.caller.at_large(), action, &self.repo().target(package)).await?.allowed)
    }

    async fn conclude(&self, conclusion: Conclusion) -> Result<()> {
        if self.view.moment.is_some() || self.kind() == Kind::Group || conclusion.path.starts_with('/') {
            return Ok(());
        }
        let repo = self.repo();
        let (path, package) = repo.full_path(&conclusion.path);
        let (from, _) = repo.full_path(&conclusion.from);
        let row = NewRow::Entry {
            path: path.into_owned(),
            package: Some(package.unwrap_or(conclusion.package)),
            version: None,
            blob: NewBlob::Entry(from.into_owned()),
            content_type: None,
            data: conclusion.data,
        };
        let (engine, repo, now) = (Arc::clone(&self.engine), repo.id(), self.context.now);
        self.engine.detached(async move { engine.keep_file(repo, row, None, now).await }).await
    }

    fn report(&self, message: &str) {
        let (repository, principal, request_id) = (self.address(), self.context.caller.name(), &self.context.facts.request_id);
        tracing::warn!(%repository, principal, request_id, "{message}");
    }

    async fn entries(&self, listing: &Listing) -> Result<ListingPage> {
        self.reader.entries(self.repo(), listing).await
    }

    async fn records(&self, package: &str, fragments: &'static str) -> Result<Option<Arc<Records>>> {
        self.reader.records(self.repo(), package, fragments).await
    }

    async fn document(&self, index: Index<'_>) -> Result<Option<Arc<Document>>> {
        self.reader.document(self.repo(), &self.base, index).await
    }

    async fn search(&self, text: &str, from: usize, size: usize) -> Result<SearchPage> {
        let readable = self.reader.readable(self.repo(), None).await?;
        let hosted: Vec<i64> = readable.iter().filter(|repo| repo.kind() == Kind::Hosted).map(|repo| repo.id()).collect();
        if hosted.is_empty() {
            return Ok(SearchPage::default());
        }
        let (found, total) = self.engine.catalog.search(&hosted, text, from, size.max(1)).await?;
        let looked_at = found.len();
        let mut items = self.visible(&readable, found).await?;
        // A count of what the caller may not see would tell that it is there.
        let total = if looked_at == 0 && total > 0 {
            let (first, _) = self.engine.catalog.search(&hosted, text, 0, FIRST_PAGE).await?;
            let looked_at = first.len();
            let seen = self.visible(&readable, first).await?.len();
            if seen == looked_at { total } else { seen as u64 }
        } else if items.len() < looked_at {
            (from + items.len()) as u64
        } else {
            total
        };
        items.truncate(size);
        Ok(SearchPage { items, total })
    }

    async fn ask_upstream(&self, question: &Question) -> Result<Vec<UpstreamAnswer>> {
        let proxies = self.proxies().await?;
        let asked = proxies.iter().map(|repo| async move {
            let mut headers = http::HeaderMap::new();
            for (name, value) in &question.headers {
                headers.insert(http::HeaderName::from_static(name), http::HeaderValue::from_str(value).map_err(Error::internal)?);
            }
            let fetch = Fetch {
                method: question.method.clone(),
                headers,
                body: question.body.clone(),
                gzip: true,
                patience: PATIENCE_WITH_COPY,
                ..Fetch::get(Target::Path(&question.path))
            };
            let fetched = self.engine.ask(repo, &fetch).await?;
            let status = fetched.status;
            let body = fetched.document(question.limit).await?;
            Ok::<_, Error>(UpstreamAnswer { member: repo.address().clone(), status, body })
        });
        let mut answers = Vec::new();
        let mut failure = None;
        for outcome in futures::future::join_all(asked).await {
            match outcome {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    tracing::warn!(%error, "an upstream was asked in vain");
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(error) if answers.is_empty() => Err(error),
            _ => Ok(answers),
        }
    }

    async fn private_names(&self, names: &[String]) -> Result<HashSet<String>> {
        let repo = self.repo();
        let mut private = HashSet::new();
        for name in names {
            let asked = match repo.kind() {
                Kind::Hosted => false,
                Kind::Proxy => repo.rules.admits(name),
                Kind::Group => self.engine.candidates(repo, name, true).await?.iter().any(|leaf| leaf.repo.kind() == Kind::Proxy),
            };
            if !asked {
                private.insert(name.clone());
            }
        }
        Ok(private)
    }

    async fn verification_keys(&self) -> Result<Vec<VerificationKey>> {
        let mut keys = Vec::new();
        for repo in self.reader.readable(self.repo(), None).await? {
            if repo.kind() == Kind::Hosted {
                keys.extend(self.engine.keys.public(repo.id()).await?);
            }
        }
        Ok(keys)
    }

    async fn folder(&self, folder: &str) -> Result<Option<FolderState>> {
        self.reader.folder(self.repo(), folder).await
    }

    async fn pieces(&self, pieces: Pieces) -> Result<Vec<Piece>> {
        self.reader.pieces(self.repo(), pieces).await
    }

    fn at(&self, moment: Moment) -> Result<Arc<dyn Facade>> {
        let moment = folders::remembered(self.repo(), moment)?;
        Ok(self.beside(Arc::clone(self.repo()), Some(moment)))
    }

    async fn members(&self, package: Option<&str>) -> Result<Vec<Arc<dyn Facade>>> {
        let members = self.reader.answering(self.repo(), package).await?;
        Ok(members.into_iter().map(|member| self.beside(member, self.view.moment) as Arc<dyn Facade>).collect())
    }

    async fn note(&self, name: &str, text: &str) -> Result<()> {
        match self.view.moment {
            None => self.engine.note(self.repo(), name, text, self.now()).await,
            Some(_) => Ok(()),
        }
    }

    async fn noted(&self, name: &str) -> Result<Option<(String, Timestamp)>> {
        match self.view.moment {
            None => self.engine.noted(self.repo(), name).await,
            Some(_) => Ok(None),
        }
    }

    async fn entry_from(&self, path: &str, url: &str) -> Result<Option<File>> {
        if path.starts_with('/') || self.kind() != Kind::Proxy {
            return Ok(None);
        }
        let file = self.reader.proxy_entry_from(self.repo(), path, Some(url)).await?;
        if let Some(file) = &file {
            self.reader.note(file.source);
        }
        Ok(file)
    }

    async fn located(&self, path: &str, from: &str, located: Located) -> Result<Option<File>> {
        self.reader.located_entry(self.repo(), path, from, located).await
    }

    async fn derived(&self, key: &str, make: Making) -> Result<Arc<Document>> {
        self.engine.derived(self.repo(), key, make).await
    }

    async fn signing_keys(&self, kind: KeyKind) -> Result<Arc<SigningKeys>> {
        self.engine.keys.of_repository(self.repo().id(), kind, self.context.now).await
    }

    async fn stored(&self, path: &str) -> Result<Option<Entry>> {
        if path.starts_with('/') {
            return Ok(None);
        }
        // From the catalog itself: what is decided by this must be what a commit will find.
        let at = self.engine.revision(self.repo(), self.view.moment).await?;
        Ok(self.engine.catalog.entry(self.repo().id(), path, at).await?.map(|stored| stored.entry))
    }

    async fn package(&self, package: &str) -> Result<Option<PackageState>> {
        let at = self.engine.revision(self.repo(), self.view.moment).await?;
        Ok(self.engine.catalog.package(self.repo().id(), package, at).await?)
    }

    async fn version(&self, package: &str, version: &str) -> Result<Option<VersionState>> {
        Ok(self.engine.catalog.version(self.repo().id(), package, version).await?)
    }

    async fn versions(&self, package: &str) -> Result<Vec<VersionState>> {
        Ok(self.engine.catalog.versions(self.repo().id(), package).await?)
    }

    async fn stage(&self, spec: StageSpec) -> Result<Box<dyn Staging>> {
        self.engine.check_quota(self.repo(), 0).await?;
        let limit = spec.limit.unwrap_or(u64::MAX).min(self.engine.max_upload);
        let writer = self.engine.blobs.writer(WriteSpec { algorithms: spec.algorithms, limit }).await?;
        Ok(Box::new(SessionStaging { engine: Arc::clone(&self.engine), writer, staged: Arc::clone(&self.staged) }))
    }

    async fn commit(&self, change: Change) -> Result<u64> {
        self.view.check_writable()?;
        self.confine(&change).await?;
        let births = change.births.into_iter().map(|birth| self.row(birth)).collect::<Result<Vec<_>>>()?;
        let commit = Commit {
            repository: self.repo().id(),
            principal: self.context.caller.name(),
            request_id: self.context.facts.request_id.clone(),
            now: self.context.now,
            action: change.action.to_owned(),
            subject: change.subject,
            preconditions: change.preconditions,
            deaths: change.deaths,
            births: Vec::new(),
        };
        let admission = self.engine.admit(self.repo(), births.iter().filter_map(Arrival::size).collect()).await?;
        let engine = Arc::clone(&self.engine);
        let repo = Arc::clone(self.repo());
        let committed = async move {
            let revision = engine.commit(&repo, commit, births).await?;
            admission.into_iter().for_each(Admission::taken);
            Ok(revision)
        };
        self.engine.detached(committed).await
    }

    async fn keep(&self, birth: Birth) -> Result<()> {
        self.view.check_writable()?;
        self.confine(&Change::new("keep", "").begin(birth.clone())).await?;
        let arrival = self.row(birth)?;
        let admission = self.engine.admit(self.repo(), arrival.size().into_iter().collect()).await?;
        let Arrival { row, blob } = arrival;
        let (engine, repo, now) = (Arc::clone(&self.engine), self.repo().id(), self.context.now);
        let kept = async move {
            engine.keep_file(repo, row, blob.as_deref(), now).await?;
            admission.into_iter().for_each(Admission::taken);
            Ok(())
        };
        self.engine.detached(kept).await
    }

    fn touch(&self, path: &str) {
        self.engine.note_use(&Use { repository: self.repo().id(), path: path.to_owned(), downloaded: false });
    }

    async fn mount(&self, mount: Mount) -> Result<bool> {
        self.view.check_writable()?;
        self.context.confine(&self.engine, self.repo(), &mount.package)?;
        self.engine.mount(&self.context, self.repo(), mount).await
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature> {
        self.engine.keys.sign(self.repo().id(), message, self.context.now).await
    }

    fn uploads(&self) -> Result<&dyn Uploads> {
        self.view.check_writable()?;
        Ok(self)
    }
}

#[async_trait]
impl Uploads for Session {
    async fn begin(&self, new: NewUpload) -> Result<Upload> {
        let limit = new.limit.unwrap_or(u64::MAX).min(self.engine.max_upload);
        if new.limit.is_some_and(|wanted| wanted > limit) {
            return Err(Error::too_large(format!("the file is larger than the {limit} bytes that this server takes (limits.max_upload_bytes)")));
        }
        self.engine.check_quota(self.repo(), 0).await?;
        self.engine.uploads.begin(&self.owner(), new, limit, self.context.now).await
    }

    async fn find(&self, id: &str) -> Result<Upload> {
        self.engine.uploads.find(&self.owner(), id, self.context.now).await
    }

    async fn append(&self, id: &str, offset: u64, body: Body) -> Result<Upload> {
        self.engine.check_quota(self.repo(), 0).await?;
        // Detached: a client that goes away must not leave an upload half-way through a step.
        let (uploads, owner, id, now) = (Arc::clone(&self.engine.uploads), self.owner(), id.to_owned(), self.context.now);
        self.engine.detached(async move { uploads.append(&owner, &id, offset, body, now).await }).await
    }

    async fn finish(&self, id: &str) -> Result<Arc<dyn Staged>> {
        let (uploads, owner, id, now) = (Arc::clone(&self.engine.uploads), self.owner(), id.to_owned(), self.context.now);
        let staged = self.engine.detached(async move { uploads.finish(&owner, &id, now).await }).await?;
        self.staged.lock().insert(staged.facts().digest, Arc::clone(&staged));
        Ok(staged)
    }

    async fn committed(&self, id: &str) -> Result<()> {
        self.engine.uploads.committed(&self.owner(), id, self.context.now).await
    }

    async fn direct_parts(&self, id: &str, length: u64, first: u32, last: u32) -> Result<DirectParts> {
        let (uploads, owner, id, now) = (Arc::clone(&self.engine.uploads), self.owner(), id.to_owned(), self.context.now);
        self.engine.detached(async move { uploads.direct_parts(&owner, &id, length, first..=last, now).await }).await
    }

    async fn assemble(&self, id: &str, length: u64) -> Result<Upload> {
        let (uploads, owner, id, now) = (Arc::clone(&self.engine.uploads), self.owner(), id.to_owned(), self.context.now);
        self.engine.detached(async move { uploads.assemble(&owner, &id, length, now).await }).await
    }

    async fn cancel(&self, id: &str) -> Result<()> {
        self.engine.uploads.cancel(&self.owner(), id, self.context.now).await
    }
}

/// What is done with bytes that the catalog has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// They are not stored again. The change may find that they were removed meanwhile.
    Trusted,
    /// They are stored again.
    BroughtAgain,
}

/// A birth on its way into the catalog: the row, and the blob that must be durable before.
pub(crate) struct Arrival {
    row: NewRow,
    blob: Option<Arc<StagedBlob>>,
}

impl Arrival {
    /// The blob that comes with it, and its bytes.
    fn size(&self) -> Option<(Sha256Digest, u64)> {
        self.blob.as_ref().map(|staged| (staged.facts().digest, staged.facts().size))
    }
}

impl From<NewRow> for Arrival {
    fn from(row: NewRow) -> Self {
        Self { row, blob: None }
    }
}

impl Session {
    fn row(&self, birth: Birth) -> Result<Arrival> {
        Ok(match birth {
            Birth::Package { package, document, terms } => NewRow::Package { package, document, terms }.into(),
            Birth::Version { package, version, document } => NewRow::Version { package, version, document, fragments: Vec::new() }.into(),
            Birth::Again(path) => NewRow::EntryAgain { path }.into(),
            Birth::Entry { path, package, version, blob, content_type, data } => {
                let (blob, staged) = match blob {
                    BlobSource::Entry(path) => (NewBlob::Entry(path), None),
                    BlobSource::Staged(staged) => {
                        let own = self.staged.lock().get(&staged.digest()).cloned();
                        let own = own.ok_or_else(|| Error::internal("a commit named a blob that its request did not stage"))?;
                        (NewBlob::Known(own.facts().clone()), Some(own))
                    }
                };
                Arrival { row: NewRow::Entry { path, package, version, blob, content_type, data }, blob: staged }
            }
        })
    }
}

impl Engine {
    /// Applies a change: blobs first, then one transaction, then the head.
    pub(crate) async fn commit(&self, repo: &Arc<Repo>, mut commit: Commit, arrivals: Vec<Arrival>) -> Result<u64> {
        let blobs: Vec<_> = arrivals.iter().map(|arrival| arrival.blob.clone()).collect();
        let format = Arc::clone(&repo.format);
        let documents = arrivals.iter().map(|arrival| if let NewRow::Version { document, .. } = &arrival.row { document.len() } else { 0 }).sum();
        commit.births = entrepot_kit::working(documents, move || {
            let with_fragments = |mut row: NewRow| {
                if let NewRow::Version { package, version, document, fragments } = &mut row {
                    *fragments = format.fragments(package, version, document)?;
                }
                Ok(row)
            };
            arrivals.into_iter().map(|arrival| with_fragments(arrival.row)).collect()
        })
        .await?;
        self.settle(&mut commit.births, &blobs, Known::Trusted).await?;
        let revision = match self.catalog.commit(commit.clone()).await {
            Err(CatalogError::BlobGone(_)) => {
                self.settle(&mut commit.births, &blobs, Known::BroughtAgain).await?;
                self.catalog.commit(commit).await?
            }
            other => other?,
        };
        self.committed(repo, revision);
        Ok(revision)
    }

    /// Gives each new entry its blob: one that the catalog has, or one that is made durable now.
    async fn settle(&self, births: &mut [NewRow], blobs: &[Option<Arc<StagedBlob>>], known: Known) -> Result<()> {
        for (birth, blob) in births.iter_mut().zip(blobs) {
            if let (NewRow::Entry { blob: place, .. }, Some(staged)) = (birth, blob) {
                *place = self.arrive(staged, known).await?;
            }
        }
        Ok(())
    }

    /// Stores a file that never changes, without a revision.
    pub(crate) async fn keep_file(&self, repository: i64, row: NewRow, blob: Option<&StagedBlob>, now: Timestamp) -> Result<()> {
        let mut rows = [row];
        for known in [Known::Trusted, Known::BroughtAgain] {
            if let ([NewRow::Entry { blob: place, .. }], Some(staged)) = (&mut rows, blob) {
                *place = self.arrive(staged, known).await?;
            }
            let [row] = &rows;
            match self.catalog.keep(repository, row.clone(), now).await {
                Err(CatalogError::BlobGone(_)) if known == Known::Trusted && blob.is_some() => {}
                other => return Ok(other?),
            }
        }
        Err(Error::internal("bytes that were brought again are gone again"))
    }

    /// The blob of a new entry: bytes that are stored already are not stored again.
    pub(crate) async fn arrive(&self, staged: &StagedBlob, known: Known) -> Result<NewBlob> {
        let facts = staged.facts();
        if known == Known::Trusted && facts.inline.is_none() && self.catalog.blob(facts.digest).await?.is_some() {
            return Ok(NewBlob::Known(staged.with_learned(facts.clone())));
        }
        Ok(NewBlob::New(staged.with_learned(self.blobs.persist(staged).await?)))
    }

    /// Commits a change that the management API makes: a deletion or a restoration.
    ///
    /// # Errors
    /// 409 when there is nothing to restore, and failures of the catalog.
    pub async fn manage(self: &Arc<Self>, context: &Context, repo: &Arc<Repo>, change: Change, restored: Vec<NewRow>) -> Result<u64> {
        let commit = Commit {
            repository: repo.id(),
            principal: context.caller.name(),
            request_id: context.facts.request_id.clone(),
            now: context.now,
            action: change.action.to_owned(),
            subject: change.subject,
            preconditions: change.preconditions,
            deaths: change.deaths,
            births: Vec::new(),
        };
        let arrivals = restored.into_iter().map(Arrival::from).collect();
        let (engine, repo) = (Arc::clone(self), Arc::clone(repo));
        self.detached(async move { engine.commit(&repo, commit, arrivals).await }).await
    }
}

struct SessionStaging {
    engine: Arc<Engine>,
    writer: BlobWriter,
    staged: Arc<Mutex<HashMap<Sha256Digest, Arc<StagedBlob>>>>,
}

#[async_trait]
impl Staging for SessionStaging {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.writer.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Arc<dyn Staged>> {
        let staged = Arc::new(self.writer.finish().await?);
        self.engine.mend(&staged).await?;
        self.staged.lock().insert(staged.facts().digest, Arc::clone(&staged));
        Ok(staged)
    }
}

impl View {
    /// Refuses changes where there can be none.
    ///
    /// # Errors
    /// 405 for the past, proxies and groups.
    pub fn check_writable(&self) -> Result<()> {
        let refused = |why: String| Err(Error::new(StatusCode::METHOD_NOT_ALLOWED, why));
        match (self.moment, self.repo.kind()) {
            (Some(_), _) => refused(String::from("the past cannot be changed: use the address without .at-…")),
            (None, Kind::Hosted) => Ok(()),
            (None, Kind::Proxy) => refused(format!("{} is a proxy: publish to a hosted repository", self.repo.address())),
            (None, Kind::Group) => refused(format!("{} is a group without publish_to: publish to one of its hosted members", self.repo.address())),
        }
    }
}
