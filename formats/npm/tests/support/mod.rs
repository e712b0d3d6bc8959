//! A repository in memory, as much of one as the handlers need.

use std::collections::{BTreeMap, HashSet};
use std::io::Cursor;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_format_npm::Npm;
use entrepot_kit::accounts::WebLoginState;
use entrepot_kit::path::RequestPath;
use entrepot_kit::route::Found;
use entrepot_kit::{
    Accounts, Action, Address, Algorithm, BaseUrl, Birth, BlobSource, Body, ByteStream, Change, Content, Death, Digests, Document, Entry, Error, Facade, File,
    Format, Grant, Handler, Hasher, Index, Kind, Listing, ListingPage, NewToken, PackageState, Precondition, Principal, PrincipalKind, Query, Question,
    ReadSeek, Records, Repository, Request, Resource, Response, ResponseBody, Result, SearchItem, SearchPage, Sha256Digest, SignIn, Signature, Source,
    StageSpec, Staged, Staging, Timestamp, TokenInfo, TokenRequest, UpstreamAnswer, VerificationKey, VersionRecord, VersionState, WebLogin,
};
use http::{HeaderMap, Method};
use serde_json::Value;

#[derive(Default)]
struct State {
    head: u64,
    packages: BTreeMap<String, (PackageState, Vec<String>)>,
    versions: BTreeMap<String, Vec<VersionState>>,
    entries: BTreeMap<String, (Entry, Bytes)>,
}

/// The repository, its caller, and the upstream that it asks.
pub(crate) struct Memory {
    address: Address,
    kind: Kind,
    principal: Principal,
    denied: Vec<Action>,
    private: HashSet<String>,
    /// What the upstream answers to a path.
    pub(crate) upstream: BTreeMap<String, Value>,
    /// What it was asked.
    pub(crate) questions: Mutex<Vec<Question>>,
    state: Mutex<State>,
    /// Runs once before the next commit: a change that overtakes it.
    pub(crate) overtake: Mutex<Option<Change>>,
    /// How often all versions were read.
    pub(crate) version_listings: Mutex<u64>,
}

pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Memory {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            address: Address::parse("main/npm").unwrap(),
            kind,
            principal: Principal { kind: PrincipalKind::User, name: String::from("bob"), tags: entrepot_kit::accounts::Tags::new() },
            denied: Vec::new(),
            private: HashSet::new(),
            upstream: BTreeMap::new(),
            questions: Mutex::default(),
            state: Mutex::default(),
            overtake: Mutex::default(),
            version_listings: Mutex::default(),
        }
    }

    pub(crate) fn private(mut self, name: &str) -> Self {
        self.private.insert(name.to_owned());
        self
    }

    pub(crate) fn upstream(mut self, path: &str, answer: Value) -> Self {
        self.upstream.insert(path.to_owned(), answer);
        self
    }

    pub(crate) fn head(&self) -> u64 {
        self.state.lock().unwrap().head
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.state.lock().unwrap().entries.keys().cloned().collect()
    }

    pub(crate) async fn send(self: &Arc<Self>, method: Method, target: &str, body: impl Into<Bytes>) -> Answered {
        self.send_with(method, target, body, HeaderMap::new()).await
    }

    pub(crate) async fn get(self: &Arc<Self>, target: &str) -> Answered {
        self.send(Method::GET, target, Bytes::new()).await
    }

    pub(crate) async fn send_with(self: &Arc<Self>, method: Method, target: &str, body: impl Into<Bytes>, headers: HeaderMap) -> Answered {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let result = match RequestPath::decode(path) {
            Ok(path) => match Npm.routes().find(&method, &path) {
                Found::Route(route, captures) => {
                    // Small pieces, as a network delivers them.
                    let body: Bytes = body.into();
                    let pieces: Vec<Result<Bytes>> = body.chunks(997).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
                    let request = Request {
                        method,
                        path,
                        captures,
                        query: Query::parse(query),
                        headers,
                        body: Body::new(Box::pin(futures::stream::iter(pieces)), Some(body.len() as u64)),
                        base: BaseUrl { origin: String::from("https://host.example"), path: String::from("/main/npm") },
                    };
                    let facade: Arc<dyn Facade> = Arc::<Self>::clone(self);
                    match route.handler {
                        Handler::Read(handler) => handler(Repository::new(facade, Grant::mint()), request).await,
                        Handler::Publish(handler) => handler(Repository::new(facade, Grant::mint()), request).await,
                        Handler::Delete(handler) => handler(Repository::new(facade, Grant::mint()), request).await,
                        Handler::Manage(handler) => handler(Repository::new(facade, Grant::mint()), request).await,
                        Handler::SignIn(handler) => handler(SignIn { accounts: Arc::new(TestAccounts), address: self.address.clone() }, request).await,
                    }
                }
                Found::OtherMethods(_) => Err(Error::new(http::StatusCode::METHOD_NOT_ALLOWED, "other methods")),
                Found::Nothing => Err(Error::not_found("no route")),
            },
            Err(error) => Err(error),
        };
        match result {
            Ok(response) => answered(response).await,
            Err(error) => Answered { status: error.status().as_u16(), headers: HeaderMap::new(), body: Npm.render_error(&error).1 },
        }
    }
}

