//! Request bodies: from the web framework's thread-bound stream to one that can travel.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use bytes::Bytes;
use entrepot_kit::{Body, Error, Result};
use futures::StreamExt as _;
use http::StatusCode;
use tokio::sync::mpsc;

/// Chunks on the way between the socket and the handler: what bounds an upload's memory.
const CHUNKS: usize = 8;

/// Takes the body over. The socket is read only as fast as the handler takes chunks, and no further once it stops.
pub(crate) fn take(request: &HttpRequest, mut payload: web::Payload, limit: u64, idle: Duration) -> Result<Body> {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|value| value.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    if length.unwrap_or(0) == 0 && !headers.contains_key(header::TRANSFER_ENCODING) && request.version() < actix_web::http::Version::HTTP_2 {
        return Ok(Body::empty());
    }
    let (sender, receiver) = mpsc::channel::<Result<Bytes>>(CHUNKS);
    actix_web::rt::spawn(async move {
        let mut total = 0u64;
        loop {
            let chunk = match tokio::time::timeout(idle, payload.next()).await {
                Err(_) => Err(Error::new(StatusCode::REQUEST_TIMEOUT, format!("nothing of the body arrived for {} seconds", idle.as_secs()))),
                Ok(None) => return,
                Ok(Some(Err(cause))) => Err(Error::bad_request("the body broke off").with_source(cause.to_string())),
                Ok(Some(Ok(bytes))) => {
                    total += bytes.len() as u64;
                    if total > limit { Err(too_large(limit)) } else { Ok(bytes) }
                }
            };
            let last = chunk.is_err();
            if sender.send(chunk).await.is_err() || last {
                return;
            }
        }
    });
    let stream = futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|chunk| (chunk, receiver)) });
    Ok(Body::new(Box::pin(stream), length))
}

fn too_large(limit: u64) -> Error {
    Error::too_large(format!("the body is larger than the {limit} bytes that this server takes (limits.max_upload_bytes)"))
}
