//! The format's own settings of a repository.

use entrepot_kit::{Access, Error, Repository, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::name;

/// In which form `index.yaml` is: `"json"` or `"yaml"`.
pub(crate) const INDEX: &str = "index";
/// Whether a version can get other bytes: `"never"`, `"force"` (when the client asks for it) or `"always"`.
pub(crate) const OVERWRITE: &str = "overwrite";
/// How long caches may give the index without asking, in seconds.
pub(crate) const INDEX_MAX_AGE: &str = "index_max_age";
/// The same for charts.
pub(crate) const CHART_MAX_AGE: &str = "chart_max_age";

/// The charts of an upstream that is a registry: those that stand in the index, as registries do not say which they have.
pub(crate) const CHARTS: &str = "charts";

/// The names of all settings.
pub(crate) const NAMES: [&str; 5] = [INDEX, OVERWRITE, INDEX_MAX_AGE, CHART_MAX_AGE, CHARTS];

/// Most charts that are listed so: each is a question to the upstream.
const MOST_CHARTS: usize = 200;

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
    let names = |list: &Value| list.as_array().is_some_and(|list| list.len() <= MOST_CHARTS && list.iter().all(|name| name.as_str().is_some_and(is_listable)));
    if settings.get(CHARTS).is_some_and(|list| !names(list)) {
        return Err(Error::bad_request(format!("the setting {CHARTS:?} is a list of at most {MOST_CHARTS} names of charts, as the registry has them")));
    }
    Ok(())
}

/// Whether a chart of a registry can stand in an index: by a name that both know.
fn is_listable(chart: &str) -> bool {
    name::is_name(chart) && entrepot_oci_core::name::is_name(chart)
}

/// The charts of an upstream that is a registry.
pub(crate) fn charts(settings: &Value) -> Vec<String> {
    let listed = settings.get(CHARTS).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    listed.filter(|chart| is_listable(chart)).take(MOST_CHARTS).map(str::to_owned).collect()
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
        assert!(check(&json!({"index": "yaml", "overwrite": "force", "index_max_age": 0, "chart_max_age": 60, "charts": ["web", "a-b.c"]})).is_ok());
        for bad in [
            json!({"index": "xml"}),
            json!({"index": 1}),
            json!({"overwrite": true}),
            json!({"index_max_age": -1}),
            json!({"chart_max_age": "1 h"}),
            json!({"charts": "web"}),
            json!({"charts": ["a/b"]}),
            json!({"charts": ["Web"]}),
        ] {
            assert_eq!(check(&bad).map_err(|error| error.status().as_u16()), Err(400), "{bad}");
        }
    }
}
