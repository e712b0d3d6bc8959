//! Every address of a repository: find it, decide, run the format's handler.
//!
//! What a caller may not know of must look the same as what does not exist, on every path: so the sign-in routes of all formats
//! answer below any address, and everything else below a hidden one answers as below a missing one.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use entrepot_kit::path::RequestPath;
use entrepot_kit::route::Found;
use entrepot_kit::{
    Access, Action, Address, BaseUrl, Captures, Error, Facade as _, Format, Handler, Kind, Query, Repository, Request, Response, ResponseBody, Result, Route,
    SignIn, Source,
};
use http::{HeaderMap, Method, StatusCode};

use crate::access::Caller;
use crate::http::answer::{Asked, answer, refuse};
use crate::http::client::Client;
use crate::http::observe::tell;
use crate::http::{Server, body};
use crate::metrics::About;
use crate::registry::view::{check_moment, parse_address};
use crate::registry::{Context, Moment, Repo, Session, View};

/// What becomes known of a request while it is answered.
#[derive(Default)]
struct Known {
    source: Option<Source>,
    format: Option<Arc<dyn Format>>,
}

/// Answers whatever no other service takes.
pub(crate) async fn serve(request: HttpRequest, payload: web::Payload, server: web::Data<Server>) -> HttpResponse {
    let client = Client::of(&request, &server);
    let request_id = client.facts.request_id.clone();
    let mut known = Known::default();
    let outcome = respond(&request, payload, &server, client, &mut known).await;
    let mut response = match outcome {
        Ok(response) => response,
        Err(error) => {
            if error.status() == StatusCode::INTERNAL_SERVER_ERROR {
                tracing::error!(request_id, %error, cause = ?std::error::Error::source(&error), "a request failed");
            }
            refuse(&error, known.format.as_deref())
        }
    };
    if let Some(source) = known.source {
        tell(&request, |told| told.source = Some(source));
        response.headers_mut().insert(HeaderName::from_static("x-artifact-source"), HeaderValue::from_static(source.name()));
    }
    response
}

async fn respond(request: &HttpRequest, payload: web::Payload, server: &Server, client: Client, known: &mut Known) -> Result<HttpResponse> {
    let raw = request.uri().path();
    let mut segments = raw.strip_prefix('/').unwrap_or(raw).splitn(3, '/');
    let (system, repository, rest) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    let path = RequestPath::decode(rest)?;
    let method = Method::from_bytes(request.method().as_str().as_bytes()).map_err(|_| Error::bad_request("the method is not one of HTTP"))?;
    let address = parse_address(system, repository).ok();
    let (client, context) = client.sign_in(request, server, address.as_ref().map(|(address, _)| address)).await?;
    // At once: a client that leaves takes the rest of this function with it.
    tell(request, |told| told.principal = context.caller.name());
    let view = address.as_ref().and_then(|(address, moment)| Some(View { repo: server.engine.repo(address)?, moment: *moment }));
    let base = BaseUrl { origin: client.origin.clone(), path: format!("/{system}/{repository}") };
    let incoming = Incoming { request, payload, path, method, base, context };

    let readable = match &view {
        Some(view) => server.engine.access.decide(&incoming.context.caller, Action::Read, &view.repo.target(None)).await?.allowed,
        None => false,
    };
    if !readable && let Some((route, captures, format)) = sign_in_route(server, &incoming) {
        known.found(request, route, &format);
        let address = address.map_or_else(|| Address::new("main", "unknown"), |(address, _)| Ok(address))?;
        return incoming.sign_in(server, address, route, captures, &*format).await;
    }
    match view {
        Some(view) => incoming.run(server, view, known).await,
        None => {
            let named = address.map_or_else(|| format!("{system}/{repository}"), |(address, _)| address.to_string());
            Err(server.engine.access.missing(&incoming.context.caller, &named))
        }
    }
}

