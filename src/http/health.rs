//! Whether the process lives, and whether it can serve.

use actix_web::{HttpResponse, web};

use crate::http::{Server, refuse};

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.route("/health", web::get().to(live)).route("/health/ready", web::get().to(ready));
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}

async fn ready(server: web::Data<Server>) -> HttpResponse {
    match server.engine.catalog.epoch().await {
        Ok(_) => HttpResponse::Ok().json(serde_json::json!({ "status": "ready" })),
        Err(error) => refuse(&entrepot_kit::Error::unavailable("the catalog cannot be reached", 5).with_source(error.to_string()), None),
    }
}
