//! `health`: asks the server of this machine whether it can serve.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::Failure;
use crate::config::Config;

/// How long the answer may take: a little longer than the server's own look at its catalog and storage.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks and says what it heard.
///
/// # Errors
/// When the server does not answer, or answers that it cannot serve.
pub(super) async fn ask(config: &Config) -> Result<String, Failure> {
    let failed = |what: &str, cause: &dyn std::fmt::Display| Failure::Other(format!("{what}: {cause}"));
    let address = reachable(config.server.listen);
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    // No secret is sent, and the certificate names the server as others see it, not this address.
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).tls_danger_accept_invalid_certs(true).build();
    let client = client.map_err(|cause| failed("cannot make a client", &cause))?;
    let answer = client.get(format!("{scheme}://{address}/health/ready")).send().await;
    let answer = answer.map_err(|cause| failed(&format!("no server answers on {address}"), &cause.without_url()))?;
    let ready = answer.status().is_success();
    let text = answer.text().await.map_err(|cause| failed("the answer broke off", &cause.without_url()))?;
    if ready { Ok(text) } else { Err(Failure::Other(text)) }
}

/// A server that listens everywhere is reached on this machine's own address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let own = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    SocketAddr::new(own, listen.port())
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn everywhere_is_here() {
        for (listen, reached) in [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80")] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), reached);
        }
    }
}
