//! What every handler gets: who asks, what it may do, the body it sent, and how a change is made.

use std::cell::RefCell;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::BytesMut;
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, web};
use entrepot_kit::accounts::Tags;
use entrepot_kit::{Action, Address, Change, Error};
use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Access, Admin, Target};
use crate::http::client::Client;
use crate::http::observe::tell;
use crate::http::{Server, refuse};
use crate::registry::{Context, Engine, Repo};
use crate::store::catalog::Catalog;
use crate::store::model::{AuditRow, CatalogError, NewRow, RepositoryRow};

/// Largest body of most requests.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// Items of a page that does not say how many it wants, and most items of any.
const PAGE: (usize, usize) = (100, 1000);

/// Held while systems or repositories change: two changes that are fine each for itself may be a cycle together. Between
/// replicas nothing holds it, and the table leaves a cycle out.
static CHANGING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What a handler gives back.
pub(super) type Answer = Result<HttpResponse, Refusal>;

/// A refusal or failure, as JSON `{"error": …}`.
#[derive(Debug)]
pub(super) struct Refusal(Error);

impl Refusal {
    /// Writes the cause of a failure of ours into the log.
    pub(super) fn log(&self, request_id: &str) {
        if self.0.status().is_server_error() {
            tracing::error!(request_id, error = %self.0, cause = ?std::error::Error::source(&self.0), "a request failed");
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refusal {}

impl ResponseError for Refusal {
    fn status_code(&self) -> actix_web::http::StatusCode {
        actix_web::http::StatusCode::from_u16(self.0.status().as_u16()).unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        refuse(&self.0, None)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<CatalogError> for Refusal {
    fn from(error: CatalogError) -> Self {
        Self(error.into())
    }
}

/// One request to the API, of a caller who is known.
pub(super) struct Call {
    server: web::Data<Server>,
    /// Who asks.
    pub(super) context: Context,
    content_type: Option<String>,
    payload: RefCell<Payload>,
}

impl FromRequest for Call {
    type Error = Refusal;
    type Future = LocalBoxFuture<'static, Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let server = request.app_data::<web::Data<Server>>().cloned().ok_or_else(|| Error::internal("the server is not known to its routes"))?;
            let (_, context) = Client::of(&request, &server).sign_in(&request, &server, None).await?;
            tell(&request, |told| told.principal = context.caller.name());
            let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let content_type = content_type.and_then(|value| value.split(';').next()).map(|value| value.trim().to_ascii_lowercase());
            Ok(Self { server, context, content_type, payload: RefCell::new(payload) })
        })
    }
}

/// A system or repository that was found, with the tags of its system.
pub(super) struct Found {
    pub(super) row: RepositoryRow,
    pub(super) system_tags: Tags,
}

impl Found {
    pub(super) fn target(&self) -> Target<'_> {
        Target {
            system: self.row.address.system.as_str(),
            system_tags: &self.system_tags,
            repository: Some((self.row.address.repository.as_str(), &self.row.tags, &self.row.format, self.row.kind)),
            package: None,
        }
    }
}

impl Call {
    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.server.engine
    }

    pub(super) fn access(&self) -> &Arc<Access> {
        &self.server.engine.access
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.server.engine.catalog
    }

    /// Whether the caller may, without a word to anybody.
    pub(super) async fn allows(&self, action: Action, target: &Target<'_>) -> Result<bool, Refusal> {
        Ok(self.access().decide(&self.context.caller, action, target).await?.allowed)
    }

    /// Refuses, and audits it, when the caller may not.
    pub(super) async fn demand(&self, action: Action, target: &Target<'_>) -> Result<(), Refusal> {
        Ok(self.access().check(&self.context.caller, action, target, &self.context.facts).await?)
    }

    /// The right to manage the server as a whole: the one place that asks for it.
    pub(super) fn administer(&self) -> Result<Admin, Refusal> {
        Ok(self.access().admin(&self.context.caller, &self.context.facts)?)
    }

    /// What a hidden thing and a missing one have in common.
    pub(super) fn missing(&self, address: &str) -> Refusal {
        self.access().missing(&self.context.caller, address).into()
    }

    /// A repository that is served, for reading it or a package of it.
    pub(super) async fn repo(&self, system: &str, name: &str, action: Action, package: Option<&str>) -> Result<Arc<Repo>, Refusal> {
        let missing = || self.missing(&format!("{system}/{name}"));
        let address = Address::new(system, name).map_err(|_| missing())?;
        self.engine().catch_up(Some(&address)).await?;
        let repo = self.engine().repo(&address).ok_or_else(missing)?;
        self.demand(action, &repo.target(package)).await?;
        Ok(repo)
    }

    /// A repository's record, be it served or broken, that the caller may read, and if `manage` says so, change.
    pub(super) async fn record(&self, system: &str, name: &str, action: Action) -> Result<Found, Refusal> {
        let missing = || self.missing(&format!("{system}/{name}"));
        let address = Address::new(system, name).map_err(|_| missing())?;
        self.engine().catch_up(Some(&address)).await?;
        let table = self.engine().table();
        let row = match table.get(&address) {
            Some(repo) => repo.row.clone(),
            // One that cannot be served is in no table, but has to be mended or deleted by somebody.
            None if !self.context.caller.is_anonymous() => {
                self.catalog().repositories().await?.into_iter().find(|row| row.address == address).ok_or_else(missing)?
            }
            None => return Err(missing()),
        };
        let system_tags = table.systems.get(system).map(|row| row.tags.clone()).unwrap_or_default();
        let found = Found { row, system_tags };
        self.demand(action, &found.target()).await?;
        Ok(found)
    }

