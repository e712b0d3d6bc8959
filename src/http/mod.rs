//! Requests in, answers out: the only place that knows the web framework.
//!
//! A request's way: [`client`] reads who asks and how they reach us, [`repository`] finds the repository, lets the policy decide what the
//! format's route demands and runs its handler, [`answer`] sends the result.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use ipnet::IpNet;

use crate::registry::Engine;

mod answer;
mod body;
pub(crate) mod client;
mod conditional;
mod health;
mod repository;

pub(crate) use answer::refuse;

/// How the server is reached, and what one connection may use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What absolute URLs begin with; `None`: taken from each request.
    pub public_url: Option<String>,
    /// Networks whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Request threads; 0 for one per processor.
    pub workers: usize,
    /// Time that a client has for a request's head.
    pub header_timeout: Duration,
    /// Time without any byte after which an upload is given up.
    pub idle_timeout: Duration,
    /// Time that an idle connection is kept.
    pub keep_alive: Duration,
    /// Connections at the same time.
    pub max_connections: usize,
    /// Time that running requests get when the server is asked to end, in seconds.
    pub shutdown_timeout: u64,
}

/// What every request reaches.
pub struct Server {
    /// The engine.
    pub engine: Arc<Engine>,
    /// How the server is reached.
    pub settings: Settings,
}

/// A server that listens.
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// Stops it.
    pub handle: ServerHandle,
    /// Ends when the server has stopped.
    pub ended: tokio::task::JoinHandle<io::Result<()>>,
}

/// Binds and serves. Returns as soon as connections are accepted.
///
/// # Errors
/// When the address cannot be bound.
pub fn listen(engine: Arc<Engine>, settings: Settings) -> io::Result<Listening> {
    let server = web::Data::new(Server { engine, settings: settings.clone() });
    let mut http = HttpServer::new(move || {
        App::new()
            .app_data(server.clone())
            .configure(health::routes)
            .configure(crate::api::routes)
            .configure(crate::ui::routes)
            .default_service(web::to(repository::serve))
    })
    .client_request_timeout(settings.header_timeout)
    .keep_alive(settings.keep_alive)
    .max_connections(settings.max_connections)
    .shutdown_timeout(settings.shutdown_timeout)
    .bind(settings.listen)?;
    if settings.workers > 0 {
        http = http.workers(settings.workers);
    }
    let address = http.addrs().first().copied().unwrap_or(settings.listen);
    let running = http.run();
    let handle = running.handle();
    Ok(Listening { address, handle, ended: tokio::spawn(running) })
}
