//! The façade: all that a format can reach, by a handle that carries what the policy granted.
//!
//! [`Facade`] is what the server implements, once for hosted, proxy and group repositories. Formats never see it: they get a
//! [`Repository`] whose type names the granted action and which has only the methods that this action allows.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;

use crate::accounts::{Accounts, Principal};
use crate::change::{Birth, Change, Precondition};
use crate::digest::{Algorithm, Digests, Sha256Digest};
use crate::error::{Error, Result};
use crate::folders::{FolderState, Making, Moment, Piece, Pieces};
use crate::keys::{KeyKind, SigningKeys};
use crate::name::Address;
use crate::records::{Document, Entry, File, Index, Kind, Listing, ListingItem, ListingPage, PackageState, ReadSeek, Records, SearchPage, VersionState};
use crate::route::Action;
use crate::time::Timestamp;
use crate::uploads::Uploads;
use crate::upstream::Located;

/// What an action is done to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The repository as a whole.
    Repository,
    /// One package of it.
    Package(
        /// Its name.
        String,
    ),
}

/// How a body shall be staged.
#[derive(Debug, Clone, Default)]
pub struct StageSpec {
    /// Hashes besides SHA-256, computed in the same pass.
    pub algorithms: Vec<Algorithm>,
    /// At most so many bytes; the server's own limit applies when absent or larger.
    pub limit: Option<u64>,
}

/// A body on its way to the store. Dropping it leaves nothing behind.
#[async_trait]
pub trait Staging: Send {
    /// Takes the next bytes. Hashing and writing happen where blocking is allowed.
    ///
    /// # Errors
    /// 413 over the limit; 507 when the disk is full.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Ends the body.
    ///
    /// # Errors
    /// Failures of the store.
    async fn finish(self: Box<Self>) -> Result<Arc<dyn Staged>>;
}

/// A staged body: hashed, not yet visible, and gone unless a commit takes it.
#[async_trait]
pub trait Staged: Send + Sync {
    /// Its SHA-256.
    fn digest(&self) -> Sha256Digest;
    /// Its length in bytes.
    fn size(&self) -> u64;
    /// SHA-256 and the digests that were asked for.
    fn digests(&self) -> &Digests;
    /// Remembers a digest that was computed only now, for whoever looks for the bytes by it once they are committed.
    fn learn(&self, _algorithm: Algorithm, _digest: &[u8]) {}
    /// A reader for blocking code.
    ///
    /// # Errors
    /// Failures of the store.
    async fn reader(&self) -> Result<Box<dyn ReadSeek>>;
}

/// Bytes that some package has already, for another one: the path here is the package and `tail`, and so it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The package that has them; `None`: whichever the caller may read.
    pub from: Option<MountFrom>,
    /// The package here.
    pub package: String,
    /// What follows the package in the path: `/blobs/sha256:…`.
    pub tail: String,
}

/// Where a mount takes its bytes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountFrom {
    /// A package of this repository.
    Package(
        /// Its name.
        String,
    ),
    /// A name below the registry's root, as clients write it: `{system}/{repository}/{package}`, or `{repository}/{package}` of the
    /// default system.
    Name(
        /// The name.
        String,
    ),
}

/// A question to upstream registries beyond documents and files: search, advisories, keys.
#[derive(Debug, Clone)]
pub struct Question {
    /// `GET` or `POST`.
    pub method: Method,
    /// Path and query below the upstream's root.
    pub path: String,
    /// Headers to send besides the upstream's credentials.
    pub headers: Vec<(&'static str, String)>,
    /// A small body.
    pub body: Bytes,
    /// Most bytes that are read of the answer.
    pub limit: usize,
}

/// What one upstream answered.
#[derive(Debug, Clone)]
pub struct UpstreamAnswer {
    /// The proxy repository that asked.
    pub member: Address,
    /// The status.
    pub status: http::StatusCode,
    /// The body.
    pub body: Bytes,
}

/// A signature by the repository's own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Which key.
    pub key_id: String,
    /// ASN.1 DER, base64.
    pub signature: String,
}

/// A public key for checking signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationKey {
    /// `SHA256:` and the base64 SHA-256 of the key.
    pub key_id: String,
    /// SubjectPublicKeyInfo, DER, base64.
    pub key: String,
    /// After this, new signatures are made by another key.
    pub expires: Option<Timestamp>,
}

