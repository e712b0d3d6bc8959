//! The listener without TLS: the web framework's own, but for connections whose bodies the kernel can send from files.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_http::{Extensions, HttpService, Protocol, Request, Response};
use actix_server::Server;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, apply_fn_factory, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{HttpResponse, web};
use futures::TryFutureExt as _;
use futures::future::{Either, ready};
use tokio::net::{TcpSocket, TcpStream};

use crate::http::Server as Shared;
use crate::http::door::Door;
use crate::http::observe::{self, Observed};
use crate::http::socket::Socket;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Time in which what a client still sends is read and thrown away after it was refused: closed at once, it might never see the answer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Binds; the server serves as soon as it runs. Each connection is shown to `connected` before its first request.
pub(super) fn bind<F, I, S>(
    shared: &web::Data<Shared>,
    shutdown_timeout: u64,
    app: F,
    connected: impl Fn(&mut Extensions) + Clone + Send + 'static,
) -> io::Result<(SocketAddr, Server)>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<Observed>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
{
    let settings = &shared.settings;
    let listener = listen(settings.listen)?;
    let address = listener.local_addr()?;
    let mut builder = Server::build().disable_signals().max_concurrent_connections(settings.max_connections).shutdown_timeout(shutdown_timeout);
    if settings.workers > 0 {
        builder = builder.workers(settings.workers);
    }
    let ending = builder.graceful_shutdown_signal();
    let (header_timeout, keep_alive) = (settings.header_timeout, settings.keep_alive);
    let shared = shared.clone();
    let builder = builder.listen("http", listener, move || {
        let (ending, connected, shared, server) = (ending.clone(), connected.clone(), shared.clone(), shared.clone());
        let app = map_config(app().into_factory().map_err(|error| error.into().error_response()), |()| AppConfig::default());
        // What was just answered is answered at the door.
        let app = apply_fn_factory(app, move |request: Request, app| match observe::repeat(&request, &shared) {
            Some(response) => Either::Left(ready(Ok::<_, HttpResponse>(response))),
            None => Either::Right(app.call(request).map_ok(Into::into)),
        });
        let service = HttpService::build()
            .graceful_shutdown_signal(move || {
                let ending = ending.clone();
                async move { ending.notified().await }
            })
            .keep_alive(keep_alive)
            .client_request_timeout(header_timeout)
            .client_disconnect_timeout(LAST_WORDS)
            .local_addr(address)
            .on_connect_ext(move |socket: &Socket, extensions: &mut Extensions| {
                extensions.insert(socket.outlet());
                connected(extensions);
            })
            .finish(app);
        fn_service(move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            ready(Ok((Socket::new(stream, Door::new(server.clone(), peer.map(|peer| peer.ip()))), Protocol::Http1, peer)))
        })
        .and_then(service)
    })?;
    Ok((address, builder.run()))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}
