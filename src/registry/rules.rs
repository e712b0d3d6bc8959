//! Name rules: which names a repository, or a member of a group, may answer for.

use entrepot_kit::{Error, Result};

/// Most patterns of one list.
const MAX_PATTERNS: usize = 1000;

/// Patterns over package names (or paths, for formats without packages), `*` standing for anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Only these; all when empty.
    allow: Vec<String>,
    /// Never these.
    deny: Vec<String>,
    /// These belong to this member alone, even while it does not have them.
    reserve: Vec<String>,
    /// For these, what a hosted member has and what upstreams have is joined.
    merge: Vec<String>,
}

impl Rules {
    /// Reads the four lists.
    ///
    /// # Errors
    /// 400 for other fields, for something that is no list of texts, and for too many patterns.
    pub fn parse(value: &serde_json::Value) -> Result<Self> {
        use serde::Deserialize as _;
        let rules = Self::deserialize(value).map_err(|error| Error::bad_request(format!("name rules: {error}")))?;
        let longest = [&rules.allow, &rules.deny, &rules.reserve, &rules.merge].into_iter().map(Vec::len).max().unwrap_or(0);
        if longest > MAX_PATTERNS {
            return Err(Error::bad_request(format!("name rules: at most {MAX_PATTERNS} patterns in a list")));
        }
        Ok(rules)
    }

    /// The `rules` of a repository's settings.
    ///
    /// # Errors
    /// Those of [`Self::parse`].
    pub fn from_settings(settings: &serde_json::Value) -> Result<Self> {
        settings.get("rules").map_or_else(|| Ok(Self::default()), Self::parse)
    }

    /// Whether the name may come from here.
    #[must_use]
    pub fn admits(&self, name: &str) -> bool {
        (self.allow.is_empty() || any(&self.allow, name)) && !any(&self.deny, name)
    }

    /// Whether the name belongs to this member alone.
    #[must_use]
    pub fn reserves(&self, name: &str) -> bool {
        any(&self.reserve, name)
    }

    /// Whether a hosted name may be joined with what upstreams have.
    #[must_use]
    pub fn merges(&self, name: &str) -> bool {
        any(&self.merge, name)
    }
}

fn any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| glob(pattern, name))
}

/// Whether `pattern` takes the whole of `text`; `*` takes anything, slashes included. Linear in `text` for each star.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Rules, glob};
    use serde_json::json;

    #[test]
    fn stars_take_anything() {
        for (pattern, text, fits) in [
            ("*", "anything/at all", true),
            ("@acme/*", "@acme/widget", true),
            ("@acme/*", "@acmes/widget", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("", "", true),
            ("**", "x", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn deny_beats_allow() {
        let rules = Rules::parse(&json!({ "allow": ["@acme/*"], "deny": ["@acme/secret"], "reserve": ["@acme/*"] })).expect("valid rules");
        assert!(rules.admits("@acme/widget") && !rules.admits("@acme/secret") && !rules.admits("other"));
        assert!(rules.reserves("@acme/anything") && !rules.merges("@acme/anything"));
        assert!(Rules::parse(&json!({ "alow": [] })).is_err());
    }
}
