//! From credentials to a caller.
//!
//! One bounded cache maps a keyed hash of the credential to its caller, so that neither argon2 nor the catalog is asked
//! for each request. An entry counts as long as the epoch stays; after any change of principals, tokens or policies it is
//! compared with its rows again, which costs a look-up but no argon2. Registry tokens have a cache of their own: they are many and short-lived,
//! and must not push out what is dear.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use entrepot_kit::{Error, Principal, PrincipalKind, Result, Timestamp};
use http::StatusCode;
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::Access;
use super::caller::{Caller, Credentials, RequestFacts};
use super::names::is_principal_name;
use super::publishers::Workload;
use super::registry::{Narrowed, looks_like_statement};
use super::scope::TokenScope;
use super::token::{TokenText, random_text};
use crate::store::model::{CatalogError, PrincipalRow, TokenRow};

/// Credentials that are remembered.
const MOST_REMEMBERED: u64 = 20_000;
/// How long one is remembered when nothing changes.
const REMEMBERED_FOR: std::time::Duration = std::time::Duration::from_secs(3600);

/// How long a registry token is remembered: longer than it lives.
const STATEMENT_REMEMBERED_FOR: std::time::Duration = std::time::Duration::from_secs(600);

/// What a credential was compared with.
enum Proof {
    /// Nothing: a registry token for nobody in particular.
    Nothing,
    /// The stored hash of the password.
    Password(String),
    /// The stored hash of the token's secret.
    Token(Vec<u8>),
}

/// A credential that was right.
pub(super) struct Known {
    pub(super) caller: Caller,
    proof: Proof,
    epoch: u64,
    /// When it ends by itself.
    pub(super) ends: Option<Timestamp>,
}

/// Why a credential gives no caller. Shared by all who asked at the same time.
#[derive(Debug, Clone)]
pub(super) enum Refusal {
    Wrong(&'static str),
    /// It was right and has ended: no news for anybody.
    Ended,
    Slow(u32),
    Failed(Arc<Error>),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(Arc::new(error))
    }
}

impl From<CatalogError> for Refusal {
    fn from(error: CatalogError) -> Self {
        Error::from(error).into()
    }
}

pub(super) const WRONG_STATEMENT: &str = "this is no registry token for this server, or what it was made with does not hold any more: sign in again";
const ENDED: &str = "the registry token has expired: ask for another one";
const WRONG_PASSWORD: &str = "the user name or password is wrong";
const WRONG_TOKEN: &str = "this is no token of this server, or it was revoked or has expired";

/// The credentials that are remembered.
pub(super) struct Memory {
    known: Cache<[u8; 32], Arc<Known>>,
    statements: Cache<[u8; 32], Arc<Known>>,
    /// Makes the hashes worthless to whoever reads the memory of another process.
    key: SecretString,
}

impl Memory {
    pub(super) fn new() -> Result<Self> {
        let known = Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(REMEMBERED_FOR).build();
        let statements = Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(STATEMENT_REMEMBERED_FOR).build();
        Ok(Self { known, statements, key: random_text(43)?.into() })
    }

    /// `with` is what the secret counts together with: a user name, or the service of a registry token.
    fn hash(&self, kind: &'static [u8; 1], with: &str, secret: &SecretString) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key.expose_secret());
        // The length keeps "ab" + "c" and "a" + "bc" apart.
        hash.update([kind, with.len().to_be_bytes().as_slice(), with.as_bytes()].concat());
        hash.update(secret.expose_secret());
        hash.finalize().into()
    }
}

impl Access {
    /// Who these credentials belong to; nobody in particular without any.
    ///
    /// # Errors
    /// 401 when they are wrong; 429 after many wrong passwords (a right token is never refused so); 503 when too many
    /// passwords wait to be checked or the catalog cannot be reached.
    pub async fn authenticate(&self, credentials: Option<Credentials>, facts: &RequestFacts) -> Result<Caller> {
        let (user, secret) = match credentials {
            None => return Ok(Caller::anonymous()),
            Some(Credentials::Bearer(secret)) => (None, secret),
            Some(Credentials::Basic { user, password }) => (Some(user), password),
        };
        match self.identify(user.as_deref(), &secret, facts).await {
            Ok(caller) => Ok(caller),
            Err(refusal) => Err(self.refused(&refusal, user.as_deref(), facts)),
        }
    }

