//! Changes of a proxy's `upstream`: what is merged, which secrets stay, and what only an administrator may set.

use entrepot_kit::{Error, Result};
use serde_json::{Map, Value};
use url::Url;

use crate::upstream::preset_url;

/// Stands for a secret in answers; sent back it means "as it is".
const KEPT: &str = "(set)";
const SECRETS: [&str; 3] = ["password", "token", "proxy"];

/// Joins a stored upstream with a change of it (RFC 7396: `null` removes, what is not named stays).
///
/// A secret stays only with the server that it was given for. Otherwise whoever may change the URL could have the stored
/// password sent to a server of its own.
///
/// # Errors
/// 400 naming the field.
pub(super) fn merge(stored: Option<&Value>, change: Value) -> Result<Value> {
    let Value::Object(change) = change else { return Err(Error::bad_request("upstream is an object, such as { \"url\": \"…\" }")) };
    let none = Map::new();
    let stored = stored.and_then(Value::as_object).unwrap_or(&none);
    let mut merged = stored.clone();
    let mut given = Vec::new();
    for (field, value) in change {
        if SECRETS.contains(&field.as_str()) && value == KEPT {
            if !is_set(stored, &field) {
                return Err(Error::bad_request(format!("upstream.{field} = {KEPT:?} keeps what is stored, and nothing is stored: give the secret itself")));
            }
        } else if value.is_null() {
            merged.remove(&field);
        } else {
            given.push(field.clone());
            merged.insert(field, value);
        }
    }
    let differs = |field| stored.get(field) != merged.get(field);
    let moved = !stored.is_empty()
        && (origin(stored) != origin(&merged)
            || ["ca_file", "preset", "token_hosts", "plain_http"].into_iter().any(differs)
            || given.iter().any(|field| field == "proxy"));
    for secret in ["password", "token"] {
        if moved && is_set(&merged, secret) && !given.iter().any(|field| field == secret) {
            return Err(Error::bad_request(format!(
                "upstream.{secret} must be given again, or removed with null: it was stored for another server, proxy, ca_file or token_hosts than it would now be sent by"
            )));
        }
    }
    Ok(Value::Object(merged))
}

fn is_set(upstream: &Map<String, Value>, field: &str) -> bool {
    upstream.get(field).is_some_and(|value| !value.is_null() && *value != "")
}

fn origin(upstream: &Map<String, Value>) -> Option<url::Origin> {
    let text = |field| upstream.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let url = text("url").or_else(|| preset_url(text("preset")?))?;
    // Of an unknown protocol no origin is like another, not even like itself.
    let url = url.strip_prefix("oci://").map_or_else(|| url.to_owned(), |rest| format!("https://{rest}"));
    Some(Url::parse(&url).ok()?.origin())
}

/// Whether an upstream reaches what a system's own managers may not: private networks, files of the server, other proxies.
pub(super) fn needs_administrator(upstream: &Value) -> bool {
    let set = |field| upstream.as_object().is_some_and(|upstream| is_set(upstream, field));
    upstream.get("allow_private").is_some_and(|value| *value != false) || set("ca_file") || set("proxy")
}

#[cfg(test)]
mod tests {
    use super::{merge, needs_administrator};
    use serde_json::{Value, json};

    fn stored() -> Value {
        json!({"url": "https://registry.example/npm/", "username": "u", "password": "hunter2", "mutable_ttl": 60})
    }

    #[test]
    fn the_placeholder_and_silence_keep_secrets() {
        let mut hidden = stored();
        crate::upstream::hide_secrets(&mut hidden);
        assert_eq!(merge(Some(&stored()), hidden).unwrap(), stored(), "what was answered can be sent back");
        let changed = merge(Some(&stored()), json!({"mutable_ttl": 5, "username": "v", "password": null})).unwrap();
        assert_eq!(changed, json!({"url": "https://registry.example/npm/", "username": "v", "mutable_ttl": 5}));
        assert_eq!(merge(Some(&stored()), json!({"url": "https://registry.example/other/"})).unwrap()["password"], "hunter2");
        assert!(merge(None, json!({"url": "https://registry.example/", "password": "(set)"})).is_err());
    }

    #[test]
    fn a_secret_does_not_move_to_another_server() {
        for change in [
            json!({"url": "https://elsewhere.example/npm/"}),
            json!({"url": "http://registry.example/npm/", "password": "(set)"}),
            json!({"url": "https://registry.example:444/npm/"}),
            json!({"proxy": "http://proxy.example:3128"}),
            json!({"ca_file": "/tmp/ca.pem"}),
            json!({"url": null}),
            json!({"url": null, "preset": "docker.io"}),
            json!({"preset": "docker.io"}),
            json!({"token_hosts": ["evil.example"]}),
        ] {
            let message = merge(Some(&stored()), change.clone()).unwrap_err().message().to_owned();
            assert!(message.contains("upstream.password") && !message.contains("hunter2"), "{change}: {message}");
        }
        let given = merge(Some(&stored()), json!({"url": "https://elsewhere.example/", "password": "new"})).unwrap();
        assert_eq!(given["password"], "new");
        assert!(merge(Some(&stored()), json!({"url": "https://elsewhere.example/", "username": null, "password": null})).is_ok());
    }

    #[test]
    fn reaching_further_needs_an_administrator() {
        assert!(!needs_administrator(&stored()) && !needs_administrator(&json!({"allow_private": false, "proxy": "", "ca_file": null})));
        for upstream in [json!({"allow_private": true}), json!({"ca_file": "/etc/ca.pem"}), json!({"proxy": "http://proxy.example:3128"})] {
            assert!(needs_administrator(&upstream), "{upstream}");
        }
    }
}
