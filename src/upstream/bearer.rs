//! Signing in where an upstream answers 401 and says how: by a token that its realm hands out, or by Basic.
//!
//! The upstream chooses the realm, so it is where credentials could be led astray: they go to hosts that belong to the upstream
//! ([`belongs`]) or that the operator listed, and to nobody else. Tokens are kept until they expire.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{HeaderMap, WWW_AUTHENTICATE};
use serde::Deserialize;
use tokio::time::Instant;
use url::{Host, Url};

use super::answer::UpstreamError;
use super::redirect::same_origin;

/// Most tokens, and most remembered challenges, of one upstream.
const MOST: usize = 1000;
/// Longest challenge that is read.
const MOST_CHALLENGE: usize = 4096;
/// Longest token.
const MOST_TOKEN: usize = 16 * 1024;
/// What a token counts for that does not say it (as the protocol has it), and the longest that one is kept.
const LIFETIMES: (u64, u64) = (60, 3600);

/// What a 401 asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Challenge {
    /// A token from a realm.
    Bearer(Scope),
    /// User name and password.
    Basic,
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scope: Option<String>,
}

impl Challenge {
    /// The first challenge that we know how to meet; a Bearer one is preferred.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut found = None;
        for value in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).filter(|value| value.len() <= MOST_CHALLENGE) {
            for (scheme, parameters) in challenges(value) {
                let get = |name: &str| parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
                if scheme.eq_ignore_ascii_case("bearer") {
                    if let Some(realm) = get("realm") {
                        return Some(Self::Bearer(Scope { realm, service: get("service"), scope: get("scope") }));
                    }
                } else if scheme.eq_ignore_ascii_case("basic") {
                    found = Some(Self::Basic);
                }
            }
        }
        found
    }
}

/// The challenges of one header (RFC 9110): schemes, each with `name=value` pairs; values may be quoted.
fn challenges(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for part in split_unquoted(text) {
        let part = part.trim();
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        let (head, value) = part.split_once('=').map_or((part, None), |(head, value)| (head.trim(), Some(value.trim())));
        let (scheme, name) = match head.split_once(' ') {
            Some((scheme, name)) => (Some(scheme), name.trim()),
            None if value.is_none() => (Some(head), ""),
            None => (None, head),
        };
        if let Some(scheme) = scheme.filter(|scheme| is_token(scheme)) {
            found.push((scheme.to_owned(), Vec::new()));
        }
        if let (Some((_, parameters)), Some(value)) = (found.last_mut(), value.filter(|_| is_token(name))) {
            parameters.push((name.to_owned(), unquoted(value)));
        }
    }
    found
}

/// Splits at commas outside of quotes.
fn split_unquoted(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|c: char| {
        let splits = c == ',' && !quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        splits
    })
    .collect()
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').map(|rest| rest.strip_suffix('"').unwrap_or(rest)) else { return value.to_owned() };
    let (mut text, mut escaped) = (String::with_capacity(inner.len()), false);
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            text.push(c);
            escaped = false;
        }
    }
    text
}

