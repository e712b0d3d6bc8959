//! One upstream: its client, its credentials, and how hard it is tried.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use entrepot_kit::{Error, Result};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, ETAG, HOST, HeaderMap, HeaderName, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, StatusCode};
use reqwest::Response;
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::Url;

use super::answer::{Fetched, UpstreamError};
use super::bearer::{self, Memory};
use super::body::{self, Limits};
use super::breaker::{Breakers, Tolerance};
use super::door::{self, Door};
use super::egress::{Denied, Reach};
use super::header;
use super::redirect::{self, Hop, MOST_HOPS};
use super::settings::UpstreamSettings;
use super::sign_in::Pass;

/// What is wanted of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// An encoded path, with query if any, below the upstream's root.
    Path(&'a str),
    /// An absolute URL from a document of the upstream.
    Url(&'a str),
}

/// A request to an upstream.
#[derive(Debug, Clone)]
pub struct Fetch<'a> {
    /// What to fetch.
    pub target: Target<'a>,
    /// `GET`, `HEAD` or `POST`; only the first two are tried again.
    pub method: Method,
    /// Media types to ask for.
    pub accept: Option<&'a str>,
    /// More headers. Credentials, cookies and what belongs to a connection are dropped; other hosts get harmless ones only.
    pub headers: HeaderMap,
    /// The validator of a kept copy: an unchanged one is answered 304.
    pub etag: Option<&'a str>,
    /// When the kept copy was changed, as the upstream said it.
    pub last_modified: Option<&'a str>,
    /// A small body.
    pub body: Bytes,
    /// Whether the answer may be gzip: for documents that [`Fetched::document`] reads.
    pub gzip: bool,
    /// What the fetch is about (an image): the upstream's challenge and the token for it are remembered by this.
    pub space: Option<&'a str>,
    /// A header of the answer that names its bytes, for [`Fetched::name`].
    pub named_by: Option<&'static str>,
    /// How long all tries may take until an answer begins. A few seconds where a stale copy could be served instead.
    pub patience: Duration,
}

impl<'a> Fetch<'a> {
    /// A plain `GET` that waits for a minute.
    #[must_use]
    pub fn get(target: Target<'a>) -> Self {
        Self {
            target,
            method: Method::GET,
            accept: None,
            headers: HeaderMap::new(),
            etag: None,
            last_modified: None,
            body: Bytes::new(),
            gzip: false,
            space: None,
            named_by: None,
            patience: Duration::from_secs(60),
        }
    }
}

/// Where the settings of an upstream come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// From the configuration file: its own host may then be private and its `ca_file` is read.
    pub declared: bool,
}

/// Everything about tries that tests make small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    pub(super) tolerance: Tolerance,
    /// The wait before the first further try; it doubles.
    pub(super) backoff: Duration,
    pub(super) window: Duration,
    pub(super) least: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { tolerance: Tolerance::default(), backoff: Duration::from_millis(200), window: Duration::from_secs(60), least: 64 * 1024 }
    }
}

/// Most bytes of an answer's headers.
const MOST_HEADER_BYTES: usize = 64 * 1024;
/// Longest validator that is kept: it lies in the database and goes back with every request.
const MOST_VALIDATOR_BYTES: usize = 1024;
/// The body of a redirect up to which reading it is cheaper than a new connection.
const MOST_DRAINED_BYTES: u64 = 16 * 1024;
/// Most challenges that are met in one try: a token that is no longer good, and one for another scope.
const MOST_CHALLENGES: u32 = 2;
/// One upstream of one proxy repository. It keeps connections and remembers failures.
pub struct Upstream {
    pub(super) settings: UpstreamSettings,
    pub(super) root: Url,
    pub(super) credentials: Option<HeaderValue>,
    /// Whether it says by a challenge how it wants to be signed in at.
    pub(super) challenged: bool,
    pub(super) memory: Memory,
    /// One token is fetched at a time.
    pub(super) obtaining: tokio::sync::Mutex<()>,
    /// What it last said of its rate limit: how much there is, and how much is left. Negative: nothing.
    allowance: [AtomicI64; 2],
    /// For the upstream itself and for everywhere else: they may reach different networks and share no connection.
    own: Door,
    elsewhere: Door,
    breakers: Breakers,
    tuning: Tuning,
}

/// The settings say it all, and hide their secrets; the HTTP client's own `Debug` shows a proxy's password.
impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.settings).finish()
    }
}

/// Why a try failed.
pub(super) enum Trouble {
    Final(UpstreamError),
    /// May pass: worth another try, after `wait` if the upstream said so.
    Passing {
        cause: String,
        wait: Option<Duration>,
        /// By an error of HTTP.
        answered: bool,
    },
}

impl From<UpstreamError> for Trouble {
    fn from(error: UpstreamError) -> Self {
        Self::Final(error)
    }
}

