//! Versions by PEP 440, and the older ones that are none.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::str::FromStr as _;

use pep440_rs::Version;

/// Longest version that is read as one.
const MAX_VERSION: usize = 256;

/// Reads a version; `None` for a legacy one.
#[must_use]
pub fn parse(text: &str) -> Option<Version> {
    // The library takes `*` endings for patterns in another type; a version proper never has one.
    (text.len() <= MAX_VERSION).then(|| Version::from_str(text).ok()).flatten()
}

/// The normal form of a version as it is shown, with the zeros that its author wrote; a legacy one as it is.
#[must_use]
pub fn normalise(text: &str) -> String {
    parse(text).map_or_else(|| text.to_owned(), |version| version.to_string())
}

/// What all spellings of one version have in common: its normal form without zeros at the end of the release, so that `1.0`, `1.0.0` and `v1`
/// are one. A legacy version stands for itself.
#[must_use]
pub fn key(text: &str) -> String {
    let Some(version) = parse(text) else { return text.to_owned() };
    let release = version.release();
    let end = release.iter().rposition(|number| *number != 0).map_or(1, |last| last + 1);
    let release: Vec<u64> = release.iter().take(end).copied().collect();
    version.with_release(release).to_string()
}

/// The spellings in which a version may be known already, its own first: with fewer and more zeros at the end of the release.
#[must_use]
pub fn spellings(normal: &str) -> Vec<String> {
    const MOST_ZEROS: usize = 4;
    let mut spellings = vec![normal.to_owned()];
    let Some(version) = parse(normal) else { return spellings };
    let release = version.release();
    let end = release.iter().rposition(|number| *number != 0).map_or(1, |last| last + 1);
    for length in end..=(end + MOST_ZEROS).max(release.len()).min(end + 16) {
        let padded: Vec<u64> = release.iter().copied().take(end).chain(std::iter::repeat(0)).take(length).collect();
        let spelling = version.clone().with_release(padded).to_string();
        if !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    }
    spellings
}

/// Whether two texts are one version.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    one == other || matches!((parse(one), parse(other)), (Some(one), Some(other)) if one == other)
}

/// The order of versions; legacy ones are older than all others, by their text.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    // None is less than Some.
    parse(one).cmp(&parse(other)).then_with(|| one.cmp(other))
}

/// Each version once, oldest first, in the spelling that came first.
#[must_use]
pub fn distinct<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut written = HashSet::new();
    let mut versions: Vec<(Option<Version>, &str)> =
        texts.into_iter().filter(|text| !text.is_empty() && written.insert(*text)).map(|text| (parse(text), text)).collect();
    // Stable: of equal versions the first stays.
    versions.sort_by(|(one, text), (other, other_text)| match (one, other) {
        (None, None) => text.cmp(other_text),
        _ => one.cmp(other),
    });
    versions.dedup_by(|(later, _), (earlier, _)| later.is_some() && later == earlier);
    versions.into_iter().map(|(_, text)| text).collect()
}

/// Endings of source archives and of what was built for single platforms before there were wheels, longest first.
const ENDINGS: [&str; 20] = [
    ".tar.bz2",
    ".tar.lzma",
    ".tar.gz",
    ".tar.xz",
    ".tar.lz",
    ".tar.Z",
    ".tgz",
    ".tbz",
    ".txz",
    ".tlz",
    ".tar",
    ".zip",
    ".egg",
    ".exe",
    ".msi",
    ".rpm",
    ".deb",
    ".dmg",
    ".whl",
    ".json",
];

/// The name of a file without the ending that says what it is; `None` for what is no package at all.
#[must_use]
pub fn stem(filename: &str) -> Option<&str> {
    ENDINGS.iter().find_map(|ending| {
        let at = filename.len().checked_sub(ending.len())?;
        filename.get(at..).filter(|found| found.eq_ignore_ascii_case(ending))?;
        filename.get(..at).filter(|stem| !stem.is_empty())
    })
}

