//! The format's own settings of a repository.

use entrepot_kit::{Access, Error, Repository, Result};
use serde_json::Value;

use crate::repodata::Compression;

/// How metadata is compressed: `gzip`, or `zstd`.
pub(crate) const COMPRESSION: &str = "compression";
/// Addresses of the keys that packages are signed with: where there are some, `.repo` files ask clients to check signatures of packages.
pub(crate) const PACKAGE_KEYS: &str = "package_keys";

/// Of a proxy: where its upstream's list of mirrors is, as clients say it by `mirrorlist=` or `metalink=`; relative to the upstream's address.
pub(crate) const MIRROR_LIST: &str = "mirror_list";

/// The names of all settings.
pub(crate) const NAMES: [&str; 3] = [COMPRESSION, PACKAGE_KEYS, MIRROR_LIST];

const COMPRESSIONS: [&str; 2] = ["gzip", "zstd"];
const MOST_KEYS: usize = 20;

/// Checks the settings.
pub(crate) fn check(settings: &Value) -> Result<()> {
    if let Some(value) = settings.get(COMPRESSION)
        && !value.as_str().is_some_and(|value| COMPRESSIONS.contains(&value))
    {
        return Err(Error::bad_request(format!("the setting {COMPRESSION:?} is one of {COMPRESSIONS:?}, not {value}")));
    }
    if let Some(value) = settings.get(PACKAGE_KEYS) {
        let is_url = |value: &Value| {
            let url = value.as_str().unwrap_or_default();
            url.len() < 500 && ["https://", "http://", "file:///"].iter().any(|scheme| url.starts_with(scheme)) && url.chars().all(|c| c.is_ascii_graphic())
        };
        if !value.as_array().is_some_and(|keys| keys.len() <= MOST_KEYS && keys.iter().all(is_url)) {
            return Err(Error::bad_request(format!(
                "the setting {PACKAGE_KEYS:?} is a list of URLs of public keys (https://, http://, file:///), not {value}"
            )));
        }
    }
    if let Some(value) = settings.get(MIRROR_LIST)
        && !value.as_str().is_some_and(|list| !list.is_empty() && list.len() < 1000 && list.chars().all(|c| c.is_ascii_graphic()))
    {
        return Err(Error::bad_request(format!(
            "the setting {MIRROR_LIST:?} is the address of a list of mirrors, as in \"mirrorlist?repo=baseos-9&arch=x86_64\", not {value}"
        )));
    }
    Ok(())
}

/// Where the upstream's list of mirrors is.
pub(crate) fn mirror_list<A: Access>(repository: &Repository<A>) -> Option<String> {
    repository.setting(MIRROR_LIST)
}

/// How metadata is compressed.
pub(crate) fn compression<A: Access>(repository: &Repository<A>) -> Compression {
    match repository.setting::<String>(COMPRESSION).as_deref() {
        Some("zstd") => Compression::Zstd,
        _ => Compression::Gzip,
    }
}

/// Addresses of the keys of packages.
pub(crate) fn package_keys<A: Access>(repository: &Repository<A>) -> Vec<String> {
    repository.setting(PACKAGE_KEYS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::check;
    use serde_json::json;

    #[test]
    fn settings_are_checked() {
        assert!(check(&json!({"compression": "zstd", "package_keys": ["https://keys.example/RPM-GPG-KEY"]})).is_ok() && check(&json!({})).is_ok());
        for bad in [
            json!({"compression": "xz"}),
            json!({"compression": true}),
            json!({"package_keys": "https://x"}),
            json!({"package_keys": ["x\ny"]}),
            json!({"mirror_list": ""}),
            json!({"mirror_list": ["x"]}),
        ] {
            assert_eq!(check(&bad).map_err(|error| error.status().as_u16()), Err(400), "{bad}");
        }
    }
}
