//! The format's own settings of a repository.

use entrepot_kit::{Access, Error, Query, Repository, Result, Timestamp};
use serde_json::Value;

/// Which versions are taken: `releases`, `snapshots`, or both.
pub(crate) const VERSIONS: &str = "versions";
/// Whether other bytes may take the place of a release's file. The same bytes may always be sent again.
pub(crate) const REDEPLOY: &str = "redeploy";

/// Hours after its first file at which a release takes no more.
pub(crate) const SEAL_AFTER: &str = "seal_after_hours";
/// What a release must have that comes by a stage or a bundle.
pub(crate) const CHECKS: &str = "release_checks";
/// Which builds of snapshots go.
pub(crate) const SNAPSHOTS: &str = "snapshots";

/// Whether a proxy asks its upstream only for what that says it can have (`.meta/prefixes.txt`).
pub(crate) const UPSTREAM_PREFIXES: &str = "upstream_prefixes";

/// The names of all settings.
pub(crate) const NAMES: [&str; 6] = [VERSIONS, REDEPLOY, SEAL_AFTER, CHECKS, SNAPSHOTS, UPSTREAM_PREFIXES];

const CHOICES: [(&str, &[&str]); 3] =
    [(VERSIONS, &["mixed", "releases", "snapshots"]), (REDEPLOY, &["deny", "allow"]), (UPSTREAM_PREFIXES, &["use", "ignore"])];
const SIGNATURES: &str = "signatures";
const SOURCES: &str = "sources";
const JAVADOC: &str = "javadoc";

/// Most hours and days of any setting: a hundred years.
const MOST_HOURS: u64 = 876_000;
const MOST_DAYS: u64 = 36_500;
/// Most builds that are kept by number.
const MOST_BUILDS: u64 = 10_000;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Checks the settings.
pub(crate) fn check(settings: &Value) -> Result<()> {
    for (name, choices) in CHOICES {
        if let Some(value) = settings.get(name)
            && !value.as_str().is_some_and(|value| choices.contains(&value))
        {
            return Err(Error::bad_request(format!("the setting {name:?} is one of {choices:?}, not {value}")));
        }
    }
    if let Some(value) = settings.get(SEAL_AFTER)
        && !value.as_u64().is_some_and(|hours| (1..=MOST_HOURS).contains(&hours))
    {
        return Err(Error::bad_request(format!("the setting {SEAL_AFTER:?} is a number of hours from 1 to {MOST_HOURS}, not {value}")));
    }
    if let Some(value) = settings.get(CHECKS) {
        let malformed = || Error::bad_request(format!("the setting {CHECKS:?} is a list of {SIGNATURES:?}, {SOURCES:?} and {JAVADOC:?}, not {value}"));
        let names = value.as_array().ok_or_else(malformed)?.iter().map(Value::as_str).collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
        names.into_iter().try_fold(Checks::default(), |checks, name| checks.with(name)).ok_or_else(malformed)?;
    }
    SnapshotRules::read(settings).map(drop)
}

/// What a release must have that comes as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checks {
    /// A signature of each file.
    pub(crate) signatures: bool,
    /// The sources of a jar.
    pub(crate) sources: bool,
    /// The javadoc of a jar.
    pub(crate) javadoc: bool,
}

impl Checks {
    fn with(self, name: &str) -> Option<Self> {
        match name {
            SIGNATURES => Some(Self { signatures: true, ..self }),
            SOURCES => Some(Self { sources: true, ..self }),
            JAVADOC => Some(Self { javadoc: true, ..self }),
            _ => None,
        }
    }

    /// What the repository demands, and what the caller asks for besides: `?require=signatures,sources`.
    ///
    /// # Errors
    /// 400 for what cannot be asked for.
    pub(crate) fn of<A: Access>(repository: &Repository<A>, query: &Query) -> Result<Self> {
        let mut checks = Self::default();
        for name in repository.setting::<Vec<String>>(CHECKS).unwrap_or_default() {
            checks = checks.with(&name).unwrap_or(checks);
        }
        for name in query.get("require").unwrap_or_default().split(',').filter(|name| !name.is_empty()) {
            let refused = || Error::bad_request(format!("\"require\" is a list of {SIGNATURES}, {SOURCES} and {JAVADOC}, not {name:?}"));
            checks = checks.with(name).ok_or_else(refused)?;
        }
        Ok(checks)
    }
}

