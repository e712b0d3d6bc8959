//! The order of versions by which Maven resolves: that of the resolver's `GenericVersion`.
//!
//! Maven has a second order (`ComparableVersion`) that differs in corners; ranges, `latest` and `release` follow this one. It is not
//! transitive for all texts that somebody can think of, so that lists are sorted by [`sort`], which takes any comparison.

use std::cmp::Ordering;

/// A part of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// `min` at the end: before everything.
    Min,
    /// A qualifier whose place is known, relative to the release.
    Known(i32),
    /// Any other text, in lower case.
    Text(String),
    /// A number, without zeros before it.
    Number(String),
    /// `max` at the end: behind everything.
    Max,
}

const ALPHA: i32 = -5;
const BETA: i32 = -4;
const MILESTONE: i32 = -3;

/// The place of a qualifier; 0 is that of the release itself.
fn known(text: &str) -> Option<i32> {
    Some(match text {
        "alpha" => ALPHA,
        "beta" => BETA,
        "milestone" => MILESTONE,
        "cr" | "rc" => -2,
        "snapshot" => -1,
        "ga" | "final" | "release" => 0,
        "sp" => 1,
        _ => return None,
    })
}

impl Item {
    fn is_number(&self) -> bool {
        !matches!(self, Self::Known(_) | Self::Text(_))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Min => 0,
            Self::Known(_) => 2,
            Self::Text(_) => 3,
            Self::Number(_) => 4,
            Self::Max => 8,
        }
    }

    /// Against what stands for nothing: 0, or the release.
    fn against_nothing(&self) -> Ordering {
        match self {
            Self::Min => Ordering::Less,
            Self::Known(place) => place.cmp(&0),
            Self::Text(_) | Self::Max => Ordering::Greater,
            Self::Number(digits) => {
                if digits == "0" {
                    Ordering::Equal
                } else {
                    Ordering::Greater
                }
            }
        }
    }

    fn against(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Known(one), Self::Known(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Number(one), Self::Number(other)) => one.len().cmp(&other.len()).then_with(|| one.cmp(other)),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// What kind of characters a token has so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Empty,
    Letters,
    Digits,
}

fn items(version: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut token = String::new();
    let mut kind = Token::Empty;
    let mut characters = version.chars().peekable();
    if version.is_empty() {
        return vec![Item::Number(String::from("0"))];
    }
    while let Some(character) = characters.next() {
        let is_last = characters.peek().is_none();
        if matches!(character, '.' | '-' | '_') {
            items.push(item(&token, kind, false, is_last));
            (token, kind) = (String::new(), Token::Empty);
            continue;
        }
        let new = if character.is_ascii_digit() { Token::Digits } else { Token::Letters };
        if kind != Token::Empty && kind != new {
            items.push(item(&token, kind, kind == Token::Letters, false));
            token = String::new();
        }
        kind = new;
        token.push(character);
        if is_last {
            items.push(item(&token, kind, false, true));
        }
    }
    trim(&mut items);
    items
}

fn item(token: &str, kind: Token, before_number: bool, is_last: bool) -> Item {
    match kind {
        Token::Empty => Item::Number(String::from("0")),
        Token::Digits => {
            let digits = token.trim_start_matches('0');
            Item::Number(if digits.is_empty() { String::from("0") } else { digits.to_owned() })
        }
        Token::Letters => {
            let token = token.to_lowercase();
            match token.as_str() {
                "min" if is_last => Item::Min,
                "max" if is_last => Item::Max,
                "a" if before_number => Item::Known(ALPHA),
                "b" if before_number => Item::Known(BETA),
                "m" if before_number => Item::Known(MILESTONE),
                _ => known(&token).map_or(Item::Text(token), Item::Known),
            }
        }
    }
}

/// Takes away what means nothing before each change between numbers and words, and at the end.
fn trim(items: &mut Vec<Item>) {
    let mut number = None;
    let mut end = items.len().saturating_sub(1);
    let mut at = end;
    while at > 0 {
        let Some(item) = items.get(at) else { break };
        let is_number = item.is_number();
        if number != Some(is_number) {
            end = at;
            number = Some(is_number);
        }
        let follows_own_kind = at + 1 == items.len() || items.get(at - 1).is_some_and(|before| before.is_number() == is_number);
        if end == at && follows_own_kind && item.against_nothing() == Ordering::Equal {
            items.remove(at);
            end = end.saturating_sub(1);
        }
        at -= 1;
    }
}

