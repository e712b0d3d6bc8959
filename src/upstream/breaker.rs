//! The circuit breaker: an origin that cannot be reached is left alone for a while.
//!
//! Only origins that fail are remembered, so a healthy upstream costs one look into an empty map. The time is always
//! an argument.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How patient the breakers are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    /// Failures in a row that open a breaker.
    pub(super) failures: u32,
    /// For how long it opens at first; each failed probe doubles it.
    pub(super) first: Duration,
    /// The longest that it stays open at a time.
    pub(super) longest: Duration,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { failures: 5, first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

/// Most failing origins that are remembered: a hostile index could name any number.
const MOST_ORIGINS: usize = 64;

/// The breakers of one upstream, by origin.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    tolerance: Tolerance,
    failing: Mutex<HashMap<String, Breaker>>,
}

#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    /// How often in a row it opened.
    opened: u32,
    until: Option<Instant>,
    probing: bool,
    /// The last failure was an error that it answered with.
    answered: bool,
}

/// Why a request is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    /// When there is a chance again.
    pub(super) wait: Duration,
    /// The origin can be reached, and answers with errors.
    pub(super) answered: bool,
}

impl Breakers {
    pub(super) fn new(tolerance: Tolerance) -> Self {
        Self { tolerance, failing: Mutex::default() }
    }

    /// Leave to send one request to `origin`, or for how long to wait.
    pub(super) fn admit(&self, origin: &str, now: Instant) -> Result<Permit<'_>, Open> {
        let mut failing = self.lock();
        let mut probe = false;
        if let Some(breaker) = failing.get_mut(origin)
            && let Some(until) = breaker.until
        {
            if now < until {
                return Err(Open { wait: until - now, answered: breaker.answered });
            }
            if breaker.probing {
                return Err(Open { wait: self.tolerance.first, answered: breaker.answered });
            }
            breaker.probing = true;
            probe = true;
        }
        Ok(Permit { breakers: self, origin: origin.to_owned(), probe })
    }

    fn succeeded(&self, origin: &str) {
        self.lock().remove(origin);
    }

    fn failed(&self, origin: &str, probe: bool, now: Instant, answered: bool) {
        let mut failing = self.lock();
        if failing.len() >= MOST_ORIGINS && !failing.contains_key(origin) {
            let least = failing.iter().min_by_key(|(_, breaker)| breaker.until).map(|(origin, _)| origin.clone());
            least.and_then(|origin| failing.remove(&origin));
        }
        let breaker = failing.entry(origin.to_owned()).or_default();
        // A straggler that began before it opened says nothing new.
        if breaker.until.is_some() && !probe {
            return;
        }
        breaker.failures += 1;
        breaker.answered = answered;
        if probe || breaker.failures >= self.tolerance.failures {
            let factor = 1_u32.checked_shl(breaker.opened).unwrap_or(u32::MAX);
            breaker.until = Some(now + self.tolerance.first.saturating_mul(factor).min(self.tolerance.longest));
            breaker.opened = (breaker.opened + 1).min(31);
            breaker.probing = false;
        }
    }

    /// A panic while it was held cannot leave it half-changed: every change is a plain assignment.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Breaker>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave for one request. Dropped without a verdict (the caller went away) it lets another one probe.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    breakers: &'a Breakers,
    origin: String,
    probe: bool,
}

impl Permit<'_> {
    /// The origin answered.
    pub(super) fn succeeded(mut self) {
        self.breakers.succeeded(&self.origin);
        self.probe = false;
    }

    /// The origin could not be reached, or answered that something behind it could not.
    pub(super) fn failed(mut self, now: Instant, answered: bool) {
        self.breakers.failed(&self.origin, self.probe, now, answered);
        self.probe = false;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.probe
            && let Some(breaker) = self.breakers.lock().get_mut(&self.origin)
        {
            breaker.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Breakers, MOST_ORIGINS, Tolerance};
    use std::time::Duration;
    use tokio::time::Instant;

    const ORIGIN: &str = "https://registry.example";

    fn open() -> (Breakers, Instant) {
        let (breakers, now) = (Breakers::new(Tolerance::default()), Instant::now());
        for _ in 0..5 {
            breakers.admit(ORIGIN, now).unwrap().failed(now, false);
        }
        (breakers, now)
    }

    #[test]
    fn it_opens_at_the_fifth_failure_in_a_row_only() {
        let (breakers, now) = (Breakers::new(Tolerance::default()), Instant::now());
        for _ in 0..4 {
            breakers.admit(ORIGIN, now).unwrap().failed(now, false);
        }
        breakers.admit(ORIGIN, now).unwrap().succeeded();
        for _ in 0..4 {
            breakers.admit(ORIGIN, now).unwrap().failed(now, false);
        }
        breakers.admit(ORIGIN, now).unwrap().failed(now, false);
        assert_eq!(breakers.admit(ORIGIN, now).unwrap_err().wait, Duration::from_secs(1));
        assert!(breakers.admit("https://other.example", now).is_ok(), "one origin's failures are not another's");
    }

    #[test]
    fn one_probe_at_a_time_closes_it_or_doubles_the_wait() {
        let (breakers, mut now) = open();
        now += Duration::from_secs(1);
        let probe = breakers.admit(ORIGIN, now).unwrap();
        assert!(breakers.admit(ORIGIN, now).is_err(), "a second request waits for the probe");
        probe.failed(now, false);
        assert_eq!(breakers.admit(ORIGIN, now).unwrap_err().wait, Duration::from_secs(2));
        now += Duration::from_secs(2);
        breakers.admit(ORIGIN, now).unwrap().succeeded();
        assert!(breakers.admit(ORIGIN, now).is_ok() && breakers.admit(ORIGIN, now).is_ok());
    }

    #[test]
    fn the_wait_grows_to_a_bound() {
        let (breakers, mut now) = open();
        for _ in 0..40 {
            now += Duration::from_secs(60);
            breakers.admit(ORIGIN, now).unwrap().failed(now, false);
        }
        assert_eq!(breakers.admit(ORIGIN, now).unwrap_err().wait, Duration::from_secs(60));
    }

    #[test]
    fn an_abandoned_probe_lets_the_next_one_try() {
        let (breakers, now) = open();
        let later = now + Duration::from_secs(1);
        drop(breakers.admit(ORIGIN, later).unwrap());
        assert!(breakers.admit(ORIGIN, later).is_ok());
    }

    #[test]
    fn stragglers_do_not_prolong_it() {
        let (breakers, now) = (Breakers::new(Tolerance::default()), Instant::now());
        let stragglers: Vec<_> = (0..20).map(|_| breakers.admit(ORIGIN, now).unwrap()).collect();
        stragglers.into_iter().for_each(|permit| permit.failed(now, false));
        assert_eq!(breakers.admit(ORIGIN, now).unwrap_err().wait, Duration::from_secs(1));
    }

    #[test]
    fn the_number_of_remembered_origins_is_bounded() {
        let (breakers, now) = open();
        for number in 0..10 * MOST_ORIGINS {
            let origin = format!("https://{number}.example");
            breakers.admit(&origin, now).unwrap().failed(now, false);
        }
        assert_eq!(breakers.lock().len(), MOST_ORIGINS);
        assert!(breakers.admit(ORIGIN, now).is_err(), "what is open is the last to be forgotten");
    }
}
