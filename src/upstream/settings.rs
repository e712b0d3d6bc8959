//! What an operator says about an upstream.

use std::fmt;
use std::path::PathBuf;

use entrepot_kit::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use url::Url;

use super::presets::{self, Preset};

/// The `upstream` table of a proxy repository.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSettings {
    /// The root below which the upstream's paths are; a path in it is kept. Empty: the preset's.
    pub url: String,
    /// A well-known registry, by the name that its images are called by: `docker.io`.
    #[serde(deserialize_with = "filled")]
    pub preset: Option<String>,
    /// Whether an upstream at `oci://` is reached without TLS, as `--plain-http` says it to clients.
    pub plain_http: bool,
    /// Hosts (`auth.example`, `10.0.0.1:5001`) that may get user name and password when the upstream says that tokens are to be had there,
    /// besides its own and those of the same domain.
    pub token_hosts: Vec<String>,
    /// User name for HTTP Basic.
    #[serde(deserialize_with = "filled")]
    pub username: Option<String>,
    /// Password for HTTP Basic.
    #[serde(deserialize_with = "filled_secret")]
    pub password: Option<SecretString>,
    /// A bearer token, instead of user name and password.
    #[serde(deserialize_with = "filled_secret")]
    pub token: Option<SecretString>,
    /// A PEM file of certificate authorities to trust besides those of the system.
    #[serde(deserialize_with = "filled")]
    pub ca_file: Option<PathBuf>,
    /// An outgoing proxy: `http://`, `https://`, `socks5://` or `socks5h://`. It may hold user and password, hence a secret.
    #[serde(deserialize_with = "filled_secret")]
    pub proxy: Option<SecretString>,
    /// Seconds for which an index counts as fresh.
    pub mutable_ttl: u64,
    /// Seconds for which an immutable file counts as fresh; 0: for ever.
    pub immutable_ttl: u64,
    /// Seconds for which "there is no such thing" is remembered.
    pub negative_ttl: u64,
    /// The moment as of which what may change stays, as addresses of views write it: `20261101` (that day's end) or `20261101t120000z`.
    /// What was not fetched by then is not there.
    #[serde(deserialize_with = "filled")]
    pub frozen: Option<String>,
    /// Seconds past its time for which an index is still served while the upstream cannot be reached.
    pub stale_for: u64,
    /// Whether redirects and links may lead into private networks.
    pub allow_private: bool,
    /// Most bytes of one file.
    pub max_size: u64,
    /// Seconds until a connection must stand.
    pub connect_timeout: u64,
    /// Seconds within which an answer must begin, and each further part of it must arrive.
    pub read_timeout: u64,
    /// How often a failed request is tried again.
    pub retries: u32,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            preset: None,
            plain_http: false,
            token_hosts: Vec::new(),
            username: None,
            password: None,
            token: None,
            ca_file: None,
            proxy: None,
            mutable_ttl: 300,
            immutable_ttl: 0,
            negative_ttl: 30,
            frozen: None,
            stale_for: 7 * 24 * 3600,
            allow_private: false,
            max_size: 20 << 30,
            connect_timeout: 5,
            read_timeout: 30,
            retries: 2,
        }
    }
}

