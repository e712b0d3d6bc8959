//! Around every request: its id, its line in the log, and its figures.
//!
//! The line is written when the answer's last byte was handed over or its client is gone, so it tells what was really sent. It never holds a
//! query, a header or a body, and of a path only what is no secret.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_http::{Request, Response};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, RequestHead, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri, Version};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use entrepot_kit::Source;
use futures::StreamExt as _;
use prometheus_client::metrics::counter::Counter;
use tracing::Level;

use crate::access::without_tokens;
use crate::http::Server;
use crate::http::answer::broken;
use crate::http::client::{Client, new_request_id, request_id};
use crate::http::door;
use crate::http::ending::Connection;
use crate::http::recent::{self, Again, Asked, Given, Question};
use crate::http::sending::{self, FilePart, Sending};
use crate::http::socket::Outlet;
use crate::log;
use crate::metrics::{About, Metrics};

/// The status in log and figures of a request whose client left before there was an answer.
const GONE: u16 = 499;
/// What begins the addresses of pages. Some of them end in what only one client may know.
const PAGES: &str = "/-/";

/// What is known of a request, and what its handler says of it, for the log and the figures.
#[derive(Default)]
pub(crate) struct Told {
    /// Its method.
    method: Method,
    /// Its address.
    uri: Uri,
    /// Where it came from.
    remote: Option<IpAddr>,
    /// Who asks.
    pub(crate) principal: String,
    /// Stands for the path where the path itself holds a secret.
    pub(crate) template: Option<Cow<'static, str>>,
    /// The name of the route.
    pub(crate) route: &'static str,
    /// What it is about.
    pub(crate) about: About,
    /// Where the answer came from.
    pub(crate) source: Option<Source>,
    /// What lets the same answer be given again.
    pub(crate) again: Option<Again>,
}

/// Says something of a request.
pub(crate) fn tell(request: &HttpRequest, say: impl FnOnce(&mut Told)) {
    let told = request.extensions().get::<Rc<RefCell<Told>>>().cloned();
    if let Some(told) = told {
        say(&mut told.borrow_mut());
    }
}

