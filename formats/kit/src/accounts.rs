//! The caller's account as formats may use it: npm's login and token commands, and whatever else exchanges a password for a token.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use crate::error::Result;
use crate::time::Timestamp;

/// The kind of a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person with a password.
    User,
    /// A machine account, by tokens only.
    Robot,
    /// A build or pod that proved who it is by a signed statement of its platform.
    Workload,
    /// Nobody in particular.
    Anonymous,
}

/// Tags of a principal or resource: each key has one or several values.
pub type Tags = BTreeMap<String, BTreeSet<String>>;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its kind.
    pub kind: PrincipalKind,
    /// Its name, unique within its kind; `anonymous` for nobody.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
}

impl Principal {
    /// Whoever sends no credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { kind: PrincipalKind::Anonymous, name: String::from("anonymous"), tags: Tags::new() }
    }

    /// Whether nobody signed in.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.kind == PrincipalKind::Anonymous
    }
}

/// What a new token shall be able to do. Rights are those of its principal, narrowed, never widened.
#[derive(Debug, Clone, Default)]
pub struct TokenRequest {
    /// A name or description for people.
    pub name: String,
    /// Patterns of `system/repository` with `*`; empty for all.
    pub repositories: Vec<String>,
    /// Actions; empty for all.
    pub actions: Vec<crate::Action>,
    /// Lifetime in seconds; the server's default and maximum apply.
    pub expires_in: Option<u64>,
}

/// A token at its creation: the only time that its secret is seen.
#[derive(Clone)]
pub struct NewToken {
    /// What is known of it later.
    pub info: TokenInfo,
    /// The credential itself. Never log it.
    pub secret: String,
}

/// A token as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The public identifier, part of the token itself.
    pub id: String,
    /// The name or description given at creation.
    pub name: String,
    /// Patterns of repositories; empty for all.
    pub repositories: Vec<String>,
    /// Actions; empty for all.
    pub actions: Vec<crate::Action>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// A browser sign-in that a command-line client waits for.
#[derive(Debug, Clone)]
pub struct WebLogin {
    /// Identifies it in the page that the person opens.
    pub page: String,
    /// Identifies it in the client's questions; whoever knows it gets the token once.
    pub poll: String,
}

/// How a web login stands.
pub enum WebLoginState {
    /// The person has not finished.
    Waiting,
    /// Done: the token, given once.
    Done(NewToken),
    /// Unknown, expired, or its token was fetched already.
    Gone,
}

/// The façade for accounts. Every method acts for the caller of the request.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Exchanges a user's password for a token.
    ///
    /// # Errors
    /// 401 when name or password is wrong, without saying which; 429 after many failures.
    async fn sign_in(&self, name: &str, password: &str, token: TokenRequest) -> Result<NewToken>;

    /// Begins a browser sign-in.
    ///
    /// # Errors
    /// 429 when too many wait.
    async fn start_web_login(&self) -> Result<WebLogin>;

    /// Asks how a browser sign-in stands.
    ///
    /// # Errors
    /// None but failures of the store.
    async fn poll_web_login(&self, poll: &str) -> Result<WebLoginState>;

    /// The caller's live tokens, newest first.
    ///
    /// # Errors
    /// 401 for nobody.
    async fn tokens(&self) -> Result<Vec<TokenInfo>>;

    /// Makes a token for the caller. When a `password` is given it must be the caller's.
    ///
    /// # Errors
    /// 401 for nobody or a wrong password; 403 when the calling token may not make tokens.
    async fn create_token(&self, password: Option<&str>, token: TokenRequest) -> Result<NewToken>;

    /// Revokes one of the caller's tokens, named by its id or by the token itself; `false` when there is none.
    ///
    /// # Errors
    /// 401 for nobody.
    async fn revoke_token(&self, id_or_token: &str) -> Result<bool>;
}
