//! The order of versions, as rpm has it.

use std::cmp::Ordering;

/// Compares two versions or releases.
#[must_use]
pub fn compare_parts(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        one = skip(one);
        other = skip(other);
        // Before everything, even the end.
        match (one.split_first(), other.split_first()) {
            (Some((b'~', rest)), Some((b'~', behind))) => {
                (one, other) = (rest, behind);
                continue;
            }
            (Some((b'~', _)), _) => return Ordering::Less,
            (_, Some((b'~', _))) => return Ordering::Greater,
            // Behind the end, and before everything else.
            (Some((b'^', rest)), Some((b'^', behind))) => {
                (one, other) = (rest, behind);
                continue;
            }
            (Some((b'^', _)), None) => return Ordering::Greater,
            (None, Some((b'^', _))) => return Ordering::Less,
            (Some((b'^', _)), Some(_)) => return Ordering::Less,
            (Some(_), Some((b'^', _))) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (Some(_), None) => return Ordering::Greater,
            (None, Some(_)) => return Ordering::Less,
            (Some((first, _)), Some((second, _))) => match (first.is_ascii_digit(), second.is_ascii_digit()) {
                (true, false) => return Ordering::Greater,
                (false, true) => return Ordering::Less,
                (is_number, _) => {
                    let (left, rest) = segment(one, is_number);
                    let (right, behind) = segment(other, is_number);
                    let order = if is_number { numeric(left, right) } else { left.cmp(right) };
                    if order != Ordering::Equal {
                        return order;
                    }
                    (one, other) = (rest, behind);
                }
            },
        }
    }
}

/// What stands between segments is of no matter.
fn skip(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'^')).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

fn segment(text: &[u8], is_number: bool) -> (&[u8], &[u8]) {
    let is_part = |byte: &u8| if is_number { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
    text.split_at(text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len()))
}

fn numeric(one: &[u8], other: &[u8]) -> Ordering {
    let plain = |digits: &[u8]| digits.iter().position(|digit| *digit != b'0').map_or(digits.len(), |start| start);
    let (one, other) = (one.get(plain(one)..).unwrap_or_default(), other.get(plain(other)..).unwrap_or_default());
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// Compares the names of versions: `1:2.0-3.el9.x86_64`, perhaps with `@` and a folder.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    let (left, right) = (parts(one), parts(other));
    let epochs = numeric(left.0.as_bytes(), right.0.as_bytes());
    epochs.then_with(|| compare_parts(left.1, right.1)).then_with(|| compare_parts(left.2, right.2)).then_with(|| one.cmp(other))
}

/// Epoch, version and release.
fn parts(name: &str) -> (&str, &str, &str) {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let name = name.rsplit_once('.').map_or(name, |(evr, _)| evr);
    let (epoch, rest) = name.split_once(':').unwrap_or(("", name));
    let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, version, release)
}

#[cfg(test)]
mod tests {
    use super::{compare, compare_parts};
    use std::cmp::Ordering::{Equal, Greater, Less};

    #[test]
    fn parts_are_ordered_as_rpm_does() {
        // rpm's own examples (tests/rpmvercmp.at).
        for (one, other, order) in [
            ("1.0", "1.0", Equal),
            ("1.0", "2.0", Less),
            ("2.0.1", "2.0.1", Equal),
            ("2.0", "2.0.1", Less),
            ("2.0.1a", "2.0.1", Greater),
            ("5.5p1", "5.5p2", Less),
            ("5.5p10", "5.5p1", Greater),
            ("10xyz", "10.1xyz", Less),
            ("xyz10", "xyz10.1", Less),
            ("xyz.4", "8", Less),
            ("5.6p1", "6.5p1", Less),
            ("6.0.rc1", "6.0", Greater),
            ("10b2", "10a1", Greater),
            ("1.0aa", "1.0a", Greater),
            ("10.0001", "10.0039", Less),
            ("10.0001", "10.1", Equal),
            ("4.999.9", "5.0", Less),
            ("20101121", "20101122", Less),
            ("2_0", "2.0", Equal),
            ("a+", "a_", Equal),
            ("+", "_", Equal),
            ("1.0~rc1", "1.0", Less),
            ("1.0~rc1~git123", "1.0~rc1", Less),
            ("1.0^", "1.0", Greater),
            ("1.0^git1", "1.01", Less),
            ("1.0^20160101", "1.0.1", Less),
            ("1.0^20160101^git1", "1.0^20160102", Less),
            ("1.0~rc1^git1", "1.0~rc1", Greater),
            ("1.0^git1~pre", "1.0^git1", Less),
        ] {
            assert_eq!(compare_parts(one, other), order, "{one} and {other}");
            assert_eq!(compare_parts(other, one), order.reverse(), "{other} and {one}");
        }
    }

    #[test]
    fn names_are_ordered_by_epoch_first() {
        assert_eq!(compare("1:1.0-1.x86_64", "2.0-1.x86_64"), Greater);
        assert_eq!(compare("1.0-2.x86_64@el9", "1.0-10.x86_64@el9"), Less);
        assert_eq!(compare("1.0-1.x86_64", "1.0-1.x86_64"), Equal);
    }
}
