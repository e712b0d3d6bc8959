//! `/metrics`, and who may see it: whoever asks from one of the configured networks, and administrators from everywhere.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use entrepot_kit::Result;

use crate::http::client::Client;
use crate::http::observe::tell;
use crate::http::{Server, refuse};
use crate::metrics::{About, CONTENT_TYPE};

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.route("/metrics", web::get().to(figures));
}

async fn figures(request: HttpRequest, server: web::Data<Server>) -> HttpResponse {
    tell(&request, |told| {
        told.route = "metrics";
        told.about = About { format: "operations", action: "metrics" };
    });
    match allowed(&request, &server).await {
        Ok(()) => {}
        Err(error) => return refuse(&error, None),
    }
    match server.engine.metrics.render(&server.engine).await {
        Ok(text) => HttpResponse::Ok().insert_header((header::CONTENT_TYPE, CONTENT_TYPE)).insert_header((header::CACHE_CONTROL, "no-store")).body(text),
        Err(error) => refuse(&error, None),
    }
}

async fn allowed(request: &HttpRequest, server: &Server) -> Result<()> {
    let client = Client::of(request, server);
    let near = client.neighbour.is_some_and(|address| server.settings.metrics_networks.iter().any(|network| network.contains(&address)));
    if near {
        return Ok(());
    }
    let (_, context) = client.sign_in(request, server, None).await?;
    tell(request, |told| told.principal = context.caller.name());
    server.engine.access.admin(&context.caller, &context.facts).map(drop)
}
