//! The format's own settings of a repository.

use std::collections::BTreeMap;

use entrepot_kit::{Access, Error, Repository, Result};
use serde_json::Value;

use crate::name::{is_valid, normalise};

/// Whether versions with a local part (`1.0+acme.1`) are taken; they are unless it says `false`.
pub(crate) const LOCAL_VERSIONS: &str = "local_versions";
/// Whether wheels for one kind of Linux only (`linux_x86_64`) are taken; they are unless it says `false`.
pub(crate) const LINUX_WHEELS: &str = "linux_wheels";
/// Beginnings of names that belong to a system (PEP 752): `{"acme": "ops"}`.
pub(crate) const NAMESPACES: &str = "namespaces";

/// The names of all settings.
pub(crate) const NAMES: [&str; 3] = [LOCAL_VERSIONS, LINUX_WHEELS, NAMESPACES];

/// Most namespaces of a repository.
const MOST: usize = 1000;

/// Checks the settings.
pub(crate) fn check(settings: &Value) -> Result<()> {
    for name in [LOCAL_VERSIONS, LINUX_WHEELS] {
        if settings.get(name).is_some_and(|value| !value.is_boolean()) {
            return Err(Error::bad_request(format!("the setting {name:?} is true or false")));
        }
    }
    let Some(namespaces) = settings.get(NAMESPACES) else { return Ok(()) };
    let malformed =
        || Error::bad_request(format!("the setting {NAMESPACES:?} names for each namespace the system that owns it, as {{\"acme\": \"ops\"}}; at most {MOST}"));
    let namespaces = namespaces.as_object().filter(|map| map.len() <= MOST).ok_or_else(malformed)?;
    for (namespace, system) in namespaces {
        if !is_valid(namespace) || normalise(namespace) != *namespace {
            return Err(Error::bad_request(format!(
                "the setting {NAMESPACES:?}: {namespace:?} is no namespace: write it in lower case, with - between its parts"
            )));
        }
        system.as_str().and_then(|system| entrepot_kit::SystemName::parse(system).ok()).ok_or_else(malformed)?;
    }
    Ok(())
}

/// A setting that is true unless it says otherwise.
pub(crate) fn allows<A: Access>(repository: &Repository<A>, name: &str) -> bool {
    repository.setting(name).unwrap_or(true)
}

/// The namespaces of a repository and the systems that own them; `None` where the setting is not there.
pub(crate) fn namespaces<A: Access>(repository: &Repository<A>) -> Option<BTreeMap<String, String>> {
    repository.setting(NAMESPACES)
}

/// The namespaces that a project's name is in, the longest first.
pub(crate) fn covering<'a>(namespaces: &'a BTreeMap<String, String>, project: &str) -> Vec<(&'a str, &'a str)> {
    let covers = |namespace: &str| project.strip_prefix(namespace).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let mut found: Vec<(&str, &str)> =
        namespaces.iter().filter(|(namespace, _)| covers(namespace)).map(|(name, system)| (name.as_str(), system.as_str())).collect();
    found.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    found
}

#[cfg(test)]
mod tests {
    use super::{check, covering};
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn settings_are_checked() {
        assert!(check(&json!({"local_versions": false, "linux_wheels": true, "namespaces": {"acme": "ops"}})).is_ok());
        for bad in [
            json!({"local_versions": 1}),
            json!({"linux_wheels": "no"}),
            json!({"namespaces": ["acme"]}),
            json!({"namespaces": {"Acme": "ops"}}),
            json!({"namespaces": {"acme": "a b"}}),
        ] {
            assert_eq!(check(&bad).map_err(|error| error.status().as_u16()), Err(400), "{bad}");
        }
    }

    #[test]
    fn namespaces_end_at_dashes() {
        let namespaces: BTreeMap<String, String> = [("acme", "a"), ("acme-core", "b")].map(|(name, system)| (name.to_owned(), system.to_owned())).into();
        assert_eq!(covering(&namespaces, "acme-core-x"), [("acme-core", "b"), ("acme", "a")]);
        assert_eq!(covering(&namespaces, "acme"), [("acme", "a")]);
        assert!(covering(&namespaces, "acmecore").is_empty());
    }
}
