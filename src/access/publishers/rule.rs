//! What a publisher says, as the configuration file and the API write it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use entrepot_kit::{Action, Address, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::super::scope::glob;

/// Lives of the tokens that are given, in seconds: what the Python standard for this allows.
const LIVES: std::ops::RangeInclusive<u64> = 900..=21_600;
/// Most claims, audiences, values of a claim, and packages.
const MOST: usize = 64;
/// Longest text of any of these.
const LONGEST: usize = 512;
/// Most stars of one pattern; keeps matching cheap.
const MOST_STARS: usize = 4;

/// One text, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Several(BTreeSet<String>),
}

impl Texts {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let (one, several) = match self {
            Self::One(text) => (Some(text), None),
            Self::Several(texts) => (None, Some(texts)),
        };
        one.into_iter().chain(several.into_iter().flatten()).map(String::as_str)
    }
}

/// What identity tokens are worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublisherRule {
    /// Who signs the identity tokens: exactly what they claim as `iss`.
    pub issuer: String,
    /// For whom they must be made out; without it for this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) audience: Option<Texts>,
    /// What they must claim: each a value or several, where `*` stands for any text. A name that begins with a slash is a JSON pointer.
    pub(super) claims: BTreeMap<String, Texts>,
    /// The repository that may be published to.
    pub repository: Address,
    /// The packages: names, or patterns with `*`. In plain files, paths.
    pub packages: Vec<String>,
    /// What may be done to them.
    #[serde(default = "publish")]
    pub actions: Vec<Action>,
    /// How long the tokens that are given live, in seconds.
    #[serde(default = "shortest")]
    pub expires_in: u64,
    /// Whether the issuer may be in a private network, or speak plain HTTP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_private: bool,
    /// A PEM file of certificate authorities to trust besides those of the system; in the configuration file only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

fn publish() -> Vec<Action> {
    vec![Action::Publish]
}

fn shortest() -> u64 {
    *LIVES.start()
}

impl PublisherRule {
    /// Reads a rule; `audience` is the server's own.
    ///
    /// # Errors
    /// 400 saying what is wrong.
    pub fn read(value: Value, audience: Option<&str>) -> Result<Self> {
        let rule: Self = serde_json::from_value(value).map_err(|error| Error::bad_request(error.to_string()))?;
        rule.check(audience).map_err(Error::bad_request)?;
        Ok(rule)
    }

    fn check(&self, audience: Option<&str>) -> std::result::Result<(), String> {
        let url = Url::parse(&self.issuer).map_err(|error| format!("issuer is not a URL ({error}): write what the identity tokens claim as iss"))?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none() && url.has_host();
        match url.scheme() {
            "https" | "http" if !plain || self.issuer.len() > LONGEST => return Err(String::from("issuer is a URL without user, query and fragment")),
            "https" => {}
            "http" if self.allow_private => {}
            "http" => return Err(String::from("issuer speaks plain http, which anybody on the way can change: for a test set allow_private = true")),
            _ => return Err(String::from("issuer begins with https://")),
        }
        match &self.audience {
            None if audience.is_none() => {
                return Err(String::from("audience is missing: the server has no name of its own; set access.audience, server.public_url or this"));
            }
            None => {}
            Some(texts) => texts_are("audience", texts.iter(), false)?,
        }
        if self.claims.is_empty() || self.claims.len() > MOST {
            return Err(format!("claims are 1 to {MOST}: without any, everybody who gets tokens of this issuer could publish"));
        }
        for (name, values) in &self.claims {
            if name.is_empty() || name.len() > LONGEST || ["iss", "aud", "exp", "nbf", "iat", "jti"].contains(&name.as_str()) {
                return Err(format!("claims: {name:?} is none that can be chosen"));
            }
            texts_are(&format!("claims: {name}"), values.iter(), true)?;
        }
        if self.claims.values().all(|values| values.iter().any(|value| value.bytes().all(|byte| byte == b'*'))) {
            return Err(String::from("claims: one must ask for more than any text"));
        }
        texts_are("packages", self.packages.iter().map(String::as_str), true)?;
        if self.actions.is_empty() || self.actions.iter().any(|action| matches!(action, Action::Manage | Action::SignIn)) {
            return Err(String::from("actions are some of \"publish\", \"overwrite\", \"delete\" and \"read\""));
        }
        if !LIVES.contains(&self.expires_in) {
            return Err(format!("expires_in = {} is out of range: use {} to {} seconds", self.expires_in, LIVES.start(), LIVES.end()));
        }
        Ok(())
    }

    /// Whether an identity token is made out for us.
    pub(super) fn is_for(&self, audience: &str, own: Option<&str>) -> bool {
        match &self.audience {
            Some(texts) => texts.iter().any(|text| text == audience),
            // What npm calls a registry: its host's name.
            None => own.is_some_and(|own| audience == own || audience.strip_prefix("npm:") == Some(without_port(own))),
        }
    }

    /// Whether the claims are those that are asked for.
    pub(super) fn accepts(&self, claims: &serde_json::Map<String, Value>) -> bool {
        !self.claims.is_empty()
            && self.claims.iter().all(|(name, wanted)| {
                let claimed = claim(claims, name).map(values).unwrap_or_default();
                claimed.iter().any(|value| wanted.iter().any(|pattern| glob(pattern.as_bytes(), value.as_bytes())))
            })
    }

    /// Whether a package that a client names is one of those. It becomes all that its token is for, so it must be a name and no pattern.
    pub(super) fn has_one(&self, package: &str) -> bool {
        package.len() <= LONGEST && !package.contains('*') && takes(&self.packages, package)
    }
}

/// Whether one of some patterns takes a name.
pub(super) fn takes(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| glob(pattern.as_bytes(), name.as_bytes()))
}

/// A claim by its name, or by a JSON pointer.
fn claim<'a>(claims: &'a serde_json::Map<String, Value>, name: &str) -> Option<&'a Value> {
    let Some(pointer) = name.strip_prefix('/') else { return claims.get(name) };
    let mut parts = pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(&part))
}

/// A claim as texts: of a list each.
pub(super) fn values(claim: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    match claim {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        other => text(other).into_iter().collect(),
    }
}

fn texts_are<'a>(what: &str, texts: impl Iterator<Item = &'a str>, patterns: bool) -> std::result::Result<(), String> {
    let mut count = 0;
    for text in texts {
        count += 1;
        if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(format!("{what}: a text is 1 to {LONGEST} bytes long, without control characters"));
        }
        if patterns && text.matches('*').count() > MOST_STARS {
            return Err(format!("{what}: {text:?} has more than {MOST_STARS} stars"));
        }
    }
    if (1..=MOST).contains(&count) { Ok(()) } else { Err(format!("{what}: give 1 to {MOST} of them")) }
}

/// `[::1]:5000` and `host:5000` without their ports.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
#[path = "../tests/publisher_rules.rs"]
mod tests;