impl UpstreamSettings {
    /// Everything that is wrong, each with what to do about it. No message holds a secret.
    ///
    /// # Errors
    /// One sentence per mistake.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        match self.root() {
            Ok(_) => {}
            Err(message) => wrong.push(message),
        }
        if let Some(name) = self.preset.as_deref().filter(|name| presets::find(name).is_none()) {
            wrong.push(format!("upstream.preset = {name:?} is not known: use one of {}, or upstream.url", presets::names()));
        }
        if self.token_hosts.len() > MOST_TOKEN_HOSTS || self.token_hosts.iter().any(|host| !is_host(host)) {
            wrong.push(format!("upstream.token_hosts is a list of at most {MOST_TOKEN_HOSTS} hosts, each like auth.example or auth.example:8443"));
        }
        match (&self.username, &self.password, &self.token) {
            (Some(_), None, _) => wrong.push("upstream.username without upstream.password: set both, or neither".to_owned()),
            (None, Some(_), _) => wrong.push("upstream.password without upstream.username: set both, or use upstream.token".to_owned()),
            (Some(_), Some(_), Some(_)) => wrong.push("upstream.token and upstream.username are both set: keep the one that the upstream expects".to_owned()),
            _ => {}
        }
        if self.username.as_ref().is_some_and(|name| name.contains(':')) {
            wrong.push("upstream.username holds a colon, which HTTP Basic cannot carry".to_owned());
        }
        if self.token.as_ref().is_some_and(|token| !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic())) {
            wrong.push("upstream.token holds a space or an unprintable character: was it copied whole, without \"Bearer\"?".to_owned());
        }
        if let Some(when) = self.frozen.as_deref().filter(|_| self.frozen_at().is_none()) {
            wrong.push(format!("upstream.frozen = {when:?} names no moment: use 20261101 (the end of that day) or 20261101t120000z (UTC)"));
        }
        if let Err(message) = self.proxy_url() {
            wrong.push(message);
        }
        for (name, value, least, most) in [
            ("connect_timeout", self.connect_timeout, 1, 300),
            ("read_timeout", self.read_timeout, 1, 3600),
            ("retries", u64::from(self.retries), 0, 10),
            ("max_size", self.max_size, 1, 1 << 50),
        ] {
            if !(least..=most).contains(&value) {
                wrong.push(format!("upstream.{name} = {value} is out of range: use {least} to {most}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// The moment as of which what may change stays.
    #[must_use]
    pub fn frozen_at(&self) -> Option<Timestamp> {
        self.frozen.as_deref().and_then(Timestamp::parse_compact)
    }

    fn known(&self) -> Option<&'static Preset> {
        self.preset.as_deref().and_then(presets::find)
    }

    /// What images of this upstream are called by, where a preset says it.
    #[must_use]
    pub fn namespace(&self) -> Option<&'static str> {
        self.known().map(|preset| preset.namespace)
    }

    /// The format that the preset's registry speaks.
    #[must_use]
    pub fn preset_format(&self) -> Option<&'static str> {
        self.known().map(|preset| preset.format)
    }

    /// Hosts besides its own that may get the credentials.
    pub(super) fn token_hosts(&self) -> impl Iterator<Item = &str> {
        self.token_hosts.iter().map(String::as_str).chain(self.known().into_iter().flat_map(|preset| preset.token_hosts.iter().copied()))
    }

    /// The root, with a slash at its end.
    pub(super) fn root(&self) -> Result<Url, String> {
        let text = match (self.url.as_str(), self.known()) {
            ("", Some(preset)) => preset.url,
            ("", None) => return Err("upstream.url is missing: a proxy needs the root of the registry that it stands for".to_owned()),
            (url, _) => url,
        };
        // The path of an `oci://` is that of a repository below the interface of registries.
        let written = text.strip_prefix(OCI).map(|rest| {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{}://{host}/v2/{path}", if self.plain_http { "http" } else { "https" })
        });
        if self.plain_http && written.is_none() {
            return Err("upstream.plain_http is for oci:// only: write http:// in upstream.url".to_owned());
        }
        let mut url = Url::parse(written.as_deref().unwrap_or(text))
            .map_err(|error| format!("upstream.url is not a URL ({error}): write it like https://registry.example/"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err("upstream.url must begin with https:// or http:// and name a host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "upstream.url holds a user name or password: put them into upstream.username and upstream.password, where they are never shown".to_owned()
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("upstream.url ends in a query or fragment: leave out everything from \"?\" or \"#\" on".to_owned());
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(url)
    }

    /// The outgoing proxy.
    pub(super) fn proxy_url(&self) -> Result<Option<Url>, String> {
        let Some(proxy) = &self.proxy else { return Ok(None) };
        let url =
            Url::parse(proxy.expose_secret()).map_err(|error| format!("upstream.proxy is not a URL ({error}): write it like http://proxy.example:3128"))?;
        if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") || url.host_str().is_none_or(str::is_empty) {
            return Err("upstream.proxy must begin with http://, https://, socks5:// or socks5h:// and name a host".to_owned());
        }
        Ok(Some(url))
    }
}

impl fmt::Debug for UpstreamSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the raw text: a URL that `check` would refuse may hold a password.
        let url = self.root().map_or_else(|_| "(not valid)".to_owned(), String::from);
        f.debug_struct("UpstreamSettings")
            .field("url", &url)
            .field("preset", &self.preset)
            .field("token_hosts", &self.token_hosts)
            .field("username", &self.username)
            .field("password", &self.password)
            .field("token", &self.token)
            .field("ca_file", &self.ca_file)
            .field("proxy", &self.proxy)
            .field("allow_private", &self.allow_private)
            .finish_non_exhaustive()
    }
}

/// How the URLs of registries begin that clients call by a protocol of its own.
const OCI: &str = "oci://";

/// Most hosts in `token_hosts`.
const MOST_TOKEN_HOSTS: usize = 16;

/// Whether a text is a host, with a port or without.
fn is_host(text: &str) -> bool {
    let parsed = Url::parse(&format!("https://{text}/"));
    !text.contains(['/', '@', '?', '#', '\\', ' ']) && parsed.is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()))
}

/// Replaces the secrets of a stored `upstream` table by `"(set)"`, so that the rest can be shown.
pub fn hide_secrets(upstream: &mut serde_json::Value) {
    for name in ["password", "token", "proxy"] {
        if let Some(value) = upstream.get_mut(name).filter(|value| !value.is_null() && value.as_str() != Some("")) {
            *value = "(set)".into();
        }
    }
}

/// An empty text counts as not set, as in the commented configuration file.
fn filled<'de, D: Deserializer<'de>, T: From<String>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()).map(T::from))
}

fn filled_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    filled::<D, String>(deserializer).map(|text| text.map(SecretString::from))
}

#[cfg(test)]
mod tests {
    use super::{UpstreamSettings, hide_secrets};

