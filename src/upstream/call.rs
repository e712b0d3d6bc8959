//! Calls to an address that the operator wrote into the configuration file: told something, asked for nothing.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::door::{Door, chain};
use super::egress::Reach;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a call may take, with its answer's head.
const PATIENCE: Duration = Duration::from_secs(15);

/// Makes calls. Redirects are not followed: they would carry a secret to somebody else.
pub struct Caller(Door);

impl Default for Caller {
    fn default() -> Self {
        // Private addresses too: who writes the file decides. Metadata services never.
        Self(Door::new(Reach::Private, Vec::new(), None, None, CONNECT))
    }
}

impl Caller {
    /// Calls, and says whether the other side was content.
    ///
    /// # Errors
    /// Why not; no text holds the secret, or more of the address than its host.
    pub async fn call(&self, method: Method, url: &Url, header: Option<(&HeaderName, &SecretString)>) -> Result<(), String> {
        let host = url.host_str().unwrap_or_default().to_owned();
        self.0.reach.check_literal(url).map_err(|denied| denied.to_string())?;
        let client = self.0.client().await.map_err(|error| error.to_string())?;
        let mut request = client.request(method, url.clone());
        if let Some((name, secret)) = header {
            let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| String::from("the secret is no value of a header"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let answer = match tokio::time::timeout(PATIENCE, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(format!("{host}: {}", chain(&error.without_url()))),
            Err(_) => return Err(format!("{host}: no answer within {} seconds", PATIENCE.as_secs())),
        };
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("{host} answered {status}")) }
    }
}
