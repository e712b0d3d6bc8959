//! Conditional and range requests (RFC 9110, 13 and 14) as pure functions of headers.

use std::ops::Range;

/// Whether an `If-None-Match` value names the representation: `*`, or one of its tags, compared weakly. Container clients send digests
/// without quotes.
pub(crate) fn none_match(header: &str, etags: &[&str]) -> bool {
    header.trim() == "*"
        || header.split(',').any(|candidate| {
            let candidate = candidate.trim();
            let opaque = candidate.strip_prefix("W/").unwrap_or(candidate);
            match opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                Some(tag) => etags.contains(&tag),
                None => opaque.contains(':') && etags.contains(&opaque),
            }
        })
}

/// Whether an `If-Range` validator is the representation's own: a strong tag, or its exact date.
pub(crate) fn range_applies(if_range: Option<&str>, etag: Option<&str>, last_modified: &str) -> bool {
    match if_range.map(str::trim) {
        None => true,
        Some(value) if value.starts_with("W/") => false,
        Some(value) if value.starts_with('"') => etag.is_some_and(|etag| value.trim_matches('"') == etag),
        Some(value) => value == last_modified,
    }
}

/// What a `Range` header asks of a body of known length.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: no range, an unknown unit, or several ranges, which a server may ignore.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing that exists.
    Unsatisfiable,
}

/// Reads a `Range` header. Malformed ones are ignored, as the specification wants; one that ends before it begins cannot be satisfied.
pub(crate) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Wanted::Whole };
    let Some((first, last)) = spec.trim().split_once('-').filter(|(_, last)| !last.contains(',')) else { return Wanted::Whole };
    let number = |text: &str| (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u64>().unwrap_or(u64::MAX));
    match (first.is_empty(), last.is_empty()) {
        (true, false) => match number(last) {
            None => Wanted::Whole,
            Some(0) => Wanted::Unsatisfiable,
            Some(_) if size == 0 => Wanted::Unsatisfiable,
            Some(suffix) => Wanted::Part(size.saturating_sub(suffix)..size),
        },
        (false, open) => match (number(first), if open { Some(u64::MAX) } else { number(last) }) {
            (Some(first), Some(last)) if first > last => Wanted::Unsatisfiable,
            (Some(first), Some(last)) => {
                if first < size {
                    Wanted::Part(first..last.saturating_add(1).min(size))
                } else {
                    Wanted::Unsatisfiable
                }
            }
            _ => Wanted::Whole,
        },
        (true, true) => Wanted::Whole,
    }
}

/// Whether `Accept-Encoding` takes gzip: named (or `*`) with a weight above 0.
pub(crate) fn accepts_gzip(header: Option<&str>) -> bool {
    let mut star = false;
    for coding in header.unwrap_or_default().split(',') {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| parameter.strip_prefix("q=").is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0)));
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            return !refused;
        }
        star |= name == "*" && !refused;
    }
    star
}

#[cfg(test)]
mod tests {
    use super::{Wanted, accepts_gzip, none_match, range_applies, wanted};

    #[test]
    fn ranges() {
        for (header, size, expected) in [
            ("bytes=0-0", 10, Wanted::Part(0..1)),
            ("bytes=5-", 10, Wanted::Part(5..10)),
            ("bytes=5-100", 10, Wanted::Part(5..10)),
            ("bytes=-3", 10, Wanted::Part(7..10)),
            ("bytes=-30", 10, Wanted::Part(0..10)),
            ("bytes=10-", 10, Wanted::Unsatisfiable),
            ("bytes=-0", 10, Wanted::Unsatisfiable),
            ("bytes=0-", 0, Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Wanted::Unsatisfiable),
            ("bytes=5-4", 10, Wanted::Unsatisfiable),
            ("bytes=0-1,3-4", 10, Wanted::Whole),
            ("bytes=--1", 10, Wanted::Whole),
            ("bytes=-", 10, Wanted::Whole),
            ("bytes=a-b", 10, Wanted::Whole),
            ("lines=1-2", 10, Wanted::Whole),
        ] {
            assert_eq!(wanted(Some(header), size), expected, "{header} of {size}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
    }

    #[test]
    fn tags() {
        assert!(none_match("\"a\", W/\"b\"", &["b"]));
        assert!(none_match("*", &["x"]));
        assert!(!none_match("\"a\"", &["b"]));
        assert!(!none_match("a", &["a"]), "an unquoted tag is no tag");
        assert!(range_applies(Some("\"a\""), Some("a"), ""));
        assert!(!range_applies(Some("W/\"a\""), Some("a"), ""));
        assert!(!range_applies(Some("Mon, 01 Jan 2024 00:00:00 GMT"), Some("a"), "Tue, 02 Jan 2024 00:00:00 GMT"));
    }

    #[test]
    fn codings() {
        assert!(accepts_gzip(Some("gzip, deflate, br")));
        assert!(accepts_gzip(Some("zstd,gzip;q=0.5")));
        assert!(accepts_gzip(Some("*")));
        assert!(!accepts_gzip(Some("gzip;q=0, *")));
        assert!(!accepts_gzip(Some("identity")));
        assert!(!accepts_gzip(None));
    }
}
