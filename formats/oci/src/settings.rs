//! The format's own settings of a repository.

use entrepot_kit::{Access, Error, Repository, Result};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::signatures::rule::{Rule, SIGNATURES};

/// Tags that never move, as regular expressions over the whole tag.
pub(crate) const IMMUTABLE_TAGS: &str = "immutable_tags";
/// Media types of manifests that are kept without being understood.
pub(crate) const MEDIA_TYPES: &str = "media_types";

/// The names of all settings.
pub(crate) const NAMES: [&str; 3] = [IMMUTABLE_TAGS, MEDIA_TYPES, SIGNATURES];

/// Most items of a list.
const MOST: usize = 100;
/// Largest compiled pattern, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

/// Checks the settings.
pub(crate) fn check(settings: &Value) -> Result<()> {
    for pattern in texts(settings, IMMUTABLE_TAGS)? {
        whole(pattern).map_err(|error| Error::bad_request(format!("the setting {IMMUTABLE_TAGS:?}: {pattern:?} is no regular expression: {error}")))?;
    }
    texts(settings, MEDIA_TYPES)?;
    settings.get(SIGNATURES).map_or(Ok(()), |rule| Rule::parse(rule).map(drop))
}

fn texts<'a>(settings: &'a Value, name: &str) -> Result<Vec<&'a str>> {
    let malformed = || Error::bad_request(format!("the setting {name:?} is a list of at most {MOST} texts"));
    let Some(value) = settings.get(name) else { return Ok(Vec::new()) };
    let list = value.as_array().filter(|list| list.len() <= MOST).ok_or_else(malformed)?;
    list.iter().map(|item| item.as_str().ok_or_else(malformed)).collect()
}

/// A pattern that takes the whole of a text.
pub(crate) fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(LARGEST_PATTERN).build()
}

/// The first pattern that says that a tag never moves.
pub(crate) fn immutable_by<A: Access>(repository: &Repository<A>, tag: &str) -> Option<String> {
    let patterns: Vec<String> = repository.setting(IMMUTABLE_TAGS)?;
    // One that cannot be read was refused when it was set: should it be there all the same, nothing moves.
    patterns.into_iter().find(|pattern| whole(pattern).map_or(true, |pattern| pattern.is_match(tag)))
}

/// Media types that the operator allows besides the known ones.
pub(crate) fn media_types<A: Access>(repository: &Repository<A>) -> Vec<String> {
    repository.setting(MEDIA_TYPES).unwrap_or_default()
}