    fn read(text: &str) -> UpstreamSettings {
        toml::from_str(text).unwrap()
    }

    fn complaint(text: &str) -> String {
        read(text).check().unwrap_err().join("\n")
    }

    #[test]
    fn an_url_alone_is_enough_and_gets_its_slash() {
        let settings = read(r#"url = "https://registry.example/npm""#);
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(settings.root().unwrap().as_str(), "https://registry.example/npm/");
        assert_eq!((settings.mutable_ttl, settings.immutable_ttl, settings.allow_private), (300, 0, false));
    }

    #[test]
    fn a_registry_by_its_own_protocol_is_reached_by_http() {
        let root = |text: &str| read(text).root().unwrap().to_string();
        assert_eq!(root(r#"url = "oci://registry.example/org/charts""#), "https://registry.example/v2/org/charts/");
        assert_eq!(root(r#"url = "oci://registry.example:5000""#), "https://registry.example:5000/v2/");
        assert_eq!(root("url = \"oci://127.0.0.1:5000/charts/\"\nplain_http = true"), "http://127.0.0.1:5000/v2/charts/");
        assert!(complaint("url = \"https://registry.example/\"\nplain_http = true").contains("oci:// only"));
        assert!(complaint(r#"url = "oci://u:p@registry.example/""#).contains("upstream.username"));
    }

    #[test]
    fn mistakes_are_named_with_advice() {
        for (text, expected) in [
            ("", "upstream.url is missing"),
            (r#"url = "ftp://registry.example/""#, "https://"),
            (r#"url = "registry.example""#, "not a URL"),
            (r#"url = "https://registry.example/?a=b""#, "query"),
            ("url = \"https://registry.example/\"\nusername = \"u\"", "upstream.password"),
            ("url = \"https://registry.example/\"\npassword = \"p\"", "upstream.username"),
            ("url = \"https://registry.example/\"\npassword = \"p\"\nusername = \"u\"\ntoken = \"t\"", "both"),
            ("url = \"https://registry.example/\"\ntoken = \"Bearer t\"", "without \"Bearer\""),
            ("url = \"https://registry.example/\"\nproxy = \"gopher://x\"", "socks5"),
            ("url = \"https://registry.example/\"\nread_timeout = 0", "read_timeout = 0"),
        ] {
            let complaint = complaint(text);
            assert!(complaint.contains(expected), "{text}: {complaint}");
        }
        assert!(toml::from_str::<UpstreamSettings>("url = \"https://registry.example/\"\nmutable_tll = 3").is_err());
    }

    #[test]
    fn a_preset_stands_for_a_url_and_an_own_url_wins() {
        let hub = read(r#"preset = "docker.io""#);
        assert_eq!((hub.check(), hub.namespace(), hub.preset_format()), (Ok(()), Some("docker.io"), Some("oci")));
        assert_eq!(hub.root().unwrap().as_str(), "https://registry-1.docker.io/");
        assert_eq!(hub.token_hosts().collect::<Vec<_>>(), ["auth.docker.io"]);
        let behind = read("preset = \"docker.io\"\nurl = \"https://mirror.example\"\ntoken_hosts = [\"login.example:8443\"]");
        assert_eq!((behind.check(), behind.root().unwrap().as_str()), (Ok(()), "https://mirror.example/"));
        assert_eq!(behind.token_hosts().collect::<Vec<_>>(), ["login.example:8443", "auth.docker.io"]);
        assert!(complaint(r#"preset = "dockerhub""#).contains("docker.io, ghcr.io"));
        for host in ["", "https://a.example", "a b", "a.example/token", "u@a.example", "a.example:99999"] {
            let text = format!("url = \"https://registry.example/\"\ntoken_hosts = [{host:?}]");
            assert!(complaint(&text).contains("token_hosts"), "{host}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let url = read(r#"url = "https://user:hunter2@registry.example/""#);
        let complaint = url.check().unwrap_err().join("\n");
        assert!(complaint.contains("upstream.username"));
        let settings = read(
            "url = \"https://registry.example/\"\nusername = \"u\"\npassword = \"hunter2\"\ntoken = \"hunter2\"\nproxy = \"http://u:hunter2@proxy.example:3128\"",
        );
        for shown in [complaint, format!("{url:?}"), format!("{settings:?}")] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let mut stored = serde_json::json!({"url": "https://registry.example/", "password": "hunter2", "token": null, "proxy": ""});
        hide_secrets(&mut stored);
        assert_eq!(stored, serde_json::json!({"url": "https://registry.example/", "password": "(set)", "token": null, "proxy": ""}));
    }

    #[test]
    fn empty_texts_count_as_not_set() {
        let settings = read("url = \"https://registry.example/\"\nusername = \"\"\npassword = \"\"\ntoken = \"\"\nca_file = \"\"\nproxy = \"\"");
        assert_eq!(settings.check(), Ok(()));
        assert!(settings.ca_file.is_none() && settings.proxy.is_none() && settings.token.is_none());
    }
}