    async fn identify(&self, user: Option<&str>, secret: &SecretString, facts: &RequestFacts) -> Result<Caller, Refusal> {
        let token = TokenText::parse(secret.expose_secret());
        // Only where registry clients ask, so that no other route has to think of them.
        let service = facts.service.as_deref().filter(|_| user.is_none() && looks_like_statement(secret.expose_secret()));
        // With a token the user name does not count, so it must not take a place of its own in the cache.
        let (memory, key) = match (&token, service, user) {
            (Some(_), ..) | (None, None, None) => (&self.memory.known, self.memory.hash(b"t", "", secret)),
            (None, Some(service), _) => (&self.memory.statements, self.memory.hash(b"s", service, secret)),
            (None, None, Some(user)) => (&self.memory.known, self.memory.hash(b"p", user, secret)),
        };
        for _ in 0..2 {
            let verified = async {
                match (&token, service, user) {
                    (Some(token), ..) => self.verify_token(token).await.map(Arc::new),
                    (None, Some(service), _) => self.verify_statement(secret, service).await.map(Arc::new),
                    (None, None, Some(user)) => self.verify_password(user, secret, facts).await.map(Arc::new),
                    (None, None, None) => Err(Refusal::Wrong(WRONG_TOKEN)),
                }
            };
            let known = memory.try_get_with(key, verified).await.map_err(|refusal| Refusal::clone(&refusal))?;
            if known.epoch == self.epoch() && !known.has_ended(self.now()) {
                return Ok(known.caller.clone());
            }
            if let Some(known) = self.still_holds(&known).await? {
                let caller = known.caller.clone();
                memory.insert(key, Arc::new(known)).await;
                return Ok(caller);
            }
            memory.invalidate(&key).await;
        }
        Err(match (&token, service) {
            (Some(_), _) => Refusal::Wrong(WRONG_TOKEN),
            (None, Some(_)) => Refusal::Wrong(WRONG_STATEMENT),
            (None, None) => Refusal::Wrong(WRONG_PASSWORD),
        })
    }

    async fn verify_token(&self, token: &TokenText) -> Result<Known, Refusal> {
        let epoch = self.epoch();
        let row = self.catalog.token(&token.id).await?;
        let row = row.filter(|row| token.matches(&row.secret_hash) && token_is_live(row, self.now())).ok_or(Refusal::Wrong(WRONG_TOKEN))?;
        let owner = self.catalog.principal_by_id(row.principal).await?;
        let owner = owner.filter(|owner| !owner.disabled).ok_or(Refusal::Wrong(WRONG_TOKEN))?;
        Ok(Known::by_token(owner, row, epoch)?)
    }

    async fn verify_password(&self, user: &str, password: &SecretString, facts: &RequestFacts) -> Result<Known, Refusal> {
        self.limiter.pay(user, facts.remote, self.now()).await.map_err(Refusal::Slow)?;
        let outcome = self.compare_password(user, password).await;
        if !matches!(outcome, Err(Refusal::Wrong(_))) {
            self.limiter.refund(user, facts.remote).await;
        }
        outcome
    }

    async fn compare_password(&self, user: &str, password: &SecretString) -> Result<Known, Refusal> {
        let epoch = self.epoch();
        let row = if is_principal_name(user) { self.catalog.principal(PrincipalKind::User, user).await? } else { None };
        let row = row.filter(|row| !row.disabled);
        let stored = row.as_ref().and_then(|row| row.password_hash.clone());
        // Also for nobody: the time must not tell which users exist.
        let right = self.passwords.verify(password, stored.as_deref()).await?;
        match (row, stored) {
            (Some(row), Some(stored)) if right => Ok(Known::by_password(row, stored, epoch)),
            _ => Err(Refusal::Wrong(WRONG_PASSWORD)),
        }
    }

    /// The caller that a principal is, with a token or with its password; `None` when it may not sign in any more.
    pub(super) async fn caller(&self, principal: i64, token: Option<&str>) -> Result<Option<Caller>> {
        let epoch = self.epoch();
        let Some(owner) = self.catalog.principal_by_id(principal).await?.filter(|owner| !owner.disabled) else { return Ok(None) };
        let Some(token) = token else { return Ok(Some(Known::by_password(owner, String::new(), epoch).caller)) };
        let row = self.catalog.token(token).await?.filter(|row| row.principal == principal && token_is_live(row, self.now()));
        row.map(|row| Ok(Known::by_token(owner, row, epoch)?.caller)).transpose()
    }

