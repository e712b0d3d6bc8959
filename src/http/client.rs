//! Who asks, and by which name they reach us.

use std::net::IpAddr;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpMessage as _, HttpRequest};
use base64::Engine as _;
use entrepot_kit::{Address, Error, Result, Timestamp};
use ipnet::IpNet;
use secrecy::SecretString;

use crate::access::{Credentials, RequestFacts};
use crate::http::{Server, Settings};
use crate::registry::Context;

/// Longest request id that is taken over from a client.
const MAX_REQUEST_ID: usize = 64;

/// Headers that reverse proxies add.
const FORWARDED: [&str; 4] = ["x-forwarded-for", "forwarded", "x-real-ip", "via"];

/// What is known of a request before anybody is asked for rights.
pub(crate) struct Client {
    /// The request's id, and the address of whoever asks, behind trusted proxies.
    pub(crate) facts: RequestFacts,
    /// The request's id, as the answer says it.
    pub(crate) request_id: HeaderValue,
    /// Scheme, host and port by which the caller reaches us.
    pub(crate) origin: String,
    /// Host and port as this request names them; `None` when it names none that could be one.
    host: Option<String>,
    /// When the request came: the same time for all that it does.
    pub(crate) now: Timestamp,
    /// The address, unless somebody whom we do not trust forwarded the request: then it may come from anywhere.
    pub(crate) neighbour: Option<IpAddr>,
}

impl Client {
    /// What was read when the request came in.
    pub(crate) fn of(request: &HttpRequest, server: &Server) -> Self {
        let known = request.extensions_mut().remove::<Self>();
        known.unwrap_or_else(|| Self::read(request, server))
    }

    /// Reads the request's own and the forwarded headers.
    pub(crate) fn read(request: &HttpRequest, server: &Server) -> Self {
        let headers = request.headers();
        // A socket for both families shows an IPv4 address in the clothes of an IPv6 one.
        let peer = request.peer_addr().map(|address| address.ip().to_canonical());
        let trusted = peer.is_some_and(|peer| trusts(&server.settings, peer));
        let remote = remote(headers, peer, trusted, &server.settings);
        let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
        let host = host(headers, request.uri().authority().map(actix_web::http::uri::Authority::as_str), trusted);
        let request_id = request_id(headers);
        Self {
            neighbour: remote.filter(|_| trusted || !forwarded),
            facts: RequestFacts { remote, request_id: request_id.to_str().unwrap_or_default().to_owned(), service: None },
            request_id,
            origin: origin(headers, host.as_deref(), trusted, &server.settings),
            host,
            now: server.engine.now(),
        }
    }

    /// The repository that the request's host is bound to. Such a host is reached under its own name, whatever `public_url` says.
    pub(crate) fn bind(&mut self, settings: &Settings) -> Option<Address> {
        let host = self.host.as_deref()?;
        let bound = settings.hosts.get(without_port(host))?.clone();
        let scheme = self.origin.split_once("://").map_or("http", |(scheme, _)| scheme);
        self.origin = format!("{scheme}://{host}");
        Some(bound)
    }

    /// The host and port of the origin: what a registry client calls the service.
    pub(crate) fn service(&self) -> &str {
        let rest = self.origin.split_once("://").map_or(self.origin.as_str(), |(_, rest)| rest);
        rest.split_once('/').map_or(rest, |(host, _)| host)
    }

    /// Finds out who asks, after a look at what other replicas changed about `address` and the rights to it.
    ///
    /// # Errors
    /// 503 when the catalog cannot be reached, 400 for a malformed header, 401 for wrong credentials, 429 after many wrong ones.
    pub(crate) async fn sign_in(self, request: &HttpRequest, server: &Server, address: Option<&Address>) -> Result<(Self, Context)> {
        server.engine.catch_up(address).await?;
        let credentials = credentials(request.headers())?;
        let caller = server.engine.access.authenticate(credentials, &self.facts).await?;
        let context = Context { caller, now: self.now, facts: self.facts.clone() };
        Ok((self, context))
    }

    /// The same with credentials that came in another way.
    ///
    /// # Errors
    /// As for [`Self::sign_in`].
    pub(crate) async fn sign_in_with(self, server: &Server, credentials: Option<Credentials>) -> Result<Context> {
        server.engine.catch_up(None).await?;
        let caller = server.engine.access.authenticate(credentials, &self.facts).await?;
        Ok(Context { caller, now: self.now, facts: self.facts })
    }
}

fn trusts(settings: &Settings, address: IpAddr) -> bool {
    settings.trusted_proxies.iter().any(|network: &IpNet| network.contains(&address))
}

/// The id that a request brings, or a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_clean = |id: &[u8]| !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    if let Some(given) = headers.get("x-request-id").filter(|id| is_clean(id.as_bytes())) {
        return given.clone();
    }
    new_request_id()
}

