//! Reading the headers of an answer.

use std::time::Duration;

use entrepot_kit::Timestamp;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, LINK, RETRY_AFTER};

/// A header as text; `None` when it is absent or not visible ASCII.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// `Content-Length`.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// All encodings but `identity`.
pub(super) fn encodings(headers: &HeaderMap) -> Option<String> {
    let all: Vec<_> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|value| value.to_str().unwrap_or("unreadable"))
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"))
        .collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Longest target of a link.
const MOST_LINK: usize = 4096;

/// The target of `Link: <…>; rel="next"`, as it stands there.
pub(super) fn next_page(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split('<').skip(1)).find_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let is_next = parameters.split([';', ',']).filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        (is_next && !target.is_empty() && target.len() <= MOST_LINK).then(|| target.to_owned())
    })
}

/// The number at the beginning of a rate limit's header: `100;w=21600`.
pub(super) fn allowance(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.split(';').next()?.trim().parse().ok().filter(|count| *count >= 0)
}

/// Seconds, or a date: that is compared with the upstream's own clock, so that ours need not agree with it.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?;
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let (until, now) = (parse_http_date(&value)?, parse_http_date(&text(headers, DATE)?)?);
    u64::try_from(until.seconds().saturating_sub(now.seconds())).ok().map(Duration::from_secs)
}

fn parse_http_date(value: &str) -> Option<Timestamp> {
    let time = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S GMT", value.trim()).ok()?;
    let time = time.to_datetime().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp(time.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::{allowance, next_page};
    use http::header::{HeaderMap, HeaderName, HeaderValue};

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        for (value, expected) in [
            ("</v2/a/tags/list?last=x&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=x&n=2")),
            ("<https://r.example/?a=1,2>; title=\"x\"; rel=next", Some("https://r.example/?a=1,2")),
            ("</first>; rel=\"first\", </next>; REL=\"prev next\"", Some("/next")),
            ("</first>; rel=\"first\"", None),
            ("/next; rel=next", None),
            ("<>; rel=next", None),
        ] {
            assert_eq!(next_page(&headers("link", value)).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn allowances_are_numbers() {
        for (value, expected) in [("100;w=21600", Some(100)), (" 7 ", Some(7)), ("-1", None), ("many", None), ("", None)] {
            assert_eq!(allowance(&headers("ratelimit-limit", value), "ratelimit-limit"), expected, "{value}");
        }
    }
}
