//! Trusted publishing: where a build's identity token is exchanged for a token of ours.
//!
//! Clients look for this at the root of a host, each in its own words: those of Python's upload tools below `/_/oidc/` and
//! `/.well-known/pytp`, those of npm below `/-/npm/v1/oidc/`. None of these paths can belong to a repository of a system, as `_` and
//! `.well-known` are no names. Which repository is meant is said by the host, by the path, or else by the publisher that is found. All answers follow from the token
//! and the path alone: whether there is such a repository, package or publisher shows to nobody who does not come with a token that is good for it.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use entrepot_kit::path::RequestPath;
use entrepot_kit::{Address, Error, Query, Result};
use futures::StreamExt as _;
use http::{Method, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::{Credentials, ExchangeRefusal, Exchanged, Wish};
use crate::http::client::{Client, credentials};
use crate::http::observe::tell;
use crate::http::{Server, refuse};
use crate::metrics::About;
use crate::registry::Context;

/// Largest body of a request.
const MAX_BODY: usize = 64 * 1024;
/// What a token of ours is, in the words of Python's standard: good for as many uploads as there are until it ends.
const FEATURE: &str = "multi-use-token";

/// The middle of the address at which npm asks, behind nothing or a repository.
const NPM: &str = "/-/npm/v1/oidc/token/exchange/package/";

/// What a path names; a name that no repository can have is that of none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// Nothing: the host may.
    Nothing,
    /// A repository.
    Repository(Address),
    /// What no repository is called.
    Impossible,
}

impl Named {
    fn read(system: &str, repository: &str) -> Self {
        Address::new(system, repository).map_or(Self::Impossible, Self::Repository)
    }

    /// The repository of the path, or else that of the host.
    fn or_of_host(self, client: &mut Client, server: &Server) -> Self {
        match self {
            Self::Nothing => client.bind(&server.settings).map_or(Self::Nothing, Self::Repository),
            named => named,
        }
    }
}

/// An address of the exchange.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Own<'a> {
    /// `GET /.well-known/pytp`
    Discovery,
    /// `GET /_/oidc/audience`
    Audience,
    /// `POST /_/oidc/mint-token`
    Mint(Named),
    /// `POST /-/npm/v1/oidc/token/exchange/package/{package}`
    Npm(Named, &'a str),
}

impl<'a> Own<'a> {
    /// The address that a request is for. Asked of every request, so that it looks at the beginning of most paths only.
    pub(crate) fn of(method: &Method, path: &'a str) -> Option<Self> {
        let (reads, posts) = (method == Method::GET, method == Method::POST);
        if let Some(rest) = path.strip_prefix("/_/oidc/") {
            let segments: Vec<&str> = rest.splitn(4, '/').collect();
            return match segments.as_slice() {
                ["audience"] | [_, _, "audience"] if reads => Some(Self::Audience),
                ["mint-token"] if posts => Some(Self::Mint(Named::Nothing)),
                [system, repository, "mint-token"] if posts => Some(Self::Mint(Named::read(system, repository))),
                _ => None,
            };
        }
        if path == "/.well-known/pytp" {
            return reads.then_some(Self::Discovery);
        }
        let (before, package) = path.split_once(NPM).filter(|_| posts)?;
        let named = match before.strip_prefix('/').map(|before| before.split_once('/')) {
            None if before.is_empty() => Named::Nothing,
            Some(Some((system, repository))) if !repository.contains('/') => Named::read(system, repository),
            _ => return None,
        };
        Some(Self::Npm(named, package))
    }

    fn route(&self) -> &'static str {
        match self {
            Self::Discovery => "publishers-discovery",
            Self::Audience => "publishers-audience",
            Self::Mint(_) => "publishers-mint",
            Self::Npm(..) => "publishers-npm",
        }
    }

    /// Answers.
    pub(crate) async fn serve(self, request: &HttpRequest, payload: web::Payload, server: &Server) -> HttpResponse {
        tell(request, |told| {
            told.route = self.route();
            told.about = About { format: "publishers", action: "sign-in" };
        });
        let client = Client::of(request, server);
        match self {
            Self::Discovery => discovery(request, client, server),
            Self::Audience => audience(server),
            Self::Mint(named) => mint(request, payload, client, server, named).await,
            Self::Npm(named, package) => npm(request, client, server, named, package).await,
        }
    }
}