impl From<Denied> for Trouble {
    fn from(denied: Denied) -> Self {
        Self::Final(UpstreamError::Refused(denied.0))
    }
}

impl Upstream {
    /// Checks the settings and reads the `ca_file`. Nothing is sent yet.
    ///
    /// # Errors
    /// 400 with everything that is wrong with the settings.
    pub fn new(settings: UpstreamSettings, trust: Trust) -> Result<Self> {
        Self::tuned(settings, trust, Tuning::default())
    }

    pub(super) fn tuned(settings: UpstreamSettings, trust: Trust, tuning: Tuning) -> Result<Self> {
        settings.check().map_err(|wrong| Error::bad_request(wrong.join("; ")))?;
        let root = settings.root().map_err(Error::bad_request)?;
        let elsewhere = if settings.allow_private { Reach::Private } else { Reach::Public };
        let own = if trust.declared { Reach::Private } else { elsewhere };
        let denied = |what: &str, denied: Denied| Error::bad_request(format!("upstream.{what}: {denied}"));
        own.check_literal(&root).map_err(|error| denied("url", error))?;
        let mut proxy = None;
        let mut proxy_host = None;
        if let Some(url) = settings.proxy_url().map_err(Error::bad_request)? {
            own.check_literal(&url).map_err(|error| denied("proxy", error))?;
            proxy_host = url.host_str().map(|host| (Arc::from(host), own));
            proxy = Some(reqwest::Proxy::all(url).map_err(|_| Error::bad_request("upstream.proxy is not usable: write it like http://proxy.example:3128"))?);
        }
        let certificates = match &settings.ca_file {
            None => Vec::new(),
            // Whoever manages a repository through the API may not make the server open files.
            Some(_) if !trust.declared => return Err(Error::bad_request("upstream.ca_file can be set in the configuration file only")),
            Some(file) => door::read_certificates(file)?,
        };
        let timeout = Duration::from_secs(settings.connect_timeout);
        let door = |reach| Door::new(reach, certificates.clone(), proxy.clone(), proxy_host.clone(), timeout);
        let credentials = credentials(&settings)?;
        Ok(Self {
            root,
            credentials,
            challenged: false,
            memory: Memory::default(),
            obtaining: tokio::sync::Mutex::default(),
            allowance: [AtomicI64::new(-1), AtomicI64::new(-1)],
            own: door(own),
            elsewhere: door(elsewhere),
            breakers: Breakers::new(tuning.tolerance),
            tuning,
            settings,
        })
    }

    /// The same upstream, of a format whose paths begin with `prefix`, unless the root is already that of a part of it; `challenged`: its
    /// upstreams answer 401 with a challenge, which credentials then wait for.
    #[must_use]
    pub fn speaking(self, prefix: &str, challenged: bool) -> Self {
        let mut root = self.root;
        if !root.path().contains(&format!("/{prefix}")) {
            let path = format!("{}{prefix}", root.path());
            root.set_path(&path);
        }
        Self { root, challenged, ..self }
    }

    /// What the upstream last said of its rate limit: how much it allows, and how much is left.
    #[must_use]
    pub fn allowance(&self) -> Option<[i64; 2]> {
        let found = self.allowance.each_ref().map(|count| count.load(Ordering::Relaxed));
        (found.iter().all(|count| *count >= 0)).then_some(found)
    }

