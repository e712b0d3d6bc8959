//! The `retention` setting of a repository: what may go, and when.

use entrepot_kit::{Error, Format, Kind, Result};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// The name of the setting.
pub(crate) const RETENTION: &str = "retention";

/// A day in milliseconds.
const DAY: i64 = 24 * 3600 * 1000;
/// Most days of any rule: a hundred years.
const MOST_DAYS: u64 = 36_500;
/// Most versions that are kept by number.
const MOST_KEPT: u64 = 1_000_000;
/// Most patterns, and the largest compiled one in bytes.
const MOST_PATTERNS: usize = 100;
const LARGEST_PATTERN: usize = 1 << 20;
/// The fields.
const FIELDS: [&str; 6] = ["keep", "older_than_days", "not_pulled_days", "protect", "untagged_days", "history_days"];

/// What may go of a repository. Times are in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Retention {
    /// The newest of a package that stay whatever their age.
    pub keep: Option<usize>,
    /// What was published less long ago stays.
    pub older_than: Option<i64>,
    /// What was asked for less long ago stays.
    pub not_pulled: Option<i64>,
    /// Names that stay.
    pub protect: Vec<Regex>,
    /// Documents that nothing holds go when nobody touched them for so long; `None`: they stay.
    pub unheld: Option<i64>,
    /// What died longer ago is forgotten; `None`: nothing is.
    pub history: Option<i64>,
}

impl Retention {
    /// Reads the setting; without it what the format says.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn from_settings(settings: &Value, kind: Kind, format: &dyn Format) -> Result<Self> {
        let unheld = || format.unheld_days().filter(|_| kind == Kind::Hosted).map(|days| i64::from(days) * DAY);
        let Some(value) = settings.get(RETENTION) else { return Ok(Self { unheld: unheld(), ..Self::default() }) };
        let refused = |what: &str| Error::bad_request(format!("{RETENTION}{what}"));
        if kind == Kind::Group {
            return Err(refused(" belongs to hosted and proxy repositories: a group has nothing of its own"));
        }
        let fields = value.as_object().ok_or_else(|| refused(" is a table, such as { keep = 10, older_than_days = 90 }"))?;
        if let Some(unknown) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
            return Err(refused(&format!(".{unknown} is not one of: {}", FIELDS.join(", "))));
        }
        let number = |field: &str, least: u64, most: u64| {
            let wanted = || refused(&format!(".{field} is a number from {least} to {most}"));
            let Some(value) = fields.get(field) else { return Ok(None) };
            value.as_u64().filter(|number| (least..=most).contains(number)).map(Some).ok_or_else(wanted)
        };
        let days = |field: &str, least: u64| number(field, least, MOST_DAYS).map(|days| days.and_then(|days| i64::try_from(days).ok()).map(|days| days * DAY));
        let retention = Self {
            keep: number("keep", 1, MOST_KEPT)?.and_then(|keep| usize::try_from(keep).ok()),
            older_than: days("older_than_days", 1)?,
            not_pulled: days("not_pulled_days", 1)?,
            protect: patterns(fields.get("protect"))?,
            unheld: match fields.get("untagged_days") {
                None => unheld(),
                Some(Value::Bool(false)) => None,
                Some(_) if format.unheld_days().is_none() => return Err(refused(&format!(".untagged_days means nothing in a {} repository", format.id()))),
                Some(_) => days("untagged_days", 0)?.filter(|days| *days > 0),
            },
            history: days("history_days", 1)?,
        };
        match kind {
            Kind::Proxy if retention.keep.is_some() || fields.contains_key("untagged_days") => {
                Err(refused(" of a proxy is about files: use older_than_days, not_pulled_days, protect and history_days"))
            }
            _ => Ok(retention),
        }
    }

    /// Whether versions (or files) may go at all.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.keep.is_some() || self.older_than.is_some() || self.not_pulled.is_some()
    }

    /// Whether there is anything to do.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.has_rules() || self.unheld.is_some() || self.history.is_some()
    }

    /// The first pattern that protects a name.
    #[must_use]
    pub fn protected_by(&self, name: &str) -> Option<&Regex> {
        self.protect.iter().find(|pattern| pattern.is_match(name))
    }
}

