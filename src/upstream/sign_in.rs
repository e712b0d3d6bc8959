//! What is sent to an upstream to say who asks: at once, or after its challenge.

use entrepot_kit::Body;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, timeout_at};

use super::answer::UpstreamError;
use super::bearer::{self, Challenge, Scope};
use super::body;
use super::client::{Fetch, Trouble, Upstream};
use super::redirect::{self, Hop};

/// Largest answer of a token server.
const MOST_ANSWER: usize = 64 * 1024;

/// What goes with a request to the upstream itself.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Pass {
    /// Nothing.
    Nobody,
    /// What the operator gave.
    Credentials(HeaderValue),
    /// A token that was fetched.
    Token(Scope, HeaderValue),
    /// The token server gives none: the upstream would say no.
    Denied,
}

impl Pass {
    pub(super) fn value(&self) -> Option<&HeaderValue> {
        match self {
            Self::Nobody | Self::Denied => None,
            Self::Credentials(value) | Self::Token(_, value) => Some(value),
        }
    }
}

impl Upstream {
    fn credentials_or_none(&self) -> Pass {
        self.credentials.clone().map_or(Pass::Nobody, Pass::Credentials)
    }

    /// Whether this upstream says how it wants to be signed in at. A token of the operator's is sent as it is.
    fn waits_for_challenge(&self) -> bool {
        self.challenged && self.settings.token.is_none()
    }

    /// What a fetch begins with: what the upstream asked for when something of the same kind was fetched before.
    pub(super) async fn first_pass(&self, fetch: &Fetch<'_>, deadline: Instant) -> Result<Pass, Trouble> {
        if !self.waits_for_challenge() {
            return Ok(self.credentials_or_none());
        }
        match fetch.space.and_then(|space| self.memory.challenge(space)) {
            Some(Challenge::Bearer(scope)) => Box::pin(self.obtain(&scope, deadline)).await,
            Some(Challenge::Basic) => Ok(self.credentials_or_none()),
            None => Ok(Pass::Nobody),
        }
    }

    /// What to send after a 401 to a request that went with `sent`; `None` when there is nothing else to try.
    pub(super) async fn meet(&self, answer: &HeaderMap, fetch: &Fetch<'_>, sent: &Pass, deadline: Instant) -> Result<Option<Pass>, Trouble> {
        if !self.waits_for_challenge() {
            return Ok(None);
        }
        let Some(challenge) = Challenge::read(answer) else { return Ok(None) };
        let pass = match &challenge {
            Challenge::Basic => self.credentials_or_none(),
            Challenge::Bearer(scope) => {
                if let Pass::Token(of, value) = sent {
                    self.memory.forget(of, value);
                }
                Box::pin(self.obtain(scope, deadline)).await?
            }
        };
        if let Some(space) = fetch.space {
            self.memory.note_challenge(space, &challenge);
        }
        Ok(Some(pass).filter(|pass| pass != sent && *pass != Pass::Nobody))
    }

    /// A token: kept, or fetched from the realm.
    async fn obtain(&self, scope: &Scope, deadline: Instant) -> Result<Pass, Trouble> {
        let kept = || self.memory.token(scope, Instant::now()).map(|value| Pass::Token(scope.clone(), value));
        if let Some(pass) = kept() {
            return Ok(pass);
        }
        // The layers of an image are fetched side by side, and want the same token.
        let slow = |_| Trouble::Passing { cause: String::from("waiting for a token took too long"), wait: None, answered: false };
        let _one_at_a_time = timeout_at(deadline, self.obtaining.lock()).await.map_err(slow)?;
        if let Some(pass) = kept() {
            return Ok(pass);
        }
        let realm = redirect::link(&self.root, &scope.realm)?;
        let account = match (&self.settings.username, &self.settings.password) {
            (Some(username), Some(password)) => {
                self.check_realm(&realm)?;
                Some((username.as_str(), password.expose_secret()))
            }
            _ => None,
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(value) = account.and_then(|(username, password)| bearer::basic(username, password)) {
            headers.insert(AUTHORIZATION, value);
        }
        let url = bearer::question(&realm, scope, account.map(|(username, _)| username));
        let hop = Hop { url, method: Method::GET };
        let response = self.send(&hop, headers, None, deadline).await?;
        let bad = |message: String| Err(Trouble::Final(UpstreamError::BadAnswer(message)));
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED if account.is_some() => {
                return bad("the upstream's token server refused the credentials that this repository has (upstream.username and password)".to_owned());
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(Pass::Denied),
            status if status.is_redirection() => return bad("the upstream's token server redirects, which is not followed".to_owned()),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Trouble::Passing {
                    cause: format!("{} answered {status} instead of a token", redirect::origin(&hop.url)),
                    wait: None,
                    answered: true,
                });
            }
            status => return bad(format!("the upstream's token server answered {status}")),
        }
        let length = super::header::length(response.headers());
        let body = Body::new(body::stream(response, length, self.limits()), length);
        let broken = |_| Trouble::Passing { cause: String::from("the token server broke off"), wait: None, answered: false };
        let answer = timeout_at(deadline, body.collect(MOST_ANSWER)).await.map_err(slow)?.map_err(broken)?;
        let (value, lifetime) = bearer::read_token(&answer)?;
        let now = Instant::now();
        self.memory.note_token(scope, value.clone(), now + lifetime, now);
        Ok(Pass::Token(scope.clone(), value))
    }

    /// Refuses to send credentials to a realm that is not the upstream's own.
    fn check_realm(&self, realm: &url::Url) -> Result<(), UpstreamError> {
        if bearer::belongs(&self.root, realm, self.settings.token_hosts()) {
            return Ok(());
        }
        tracing::warn!(
            upstream = %redirect::origin(&self.root), realm = %redirect::origin(realm),
            "the upstream asks for credentials at another host, and they were not sent; if it is right, list the host in upstream.token_hosts"
        );
        Err(UpstreamError::BadAnswer(String::from(
            "the upstream asks to sign in at a host that is not its own, so its credentials were not sent; the server's log names the host: if it is right, list \
             it in upstream.token_hosts",
        )))
    }
}
