//! The call to a cache in front of the server (a CDN) after each change of a repository: that it forgets what it has.
//!
//! No publish waits for it. Changes that come while a call is under way lead to one more call after it; one that fails is tried again a few times,
//! and then given up: what caches keep has an end without it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use entrepot_kit::{Address, Error, Result};
use http::{HeaderName, Method};
use parking_lot::Mutex;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

use crate::registry::{Engine, Repo};
use crate::upstream::Caller;

/// The setting of a repository.
pub(crate) const PURGE: &str = "purge";
/// What is shown in place of the secret.
const HIDDEN: &str = "(set)";
/// Calls at the same time.
const AT_ONCE: usize = 8;
/// How often a call is made that fails.
const ATTEMPTS: u32 = 5;
/// The wait before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(500);

/// The setting as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    header: Option<String>,
    #[serde(default)]
    secret: Option<SecretString>,
}

/// What is called after a change.
pub struct Purge {
    url: String,
    method: Method,
    header: Option<(HeaderName, SecretString)>,
}

impl Purge {
    /// Reads the setting: `{ url, method, header, secret }`.
    ///
    /// # Errors
    /// 400 saying what is wrong; the secret is not shown.
    pub(crate) fn from_settings(settings: &Value) -> Result<Option<Self>> {
        let Some(value) = settings.get(PURGE) else { return Ok(None) };
        let wrong = |why: &str| Error::bad_request(format!("{PURGE}: {why}"));
        let written =
            Written::deserialize(value).map_err(|_| wrong("expected { url = \"…\", method = \"POST\", header = \"Authorization\", secret = \"…\" }"))?;
        let method = written.method.as_deref().unwrap_or("POST");
        let is_method = (1..=20).contains(&method.len()) && method.bytes().all(|byte| byte.is_ascii_uppercase());
        let method = Method::from_bytes(method.as_bytes()).ok().filter(|_| is_method).ok_or_else(|| wrong("method is a word such as POST or PURGE"))?;
        let header = match (written.header, written.secret) {
            (None, None) => None,
            (Some(name), Some(secret)) => {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("header is the name of a header, such as Authorization"))?;
                Some((name, secret))
            }
            _ => return Err(wrong("header and secret belong together: the name of a header, and its value")),
        };
        let purge = Self { url: written.url, method, header };
        let sample = Address::new("main", "a").ok().and_then(|address| purge.address(&address, 1));
        if sample.is_none() {
            return Err(wrong("url is an http or https URL, in which {system}, {repository} and {revision} are replaced"));
        }
        Ok(Some(purge))
    }

    /// Where the call goes for a state of a repository.
    fn address(&self, repository: &Address, revision: u64) -> Option<Url> {
        let text = self.url.replace("{system}", repository.system.as_str()).replace("{repository}", repository.repository.as_str());
        let url = Url::parse(&text.replace("{revision}", &revision.to_string())).ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none()).then_some(url)
    }
}

/// Replaces the secret in settings that are shown.
pub fn hide_secret(settings: &mut serde_json::Map<String, Value>) {
    if let Some(secret) = settings.get_mut(PURGE).and_then(|purge| purge.get_mut("secret")) {
        *secret = HIDDEN.into();
    }
}

/// Calls that wait or are under way, by repository: the newest revision that is to be told of.
pub(crate) struct Purges {
    pending: Mutex<HashMap<i64, u64>>,
    turns: Arc<Semaphore>,
    caller: Arc<Caller>,
}

impl Default for Purges {
    fn default() -> Self {
        Self { pending: Mutex::default(), turns: Arc::new(Semaphore::new(AT_ONCE)), caller: Arc::default() }
    }
}

