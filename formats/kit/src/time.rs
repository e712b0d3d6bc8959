//! Points in time, in milliseconds since 1970, and the spellings that clients use.

use std::time::{Duration, SystemTime};

/// A point in time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-11-23T12:00:00.000Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0).map_or_else(|_| String::from("1970-01-01T00:00:00.000Z"), |t| format!("{t:.3}"))
    }

    /// Reads RFC 3339; digits below milliseconds are dropped. `None` for anything else.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_millisecond()))
    }

    /// The date form of HTTP headers (RFC 9110, 5.6.7): `Mon, 23 Nov 2026 12:00:00 GMT`.
    #[must_use]
    pub fn http_date(self) -> String {
        jiff::Timestamp::from_millisecond(self.0).map_or_else(|_| String::new(), |t| t.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }

    /// Reads the view suffixes of an address: `20261101` or `20261101t120000z`, both in UTC.
    ///
    /// A day alone means its end, so that the view holds everything of that day.
    #[must_use]
    pub fn parse_compact(text: &str) -> Option<Self> {
        let text = text.to_ascii_uppercase();
        let (date, time) = text.split_once('T').unwrap_or((&text, ""));
        let number = |part: Option<&str>| part.filter(|p| p.bytes().all(|b| b.is_ascii_digit())).and_then(|p| p.parse::<i8>().ok());
        let date = jiff::civil::Date::new(
            date.get(0..4).filter(|y| y.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?,
            number(date.get(4..6))?,
            number(date.get(6..8).filter(|_| date.len() == 8))?,
        )
        .ok()?;
        let at = if time.is_empty() {
            if text.contains('T') {
                return None;
            }
            date.at(23, 59, 59, 999_000_000)
        } else {
            let digits = time.strip_suffix('Z').filter(|d| d.len() == 6)?;
            let (hour, minute, second) = (number(digits.get(0..2))?, number(digits.get(2..4))?, number(digits.get(4..6))?);
            jiff::civil::Time::new(hour, minute, second, 999_000_000).ok()?.on(date.year(), date.month(), date.day())
        };
        at.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|t| Self(t.timestamp().as_millisecond()))
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time `milliseconds` later (or earlier when negative), saturating.
    #[must_use]
    pub fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn spellings_agree() {
        let time = Timestamp::parse_rfc3339("2026-11-23T12:34:56.789Z");
        assert_eq!(time.map(Timestamp::rfc3339).as_deref(), Some("2026-11-23T12:34:56.789Z"));
        assert_eq!(time.map(Timestamp::http_date).as_deref(), Some("Mon, 23 Nov 2026 12:34:56 GMT"));
        assert_eq!(Timestamp::parse_compact("20261123t123456z").map(Timestamp::rfc3339).as_deref(), Some("2026-11-23T12:34:56.999Z"));
        assert_eq!(Timestamp::parse_compact("20261123").map(Timestamp::rfc3339).as_deref(), Some("2026-11-23T23:59:59.999Z"));
    }

    #[test]
    fn nonsense_is_no_time() {
        for text in ["", "2026", "20261341", "20261101t", "20261101t1200z", "+0261101", "20261101z", "2026110é"] {
            assert_eq!(Timestamp::parse_compact(text), None, "{text}");
        }
    }
}
