//! A repository in memory, as far as the generic format reaches it.

use std::collections::{BTreeMap, HashSet};
use std::io::Cursor;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use entrepot_kit::{
    Accounts, Action, Address, Algorithm, Birth, BlobSource, ByteStream, Change, Content, Death, Digests, Document, Entry, Error, Facade, File, Hasher, Index,
    Kind, Listing, ListingItem, ListingPage, PackageState, Precondition, Principal, Question, ReadSeek, Records, Resource, Result, SearchPage, Sha256Digest,
    Signature, Source, StageSpec, Staged, Staging, Timestamp, UpstreamAnswer, VerificationKey, VersionState,
};
use serde_json::Value;

#[derive(Clone)]
struct Stored(Bytes, Digests);

#[async_trait]
impl Content for Stored {
    fn size(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
    async fn stream(&self, _range: Option<Range<u64>>) -> Result<ByteStream> {
        let bytes = self.0.clone();
        Ok(Box::pin(futures::stream::iter([Ok(bytes)])))
    }
    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Cursor::new(self.0.clone())))
    }
}

#[async_trait]
impl Staged for Stored {
    fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.0)
    }
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn digests(&self) -> &Digests {
        &self.1
    }
    async fn reader(&self) -> Result<Box<dyn ReadSeek>> {
        Content::reader(self).await
    }
}

struct Stage(Vec<u8>, Vec<Algorithm>);

#[async_trait]
impl Staging for Stage {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.extend(bytes);
        Ok(())
    }
    async fn finish(self: Box<Self>) -> Result<Arc<dyn Staged>> {
        let mut hasher = Hasher::new(&self.1);
        hasher.update(&self.0);
        Ok(Arc::new(Stored(self.0.into(), hasher.finish().1)))
    }
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, (Bytes, Option<String>)>,
    actions: Vec<&'static str>,
    refused: HashSet<Action>,
    meanwhile: Option<(String, Bytes)>,
}

pub(super) struct Memory {
    address: Address,
    kind: Kind,
    settings: Value,
    principal: Principal,
    state: Mutex<State>,
}

impl Memory {
    fn new(kind: Kind, settings: Value) -> Arc<Self> {
        let address = Address::parse("main/files").unwrap();
        Arc::new(Self { address, kind, settings, principal: Principal::anonymous(), state: Mutex::default() })
    }

    pub(super) fn hosted(settings: Value) -> Arc<Self> {
        Self::new(Kind::Hosted, settings)
    }

    pub(super) fn of_kind(kind: Kind) -> Arc<Self> {
        Self::new(kind, Value::Null)
    }

    /// How many changes were committed.
    pub(super) fn revision(&self) -> usize {
        self.state.lock().unwrap().actions.len()
    }

    pub(super) fn last_action(&self) -> &'static str {
        self.state.lock().unwrap().actions.last().unwrap()
    }

    /// From now on that action is refused.
    pub(super) fn refuse(&self, action: Action) {
        self.state.lock().unwrap().refused.insert(action);
    }

    /// Stores a file right before the next commit, as someone else would.
    pub(super) fn meanwhile(&self, path: &str, content: &'static [u8]) {
        self.state.lock().unwrap().meanwhile = Some((path.to_owned(), Bytes::from_static(content)));
    }
}

fn entry(path: &str, (content, content_type): &(Bytes, Option<String>)) -> Entry {
    Entry {
        path: path.to_owned(),
        digest: Some(Sha256Digest::of(content)),
        size: Some(content.len() as u64),
        digests: Digests::new(),
        content_type: content_type.clone(),
        data: String::new(),
        created: Timestamp(0),
        package: None,
        version: None,
    }
}