/// The rest of a version against nothing; `number` passes over what is of the other kind.
fn rest(items: &[Item], number: Option<bool>) -> Ordering {
    let counted = items.iter().filter(|item| number.is_none_or(|number| number == item.is_number()));
    counted.map(Item::against_nothing).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// A version that was taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed(Vec<Item>);

impl Parsed {
    /// Takes a version apart.
    #[must_use]
    pub fn of(version: &str) -> Self {
        Self(items(version))
    }

    /// Compares two versions.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        compare_items(&self.0, &other.0)
    }

    /// Whether it is one of those among which the order is transitive: there it does not matter in which order a list was sorted, and a
    /// version has one place in it. After its first item no run of numbers or words ends with one that means nothing, and nothing stands for
    /// the end of all: then any two differ first where each item, and the end, has its place by what stands before it alone.
    #[must_use]
    pub fn is_ordinary(&self) -> bool {
        let rest = self.0.get(1..).unwrap_or_default();
        let ends = self.0.iter().zip(rest.iter().map(Some).chain([None])).skip(1);
        let mut ends = ends.filter(|(item, next)| next.is_none_or(|next| next.is_number() != item.is_number()));
        rest.iter().all(|item| !matches!(item, Item::Min | Item::Max | Item::Known(0))) && ends.all(|(item, _)| item.against_nothing().is_ne())
    }
}

/// Compares two versions.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    compare_items(&items(one), &items(other))
}

fn compare_items(these: &[Item], those: &[Item]) -> Ordering {
    let mut number = true;
    for at in 0.. {
        let (mine, yours) = (these.get(at..).unwrap_or_default(), those.get(at..).unwrap_or_default());
        let (this, that) = match (mine.first(), yours.first()) {
            (None, None) => break,
            (None, Some(_)) => return rest(yours, None).reverse(),
            (Some(_), None) => return rest(mine, None),
            (Some(this), Some(that)) => (this, that),
        };
        if this.is_number() != that.is_number() {
            if at == 0 {
                return this.against(that);
            }
            return if number == this.is_number() { rest(mine, Some(number)) } else { rest(yours, Some(number)).reverse() };
        }
        let order = this.against(that);
        if order.is_ne() {
            return order;
        }
        number = this.is_number();
    }
    Ordering::Equal
}

/// Sorts by [`compare`], the lowest first; equal ones keep their order.
#[must_use]
pub fn sort<T>(list: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    let parsed = list.into_iter().map(|item| (Parsed::of(name(&item)), item)).collect();
    sort_parsed(parsed).into_iter().map(|(_, item)| item).collect()
}

fn sort_parsed<T>(mut list: Vec<(Parsed, T)>) -> Vec<(Parsed, T)> {
    if list.len() < 2 {
        return list;
    }
    let second = list.split_off(list.len() / 2);
    let (first, second) = (sort_parsed(list), sort_parsed(second));
    let mut joined = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    loop {
        let takes_second = match (first.peek(), second.peek()) {
            (Some((one, _)), Some((other, _))) => one.compare(other).is_gt(),
            (None, Some(_)) => true,
            (_, None) => break,
        };
        joined.extend(if takes_second { second.next() } else { first.next() });
    }
    joined.extend(first);
    joined
}

/// Whether it names what is still being worked on.
#[must_use]
pub fn is_snapshot(version: &str) -> bool {
    let ending = version.len().checked_sub("SNAPSHOT".len()).and_then(|at| version.get(at..));
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case("SNAPSHOT"))
}

#[cfg(test)]
mod tests {
    use super::{Parsed, compare, is_snapshot, sort};
    use proptest::prelude::*;
    use std::cmp::Ordering;

