//! The text of a registry token: a JSON web token with one algorithm and keys of ours.
//!
//! Of the header only the algorithm, which must be ours, and the name of the key are looked at; a key is never taken from there.

use entrepot_kit::{Error, Result, Timestamp};
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use super::super::token::random_text;
use super::{REGISTRY_TOKEN_SECONDS, RegistryScope};
use crate::registry::keys::Keys;

/// Who says so.
const ISSUER: &str = "entrepot";
/// Seconds by which the clocks of replicas may differ.
const LEEWAY: i64 = 30;
/// Longest token that is looked at.
const LONGEST: usize = 32 * 1024;

/// What a token says. The names are those of the specification, and ours below `entrepot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::access) struct Statement {
    iss: String,
    /// The server by the name under which it was asked.
    aud: String,
    /// The principal, for people.
    pub(in crate::access) sub: String,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    /// What was granted when it was made.
    access: Vec<RegistryScope>,
    /// What counts when it is used.
    pub(in crate::access) entrepot: Bounds,
}

/// What a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::access) struct Bounds {
    /// The principal's number; without it nobody.
    pub(in crate::access) principal: Option<i64>,
    /// The token with which this one was asked for.
    pub(in crate::access) token: Option<String>,
    /// The fingerprint of the password or token with which this one was asked for.
    pub(in crate::access) proof: Option<String>,
    /// What was asked for.
    pub(in crate::access) asked: Vec<RegistryScope>,
}

impl Statement {
    pub(in crate::access) fn new(service: &str, subject: String, granted: Vec<RegistryScope>, bounds: Bounds, now: Timestamp) -> Result<Self> {
        let now = seconds(now);
        Ok(Self {
            iss: ISSUER.to_owned(),
            aud: service.to_owned(),
            sub: subject,
            exp: now + i64::from(REGISTRY_TOKEN_SECONDS),
            nbf: now,
            iat: now,
            jti: random_text(22)?,
            access: granted,
            entrepot: bounds,
        })
    }

    /// When it ends.
    pub(in crate::access) fn ends(&self) -> Timestamp {
        Timestamp(self.exp.saturating_mul(1000))
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.0.div_euclid(1000)
}

/// Whether a text has the form of a token: three parts, of which the first begins like an object.
pub(in crate::access) fn looks_like_statement(text: &str) -> bool {
    text.starts_with("eyJ") && text.len() <= LONGEST && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// The text of a token.
pub(in crate::access) async fn sign(keys: &Keys, statement: &Statement, now: Timestamp) -> Result<String> {
    let key = keys.token_key(now).await?;
    let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::ES256) };
    jsonwebtoken::encode(&header, statement, &key.signs).map_err(Error::internal)
}

/// What became of a token that was sent.
pub(in crate::access) enum Reading {
    /// It is good.
    Good(Box<Statement>),
    /// It was, and has ended: nothing that anybody has to look into.
    Ended,
    /// It is not ours, not for this service, or not for a time that has come.
    Wrong,
}

/// Reads and verifies a token.
pub(in crate::access) async fn read(keys: &Keys, text: &str, service: &str, now: Timestamp) -> Result<Reading> {
    let Ok(Header { alg: Algorithm::ES256, kid: Some(kid), .. }) = jsonwebtoken::decode_header(text) else { return Ok(Reading::Wrong) };
    let Some(key) = keys.token_key_named(&kid, now).await? else { return Ok(Reading::Wrong) };
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[service]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    // Looked at below, with the clock that the rest of the server has.
    validation.validate_exp = false;
    let Ok(read) = jsonwebtoken::decode::<Statement>(text, &key.verifies, &validation) else { return Ok(Reading::Wrong) };
    let (statement, now) = (read.claims, seconds(now));
    Ok(match statement {
        statement if statement.nbf > now + LEEWAY => Reading::Wrong,
        statement if statement.exp <= now => Reading::Ended,
        statement => Reading::Good(Box::new(statement)),
    })
}

#[cfg(test)]
#[path = "../tests/statements.rs"]
mod tests;
