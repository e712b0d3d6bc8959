//! Slows down whoever guesses passwords.
//!
//! Each user name and each remote address has a bucket. An attempt pays before the password is looked at, and gets its
//! payment back when it was right, so that a thousand guesses at once cost as much as one after the other. Whoever holds a
//! correct token never pays: tokens cannot be guessed, so nobody is locked out by somebody else's failures. Neither is a password
//! that was right a moment ago, because the credential cache answers first.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};

use entrepot_kit::Timestamp;
use moka::sync::Cache;

/// Failures that a bucket takes at once, and the time after which it forgets one.
#[derive(Clone, Copy)]
struct Allowance {
    failures: i64,
    forget_one_after: i64,
}

/// Of one user name: ten, then two a minute.
const PER_NAME: Allowance = Allowance { failures: 10, forget_one_after: 30_000 };
/// Of one address, which may be that of a whole company: a hundred, then twenty a minute.
const PER_ADDRESS: Allowance = Allowance { failures: 100, forget_one_after: 3_000 };
/// Buckets that are kept.
const MOST_BUCKETS: u64 = 50_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Bucket {
    Name(String),
    Address(IpAddr),
}

/// A bucket as it is shared with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Which one: of a name or an address.
    pub bucket: String,
    /// Failures that it takes at once.
    pub failures: i64,
    /// Milliseconds after which it forgets one.
    pub forget_one_after: i64,
}

/// Buckets that all replicas have together. Whoever cannot be asked lets everything through: there is the limit of each replica besides.
#[async_trait::async_trait]
pub trait SharedLimits: Send + Sync {
    /// Pays into all buckets, or into none and gives the seconds to wait.
    async fn pay(&self, payments: &[Payment]) -> Result<(), u32>;
    /// Gives a payment back.
    async fn refund(&self, payments: &[Payment]);
}

/// The buckets: for each the time at which it will have forgotten every failure.
pub(super) struct Limiter {
    buckets: Cache<Bucket, Timestamp>,
    /// Taking a payment reads and writes a bucket; nothing is awaited in between.
    turn: Mutex<()>,
    /// The same buckets for all replicas together.
    shared: OnceLock<Arc<dyn SharedLimits>>,
}

impl Limiter {
    pub(super) fn new() -> Self {
        Self { buckets: Cache::new(MOST_BUCKETS), turn: Mutex::new(()), shared: OnceLock::new() }
    }

    /// Shares the buckets from now on.
    pub(super) fn share(&self, shared: Arc<dyn SharedLimits>) {
        // Once per process.
        let _ = self.shared.set(shared);
    }

    /// Pays for one attempt, here and with all replicas together.
    ///
    /// # Errors
    /// The seconds to wait, when a bucket is full. Nothing is paid then.
    pub(super) async fn pay(&self, name: &str, address: Option<IpAddr>, now: Timestamp) -> Result<(), u32> {
        self.pay_here(name, address, now)?;
        if let Some(shared) = self.shared.get()
            && let Err(seconds) = shared.pay(&self.payments(name, address)).await
        {
            self.refund_here(name, address);
            return Err(seconds);
        }
        Ok(())
    }

    /// Gives the payment for a right password back.
    pub(super) async fn refund(&self, name: &str, address: Option<IpAddr>) {
        self.refund_here(name, address);
        if let Some(shared) = self.shared.get() {
            shared.refund(&self.payments(name, address)).await;
        }
    }

    fn payments(&self, name: &str, address: Option<IpAddr>) -> Vec<Payment> {
        let of = |(bucket, allowance): (Bucket, Allowance)| {
            let bucket = match bucket {
                Bucket::Name(name) => format!("name {name}"),
                Bucket::Address(address) => format!("address {address}"),
            };
            Payment { bucket, failures: allowance.failures, forget_one_after: allowance.forget_one_after }
        };
        self.buckets_of(name, address).into_iter().map(of).collect()
    }

    fn pay_here(&self, name: &str, address: Option<IpAddr>, now: Timestamp) -> Result<(), u32> {
        let _turn = self.turn.lock();
        let buckets = self.buckets_of(name, address);
        for (bucket, allowance) in &buckets {
            let over = self.full_until(bucket, now).0 + allowance.forget_one_after - now.0 - allowance.failures * allowance.forget_one_after;
            if over > 0 {
                return Err(u32::try_from(over / 1000 + 1).unwrap_or(u32::MAX));
            }
        }
        for (bucket, allowance) in buckets {
            let until = self.full_until(&bucket, now).plus(allowance.forget_one_after);
            self.buckets.insert(bucket, until);
        }
        Ok(())
    }