/// The sign-in route of whichever format has one for this path.
fn sign_in_route(server: &Server, incoming: &Incoming<'_>) -> Option<(&'static Route, Captures, Arc<dyn Format>)> {
    server.engine.formats.iter().find_map(|format| match format.routes().find(&incoming.method, &incoming.path) {
        Found::Route(route, captures) if matches!(route.handler, Handler::SignIn(_)) => Some((route, captures, Arc::clone(format))),
        _ => None,
    })
}

impl Known {
    fn found(&mut self, request: &HttpRequest, route: &'static Route, format: &Arc<dyn Format>) {
        tell(request, |told| {
            told.route = route.name;
            told.template = route.template.contains("{token}").then_some(Cow::Borrowed(route.template));
            told.about = About { format: format.id(), action: route.handler.action().name() };
        });
        self.format = Some(Arc::clone(format));
    }
}

/// A request with its address read and its caller known.
struct Incoming<'a> {
    request: &'a HttpRequest,
    payload: web::Payload,
    path: RequestPath,
    method: Method,
    base: BaseUrl,
    context: Context,
}

impl Incoming<'_> {
    async fn run(self, server: &Server, view: View, known: &mut Known) -> Result<HttpResponse> {
        let engine = &server.engine;
        let format = Arc::clone(&view.repo.format);
        let (route, captures) = match format.routes().find(&self.method, &self.path) {
            Found::Route(route, captures) => (route, captures),
            other => {
                engine.allow(&self.context, Action::Read, &view.repo, None).await?;
                tell(self.request, |told| told.about.format = format.id());
                known.format = Some(format);
                return match other {
                    Found::OtherMethods(methods) => Ok(method_not_allowed(&methods, known.format.as_deref())),
                    _ => Err(Error::not_found("this format has no such address")),
                };
            }
        };
        known.found(self.request, route, &format);
        let package = route.package.map(|name| captures.get(name).to_owned());
        let view = destination(engine, &self.context, view, route.handler.action(), package.as_deref()).await?;
        let private = self.is_private(engine, &view.repo, package.as_deref()).await?;
        let frozen = matches!(view.moment, Some(Moment::Revision(_)));
        let headers = forwardable(self.request);
        let facts = self.context.facts.clone();
        let accounts = engine.access.accounts(&self.context.caller, &facts);
        let caller = self.context.caller.clone();
        let session = Session::new(Arc::clone(engine), view.clone(), self.base.clone(), self.context.clone(), accounts);
        let permit = Permit { server, session: &session, caller: &caller, view: &view, package: package.as_deref(), context: &self.context };
        let asked = Asked { headers: &headers, private, frozen, may_redirect: self.method == Method::GET && view.repo.redirects_downloads() };
        let response = match route.handler {
            Handler::Read(handler) => handler(permit.grant().await?, self.into_request(server, captures, &headers)?).await,
            Handler::Publish(handler) => handler(permit.grant().await?, self.into_request(server, captures, &headers)?).await,
            Handler::Delete(handler) => handler(permit.grant().await?, self.into_request(server, captures, &headers)?).await,
            Handler::Manage(handler) => handler(permit.grant().await?, self.into_request(server, captures, &headers)?).await,
            Handler::SignIn(handler) => {
                let accounts = engine.access.accounts(&caller, &facts);
                handler(SignIn { accounts, address: session.address().clone() }, self.into_request(server, captures, &headers)?).await
            }
        };
        known.source = session.reader().source();
        let response = response?;
        if let ResponseBody::File(file) = &response.body {
            known.source = Some(file.source);
        }
        answer(response, &asked, &*format).await
    }

    async fn sign_in(self, server: &Server, address: Address, route: &'static Route, captures: Captures, format: &dyn Format) -> Result<HttpResponse> {
        let Handler::SignIn(handler) = route.handler else { return Err(Error::internal("not a sign-in route")) };
        let headers = forwardable(self.request);
        let accounts = server.engine.access.accounts(&self.context.caller, &self.context.facts);
        let response: Response = handler(SignIn { accounts, address }, self.into_request(server, captures, &headers)?).await?;
        answer(response, &Asked { headers: &headers, private: true, frozen: false, may_redirect: false }, format).await
    }

    /// Whether a shared cache must not keep the answer: it depends on who asks.
    async fn is_private(&self, engine: &Arc<crate::registry::Engine>, repo: &Repo, package: Option<&str>) -> Result<bool> {
        if self.context.caller.principal.is_anonymous() {
            return Ok(false);
        }
        Ok(repo.kind() == Kind::Group || !engine.access.decide(&Caller::anonymous(), Action::Read, &repo.target(package)).await?.allowed)
    }

    fn into_request(self, server: &Server, captures: Captures, headers: &HeaderMap) -> Result<Request> {
        Ok(Request {
            method: self.method,
            path: self.path,
            captures,
            query: Query::parse(self.request.uri().query().unwrap_or_default()),
            headers: headers.clone(),
            body: body::take(self.request, self.payload, server.engine.max_upload.saturating_mul(3) / 2, server.settings.idle_timeout)?,
            base: self.base,
        })
    }
}