async fn answered(response: Response) -> Answered {
    let body = match response.body {
        ResponseBody::Empty => Bytes::new(),
        ResponseBody::Bytes(bytes) => bytes,
        ResponseBody::Document(document) => document.body.clone(),
        ResponseBody::File(file) => Body::new(file.content.stream(None).await.unwrap(), None).collect(1 << 30).await.unwrap(),
        ResponseBody::Stream(stream) => Body::new(stream, None).collect(1 << 30).await.unwrap(),
    };
    Answered { status: response.status.as_u16(), headers: response.headers, body }
}

struct Held {
    bytes: Bytes,
    digest: Sha256Digest,
    digests: Digests,
}

struct Stage(Vec<u8>, Vec<Algorithm>);

#[async_trait]
impl Staging for Stage {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Arc<dyn Staged>> {
        let mut hasher = Hasher::new(&self.1);
        hasher.update(&self.0);
        let (digest, digests) = hasher.finish();
        Ok(Arc::new(Held { bytes: self.0.into(), digest, digests }))
    }
}

#[async_trait]
impl Staged for Held {
    fn digest(&self) -> Sha256Digest {
        self.digest
    }
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
    fn digests(&self) -> &Digests {
        &self.digests
    }
    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Cursor::new(self.bytes.clone())))
    }
}

struct InMemory(Bytes);

#[async_trait]
impl Content for InMemory {
    fn size(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
    async fn stream(&self, _range: Option<Range<u64>>) -> Result<ByteStream> {
        Ok(Box::pin(futures::stream::iter([Ok(self.0.clone())])))
    }
    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Cursor::new(self.0.clone())))
    }
}

impl State {
    async fn staged(birth: &Birth) -> Option<(String, Entry, Bytes)> {
        let Birth::Entry { path, package, version, blob: BlobSource::Staged(staged), content_type, data } = birth else { return None };
        let mut bytes = Vec::new();
        staged.reader().await.unwrap().read_to_end(&mut bytes).unwrap();
        let entry = Entry {
            path: path.clone(),
            digest: Some(staged.digest()),
            size: Some(staged.size()),
            digests: staged.digests().clone(),
            content_type: content_type.clone(),
            data: data.clone(),
            created: Timestamp(0),
            package: package.clone(),
            version: version.clone(),
        };
        Some((path.clone(), entry, bytes.into()))
    }

