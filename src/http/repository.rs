//! Every address of a repository: find it, decide, run the format's handler.
//!
//! What a caller may not know of must look the same as what does not exist, on every path: so the sign-in routes of all formats
//! answer below any address, and everything else below a hidden one answers as below a missing one.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use entrepot_kit::route::Found;
use entrepot_kit::{
    Access, Action, Address, BaseUrl, Captures, Error, Facade as _, Format, Handler, Kind, Query, Repository, Request, Response, ResponseBody, Result, Route,
    SignIn, Source,
};
use http::{HeaderMap, Method, StatusCode};

use crate::access::{Caller, Reach};
use crate::http::answer::{Asked as Form, answer, method_not_allowed, refuse, refuse_registry};
use crate::http::client::Client;
use crate::http::observe::tell;
use crate::http::place::{Asked, Place, is_registry, speaks_registry};
use crate::http::recent::{Again, MadeOf, is_of_records};
use crate::http::registry::{Challenge, Need, Own, covers, needs};
use crate::http::{Server, body, publishers};
use crate::metrics::About;
use crate::registry::view::check_moment;
use crate::registry::{Context, Engine, Moment, Repo, Session, Table, View};

/// What becomes known of a request while it is answered.
#[derive(Default)]
pub(crate) struct Known {
    source: Option<Source>,
    pub(crate) format: Option<Arc<dyn Format>>,
    /// What a container client learns from a refusal; `None` for other clients.
    challenge: Option<Challenge>,
    /// The registry whose image was given to a container client.
    namespace: Option<String>,
    /// It was asked for as clients of artifactapi do, who know of two sources.
    is_saved: bool,
}

/// Answers whatever no other service takes.
pub(crate) async fn serve(request: HttpRequest, payload: web::Payload, server: web::Data<Server>) -> HttpResponse {
    if let Ok(method) = Method::from_bytes(request.method().as_str().as_bytes())
        && let Some(exchange) = publishers::Own::of(&method, request.path())
    {
        return exchange.serve(&request, payload, &server).await;
    }
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
            let refuse = if known.challenge.is_some() { refuse_registry } else { refuse };
            let mut response = refuse(&error, known.format.as_deref());
            if let Some(challenge) = known.challenge.as_ref().filter(|_| error.status() == StatusCode::UNAUTHORIZED) {
                challenge.write(&mut response);
            }
            response
        }
    };
    if known.challenge.is_some() {
        response.headers_mut().insert(HeaderName::from_static("docker-distribution-api-version"), HeaderValue::from_static("registry/2.0"));
    }
    if let Some(namespace) = known.namespace.and_then(|namespace| HeaderValue::from_str(&namespace).ok()) {
        response.headers_mut().insert(HeaderName::from_static("oci-namespace"), namespace);
    }
    if let Some(source) = known.source {
        tell(&request, |told| told.source = Some(source));
        let source = if known.is_saved && source != Source::Remote { Source::Cache } else { source };
        response.headers_mut().insert(HeaderName::from_static("x-artifact-source"), HeaderValue::from_static(source.name()));
    }
    response
}

