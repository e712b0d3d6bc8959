//! Passwords: argon2id, off the request threads, few at once.
//!
//! Each hash takes 19 MiB and tens of milliseconds of one core, so that at most two run at a time, and whoever comes when many
//! wait already is sent away with `Retry-After` instead of piling up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, RECOMMENDED_SALT_LEN, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use entrepot_kit::{Error, Result};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

/// Hashes at once.
const AT_ONCE: usize = 2;
/// Hashes that wait or run.
const MOST_WAITING: usize = 128;
/// Longest password in bytes: more would only make hashing slow.
const LONGEST: usize = 1024;

/// Hashes and verifies.
pub(super) struct Passwords {
    hasher: Argon2<'static>,
    turns: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// A hash of no password: what an unknown user is compared with, so that it takes as long as a known one.
    nobody: String,
}

impl Passwords {
    /// With argon2's memory in KiB. 19,456 is what OWASP recommends; tests take less.
    pub(super) fn new(memory_kib: u32) -> Result<Self> {
        let params = Params::new(memory_kib, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST, None)
            .map_err(|cause| Error::bad_request(format!("argon2_memory_kib: {cause}")))?;
        let nobody = nobody(&params)?;
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Ok(Self { hasher, turns: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::default(), nobody })
    }

    /// Hashes a new password.
    pub(super) async fn hash(&self, password: &SecretString) -> Result<String> {
        check(password)?;
        let (hasher, password) = (self.hasher.clone(), password.clone());
        self.in_turn(move || hash(&hasher, password.expose_secret().as_bytes())).await
    }

    /// Whether the password is the one that was hashed. Without a hash the answer is no, after the same work.
    pub(super) async fn verify(&self, password: &SecretString, stored: Option<&str>) -> Result<bool> {
        if check(password).is_err() {
            return Ok(false);
        }
        let known = stored.is_some();
        let (hasher, password, stored) = (self.hasher.clone(), password.clone(), stored.unwrap_or(&self.nobody).to_owned());
        self.in_turn(move || {
            let stored = PasswordHash::new(&stored).map_err(|cause| Error::internal(std::io::Error::other(cause.to_string())))?;
            Ok(hasher.verify_password(password.expose_secret().as_bytes(), &stored).is_ok() && known)
        })
        .await
    }

    /// Takes all places, so that a test sees who wants to hash.
    #[cfg(test)]
    pub(super) fn occupy(&self) -> impl Drop + use<> {
        struct Places(Vec<Place>);
        impl Drop for Places {
            fn drop(&mut self) {
                self.0.clear();
            }
        }
        Places((0..MOST_WAITING).map_while(|_| Place::take(&self.waiting).ok()).collect())
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let place = Place::take(&self.waiting)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(Error::internal)?;
        entrepot_kit::blocking(move || {
            // Held by the work itself: a client that goes away does not let a third one start.
            let _held = (place, turn);
            work()
        })
        .await
    }
}

/// One of the places to wait in.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Result<Self> {
        let place = Self(Arc::clone(waiting));
        if place.0.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            return Err(Error::unavailable("many passwords are being checked; try again, or use a token", 2));
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a password can be one at all.
pub(super) fn check(password: &SecretString) -> Result<()> {
    match password.expose_secret().len() {
        0 => Err(Error::bad_request("the password is empty")),
        1..=LONGEST => Ok(()),
        _ => Err(Error::bad_request(format!("the password is longer than {LONGEST} bytes"))),
    }
}

fn hash(hasher: &Argon2<'_>, password: &[u8]) -> Result<String> {
    hasher.hash_password(password).map(|hash| hash.to_string()).map_err(|cause| Error::internal(std::io::Error::other(cause.to_string())))
}

/// What looks like a hash, of chance instead of a password: comparing with it is the same work, and making it is none, which every start would wait for.
fn nobody(params: &Params) -> Result<String> {
    let (mut salt, mut output) = ([0_u8; RECOMMENDED_SALT_LEN], [0_u8; Params::DEFAULT_OUTPUT_LEN]);
    getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut output)).map_err(|cause| Error::internal(std::io::Error::from(cause)))?;
    let (algorithm, version) = (Algorithm::Argon2id, u32::from(Version::V0x13));
    let (memory, times, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    Ok(format!("${algorithm}$v={version}$m={memory},t={times},p={lanes}${salt}${output}"))
}

#[cfg(test)]
mod tests {
    use argon2::{Params, PasswordHash};

    use super::Passwords;

    #[tokio::test]
    async fn an_unknown_user_is_compared_with_what_costs_the_same() {
        let passwords = Passwords::new(64).unwrap();
        let stored = passwords.hash(&"correct horse".into()).await.unwrap();
        let (known, nobody) = (PasswordHash::new(&stored).unwrap(), PasswordHash::new(&passwords.nobody).unwrap());
        assert_eq!((known.algorithm, known.version, &known.params), (nobody.algorithm, nobody.version, &nobody.params));
        let lengths = |hash: &PasswordHash| (hash.salt.as_ref().map(|salt| salt.len()), hash.hash.as_ref().map(|output| output.len()));
        assert_eq!(lengths(&known), lengths(&nobody));
        assert_eq!(lengths(&known).1, Some(Params::DEFAULT_OUTPUT_LEN));
        assert_ne!(passwords.nobody, Passwords::new(64).unwrap().nobody);
    }

    #[tokio::test]
    async fn right_wrong_and_unknown() {
        let passwords = Passwords::new(64).unwrap();
        let stored = passwords.hash(&"correct horse".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$"));
        assert!(passwords.verify(&"correct horse".into(), Some(&stored)).await.unwrap());
        assert!(!passwords.verify(&"wrong horse".into(), Some(&stored)).await.unwrap());
        assert!(!passwords.verify(&"correct horse".into(), None).await.unwrap());
        assert!(passwords.hash(&"".into()).await.is_err());
        assert!(passwords.hash(&"x".repeat(1025).into()).await.is_err());
        assert!(!passwords.verify(&"x".repeat(1025).into(), Some(&stored)).await.unwrap());
    }

    #[tokio::test]
    async fn too_many_at_once_are_sent_away() {
        let passwords = Passwords::new(64).unwrap();
        let places = passwords.occupy();
        assert_eq!(passwords.hash(&"x".into()).await.unwrap_err().status(), 503);
        drop(places);
        assert!(passwords.hash(&"x".into()).await.is_ok());
    }
}
