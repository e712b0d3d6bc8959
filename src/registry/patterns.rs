//! Which names a proxy mirrors: regular expressions over the name of a package (or a path, for formats without packages).

use entrepot_kit::{Error, Result};
use regex::{RegexSet, RegexSetBuilder};

/// Most expressions of one proxy, and the longest one.
const MOST: (usize, usize) = (100, 1000);
/// Most memory of all of them together once they are compiled, in bytes.
const MOST_MEMORY: usize = 1 << 20;

/// The `patterns` of a proxy. Without any it mirrors everything.
#[derive(Debug, Clone, Default)]
pub struct Patterns(Option<RegexSet>);

impl Patterns {
    /// Reads and compiles the `patterns` of a repository's settings.
    ///
    /// # Errors
    /// 400 naming the expression that is wrong, or what is too large.
    pub fn from_settings(settings: &serde_json::Value) -> Result<Self> {
        let Some(value) = settings.get("patterns") else { return Ok(Self::default()) };
        let malformed = || Error::bad_request("patterns is a list of regular expressions, such as [\"^library/\", \"^prom/.*$\"]");
        let list = value.as_array().ok_or_else(malformed)?;
        let texts = list.iter().map(|item| item.as_str().ok_or_else(malformed)).collect::<Result<Vec<_>>>()?;
        if texts.is_empty() {
            return Err(Error::bad_request("patterns is empty: leave it out to mirror everything"));
        }
        let (most, longest) = MOST;
        if texts.len() > most || texts.iter().any(|text| text.len() > longest) {
            return Err(Error::bad_request(format!("patterns: at most {most} expressions of at most {longest} bytes")));
        }
        let wrong = |error: regex::Error| Error::bad_request(format!("patterns: {error}"));
        let set = RegexSetBuilder::new(texts).size_limit(MOST_MEMORY).dfa_size_limit(MOST_MEMORY).build().map_err(wrong)?;
        Ok(Self(Some(set)))
    }

    /// Whether the name is mirrored.
    #[must_use]
    pub fn admits(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|set| set.is_match(name))
    }

    /// Refuses a name that is not mirrored.
    ///
    /// # Errors
    /// 403 with the expressions: they are no secret to whoever may read the repository.
    pub fn check(&self, name: &str) -> Result<()> {
        if self.admits(name) {
            return Ok(());
        }
        let shown = self.0.as_ref().map(|set| set.patterns().join(" ")).unwrap_or_default();
        let shown: String = shown.chars().take(500).collect();
        Err(Error::forbidden(format!("{name:?} is not mirrored here: this repository mirrors names that match {shown}")).with_policy("patterns"))
    }
}

#[cfg(test)]
mod tests {
    use super::Patterns;
    use serde_json::json;

    fn read(value: serde_json::Value) -> Result<Patterns, String> {
        Patterns::from_settings(&json!({ "patterns": value })).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn names_are_matched_anywhere_unless_anchored() {
        let patterns = read(json!(["^library/", "nginx$"])).unwrap();
        assert!(patterns.admits("library/alpine") && patterns.admits("bitnami/nginx"));
        let refusal = patterns.check("evil/library/x").unwrap_err();
        assert_eq!((refusal.status().as_u16(), refusal.policy()), (403, Some("patterns")));
        assert!(refusal.message().contains("^library/ nginx$"), "{}", refusal.message());
        assert!(Patterns::from_settings(&json!({})).unwrap().check("anything").is_ok());
    }

    #[test]
    fn what_is_wrong_or_too_large_is_refused() {
        for (value, expected) in [
            (json!("^library/"), "list"),
            (json!([7]), "list"),
            (json!([]), "empty"),
            (json!(["("]), "unclosed"),
            (json!(["a{1000}{1000}"]), "size limit"),
            (json!(vec!["x"; 101]), "at most 100"),
            (json!(["x".repeat(1001)]), "at most 100"),
        ] {
            let message = read(value).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