/// Asks for the grant that a handler's type demands.
struct Permit<'a> {
    server: &'a Server,
    session: &'a Arc<Session>,
    caller: &'a Caller,
    view: &'a View,
    package: Option<&'a str>,
    context: &'a Context,
}

impl Permit<'_> {
    async fn grant<A: Access>(&self) -> Result<Repository<A>> {
        let access = &self.server.engine.access;
        let grant = access.require::<A>(self.caller, &self.view.repo.target(self.package), &self.context.facts).await?;
        check_moment(&self.view.repo, self.view.moment)?;
        if A::ACTION != Action::Read {
            self.view.check_writable()?;
        }
        Ok(Repository::new(Arc::clone(self.session) as _, grant))
    }
}

/// Where a request is answered: a change to a group goes to the member that `publish_to` names. Who may not read the group does
/// not learn that there is one, and who may not read the member does not learn its name.
async fn destination(engine: &Arc<crate::registry::Engine>, context: &Context, view: View, action: Action, package: Option<&str>) -> Result<View> {
    if view.repo.kind() != Kind::Group || matches!(action, Action::Read | Action::SignIn) || view.moment.is_some() {
        return Ok(view);
    }
    let Some(name) = view.repo.row.settings.get("publish_to").and_then(serde_json::Value::as_str) else { return Ok(view) };
    engine.allow(context, Action::Read, &view.repo, package).await?;
    let member = Address::parse(name).ok().and_then(|address| engine.repo(&address)).filter(|member| member.kind() == Kind::Hosted);
    let repo = member.ok_or_else(|| Error::internal(format!("publish_to of {} names no hosted repository", view.repo.address())))?;
    if let Err(refusal) = engine.allow(context, action, &repo, package).await {
        let group = view.repo.address();
        return Err(match engine.access.decide(&context.caller, Action::Read, &repo.target(package)).await?.allowed {
            true => refusal,
            false if context.caller.is_anonymous() => engine.access.missing(&context.caller, &group.to_string()),
            false => Error::forbidden(format!("{} may read {group} but not change anything through it", context.caller.name())),
        });
    }
    Ok(View { repo, moment: None })
}

fn method_not_allowed(methods: &[Method], format: Option<&dyn Format>) -> HttpResponse {
    let error = Error::new(StatusCode::METHOD_NOT_ALLOWED, "this address is not served by that method");
    let mut response = refuse(&error, format);
    let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(actix_web::http::header::ALLOW, allow);
    }
    response
}

/// The headers that a format sees: all but credentials.
fn forwardable(request: &HttpRequest) -> HeaderMap {
    use actix_web::http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
    let mut headers = HeaderMap::with_capacity(request.headers().len());
    for (name, value) in request.headers() {
        if [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (http::HeaderName::from_bytes(name.as_str().as_bytes()), http::HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    headers
}