    /// The body, read no further than `limit`.
    pub(super) async fn bytes(&self, limit: usize) -> Result<BytesMut, Refusal> {
        let mut payload = self.payload.replace(Payload::None);
        let mut body = BytesMut::new();
        let idle = self.server.settings.idle_timeout;
        loop {
            let chunk = tokio::time::timeout(idle, payload.next()).await;
            let chunk = chunk.map_err(|_| Error::new(StatusCode::REQUEST_TIMEOUT, "the rest of the body did not arrive"))?;
            let Some(chunk) = chunk else { return Ok(body) };
            let chunk = chunk.map_err(|cause| Error::bad_request("the body broke off").with_source(cause.to_string()))?;
            if body.len() + chunk.len() > limit {
                return Err(Error::too_large(format!("the body is larger than {limit} bytes")).into());
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// The body as JSON. The media type is demanded: no page of another site can make a browser send it unasked.
    pub(super) async fn json<T: DeserializeOwned>(&self, limit: usize) -> Result<T, Refusal> {
        if !self.sends_json() {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Error::new(status, "send the body as JSON, with the header Content-Type: application/json").into());
        }
        let body = self.bytes(limit).await?;
        serde_json::from_slice(&body).map_err(|error| Error::bad_request(format!("the body: {error}")).into())
    }

    pub(super) fn sends_json(&self) -> bool {
        self.content_type.as_deref() == Some("application/json")
    }

    /// Makes a change of systems or repositories: to its end even when the caller goes away, one at a time so that what was checked still
    /// holds, and with a line in the audit log.
    pub(super) async fn change<T, F>(&self, action: &'static str, resource: String, work: impl FnOnce(Arc<Engine>) -> F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: Future<Output = entrepot_kit::Result<T>> + Send + 'static,
    {
        let engine = Arc::clone(self.engine());
        let (work, line) = (work(Arc::clone(&engine)), self.line(action, resource));
        let changed = async move {
            let _one_at_a_time = CHANGING.lock().await;
            let outcome = work.await;
            write_down(&engine, line, failure(&outcome)).await;
            let outcome = outcome?;
            engine.reload().await?;
            engine.access.refresh().await?;
            Ok(outcome)
        };
        Ok(self.engine().detached(changed).await?)
    }

    /// Commits a deletion or a restoration.
    pub(super) async fn manage(&self, repo: &Arc<Repo>, package: &str, change: Change, restored: Vec<NewRow>) -> Result<u64, Refusal> {
        let line = self.line(change.action, repo.target(Some(package)).name());
        let (engine, context, repo) = (Arc::clone(self.engine()), self.context.clone(), Arc::clone(repo));
        let managed = async move {
            let outcome = engine.manage(&context, &repo, change, restored).await;
            write_down(&engine, line, failure(&outcome)).await;
            outcome
        };
        Ok(self.engine().detached(managed).await?)
    }

    fn line(&self, action: &str, resource: String) -> AuditRow {
        let facts = &self.context.facts;
        AuditRow {
            time: self.context.now,
            principal: self.context.caller.name(),
            action: action.to_owned(),
            resource,
            outcome: String::from("changed"),
            detail: String::new(),
            request_id: facts.request_id.clone(),
            remote: facts.remote.map(|address| address.to_string()).unwrap_or_default(),
        }
    }
}

fn failure<T>(outcome: &entrepot_kit::Result<T>) -> Option<String> {
    outcome.as_ref().err().map(|error| error.message().to_owned())
}

async fn write_down(engine: &Engine, mut line: AuditRow, failure: Option<String>) {
    if let Some(failure) = failure {
        line.outcome = String::from("failed");
        line.detail = failure;
    }
    engine.access.audit().record_change(line).await;
}

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Page<T> {
    /// The items.
    pub(super) items: Vec<T>,
    /// Given while more follow: send it as `after` (or `before`) to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// Which page of a list.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Continue behind this: the `next` of the page before.
    pub(super) after: Option<String>,
    /// At most so many items: 1 to 1000, 100 without it.
    pub(super) limit: Option<usize>,
}

/// Checks how many items a page shall have.
pub(super) fn page_size(limit: Option<usize>) -> Result<usize, Refusal> {
    match limit.unwrap_or(PAGE.0) {
        limit if (1..=PAGE.1).contains(&limit) => Ok(limit),
        limit => Err(Error::bad_request(format!("limit = {limit} is out of range: use 1 to {}", PAGE.1)).into()),
    }
}

/// A page of what is in memory anyway, ordered by `key`.
pub(super) fn page_of<T>(items: impl IntoIterator<Item = T>, query: &PageQuery, key: impl Fn(&T) -> String) -> Result<Page<T>, Refusal> {
    let limit = page_size(query.limit)?;
    let behind = |item: &T| query.after.as_ref().is_none_or(|after| key(item) > *after);
    let mut items: Vec<T> = items.into_iter().filter(behind).take(limit + 1).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(Page { next: items.last().filter(|_| more).map(key), items })
}

/// 200.
pub(super) fn ok(body: &impl Serialize) -> Answer {
    Ok(HttpResponse::Ok().json(body))
}

/// 201.
pub(super) fn created(body: &impl Serialize) -> Answer {
    Ok(HttpResponse::Created().json(body))
}

/// 204.
pub(super) fn done() -> Answer {
    Ok(HttpResponse::NoContent().finish())
}
