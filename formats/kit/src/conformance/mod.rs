//! The conformance suite that every format passes as hosted, proxy and group.
//!
//! A test brings a [`Subject`] (a running server) and a format's [`Specimen`] (how its clients publish and fetch), and calls
//! [`run`], or single cases. Each case makes its own repositories, so that cases need no order and can share a server.
//! Nothing here panics: a case that fails says what was asked and what came.

mod answers;
mod client;
mod history;
mod kinds;
mod refusals;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};

use crate::records::Kind;

pub use answers::{conditional_requests_give_304, head_equals_get, ranges_are_exact, variants_have_their_own_etag};
pub use history::{concurrent_publishes_have_one_winner, deleted_is_gone_but_not_from_the_past, past_views_are_stable, republish_is_refused};
pub use kinds::{hosted_names_are_not_asked_upstream, kinds_answer_alike, only_hosted_takes_publishes, upstream_may_go_away};
pub use refusals::{hostile_requests_change_nothing, missing_is_404, private_is_hidden};

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A principal that may read, publish, overwrite and delete in the subject's system.
    Owner,
    /// Nobody: no credentials are sent.
    Anonymous,
}

/// A request to a repository.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// The encoded path below the repository without leading slash, and the query. It must reach the server exactly so:
    /// many HTTP clients quietly resolve `..` and `%2e%2e`.
    pub path: String,
    /// Headers besides the credentials and what the body implies.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Who asks.
    pub who: Who,
}

impl Ask {
    /// A request of the owner without a body.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Bytes::new(), who: Who::Owner }
    }

    /// A `GET` of the owner.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A `PUT` of the owner.
    #[must_use]
    pub fn put(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new(Method::PUT, path) }
    }

    /// The same request with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same request without credentials.
    #[must_use]
    pub fn anonymously(self) -> Self {
        Self { who: Who::Anonymous, ..self }
    }
}

/// An answer as it came over the wire.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, undecoded.
    pub body: Bytes,
}

impl Reply {
    /// A header as text; empty when absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A short description for failure messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let shown: String = text.chars().take(300).collect();
        format!("{} ({} bytes: {shown:?})", self.status, self.body.len())
    }
}

/// A repository that a case wants.
#[derive(Debug, Clone)]
pub struct NewRepository {
    /// Its name within the subject's system.
    pub name: String,
    /// Its format.
    pub format: &'static str,
    /// Hosted, proxy or group.
    pub kind: Kind,
    /// Whether anonymous callers may read it (tag `visibility = "public"`).
    pub public: bool,
    /// Its other fields as in the configuration file: `upstream`, `members`, and what the format knows. An object.
    pub settings: serde_json::Value,
}

/// A running server.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The system in which cases make their repositories.
    fn system(&self) -> &str;

    /// Makes a repository.
    async fn create(&self, repository: NewRepository) -> Result<(), String>;

    /// Sends a request to the repository of that name in the system; the name may be a view of the past (`name.at-r1`).
    async fn send(&self, repository: &str, ask: Ask) -> Result<Reply, String>;

    /// Where clients reach a repository, without a trailing slash: what links in its documents begin with.
    fn url(&self, repository: &str) -> String;

    /// The number of a hosted repository's newest revision.
    async fn revision(&self, repository: &str) -> Result<u64, String>;

    /// A URL at which a repository can be reached as an upstream until [`Subject::cut`] is called for it.
    async fn upstream(&self, repository: &str) -> Result<String, String>;

    /// Makes the URL that [`Subject::upstream`] gave for this repository unreachable: connections are refused or break.
    async fn cut(&self, repository: &str) -> Result<(), String>;
}

/// One of the index documents of a package.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The encoded path.
    pub path: String,
    /// The `Accept` header that asks for it, if it matters.
    pub accept: Option<&'static str>,
}

/// How clients of a format publish and fetch: what the suite must know of it.
///
/// Names and versions that the suite uses are lower-case letters and dashes, and `MAJOR.MINOR.PATCH`. A `filling` is a short
/// text that must end up in the file, so that two fillings give files of other bytes.
pub trait Specimen: Send + Sync {
    /// The format's identifier.
    fn format(&self) -> &'static str;

