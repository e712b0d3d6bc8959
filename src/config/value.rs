//! The types that a setting can have, each read from the file or from a text (environment, flag) and shown in the file's notation.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use toml::de::DeValue;

/// A type of settings.
pub(super) trait Setting: Sized {
    /// What is expected, for messages.
    const EXPECTED: &'static str;
    /// From the file.
    fn from_toml(value: &DeValue<'_>) -> Option<Self>;
    /// From the environment or a flag.
    fn from_text(text: &str) -> Option<Self>;
    /// In the file's notation, secrets hidden.
    fn show(&self) -> String;
}

/// TOML's basic strings are written like JSON's.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Setting for String {
    const EXPECTED: &'static str = "a text";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
    fn show(&self) -> String {
        quoted(self)
    }
}

impl Setting for u64 {
    const EXPECTED: &'static str = "a whole number";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let number = value.as_integer()?;
        Self::from_str_radix(number.as_str(), number.radix()).ok()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for SocketAddr {
    const EXPECTED: &'static str = "an address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }
    fn show(&self) -> String {
        quoted(&self.display().to_string())
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address)))
}

/// The networks of this machine itself.
pub(super) fn own_networks() -> Vec<IpNet> {
    ["127.0.0.0/8", "::1/128"].iter().filter_map(|text| text.parse().ok()).collect()
}

impl Setting for Vec<IpNet> {
    const EXPECTED: &'static str = "a list of addresses or networks, such as [\"10.0.0.0/8\", \"192.0.2.1\"]";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_array()?.iter().map(|item| network(item.get_ref().as_str()?)).collect()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.split(',').map(|item| network(item.trim())).collect()
    }
    fn show(&self) -> String {
        let items: Vec<String> = self.iter().map(|net| quoted(&net.to_string())).collect();
        format!("[{}]", items.join(", "))
    }
}

/// An http or https URL of which nothing gets lost when a path is put behind it, without trailing slash.
fn plain_url(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let plain = url.has_host() && url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    (plain && matches!(url.scheme(), "http" | "https")).then(|| url.as_str().trim_end_matches('/').to_owned())
}

/// The server's URL as clients see it; nothing when it is taken from each request.
#[derive(Debug, Clone, Default)]
pub(super) struct PublicUrl(pub(super) Option<String>);

impl Setting for PublicUrl {
    const EXPECTED: &'static str = "an http or https URL without query, such as \"https://packages.example.com\"";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(None));
        }
        plain_url(text).map(|url| Self(Some(url)))
    }
    fn show(&self) -> String {
        quoted(self.0.as_deref().unwrap_or_default())
    }
}

/// The URL of an S3 server; nothing for that of AWS.
#[derive(Debug, Clone, Default)]
pub(super) struct Endpoint(pub(super) Option<String>);

impl Setting for Endpoint {
    const EXPECTED: &'static str = "empty for AWS, or an http or https URL, such as \"https://s3.example.com\"";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() { Some(Self(None)) } else { plain_url(text).map(|url| Self(Some(url))) }
    }
    fn show(&self) -> String {
        quoted(self.0.as_deref().unwrap_or_default())
    }
}

/// A text that is never shown; nothing when it is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Secret(pub(super) Option<SecretString>);

impl Setting for Secret {
    const EXPECTED: &'static str = "a text";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(Self((!text.is_empty()).then(|| text.into())))
    }
    fn show(&self) -> String {
        quoted(if self.0.is_some() { "(hidden)" } else { "" })
    }
}

/// The master key in hexadecimal; nothing for the one in the data directory.
#[derive(Debug, Clone, Default)]
pub(super) struct MasterKey(pub(super) Option<SecretString>);

impl Setting for MasterKey {
    const EXPECTED: &'static str = "64 hexadecimal characters (openssl rand -hex 32 makes some), the same on all replicas";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        let is_key = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.is_empty() { Some(Self(None)) } else { is_key.then(|| Self(Some(text.into()))) }
    }
    fn show(&self) -> String {
        quoted(if self.0.is_some() { "(hidden)" } else { "" })
    }
}

/// The address of the database; empty for SQLite in the data directory. Its password is never shown.
#[derive(Clone, Default)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Whether records live in SQLite in the data directory.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        self.0.is_empty()
    }

    /// The URL with its password, for the connection only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.show())
    }
}

impl Setting for DatabaseUrl {
    const EXPECTED: &'static str = "empty for SQLite in the data directory, or \"postgres://user:password@host/database\"";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        let known = text.is_empty() || url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"));
        known.then(|| Self(text.to_owned()))
    }
    fn show(&self) -> String {
        without_password(&self.0)
    }
}

/// The address of a Redis server; nothing without one. Its password is never shown.
#[derive(Debug, Clone, Default)]
pub(super) struct RedisUrl(pub(super) Option<SecretString>);

impl Setting for RedisUrl {
    const EXPECTED: &'static str = "empty, or \"redis://:password@host:6379/0\" (rediss:// with TLS)";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(None));
        }
        let known = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss") && url.has_host());
        known.then(|| Self(Some(text.into())))
    }
    fn show(&self) -> String {
        self.0.as_ref().map_or_else(|| quoted(""), |url| without_password(url.expose_secret()))
    }
}

/// A URL as it may be shown.
fn without_password(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return quoted("") };
    // A password may also stand in the query.
    if url.query().is_some() {
        url.set_query(Some("hidden"));
    }
    if url.password().is_some() && url.set_password(Some("hidden")).is_err() {
        return quoted("(hidden)");
    }
    quoted(url.as_str())
}

/// A setting with a few named values.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Setting for $name {
            const EXPECTED: &'static str = $expected;
            fn from_toml(value: &DeValue<'_>) -> Option<Self> {
                Self::from_text(value.as_str()?)
            }
            fn from_text(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
            fn show(&self) -> String {
                quoted(match self {
                    $(Self::$variant => $text,)+
                })
            }
        }
    };
}

choice!(
    /// Where blobs live.
    BlobKind,
    "\"files\" or \"s3\"",
    /// In the data directory.
    Files = "files",
    /// In a bucket.
    S3 = "s3"
);

choice!(
    /// How log lines look.
    LogFormat,
    "\"text\" or \"json\"",
    /// For people.
    Text = "text",
    /// One object a line.
    Json = "json"
);
