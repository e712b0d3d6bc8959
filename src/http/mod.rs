//! Requests in, answers out: the only place that knows the web framework.
//!
//! A request's way: [`client`] reads who asks and how they reach us, [`place`] finds the repository, [`repository`] lets the policy decide
//! what the format's route demands and runs its handler, [`answer`] sends the result. [`registry`] is what of the container clients'
//! interface below `/v2/` belongs to no repository: the greeting, tokens, the list of all images.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, ServerHandle};
use actix_web::{App, HttpServer, web};
use entrepot_kit::Address;
use ipnet::IpNet;

use crate::registry::Engine;

mod answer;
mod artifactapi;
mod body;
pub(crate) mod client;
mod conditional;
mod door;
mod ending;
mod figures;
mod health;
mod mirrors;
pub(crate) mod observe;
mod place;
mod plain;
pub(crate) mod publishers;
mod ready;
mod recent;
mod registry;
mod repository;
mod sending;
mod socket;
pub mod tls;

pub(crate) use answer::refuse;
pub use ending::Cut;

use ending::{Connection, Ending};
use health::Readiness;
use tls::{Certificate, TlsFiles};

/// How the server is reached, and what one connection may use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What absolute URLs begin with; `None`: taken from each request.
    pub public_url: Option<String>,
    /// Networks whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Hosts that serve one repository at their root, by name without port.
    pub hosts: BTreeMap<String, Address>,
    /// The files for TLS; `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Networks that may read `/metrics` without signing in.
    pub metrics_networks: Vec<IpNet>,
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
    /// Whether it is about to end.
    pub(crate) ending: Arc<Ending>,
    /// Whether it can serve.
    pub(crate) readiness: Readiness,
}

/// A server that listens.
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// Stops it.
    pub handle: ServerHandle,
    /// Ends when the server has stopped.
    pub ended: tokio::task::JoinHandle<io::Result<()>>,
    /// The certificate that is shown, where TLS is spoken.
    pub certificate: Option<Arc<Certificate>>,
    ending: Arc<Ending>,
    patience: Duration,
}

/// Binds and serves. Returns as soon as connections are accepted.
///
/// # Errors
/// When the address cannot be bound or the files for TLS cannot be used.
pub fn listen(engine: Arc<Engine>, settings: Settings) -> io::Result<Listening> {
    let certificate = settings.tls.clone().map(Certificate::open).transpose().map_err(io::Error::other)?;
    let ending = Arc::new(Ending::default());
    let (metrics, connected) = (Arc::clone(&engine.metrics), Arc::clone(&ending));
    let server = Server { engine, settings: settings.clone(), ending: Arc::clone(&ending), readiness: Readiness::default() };
    let server = web::Data::new(server);
    let shared = server.clone();
    let app = move || {
        App::new()
            .app_data(server.clone())
            .wrap(actix_web::middleware::from_fn(observe::around))
            .configure(health::routes)
            .configure(figures::routes)
            .configure(mirrors::routes)
            .configure(artifactapi::routes)
            .configure(crate::api::routes)
            .configure(crate::ui::routes)
            .default_service(web::to(repository::serve))
    };
    let connect = move |extensions: &mut Extensions| {
        extensions.insert(Connection::new(Arc::clone(&metrics), Arc::clone(&connected)));
    };
    // Longer than our own patience: what is cut off then can still be counted.
    let shutdown_timeout = settings.shutdown_timeout.saturating_add(2);
    let (address, running) = match &certificate {
        None => plain::bind(&shared, shutdown_timeout, app, connect)?,
        Some(certificate) => {
            let mut http = HttpServer::new(app)
                .on_connect(move |_, extensions| connect(extensions))
                // The signals are the process's business: what they mean is more than this listener's end.
                .disable_signals()
                .client_request_timeout(settings.header_timeout)
                .keep_alive(settings.keep_alive)
                .max_connections(settings.max_connections)
                .shutdown_timeout(shutdown_timeout)
                .bind_rustls_0_23(settings.listen, certificate.config().map_err(io::Error::other)?)?;
            if settings.workers > 0 {
                http = http.workers(settings.workers);
            }
            (http.addrs().first().copied().unwrap_or(settings.listen), http.run())
        }
    };
    let handle = running.handle();
    if let Some(certificate) = &certificate {
        tokio::spawn(Arc::clone(certificate).watch());
    }
    let patience = Duration::from_secs(settings.shutdown_timeout);
    Ok(Listening { address, handle, ended: tokio::spawn(running), certificate, ending, patience })
}