async fn respond(request: &HttpRequest, payload: web::Payload, server: &Server, mut client: Client, known: &mut Known) -> Result<HttpResponse> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let bound = client.bind(&server.settings);
    let asked = Asked { path: request.uri().path(), query: &query, bound: bound.as_ref() };
    let before = server.engine.table();
    let made_of = MadeOf::now(&server.engine, &before);
    if is_registry(&asked, &before) {
        known.is_registry(request, server, &mut client);
        if let Some(own) = Own::of(asked.path) {
            return own.serve(request, payload, server, client, &asked, known).await;
        }
    }
    let method = Method::from_bytes(request.method().as_str().as_bytes()).map_err(|_| Error::bad_request("the method is not one of HTTP"))?;
    let mut place = Place::find(&asked, &before)?;
    known.is_saved = place.is_saved;
    let needs = needs(&server.engine.formats, &place, &method, &query);
    known.challenge_for(&needs);
    let (client, mut context) = client.sign_in(request, server, place.address.as_ref()).await?;
    // At once: a client that leaves takes the rest of this function with it.
    tell(request, |told| told.principal = context.caller.name());
    known.signed_in(&context.caller);
    let table = server.engine.table();
    if place.registry.is_some() {
        // What a name means may have changed on another replica.
        if !Arc::ptr_eq(&before, &table) {
            let again = Place::find(&asked, &table)?;
            if again.address != place.address {
                server.engine.catch_up(again.address.as_ref()).await?;
            }
            place = again;
        }
        if let Some(need) = needs.first() {
            place.named.clone_from(&need.image);
        }
        context.caller = within(&context.caller, &table, &place, &needs)?;
    }
    // A token that was given to publish has no past to look at.
    let here = place.moment.is_none() || !context.caller.is_workload();
    let view = place.repo(&table).filter(|_| here).map(|repo| View { repo: Arc::clone(repo), moment: place.moment });
    let base = BaseUrl { origin: client.origin.clone(), path: place.base.clone() };
    let incoming = Incoming { request, payload, place, query, method, base, context, made_of };

    if incoming.place.registry.is_none() {
        let readable = match &view {
            Some(view) => server.engine.access.decide(&incoming.context.caller, Action::Read, &view.repo.target(None)).await?.allowed,
            None => false,
        };
        if !readable && let Some((route, captures, format)) = sign_in_route(server, &incoming) {
            known.found(request, route, &format);
            let address = incoming.place.address.clone().map_or_else(|| Address::new("main", "unknown"), Ok)?;
            return incoming.sign_in(server, address, route, captures, &*format).await;
        }
    }
    match view {
        Some(view) => incoming.run(server, view, known).await,
        None => Err(server.engine.access.missing(&incoming.context.caller, &incoming.place.named)),
    }
}

/// The caller where the scopes of its registry token are known to mean what they mean here.
///
/// # Errors
/// 401 when the token is not good for what is needed, whether there is such a thing or not: the client then asks for another.
fn within(caller: &Caller, table: &Table, place: &Place, needs: &[Need]) -> Result<Caller> {
    let (Some(asked), Some(registry)) = (caller.asked(), &place.registry) else { return Ok(caller.clone()) };
    if !covers(asked, needs) {
        return Err(Error::unauthorized("the token in use is not for this: ask for one with the scope that WWW-Authenticate names"));
    }
    let mut reach = Vec::new();
    let needed: Vec<&str> = needs.iter().map(|need| need.image.as_str()).collect();
    for (scope, name) in asked.iter().flat_map(|scope| scope.images(&needed).into_iter().map(move |name| (scope, name))) {
        let here = place.repo(table).zip(name.strip_prefix(&registry.prefix));
        for (repo, image) in here.into_iter().chain(table.named(name)) {
            let members = repo.leaves.iter().flat_map(|leaf| leaf.through.iter().chain([&leaf.repo]));
            for repo in std::iter::once(repo).chain(members) {
                let names = [image.to_owned(), repo.full_name(image).into_owned()];
                reach.extend(names.map(|image| Reach { address: repo.address().clone(), image, scope: scope.clone() }));
            }
        }
    }
    Ok(caller.within(reach))
}

/// The sign-in route of whichever format has one for this path.
fn sign_in_route(server: &Server, incoming: &Incoming<'_>) -> Option<(&'static Route, Captures, Arc<dyn Format>)> {
    server.engine.formats.iter().find_map(|format| match format.routes().find(&incoming.method, &incoming.place.path) {
        Found::Route(route, captures) if matches!(route.handler, Handler::SignIn(_)) => Some((route, captures, Arc::clone(format))),
        _ => None,
    })
}