/// A file, and who answered for it.
pub struct Found {
    /// The file.
    pub file: File,
    /// The member of a group that has it, for the same caller; `None` where the repository itself has it.
    pub member: Option<Arc<dyn Facade>>,
}

/// What was worked out from a file that is here: kept so that it is found the next time, for as long as that file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// The path under which it is found; it leads to the bytes of the file.
    pub path: String,
    /// The package that it belongs to.
    pub package: String,
    /// The path of the file.
    pub from: String,
    /// The format's own JSON; empty for none.
    pub data: String,
}

/// What the server gives to formats. Use it through [`Repository`].
#[async_trait]
pub trait Facade: Send + Sync {
    /// The repository's address.
    fn address(&self) -> &Address;
    /// Hosted, proxy or group.
    fn kind(&self) -> Kind;
    /// The repository's settings, as JSON.
    fn settings(&self) -> &serde_json::Value;
    /// The time of the request.
    fn now(&self) -> Timestamp;
    /// Who asks.
    fn principal(&self) -> &Principal;
    /// The caller's account.
    fn accounts(&self) -> &dyn Accounts;
    /// Decides one more action for the caller, and audits a refusal.
    async fn grant(&self, action: Action, resource: &Resource) -> Result<()>;

    /// A file: stored, or fetched.
    async fn entry(&self, path: &str) -> Result<Option<File>>;
    /// The file of every member of a group that has it, in their order; else the one.
    async fn entry_of_each(&self, path: &str) -> Result<Vec<File>> {
        Ok(self.entry(path).await?.into_iter().collect())
    }
    /// A file, and the member of a group that has it.
    async fn find(&self, path: &str) -> Result<Option<Found>> {
        Ok(self.entry(path).await?.map(|file| Found { file, member: None }))
    }
    /// Whether policies allow the caller one more action, by all that its password or token is good for. Neither a grant nor a refusal:
    /// nothing is audited.
    async fn allows(&self, _action: Action, _resource: &Resource) -> Result<bool> {
        Ok(false)
    }
    /// Keeps what was worked out, without a revision. What lives at the path stays; a view of the past keeps nothing.
    async fn conclude(&self, _conclusion: Conclusion) -> Result<()> {
        Ok(())
    }
    /// Writes a line to the server's log, with who asks and for which repository.
    fn report(&self, _message: &str) {}
    /// Paths.
    async fn entries(&self, listing: &Listing) -> Result<ListingPage>;
    /// What an index of the package is made of.
    async fn records(&self, package: &str, fragments: &'static str) -> Result<Option<Arc<Records>>>;
    /// An index document, cached.
    async fn document(&self, index: Index<'_>) -> Result<Option<Arc<Document>>>;
    /// Hosted packages found by all words of `text`, each as the beginning of a term.
    async fn search(&self, text: &str, from: usize, size: usize) -> Result<SearchPage>;
    /// Asks the upstream of a proxy, or of every proxy that the caller may read in a group.
    async fn ask_upstream(&self, question: &Question) -> Result<Vec<UpstreamAnswer>>;
    /// Those of `names` that must not be named to an upstream: owned by a hosted member, or reserved by a rule.
    async fn private_names(&self, names: &[String]) -> Result<HashSet<String>>;
    /// The public keys of signatures made here.
    async fn verification_keys(&self) -> Result<Vec<VerificationKey>>;
    /// The repository's keys of a kind; made at the first call.
    async fn signing_keys(&self, _kind: KeyKind) -> Result<Arc<SigningKeys>> {
        Err(Error::not_implemented("documents are not signed here"))
    }

    /// What lies below a folder of a hosted repository; `None` when nothing ever did.
    async fn folder(&self, _folder: &str) -> Result<Option<FolderState>> {
        Err(Error::not_implemented("folders have no index here"))
    }
    /// Fragments of the packages below a folder of a hosted repository, in the order of their paths.
    async fn pieces(&self, _pieces: Pieces) -> Result<Vec<Piece>> {
        Err(Error::not_implemented("folders have no index here"))
    }
    /// The same repository at a moment.
    fn at(&self, _moment: Moment) -> Result<Arc<dyn Facade>> {
        Err(Error::not_implemented("the past cannot be read here"))
    }
    /// The members of a group that answer for a package, or for all of it, and that the caller may read; else the repository itself.
    async fn members(&self, _package: Option<&str>) -> Result<Vec<Arc<dyn Facade>>> {
        Err(Error::not_implemented("members cannot be asked here"))
    }
    /// Notes a text under a name, for a few seconds, on all replicas. A view of the past notes nothing.
    async fn note(&self, _name: &str, _text: &str) -> Result<()> {
        Ok(())
    }
    /// What was noted last under a name, and when.
    async fn noted(&self, _name: &str) -> Result<Option<(String, Timestamp)>> {
        Ok(None)
    }
    /// A file of a proxy: kept, or asked for at this URL in place of that of its path, as one of several mirrors has it.
    async fn entry_from(&self, _path: &str, _url: &str) -> Result<Option<File>> {
        Err(Error::not_implemented("nothing is fetched here"))
    }
    /// A file of a proxy, kept, or fetched from where the format found that it is. A relative address begins where the document at `from` is.
    async fn located(&self, _path: &str, _from: &str, _located: Located) -> Result<Option<File>> {
        Err(Error::not_implemented("nothing is fetched here"))
    }
    /// A document that `key` says everything of: from memory, or made now, once for all who wait.
    async fn derived(&self, _key: &str, make: Making) -> Result<Arc<Document>> {
        make.await.map(Arc::new)
    }

    /// What is known of a hosted file, without its bytes.
    async fn stored(&self, _path: &str) -> Result<Option<Entry>> {
        Err(Error::not_implemented("what is known of files cannot be asked here"))
    }
    /// The state of a hosted package.
    async fn package(&self, package: &str) -> Result<Option<PackageState>>;
    /// A hosted version, live or deleted.
    async fn version(&self, package: &str, version: &str) -> Result<Option<VersionState>>;
    /// All versions of a hosted package, live and deleted, in the order of their first publication.
    async fn versions(&self, package: &str) -> Result<Vec<VersionState>>;

    /// Begins to stage a body.
    async fn stage(&self, spec: StageSpec) -> Result<Box<dyn Staging>>;
    /// Applies a change; returns the new revision. 409 when a precondition does not hold.
    async fn commit(&self, change: Change) -> Result<u64>;
    /// Stores a file that never changes, without a revision. What lives at the path stays.
    async fn keep(&self, _birth: Birth) -> Result<()> {
        Err(Error::not_implemented("files are not kept here without a revision"))
    }
    /// Notes that a file is used, where nothing of it changes.
    fn touch(&self, _path: &str) {}
    /// Gives a package bytes that another one has; `false` when there are none that the caller may read.
    async fn mount(&self, _mount: Mount) -> Result<bool> {
        Ok(false)
    }
    /// Signs with the repository's key.
    async fn sign(&self, message: &[u8]) -> Result<Signature>;
    /// The caller's uploads in several requests.
    fn uploads(&self) -> Result<&dyn Uploads> {
        Err(Error::not_implemented("uploads in several requests are not served here: send the whole file"))
    }
}

mod sealed {
    pub trait Sealed {}
}

/// An action as a type: what a [`Repository`] handle was granted.
pub trait Access: sealed::Sealed + Send + Sync + 'static {
    /// The action.
    const ACTION: Action;
}

macro_rules! accesses {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name(());
        impl sealed::Sealed for $name {}
        impl Access for $name { const ACTION: Action = Action::$name; }
    )*};
}
accesses! {
    /// `read` was granted.
    Read;
    /// `publish` was granted.
    Publish;
    /// `overwrite` was granted.
    Overwrite;
    /// `delete` was granted.
    Delete;
    /// `manage` was granted.
    Manage;
}