fn patterns(value: Option<&Value>) -> Result<Vec<Regex>> {
    let malformed = || Error::bad_request(format!("{RETENTION}.protect is a list of at most {MOST_PATTERNS} regular expressions"));
    let Some(value) = value else { return Ok(Vec::new()) };
    let list = value.as_array().filter(|list| list.len() <= MOST_PATTERNS).ok_or_else(malformed)?;
    let pattern = |item: &Value| {
        let text = item.as_str().ok_or_else(malformed)?;
        let whole = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(LARGEST_PATTERN).build();
        whole.map_err(|error| Error::bad_request(format!("{RETENTION}.protect: {text:?} is no regular expression: {error}")))
    };
    list.iter().map(pattern).collect()
}

#[cfg(test)]
mod tests {
    use super::{DAY, Retention};
    use entrepot_format_generic::Generic;
    use entrepot_format_oci::Oci;
    use entrepot_kit::{Format, Kind};
    use serde_json::{Value, json};

    fn read(retention: &Value, kind: Kind, format: &dyn Format) -> Result<Retention, String> {
        let settings = if retention.is_null() { json!({}) } else { json!({ "retention": retention }) };
        Retention::from_settings(&settings, kind, format).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn fields_are_read() {
        let all = json!({ "keep": 10, "older_than_days": 90, "not_pulled_days": 30, "protect": ["v.*", "latest"], "untagged_days": 7, "history_days": 1 });
        let retention = read(&all, Kind::Hosted, &Oci).unwrap();
        assert_eq!((retention.keep, retention.older_than, retention.not_pulled), (Some(10), Some(90 * DAY), Some(30 * DAY)));
        assert_eq!((retention.unheld, retention.history), (Some(7 * DAY), Some(DAY)));
        assert!(retention.protected_by("v1").is_some() && retention.protected_by("latest").is_some());
        assert!(retention.protected_by("not-latest").is_none(), "a pattern takes the whole name");
    }

    #[test]
    fn the_format_says_what_the_setting_does_not() {
        assert_eq!(read(&Value::Null, Kind::Hosted, &Oci).unwrap().unheld, Some(30 * DAY));
        assert_eq!(read(&json!({ "keep": 3 }), Kind::Hosted, &Oci).unwrap().unheld, Some(30 * DAY));
        for never in [json!({ "untagged_days": 0 }), json!({ "untagged_days": false })] {
            assert_eq!(read(&never, Kind::Hosted, &Oci).unwrap().unheld, None);
        }
        assert!(!read(&Value::Null, Kind::Proxy, &Oci).unwrap().is_needed());
        assert!(!read(&Value::Null, Kind::Hosted, &Generic).unwrap().is_needed());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (retention, kind, text) in [
            (json!({ "keep": 0 }), Kind::Hosted, "retention.keep is a number from 1"),
            (json!({ "keep": "ten" }), Kind::Hosted, "retention.keep"),
            (json!({ "older_than_days": -1 }), Kind::Hosted, "retention.older_than_days"),
            (json!({ "not_pulled_days": 1.5 }), Kind::Hosted, "retention.not_pulled_days"),
            (json!({ "history_days": 0 }), Kind::Hosted, "retention.history_days is a number from 1"),
            (json!({ "protect": "latest" }), Kind::Hosted, "retention.protect is a list"),
            (json!({ "protect": ["("] }), Kind::Hosted, "\"(\" is no regular expression"),
            (json!({ "kep": 1 }), Kind::Hosted, "retention.kep is not one of"),
            (json!([]), Kind::Hosted, "retention is a table"),
            (json!({ "keep": 1 }), Kind::Proxy, "of a proxy is about files"),
            (json!({}), Kind::Group, "a group has nothing of its own"),
        ] {
            let refused = read(&retention, kind, &Oci).unwrap_err();
            assert!(refused.contains(text), "{retention}: {refused}");
        }
        assert!(read(&json!({ "untagged_days": 3 }), Kind::Hosted, &Generic).unwrap_err().contains("untagged_days means nothing in a generic repository"));
    }
}