/// The middleware.
pub(crate) async fn around(mut request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<Observed>, actix_web::Error> {
    let began = Instant::now();
    let Some(server) = request.app_data::<web::Data<Server>>().cloned() else {
        return Err(actix_web::error::ErrorInternalServerError("the server is not known to its routes"));
    };
    if request.version() < Version::HTTP_2
        && let Some(connection) = request.request().conn_data::<Connection>()
    {
        connection.is_plain();
    }
    // The listener without TLS asks at its door.
    let asked = match request.extensions_mut().remove::<Question>() {
        Some(question) => Asked::First(question),
        None if server.settings.tls.is_some() => recent::ask(request.request().head(), &server.engine),
        None => Asked::Other,
    };
    if let Asked::Before(given) = asked {
        let response = again(&given, request.request().head(), &server, began, None);
        return Ok(request.into_response(response));
    }
    let client = Client::read(request.request(), &server);
    let told = Told { method: request.method().clone(), uri: request.uri().clone(), remote: client.facts.remote, ..Told::default() };
    let mut line = Line::new(&server, began, client.request_id.clone(), Rc::new(RefCell::new(told)));
    {
        let mut extensions = request.extensions_mut();
        extensions.insert(client);
        extensions.insert(Rc::clone(&line.told));
    }
    line.received = count_payload(&mut request);
    let response = match next.call(request).await {
        Ok(response) => response,
        Err(error) => {
            let mut response = error.error_response();
            line.name(response.headers_mut());
            line.answer(response.status(), None);
            line.whole = true;
            return Err(actix_web::error::InternalError::from_response(error, response).into());
        }
    };
    let response = match asked {
        Asked::First(question) => recent::keep(question, &line.told, response),
        Asked::Before(_) | Asked::Other => response.map_into_boxed_body(),
    };
    let (request, mut response) = response.into_parts();
    let pattern = request.path().starts_with(PAGES).then(|| request.match_pattern()).flatten();
    let part = response.extensions_mut().remove::<FilePart>();
    let response = finish(line, response, part, request.conn_data::<Rc<Outlet>>(), pattern);
    Ok(ServiceResponse::new(request, response))
}

/// Answers a request that was just answered, before routes and middleware are troubled with it. `None` where they must.
pub(crate) fn repeat(request: &Request, server: &Server) -> Option<Response<Observed>> {
    let began = Instant::now();
    match recent::ask(request.head(), &server.engine) {
        Asked::Before(given) => {
            if let Some(connection) = request.conn_data::<Connection>() {
                connection.is_plain();
            }
            let outlet = request.conn_data::<Rc<Outlet>>();
            if let Some(outlet) = outlet {
                door::keep(&given, request.peer_addr().map(|peer| peer.ip()), outlet);
            }
            Some(again(&given, request.head(), server, began, outlet).into())
        }
        Asked::First(question) => {
            request.extensions_mut().insert(question);
            None
        }
        Asked::Other => None,
    }
}

/// What was just answered, for who asks now.
fn again(given: &Given, request: &RequestHead, server: &Server, began: Instant, outlet: Option<&Rc<Outlet>>) -> HttpResponse<Observed> {
    let line = Line::new(server, began, request_id(&request.headers), Rc::clone(&given.told));
    given.note_use(&server.engine);
    finish(line, given.give(), given.part(&server.engine), outlet, None)
}

/// Counts an answer that was just given and now leaves at the connection's door; gives the request's id.
pub(crate) fn repeated(given: &Given, server: &Server, began: Instant) -> HeaderValue {
    let mut line = Line::new(server, began, new_request_id(), Rc::clone(&given.told));
    given.note_use(&server.engine);
    let (status, _, body) = given.parts();
    line.answer(status, None);
    if let Some(body) = body {
        line.sent = body.len() as u64;
        line.metrics.sent(line.told.borrow().about).inc_by(line.sent);
    }
    line.whole = true;
    line.request_id.clone()
}

/// Counts an answer from now on. A body that is part of a file goes by the connection's outlet.
fn finish(
    mut line: Line,
    mut response: HttpResponse<BoxBody>,
    part: Option<FilePart>,
    outlet: Option<&Rc<Outlet>>,
    pattern: Option<String>,
) -> HttpResponse<Observed> {
    line.name(response.headers_mut());
    line.answer(response.status(), pattern);
    line.outlet = outlet.cloned();
    let sending = part.zip(outlet).and_then(|(part, outlet)| line.sending(&mut response, part, outlet));
    response.map_body(|head, body| {
        let mut observed = Observed::new(line, head.status, body);
        if let Some(sending) = sending {
            head.no_chunking(true);
            observed.sending = Some(sending);
        }
        observed
    })
}

/// Counts a body on its way in, if there can be one.
fn count_payload(request: &mut ServiceRequest) -> Option<Rc<Cell<u64>>> {
    if request.method().is_safe() {
        return None;
    }
    let payload = request.take_payload();
    if matches!(payload, Payload::None) {
        return None;
    }
    let received: Rc<Cell<u64>> = Rc::default();
    let count = Rc::clone(&received);
    let counted = payload.inspect(move |chunk| {
        if let Ok(bytes) = chunk {
            count.set(count.get() + bytes.len() as u64);
        }
    });
    request.set_payload(Payload::Stream { payload: Box::pin(counted) });
    Some(received)
}

/// What is known of a request. When it goes, the request has ended.
struct Line {
    metrics: Arc<Metrics>,
    began: Instant,
    request_id: HeaderValue,
    told: Rc<RefCell<Told>>,
    received: Option<Rc<Cell<u64>>>,
    sent: u64,
    status: u16,
    /// When the head of the answer was ready.
    answered: Option<Duration>,
    /// Whether all of the answer was handed over.
    whole: bool,
    /// The connection's, where that has one.
    outlet: Option<Rc<Outlet>>,
}

impl Line {
    fn new(server: &Server, began: Instant, request_id: HeaderValue, told: Rc<RefCell<Told>>) -> Self {
        server.engine.metrics.running.inc();
        let metrics = Arc::clone(&server.engine.metrics);
        Self { metrics, began, request_id, told, received: None, sent: 0, status: GONE, answered: None, whole: false, outlet: None }
    }

    /// Writes the request's id into its answer.
    fn name(&self, headers: &mut HeaderMap) {
        headers.insert(HeaderName::from_static("x-request-id"), self.request_id.clone());
    }

    fn answer(&mut self, status: StatusCode, pattern: Option<String>) {
        self.status = status.as_u16();
        self.answered = Some(self.began.elapsed());
        if let Some(pattern) = pattern {
            self.told.borrow_mut().template.get_or_insert(Cow::Owned(pattern));
        }
    }

    /// The body as the kernel sends it, where it is part of a file and the connection is one for that. Its length is then said by a header.
    fn sending(&self, response: &mut HttpResponse<BoxBody>, part: FilePart, outlet: &Rc<Outlet>) -> Option<Sending> {
        let answers = self.told.borrow().method == Method::GET && matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        if !answers || part.length() < sending::SMALLEST {
            return None;
        }
        response.headers_mut().insert(header::CONTENT_LENGTH, part.length().into());
        Some(Sending::new(part, Rc::clone(outlet)))
    }

    fn received(&self) -> u64 {
        self.received.as_ref().map_or(0, |received| received.get())
    }

    fn write(&self) {
        let told = self.told.borrow();
        // Machines ask for these every few seconds.
        let level = if told.route == "health" && self.status < 400 { Level::DEBUG } else { Level::INFO };
        let wanted = match level {
            Level::DEBUG => tracing::enabled!(target: log::TARGET, Level::DEBUG),
            _ => tracing::enabled!(target: log::TARGET, Level::INFO),
        };
        if !wanted {
            return;
        }
        let path = match &told.template {
            Some(template) => Cow::Borrowed(&**template),
            None if told.uri.path().starts_with(PAGES) => Cow::Borrowed(PAGES),
            None => without_tokens(told.uri.path()),
        };
        let request = log::Request {
            request_id: self.request_id.to_str().unwrap_or_default(),
            method: told.method.as_str(),
            path: &path,
            route: told.route,
            status: self.status,
            bytes: self.sent,
            received: self.received(),
            milliseconds: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            principal: &told.principal,
            remote: told.remote,
            source: told.source.map(Source::name),
            whole: self.whole,
        };
        log::write(level, &request);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let about = self.told.borrow().about;
        self.metrics.running.dec();
        self.metrics.received(about, self.received());
        self.metrics.answered(about, self.status, self.answered.unwrap_or_else(|| self.began.elapsed()));
        self.write();
        if let Some(outlet) = self.outlet.take().filter(|_| self.whole) {
            outlet.end();
        }
    }
}

/// Most bytes that are handed over at once: the web framework copies them into a buffer of the connection, which should stay small enough to
/// be kept, and to be still in the processor's cache when it is sent.
const PIECE: usize = 64 << 10;

/// An answer's body that is counted on its way out.
pub(crate) struct Observed {
    body: BoxBody,
    /// What is left of a large chunk.
    rest: Bytes,
    /// The body where the kernel sends it.
    sending: Option<Sending>,
    /// Why the body breaks off, held back for one turn: the web framework drops a connection whose body fails at once, and with it the head
    /// and the bytes that it has not sent yet. A client is to get them, and with them an answer that breaks off.
    failed: Option<<BoxBody as MessageBody>::Error>,
    /// Until the body has ended.
    line: Option<(Line, Counter)>,
    length: Option<u64>,
}

impl Observed {
    fn new(mut line: Line, status: StatusCode, body: BoxBody) -> Self {
        let length = match body.size() {
            BodySize::None => Some(0),
            BodySize::Sized(length) => Some(length),
            BodySize::Stream => None,
        };
        // Bodies that nobody will ask for.
        let empty = length == Some(0) || line.told.borrow().method == Method::HEAD || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT);
        if empty {
            line.whole = true;
            return Self { body, rest: Bytes::new(), sending: None, failed: None, line: None, length };
        }
        let sent = line.metrics.sent(line.told.borrow().about);
        Self { body, rest: Bytes::new(), sending: None, failed: None, line: Some((line, sent)), length }
    }

    fn ended(&mut self) {
        if let Some((mut line, _)) = self.line.take() {
            line.whole = true;
        }
    }

    fn count(&mut self, count: u64) {
        if let Some((line, sent)) = &mut self.line {
            sent.inc_by(count);
            line.sent += count;
            // The client that gets the last byte may look at the log next: it is written before.
            if Some(line.sent) == self.length {
                self.ended();
            }
        }
    }

    /// Goes on with a body that is sent from here.
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, <Self as MessageBody>::Error>>> {
        let mut polled = match std::mem::take(&mut self.rest) {
            rest if rest.is_empty() => Pin::new(&mut self.body).poll_next(context),
            rest => Poll::Ready(Some(Ok(rest))),
        };
        if let Poll::Ready(Some(Ok(chunk))) = &mut polled
            && chunk.len() > PIECE
        {
            self.rest = chunk.split_off(PIECE);
        }
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => self.count(bytes.len() as u64),
            Poll::Ready(None) => self.ended(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    /// Goes on with a body that the kernel sends.
    fn poll_sending(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, <Self as MessageBody>::Error>>> {
        let Some(sending) = &mut self.sending else { return Poll::Ready(None) };
        let left = match ready!(sending.poll_ready(context)) {
            Ok(left) => left,
            Err(error) => return Poll::Ready(Some(Err(broken(entrepot_kit::Error::internal(error)).into()))),
        };
        if left == 0 {
            return Poll::Ready(None);
        }
        let (is_last, sent) = (sending.is_last(), sending.take_sent());
        self.count(if is_last { sent + left } else { sent });
        if let Some(sending) = &mut self.sending {
            sending.send(context);
        }
        Poll::Pending
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if let Some(sending) = &self.sending {
            let sent = sending.take_sent();
            self.count(sent);
        }
    }
}

impl MessageBody for Observed {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        if self.sending.is_some() { BodySize::Stream } else { self.body.size() }
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match if this.sending.is_some() { this.poll_sending(context) } else { this.poll_bytes(context) } {
            Poll::Ready(Some(Err(error))) => {
                drop(this.line.take());
                this.failed = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            polled => polled,
        }
    }
}