    /// The settings that it was made from.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Sends a request, follows redirects, and tries again what may pass. Returns when an answer begins.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn fetch(&self, fetch: &Fetch<'_>) -> Result<Fetched, UpstreamError> {
        let url = match fetch.target {
            Target::Path(path) => redirect::below(&self.root, path)?,
            Target::Url(url) => redirect::link(&self.root, url)?,
        };
        let headers = self.headers(fetch)?;
        let deadline = Instant::now() + fetch.patience;
        let tries = if matches!(fetch.method, Method::GET | Method::HEAD) { self.settings.retries } else { 0 };
        let mut tried = 0;
        loop {
            let first = Hop { url: url.clone(), method: fetch.method.clone() };
            let (cause, wait, answered) = match Box::pin(self.follow(first, fetch, &headers, deadline)).await {
                Ok(fetched) => return Ok(fetched),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing { cause, wait, answered }) => (cause, wait, answered),
            };
            let pause = wait.unwrap_or_default().max(self.backoff(tried));
            if tried >= tries || Instant::now() + pause >= deadline {
                return Err(UpstreamError::Unreachable { retry_after: seconds(pause), cause, answered });
            }
            tracing::debug!(upstream = %redirect::origin(&url), %cause, ?pause, "trying again");
            sleep(pause).await;
            tried += 1;
        }
    }

    /// One try: a request and the redirects after it.
    async fn follow(&self, mut hop: Hop, fetch: &Fetch<'_>, headers: &HeaderMap, deadline: Instant) -> Result<Fetched, Trouble> {
        let mut visited = vec![hop.clone()];
        let mut pass = self.first_pass(fetch, deadline).await?;
        let mut challenges = 0;
        loop {
            if pass == Pass::Denied {
                return Ok(self.denied(&hop));
            }
            let own = redirect::same_origin(&self.root, &hop.url);
            let mut said = if own { headers.clone() } else { redirect::for_strangers(headers) };
            if let Some(value) = pass.value().filter(|_| own) {
                said.insert(AUTHORIZATION, value.clone());
            }
            let body = Some(fetch.body.clone()).filter(|body| hop.method == fetch.method && !body.is_empty());
            let response = self.send(&hop, said, body, deadline).await?;
            let status = response.status();
            if own && status == StatusCode::UNAUTHORIZED && challenges < MOST_CHALLENGES {
                challenges += 1;
                if let Some(next) = self.meet(response.headers(), fetch, &pass, deadline).await? {
                    pass = next;
                    drain(response).await;
                    continue;
                }
            }
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return self.judge(&hop, fetch, response, &pass);
            }
            hop = redirect::next(&hop, status, header::text(response.headers(), LOCATION).as_deref())?;
            if visited.contains(&hop) {
                return Err(UpstreamError::BadAnswer("the upstream redirects in a circle".to_owned()).into());
            }
            if visited.len() > MOST_HOPS {
                return Err(UpstreamError::BadAnswer(format!("the upstream redirects more than {MOST_HOPS} times")).into());
            }
            visited.push(hop.clone());
            drain(response).await;
        }
    }

    /// One request, with these headers and no others.
    pub(super) async fn send(&self, hop: &Hop, headers: HeaderMap, body: Option<Bytes>, deadline: Instant) -> Result<Response, Trouble> {
        let own = redirect::same_origin(&self.root, &hop.url);
        let door = if own { &self.own } else { &self.elsewhere };
        door.reach.check_literal(&hop.url)?;
        if door.has_proxy() {
            let slow = |_| Trouble::Passing { cause: "resolving a name took too long".to_owned(), wait: None, answered: false };
            timeout_at(deadline, door.reach.check_name(&hop.url)).await.map_err(slow)??;
        }
        let client = door.client().await?;
        let mut request = client.request(hop.method.clone(), hop.url.clone()).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }

        let begun = Instant::now();
        let origin = redirect::origin(&hop.url);
        let permit = self.breakers.admit(&origin, begun).map_err(|open| UpstreamError::Unreachable {
            retry_after: seconds(open.wait),
            answered: open.answered,
            cause: format!("{origin} failed several times in a row and is left alone for a while"),
        })?;
        let limit = door.connect_timeout() + Duration::from_secs(self.settings.read_timeout);
        match timeout_at(deadline.min(begun + limit), request.send()).await {
            Err(_) => {
                permit.failed(Instant::now(), false);
                Err(Trouble::Passing { cause: format!("{origin} did not answer within {:.1} s", begun.elapsed().as_secs_f32()), wait: None, answered: false })
            }
            Ok(Err(error)) => {
                if let Some(denied) = door::denial(&error) {
                    return Err(denied.into());
                }
                if error.is_builder() {
                    return Err(UpstreamError::BadAnswer("the upstream leads to a URL that cannot be asked for".to_owned()).into());
                }
                permit.failed(Instant::now(), false);
                Err(Trouble::Passing { cause: format!("{origin}: {}", door::chain(&error.without_url())), wait: None, answered: false })
            }
            Ok(Ok(response)) => {
                // What a gateway says when it cannot reach what is behind it. A 500 may be about one file.
                if matches!(response.status().as_u16(), 502..=504) {
                    permit.failed(Instant::now(), true);
                } else {
                    permit.succeeded();
                }
                if own {
                    self.note_allowance(response.headers());
                }
                let size: usize = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
                if size > MOST_HEADER_BYTES {
                    return Err(UpstreamError::BadAnswer("the upstream's answer has too many headers".to_owned()).into());
                }
                Ok(response)
            }
        }
    }

    /// What an answer that is no redirect is worth.
    fn judge(&self, hop: &Hop, fetch: &Fetch<'_>, response: Response, pass: &Pass) -> Result<Fetched, Trouble> {
        let status = response.status();
        let code = status.as_u16();
        let bad = |message: String| Err(Trouble::Final(UpstreamError::BadAnswer(message)));
        match code {
            401 | 403 | 407 if !redirect::same_origin(&self.root, &hop.url) => return bad(format!("the host that the upstream leads to answered {code}")),
            401 | 403 if matches!(pass, Pass::Token(..)) => return Ok(Fetched { status, ..self.denied(hop) }),
            401 | 403 | 407 if self.credentials.is_some() => {
                return bad(format!(
                    "the upstream answered {code}: check the credentials that this repository has for it (upstream.username and password, or token)"
                ));
            }
            401 | 403 | 407 => {
                return bad(format!("the upstream answered {code}: it may want credentials (upstream.username and password, or token of this repository)"));
            }
            408 | 425 | 429 | 500 | 502..=504 => {
                // Whoever was told that it asks too much, and not for how long, waits.
                let wait = header::retry_after(response.headers()).or_else(|| (code == 429).then_some(Duration::from_secs(60)));
                return Err(Trouble::Passing { cause: format!("{} answered {code}", redirect::origin(&hop.url)), wait, answered: true });
            }
            304 if fetch.etag.is_none() && fetch.last_modified.is_none() => return bad("the upstream answered 304 to a question without conditions".to_owned()),
            200..=299 | 304 | 400..=499 => {}
            _ => return bad(format!("the upstream answered {code}")),
        }
        let headers = response.headers();
        let length = header::length(headers);
        let bodyless = hop.method == Method::HEAD || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT);
        if !bodyless && length.is_some_and(|length| length > self.settings.max_size) {
            return bad(body::too_large(self.settings.max_size).message().to_owned());
        }
        let validator = |name| header::text(headers, name).filter(|value| value.len() <= MOST_VALIDATOR_BYTES);
        Ok(Fetched {
            status,
            etag: validator(ETAG),
            last_modified: validator(LAST_MODIFIED),
            content_type: validator(CONTENT_TYPE),
            length,
            content_encoding: header::encodings(headers),
            name: fetch.named_by.and_then(|name| validator(HeaderName::from_static(name))),
            next: header::next_page(headers).and_then(|target| hop.url.join(&target).ok()).map(String::from),
            url: redirect::shown(&hop.url),
            body: if bodyless { Box::pin(futures::stream::empty()) } else { body::stream(response, length, self.limits()) },
        })
    }

    /// What is said of something that the upstream does not show to us.
    fn denied(&self, hop: &Hop) -> Fetched {
        Fetched {
            status: StatusCode::UNAUTHORIZED,
            etag: None,
            last_modified: None,
            content_type: None,
            length: None,
            content_encoding: None,
            name: None,
            next: None,
            url: redirect::shown(&hop.url),
            body: Box::pin(futures::stream::empty()),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            read_timeout: Duration::from_secs(self.settings.read_timeout),
            max_size: self.settings.max_size,
            window: self.tuning.window,
            least: self.tuning.least,
        }
    }

    fn note_allowance(&self, headers: &HeaderMap) {
        for (kept, name) in self.allowance.iter().zip(["ratelimit-limit", "ratelimit-remaining"]) {
            if let Some(count) = header::allowance(headers, name) {
                kept.store(count, Ordering::Relaxed);
            }
        }
    }

    /// The headers of a request, credentials aside.
    fn headers(&self, fetch: &Fetch<'_>) -> Result<HeaderMap, UpstreamError> {
        const OURS: [HeaderName; 10] =
            [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, HOST, CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH, TE, UPGRADE, ACCEPT_ENCODING];
        let mut headers: HeaderMap = fetch.headers.iter().filter(|(name, _)| !OURS.contains(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(if fetch.gzip { "gzip" } else { "identity" }));
        for (name, value) in [(ACCEPT, fetch.accept), (IF_NONE_MATCH, fetch.etag), (IF_MODIFIED_SINCE, fetch.last_modified)] {
            if let Some(value) = value {
                let value = HeaderValue::from_str(value).map_err(|_| UpstreamError::BadAnswer(format!("what is kept for {name} cannot be sent")))?;
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }

    /// The wait before the try after `tried` further ones: doubling to a bound, and never the same for everyone.
    fn backoff(&self, tried: u32) -> Duration {
        let whole = self.tuning.backoff.saturating_mul(1 << tried.min(5)).min(Duration::from_secs(5));
        let half = whole / 2;
        let random = getrandom::u32().unwrap_or(u32::MAX / 2);
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// Reads the rest of an answer that is of no use, only to keep the connection: what comes of it does not matter.
async fn drain(response: Response) {
    if header::length(response.headers()).is_some_and(|length| length <= MOST_DRAINED_BYTES) {
        timeout(Duration::from_secs(1), response.bytes()).await.ok();
    }
}

fn credentials(settings: &UpstreamSettings) -> Result<Option<HeaderValue>> {
    let value = match (&settings.token, &settings.username, &settings.password) {
        (Some(token), ..) => HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok(),
        (None, Some(username), Some(password)) => bearer::basic(username, password.expose_secret()),
        _ => return Ok(None),
    };
    let mut value = value.ok_or_else(|| Error::bad_request("the credentials of the upstream hold characters that HTTP cannot carry"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// For `Retry-After`: at least one second, at most an hour.
fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).clamp(1, 3600)
}
