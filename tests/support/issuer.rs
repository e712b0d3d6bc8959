//! A platform that signs identity tokens for its builds: discovery, keys, and the address at which a build asks for a token.
//!
//! Tokens are put together by hand, so that each part can be wrong.
#![cfg(test)]

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::upstream::{Reply, ScriptedUpstream};

/// Where the keys are.
pub(crate) const KEYS: &str = "/keys";
/// Where the discovery document is.
pub(crate) const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A key pair of one of the kinds that platforms use.
pub(crate) enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A key pair with a name.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pair: Arc<Pair>,
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    fn new(id: &str, pair: Pair) -> Self {
        Self { id: id.to_owned(), pair: Arc::new(pair) }
    }

    /// A new one on the curve P-256.
    pub(crate) fn ec(id: &str) -> Self {
        Self::new(id, Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()))
    }

    /// A new Ed25519 one.
    pub(crate) fn ed(id: &str) -> Self {
        Self::new(id, Pair::Ed(Ed25519KeyPair::generate().unwrap()))
    }

    /// The RSA one of all tests: making one takes a while.
    pub(crate) fn rsa(id: &str) -> Self {
        static MADE: OnceLock<Arc<Pair>> = OnceLock::new();
        let pair = MADE.get_or_init(|| Arc::new(Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())));
        Self { id: id.to_owned(), pair: Arc::clone(pair) }
    }

    /// The same under another name.
    pub(crate) fn named(&self, id: &str) -> Self {
        Self { id: id.to_owned(), pair: Arc::clone(&self.pair) }
    }

    /// The algorithm that it signs with.
    pub(crate) fn algorithm(&self) -> &'static str {
        match &*self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    /// Its public half, as it stands in a set of keys.
    pub(crate) fn public(&self) -> Value {
        let (id, algorithm) = (&self.id, self.algorithm());
        match &*self.pair {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus().big_endian_without_leading_zero(), public.exponent().big_endian_without_leading_zero());
                json!({ "kty": "RSA", "kid": id, "alg": algorithm, "use": "sig", "n": base64url(n), "e": base64url(e) })
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "alg": algorithm, "use": "sig", "x": base64url(x), "y": base64url(y) })
            }
            Pair::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "alg": algorithm, "x": base64url(pair.public_key().as_ref()) }),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "typ": "JWT", "kid": self.id }), claims)
    }

    /// The same with another header.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = base64url(&self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// What of a token is signed.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()))
}

/// A token that is signed with a secret, which here is a public key as everybody can read it.
pub(crate) fn with_secret(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = unsigned(header, claims);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let signature = base64url(aws_lc_rs::hmac::sign(&key, message.as_bytes()).as_ref());
    format!("{message}.{signature}")
}

/// Seconds since 1970.
pub(crate) fn seconds() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a platform has a clock of its own")]
    let now = SystemTime::now();
    i64::try_from(now.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// The platform.
pub(crate) struct TestIssuer {
    pub(crate) server: ScriptedUpstream,
    /// The key of [`Self::token`].
    pub(crate) key: Key,
    /// One of another kind.
    pub(crate) other: Key,
}

impl TestIssuer {
    /// One that listens, with an RSA key and one on a curve.
    pub(crate) async fn start() -> Self {
        let issuer = Self { server: ScriptedUpstream::start().await, key: Key::rsa("rsa-1"), other: Key::ec("ec-1") };
        issuer.describes(&json!({ "issuer": issuer.url(), "jwks_uri": format!("{}{KEYS}", issuer.url()), "response_types_supported": ["id_token"] }));
        issuer.has(&[&issuer.key, &issuer.other]);
        issuer
    }

    /// What its tokens claim as `iss`.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Sets its discovery document.
    pub(crate) fn describes(&self, document: &Value) {
        self.server.answer(DISCOVERY, Reply::bytes(document.to_string()).header("Content-Type", "application/json"));
    }

    /// Sets its keys.
    pub(crate) fn has(&self, keys: &[&Key]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        self.server.answer(KEYS, Reply::bytes(json!({ "keys": keys }).to_string()).header("Content-Type", "application/json"));
    }

    /// What the token of a build claims.
    pub(crate) fn claims(&self, audience: &str) -> Value {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let now = seconds();
        json!({
            "iss": self.url(), "sub": "repo:acme/app:ref:refs/heads/main", "aud": audience, "jti": format!("build-{number}"),
            "iat": now, "nbf": now - 5, "exp": now + 300,
            "repository": "acme/app", "repository_id": 7, "ref": "refs/heads/main", "environment": "release",
        })
    }

    /// The token of a build, for an audience.
    pub(crate) fn token(&self, audience: &str) -> String {
        self.key.token(&self.claims(audience))
    }

    /// Answers a build that asks for its token, as GitHub's runners do: gives what to set `ACTIONS_ID_TOKEN_REQUEST_URL` to.
    pub(crate) fn gives(&self, token: &str) -> String {
        self.server.answer("/token", Reply::bytes(json!({ "value": token }).to_string()).header("Content-Type", "application/json"));
        format!("{}/token?api-version=2.0", self.url())
    }
}
