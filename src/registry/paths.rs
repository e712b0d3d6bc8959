//! Which paths of an upstream a proxy serves, and how long each may stay unasked for: expressions over paths, for proxies whose
//! operator knows the upstream's files and no format does.

use entrepot_kit::{Error, Result};
use regex::{RegexSet, RegexSetBuilder};
use serde::Deserialize as _;

/// The setting.
pub const PATHS: &str = "paths";
/// Most expressions of one list, and the longest one.
const MOST: (usize, usize) = (200, 1000);
/// Most memory of one list once it is compiled, in bytes.
const MOST_MEMORY: usize = 1 << 20;

/// How something that may have changed is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Renewal {
    /// By a `GET` with what is known of the kept copy.
    #[default]
    Conditional,
    /// By such a `HEAD` first: an unchanged file is then not sent, whatever the upstream does with conditions of a `GET`.
    Head,
    /// As if nothing were kept.
    Anew,
}

/// What the expressions say of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its bytes are taken for what never changes, until `immutable_ttl` is over.
    Immutable,
    /// Its bytes change: `mutable_ttl` counts.
    Mutable(Renewal),
}

/// The setting as it is written.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    immutable: Vec<String>,
    mutable: Vec<String>,
    anew: Vec<String>,
    check: bool,
}

/// The `paths` of a proxy.
///
/// A path is served that one of `immutable`, `mutable` or `anew` matches, anywhere unless anchored; every path when `immutable` is empty. What
/// changes beats what does not, and `anew` beats `mutable`. With `check` an expired path of `mutable` is asked for by `HEAD`. While an upstream
/// cannot be reached, what is kept counts as fresh again; when it answers, with whatever error, what has expired is not served.
#[derive(Debug, Clone, Default)]
pub struct Paths(Option<Rules>);

#[derive(Debug, Clone)]
struct Rules {
    immutable: Option<RegexSet>,
    mutable: RegexSet,
    anew: RegexSet,
    check: bool,
}

impl Paths {
    /// Reads and compiles the `paths` of a repository's settings.
    ///
    /// # Errors
    /// 400 naming the expression that is wrong, or what is too large.
    pub fn from_settings(settings: &serde_json::Value) -> Result<Self> {
        let Some(value) = settings.get(PATHS) else { return Ok(Self::default()) };
        let written = Written::deserialize(value).map_err(|error| Error::bad_request(format!("{PATHS}: {error}")))?;
        let immutable = compile("immutable", &written.immutable)?;
        let rules = Rules {
            immutable: (!written.immutable.is_empty()).then_some(immutable),
            mutable: compile("mutable", &written.mutable)?,
            anew: compile("anew", &written.anew)?,
            check: written.check,
        };
        Ok(Self(Some(rules)))
    }

    /// Whether there are any.
    pub(crate) fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// What they say of a path; `None` without any.
    ///
    /// # Errors
    /// 403 for a path that is not served.
    pub(crate) fn standing(&self, path: &str) -> Result<Option<Standing>> {
        let Some(rules) = &self.0 else { return Ok(None) };
        if rules.anew.is_match(path) {
            return Ok(Some(Standing::Mutable(Renewal::Anew)));
        }
        if rules.mutable.is_match(path) {
            return Ok(Some(Standing::Mutable(if rules.check { Renewal::Head } else { Renewal::Anew })));
        }
        if rules.immutable.as_ref().is_none_or(|set| set.is_match(path)) {
            return Ok(Some(Standing::Immutable));
        }
        Err(Error::forbidden(format!("{path:?} is not served here: it matches none of the patterns of this repository")).with_policy(PATHS))
    }
}

fn compile(list: &str, texts: &[String]) -> Result<RegexSet> {
    let (most, longest) = MOST;
    if texts.len() > most || texts.iter().any(|text| text.len() > longest) {
        return Err(Error::bad_request(format!("{PATHS}.{list}: at most {most} expressions of at most {longest} bytes")));
    }
    let wrong = |error: regex::Error| Error::bad_request(format!("{PATHS}.{list}: {error}"));
    RegexSetBuilder::new(texts).size_limit(MOST_MEMORY).dfa_size_limit(MOST_MEMORY).build().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::{Paths, Renewal, Standing};
    use serde_json::json;

    fn read(value: serde_json::Value) -> Result<Paths, String> {
        Paths::from_settings(&json!({ "paths": value })).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn what_changes_beats_what_does_not() {
        let paths = read(json!({ "immutable": ["\\.apk$", "gz"], "mutable": ["main\\.tar\\.gz$"], "anew": ["APKINDEX"], "check": true })).unwrap();
        for (path, expected) in [
            ("a/b.apk", Some(Standing::Immutable)),
            ("x.gz", Some(Standing::Immutable)),
            ("archive/main.tar.gz", Some(Standing::Mutable(Renewal::Head))),
            ("main/APKINDEX.tar.gz", Some(Standing::Mutable(Renewal::Anew))),
            ("APKINDEX-main.tar.gz", Some(Standing::Mutable(Renewal::Anew))),
            ("b.apk.sig", None),
        ] {
            assert_eq!(paths.standing(path).ok().flatten(), expected, "{path}");
        }
        let refusal = paths.standing("b.apk.sig").unwrap_err();
        assert_eq!((refusal.status().as_u16(), refusal.policy()), (403, Some("paths")));
    }

    #[test]
    fn without_immutable_ones_everything_is_served() {
        let paths = read(json!({ "mutable": ["^latest/"] })).unwrap();
        assert_eq!(paths.standing("any").unwrap(), Some(Standing::Immutable));
        assert_eq!(paths.standing("latest/a").unwrap(), Some(Standing::Mutable(Renewal::Anew)));
        assert_eq!(Paths::from_settings(&json!({})).unwrap().standing("any").unwrap(), None);
    }

    #[test]
    fn what_is_wrong_or_too_large_is_refused() {
        for (value, expected) in [
            (json!(7), "paths"),
            (json!({ "imutable": [] }), "imutable"),
            (json!({ "immutable": ["("] }), "unclosed"),
            (json!({ "mutable": vec!["x"; 201] }), "at most 200"),
            (json!({ "anew": ["a{1000}{1000}"] }), "size limit"),
        ] {
            let message = read(value).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