/// `GET /.well-known/pytp?discover=/system/repository/…`: where the other two addresses are.
fn discovery(request: &HttpRequest, mut client: Client, server: &Server) -> HttpResponse {
    let bound = client.bind(&server.settings);
    let query = Query::parse(request.uri().query().unwrap_or_default());
    // The path of an upload's address, encoded as a whole.
    let raw = query.get("discover").unwrap_or_default();
    let mut segments = raw.trim_start_matches('/').split('/');
    let named = match bound {
        Some(_) => Some(String::new()),
        None => Address::new(segments.next().unwrap_or_default(), segments.next().unwrap_or_default()).ok().map(|address| format!("{address}/")),
    };
    let Some(named) = named.filter(|_| server.engine.access.audience().is_some()) else { return empty(actix_web::http::StatusCode::NOT_FOUND) };
    let endpoint = |name: &str| format!("{}/_/oidc/{named}{name}", client.origin);
    answer(
        actix_web::http::StatusCode::OK,
        &json!({
            "audience-endpoint": endpoint("audience"),
            "token-mint-endpoint": endpoint("mint-token"),
            "features": [FEATURE],
            "default-features": [FEATURE],
        }),
    )
}

/// `GET /_/oidc/audience`: for whom the identity token is to be made out.
fn audience(server: &Server) -> HttpResponse {
    match server.engine.access.audience() {
        Some(audience) => answer(actix_web::http::StatusCode::OK, &json!({ "audience": audience })),
        None => answer(
            actix_web::http::StatusCode::FORBIDDEN,
            &failed("trusted publishing is not enabled: the server has no name of its own (access.audience)", "not-enabled", "not enabled"),
        ),
    }
}

/// What Python's tools send.
#[derive(Deserialize)]
struct Minting {
    token: SecretString,
    #[serde(default)]
    features: Vec<String>,
}

/// `POST /_/oidc/mint-token`: a token for the user `__token__`.
async fn mint(request: &HttpRequest, payload: web::Payload, mut client: Client, server: &Server, named: Named) -> HttpResponse {
    let named = named.or_of_host(&mut client, server);
    let body = match read(payload, server).await {
        Ok(body) => body,
        Err(error) => return unable(&error),
    };
    let wrong = |code: &str, description: &str| answer(actix_web::http::StatusCode::UNPROCESSABLE_ENTITY, &failed("Token request failed", code, description));
    let Ok(minting) = serde_json::from_slice::<Minting>(&body) else {
        return wrong("invalid-payload", "the body is not a JSON object with the identity token as \"token\"");
    };
    if minting.features.iter().any(|feature| feature != FEATURE) {
        return wrong("invalid-payload", "a feature that is asked for is not to be had here: the only one is multi-use-token");
    }
    match exchange(request, server, client, named, &minting.token, None).await {
        Ok(given) => answer(actix_web::http::StatusCode::OK, &json!({ "success": true, "token": given.text, "expires": given.expires.0.div_euclid(1000) })),
        Err(ExchangeRefusal::Failed(error)) => unable(&error),
        Err(refusal) => {
            let (code, description) = said(&refusal);
            wrong(code, description)
        }
    }
}

/// `POST /-/npm/v1/oidc/token/exchange/package/{package}`, with the identity token as Bearer.
async fn npm(request: &HttpRequest, mut client: Client, server: &Server, named: Named, package: &str) -> HttpResponse {
    let named = named.or_of_host(&mut client, server);
    let unauthorized = |description: &str| {
        let body = json!({ "error": description, "message": description });
        answer(actix_web::http::StatusCode::UNAUTHORIZED, &body)
    };
    let token = match credentials(request.headers()) {
        Ok(Some(Credentials::Bearer(token))) => token,
        _ => return unauthorized("send the identity token as Bearer"),
    };
    // `@scope%2fname` is one name however it is written.
    let package = RequestPath::decode(package).map(|path| path.joined());
    let Ok(package) = package else { return unauthorized(said(&ExchangeRefusal::NoPublisher).1) };
    match exchange(request, server, client, named, &token, Some(&package)).await {
        Ok(given) => answer(actix_web::http::StatusCode::CREATED, &json!({ "token_type": "oidc", "token": given.text, "expires": given.expires.rfc3339() })),
        Err(ExchangeRefusal::Failed(error)) => refuse(&error, None),
        Err(refusal) => unauthorized(said(&refusal).1),
    }
}

