//! What an operator sees of a running server, and how it ends: the built binary as a process of its own.
#![cfg(test)]

mod ending;
mod figures;
mod health;
mod tls;

use std::time::{Duration, Instant};

/// How long a test waits for what must come: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so().await {
        assert!(Instant::now() < end, "after {PATIENCE:?} still not: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
