//! An identity token: a JSON web token that a platform signed for one of its jobs or pods.
//!
//! Of the header only the algorithm, of those that are allowed, and the name of the key are looked at; keys come from the issuer alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entrepot_kit::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Longest token that is looked at.
const LONGEST: usize = 16 * 1024;
/// Seconds by which the issuer's clock may differ from ours.
const LEEWAY: i64 = 30;
/// Longest life of a token, in seconds: for so long it must be known that it was used.
const LONGEST_LIFE: i64 = 24 * 60 * 60;

/// A token as it came.
pub(super) struct Identity<'a> {
    text: &'a str,
    /// What of its header counts.
    pub(super) algorithm: Algorithm,
    /// The name of the key.
    pub(super) key: Option<String>,
    /// Who it says has signed it. Nobody has looked at the signature yet.
    pub(super) issuer: String,
    payload: Vec<u8>,
}

/// What a token claims, whose signature is right and whose time has come and not gone.
pub(super) struct Claims {
    /// For whom it is made out.
    pub(super) audience: String,
    /// When it ends.
    pub(super) ends: Timestamp,
    /// Tells it from all others, however it is written.
    pub(super) hash: Vec<u8>,
    /// All of it.
    pub(super) all: Map<String, Value>,
}

impl<'a> Identity<'a> {
    /// Reads one; `None` for what is none, or is signed in a way that is not taken: not at all, or with a secret that both sides would have to know.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let header: Header = jsonwebtoken::decode_header(text).ok()?;
        let algorithm = Some(header.alg).filter(|known| matches!(known, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA))?;
        // What must be understood, and is not.
        let raw: Map<String, Value> = serde_json::from_slice(&decoded(text.split('.').next()?)?).ok()?;
        if raw.contains_key("crit") {
            return None;
        }
        let payload = decoded(text.split('.').nth(1)?)?;
        let claims: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
        let issuer = claims.get("iss")?.as_str()?.to_owned();
        Some(Self { text, algorithm, key: header.kid, issuer, payload })
    }

    /// What it claims, if it is signed with this key and is of this time; else why it is not taken, for the operator.
    pub(super) fn verify(&self, key: &DecodingKey, now: Timestamp) -> Result<Claims, &'static str> {
        let mut validation = Validation::new(self.algorithm);
        // All claims are looked at below, with the clock that the rest of the server has.
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        let read = jsonwebtoken::decode::<Map<String, Value>>(self.text, key, &validation).map_err(|_| "its signature is wrong")?;
        let all = read.claims;
        let now = now.0.div_euclid(1000);
        let seconds = |name: &str| {
            all.get(name).and_then(|value| value.as_i64().or_else(|| value.as_f64().filter(|number| number.abs() < 1e15).map(|number| number as i64)))
        };
        let ends = seconds("exp").ok_or("it does not say when it ends")?;
        let begins = seconds("iat").ok_or("it does not say when it was made")?;
        if ends <= now - LEEWAY {
            return Err("it has expired");
        }
        if begins > now + LEEWAY || all.contains_key("nbf") && seconds("nbf").is_none_or(|time| time > now + LEEWAY) {
            return Err("its time has not come");
        }
        if ends - begins > LONGEST_LIFE {
            return Err("it lives longer than a day");
        }
        // One that is made out for others too could have come from them.
        let audience = match all.get("aud") {
            Some(Value::String(one)) => one.clone(),
            Some(Value::Array(all)) => match all.as_slice() {
                [Value::String(one)] => one.clone(),
                _ => return Err("it is made out for several"),
            },
            _ => return Err("it is made out for nobody"),
        };
        let hash = match all.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            Some(id) => Sha256::new().chain_update(b"jti\0").chain_update(&self.issuer).chain_update(b"\0").chain_update(id).finalize(),
            // What was signed, and not the signature: of some algorithms the same one can be written in several ways.
            None => Sha256::new().chain_update(b"payload\0").chain_update(&self.payload).finalize(),
        };
        Ok(Claims { audience, ends: Timestamp((ends + LEEWAY).saturating_mul(1000)), hash: hash.to_vec(), all })
    }
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