/// An id for a request that brings none.
pub(crate) fn new_request_id() -> HeaderValue {
    // It only tells requests apart: nobody may conclude anything from it.
    let (mut bytes, mut text) = ([0; 12], [b'0'; 24]);
    fastrand::fill(&mut bytes);
    // The text has two digits for each byte, which are good in a header.
    let _ = hex::encode_to_slice(bytes, &mut text);
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("none"))
}

/// The right-most forwarded address that is not one of our own proxies.
fn remote(headers: &HeaderMap, peer: Option<IpAddr>, trusted: bool, settings: &Settings) -> Option<IpAddr> {
    if !trusted {
        return peer;
    }
    let forwarded = headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",");
    let mut last = peer;
    for hop in forwarded.split(',').rev().map_while(|hop| hop.trim().parse::<IpAddr>().ok()) {
        last = Some(hop);
        if !trusts(settings, hop) {
            break;
        }
    }
    last
}

/// The last value of a forwarded header, where it is believed.
fn right_most<'a>(headers: &'a HeaderMap, name: &str, trusted: bool) -> Option<&'a str> {
    headers.get_all(name).last().and_then(|value| value.to_str().ok()).and_then(|value| value.rsplit(',').next()).map(str::trim).filter(|_| trusted)
}

/// HTTP/2 says the host in the address (`authority`), HTTP/1 in a header.
fn host(headers: &HeaderMap, authority: Option<&str>, trusted: bool) -> Option<String> {
    let forwarded = right_most(headers, "x-forwarded-host", trusted);
    let host = forwarded.or_else(|| headers.get(header::HOST).and_then(|value| value.to_str().ok())).or(authority);
    host.filter(|host| is_host(host)).map(str::to_ascii_lowercase)
}

fn origin(headers: &HeaderMap, host: Option<&str>, trusted: bool, settings: &Settings) -> String {
    if let Some(url) = &settings.public_url {
        return url.clone();
    }
    let scheme = right_most(headers, "x-forwarded-proto", trusted).filter(|scheme| matches!(*scheme, "http" | "https"));
    let scheme = scheme.unwrap_or(if settings.tls.is_some() { "https" } else { "http" });
    let host = host.map_or_else(|| settings.listen.to_string(), str::to_owned);
    format!("{scheme}://{host}")
}

/// `[::1]:5000` and `host:5000` without their ports.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A host, with a port perhaps: nothing that could break out of a document that it is written into.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
}

/// Reads `Authorization`.
///
/// # Errors
/// 401 for what is no such header.
pub(crate) fn credentials(headers: &HeaderMap) -> Result<Option<Credentials>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let malformed = || Error::unauthorized("the Authorization header is neither Basic nor Bearer");
    let (scheme, rest) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(malformed)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        // npm sends an empty token for registries that it has none for.
        return Ok((!rest.is_empty()).then(|| Credentials::Bearer(SecretString::from(rest))));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(malformed());
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or_else(|| Error::unauthorized("the Basic credentials are not base64 of name:password"))?;
    let (user, password) = decoded.split_once(':').ok_or_else(|| Error::unauthorized("the Basic credentials are not base64 of name:password"))?;
    Ok(Some(Credentials::Basic { user: user.to_owned(), password: SecretString::from(password) }))
}

#[cfg(test)]
mod tests {
    use super::{credentials, is_host, request_id, without_port};
    use crate::access::Credentials;
    use actix_web::http::header::{self, HeaderMap, HeaderValue};

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HeaderName::from_static(name), HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn hostile_hosts_and_ids_are_not_taken_over() {
        for bad in ["", "a b", "a/b", "a\"b", "a<b", "a@b", &"x".repeat(256)] {
            assert!(!is_host(bad), "{bad}");
        }
        assert!(is_host("[::1]:8080") && is_host("packages.example.com"));
        assert_eq!(request_id(&with("x-request-id", "abc-1")), "abc-1");
        assert_ne!(request_id(&with("x-request-id", "a b")), "a b");
    }

    #[test]
    fn hosts_are_known_without_their_ports() {
        for (host, name) in
            [("a.example:5000", "a.example"), ("a.example", "a.example"), ("[::1]:5000", "[::1]"), ("[::1]", "[::1]"), ("127.0.0.2:80", "127.0.0.2")]
        {
            assert_eq!(without_port(host), name);
        }
    }

    #[test]
    fn credentials_are_basic_or_bearer() {
        assert!(matches!(credentials(&with("authorization", "Basic YTpiOmM=")), Ok(Some(Credentials::Basic { user, .. })) if user == "a"));
        assert!(matches!(credentials(&with("authorization", "bearer x")), Ok(Some(Credentials::Bearer(_)))));
        assert!(matches!(credentials(&with("authorization", "Bearer ")), Ok(None)));
        for bad in ["Basic", "Basic !!", "Basic YQ==", "Digest x", "x"] {
            assert!(credentials(&with("authorization", bad)).is_err(), "{bad}");
        }
    }
}
