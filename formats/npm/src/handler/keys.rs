//! What clients need to check where a package comes from: public keys, and attestations.

use std::collections::HashSet;

use entrepot_kit::route::Answer;
use entrepot_kit::{Kind, Question, Read, Repository, Request, Resource, Response};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{not_found, time};
use crate::name::split_spec;

/// Largest key document of an upstream.
const MAX_KEYS: usize = 1 << 20;

/// `GET /-/npm/v1/keys`: our keys and those of the upstreams, for clients look keys up at the registry that they use.
pub(crate) fn keys(repository: Repository<Read>, _: Request) -> Answer {
    Box::pin(async move {
        let mut keys: Vec<Value> = Vec::new();
        for key in repository.verification_keys().await? {
            keys.push(json!({
                "expires": time(key.expires), "keyid": key.key_id, "keytype": "ecdsa-sha2-nistp256", "scheme": "ecdsa-sha2-nistp256", "key": key.key,
            }));
        }
        if repository.kind() != Kind::Hosted {
            let question =
                Question { method: Method::GET, path: String::from("-/npm/v1/keys"), headers: Vec::new(), body: bytes::Bytes::new(), limit: MAX_KEYS };
            for answer in repository.ask_upstream(&question).await?.iter().filter(|answer| answer.status.is_success()) {
                let Ok(mut theirs) = serde_json::from_slice::<Map<String, Value>>(&answer.body) else { continue };
                if let Some(Value::Array(theirs)) = theirs.remove("keys") {
                    keys.extend(theirs);
                }
            }
        }
        let mut seen = HashSet::new();
        keys.retain(|key| key.get("keyid").and_then(Value::as_str).is_some_and(|id| seen.insert(id.to_owned())));
        Response::json(StatusCode::OK, &json!({"keys": keys}))
    })
}

/// `GET /-/npm/v1/attestations/{name}@{version}`.
pub(crate) fn attestations(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let (name, version) = split_spec(request.captures.get("spec")).ok_or_else(not_found)?;
        // The route cannot name the package, which is one word with its version.
        let repository = repository.grant::<Read>(&Resource::Package(name.as_str().to_owned())).await?;
        Ok(Response::file(repository.file(&name.attestations_path(&version)).await?))
    })
}
