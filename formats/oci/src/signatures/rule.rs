//! The setting `signatures` of a repository: whose signatures images need, and what happens without.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use entrepot_kit::verify::Trusted;
use entrepot_kit::{Access, Error, Repository, Result};
use entrepot_oci_core::name::Reference;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::settings;

/// The name of the setting.
pub(crate) const SIGNATURES: &str = "signatures";
/// Most keys of one repository.
const MOST_KEYS: usize = 32;
/// Most keys that are named where one is missing.
const MOST_NAMED: usize = 4;
/// Most rules that are kept read.
const MOST_RULES: usize = 256;

/// What happens to an image that no key vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is not given to those who pull.
    Pull,
    /// It gets no tag.
    Tag,
    /// It is given, with a warning.
    Warn,
    /// It is given, and the log says so.
    Audit,
}

const MODES: [(&str, Mode); 4] = [("pull", Mode::Pull), ("tag", Mode::Tag), ("warn", Mode::Warn), ("audit", Mode::Audit)];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    mode: String,
    keys: Vec<String>,
    tags: Option<String>,
}

/// The setting, read.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) mode: Mode,
    /// At least one.
    pub(crate) keys: Vec<Trusted>,
    /// Their names in verdicts.
    pub(crate) ids: Vec<String>,
    tags: Option<Regex>,
}

impl Rule {
    /// Reads the setting.
    ///
    /// # Errors
    /// 400 naming what is wrong.
    pub(crate) fn parse(value: &Value) -> Result<Self> {
        let wrong = |what: String| Error::bad_request(format!("the setting {SIGNATURES:?}: {what}"));
        let written = Written::deserialize(value).map_err(|error| wrong(error.to_string()))?;
        let mode = MODES.iter().find(|(name, _)| *name == written.mode).map(|(_, mode)| *mode);
        let mode = mode.ok_or_else(|| wrong(format!("the mode {:?} is not \"pull\", \"tag\", \"warn\" or \"audit\"", written.mode)))?;
        if !(1..=MOST_KEYS).contains(&written.keys.len()) {
            return Err(wrong(format!("\"keys\" must hold 1 to {MOST_KEYS} public keys or certificates in PEM")));
        }
        let keys = written.keys.iter().enumerate().map(|(position, pem)| Trusted::from_pem(pem).map_err(|error| wrong(format!("keys[{position}]: {error}"))));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let tags = written.tags.as_deref().map(settings::whole).transpose();
        let tags = tags.map_err(|error| wrong(format!("\"tags\" is no regular expression: {error}")))?;
        let ids = keys.iter().map(|key| key.id().hex()).collect();
        Ok(Self { mode, keys, ids, tags })
    }

    /// The rule of a repository, if it has one.
    ///
    /// # Errors
    /// 500 for one that cannot be read: without it nothing may pass.
    pub(crate) fn of<A: Access>(repository: &Repository<A>) -> Result<Option<Arc<Self>>> {
        // Found by its own text, so that a changed setting counts at once.
        static READ: LazyLock<Mutex<HashMap<String, Arc<Rule>>>> = LazyLock::new(Mutex::default);
        let Some(value) = repository.setting::<Value>(SIGNATURES) else { return Ok(None) };
        let text = value.to_string();
        if let Some(rule) = READ.lock().unwrap_or_else(PoisonError::into_inner).get(&text) {
            return Ok(Some(Arc::clone(rule)));
        }
        let rule = Arc::new(Self::parse(&value).map_err(|error| Error::internal(error.to_string()))?);
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if read.len() >= MOST_RULES {
            read.clear();
        }
        read.insert(text, Arc::clone(&rule));
        Ok(Some(rule))
    }

    /// Whether a tag needs a signature.
    pub(crate) fn covers_tag(&self, tag: &str) -> bool {
        self.tags.as_ref().is_none_or(|tags| tags.is_match(tag))
    }

    /// Whether what a reference leads to needs a signature. Where the rule is about some tags only, a digest needs none: who names it has
    /// chosen what it gets, and the tags that the rule is about do not tell it.
    pub(crate) fn covers(&self, reference: &Reference) -> bool {
        match reference {
            Reference::Tag(tag) => self.covers_tag(tag),
            Reference::Digest(_) => self.tags.is_none(),
        }
    }

    /// The keys of which one must vouch, for people; of many the first ones.
    pub(crate) fn expected(&self) -> String {
        let mut named: Vec<String> = self.keys.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        if let Some(more) = self.keys.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
            named.push(format!("one of {more} more"));
        }
        named.join(", or ")
    }
}

#[cfg(test)]
mod tests {
    use entrepot_oci_core::name::Reference;
    use serde_json::{Value, json};

    use super::{Mode, Rule};

    const KEY: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/oci/cosign/cosign.pub"));
    const CERTIFICATE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/oci/notation/p256.root.pem"));

    #[test]
    fn mistakes_are_named() {
        let rule = Rule::parse(&json!({ "mode": "pull", "keys": [KEY, CERTIFICATE] })).expect("a rule");
        assert!(rule.mode == Mode::Pull && rule.keys.len() == 2 && rule.ids.iter().all(|id| id.len() == 64));
        let many = Rule::parse(&json!({ "mode": "tag", "keys": vec![KEY; 7] })).expect("a rule");
        assert!(many.expected().ends_with(", or one of 3 more"), "{}", many.expected());
        assert!(rule.expected().contains("the ECDSA P-256 key SHA256:") && rule.expected().contains("CN=root p256"), "{}", rule.expected());
        for (value, complaint) in [
            (json!(true), "signatures"),
            (json!({ "keys": [KEY] }), "mode"),
            (json!({ "mode": "Pull", "keys": [KEY] }), "\"Pull\" is not"),
            (json!({ "mode": "pull" }), "keys"),
            (json!({ "mode": "pull", "keys": [] }), "1 to 32"),
            (json!({ "mode": "pull", "keys": vec![KEY; 33] }), "1 to 32"),
            (json!({ "mode": "pull", "keys": [KEY, "cosign.pub"] }), "keys[1]: this is no PEM text"),
            (json!({ "mode": "pull", "keys": [KEY], "tags": "(" }), "\"tags\" is no regular expression"),
            (json!({ "mode": "pull", "keys": [KEY], "tag": "v.*" }), "unknown field `tag`"),
        ] as [(Value, &str); 9]
        {
            let error = Rule::parse(&value).expect_err(complaint);
            assert!(error.status() == 400 && error.message().contains(complaint), "{complaint}: {error}");
        }
    }

    #[test]
    fn a_pattern_is_about_tags_alone() {
        let some = Rule::parse(&json!({ "mode": "pull", "keys": [KEY], "tags": "v[0-9]+" })).expect("a rule");
        let all = Rule::parse(&json!({ "mode": "pull", "keys": [KEY] })).expect("a rule");
        let reference = |text: &str| Reference::parse(text).expect("a reference");
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert!(some.covers(&reference("v1")) && !some.covers(&reference("v1-rc")) && !some.covers(&reference(&digest)));
        assert!(all.covers(&reference("v1-rc")) && all.covers(&reference(&digest)));
    }
}