/// Which builds of snapshots go. Times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SnapshotRules {
    /// The newest of each snapshot that stay whatever their age.
    pub(crate) keep: Option<usize>,
    /// What came less long ago stays.
    pub(crate) older_than: Option<i64>,
    /// A snapshot goes so long after its release.
    pub(crate) released: Option<i64>,
}

impl SnapshotRules {
    /// Reads the setting.
    ///
    /// # Errors
    /// 400 naming the field.
    pub(crate) fn read(settings: &Value) -> Result<Self> {
        let Some(value) = settings.get(SNAPSHOTS) else { return Ok(Self::default()) };
        let refused = |what: &str| Error::bad_request(format!("the setting {SNAPSHOTS:?}{what}"));
        let fields = value.as_object().ok_or_else(|| refused(" is a table, such as { keep = 5, older_than_days = 30, released_days = 7 }"))?;
        let mut rules = Self::default();
        for (name, value) in fields {
            let number = |least: u64, most: u64| {
                let number = value.as_u64().filter(|number| (least..=most).contains(number));
                number.ok_or_else(|| refused(&format!(": {name:?} is a number from {least} to {most}, not {value}")))
            };
            let days = |least: u64| number(least, MOST_DAYS).map(|days| i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(DAY));
            match name.as_str() {
                "keep" => rules.keep = usize::try_from(number(1, MOST_BUILDS)?).ok(),
                "older_than_days" => rules.older_than = Some(days(1)?),
                "released_days" => rules.released = Some(days(0)?),
                other => return Err(refused(&format!(" has no {other:?}: keep, older_than_days and released_days are its fields"))),
            }
        }
        Ok(rules)
    }

    /// Whether anything goes.
    pub(crate) fn is_needed(&self) -> bool {
        *self != Self::default()
    }
}

/// Whether a release that began then takes no more files by its age; the hours that it had.
pub(crate) fn sealed_by_age<A: Access>(repository: &Repository<A>, published: Timestamp) -> Option<u64> {
    let hours = repository.setting::<u64>(SEAL_AFTER)?;
    let age = i64::try_from(hours).unwrap_or(i64::MAX).saturating_mul(HOUR);
    (repository.now().0.saturating_sub(published.0) >= age).then_some(hours)
}

/// Whether versions of that kind are taken.
///
/// # Errors
/// 409 for one that is not.
pub(crate) fn check_version<A: Access>(repository: &Repository<A>, version: &str) -> Result<()> {
    let is_snapshot = crate::version::is_snapshot(version);
    match repository.setting::<String>(VERSIONS).as_deref() {
        Some("releases") if is_snapshot => {
            let why = format!("{version} is a snapshot, and this repository takes releases only: deploy it to another (<snapshotRepository>)");
            Err(Error::conflict(why).with_reason("This repository takes releases only"))
        }
        Some("snapshots") if !is_snapshot => {
            let why = format!("{version} is a release, and this repository takes snapshots only: deploy it to another (<repository>)");
            Err(Error::conflict(why).with_reason("This repository takes snapshots only"))
        }
        _ => Ok(()),
    }
}

/// Whether files of releases may be replaced.
pub(crate) fn replaces<A: Access>(repository: &Repository<A>) -> bool {
    repository.setting::<String>(REDEPLOY).as_deref() == Some("allow")
}

/// Whether what an upstream says of its paths counts.
pub(crate) fn uses_prefixes(settings: &Value) -> bool {
    settings.get(UPSTREAM_PREFIXES).and_then(Value::as_str) != Some("ignore")
}

#[cfg(test)]
mod tests {
    use super::check;
    use serde_json::json;

    #[test]
    fn settings_are_checked() {
        let all = json!({
            "versions": "releases", "redeploy": "allow", "seal_after_hours": 24, "release_checks": ["signatures", "sources", "javadoc"],
            "snapshots": {"keep": 5, "older_than_days": 30, "released_days": 0},
        });
        assert!(check(&all).is_ok() && check(&json!({})).is_ok());
        for bad in [
            json!({"versions": "all"}),
            json!({"redeploy": true}),
            json!({"versions": ["releases"]}),
            json!({"seal_after_hours": 0}),
            json!({"seal_after_hours": "24h"}),
            json!({"release_checks": "signatures"}),
            json!({"release_checks": ["all"]}),
            json!({"snapshots": 5}),
            json!({"snapshots": {"keep": 0}}),
            json!({"snapshots": {"age": 1}}),
        ] {
            assert_eq!(check(&bad).map_err(|error| error.status().as_u16()), Err(400), "{bad}");
        }
    }
}
