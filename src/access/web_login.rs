//! Browser sign-ins that command-line clients wait for: in memory, few, and for ten minutes.
//!
//! The page's id and the client's are different, so that who sees the page's address cannot fetch the token.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use entrepot_kit::{Error, Result, Timestamp, WebLogin};
use http::StatusCode;

use super::caller::Caller;
use super::limiter::network_of;
use super::token::random_text;

/// How long a sign-in may take, in milliseconds.
const LIFETIME: i64 = 10 * 60 * 1000;
/// Sign-ins that wait.
const MOST: usize = 2000;
/// Sign-ins that wait for one address.
const MOST_OF_ADDRESS: usize = 20;

struct Pending {
    page: String,
    address: Option<IpAddr>,
    ends: Timestamp,
    caller: Option<Caller>,
}

/// How a sign-in stands.
pub(super) enum Standing {
    Waiting,
    /// Somebody signed in. Told once.
    Done(Caller),
    Gone,
}

/// The sign-ins that wait, by the id that their client knows.
#[derive(Default)]
pub(super) struct WebLogins(Mutex<HashMap<String, Pending>>);

impl WebLogins {
    pub(super) fn start(&self, address: Option<IpAddr>, now: Timestamp) -> Result<WebLogin> {
        let login = WebLogin { page: random_text(32)?, poll: random_text(43)? };
        let address = address.map(network_of);
        let mut pending = self.live(now);
        let of_address = pending.values().filter(|one| one.address.is_some() && one.address == address).count();
        if pending.len() >= MOST || of_address >= MOST_OF_ADDRESS {
            return Err(Error::new(StatusCode::TOO_MANY_REQUESTS, "too many sign-ins wait for a browser; finish one, or try again later").with_retry_after(60));
        }
        pending.insert(login.poll.clone(), Pending { page: login.page.clone(), address, ends: now.plus(LIFETIME), caller: None });
        Ok(login)
    }

    /// Whether a page still waits for somebody.
    pub(super) fn waits(&self, page: &str, now: Timestamp) -> bool {
        self.live(now).values().any(|one| one.page == page && one.caller.is_none())
    }

    /// Notes who signed in; `false` when nobody waits any more.
    pub(super) fn complete(&self, page: &str, caller: Caller, now: Timestamp) -> bool {
        let mut pending = self.live(now);
        let waiting = pending.values_mut().find(|one| one.page == page && one.caller.is_none());
        waiting.map(|one| one.caller = Some(caller)).is_some()
    }

    pub(super) fn poll(&self, poll: &str, now: Timestamp) -> Standing {
        let mut pending = self.live(now);
        match pending.get(poll) {
            None => Standing::Gone,
            Some(one) if one.caller.is_none() => Standing::Waiting,
            Some(_) => pending.remove(poll).and_then(|one| one.caller).map_or(Standing::Gone, Standing::Done),
        }
    }

    /// The table without what is over. A panic elsewhere leaves it as good as it was.
    fn live(&self, now: Timestamp) -> MutexGuard<'_, HashMap<String, Pending>> {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|_, one| one.ends > now);
        pending
    }
}

#[cfg(test)]
mod tests {
    use super::{LIFETIME, MOST_OF_ADDRESS, Standing, WebLogins};
    use crate::access::caller::Caller;
    use entrepot_kit::Timestamp;

    #[test]
    fn a_sign_in_is_told_once_and_only_to_the_client() {
        let logins = WebLogins::default();
        let now = Timestamp(0);
        let login = logins.start(None, now).unwrap();
        assert!(matches!(logins.poll(&login.poll, now), Standing::Waiting));
        assert!(matches!(logins.poll(&login.page, now), Standing::Gone));
        assert!(!logins.waits(&login.poll, now) && logins.waits(&login.page, now));
        assert!(logins.complete(&login.page, Caller::anonymous(), now));
        assert!(!logins.complete(&login.page, Caller::anonymous(), now), "nobody else takes it over");
        assert!(matches!(logins.poll(&login.poll, now), Standing::Done(_)));
        assert!(matches!(logins.poll(&login.poll, now), Standing::Gone));
    }

    #[test]
    fn it_ends_after_ten_minutes() {
        let logins = WebLogins::default();
        let login = logins.start(None, Timestamp(0)).unwrap();
        assert!(logins.waits(&login.page, Timestamp(LIFETIME - 1)));
        assert!(!logins.complete(&login.page, Caller::anonymous(), Timestamp(LIFETIME)));
        assert!(matches!(logins.poll(&login.poll, Timestamp(LIFETIME)), Standing::Gone));
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let logins = WebLogins::default();
        let start = |address: &str, now| logins.start(Some(address.parse().unwrap()), Timestamp(now)).is_ok();
        assert_eq!((0..100).filter(|_| start("192.0.2.1", 0)).count(), MOST_OF_ADDRESS);
        assert!(start("192.0.2.2", 0));
        assert!(start("192.0.2.1", LIFETIME));
    }
}
