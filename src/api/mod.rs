//! The management API: JSON below `/api/v1`, described by `/api/v1/openapi.json`.
//!
//! Each handler is written once, with its address and its documentation beside it. Whoever asks is known before a handler runs
//! ([`call::Call`]), and what it may do is decided by its first lines, before the body is read.

use actix_web::body::MessageBody;
use actix_web::dev::{ResourceDef, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use entrepot_kit::Error;
use http::StatusCode;

use crate::http::client::Client;
use crate::http::observe::tell;
use crate::metrics::About;

mod audit;
mod call;
mod explain;
mod openapi;
mod packages;
mod policies;
mod prefetch;
mod principals;
mod publishers;
mod repositories;
mod restore;
mod retention;
mod systems;
mod tags;
mod tokens;
mod topology;
mod upstream_change;

pub use openapi::api_routes;

use call::Refusal;

/// What all addresses of the API begin with.
const PREFIX: &str = "/api/v1";

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    let query = web::QueryConfig::default().error_handler(|error, _| Refusal::from(Error::bad_request(format!("the query: {error}"))).into());
    let path = web::PathConfig::default().error_handler(|error, _| Refusal::from(Error::bad_request(format!("the path: {error}"))).into());
    let scope = web::scope(PREFIX)
        .app_data(query)
        .app_data(path)
        .configure(openapi::services)
        .default_service(web::to(nothing_here))
        .wrap(actix_web::middleware::from_fn(around));
    config.service(scope);
}

/// Says what the request is, logs the cause of a failure, and keeps what other sites make a browser send from changing anything.
async fn around(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let request_id = request.extensions().get::<Client>().map(|client| client.facts.request_id.clone()).unwrap_or_default();
    tell(request.request(), |told| {
        told.route = "api";
        told.about = About { format: "api", action: if request.method().is_safe() { "read" } else { "manage" } };
    });
    let forged = !request.method().is_safe() && from_another_site(request.request());
    let mut response = if forged {
        let refusal = Refusal::from(Error::forbidden("another site's page may not change anything here"));
        request.into_response(actix_web::ResponseError::error_response(&refusal)).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    if let Some(refusal) = response.response().error().and_then(|error| error.as_error::<Refusal>()) {
        refusal.log(&request_id);
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// A browser adds remembered Basic credentials to whatever a foreign page makes it send; it also says that the page is foreign.
fn from_another_site(request: &HttpRequest) -> bool {
    let site = request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok());
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

/// No such address, or not with this method: what there is, is no secret.
async fn nothing_here(request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let here = |template: &str| ResourceDef::new(template).is_match(request.path());
    let methods: Vec<String> = api_routes().into_iter().filter(|(_, template)| here(template)).map(|(method, _)| method.to_string()).collect();
    if methods.is_empty() {
        return Err(Error::not_found(format!("the API has no such address: {PREFIX}/openapi.json lists all")).into());
    }
    let refusal = Refusal::from(Error::new(StatusCode::METHOD_NOT_ALLOWED, "this address is not served by that method"));
    let mut response = actix_web::ResponseError::error_response(&refusal);
    if let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    Ok(response)
}
