//! The HTTP client with the rule that its connections keep to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use entrepot_kit::{Error, Result};
use tokio::sync::OnceCell;

use super::answer::UpstreamError;
use super::egress::{Denied, Reach, Resolver};

/// Largest file of certificate authorities.
const MOST_CA_BYTES: u64 = 4 << 20;

/// A client with the rule that its resolver keeps to.
pub(super) struct Door {
    pub(super) reach: Reach,
    resolver: Resolver,
    certificates: Vec<reqwest::Certificate>,
    proxy: Option<reqwest::Proxy>,
    connect_timeout: Duration,
    /// Made at the first fetch: reading the system's certificates takes a while, and most proxies of a start are idle.
    client: OnceCell<reqwest::Client>,
}

impl Door {
    pub(super) fn new(
        reach: Reach,
        certificates: Vec<reqwest::Certificate>,
        proxy: Option<reqwest::Proxy>,
        proxy_host: Option<(Arc<str>, Reach)>,
        connect_timeout: Duration,
    ) -> Self {
        Self { reach, resolver: Resolver { reach, proxy: proxy_host }, certificates, proxy, connect_timeout, client: OnceCell::new() }
    }

    /// Whether another server makes the connections, and resolves names.
    pub(super) fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }

    /// How long making a connection may take.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// The client, made now if need be.
    pub(super) async fn client(&self) -> Result<reqwest::Client, UpstreamError> {
        let build = || async {
            let (resolver, certificates, proxy, connect_timeout) = (self.resolver.clone(), self.certificates.clone(), self.proxy.clone(), self.connect_timeout);
            let build = move || {
                let builder = move || {
                    let builder = reqwest::Client::builder()
                        .user_agent(concat!("entrepot/", env!("CARGO_PKG_VERSION")))
                        .redirect(reqwest::redirect::Policy::none())
                        .referer(false)
                        // The environment is read by the configuration alone.
                        .no_proxy()
                        .dns_resolver(resolver.clone())
                        .connect_timeout(connect_timeout)
                        .pool_idle_timeout(Duration::from_secs(60))
                        .pool_max_idle_per_host(32)
                        .tcp_keepalive(Duration::from_secs(30));
                    match proxy.clone() {
                        Some(proxy) => builder.proxy(proxy),
                        None => builder,
                    }
                };
                builder().tls_certs_merge(certificates.clone()).build().or_else(|error| {
                    tracing::warn!(%error, "no certificate authorities on this system: https upstreams need ca_file, or the system its CA certificates");
                    builder().tls_certs_only(certificates).build()
                })
            };
            match tokio::task::spawn_blocking(build).await {
                Ok(Ok(client)) => Ok(client),
                Ok(Err(error)) => Err(chain(&error)),
                Err(error) => Err(error.to_string()),
            }
        };
        self.client.get_or_try_init(build).await.cloned().map_err(|cause| UpstreamError::Unreachable { retry_after: 60, cause, answered: false })
    }
}

/// The certificates of a `ca_file`. No message holds anything of what is in it.
pub(super) fn read_certificates(file: &Path) -> Result<Vec<reqwest::Certificate>> {
    use std::io::Read as _;
    let shown = file.display();
    let mut pem = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| entrepot_kit::LimitedReader::new(opened, MOST_CA_BYTES).read_to_end(&mut pem))
        .map_err(|error| Error::bad_request(format!("upstream.ca_file {shown} cannot be read: {error}")))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if certificates.is_empty() {
        return Err(Error::bad_request(format!("upstream.ca_file {shown} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")));
    }
    Ok(certificates)
}

/// The refusal of our resolver, wherever the client wrapped it.
pub(super) fn denial(error: &reqwest::Error) -> Option<Denied> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(denied) = error.downcast_ref::<Denied>() {
            return Some(denied.clone());
        }
        cause = error.source();
    }
    None
}

/// An error with its causes, for the log.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
