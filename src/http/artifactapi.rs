//! What clients of the caching service "artifactapi" ask for besides files: which remotes there are, what is stored, and that it be fetched.
//! Files themselves are below `/api/{remote}/`, which `place` reads.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::{Action, Address, Error, Kind, Listing, ListingItem, Query, Result};
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::client::Client;
use crate::http::observe::tell;
use crate::http::{Server, refuse, repository};
use crate::metrics::About;
use crate::registry::artifactapi::Remote;
use crate::registry::gather::{Gathered, Outcome};
use crate::registry::paths::PATHS;
use crate::registry::reader::Reader;
use crate::registry::{Context, Repo};

/// Items of a page when the client does not say, and at most.
const PAGE: usize = 1000;
const MOST: usize = 5000;
/// Longest cursor.
const LONGEST_CURSOR: usize = 4096;
/// Largest body.
const MOST_BODY: usize = 8 << 10;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/config", web::get().to(configuration))
        .route("/artifacts/{remote}", web::get().to(artifacts))
        .route("/cache-artifact", web::post().to(cache_artifact))
        // Before the management API, which has the rest below `/api/v1`.
        .route("/api/v1/remote/{tail:.*}", web::route().to(repository::serve));
}

fn told(request: &HttpRequest, route: &'static str, action: Action) {
    tell(request, |told| {
        told.route = route;
        told.about = About { format: "artifactapi", action: action.name() };
    });
}

fn finish(outcome: Result<Value>) -> HttpResponse {
    match outcome {
        Ok(body) => HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff")).json(body),
        Err(error) => {
            if error.status().is_server_error() {
                tracing::error!(%error, cause = ?std::error::Error::source(&error), "a request failed");
            }
            refuse(&error, None)
        }
    }
}

/// A remote that the caller may read. To everybody else a hidden one is missing.
async fn readable(request: &HttpRequest, server: &Server, name: &str) -> Result<(Context, std::sync::Arc<Repo>)> {
    let address = Address::new(DEFAULT_SYSTEM, name).ok();
    let (_, context) = Client::of(request, server).sign_in(request, server, address.as_ref()).await?;
    tell(request, |told| told.principal = context.caller.name());
    let repo = address.and_then(|address| server.engine.repo(&address)).ok_or_else(|| server.engine.access.missing(&context.caller, name))?;
    if !server.engine.access.decide(&context.caller, Action::Read, &repo.target(None)).await?.allowed {
        return Err(server.engine.access.missing(&context.caller, name));
    }
    Ok((context, repo))
}

/// What the file of remotes says, its secrets aside: for administrators.
async fn configuration(request: HttpRequest, server: web::Data<Server>) -> HttpResponse {
    told(&request, "artifactapi-config", Action::Manage);
    finish(
        async {
            let (_, context) = Client::of(&request, &server).sign_in(&request, &server, None).await?;
            tell(&request, |told| told.principal = context.caller.name());
            server.engine.access.admin(&context.caller, &context.facts)?;
            let mut remotes = Map::new();
            for repo in server.engine.table().iter() {
                if let Some(remote) = Remote::from_settings(&repo.row.settings)? {
                    remotes.insert(repo.address().repository.to_string(), shown(repo, &remote));
                }
            }
            Ok(json!({ "remotes": remotes }))
        }
        .await,
    )
}

/// A remote in the words of its file.
fn shown(repo: &Repo, remote: &Remote) -> Value {
    let settings = &repo.row.settings;
    let mut upstream = settings.get("upstream").cloned().unwrap_or_default();
    crate::upstream::hide_secrets(&mut upstream);
    let of = |value: &Value, field: &str| value.get(field).cloned().unwrap_or_default();
    let paths = settings.get(PATHS).cloned().unwrap_or_default();
    let mut shown = Map::new();
    let mut say = |field: &str, value: Value| drop(shown.insert(field.to_owned(), value));
    say("type", if repo.kind() == Kind::Hosted { "local" } else { "remote" }.into());
    say("package", remote.package.name().into());
    say("description", remote.description.as_str().into());
    if repo.kind() == Kind::Proxy {
        say("base_url", of(&upstream, "url"));
        say("immutable_patterns", of(&paths, "immutable"));
        say("mutable_patterns", of(&paths, "mutable"));
        say("built_in_mutable_patterns", of(&paths, "anew"));
        say("check_mutable_updates", of(&paths, "check"));
        say("cache", json!({ "immutable_ttl": ttl(repo, true), "mutable_ttl": ttl(repo, false) }));
        for field in ["username", "password"] {
            if upstream.get(field).is_some() {
                say(field, of(&upstream, field));
            }
        }
    }
    shown.into()
}

