//! The keys of issuers: found by their discovery document, kept for a while, and asked for again when a token names one that is not known.
//!
//! Only issuers that a publisher names are asked, never what a token says: it chooses among them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use entrepot_kit::{Error, Result, Timestamp};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use serde_json::Value;

use super::identity::Identity;
use super::rule::PublisherRule;
use crate::upstream::{Fetch, Target, Trust, Upstream, UpstreamError, UpstreamSettings};

/// How long keys are good without a look, in milliseconds.
const FRESH: i64 = 60 * 60 * 1000;
/// How long keys are used while the issuer cannot be reached.
const USED_FOR: i64 = 24 * 60 * 60 * 1000;
/// The time between two looks, whatever tokens ask for.
const PAUSE: i64 = 10 * 1000;
/// Issuers that are kept.
const MOST_ISSUERS: usize = 1000;
/// Keys of one issuer that are kept.
const MOST_KEYS: usize = 100;
/// Largest documents of an issuer.
const MOST_DISCOVERY: usize = 128 * 1024;
const MOST_JWKS: usize = 512 * 1024;
/// How long both documents may take, each.
const PATIENCE: Duration = Duration::from_secs(10);

/// How an issuer is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Way {
    issuer: String,
    allow_private: bool,
    ca_file: Option<PathBuf>,
    declared: bool,
}

/// The issuers that were asked.
#[derive(Default)]
pub(in crate::access) struct Issuers(Mutex<HashMap<Way, Arc<Issuer>>>);

struct Issuer {
    name: String,
    upstream: Upstream,
    keys: RwLock<Keys>,
    /// When it was asked last. Held while it is asked: by one at a time, and by nobody whose key is known.
    tried: tokio::sync::Mutex<Option<Timestamp>>,
}

#[derive(Default)]
struct Keys {
    known: Vec<Key>,
    fetched: Option<Timestamp>,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    verifies: Arc<DecodingKey>,
}

/// The part of a discovery document that counts.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Issuers {
    /// The issuer of a rule.
    fn of(&self, rule: &PublisherRule, declared: bool) -> Result<Arc<Issuer>> {
        let way = Way { issuer: rule.issuer.clone(), allow_private: rule.allow_private, ca_file: rule.ca_file.clone(), declared };
        if let Some(issuer) = self.0.lock().get(&way) {
            return Ok(Arc::clone(issuer));
        }
        let issuer =
            Arc::new(Issuer { name: way.issuer.clone(), upstream: upstream(rule, declared)?, keys: RwLock::default(), tried: tokio::sync::Mutex::default() });
        let mut known = self.0.lock();
        if known.len() >= MOST_ISSUERS {
            known.clear();
        }
        Ok(Arc::clone(known.entry(way).or_insert(issuer)))
    }

    /// The key that an identity token names; `None` when its issuer has none of that name.
    pub(super) async fn key(&self, rule: &PublisherRule, declared: bool, token: &Identity<'_>, now: Timestamp) -> Result<Option<Arc<DecodingKey>>> {
        self.of(rule, declared)?.key(token, now).await
    }
}

/// How an issuer is reached: by the rules that hold for upstreams.
///
/// # Errors
/// 400 for what the server may not reach or read.
pub(super) fn upstream(rule: &PublisherRule, declared: bool) -> Result<Upstream> {
    let settings = UpstreamSettings {
        url: rule.issuer.clone(),
        allow_private: rule.allow_private,
        ca_file: rule.ca_file.clone(),
        max_size: MOST_JWKS as u64,
        read_timeout: PATIENCE.as_secs(),
        retries: 1,
        ..UpstreamSettings::default()
    };
    Upstream::new(settings, Trust { declared }).map_err(|error| Error::bad_request(error.message().replace("upstream.url", "issuer").replace("upstream.", "")))
}