fn unused<T>() -> Result<T> {
    Err(Error::internal("the generic format does not ask for this"))
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
        &self.settings
    }
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn principal(&self) -> &Principal {
        &self.principal
    }
    fn accounts(&self) -> &dyn Accounts {
        panic!("the generic format does not ask for accounts")
    }
    async fn grant(&self, action: Action, _resource: &Resource) -> Result<()> {
        if self.state.lock().unwrap().refused.contains(&action) { Err(Error::forbidden("refused")) } else { Ok(()) }
    }
    async fn entry(&self, path: &str) -> Result<Option<File>> {
        let state = self.state.lock().unwrap();
        Ok(state.files.get(path).map(|stored| File {
            entry: entry(path, stored),
            content: Arc::new(Stored(stored.0.clone(), Digests::new())),
            source: Source::Hosted,
            mutable: true,
        }))
    }
    async fn entries(&self, listing: &Listing) -> Result<ListingPage> {
        let state = self.state.lock().unwrap();
        let mut items: Vec<ListingItem> = Vec::new();
        for (path, stored) in state.files.range(listing.prefix.clone()..).take_while(|(path, _)| path.starts_with(&listing.prefix)) {
            let deeper = path.strip_prefix(&listing.prefix).and_then(|rest| rest.split_once('/')).filter(|_| !listing.recursive);
            let item = match deeper {
                Some((folder, _)) => ListingItem::Folder(format!("{}{folder}/", listing.prefix)),
                None => ListingItem::File(entry(path, stored)),
            };
            if items.last() != Some(&item) && listing.after.as_deref().is_none_or(|after| item.path() > after) {
                items.push(item);
            }
        }
        let more = items.len() > listing.limit;
        items.truncate(listing.limit);
        Ok(ListingPage { items, more })
    }
    async fn commit(&self, change: Change) -> Result<u64> {
        let mut state = self.state.lock().unwrap();
        if let Some((path, content)) = state.meanwhile.take() {
            state.files.insert(path, (content, None));
        }
        for precondition in &change.preconditions {
            let holds = match precondition {
                Precondition::EntryAbsent(path) => !state.files.contains_key(path),
                Precondition::EntryIs { path, digest } => state.files.get(path).is_some_and(|(content, _)| Sha256Digest::of(content) == *digest),
                Precondition::PackageAt { .. } | Precondition::VersionNew { .. } | Precondition::VersionLive { .. } => false,
            };
            if !holds {
                return Err(Error::conflict(format!("{precondition:?}")));
            }
        }
        for death in change.deaths {
            match death {
                Death::Entry(path) => drop(state.files.remove(&path)),
                Death::Folder(prefix) => state.files.retain(|path, _| !path.starts_with(&prefix)),
                Death::Package(_) | Death::Version { .. } | Death::Blob { .. } => return unused(),
            }
        }
        for birth in change.births {
            let Birth::Entry { path, blob: BlobSource::Staged(staged), content_type, .. } = birth else { return unused() };
            // The engine reads staged bytes where blocking is allowed; these are in memory.
            let mut reader = futures::FutureExt::now_or_never(staged.reader()).unwrap()?;
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            state.files.insert(path, (content.into(), content_type));
        }
        state.actions.push(change.action);
        Ok(state.actions.len() as u64)
    }
    async fn stage(&self, spec: StageSpec) -> Result<Box<dyn Staging>> {
        Ok(Box::new(Stage(Vec::new(), spec.algorithms)))
    }

    async fn records(&self, _: &str, _: &'static str) -> Result<Option<Arc<Records>>> {
        unused()
    }
    async fn document(&self, _: Index<'_>) -> Result<Option<Arc<Document>>> {
        unused()
    }
    async fn search(&self, _: &str, _: usize, _: usize) -> Result<SearchPage> {
        unused()
    }
    async fn ask_upstream(&self, _: &Question) -> Result<Vec<UpstreamAnswer>> {
        unused()
    }
    async fn private_names(&self, _: &[String]) -> Result<HashSet<String>> {
        unused()
    }
    async fn verification_keys(&self) -> Result<Vec<VerificationKey>> {
        unused()
    }
    async fn package(&self, _: &str) -> Result<Option<PackageState>> {
        unused()
    }
    async fn version(&self, _: &str, _: &str) -> Result<Option<VersionState>> {
        unused()
    }
    async fn versions(&self, _: &str) -> Result<Vec<VersionState>> {
        unused()
    }
    async fn sign(&self, _: &[u8]) -> Result<Signature> {
        unused()
    }
}
