//! The format's own settings of a repository.

use entrepot_kit::{Access, Error, Repository, Result};
use serde::Deserialize;
use serde_json::Value;

/// In which form `index.yaml` is: `"json"` or `"yaml"`.
pub(crate) const INDEX: &str = "index";
/// Whether a version can get other bytes: `"never"`, `"force"` (when the client asks for it) or `"always"`.
pub(crate) const OVERWRITE: &str = "overwrite";
/// How long caches may give the index without asking, in seconds.
pub(crate) const INDEX_MAX_AGE: &str = "index_max_age";
/// The same for charts.
pub(crate) const CHART_MAX_AGE: &str = "chart_max_age";

/// The names of all settings.
pub(crate) const NAMES: [&str; 4] = [INDEX, OVERWRITE, INDEX_MAX_AGE, CHART_MAX_AGE];

/// The index, where nothing else is said.
const FIVE_MINUTES: u32 = 300;
/// Charts, where nothing else is said and none can change.
const YEAR: u32 = 31_536_000;

/// The form of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// JSON text.
    #[default]
    Json,
    /// YAML in block form.
    Yaml,
}

/// Whether a version can get other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OverwriteRule {
    /// Never.
    #[default]
    Never,
    /// When the client asks for it.
    Force,
    /// Whenever other bytes come.
    Always,
}

/// Checks the settings.
pub(crate) fn check(settings: &Value) -> Result<()> {
    let one_of = |name: &str, allowed: &[&str]| match settings.get(name) {
        Some(value) if !value.as_str().is_some_and(|value| allowed.contains(&value)) => {
            Err(Error::bad_request(format!("the setting {name:?} is one of {allowed:?}")))
        }
        _ => Ok(()),
    };
    one_of(INDEX, &["json", "yaml"])?;
    one_of(OVERWRITE, &["never", "force", "always"])?;
    for name in [INDEX_MAX_AGE, CHART_MAX_AGE] {
        if settings.get(name).is_some_and(|value| value.as_u64().is_none_or(|seconds| seconds > u64::from(YEAR))) {
            return Err(Error::bad_request(format!("the setting {name:?} is a number of seconds, at most {YEAR} (a year)")));
        }
    }
    Ok(())
}

/// The form of the index.
pub(crate) fn form<A: Access>(repository: &Repository<A>) -> Form {
    repository.setting(INDEX).unwrap_or_default()
}

/// Whether a version can get other bytes.
pub(crate) fn overwrite<A: Access>(repository: &Repository<A>) -> OverwriteRule {
    repository.setting(OVERWRITE).unwrap_or_default()
}

/// How long caches may give the index.
pub(crate) fn index_max_age<A: Access>(repository: &Repository<A>) -> u32 {
    repository.setting(INDEX_MAX_AGE).unwrap_or(FIVE_MINUTES)
}

/// How long caches may give a chart. One that can change is like the index.
pub(crate) fn chart_max_age<A: Access>(repository: &Repository<A>) -> u32 {
    let default = || if overwrite(repository) == OverwriteRule::Never { YEAR } else { index_max_age(repository) };
    repository.setting(CHART_MAX_AGE).unwrap_or_else(default)
}

#[cfg(test)]
mod tests {
    use super::check;
    use serde_json::json;

    #[test]
    fn settings_are_checked() {
        assert!(check(&json!({"index": "yaml", "overwrite": "force", "index_max_age": 0, "chart_max_age": 60})).is_ok());
        for bad in [json!({"index": "xml"}), json!({"index": 1}), json!({"overwrite": true}), json!({"index_max_age": -1}), json!({"chart_max_age": "1 h"})] {
            assert_eq!(check(&bad).map_err(|error| error.status().as_u16()), Err(400), "{bad}");
        }
    }
}