impl Issuer {
    async fn key(&self, token: &Identity<'_>, now: Timestamp) -> Result<Option<Arc<DecodingKey>>> {
        if let Some(found) = self.keys.read().find(token, now, FRESH) {
            return Ok(Some(found));
        }
        let mut tried = self.tried.lock().await;
        // Somebody else may have asked meanwhile.
        if let Some(found) = self.keys.read().find(token, now, FRESH) {
            return Ok(Some(found));
        }
        if tried.is_none_or(|time| now.0.saturating_sub(time.0) >= PAUSE) {
            *tried = Some(now);
            match self.fetch().await {
                Ok(known) => *self.keys.write() = Keys { known, fetched: Some(now) },
                Err(error) => tracing::warn!(issuer = self.name, %error, "the keys of an issuer of identity tokens could not be fetched"),
            }
        }
        let keys = self.keys.read();
        if !keys.are_younger(USED_FOR, now) {
            return Err(Error::unavailable("the keys of the token's issuer cannot be fetched at the moment: try again later", 15));
        }
        Ok(keys.find(token, now, USED_FOR))
    }

    async fn fetch(&self) -> Result<Vec<Key>, UpstreamError> {
        let document = self.document(Target::Path(".well-known/openid-configuration"), MOST_DISCOVERY).await?;
        let bad = |what: &str| UpstreamError::BadAnswer(what.to_owned());
        let discovery: Discovery = serde_json::from_slice(&document).map_err(|_| bad("its discovery document is not one"))?;
        if discovery.issuer != self.name {
            return Err(bad("its discovery document is that of another issuer"));
        }
        let document = self.document(Target::Url(&discovery.jwks_uri), MOST_JWKS).await?;
        let document: Value = serde_json::from_slice(&document).map_err(|_| bad("its keys are not JSON"))?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or_else(|| bad("its keys are not a set of keys"))?;
        // Keys of a kind that we do not know are none of ours.
        Ok(keys.iter().filter_map(Key::read).take(MOST_KEYS).collect())
    }

    async fn document(&self, target: Target<'_>, limit: usize) -> Result<bytes::Bytes, UpstreamError> {
        let fetch = Fetch { accept: Some("application/json"), gzip: true, patience: PATIENCE, ..Fetch::get(target) };
        let fetched = self.upstream.fetch(&fetch).await?;
        if fetched.status != http::StatusCode::OK {
            return Err(UpstreamError::BadAnswer(format!("it answered {}", fetched.status)));
        }
        let slow = |_| UpstreamError::Unreachable { retry_after: 15, cause: String::from("its documents come too slowly"), answered: false };
        tokio::time::timeout(PATIENCE, fetched.document(limit)).await.map_err(slow)?
    }
}

impl Keys {
    fn are_younger(&self, age: i64, now: Timestamp) -> bool {
        self.fetched.is_some_and(|time| now.0.saturating_sub(time.0) < age)
    }

    /// The key that a token names, if the keys are young enough; a token that names none is signed with the only key of its kind.
    fn find(&self, token: &Identity<'_>, now: Timestamp, age: i64) -> Option<Arc<DecodingKey>> {
        let mut fitting = self.known.iter().filter(|key| key.algorithm == token.algorithm && (token.key.is_none() || token.key == key.id));
        let found = fitting.next().filter(|_| self.are_younger(age, now))?;
        (token.key.is_some() || fitting.next().is_none()).then(|| Arc::clone(&found.verifies))
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|known| *known != PublicKeyUse::Signature) {
            return None;
        }
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            _ => return None,
        };
        // A key that says for which algorithm it is, is for no other.
        let said = value.get("alg").and_then(Value::as_str);
        if said.is_some_and(|said| said != format!("{algorithm:?}") && !(algorithm == Algorithm::EdDSA && said == "Ed25519")) {
            return None;
        }
        Some(Self { id: jwk.common.key_id.clone(), algorithm, verifies: Arc::new(DecodingKey::from_jwk(&jwk).ok()?) })
    }
}