async fn exchange(
    request: &HttpRequest,
    server: &Server,
    client: Client,
    named: Named,
    token: &SecretString,
    package: Option<&str>,
) -> Result<Exchanged, ExchangeRefusal> {
    let Context { facts, .. } = client.sign_in_with(server, None).await?;
    let repository = match &named {
        Named::Nothing => None,
        Named::Repository(address) => Some(address),
        Named::Impossible => return Err(ExchangeRefusal::NoPublisher),
    };
    let given = server.engine.access.exchange(&Wish { token, repository, package }, &facts).await;
    if let Ok(given) = &given {
        tell(request, |told| told.principal.clone_from(&given.principal));
    }
    if let Err(ExchangeRefusal::Failed(error)) = &given
        && error.status() == StatusCode::INTERNAL_SERVER_ERROR
    {
        tracing::error!(request_id = facts.request_id, %error, cause = ?std::error::Error::source(error), "a request failed");
    }
    given
}

/// A refusal in the words of Python's index: a code for programs, and what is wrong. Exactly what is, is in the audit log.
pub(crate) fn said(refusal: &ExchangeRefusal) -> (&'static str, &'static str) {
    match refusal {
        ExchangeRefusal::Invalid | ExchangeRefusal::Failed(_) => (
            "invalid-token",
            "malformed or invalid token: it must be signed by a platform that publishes here, be made out for this server, and not have expired",
        ),
        ExchangeRefusal::NoPublisher => ("invalid-publisher", "valid token, but no corresponding publisher: none is for these claims here"),
        ExchangeRefusal::Several => {
            ("invalid-publisher", "valid token, but several corresponding publishers: name the repository or the package, or join the publishers")
        }
        ExchangeRefusal::Used => ("invalid-reuse-token", "invalid token: already used; ask the platform for another one"),
    }
}

/// What is no fault of the token, in the same words.
fn unable(error: &Error) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(error.status().as_u16()).unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer(status, &failed("Token request failed", "not-exchanged", error.message()));
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
    }
    response
}

fn failed(message: &str, code: &str, description: &str) -> Value {
    json!({ "message": message, "errors": [{ "code": code, "description": description }] })
}

fn answer(status: actix_web::http::StatusCode, body: &Value) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .content_type("application/json")
        .body(body.to_string())
}

fn empty(status: actix_web::http::StatusCode) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CACHE_CONTROL, "no-store")).finish()
}

async fn read(mut payload: web::Payload, server: &Server) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let chunk = tokio::time::timeout(server.settings.idle_timeout, payload.next()).await;
        let chunk = chunk.map_err(|_| Error::new(StatusCode::REQUEST_TIMEOUT, "the rest of the body did not arrive"))?;
        let Some(chunk) = chunk else { return Ok(body) };
        let chunk = chunk.map_err(|cause| Error::bad_request("the body broke off").with_source(cause.to_string()))?;
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Error::too_large(format!("the body is larger than {MAX_BODY} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
}

#[cfg(test)]
mod tests {
    use entrepot_kit::Address;
    use http::Method;

    use super::{Named, Own};

    #[test]
    fn own_addresses_are_no_repositories() {
        let named = || Named::Repository(Address::new("a", "b").unwrap());
        let npm = "/-/npm/v1/oidc/token/exchange/package/";
        for (method, path, own) in [
            (Method::GET, String::from("/_/oidc/audience"), Own::Audience),
            (Method::GET, String::from("/_/oidc/a/b/audience"), Own::Audience),
            (Method::POST, String::from("/_/oidc/mint-token"), Own::Mint(Named::Nothing)),
            (Method::POST, String::from("/_/oidc/a/b/mint-token"), Own::Mint(named())),
            (Method::POST, String::from("/_/oidc/A/b/mint-token"), Own::Mint(Named::Impossible)),
            (Method::GET, String::from("/.well-known/pytp"), Own::Discovery),
            (Method::POST, format!("{npm}@s%2fn"), Own::Npm(Named::Nothing, "@s%2fn")),
            (Method::POST, format!("/a/b{npm}n"), Own::Npm(named(), "n")),
            (Method::POST, format!("/a/b.at-r1{npm}n"), Own::Npm(Named::Impossible, "n")),
        ] {
            assert_eq!(Own::of(&method, &path), Some(own), "{method} {path}");
            assert_eq!(Own::of(&Method::DELETE, &path), None, "{path}");
        }
        for path in ["/", "/_/oidc/", "/_/oidc/a/audience", "/_/oidc/a/b/c/audience", "/.well-known/pytp/x", "/a/b/c", "/a"] {
            assert_eq!((Own::of(&Method::GET, path), Own::of(&Method::POST, path)), (None, None), "{path}");
        }
        for path in [format!("/a{npm}n"), format!("/a/b/c{npm}n"), format!("//{npm}n")] {
            assert!(!matches!(Own::of(&Method::POST, &path), Some(Own::Npm(Named::Repository(_) | Named::Nothing, _))), "{path}");
        }
    }
}