/// Proof that a policy allowed an action: made by the server's access check, and by nothing else.
pub struct Grant<A: Access>(PhantomData<A>);

impl<A: Access> Grant<A> {
    /// Mints a grant. Only the server's `access` module calls this, after a decision; a test holds formats to that.
    #[must_use]
    pub fn mint() -> Self {
        Self(PhantomData)
    }
}

/// A repository as the caller may use it: the handle that a handler gets.
pub struct Repository<A: Access> {
    facade: Arc<dyn Facade>,
    granted: PhantomData<A>,
}

impl<A: Access> Clone for Repository<A> {
    fn clone(&self) -> Self {
        Self { facade: Arc::clone(&self.facade), granted: PhantomData }
    }
}

impl<A: Access> Repository<A> {
    /// A handle with what was granted.
    #[must_use]
    pub fn new(facade: Arc<dyn Facade>, _grant: Grant<A>) -> Self {
        Self { facade, granted: PhantomData }
    }

    /// Asks for one more action, for what only the body or a look-up reveals.
    ///
    /// # Errors
    /// 401, 403 or 404, as for a route that demands it.
    pub async fn grant<B: Access>(&self, resource: &Resource) -> Result<Repository<B>> {
        self.facade.grant(B::ACTION, resource).await?;
        Ok(Repository { facade: Arc::clone(&self.facade), granted: PhantomData })
    }

