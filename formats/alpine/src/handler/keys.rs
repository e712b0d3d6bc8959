//! The public keys: under the names that signatures carry, which are the names of their files in `/etc/apk/keys`.

use entrepot_kit::route::Answer;
use entrepot_kit::{Error, KeyKind, Kind, PublicKey, Read, Repository, Request, Response, Result};
use http::StatusCode;
use http::header::CONTENT_DISPOSITION;

use super::missing;
use crate::index::key_file;

/// The media type of keys.
const PEM: &str = "application/x-pem-file";

/// `GET key`: the newest.
pub(crate) fn newest(repository: Repository<Read>, _: Request) -> Answer {
    Box::pin(async move {
        let keys = keys(&repository).await?;
        respond(&repository, keys.first().ok_or_else(|| missing("key"))?)
    })
}

/// `GET keys/{file}`: one by its name, also when it signs nothing new.
pub(crate) fn named(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let file = request.captures.get("file");
        let keys = keys(&repository).await?;
        let name = repository.address().repository.as_str();
        respond(&repository, keys.iter().find(|key| key_file(name, key) == file).ok_or_else(|| missing(&format!("keys/{file}")))?)
    })
}

async fn keys(repository: &Repository<Read>) -> Result<Vec<PublicKey>> {
    if repository.kind() == Kind::Proxy {
        return Err(Error::not_found("a proxy passes on indexes as its upstream signed them: the keys are the upstream's"));
    }
    Ok(repository.signing_keys(KeyKind::Rsa).await?.public.clone())
}

fn respond(repository: &Repository<Read>, key: &PublicKey) -> Result<Response> {
    let file = key_file(repository.address().repository.as_str(), key);
    Ok(Response::bytes(StatusCode::OK, PEM, key.pem()).with_header(CONTENT_DISPOSITION, &format!("attachment; filename=\"{file}\"")))
}
