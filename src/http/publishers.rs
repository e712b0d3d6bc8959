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
use http::StatusCode;
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

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/.well-known/pytp", web::get().to(discovery))
        .route("/_/oidc/audience", web::get().to(audience))
        .route("/_/oidc/mint-token", web::post().to(mint))
        .route("/_/oidc/{system}/{repository}/audience", web::get().to(audience))
        .route("/_/oidc/{system}/{repository}/mint-token", web::post().to(mint))
        .route("/-/npm/v1/oidc/token/exchange/package/{package:.*}", web::post().to(npm))
        .route("/{system}/{repository}/-/npm/v1/oidc/token/exchange/package/{package:.*}", web::post().to(npm));
}

fn about(request: &HttpRequest, route: &'static str) {
    tell(request, |told| {
        told.route = route;
        told.about = About { format: "publishers", action: "sign-in" };
    });
}

/// What a path names; a name that no repository can have is that of none.
enum Named {
    Nothing,
    Repository(Address),
    Impossible,
}

impl Named {
    /// The repository of the host, or the one in the path.
    fn of(request: &HttpRequest, client: &mut Client, server: &Server) -> Self {
        let matched = request.match_info();
        if let (Some(system), Some(repository)) = (matched.get("system"), matched.get("repository")) {
            return Address::new(system, repository).map_or(Self::Impossible, Self::Repository);
        }
        client.bind(&server.settings).map_or(Self::Nothing, Self::Repository)
    }
}

/// `GET /.well-known/pytp?discover=/system/repository/…`: where the other two addresses are.
async fn discovery(request: HttpRequest, server: web::Data<Server>) -> HttpResponse {
    about(&request, "publishers-discovery");
    let mut client = Client::of(&request, &server);
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
async fn audience(request: HttpRequest, server: web::Data<Server>) -> HttpResponse {
    about(&request, "publishers-audience");
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
async fn mint(request: HttpRequest, payload: web::Payload, server: web::Data<Server>) -> HttpResponse {
    about(&request, "publishers-mint");
    let mut client = Client::of(&request, &server);
    let named = Named::of(&request, &mut client, &server);
    let body = match read(payload, &server).await {
        Ok(body) => body,
        Err(error) => return refuse(&error, None),
    };
    let wrong = |code: &str, description: &str| answer(actix_web::http::StatusCode::UNPROCESSABLE_ENTITY, &failed("Token request failed", code, description));
    let Ok(minting) = serde_json::from_slice::<Minting>(&body) else {
        return wrong("invalid-payload", "the body is not a JSON object with the identity token as \"token\"");
    };
    if minting.features.iter().any(|feature| feature != FEATURE) {
        return wrong("invalid-payload", "a feature that is asked for is not to be had here: the only one is multi-use-token");
    }
    match exchange(&request, &server, client, named, &minting.token, None).await {
        Ok(given) => answer(actix_web::http::StatusCode::OK, &json!({ "success": true, "token": given.text, "expires": given.expires.0.div_euclid(1000) })),
        Err(ExchangeRefusal::Failed(error)) => refuse(&error, None),
        Err(refusal) => {
            let (code, description) = said(&refusal);
            wrong(code, description)
        }
    }
}

/// `POST /-/npm/v1/oidc/token/exchange/package/{package}`, with the identity token as Bearer.
async fn npm(request: HttpRequest, server: web::Data<Server>) -> HttpResponse {
    about(&request, "publishers-npm");
    let mut client = Client::of(&request, &server);
    let named = Named::of(&request, &mut client, &server);
    let unauthorized = |description: &str| {
        let body = json!({ "error": description, "message": description });
        answer(actix_web::http::StatusCode::UNAUTHORIZED, &body)
    };
    let token = match credentials(request.headers()) {
        Ok(Some(Credentials::Bearer(token))) => token,
        _ => return unauthorized("send the identity token as Bearer"),
    };
    // `@scope%2fname` is one name however it is written.
    let package = RequestPath::decode(request.match_info().get("package").unwrap_or_default()).map(|path| path.joined());
    let Ok(package) = package else { return unauthorized(said(&ExchangeRefusal::NoPublisher).1) };
    match exchange(&request, &server, client, named, &token, Some(&package)).await {
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