    /// The repository's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.facade.address()
    }

    /// Hosted, proxy or group.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.facade.kind()
    }

    /// One of the repository's settings, if it is there and of that type.
    #[must_use]
    pub fn setting<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.facade.settings().get(name).and_then(|value| T::deserialize(value).ok())
    }

    /// The time of the request; the same for all that it does.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.facade.now()
    }

    /// Who asks.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        self.facade.principal()
    }

    /// The caller's account.
    #[must_use]
    pub fn accounts(&self) -> &dyn Accounts {
        self.facade.accounts()
    }

    /// What is known of a hosted file, without its bytes and without a right to read those.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn stored(&self, path: &str) -> Result<Option<Entry>> {
        self.facade.stored(path).await
    }

    /// The state of a hosted package; `None` for one that is not there or was deleted.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn package(&self, package: &str) -> Result<Option<PackageState>> {
        self.facade.package(package).await
    }

    /// A hosted version, live or deleted.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn version(&self, package: &str, version: &str) -> Result<Option<VersionState>> {
        self.facade.version(package, version).await
    }

    /// All versions of a hosted package, live and deleted, in the order of their first publication. Its cost grows with
    /// their number: not for the path of a publish.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn versions(&self, package: &str) -> Result<Vec<VersionState>> {
        self.facade.versions(package).await
    }
}

impl<A: Access> Repository<A> {
    /// Whether policies allow the caller one more action, by all that its password or token is good for (registry clients narrow what they
    /// use to the request at hand): for what is decided by it, not for doing it ([`Self::grant`]).
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn allows(&self, action: Action, resource: &Resource) -> Result<bool> {
        self.facade.allows(action, resource).await
    }

    /// Writes a line to the server's log, with who asks and for which repository.
    pub fn report(&self, message: &str) {
        self.facade.report(message);
    }
}

