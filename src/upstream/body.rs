//! The body of an answer, as it arrives.

use std::time::Duration;

use bytes::Bytes;
use entrepot_kit::{ByteStream, Error, Result};
use futures::stream;
use tokio::time::{Instant, timeout};

/// What a body must keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How long the next part may take.
    pub(super) read_timeout: Duration,
    /// Most bytes.
    pub(super) max_size: u64,
    /// For how long the upstream may keep us waiting before its speed is looked at.
    pub(super) window: Duration,
    /// Fewest bytes per window: a body that drips just fast enough for `read_timeout` would hold its readers for days.
    pub(super) least: u64,
}

struct Arriving {
    response: reqwest::Response,
    limits: Limits,
    announced: Option<u64>,
    received: u64,
    /// Time spent waiting in this window. A slow reader of ours does not count.
    waited: Duration,
    window_start: u64,
}

/// The body as a stream that ends cleanly only when as much arrived as was announced.
pub(super) fn stream(response: reqwest::Response, announced: Option<u64>, limits: Limits) -> ByteStream {
    let arriving = Arriving { response, limits, announced, received: 0, waited: Duration::ZERO, window_start: 0 };
    Box::pin(stream::unfold(Some(arriving), async |arriving| {
        let mut arriving = arriving?;
        match arriving.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(arriving))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

impl Arriving {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let begun = Instant::now();
        let chunk = match timeout(self.limits.read_timeout, self.response.chunk()).await {
            Err(_) => return Err(Error::unavailable("the upstream stopped sending in the middle of a file", 5)),
            Ok(Err(error)) => {
                return Err(Error::unavailable("the connection to the upstream broke in the middle of a file", 5).with_source(error.without_url()));
            }
            Ok(Ok(chunk)) => chunk,
        };
        let Some(bytes) = chunk else {
            return match self.announced {
                Some(announced) if announced != self.received => {
                    Err(Error::bad_gateway(format!("the upstream announced {announced} bytes and sent {}", self.received)))
                }
                _ => Ok(None),
            };
        };
        self.received += bytes.len() as u64;
        if self.announced.is_some_and(|announced| self.received > announced) {
            return Err(Error::bad_gateway("the upstream sent more bytes than it announced"));
        }
        if self.received > self.limits.max_size {
            return Err(too_large(self.limits.max_size));
        }
        self.waited += begun.elapsed();
        if self.waited >= self.limits.window {
            if self.received - self.window_start < self.limits.least {
                return Err(Error::unavailable("the upstream sends too slowly", 30));
            }
            self.waited = Duration::ZERO;
            self.window_start = self.received;
        }
        Ok(Some(bytes))
    }
}

/// For bodies over `max_size`, announced or arriving.
pub(super) fn too_large(max_size: u64) -> Error {
    Error::bad_gateway(format!("the upstream's file is larger than the {max_size} bytes that this repository takes (upstream.max_size)"))
}