fn ttl(repo: &Repo, immutable: bool) -> u64 {
    let settings = repo.upstream.as_ref().map(|upstream| upstream.settings());
    settings.map_or(0, |settings| if immutable { settings.immutable_ttl } else { settings.mutable_ttl })
}

/// What of a remote is stored, in pages.
async fn artifacts(request: HttpRequest, path: web::Path<String>, server: web::Data<Server>) -> HttpResponse {
    told(&request, "artifactapi-artifacts", Action::Read);
    finish(
        async {
            let (context, repo) = readable(&request, &server, &path).await?;
            let query = Query::parse(request.uri().query().unwrap_or_default());
            let after = query.get("after").filter(|after| !after.is_empty()).map(str::to_owned);
            if after.as_ref().is_some_and(|after| after.len() > LONGEST_CURSOR || after.contains('\0')) {
                return Err(Error::bad_request("\"after\" is the \"next\" of the page before: take it from there"));
            }
            let listing = Listing { prefix: String::new(), after, limit: query.number("limit", PAGE, MOST).max(1), recursive: true };
            let reader = Reader::new(std::sync::Arc::clone(&server.engine), context.caller, context.now, None);
            let page = reader.entries(&repo, &listing).await?;
            let next = page.more.then(|| page.items.last().map(ListingItem::path)).flatten();
            let artifact = |item: &ListingItem| match item {
                ListingItem::Folder(_) => None,
                ListingItem::File(entry) => Some(json!({
                    "path": entry.path,
                    "size": entry.size,
                    "sha256": entry.digest,
                    "content_type": entry.content_type,
                    "created": entry.created.rfc3339(),
                })),
            };
            let artifacts: Vec<Value> = page.items.iter().filter_map(artifact).collect();
            Ok(json!({ "remote": path.as_str(), "count": artifacts.len(), "artifacts": artifacts, "next": next }))
        }
        .await,
    )
}

/// What is to be fetched.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    remote: String,
    pattern: String,
}

/// Fetches everything of a remote that matches, of what its index or listing names, and says what became of each file.
async fn cache_artifact(request: HttpRequest, payload: web::Payload, server: web::Data<Server>) -> HttpResponse {
    told(&request, "artifactapi-cache", Action::Read);
    finish(
        async {
            let Wanted { remote, pattern } = wanted(payload, &server).await?;
            let (context, repo) = readable(&request, &server, &remote).await?;
            let gathering = server.engine.gather(&context, &repo, &pattern)?;
            let gathered = server.engine.run_gathering(gathering).await.map_err(Error::internal)??;
            Ok(report(&remote, &pattern, &gathered))
        }
        .await,
    )
}

async fn wanted(mut payload: web::Payload, server: &Server) -> Result<Wanted> {
    let mut body = Vec::new();
    loop {
        let chunk = tokio::time::timeout(server.settings.idle_timeout, payload.next()).await;
        let chunk = chunk.map_err(|_| Error::new(http::StatusCode::REQUEST_TIMEOUT, "the rest of the body did not arrive"))?;
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|cause| Error::bad_request("the body broke off").with_source(cause.to_string()))?;
        if body.len() + chunk.len() > MOST_BODY {
            return Err(Error::too_large(format!("the body is larger than {MOST_BODY} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|error| Error::bad_request(format!("the body is {{\"remote\": \"…\", \"pattern\": \"…\"}}: {error}")))
}

fn report(remote: &str, pattern: &str, gathered: &Gathered) -> Value {
    let mut results = Vec::new();
    let mut cached = 0;
    for (path, outcome) in &gathered.files {
        results.push(match outcome {
            Outcome::Kept(size) => json!({ "path": path, "status": "already_cached", "size": size }),
            Outcome::Fetched(size) => json!({ "path": path, "status": "cached", "size": size }),
            Outcome::Missing => json!({ "path": path, "status": "not_found" }),
            Outcome::Failed(error) => json!({ "path": path, "status": "error", "error": error }),
        });
        cached += usize::from(matches!(outcome, Outcome::Kept(_) | Outcome::Fetched(_)));
    }
    json!({ "remote": remote, "pattern": pattern, "matched": results.len(), "cached": cached, "truncated": gathered.more, "results": results })
}
