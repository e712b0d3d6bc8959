//! Versions of packages as apk has them: `1.2.3b_rc1_p2-r4`.

use std::cmp::Ordering;

/// What may follow an underscore, and how it stands to a version without it.
const SUFFIXES: [(&str, i8); 9] = [("alpha", -4), ("beta", -3), ("pre", -2), ("rc", -1), ("cvs", 1), ("svn", 2), ("git", 3), ("hg", 4), ("p", 5)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts<'a> {
    numbers: &'a str,
    letter: u8,
    suffixes: &'a str,
    commit: &'a str,
    revision: Option<&'a str>,
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn parse(version: &str) -> Option<Parts<'_>> {
    let (version, revision) = match version.rsplit_once("-r") {
        Some((version, revision)) => (version, Some(revision)),
        None => (version, None),
    };
    if revision.is_some_and(|revision| revision.is_empty() || digits(revision) != revision.len()) {
        return None;
    }
    let (version, commit) = match version.split_once('~') {
        Some((_, "")) => return None,
        Some((version, commit)) if commit.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')) => (version, commit),
        Some(_) => return None,
        None => (version, ""),
    };
    let (main, suffixes) = version.split_at(version.find('_').unwrap_or(version.len()));
    let (numbers, letter) = match main.as_bytes().last() {
        Some(letter) if letter.is_ascii_lowercase() => (main.get(..main.len() - 1)?, *letter),
        _ => (main, 0),
    };
    if numbers.split('.').any(|number| number.is_empty() || digits(number) != number.len()) {
        return None;
    }
    for suffix in suffixes.split('_').skip(1) {
        rank(suffix)?;
    }
    Some(Parts { numbers, letter, suffixes, commit, revision })
}

/// What a suffix weighs, and its number.
fn rank(suffix: &str) -> Option<(i8, &str)> {
    let letters = suffix.bytes().take_while(u8::is_ascii_lowercase).count();
    let (name, number) = suffix.split_at(letters);
    let weight = SUFFIXES.iter().find(|(known, _)| *known == name)?.1;
    (digits(number) == number.len()).then_some((weight, number))
}

/// Whether apk takes this for a version.
#[must_use]
pub fn is_valid(version: &str) -> bool {
    version.len() <= 128 && parse(version).is_some()
}

/// Numbers of any length.
fn number(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// The first number counts as one; those behind it, where they begin with a zero, as digits behind a point.
fn numbers(one: &str, other: &str) -> Ordering {
    let (mut ones, mut others) = (one.split('.'), other.split('.'));
    let mut is_first = true;
    loop {
        let order = match (ones.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(other)) if !is_first && (one.starts_with('0') || other.starts_with('0')) => {
                one.trim_end_matches('0').cmp(other.trim_end_matches('0'))
            }
            (Some(one), Some(other)) => number(one, other),
        };
        if order != Ordering::Equal {
            return order;
        }
        is_first = false;
    }
}

fn suffixes(one: &str, other: &str) -> Ordering {
    let (mut ones, mut others) = (one.split('_').skip(1), other.split('_').skip(1));
    loop {
        let (one, other) = (ones.next().and_then(rank), others.next().and_then(rank));
        if one.is_none() && other.is_none() {
            return Ordering::Equal;
        }
        let ((weight, one), (other_weight, other)) = (one.unwrap_or_default(), other.unwrap_or_default());
        let order = weight.cmp(&other_weight).then_with(|| number(one, other));
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The order of two versions; what apk does not take for one comes first, by its text.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    match (parse(one), parse(other)) {
        (None, None) => one.cmp(other),
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(a), Some(b)) => numbers(a.numbers, b.numbers)
            .then_with(|| a.letter.cmp(&b.letter))
            .then_with(|| suffixes(a.suffixes, b.suffixes))
            .then_with(|| a.commit.cmp(b.commit))
            .then_with(|| number(a.revision.unwrap_or_default(), b.revision.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::{compare, is_valid};
    use proptest::prelude::*;
    use std::cmp::Ordering;

    #[test]
    fn versions_are_told_from_other_text() {
        for version in ["1", "1.2.3", "1.2.3b", "0_git20230101-r1", "1.0_rc1_p2-r4", "2.0_alpha", "1.36.1-r0", "5.1~abcdef0-r1", "20240101-r0"] {
            assert!(is_valid(version), "{version}");
        }
        for text in ["", "a", "1.", ".1", "1..2", "1.2-r", "1.2-rx", "1_foo", "1.2B", "1.2_rc1x", "1 2", "1/2", "1~", "1~xyz", "-r1"] {
            assert!(!is_valid(text), "{text}");
        }
    }

    #[test]
    fn the_order_is_that_of_apk() {
        // All of apk's own tests were tried once; these are of their kinds.
        let ordered = [
            "0.1.0_alpha_pre2",
            "0.1.0_alpha",
            "0.1.0_alpha2",
            "0.1.0_beta",
            "0.1.0",
            "0.1.0_p1",
            "0.1.0a",
            "0.9",
            "1.0_rc1",
            "1.0",
            "1.0-r1",
            "1.0-r10",
            "1.0.1",
            "1.1",
            "2.0",
            "2.0.1",
            "2.10",
            "13.0",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("1.0-r0", "1.0"), Ordering::Equal);
        assert_eq!(compare("1.0.01", "1.0.1"), Ordering::Less);
    }

    proptest! {
        #[test]
        fn any_text_is_compared(one in "[0-9a-z._~r-]{0,12}", other in "[0-9a-z._~r-]{0,12}") {
            prop_assert_eq!(compare(&one, &other), compare(&other, &one).reverse());
            prop_assert_eq!(compare(&one, &one), Ordering::Equal);
        }
    }
}