impl Repository<Read> {
    /// What lies below a folder of a hosted repository (empty, or ending with a slash); `None` when nothing ever did.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn folder(&self, folder: &str) -> Result<Option<FolderState>> {
        self.facade.folder(folder).await
    }

    /// Fragments of the packages below a folder of a hosted repository, in the order of their paths.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn pieces(&self, pieces: Pieces) -> Result<Vec<Piece>> {
        self.facade.pieces(pieces).await
    }

    /// The same repository at a moment, to be read only.
    ///
    /// # Errors
    /// 404 for a revision of a group.
    pub fn at(&self, moment: Moment) -> Result<Self> {
        Ok(Self { facade: self.facade.at(moment)?, granted: PhantomData })
    }

    /// The members of a group that the caller may read, in their order: those that answer for a package (whose rules admit it, and among which
    /// no hosted one owns the name of another's), or all. Of another repository that itself.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn members(&self, package: Option<&str>) -> Result<Vec<Self>> {
        let members = self.facade.members(package).await?;
        Ok(members.into_iter().map(|facade| Self { facade, granted: PhantomData }).collect())
    }

    /// Notes a text under a name, on all replicas, for what is about to be asked next. It may be lost, and a view of the past notes nothing.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn note(&self, name: &str, text: &str) -> Result<()> {
        self.facade.note(name, text).await
    }

    /// What was noted last under a name, and when.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn noted(&self, name: &str) -> Result<Option<(String, Timestamp)>> {
        self.facade.noted(name).await
    }

    /// A file of a proxy: kept, or asked for at this URL in place of that of its path, as one of several mirrors has it.
    ///
    /// # Errors
    /// Those of [`Self::entry`].
    pub async fn entry_from(&self, path: &str, url: &str) -> Result<Option<File>> {
        self.facade.entry_from(path, url).await
    }

    /// A file of a proxy that never changes: kept, or fetched once from where a document says that it is. A relative address begins where the
    /// document at the path `from` came from.
    ///
    /// # Errors
    /// 502 and 503 when the upstream failed.
    pub async fn located(&self, path: &str, from: &str, located: Located) -> Result<Option<File>> {
        self.facade.located(path, from, located).await
    }

    /// A document of which `key` says everything, in this repository: from memory, or made now, once for all who wait.
    ///
    /// # Errors
    /// Those of `make`.
    pub async fn derived(&self, key: &str, make: Making) -> Result<Arc<Document>> {
        self.facade.derived(key, make).await
    }

    /// The file at a path like [`Self::entry`], with the repository that answers for it: of a group the member, whose settings and
    /// other files say more about it than the group's.
    ///
    /// # Errors
    /// Those of [`Self::entry`].
    pub async fn find(&self, path: &str) -> Result<Option<(Self, File)>> {
        let found = self.facade.find(path).await?;
        Ok(found.map(|found| {
            let facade = found.member.unwrap_or_else(|| Arc::clone(&self.facade));
            (Self { facade, granted: PhantomData }, found.file)
        }))
    }

    /// Keeps what was worked out from a file that is here, so that it is found the next time. What lives at the path stays.
    ///
    /// # Errors
    /// 409 when the file is gone, and failures of the store.
    pub async fn conclude(&self, conclusion: Conclusion) -> Result<()> {
        self.facade.conclude(conclusion).await
    }

    /// The file at a path, with an open content; for a proxy it is fetched when it is not there.
    ///
    /// # Errors
    /// 502 and 503 when an upstream that might have it failed.
    pub async fn entry(&self, path: &str) -> Result<Option<File>> {
        self.facade.entry(path).await
    }

    /// What every member of a group has at a path, in their order; of any other repository what it has.
    ///
    /// # Errors
    /// Those of [`Self::entry`], where nobody has it.
    pub async fn entry_of_each(&self, path: &str) -> Result<Vec<File>> {
        self.facade.entry_of_each(path).await
    }

    /// The file at a path, or 404.
    ///
    /// # Errors
    /// 404 with the path, and those of [`Self::entry`].
    pub async fn file(&self, path: &str) -> Result<File> {
        self.entry(path).await?.ok_or_else(|| Error::not_found(format!("there is no file {path:?} in this repository")))
    }

    /// Paths below a prefix. A proxy lists what it keeps.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn entries(&self, listing: &Listing) -> Result<ListingPage> {
        self.facade.entries(listing).await
    }

    /// All files below a prefix, at most so many: what is deleted in one change.
    ///
    /// # Errors
    /// 422 when there are more, and failures of the store.
    pub async fn files_below(&self, prefix: &str, most: usize) -> Result<Vec<Entry>> {
        let (mut files, mut after) = (Vec::new(), None);
        loop {
            let page = self.entries(&Listing { prefix: prefix.to_owned(), after, limit: FILES_AT_ONCE, recursive: true }).await?;
            after = page.items.last().map(|item| item.path().to_owned());
            files.extend(page.items.into_iter().filter_map(|item| match item {
                ListingItem::File(entry) => Some(entry),
                ListingItem::Folder(_) => None,
            }));
            if files.len() > most {
                return Err(Error::unprocessable(format!("the folder has more than {most} files: delete it part by part")));
            }
            if !page.more || after.is_none() {
                return Ok(files);
            }
        }
    }

    /// What an index document of the package is made of; `None` when there is no such package.
    ///
    /// # Errors
    /// 502 and 503 when an upstream that might have it failed.
    pub async fn records(&self, package: &str, fragments: &'static str) -> Result<Option<Arc<Records>>> {
        self.facade.records(package, fragments).await
    }

    /// An index document of the package, from the cache or made now; `None` when there is no such package.
    ///
    /// # Errors
    /// Those of [`Self::records`].
    pub async fn document(&self, index: Index<'_>) -> Result<Option<Arc<Document>>> {
        self.facade.document(index).await
    }

    /// Hosted packages that a text finds.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn search(&self, text: &str, from: usize, size: usize) -> Result<SearchPage> {
        self.facade.search(text, from, size).await
    }

    /// Asks upstreams a question. One that fails is left out.
    ///
    /// # Errors
    /// 503 when there are upstreams and all failed.
    pub async fn ask_upstream(&self, question: &Question) -> Result<Vec<UpstreamAnswer>> {
        self.facade.ask_upstream(question).await
    }

    /// Names that must not be sent upstream.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn private_names(&self, names: &[String]) -> Result<HashSet<String>> {
        self.facade.private_names(names).await
    }

    /// The public keys of signatures made here.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn verification_keys(&self) -> Result<Vec<VerificationKey>> {
        self.facade.verification_keys().await
    }

    /// The repository's own keys of a kind, those of a group too; made at the first call.
    ///
    /// # Errors
    /// Failures of the key store.
    pub async fn signing_keys(&self, kind: KeyKind) -> Result<Arc<SigningKeys>> {
        self.facade.signing_keys(kind).await
    }
}

