//! The format's own settings of a repository.

use entrepot_kit::{Access, Error, Repository, Result};
use serde_json::Value;

/// Which versions are taken: `releases`, `snapshots`, or both.
pub(crate) const VERSIONS: &str = "versions";
/// Whether other bytes may take the place of a release's file. The same bytes may always be sent again.
pub(crate) const REDEPLOY: &str = "redeploy";

/// Whether a proxy asks its upstream only for what that says it can have (`.meta/prefixes.txt`).
pub(crate) const UPSTREAM_PREFIXES: &str = "upstream_prefixes";

/// The names of all settings.
pub(crate) const NAMES: [&str; 3] = [VERSIONS, REDEPLOY, UPSTREAM_PREFIXES];

const CHOICES: [(&str, &[&str]); 3] =
    [(VERSIONS, &["mixed", "releases", "snapshots"]), (REDEPLOY, &["deny", "allow"]), (UPSTREAM_PREFIXES, &["use", "ignore"])];

/// Checks the settings.
pub(crate) fn check(settings: &Value) -> Result<()> {
    for (name, choices) in CHOICES {
        if let Some(value) = settings.get(name)
            && !value.as_str().is_some_and(|value| choices.contains(&value))
        {
            return Err(Error::bad_request(format!("the setting {name:?} is one of {choices:?}, not {value}")));
        }
    }
    Ok(())
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
        assert!(check(&json!({"versions": "releases", "redeploy": "allow"})).is_ok() && check(&json!({})).is_ok());
        for bad in [json!({"versions": "all"}), json!({"redeploy": true}), json!({"versions": ["releases"]})] {
            assert_eq!(check(&bad).map_err(|error| error.status().as_u16()), Err(400), "{bad}");
        }
    }
}
