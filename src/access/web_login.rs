//! Browser sign-ins that command-line clients wait for: few, for ten minutes, and in the catalog, so that the page, the client and its
//! browser may each reach another replica.
//!
//! The page's id and the client's are different, so that who sees the page's address cannot fetch the token; of the client's
//! only the hash is stored.

use std::net::IpAddr;

use entrepot_kit::{Error, Result, Timestamp, WebLogin};
use http::StatusCode;
use sha2::{Digest as _, Sha256};

use super::limiter::network_of;
use super::token::random_text;
use crate::store::catalog::Catalog;
use crate::store::model::{NewWebLogin, WebLoginStanding};

/// How long a sign-in may take, in milliseconds.
const LIFETIME: i64 = 10 * 60 * 1000;
/// Sign-ins that wait.
const MOST: i64 = 2000;
/// Sign-ins that wait for one address.
const MOST_OF_ADDRESS: i64 = 20;

/// Begins a sign-in.
///
/// # Errors
/// 429 when too many wait; failures of the catalog.
pub(super) async fn start(catalog: &Catalog, address: Option<IpAddr>, now: Timestamp) -> Result<WebLogin> {
    let login = WebLogin { page: random_text(32)?, poll: random_text(43)? };
    let network = address.map(|address| network_of(address).to_string()).unwrap_or_default();
    let new = NewWebLogin { poll_hash: hash(&login.poll), page: login.page.clone(), network, ends: now.plus(LIFETIME) };
    if catalog.start_web_login(new, now, MOST, MOST_OF_ADDRESS).await? {
        return Ok(login);
    }
    Err(Error::new(StatusCode::TOO_MANY_REQUESTS, "too many sign-ins wait for a browser; finish one, or try again later").with_retry_after(60))
}

/// How a sign-in stands for the client that began it. A finished one is told once.
///
/// # Errors
/// Failures of the catalog.
pub(super) async fn poll(catalog: &Catalog, poll: &str, now: Timestamp) -> Result<WebLoginStanding> {
    Ok(catalog.poll_web_login(hash(poll), now).await?)
}

fn hash(poll: &str) -> Vec<u8> {
    Sha256::digest(poll.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::{LIFETIME, MOST_OF_ADDRESS, poll, start};
    use crate::store::catalog::Catalog;
    use crate::store::model::WebLoginStanding;
    use entrepot_kit::{PrincipalKind, Timestamp};

    async fn catalog() -> (tempfile::TempDir, Catalog, i64) {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open_sqlite(&folder.path().join("catalog.db")).await.unwrap();
        let bob = catalog.create_principal(PrincipalKind::User, "bob", Default::default(), None, Timestamp(0)).await.unwrap();
        (folder, catalog, bob.id)
    }

    #[tokio::test]
    async fn a_sign_in_is_told_once_and_only_to_the_client() {
        let (_folder, catalog, bob) = catalog().await;
        let now = Timestamp(0);
        let login = start(&catalog, None, now).await.unwrap();
        assert_eq!(poll(&catalog, &login.poll, now).await.unwrap(), WebLoginStanding::Waiting);
        assert_eq!(poll(&catalog, &login.page, now).await.unwrap(), WebLoginStanding::Gone);
        assert!(!catalog.web_login_waits(&login.poll, now).await.unwrap() && catalog.web_login_waits(&login.page, now).await.unwrap());
        assert!(catalog.complete_web_login(&login.page, bob, None, now).await.unwrap());
        assert!(!catalog.complete_web_login(&login.page, bob, None, now).await.unwrap(), "nobody else takes it over");
        assert_eq!(poll(&catalog, &login.poll, now).await.unwrap(), WebLoginStanding::Done { principal: bob, token: None });
        assert_eq!(poll(&catalog, &login.poll, now).await.unwrap(), WebLoginStanding::Gone);
    }

    #[tokio::test]
    async fn it_ends_after_ten_minutes() {
        let (_folder, catalog, bob) = catalog().await;
        let login = start(&catalog, None, Timestamp(0)).await.unwrap();
        assert!(catalog.web_login_waits(&login.page, Timestamp(LIFETIME - 1)).await.unwrap());
        assert!(!catalog.complete_web_login(&login.page, bob, None, Timestamp(LIFETIME)).await.unwrap());
        assert_eq!(poll(&catalog, &login.poll, Timestamp(LIFETIME)).await.unwrap(), WebLoginStanding::Gone);
    }

    #[tokio::test]
    async fn one_address_cannot_take_all_places() {
        let (_folder, catalog, _) = catalog().await;
        let start = async |address: &str, now| start(&catalog, Some(address.parse().unwrap()), Timestamp(now)).await.is_ok();
        let mut begun = 0;
        for _ in 0..MOST_OF_ADDRESS + 5 {
            begun += i64::from(start("192.0.2.1", 0).await);
        }
        assert_eq!(begun, MOST_OF_ADDRESS);
        assert!(start("192.0.2.2", 0).await);
        assert!(start("192.0.2.1", LIFETIME).await);
    }
}