impl Known {
    /// Whatever becomes of the request, a container client reads the answer.
    fn is_registry(&mut self, request: &HttpRequest, server: &Server, client: &mut Client) {
        self.format = server.engine.formats.iter().find(|format| speaks_registry(&***format)).cloned();
        let mut challenge = Challenge::new(client);
        challenge.error = sends_bearer(request).then_some("invalid_token");
        self.challenge = Some(challenge);
        client.facts.service = Some(client.service().to_owned());
    }

    fn challenge_for(&mut self, needs: &[Need]) {
        if let Some(challenge) = &mut self.challenge {
            challenge.ask_for(needs);
        }
    }

    /// What a client is asked for that no image is.
    pub(crate) fn challenge_with(&mut self, scopes: Vec<String>) {
        if let Some(challenge) = &mut self.challenge {
            challenge.ask(scopes);
        }
    }

    /// Nothing of what was sent is a registry token.
    pub(crate) fn without_error(&mut self) {
        if let Some(challenge) = &mut self.challenge {
            challenge.error = None;
        }
    }

    /// The credentials were right. What a token is refused after this is for want of scopes.
    pub(crate) fn signed_in(&mut self, caller: &Caller) {
        if let Some(challenge) = &mut self.challenge {
            challenge.error = caller.asked().is_some().then_some("insufficient_scope");
        }
    }

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
    place: Place,
    query: Query,
    method: Method,
    base: BaseUrl,
    context: Context,
    made_of: MadeOf,
}