impl Engine {
    /// Has the caches told of a change that are in front of a repository, or of a group that it is in.
    pub(crate) fn purge(&self, repo: &Repo, revision: u64) {
        let table = self.table();
        let is_concerned =
            |known: &&Arc<Repo>| known.purge.is_some() && (known.id() == repo.id() || known.leaves.iter().any(|leaf| leaf.repo.id() == repo.id()));
        for concerned in table.iter().filter(is_concerned) {
            let mut pending = self.purges.pending.lock();
            let is_under_way = pending.insert(concerned.id(), revision).is_some();
            drop(pending);
            if !is_under_way && let Some(engine) = self.own.upgrade() {
                self.runtime.spawn(engine.tell_cache(Arc::clone(concerned), revision));
            }
        }
    }

    /// Calls until the newest change is told of.
    async fn tell_cache(self: Arc<Self>, repo: Arc<Repo>, mut revision: u64) {
        loop {
            let outcome = self.call_cache(&repo, revision).await;
            match outcome {
                Ok(()) => self.metrics.purged("done"),
                Err(cause) => {
                    self.metrics.purged("failed");
                    tracing::warn!(repository = %repo.address(), revision, cause, "the cache in front could not be told of a change: it forgets by itself");
                }
            }
            let mut pending = self.purges.pending.lock();
            match pending.get(&repo.id()).copied() {
                Some(newer) if newer != revision => revision = newer,
                _ => {
                    pending.remove(&repo.id());
                    return;
                }
            }
        }
    }

    async fn call_cache(&self, repo: &Repo, revision: u64) -> Result<(), String> {
        let purge = repo.purge.as_ref().ok_or_else(|| String::from("nothing is to be called"))?;
        let url = purge.address(repo.address(), revision).ok_or_else(|| String::from("its URL is none"))?;
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let outcome = {
                let _turn = self.purges.turns.acquire().await.map_err(|_| String::from("the server ends"))?;
                self.purges.caller.call(purge.method.clone(), &url, purge.header.as_ref().map(|(name, secret)| (name, secret))).await
            };
            match outcome {
                Err(cause) if attempt < ATTEMPTS => tracing::debug!(repository = %repo.address(), attempt, cause, "a cache is told again"),
                other => return other,
            }
            tokio::time::sleep(pause).await;
            (pause, attempt) = (pause * 2, attempt + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use entrepot_kit::Address;
    use serde_json::json;

    use super::{Purge, hide_secret};

    #[test]
    fn the_setting_is_read_and_its_secret_never_shown() {
        let read = |value: serde_json::Value| Purge::from_settings(&json!({ "purge": value }));
        assert!(Purge::from_settings(&json!({})).unwrap().is_none());
        let purge = read(json!({ "url": "https://cdn.example/{system}/{repository}?v={revision}", "method": "PURGE" })).unwrap().unwrap();
        let address = Address::new("ops", "charts").unwrap();
        assert_eq!(purge.address(&address, 7).unwrap().as_str(), "https://cdn.example/ops/charts?v=7");
        for (bad, message) in [
            (json!("https://cdn.example/"), "expected { url"),
            (json!({ "url": "https://cdn.example/", "token": "hush" }), "expected { url"),
            (json!({ "url": "cdn.example" }), "url is an http"),
            (json!({ "url": "ftp://cdn.example/" }), "url is an http"),
            (json!({ "url": "https://u:hush@cdn.example/" }), "url is an http"),
            (json!({ "url": "https://cdn.example/", "method": "do it" }), "method is a word"),
            (json!({ "url": "https://cdn.example/", "secret": "hush" }), "belong together"),
            (json!({ "url": "https://cdn.example/", "header": "a b", "secret": "hush" }), "name of a header"),
        ] {
            let error = read(bad.clone()).err().map(|error| error.message().to_owned()).unwrap_or_default();
            assert!(error.contains(message) && !error.contains("hush"), "{bad}: {error}");
        }
        let mut settings = json!({ "purge": { "url": "https://cdn.example/", "header": "Authorization", "secret": "hush" } }).as_object().unwrap().clone();
        hide_secret(&mut settings);
        assert!(!json!(settings).to_string().contains("hush"));
    }
}