    /// The format's own settings for hosted repositories of the suite.
    fn settings(&self) -> serde_json::Value {
        serde_json::json!({})
    }

    /// The requests by which a client publishes a version.
    fn publish(&self, name: &str, version: &str, filling: &str) -> Vec<Ask>;

    /// The file of a version, with at least 16 bytes.
    fn file(&self, name: &str, version: &str, filling: &str) -> Bytes;

    /// The encoded path of that file.
    fn file_path(&self, name: &str, version: &str) -> String;

    /// The index documents of a package; none for a format without packages.
    fn indexes(&self, _name: &str) -> Vec<Variant> {
        Vec::new()
    }

    /// An index (its links to the repository taken out) without what may rightly differ between a repository and its proxy.
    fn comparable(&self, index: &[u8]) -> Vec<u8> {
        index.to_vec()
    }

    /// The requests by which a client removes a package with all its versions; none when clients cannot. `changed` is the revision
    /// that changed the package last: some clients must name what they saw.
    fn remove(&self, name: &str, changed: u64) -> Vec<Ask>;

    /// The status of a publish of other bytes under a version that is taken.
    fn republish(&self) -> StatusCode {
        StatusCode::CONFLICT
    }

    /// Requests that must be refused with 4xx and change nothing: hostile names, broken documents, traps in archives.
    fn hostile(&self) -> Vec<Ask>;

    /// Whether an error is in the words of the format's clients.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check_error(&self, reply: &Reply) -> Result<(), String>;
}

/// A case of the suite.
pub type Case = for<'a> fn(&'a dyn Subject, &'a dyn Specimen) -> BoxFuture<'a, Result<(), String>>;

/// Every case with its name.
pub const CASES: [(&str, Case); 15] = [
    ("kinds_answer_alike", |subject, specimen| Box::pin(kinds_answer_alike(subject, specimen))),
    ("only_hosted_takes_publishes", |subject, specimen| Box::pin(only_hosted_takes_publishes(subject, specimen))),
    ("hosted_names_are_not_asked_upstream", |subject, specimen| Box::pin(hosted_names_are_not_asked_upstream(subject, specimen))),
    ("upstream_may_go_away", |subject, specimen| Box::pin(upstream_may_go_away(subject, specimen))),
    ("head_equals_get", |subject, specimen| Box::pin(head_equals_get(subject, specimen))),
    ("conditional_requests_give_304", |subject, specimen| Box::pin(conditional_requests_give_304(subject, specimen))),
    ("ranges_are_exact", |subject, specimen| Box::pin(ranges_are_exact(subject, specimen))),
    ("variants_have_their_own_etag", |subject, specimen| Box::pin(variants_have_their_own_etag(subject, specimen))),
    ("republish_is_refused", |subject, specimen| Box::pin(republish_is_refused(subject, specimen))),
    ("concurrent_publishes_have_one_winner", |subject, specimen| Box::pin(concurrent_publishes_have_one_winner(subject, specimen))),
    ("past_views_are_stable", |subject, specimen| Box::pin(past_views_are_stable(subject, specimen))),
    ("deleted_is_gone_but_not_from_the_past", |subject, specimen| Box::pin(deleted_is_gone_but_not_from_the_past(subject, specimen))),
    ("missing_is_404", |subject, specimen| Box::pin(missing_is_404(subject, specimen))),
    ("private_is_hidden", |subject, specimen| Box::pin(private_is_hidden(subject, specimen))),
    ("hostile_requests_change_nothing", |subject, specimen| Box::pin(hostile_requests_change_nothing(subject, specimen))),
];

/// Runs every case, one after the other.
///
/// # Errors
/// The failures of all cases, a line each.
pub async fn run(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let mut failures = Vec::new();
    for (name, case) in CASES {
        if let Err(failure) = case(subject, specimen).await {
            failures.push(format!("{} {name}: {failure}", specimen.format()));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}