/// The version that a file's name says, where it says one. The project tells how far its name reaches: `foo-bar-1.0` is a version of `foo-bar`.
#[must_use]
pub fn of_filename<'a>(project: &str, filename: &'a str) -> Option<&'a str> {
    let stem = stem(filename)?;
    let lower = filename.to_ascii_lowercase();
    let behind = stem.match_indices('-').filter(|(at, _)| stem.get(..*at).is_some_and(|name| crate::name::normalise(name) == project));
    // The longest name that is the project's: `a--1.0`.
    let rest = behind.filter_map(|(at, _)| stem.get(at + 1..)).next_back().filter(|rest| !rest.is_empty())?;
    let is_source = [".zip", ".tgz", ".tbz", ".txz", ".tlz"].iter().any(|ending| lower.ends_with(ending)) || lower.contains(".tar");
    if is_source && (parse(rest).is_some() || !rest.contains('-')) {
        return Some(rest);
    }
    // What follows in built files says for what they were built.
    let version = rest.split('-').next().filter(|version| !version.is_empty())?;
    if parse(version).is_none() && !lower.ends_with(".whl") {
        // `1.0.win32`
        let shorter = version.match_indices('.').rev().find_map(|(at, _)| version.get(..at).filter(|text| parse(text).is_some()));
        return Some(shorter.unwrap_or(version));
    }
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::{compare, distinct, key, normalise, of_filename, parse, same, stem};
    use std::cmp::Ordering;

    #[test]
    fn the_order_is_that_of_the_packaging_library() {
        let ordered = ["1.0.dev1", "1.0a0", "1.0rc1", "1.0", "1.0+cu121", "1.0+cu9", "1.0.post1.dev1", "1.0.post1", "2026.1", "1!0.1"];
        for (at, one) in ordered.iter().enumerate() {
            for (other_at, other) in ordered.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at), "{one} {other}");
            }
        }
        let mut shuffled = vec!["1!0.1", "1.0", "not-a-version", "2026.1", "1.0rc1", "0.1-bulbasaur"];
        shuffled.sort_by(|one, other| compare(one, other));
        assert_eq!(shuffled, ["0.1-bulbasaur", "not-a-version", "1.0rc1", "1.0", "2026.1", "1!0.1"]);
    }

    #[test]
    fn spellings_of_one_version() {
        for (one, other) in [
            ("1.0", "1.0.0"),
            ("1.0", "v1.0"),
            ("1", "1.0"),
            ("1.0-1", "1.0.post1"),
            ("1.0a", "1.0a0"),
            ("1.0.ALPHA1", "1.0a1"),
            ("1.0+Ubuntu-1", "1.0+ubuntu.1"),
        ] {
            assert!(same(one, other) && key(one) == key(other), "{one} {other}");
        }
        assert!(!same("1.0", "1.1") && !same("odd", "Odd"));
        assert_eq!(key("1!0.0.0"), "1!0");
        assert_eq!(key("1.0.0.post0"), "1.post0");
        assert_eq!(normalise("v1.0.0-RC.1"), "1.0.0rc1");
        assert_eq!(normalise("2004d-legacy"), "2004d-legacy");
        assert_eq!(distinct(["1.0.0", "odd", "0.9", "1.0", "2.0b", "odd", ""]), ["odd", "0.9", "1.0.0", "2.0b"]);
    }

    #[test]
    fn zeros_at_the_end_are_other_spellings() {
        assert_eq!(super::spellings("1.0.post1"), ["1.0.post1", "1.post1", "1.0.0.post1", "1.0.0.0.post1", "1.0.0.0.0.post1"]);
        assert_eq!(super::spellings("odd"), ["odd"]);
        assert!(super::spellings("0").contains(&String::from("0.0.0")));
    }

    #[test]
    fn hostile_versions_are_legacy_ones() {
        for text in ["", "1.0.*", "99999999999999999999999.0", "1.0+", "../1", "é", &"1.".repeat(300), &"1".repeat(300), "1.0\n2"] {
            assert!(parse(text).is_none(), "{text:?}");
            assert_eq!(key(text), text);
            assert_eq!(compare(text, "0.dev0"), Ordering::Less);
        }
    }

    #[test]
    fn names_of_files_say_versions() {
        for (project, filename, version) in [
            ("foo-bar", "foo-bar-1.0.tar.gz", Some("1.0")),
            ("foo-bar", "foo_bar-1.0.tar.gz", Some("1.0")),
            ("foo", "foo-1.0-1.tar.gz", Some("1.0-1")),
            ("foo", "foo-bar-1.0.tar.gz", Some("bar")),
            ("foo-bar", "foo_bar-1.0+cu121-py2.py3-none-any.whl", Some("1.0+cu121")),
            ("foo-bar", "foo.bar-1.0-1b-py3-none-any.whl", Some("1.0")),
            ("foo", "foo-1.0-py2.7-linux-x86_64.egg", Some("1.0")),
            ("foo", "foo-1.0.win32-py2.7.exe", Some("1.0")),
            ("foo", "Foo-2004d.zip", Some("2004d")),
            ("foo", "other-1.0.tar.gz", None),
            ("foo", "foo.tar.gz", None),
            ("foo", "foo-.tar.gz", None),
            ("foo", "readme.html", None),
            ("foo", "foo-1.0-variants.json", Some("1.0")),
        ] {
            assert_eq!(of_filename(project, filename), version, "{filename}");
        }
        assert_eq!(stem("é.whl"), Some("é"));
        assert_eq!(stem(".whl"), None);
        assert_eq!(stem("a"), None);
    }
}
