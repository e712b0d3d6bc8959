//! Versions as Helm reads them: SemVer 2, with a `v` before it and fewer than three numbers if need be.

use std::cmp::Ordering;

use semver::Version;

/// Longest version.
const LONGEST: usize = 128;

/// Reads a version leniently.
#[must_use]
pub fn parse(text: &str) -> Option<Version> {
    if text.len() > LONGEST {
        return None;
    }
    let bare = text.strip_prefix('v').unwrap_or(text);
    let end = bare.find(['-', '+']).unwrap_or(bare.len());
    let (numbers, rest) = bare.split_at_checked(end)?;
    let missing = match numbers.matches('.').count() {
        0 => ".0.0",
        1 => ".0",
        2 => "",
        _ => return None,
    };
    Version::parse(&format!("{numbers}{missing}{rest}")).ok()
}

/// The order of versions. What is none comes first; of two that SemVer finds equal their texts decide.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    let by_precedence = match (parse(one), parse(other)) {
        (Some(one), Some(other)) => one.cmp_precedence(&other),
        (one, other) => one.is_some().cmp(&other.is_some()),
    };
    by_precedence.then_with(|| one.cmp(other))
}

/// The version in the tag of an artifact: no tag has a plus.
#[must_use]
pub fn tag(version: &str) -> String {
    version.replace('+', "_")
}

/// The version that a tag stands for.
#[must_use]
pub fn of_tag(tag: &str) -> String {
    tag.replace('_', "+")
}

#[cfg(test)]
mod tests {
    use super::{compare, of_tag, parse, tag};

    #[test]
    fn versions_are_read_as_helm_reads_them() {
        for good in ["1.2.3", "v1.2.3", "1", "1.2", "v2", "1.0.0-rc1", "1.0.0-rc.1+build.5", "1.0.0+a-b", "1-1.0.0-rc1", "0.0.0"] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in ["", "v", "latest", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3+", "1.2.3-01", "1..2", "-1", "1.2.3 ", "1.2.3_4", "vv1", &"1".repeat(200)] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_order_is_that_of_semver() {
        let mut versions = ["1.0.0", "1.10.0", "1.2.0", "1.0.0-rc.2", "1.0.0-rc.10", "1.0.0+b", "1.0.0+a", "v2", "0.9", "x"];
        versions.sort_by(|one, other| compare(other, one));
        assert_eq!(versions, ["v2", "1.10.0", "1.2.0", "1.0.0+b", "1.0.0+a", "1.0.0", "1.0.0-rc.10", "1.0.0-rc.2", "0.9", "x"]);
    }

    #[test]
    fn tags_have_an_underscore_for_the_plus() {
        assert_eq!(tag("1.0.0-rc1+build.5"), "1.0.0-rc1_build.5");
        assert_eq!(of_tag("1.0.0-rc1_build.5"), "1.0.0-rc1+build.5");
    }
}