/// Files of a folder that are read at once.
const FILES_AT_ONCE: usize = 1000;

/// Attempts of [`Repository::update`] before it gives up.
const UPDATE_ATTEMPTS: usize = 16;

/// What every change needs, whichever action was granted for it.
macro_rules! writing {
    ($($access:ident),*) => {$(
        impl Repository<$access> {
            /// Begins to stage a body.
            ///
            /// # Errors
            /// Failures of the store.
            pub async fn stage(&self, spec: StageSpec) -> Result<Box<dyn Staging>> {
                self.facade.stage(spec).await
            }

            /// Stages a whole body.
            ///
            /// # Errors
            /// 413 over the limit; what broke the transfer.
            pub async fn stage_body(&self, spec: StageSpec, mut body: crate::Body) -> Result<Arc<dyn Staged>> {
                let mut staging = self.facade.stage(spec).await?;
                while let Some(bytes) = body.next().await? {
                    staging.write(bytes).await?;
                }
                staging.finish().await
            }

            /// Applies a change and returns the new revision once it is durable.
            ///
            /// # Errors
            /// 409 when a precondition does not hold; 405 in a group or proxy.
            pub async fn commit(&self, change: Change) -> Result<u64> {
                self.facade.commit(change).await
            }

            /// Stores a file that never changes (its path names its digest, say) once it is durable, without a revision: nothing else
            /// becomes visible by it. What lives at the path stays.
            ///
            /// # Errors
            /// 405 in a group or proxy.
            pub async fn keep(&self, birth: Birth) -> Result<()> {
                self.facade.keep(birth).await
            }

            /// Notes that a file is used (it was sent once more, say), where nothing of it changes: housekeeping leaves it alone for a while.
            pub fn touch(&self, path: &str) {
                self.facade.touch(path);
            }

            /// Gives a package bytes that another one has, perhaps of another repository; `false` when there are none that the caller
            /// may read, which looks the same.
            ///
            /// # Errors
            /// Failures of the store; 405 in a group or proxy.
            pub async fn mount(&self, mount: Mount) -> Result<bool> {
                self.facade.mount(mount).await
            }

            /// Changes a package from the state in which it is: reads it, lets `plan` decide, and commits on the condition
            /// that nobody changed the package meanwhile; else it begins again.
            ///
            /// # Errors
            /// Those of `plan`; 503 when the package changes faster than that.
            pub async fn update(&self, package: &str, mut plan: impl FnMut(Option<PackageState>) -> Result<Change> + Send) -> Result<u64> {
                for _ in 0..UPDATE_ATTEMPTS {
                    let state = self.facade.package(package).await?;
                    let revision = state.as_ref().map_or(0, |state| state.changed);
                    let change = plan(state)?.only_if(Precondition::PackageAt { package: package.to_owned(), revision });
                    match self.facade.commit(change).await {
                        Err(error) if error.status() == http::StatusCode::CONFLICT => {}
                        other => return other,
                    }
                }
                Err(Error::unavailable(format!("the package {package:?} is being changed by many at once; try again"), 1))
            }

            /// The caller's uploads in several requests.
            ///
            /// # Errors
            /// 501 where there are none.
            pub fn uploads(&self) -> Result<&dyn Uploads> {
                self.facade.uploads()
            }

            /// Signs with the repository's key.
            ///
            /// # Errors
            /// Failures of the key store.
            pub async fn sign(&self, message: &[u8]) -> Result<Signature> {
                self.facade.sign(message).await
            }
        }
    )*};
}
writing!(Publish, Overwrite, Delete, Manage);

/// What a sign-in route gets: accounts, and no store.
pub struct SignIn {
    /// The caller's account.
    pub accounts: Arc<dyn Accounts>,
    /// Where the caller asks. Nothing says that such a repository exists.
    pub address: Address,
}