    /// Compares what is remembered with the catalog as it is now. `None` when it does not hold any more.
    async fn still_holds(&self, known: &Known) -> Result<Option<Known>, Refusal> {
        let epoch = self.epoch();
        if known.has_ended(self.now()) {
            return Ok(None);
        }
        let again = match (&known.proof, known.caller.id) {
            (Proof::Nothing, None) => Known::anonymous(epoch),
            (_, Some(id)) => {
                let Some(owner) = self.catalog.principal_by_id(id).await?.filter(|owner| !owner.disabled) else { return Ok(None) };
                match (&known.proof, &known.caller.token_id) {
                    (Proof::Password(hash), _) if owner.password_hash.as_ref() == Some(hash) => Known::by_password(owner, hash.clone(), epoch),
                    (Proof::Token(hash), Some(token)) => {
                        let row = self.catalog.token(token).await?;
                        let row = row.filter(|row| row.secret_hash == *hash && row.principal == id && token_is_live(row, self.now()));
                        let Some(row) = row else { return Ok(None) };
                        Known::by_token(owner, row, epoch)?
                    }
                    _ => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(again.bounded(known.caller.narrowed.clone(), known.ends)))
    }

    fn refused(&self, refusal: &Refusal, user: Option<&str>, facts: &RequestFacts) -> Error {
        let (error, detail) = match refusal {
            Refusal::Failed(error) => {
                let shared = Error::new(error.status(), error.message()).with_source(Arc::clone(error));
                return match error.retry_after() {
                    Some(seconds) => shared.with_retry_after(seconds),
                    None => shared,
                };
            }
            Refusal::Wrong(message) => (Error::unauthorized(*message), *message),
            Refusal::Ended => return Error::unauthorized(ENDED),
            Refusal::Slow(seconds) => {
                let message = "too many wrong passwords for this user or from this address; wait, or use a token";
                (Error::new(StatusCode::TOO_MANY_REQUESTS, message).with_retry_after(*seconds), message)
            }
        };
        // Only what can be a name is written down: people type passwords into the wrong field.
        let user = user.filter(|user| is_principal_name(user)).map_or_else(|| String::from("unknown"), |user| format!("user:{user}"));
        self.audit.record(super::audit_row(self, user, "sign-in", String::new(), "failed", detail.to_owned(), facts));
        error
    }

    /// The number that changes with every change of principals, tokens, policies and repositories, as last seen.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

impl Known {
    pub(super) fn anonymous(epoch: u64) -> Self {
        Self { caller: Caller::anonymous(), proof: Proof::Nothing, epoch, ends: None }
    }

    pub(super) fn by_password(owner: PrincipalRow, hash: String, epoch: u64) -> Self {
        let proof = Some(fingerprint(hash.as_bytes()));
        let caller =
            Caller { id: Some(owner.id), principal: Arc::new(principal_of(owner)), scope: None, token_id: None, proof, narrowed: None, workload: None };
        Self { caller, proof: Proof::Password(hash), epoch, ends: None }
    }

    pub(super) fn by_token(mut owner: PrincipalRow, token: TokenRow, epoch: u64) -> Result<Self> {
        let workload: Option<Workload> = token.workload.as_deref().map(serde_json::from_str).transpose().map_err(Error::internal)?;
        if let Some(workload) = &workload {
            owner.tags.extend(workload.claims.clone());
        }
        let scope = TokenScope { repositories: token.repositories, actions: token.actions, expires: token.expires };
        let caller = Caller {
            id: Some(owner.id),
            principal: Arc::new(principal_of(owner)),
            scope: Some(Arc::new(scope)),
            token_id: Some(token.id),
            proof: Some(fingerprint(&token.secret_hash)),
            narrowed: None,
            workload: workload.map(Arc::new),
        };
        Ok(Self { caller, proof: Proof::Token(token.secret_hash), epoch, ends: token.expires })
    }

    /// The same within the bounds of a registry token.
    pub(super) fn bounded(mut self, narrowed: Option<Narrowed>, ends: Option<Timestamp>) -> Self {
        self.caller.narrowed = narrowed;
        self.ends = self.ends.into_iter().chain(ends).min();
        self
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|end| end <= now)
    }
}

/// Tells one stored hash from another, and says nothing of what was hashed.
fn fingerprint(stored: &[u8]) -> Arc<str> {
    let digest = Sha256::new().chain_update(b"registry-token").chain_update(stored).finalize();
    hex::encode(digest.get(..16).unwrap_or_default()).into()
}

/// Whether a token still counts.
pub(super) fn token_is_live(row: &TokenRow, now: Timestamp) -> bool {
    row.revoked.is_none() && row.expires.is_none_or(|end| end > now)
}

/// The principal of a row.
pub(super) fn principal_of(row: PrincipalRow) -> Principal {
    Principal { kind: row.kind, name: row.name, tags: row.tags }
}