/// Whether a realm belongs to an upstream, so that the upstream's credentials may go there: it is at the same origin, at a host that
/// the operator listed (`host` or `host:port`), or both hosts are names below one registrable domain. Addresses, `localhost` and
/// names of one label belong to nothing but themselves.
pub(super) fn belongs<'a>(root: &Url, realm: &Url, mut listed: impl Iterator<Item = &'a str>) -> bool {
    if same_origin(root, realm) {
        return true;
    }
    let Some(host) = realm.host_str() else { return false };
    let port = realm.port_or_known_default();
    let is_listed = listed.any(|entry| match entry.rsplit_once(':') {
        Some((name, digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            name.eq_ignore_ascii_case(host) && port.is_some_and(|port| port.to_string() == digits)
        }
        _ => entry.eq_ignore_ascii_case(host) && realm.port().is_none(),
    });
    if is_listed {
        return true;
    }
    match (registrable(root), registrable(realm)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// The domain that somebody registered, as far as it can be told without a list of public suffixes: when in doubt, none.
fn registrable(url: &Url) -> Option<String> {
    let Some(Host::Domain(name)) = url.host() else { return None };
    let labels: Vec<&str> = name.split('.').collect();
    let [.., second, top] = labels.as_slice() else { return None };
    if labels.iter().any(|label| label.is_empty()) || SPECIAL.contains(top) {
        return None;
    }
    // co.uk, com.au, or.jp: below a country, what is short or means a kind of holder is no holder itself.
    let shared = top.len() == 2 && (second.len() <= 3 || KINDS.contains(second)) || HOSTING.iter().any(|suffix| *suffix == format!("{second}.{top}"));
    match labels.as_slice() {
        [.., third, second, top] if shared && !HOSTING.iter().any(|suffix| *suffix == format!("{second}.{top}")) => Some(format!("{third}.{second}.{top}")),
        _ if shared => None,
        _ => Some(format!("{second}.{top}")),
    }
}

/// Names that nobody registered.
const SPECIAL: [&str; 8] = ["localhost", "local", "internal", "arpa", "onion", "test", "invalid", "lan"];
const KINDS: [&str; 8] = ["info", "firm", "name", "school", "muni", "asso", "presse", "parliament"];
/// Domains below which strangers live beside each other.
const HOSTING: [&str; 22] = [
    "amazonaws.com",
    "appspot.com",
    "azurecr.io",
    "azurewebsites.net",
    "azure.com",
    "cloudapp.net",
    "cloudfront.net",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "googleapis.com",
    "googleusercontent.com",
    "herokuapp.com",
    "netlify.app",
    "ngrok.io",
    "ngrok.app",
    "onrender.com",
    "pages.dev",
    "run.app",
    "vercel.app",
    "windows.net",
    "workers.dev",
];

/// `user:password` as Basic says it.
pub(super) fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}")));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The realm's URL with the question in it.
pub(super) fn question(realm: &Url, scope: &Scope, account: Option<&str>) -> Url {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &scope.service {
            query.append_pair("service", service);
        }
        if let Some(scope) = &scope.scope {
            query.append_pair("scope", scope);
        }
        if let Some(account) = account {
            query.append_pair("account", account);
        }
    }
    url
}

/// A token and its end.
#[derive(Clone)]
struct Token {
    value: HeaderValue,
    until: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

/// Reads what a realm answered: the header to send, and for how long it counts.
pub(super) fn read_token(body: &Bytes) -> Result<(HeaderValue, Duration), UpstreamError> {
    let bad = || UpstreamError::BadAnswer("the upstream's token server answered without a token".to_owned());
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| bad())?;
    let filled = |token: Option<String>| token.filter(|token| !token.is_empty());
    let token = filled(answer.token).or_else(|| filled(answer.access_token)).filter(|token| token.len() <= MOST_TOKEN).ok_or_else(bad)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| bad())?;
    value.set_sensitive(true);
    let (least, most) = LIFETIMES;
    let seconds = answer.expires_in.filter(|seconds| *seconds > 0.0).unwrap_or(f64::from(u32::try_from(least).unwrap_or(60)));
    let lifetime = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(most)).min(Duration::from_secs(most));
    // Not to the last moment: it has to be good when it arrives.
    Ok((value, lifetime.mul_f64(0.8)))
}

/// What is known of how an upstream wants to be signed in at.
#[derive(Default)]
pub(super) struct Memory {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    tokens: HashMap<Scope, Token>,
    /// What was asked for last, by what was fetched (an image).
    challenges: HashMap<String, Challenge>,
}

impl Memory {
    /// The challenge that fetches about `space` were answered with.
    pub(super) fn challenge(&self, space: &str) -> Option<Challenge> {
        self.lock().challenges.get(space).cloned()
    }

