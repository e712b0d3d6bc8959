//! Versions: strict for publishes, in order for listings, and what looks like a range and so cannot be a tag.

use std::cmp::Ordering;

use entrepot_kit::{Error, Result};

/// Longest version.
pub const MAX_VERSION: usize = 256;
/// The largest number that clients written in JavaScript count exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// A hostile text, short enough for a message.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Reads a version that shall be published.
///
/// # Errors
/// 400 when it is not exactly a semantic version.
pub fn parse_new(text: &str) -> Result<semver::Version> {
    let refuse = |rule: &str| Error::bad_request(format!("the version {:?} is not allowed: {rule}", shorten(text)));
    if text.len() > MAX_VERSION {
        return Err(refuse("it is longer than 256 characters"));
    }
    let version = semver::Version::parse(text).map_err(|_| refuse("it is not a semantic version such as 1.2.3 or 1.2.3-beta.1"))?;
    if [version.major, version.minor, version.patch].into_iter().any(|number| number > MAX_NUMBER) {
        return Err(refuse("its numbers are too large"));
    }
    if !version.build.is_empty() {
        return Err(refuse("build metadata (what follows a '+') does not make another version; leave it out"));
    }
    Ok(version)
}

/// Whether a version of an upstream can be served: anything that is harmless in a path.
#[must_use]
pub fn is_plausible(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_VERSION
        && !matches!(text, "." | "..")
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'\\' | b'"' | b'%' | b'@' | b'<' | b'>'))
}

/// Versions by precedence; what is no semantic version comes first, by its text.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    match (semver::Version::parse(one), semver::Version::parse(other)) {
        (Ok(one), Ok(other)) => one.cmp_precedence(&other),
        (Ok(_), Err(_)) => Ordering::Greater,
        (Err(_), Ok(_)) => Ordering::Less,
        (Err(_), Err(_)) => Ordering::Equal,
    }
    .then_with(|| one.cmp(other))
}

/// Whether a version is a pre-release, or no version at all.
fn is_prerelease(version: &str) -> bool {
    semver::Version::parse(version).map_or(true, |version| !version.pre.is_empty())
}

/// What `latest` means when nobody said it: the highest stable version, else the highest.
#[must_use]
pub fn natural_latest<'a>(versions: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    versions.max_by(|one, other| is_prerelease(other).cmp(&is_prerelease(one)).then_with(|| compare(one, other)))
}

/// Checks a new distribution tag. A client could not tell one that is a range from a request for versions.
///
/// # Errors
/// 400 with the rule that it breaks.
pub fn check_tag(tag: &str) -> Result<()> {
    let refuse = |rule: &str| Err(Error::bad_request(format!("the tag {:?} is not allowed: {rule}", shorten(tag))));
    if tag.is_empty() || tag.len() > 128 {
        return refuse("a tag has 1 to 128 characters");
    }
    if is_range(tag) {
        return refuse("it is a version or a range of versions");
    }
    if !tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'!' | b'\'' | b'(' | b')' | b'+' | b':')) {
        return refuse("use letters, digits, '-', '_' and '.'");
    }
    Ok(())
}

/// Whether clients would read a text as a range of versions.
#[must_use]
pub fn is_range(text: &str) -> bool {
    text.split("||").all(|alternative| match alternative.split_once(" - ") {
        Some((from, to)) => is_partial(from.trim()) && is_partial(to.trim()),
        None => is_comparators(alternative.trim()),
    })
}

/// Comparators joined by spaces; an operator may stand apart from its version.
fn is_comparators(text: &str) -> bool {
    let mut expects_version = false;
    for word in text.split_whitespace() {
        let version = word.trim_start_matches(['<', '>', '=', '~', '^']);
        if version.is_empty() {
            expects_version = true;
        } else if is_partial(version) {
            expects_version = false;
        } else {
            return false;
        }
    }
    !expects_version
}

/// `v1`, `1.x`, `1.2.3-beta+build`, `*`, …
fn is_partial(text: &str) -> bool {
    let text = text.trim_start_matches(['v', 'V', '=']);
    let core = text.split(['-', '+']).next().unwrap_or(text);
    let has_suffix = core.len() != text.len();
    let parts: Vec<&str> = core.split('.').collect();
    let is_part = |part: &str| matches!(part, "x" | "X" | "*") || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    parts.len() <= 3 && parts.iter().all(|part| is_part(part)) && (!has_suffix || parts.len() == 3)
}

#[cfg(test)]
mod tests {
    use super::{check_tag, compare, is_plausible, natural_latest, parse_new};
    use std::cmp::Ordering;

    #[test]
    fn new_versions_are_exact() {
        for good in ["0.0.0", "1.2.3", "1.2.3-beta.1", "1.2.3--", "9007199254740991.0.0"] {
            assert!(parse_new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "1",
            "1.2",
            "v1.2.3",
            " 1.2.3",
            "01.2.3",
            "1.2.3-01",
            "1.2.3+build",
            "9007199254740992.0.0",
            "1.2.3-é",
            "latest",
            "../1.2.3",
            &format!("1.2.3-{}", "a".repeat(256)),
        ] {
            assert!(parse_new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn upstream_versions_are_harmless_in_paths() {
        assert!(is_plausible("1.2.3beta") && is_plausible("1.0.0+x"));
        for bad in ["", ".", "..", "a/b", "a\\b", "a\"b", "a\nb", "%2e", "é"] {
            assert!(!is_plausible(bad), "{bad}");
        }
    }

    #[test]
    fn order_is_by_precedence() {
        let mut versions = vec!["1.10.0", "odd", "1.2.0", "1.2.0-rc.10", "1.2.0-rc.2", "2.0.0-alpha"];
        versions.sort_by(|one, other| compare(one, other));
        assert_eq!(versions, ["odd", "1.2.0-rc.2", "1.2.0-rc.10", "1.2.0", "1.10.0", "2.0.0-alpha"]);
        assert_eq!(compare("1.0.0", "1.0.0"), Ordering::Equal);
    }

    #[test]
    fn latest_is_the_highest_stable_or_else_the_highest() {
        assert_eq!(natural_latest(["1.0.0", "2.0.0-rc.1", "1.1.0"].into_iter()), Some("1.1.0"));
        assert_eq!(natural_latest(["1.0.0-a", "1.0.0-b"].into_iter()), Some("1.0.0-b"));
        assert_eq!(natural_latest(std::iter::empty()), None);
    }

    #[test]
    fn ranges_are_no_tags() {
        for good in ["latest", "next", "beta-1", "release-1.x", "stable", "xyz", "vnext", "canary.1", "constructor", "1.2.3.4"] {
            assert!(check_tag(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "1",
            "v1",
            "1.2",
            "1.2.3",
            "1.2.3-beta",
            "*",
            "x",
            "1.x",
            "^1",
            "~1.2",
            ">=1",
            ">= 1",
            "1 - 2",
            "1 || 2",
            "=v1.2.3",
            "a b",
            "a/b",
            "ä",
            "<script>",
            &"a".repeat(129),
        ] {
            assert!(check_tag(bad).is_err(), "{bad}");
        }
    }
}