    fn apply(&mut self, change: &Change, files: Vec<(String, Entry, Bytes)>) -> Result<u64> {
        for precondition in &change.preconditions {
            let holds = match precondition {
                Precondition::PackageAt { package, revision } => self.packages.get(package).map_or(0, |(state, _)| state.changed) == *revision,
                Precondition::VersionNew { package, version } => {
                    !self.versions.get(package).is_some_and(|versions| versions.iter().any(|state| state.version == *version))
                }
                Precondition::EntryAbsent(path) => !self.entries.contains_key(path),
                Precondition::EntryIs { .. } | Precondition::VersionLive { .. } => false,
            };
            if !holds {
                return Err(Error::conflict("a precondition does not hold"));
            }
        }
        self.head += 1;
        let now = Timestamp(i64::try_from(self.head).unwrap() * 1000);
        let mut touched = HashSet::new();
        for death in &change.deaths {
            match death {
                Death::Package(package) => {
                    self.packages.remove(package);
                    self.versions.entry(package.clone()).or_default().iter_mut().for_each(|version| version.live = false);
                    self.entries.retain(|_, (entry, _)| entry.package.as_ref() != Some(package));
                }
                Death::Version { package, version } => {
                    touched.insert(package.clone());
                    self.versions.entry(package.clone()).or_default().iter_mut().filter(|state| state.version == *version).for_each(|state| state.live = false);
                    self.entries.retain(|_, (entry, _)| (entry.package.as_ref(), entry.version.as_ref()) != (Some(package), Some(version)));
                }
                Death::Entry(_) | Death::Folder(_) | Death::Blob { .. } => unreachable!("npm does not delete files alone"),
            }
        }
        for birth in &change.births {
            match birth {
                Birth::Package { package, document, terms } => {
                    let created = self.packages.get(package).map_or(now, |(state, _)| state.created);
                    let state = PackageState { name: package.clone(), document: document.clone(), changed: self.head, created, modified: now };
                    self.packages.insert(package.clone(), (state, terms.clone()));
                }
                Birth::Version { package, version, document } => {
                    touched.insert(package.clone());
                    let versions = self.versions.entry(package.clone()).or_default();
                    match versions.iter_mut().find(|state| state.version == *version) {
                        Some(state) => (state.document, state.live) = (document.clone(), true),
                        None => versions.push(VersionState { version: version.clone(), document: document.clone(), published: now, live: true }),
                    }
                }
                Birth::Entry { .. } | Birth::Again(_) => {}
            }
        }
        for (path, entry, bytes) in files {
            self.entries.insert(path, (entry, bytes));
        }
        for package in touched {
            if let Some((state, _)) = self.packages.get_mut(&package) {
                (state.changed, state.modified) = (self.head, now);
            }
        }
        Ok(self.head)
    }
}

#[async_trait]
impl Facade for Memory {
    fn address(&self) -> &Address {
        &self.address
    }
    fn kind(&self) -> Kind {
        self.kind
    }
    fn settings(&self) -> &Value {
        &Value::Null
    }
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn principal(&self) -> &Principal {
        &self.principal
    }
    fn accounts(&self) -> &dyn Accounts {
        &TestAccounts
    }
    async fn grant(&self, action: Action, _resource: &Resource) -> Result<()> {
        if self.denied.contains(&action) { Err(Error::forbidden("denied")) } else { Ok(()) }
    }

    async fn entry(&self, path: &str) -> Result<Option<File>> {
        let state = self.state.lock().unwrap();
        Ok(state.entries.get(path).map(|(entry, bytes)| File {
            entry: entry.clone(),
            content: Arc::new(InMemory(bytes.clone())),
            source: Source::Hosted,
            mutable: false,
        }))
    }
    async fn entries(&self, _listing: &Listing) -> Result<ListingPage> {
        Ok(ListingPage::default())
    }
    async fn records(&self, package: &str, fragments: &'static str) -> Result<Option<Arc<Records>>> {
        let state = self.state.lock().unwrap();
        let Some((found, _)) = state.packages.get(package) else { return Ok(None) };
        let versions = state.versions.get(package).cloned().unwrap_or_default();
        let record = |version: &VersionState| {
            let made = Npm.fragments(package, &version.version, &version.document).unwrap();
            let bytes = made.into_iter().find(|fragment| fragment.kind == fragments).unwrap().bytes;
            VersionRecord { version: version.version.clone(), published: Some(version.published), bytes }
        };
        Ok(Some(Arc::new(Records {
            package: package.to_owned(),
            document: found.document.clone(),
            versions: versions.iter().filter(|version| version.live).map(record).collect(),
            deleted: versions.iter().filter(|version| !version.live).map(|version| (version.version.clone(), version.published)).collect(),
            created: Some(found.created),
            modified: Some(found.modified),
            stamp: found.changed.to_string(),
        })))
    }
    async fn document(&self, index: Index<'_>) -> Result<Option<Arc<Document>>> {
        let Some(records) = self.records(index.package, index.fragments).await? else { return Ok(None) };
        let base = BaseUrl { origin: String::from("https://host.example"), path: String::from("/main/npm") };
        Ok(Some(Arc::new(Document::new((index.render)(&records, &base, index.variant)?, index.content_type, records.modified))))
    }
    async fn search(&self, text: &str, from: usize, size: usize) -> Result<SearchPage> {
        let state = self.state.lock().unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let found: Vec<_> = state
            .packages
            .values()
            .filter(|(_, terms)| words.iter().all(|word| terms.iter().any(|term| term.starts_with(word))))
            .map(|(package, _)| SearchItem { package: package.clone() })
            .collect();
        Ok(SearchPage { total: found.len() as u64, items: found.into_iter().skip(from).take(size).collect() })
    }
    async fn ask_upstream(&self, question: &Question) -> Result<Vec<UpstreamAnswer>> {
        self.questions.lock().unwrap().push(question.clone());
        let path = question.path.split('?').next().unwrap();
        let answer = self.upstream.get(path);
        let status = if answer.is_some() { http::StatusCode::OK } else { http::StatusCode::NOT_FOUND };
        Ok(vec![UpstreamAnswer { member: self.address.clone(), status, body: answer.map(Value::to_string).unwrap_or_default().into() }])
    }
    async fn private_names(&self, names: &[String]) -> Result<HashSet<String>> {
        Ok(names.iter().filter(|name| self.private.contains(*name)).cloned().collect())
    }
    async fn verification_keys(&self) -> Result<Vec<VerificationKey>> {
        Ok(vec![VerificationKey { key_id: String::from("SHA256:ours"), key: String::from("ours"), expires: None }])
    }