    pub(super) fn note_challenge(&self, space: &str, challenge: &Challenge) {
        let mut known = self.lock();
        if known.challenges.len() >= MOST && !known.challenges.contains_key(space) {
            // Each costs one more question when it is missed: no order is kept for that.
            known.challenges.clear();
        }
        known.challenges.insert(space.to_owned(), challenge.clone());
    }

    /// A token that is still good.
    pub(super) fn token(&self, scope: &Scope, now: Instant) -> Option<HeaderValue> {
        self.lock().tokens.get(scope).filter(|token| token.until > now).map(|token| token.value.clone())
    }

    pub(super) fn note_token(&self, scope: &Scope, value: HeaderValue, until: Instant, now: Instant) {
        let mut known = self.lock();
        if known.tokens.len() >= MOST {
            known.tokens.retain(|_, token| token.until > now);
        }
        if known.tokens.len() >= MOST {
            let first = known.tokens.iter().min_by_key(|(_, token)| token.until).map(|(scope, _)| scope.clone());
            first.and_then(|scope| known.tokens.remove(&scope));
        }
        known.tokens.insert(scope.clone(), Token { value, until });
    }

    /// A token that the upstream did not take.
    pub(super) fn forget(&self, scope: &Scope, value: &HeaderValue) {
        let mut known = self.lock();
        if known.tokens.get(scope).is_some_and(|token| token.value == *value) {
            known.tokens.remove(scope);
        }
    }

    /// A panic while it was held cannot leave it half-changed: every change is a plain insertion or removal.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Challenge, MOST, Memory, Scope, belongs, question, read_token};
    use bytes::Bytes;
    use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
    use std::time::Duration;
    use tokio::time::Instant;
    use url::Url;

    fn read(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        Challenge::read(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer(Scope { realm: realm.to_owned(), service: owned(service), scope: owned(scope) }))
    }

    #[test]
    fn challenges_of_every_spelling_are_read() {
        let full = bearer("https://auth.example/token", Some("registry.example"), Some("repository:a/b:pull,push"));
        for text in [
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#,
            r#"bearer  realm = "https://auth.example/token", service="registry.example" , scope="repository:a/b:pull,push",error="invalid_token""#,
            r#"Basic realm="x, y", Bearer scope="repository:a/b:pull,push",realm="https://auth.example/token",service=registry.example"#,
        ] {
            assert_eq!(read(&[text]), full, "{text}");
        }
        assert_eq!(read(&["Basic realm=\"x\"", "Bearer realm=\"https://a.example/\""]), bearer("https://a.example/", None, None));
        assert_eq!(read(&["Bearer realm=\"https://a.example/?a=\\\"b\""]), bearer("https://a.example/?a=\"b", None, None));
        assert_eq!(read(&["Basic"]), Some(Challenge::Basic));
        assert_eq!(read(&["BASIC realm=Registry"]), Some(Challenge::Basic));
        for text in ["Bearer", "Bearer service=\"x\"", "Negotiate abc==", "", "\"", "=,=,==", &format!("Bearer realm=\"{}\"", "x".repeat(5000))] {
            assert_eq!(read(&[text]), None, "{text}");
        }
    }