impl Incoming<'_> {
    async fn run(mut self, server: &Server, view: View, known: &mut Known) -> Result<HttpResponse> {
        let engine = &server.engine;
        let format = Arc::clone(&view.repo.format);
        let named = (self.place.registry.is_some() || self.place.is_saved).then(|| self.place.named.clone());
        let hide = |error| hidden(engine, &self.context, named.as_deref(), error);
        let (route, captures) = match self.place.routes(&*format).find(&self.method, &self.place.path) {
            Found::Route(route, captures) => (route, captures),
            other => {
                engine.allow(&self.context, Action::Read, &view.repo, None).await.map_err(hide)?;
                tell(self.request, |told| told.about.format = format.id());
                known.format = Some(format);
                return match other {
                    Found::OtherMethods(methods) => Ok(method_not_allowed(&methods, known.format.as_deref(), known.challenge.is_some())),
                    _ => Err(Error::not_found("this format has no such address")),
                };
            }
        };
        known.found(self.request, route, &format);
        let package = route.package.map(|name| view.repo.full_name(captures.get(name)).into_owned());
        if self.place.registry.is_none() && self.is_hidden(engine, &view.repo, route.handler.action(), package.as_deref()).await? {
            // The words of a format would tell that there is a repository of it.
            known.format = None;
        }
        let view = destination(engine, &self.context, view, route.handler.action(), package.as_deref()).await.map_err(hide)?;
        self.made_of.add(&view.repo);
        let private = self.is_private(engine, &view.repo, package.as_deref()).await?;
        let frozen = matches!(view.moment, Some(Moment::Revision(_)));
        let headers = forwardable(self.request);
        let facts = self.context.facts.clone();
        let accounts = engine.access.accounts(&self.context.caller, &facts);
        let caller = self.context.caller.clone();
        let session = Session::new(Arc::clone(engine), view.clone(), self.base.clone(), self.context.clone(), accounts);
        let context = self.context.clone();
        let namespace = self.place.registry.as_ref().and_then(|registry| registry.namespace.clone());
        let permit =
            Permit { server, session: &session, caller: &caller, view: &view, package: package.as_deref(), context: &context, named: named.as_deref() };
        let asked = Form {
            headers: &headers,
            private,
            frozen,
            may_redirect: self.method == Method::GET && view.repo.redirects_downloads(),
            is_saved: self.place.is_saved,
        };
        // Part of a file is no download more, unless it is the beginning.
        let downloads = self.method == Method::GET && headers.get(http::header::RANGE).is_none_or(|range| range.as_bytes().starts_with(b"bytes=0-"));
        let (request, made_of) = (self.request, std::mem::take(&mut self.made_of));
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
        known.namespace = namespace;
        let mut used = None;
        if let ResponseBody::File(file) = &response.body {
            known.source = Some(file.source);
            // What is read of the past is no use of what lives.
            if view.moment.is_none() {
                used = session.reader().use_of(&file.entry.path, downloads);
            }
        }
        if let Some(used) = &used {
            engine.note_use(used);
        }
        if route.handler.action() == Action::Read && is_of_records(view.repo.kind(), known.source, &response.body) {
            let is_document = matches!(response.body, ResponseBody::Document(_));
            tell(request, |told| told.again = Some(Again { made_of, is_document, used }));
        }
        answer(response, &asked, &*format).await
    }

    async fn sign_in(self, server: &Server, address: Address, route: &'static Route, captures: Captures, format: &dyn Format) -> Result<HttpResponse> {
        let Handler::SignIn(handler) = route.handler else { return Err(Error::internal("not a sign-in route")) };
        let headers = forwardable(self.request);
        let accounts = server.engine.access.accounts(&self.context.caller, &self.context.facts);
        let response: Response = handler(SignIn { accounts, address }, self.into_request(server, captures, &headers)?).await?;
        answer(response, &Form { headers: &headers, private: true, frozen: false, may_redirect: false, is_saved: false }, format).await
    }

    /// Whether the caller may neither do what it asks for nor know of it.
    async fn is_hidden(&self, engine: &Arc<Engine>, repo: &Repo, action: Action, package: Option<&str>) -> Result<bool> {
        for action in [action, Action::Read] {
            if engine.access.decide(&self.context.caller, action, &repo.target(package)).await?.allowed {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a shared cache must not keep the answer: it depends on who asks.
    async fn is_private(&self, engine: &Arc<Engine>, repo: &Repo, package: Option<&str>) -> Result<bool> {
        if self.context.caller.principal.is_anonymous() {
            return Ok(false);
        }
        Ok(repo.kind() == Kind::Group || !engine.access.decide(&Caller::anonymous(), Action::Read, &repo.target(package)).await?.allowed)
    }

    fn into_request(self, server: &Server, captures: Captures, headers: &HeaderMap) -> Result<Request> {
        Ok(Request {
            method: self.method,
            path: self.place.path,
            captures,
            query: self.query,
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
    /// What refusals call the repository, where the client did not name it as others do.
    named: Option<&'a str>,
}

impl Permit<'_> {
    async fn grant<A: Access>(&self) -> Result<Repository<A>> {
        let access = &self.server.engine.access;
        let grant = access.require::<A>(self.caller, &self.view.repo.target(self.package), &self.context.facts).await;
        let grant = grant.map_err(|error| hidden(&self.server.engine, self.context, self.named, error))?;
        check_moment(&self.view.repo, self.view.moment)?;
        if A::ACTION != Action::Read {
            self.view.check_writable()?;
        }
        Ok(Repository::new(Arc::clone(self.session) as _, grant))
    }
}

/// Where a request is answered: a change to a group goes to the member that `publish_to` names. Who may not read the group does
/// not learn that there is one, and who may not read the member does not learn its name.
async fn destination(engine: &Arc<Engine>, context: &Context, view: View, action: Action, package: Option<&str>) -> Result<View> {
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

/// A refusal that says no more than the client said, where what a name means tells something of its own: which systems there are.
fn hidden(engine: &Engine, context: &Context, named: Option<&str>, error: Error) -> Error {
    match named {
        Some(named) if matches!(error.status(), StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => engine.access.missing(&context.caller, named),
        _ => error,
    }
}

/// Whether the request comes with a token of some kind.
fn sends_bearer(request: &HttpRequest) -> bool {
    let header = request.headers().get(actix_web::http::header::AUTHORIZATION).map(HeaderValue::as_bytes);
    header.and_then(|value| value.split_first_chunk::<7>()).is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
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