    fn refund_here(&self, name: &str, address: Option<IpAddr>) {
        let _turn = self.turn.lock();
        for (bucket, allowance) in self.buckets_of(name, address) {
            if let Some(until) = self.buckets.get(&bucket) {
                self.buckets.insert(bucket, until.plus(-allowance.forget_one_after));
            }
        }
    }

    fn full_until(&self, bucket: &Bucket, now: Timestamp) -> Timestamp {
        self.buckets.get(bucket).unwrap_or(now).max(now)
    }

    fn buckets_of(&self, name: &str, address: Option<IpAddr>) -> Vec<(Bucket, Allowance)> {
        let name: String = name.chars().take(128).collect();
        let mut buckets = vec![(Bucket::Name(name), PER_NAME)];
        buckets.extend(address.map(|address| (Bucket::Address(network_of(address)), PER_ADDRESS)));
        buckets
    }
}

/// What one subscriber has: an IPv4 address, or an IPv6 /64.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::{Limiter, network_of};
    use entrepot_kit::Timestamp;

    #[test]
    fn guessing_becomes_slow_and_waiting_helps() {
        let limiter = Limiter::new();
        let now = Timestamp(1_000_000);
        for _ in 0..10 {
            assert_eq!(limiter.pay_here("bob", None, now), Ok(()));
        }
        let wait = limiter.pay_here("bob", None, now).unwrap_err();
        assert!((1..=31).contains(&wait), "{wait}");
        assert_eq!(limiter.pay_here("alice", None, now), Ok(()), "others are not concerned");
        assert_eq!(limiter.pay_here("bob", None, now.plus(i64::from(wait) * 1000)), Ok(()));
        assert!(limiter.pay_here("bob", None, now.plus(i64::from(wait) * 1000)).is_err());
    }

    #[test]
    fn an_address_that_tries_many_names_is_slowed_down_too() {
        let limiter = Limiter::new();
        let address = Some("192.0.2.1".parse().unwrap());
        let refused = (0..200).filter(|name| limiter.pay_here(&format!("user{name}"), address, Timestamp(0)).is_err()).count();
        assert_eq!(refused, 100);
        assert!(limiter.pay_here("one", Some("192.0.2.2".parse().unwrap()), Timestamp(0)).is_ok());
    }

    #[test]
    fn right_passwords_cost_nothing() {
        let limiter = Limiter::new();
        for _ in 0..1000 {
            assert_eq!(limiter.pay_here("bob", None, Timestamp(0)), Ok(()));
            limiter.refund_here("bob", None);
        }
    }

    #[test]
    fn a_subscriber_is_one_however_many_addresses_it_has() {
        assert_eq!(network_of("2001:db8:1:2:3::4".parse().unwrap()), network_of("2001:db8:1:2:ffff::1".parse().unwrap()));
        assert_ne!(network_of("2001:db8:1:2::1".parse().unwrap()), network_of("2001:db8:1:3::1".parse().unwrap()));
        assert_eq!(network_of("::ffff:192.0.2.1".parse().unwrap()), network_of("192.0.2.1".parse().unwrap()));
    }

    /// The others have let as many through as all may.
    struct Full(std::sync::Mutex<Vec<super::Payment>>);

    #[async_trait::async_trait]
    impl super::SharedLimits for Full {
        async fn pay(&self, payments: &[super::Payment]) -> Result<(), u32> {
            self.0.lock().unwrap().extend_from_slice(payments);
            Err(7)
        }
        async fn refund(&self, payments: &[super::Payment]) {
            self.0.lock().unwrap().extend_from_slice(payments);
        }
    }

    #[tokio::test]
    async fn what_all_replicas_together_refuse_is_not_paid_here() {
        let (limiter, now) = (Limiter::new(), Timestamp(0));
        let shared = std::sync::Arc::new(Full(std::sync::Mutex::default()));
        limiter.share(std::sync::Arc::clone(&shared) as _);
        for _ in 0..30 {
            assert_eq!(limiter.pay("bob", Some("192.0.2.1".parse().unwrap()), now).await, Err(7));
        }
        let asked = shared.0.lock().unwrap().clone();
        assert_eq!(asked.len(), 60, "a name and an address each time");
        assert_eq!((asked[0].bucket.as_str(), asked[0].failures, asked[1].bucket.as_str()), ("name bob", 10, "address 192.0.2.1"));
        assert_eq!(limiter.pay_here("bob", None, now), Ok(()), "nothing was paid");
    }
}