    #[test]
    fn realms_belong_to_their_own_upstream_only() {
        let belong = |root: &str, realm: &str, listed: &[&str]| belongs(&Url::parse(root).unwrap(), &Url::parse(realm).unwrap(), listed.iter().copied());
        for (root, realm) in [
            ("https://registry-1.docker.io/", "https://auth.docker.io/token"),
            ("https://quay.io/", "https://quay.io/v2/auth"),
            ("https://registry.example.com/", "https://gitlab.example.com/jwt/auth"),
            ("https://registry.corp.co.uk/", "https://auth.corp.co.uk/"),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/token"),
            ("http://localhost:5000/", "http://localhost:5000/token"),
        ] {
            assert!(belong(root, realm, &[]), "{root} {realm}");
        }
        for (root, realm) in [
            ("https://registry.example.com/", "https://auth.example.org/"),
            ("https://registry.example.com/", "https://example.com.evil.org/"),
            ("https://registry.one.co.uk/", "https://auth.two.co.uk/"),
            ("https://one.co.uk/", "https://two.co.uk/"),
            ("https://one.com.au/", "https://com.au/"),
            ("https://one.azurecr.io/", "https://two.azurecr.io/"),
            ("https://one.github.io/", "https://two.github.io/"),
            ("https://one.eu.azurecr.io/", "https://one.us.azurecr.io/"),
            // Neither has a registrable domain: nothing is not equal to nothing.
            ("http://127.0.0.1:5000/", "http://127.0.0.2:5000/"),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5001/"),
            ("http://[::1]/", "http://[::2]/"),
            ("http://1.2.3.4/", "http://5.2.3.4/"),
            ("http://localhost:5000/", "http://localhost:5001/"),
            ("http://localhost/", "http://127.0.0.1/"),
            ("http://registry/", "http://auth/"),
            ("http://registry/", "http://registry:81/"),
            ("http://a.localhost/", "http://b.localhost/"),
            ("http://a.svc.local/", "http://b.svc.local/"),
            ("https://com/", "https://com:444/"),
        ] {
            assert!(!belong(root, realm, &[]), "{root} {realm}");
        }
        assert!(belong("http://127.0.0.1:5000/", "http://127.0.0.1:5001/", &["127.0.0.1:5001"]));
        assert!(!belong("http://127.0.0.1:5000/", "http://127.0.0.1:5002/", &["127.0.0.1:5001", "127.0.0.1"]));
        assert!(belong("https://registry.example.com/", "https://login.example.org/", &["LOGIN.example.org"]));
        assert!(!belong("https://registry.example.com/", "https://login.example.org:8443/", &["login.example.org"]));
    }

    #[test]
    fn tokens_are_read_and_end_before_their_time() {
        let token = |text: &str| read_token(&Bytes::copy_from_slice(text.as_bytes())).map(|(value, lifetime)| (value.to_str().unwrap().to_owned(), lifetime));
        assert_eq!(token(r#"{"token":"a","expires_in":100}"#), Ok((String::from("Bearer a"), Duration::from_secs(80))));
        assert_eq!(token(r#"{"access_token":"b"}"#).unwrap().1, Duration::from_secs(48));
        assert_eq!(token(r#"{"token":"","access_token":"b","expires_in":1e300}"#).unwrap().1, Duration::from_secs(2880));
        for text in ["", "{}", "[]", "<html>", r#"{"token":"a\nb"}"#, r#"{"token":7}"#, &format!(r#"{{"token":"{}"}}"#, "x".repeat(20_000))] {
            assert!(token(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_question_keeps_the_realms_own_query() {
        let scope = Scope { realm: String::new(), service: Some(String::from("a b")), scope: Some(String::from("repository:x/y:pull")) };
        let url = question(&Url::parse("https://auth.example/token?keep=1").unwrap(), &scope, Some("me"));
        assert_eq!(url.as_str(), "https://auth.example/token?keep=1&service=a+b&scope=repository%3Ax%2Fy%3Apull&account=me");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (memory, now) = (Memory::default(), Instant::now());
        let value = HeaderValue::from_static("Bearer x");
        for number in 0..3 * MOST {
            let scope = Scope { realm: number.to_string(), service: None, scope: None };
            memory.note_token(&scope, value.clone(), now + Duration::from_secs(60), now);
            memory.note_challenge(&number.to_string(), &Challenge::Basic);
            assert_eq!(memory.token(&scope, now), Some(value.clone()));
            assert_eq!(memory.token(&scope, now + Duration::from_secs(61)), None);
        }
        let known = memory.lock();
        assert!(known.tokens.len() <= MOST && known.challenges.len() <= MOST);
    }
}
