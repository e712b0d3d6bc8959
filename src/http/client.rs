//! Who asks, and by which name they reach us.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};
use base64::Engine as _;
use entrepot_kit::{Address, Error, Result, Timestamp};
use ipnet::IpNet;
use secrecy::SecretString;

use crate::access::{Credentials, RequestFacts};
use crate::http::{Server, Settings};
use crate::registry::Context;

/// Longest request id that is taken over from a client.
const MAX_REQUEST_ID: usize = 64;

/// What is known of a request before anybody is asked for rights.
pub(crate) struct Client {
    /// The request's id, and the address of whoever asks, behind trusted proxies.
    pub(crate) facts: RequestFacts,
    /// Scheme, host and port by which the caller reaches us.
    pub(crate) origin: String,
    /// When the request came: the same time for all that it does.
    pub(crate) now: Timestamp,
}

impl Client {
    /// Reads the request's own and the forwarded headers.
    pub(crate) fn of(request: &HttpRequest, server: &Server) -> Self {
        let headers = request.headers();
        let peer = request.peer_addr().map(|address| address.ip());
        let trusted = peer.is_some_and(|peer| trusts(&server.settings, peer));
        Self {
            facts: RequestFacts { remote: remote(headers, peer, trusted, &server.settings), request_id: request_id(headers) },
            origin: origin(headers, trusted, &server.settings),
            now: server.engine.now(),
        }
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
}

fn trusts(settings: &Settings, address: IpAddr) -> bool {
    settings.trusted_proxies.iter().any(|network: &IpNet| network.contains(&address))
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    let clean = given.filter(|id| !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
    clean.map_or_else(
        || {
            let mut bytes = [0; 12];
            // A request id only tells requests apart: without randomness it is all zeros, and nothing else suffers.
            let _ = getrandom::fill(&mut bytes);
            hex::encode(bytes)
        },
        str::to_owned,
    )
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

fn origin(headers: &HeaderMap, trusted: bool, settings: &Settings) -> String {
    if let Some(url) = &settings.public_url {
        return url.clone();
    }
    let right_most = |name: &str| {
        headers.get_all(name).last().and_then(|value| value.to_str().ok()).and_then(|value| value.rsplit(',').next()).map(str::trim).filter(|_| trusted)
    };
    let scheme = right_most("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https")).unwrap_or("http");
    let host = right_most("x-forwarded-host").or_else(|| headers.get(header::HOST).and_then(|value| value.to_str().ok()));
    let host = host.filter(|host| is_host(host)).map_or_else(|| settings.listen.to_string(), str::to_ascii_lowercase);
    format!("{scheme}://{host}")
}

/// A host, with a port perhaps: nothing that could break out of a document that it is written into.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
}

/// Reads `Authorization`.
fn credentials(headers: &HeaderMap) -> Result<Option<Credentials>> {
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
    use super::{credentials, is_host, request_id};
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
    fn credentials_are_basic_or_bearer() {
        assert!(matches!(credentials(&with("authorization", "Basic YTpiOmM=")), Ok(Some(Credentials::Basic { user, .. })) if user == "a"));
        assert!(matches!(credentials(&with("authorization", "bearer x")), Ok(Some(Credentials::Bearer(_)))));
        assert!(matches!(credentials(&with("authorization", "Bearer ")), Ok(None)));
        for bad in ["Basic", "Basic !!", "Basic YQ==", "Digest x", "x"] {
            assert!(credentials(&with("authorization", bad)).is_err(), "{bad}");
        }
    }
}