    /// Measured with the resolver's own classes.
    const ASCENDING: [&[&str]; 10] = [
        &["1-alpha-1", "1-beta", "1-milestone-2", "1-rc1", "1-SNAPSHOT", "1", "1-sp", "1-foo", "1.1"],
        &["1.0-alpha-1", "1.0-alpha-2", "1.0-beta-1", "1.0-rc-1", "1.0", "1.0-sp", "1.0.1"],
        &["0.9", "1", "1.0.1", "1.1", "1.2", "1.10", "2", "10", "99999999999", "100000000000000000000"],
        &["1.0-SNAPSHOT", "1.0", "1.0.1-SNAPSHOT", "1.0.1"],
        &["1.0.0.RC1", "1.0.0.RC2", "1.0.0.RELEASE", "1.0.0.SP1"],
        &["2.0.0.M1", "2.0.0.M2", "2.0.0.RC1", "2.0.0"],
        &["1.min", "1", "1.1", "1.max"],
        &["31.0-android", "31.0-jre", "31.1-android"],
        &["4.1.0.Alpha1", "4.1.0.Beta1", "4.1.0.CR1", "4.1.0.Final", "4.1.1.Final"],
        &["20030203.000129", "20040616"],
    ];
    const EQUAL: [&[&str]; 6] = [
        &["1", "1.0", "1.0.0", "1-0", "1_0", "1-ga", "1.0.0-final", "1.0.RELEASE"],
        &["1-alpha-1", "1a1", "1.alpha.1", "1-ALPHA-1"],
        &["1-m2", "1-milestone-2", "1m2"],
        &["1-rc1", "1-cr1", "1rc1"],
        &["1-1", "1.1", "1_1", "01.01"],
        &["", "0"],
    ];

    #[test]
    fn known_orders() {
        for list in ASCENDING {
            for (at, one) in list.iter().enumerate() {
                for (other_at, other) in list.iter().enumerate() {
                    assert_eq!(compare(one, other), at.cmp(&other_at), "{one} {other}");
                }
            }
        }
        for list in EQUAL {
            for one in list {
                for other in list {
                    assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
                }
            }
        }
    }

    #[test]
    fn what_people_write_is_ordinary() {
        for version in ["1", "1.0", "1.0.0.Final", "r09", "2.0.0.M1", "1.0-SNAPSHOT", "31.0-jre", "20040616", "1.0-rc-1", "0.0.1", "1.0.0-beta.2", ""] {
            assert!(Parsed::of(version).is_ordinary(), "{version}");
        }
        for version in ["1.max", "1-final-1", "1-foo-0-bar", "1.min"] {
            assert!(!Parsed::of(version).is_ordinary(), "{version}");
        }
    }

    #[test]
    fn snapshots_are_told() {
        assert!(is_snapshot("1-SNAPSHOT") && is_snapshot("1-snapshot") && is_snapshot("SNAPSHOT"));
        assert!(!is_snapshot("1") && !is_snapshot("SNAPSHOT-1") && !is_snapshot("é"));
    }

    proptest! {
        #[test]
        fn ordinary_versions_have_one_order(list in proptest::collection::vec("(a|foo|sp|rc|final|0|00|1|2|10|min|max)([-.]?(a|foo|sp|rc|final|0|1|2|max)){0,5}", 3..20)) {
            let ordinary: Vec<(Parsed, String)> = list.into_iter().map(|name| (Parsed::of(&name), name)).filter(|(parsed, _)| parsed.is_ordinary()).collect();
            for (one, _) in &ordinary {
                for (other, _) in &ordinary {
                    prop_assert_eq!(one.compare(other) == Ordering::Equal, one == other);
                    for (third, _) in ordinary.iter().filter(|_| one.compare(other).is_le()) {
                        prop_assert!(!other.compare(third).is_le() || one.compare(third).is_le(), "{:?} {:?} {:?}", one, other, third);
                    }
                }
            }
        }

        #[test]
        fn any_text_is_compared_and_sorted(list in proptest::collection::vec("[a-z0-9._é-]{0,12}", 0..40)) {
            for one in &list {
                prop_assert_eq!(compare(one, one), Ordering::Equal);
                for other in &list {
                    prop_assert_eq!(compare(one, other), compare(other, one).reverse());
                }
            }
            prop_assert_eq!(sort(list.clone(), |name| name).len(), list.len());
        }
    }
}