    async fn package(&self, package: &str) -> Result<Option<PackageState>> {
        Ok(self.state.lock().unwrap().packages.get(package).map(|(state, _)| state.clone()))
    }
    async fn version(&self, package: &str, version: &str) -> Result<Option<VersionState>> {
        Ok(self.state.lock().unwrap().versions.get(package).and_then(|versions| versions.iter().find(|state| state.version == version).cloned()))
    }
    async fn versions(&self, package: &str) -> Result<Vec<VersionState>> {
        *self.version_listings.lock().unwrap() += 1;
        Ok(self.state.lock().unwrap().versions.get(package).cloned().unwrap_or_default())
    }

    async fn stage(&self, spec: StageSpec) -> Result<Box<dyn Staging>> {
        Ok(Box::new(Stage(Vec::new(), spec.algorithms)))
    }
    async fn commit(&self, change: Change) -> Result<u64> {
        let overtaking = self.overtake.lock().unwrap().take();
        if let Some(overtaking) = overtaking {
            self.state.lock().unwrap().apply(&overtaking, Vec::new())?;
        }
        let mut files = Vec::new();
        for birth in &change.births {
            files.extend(State::staged(birth).await);
        }
        self.state.lock().unwrap().apply(&change, files)
    }
    async fn sign(&self, message: &[u8]) -> Result<Signature> {
        Ok(Signature { key_id: String::from("SHA256:ours"), signature: String::from_utf8_lossy(message).into_owned() })
    }
}

/// Knows one user and one token.
struct TestAccounts;

fn token(name: &str, actions: Vec<Action>) -> NewToken {
    let info = TokenInfo { id: String::from("abc"), name: name.to_owned(), repositories: Vec::new(), actions, created: Timestamp(0), expires: None };
    NewToken { info, secret: String::from("ent_abc_secret") }
}

#[async_trait]
impl Accounts for TestAccounts {
    async fn sign_in(&self, name: &str, password: &str, wanted: TokenRequest) -> Result<NewToken> {
        if (name, password) == ("bob", "right") { Ok(token(&wanted.name, wanted.actions)) } else { Err(Error::unauthorized("wrong name or password")) }
    }
    async fn start_web_login(&self) -> Result<WebLogin> {
        Ok(WebLogin { page: String::from("page1"), poll: String::from("poll1") })
    }
    async fn poll_web_login(&self, poll: &str) -> Result<WebLoginState> {
        Ok(match poll {
            "poll1" => WebLoginState::Waiting,
            "poll2" => WebLoginState::Done(token("web", Vec::new())),
            _ => WebLoginState::Gone,
        })
    }
    async fn tokens(&self) -> Result<Vec<TokenInfo>> {
        Ok(vec![token("one", vec![Action::Read]).info])
    }
    async fn create_token(&self, password: Option<&str>, wanted: TokenRequest) -> Result<NewToken> {
        if password == Some("right") { Ok(token(&wanted.name, wanted.actions)) } else { Err(Error::unauthorized("wrong password")) }
    }
    async fn revoke_token(&self, id_or_token: &str) -> Result<bool> {
        Ok(id_or_token.starts_with("abc") || id_or_token == "ent_abc_secret")
    }
}
