//! The web pages: what a person sees at the root, and the sign-in that a command-line client waits for.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use askama::Template;
use entrepot_kit::{Action, BaseUrl, Error, Snippet};
use secrecy::SecretString;

use crate::http::client::Client;
use crate::http::observe::tell;
use crate::http::{Server, refuse};
use crate::metrics::About;
use crate::registry::artifactapi::ARTIFACTAPI;

/// No scripts, nothing from elsewhere, in no frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Largest sign-in form.
const MAX_FORM: usize = 4096;

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.route("/", web::get().to(home)).service(
        web::resource("/-/login/{page}").app_data(web::FormConfig::default().limit(MAX_FORM)).route(web::get().to(ask)).route(web::post().to(sign_in)),
    );
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    repositories: Vec<Shown>,
}

/// A repository as the first page shows it.
#[derive(serde::Serialize)]
struct Shown {
    address: String,
    format: String,
    kind: String,
    url: String,
    clients: Vec<Snippet>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    done: bool,
    error: Option<String>,
}

fn page(status: StatusCode, template: &impl Template) -> HttpResponse {
    let mut builder: HttpResponseBuilder = HttpResponse::build(status);
    builder
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/html; charset=utf-8");
    match template.render() {
        Ok(body) => builder.body(body),
        Err(cause) => refuse(&Error::internal(cause), None),
    }
}

fn told(request: &HttpRequest, route: &'static str, action: Action) {
    tell(request, |told| {
        told.route = route;
        told.about = About { format: "pages", action: action.name() };
    });
}

async fn home(request: HttpRequest, server: web::Data<Server>) -> HttpResponse {
    told(&request, "home", Action::Read);
    let client = Client::of(&request, &server);
    let origin = client.origin.clone();
    let (_, context) = match client.sign_in(&request, &server, None).await {
        Ok(known) => known,
        Err(error) => return refuse(&error, None),
    };
    tell(&request, |told| told.principal = context.caller.name());
    let (mut repositories, mut remotes) = (Vec::new(), Vec::new());
    for repo in server.engine.table().iter() {
        match server.engine.access.decide(&context.caller, Action::Read, &repo.target(None)).await {
            Ok(decision) if decision.allowed => {}
            Ok(_) => continue,
            Err(error) => return refuse(&error, None),
        }
        if repo.row.settings.get(ARTIFACTAPI).is_some() {
            remotes.push(repo.address().repository.to_string());
        }
        let base = BaseUrl { origin: origin.clone(), path: format!("/{}", repo.address()) };
        repositories.push(Shown {
            address: repo.address().to_string(),
            format: repo.row.format.clone(),
            kind: format!("{:?}", repo.kind()).to_lowercase(),
            url: format!("{base}/"),
            clients: repo.format.snippets(&base),
        });
    }
    let wants_page = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    if wants_page {
        return page(StatusCode::OK, &Home { repositories });
    }
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(serde_json::json!({ "name": "entrepot", "version": env!("CARGO_PKG_VERSION"), "repositories": repositories, "remotes": remotes }))
}

async fn ask(request: HttpRequest) -> HttpResponse {
    told(&request, "login", Action::SignIn);
    // The same for every page, known or not: only a finished sign-in says whether somebody waits.
    page(StatusCode::OK, &Login { done: false, error: None })
}

#[derive(serde::Deserialize)]
struct Form {
    name: String,
    password: SecretString,
}

async fn sign_in(request: HttpRequest, server: web::Data<Server>, waiting: web::Path<String>, form: web::Form<Form>) -> HttpResponse {
    told(&request, "login", Action::SignIn);
    let client = Client::of(&request, &server);
    let form = form.into_inner();
    let outcome = async {
        server.engine.catch_up(None).await?;
        server.engine.access.complete_web_login(&waiting, &form.name, form.password, &client.facts).await
    };
    match outcome.await {
        Ok(()) => page(StatusCode::OK, &Login { done: true, error: None }),
        Err(error) => {
            let status = StatusCode::from_u16(error.status().as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            page(status, &Login { done: false, error: Some(error.message().to_owned()) })
        }
    }
}
