//! Whether the process lives, and whether it can serve.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use entrepot_kit::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::http::Server;
use crate::http::observe::tell;
use crate::metrics::About;
use crate::registry::Engine;

/// How long the catalog and the storage may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer is good for: however many ask, the storage is looked at twice a second.
const GOOD_FOR: Duration = Duration::from_millis(500);

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.route("/health", web::get().to(live)).route("/health/ready", web::get().to(ready));
}

fn told(request: &HttpRequest) {
    tell(request, |told| {
        told.route = "health";
        told.about = About { format: "operations", action: "health" };
    });
}

async fn live(request: HttpRequest) -> HttpResponse {
    told(&request);
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(serde_json::json!({ "status": "ok" }))
}

async fn ready(request: HttpRequest, server: web::Data<Server>) -> HttpResponse {
    told(&request);
    let outcome = if server.ending.is_asked() { Err(String::from("the server is shutting down")) } else { server.readiness.look(&server.engine).await };
    match outcome {
        Ok(()) => HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(serde_json::json!({ "status": "ready" })),
        Err(reason) => HttpResponse::ServiceUnavailable()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::RETRY_AFTER, "5"))
            .json(serde_json::json!({ "status": "not ready", "reason": reason })),
    }
}

/// What was found last.
#[derive(Debug, Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, Result<(), String>)>>);

impl Readiness {
    /// Whether the catalog can be read and the storage written to. One looks, the others wait for what it finds.
    async fn look(&self, engine: &Engine) -> Result<(), String> {
        let mut last = self.0.lock().await;
        if let Some((when, outcome)) = &*last
            && when.elapsed() < GOOD_FOR
        {
            return outcome.clone();
        }
        let catalog = async { engine.catalog.epoch().await.map(drop).map_err(Error::from) };
        let (catalog, storage) = futures::join!(timeout(PATIENCE, catalog), timeout(PATIENCE, engine.blobs.ready()));
        let outcome = match (judge("the catalog", catalog), judge("the storage of blobs", storage)) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(one), Err(other)) => Err(format!("{one}; {other}")),
            (Err(reason), Ok(())) | (Ok(()), Err(reason)) => Err(reason),
        };
        *last = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

/// The reason for everyone; the cause for the log.
fn judge(what: &str, outcome: Result<entrepot_kit::Result<()>, tokio::time::error::Elapsed>) -> Result<(), String> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, cause = ?std::error::Error::source(&error), "not ready: {what} cannot be used");
            Err(format!("{what} cannot be used: {}", error.message()))
        }
        Err(_elapsed) => {
            tracing::warn!("not ready: {what} did not answer within {} s", PATIENCE.as_secs());
            Err(format!("{what} did not answer within {} s", PATIENCE.as_secs()))
        }
    }
}
