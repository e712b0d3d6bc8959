//! A small client of the management API.

use http::{Method, StatusCode};
use serde_json::{Value, json};

enum Credentials {
    None,
    Basic(String, String),
    Bearer(String),
}

/// A client with one set of credentials.
pub(crate) struct Api {
    base: String,
    credentials: Credentials,
    client: reqwest::Client,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its body.
    pub(crate) body: bytes::Bytes,
    what: String,
}

impl Reply {
    /// Its body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: not JSON ({error}): {} {}", self.what, self.status, self.text()))
    }

    /// Itself, after making sure that the request succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert!(self.status.is_success(), "{}: {} {}", self.what, self.status, self.text());
        self
    }

    /// Itself, after making sure of the status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.what, self.text());
        self
    }
}

impl Api {
    fn new(base: &str, credentials: Credentials) -> Self {
        // The machine's own outgoing proxy must not see requests to the test's server.
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base: base.trim_end_matches('/').to_owned(), credentials, client }
    }

    /// With user name and password.
    pub(crate) fn basic(base: &str, user: &str, password: &str) -> Self {
        Self::new(base, Credentials::Basic(user.to_owned(), password.to_owned()))
    }

    /// With a token.
    pub(crate) fn bearer(base: &str, token: &str) -> Self {
        Self::new(base, Credentials::Bearer(token.to_owned()))
    }

    /// Without credentials.
    pub(crate) fn anonymous(base: &str) -> Self {
        Self::new(base, Credentials::None)
    }

    /// The URL of the server, without a slash at its end.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A request that the test completes itself, with credentials: `server.admin().request(Method::PUT, "/main/generic/x")`.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.credentials {
            Credentials::None => request,
            Credentials::Basic(user, password) => request.basic_auth(user, Some(password)),
            Credentials::Bearer(token) => request.bearer_auth(token),
        }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let request = request.build().unwrap();
        let what = format!("{} {}", request.method(), request.url().path());
        let answer = self.client.execute(request).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let status = answer.status();
        let body = answer.bytes().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        Reply { status, body, what }
    }

    /// A request without a body.
    pub(crate) async fn call(&self, method: Method, path: &str) -> Reply {
        self.send(self.request(method, path)).await
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.call(Method::DELETE, path).await
    }

    /// A request with a JSON body.
    pub(crate) async fn json(&self, method: Method, path: &str, body: &Value) -> Reply {
        self.send(self.request(method, path).header("content-type", "application/json").body(body.to_string())).await
    }

    /// PUT of bytes.
    pub(crate) async fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        self.send(self.request(Method::PUT, path).body(body)).await
    }

    /// Creates a token of the caller's and gives its text.
    pub(crate) async fn create_token(&self, name: &str, repositories: &[&str], actions: &[&str]) -> String {
        let body = json!({ "name": name, "repositories": repositories, "actions": actions });
        let reply = self.json(Method::POST, "/api/v1/tokens", &body).await.succeeded().json();
        reply["token"].as_str().unwrap().to_owned()
    }
}
