//! The end of the server: no new connections, idle ones closed at once, running transfers, commits and fills to their end.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::http::Listening;
use crate::metrics::Metrics;
use crate::registry::Engine;

/// How often it is looked whether everything has ended.
const LOOK: Duration = Duration::from_millis(20);
/// What HTTP/2 connections get for the last bytes of their last answer. Unlike HTTP/1 ones, the web framework leaves them open when they
/// are idle, so this is what ends them.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// Whether the server is about to end, and what keeps it.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    asked: AtomicBool,
    /// Connections that speak HTTP/1 and are open: the web framework closes them when their answer is sent.
    plain: AtomicUsize,
}

impl Ending {
    /// Whether the server was asked to end.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

/// A connection, as long as it is open.
pub(crate) struct Connection {
    metrics: Arc<Metrics>,
    ending: Arc<Ending>,
    plain: Cell<bool>,
}

impl Connection {
    pub(crate) fn new(metrics: Arc<Metrics>, ending: Arc<Ending>) -> Self {
        metrics.connections.inc();
        Self { metrics, ending, plain: Cell::new(false) }
    }

    /// Notes that a request of HTTP/1 came.
    pub(crate) fn is_plain(&self) {
        if !self.plain.replace(true) {
            self.ending.plain.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections.dec();
        if self.plain.get() {
            self.ending.plain.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// What did not end in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// Requests that were not answered to their end.
    pub requests: u64,
    /// Commits and fills that were not finished.
    pub works: usize,
}

impl Cut {
    /// Whether everything ended.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl Listening {
    /// Makes `/health/ready` say that the server is about to end. Nothing else changes.
    pub fn announce_end(&self) {
        self.ending.asked.store(true, Ordering::Release);
    }

    /// Ends the server: returns when what runs has ended, at the latest after the time that the settings give it.
    pub async fn finish(self, engine: &Engine) -> Cut {
        self.announce_end();
        let deadline = Instant::now() + self.patience;
        // Sent at once; that it is done is told by the end of the server itself.
        let _stopping = self.handle.stop(true);
        let mut idle_since = None;
        let requests = || u64::try_from(engine.metrics.running.get()).unwrap_or(0);
        while !self.ended.is_finished() && Instant::now() < deadline {
            if self.ending.plain.load(Ordering::Acquire) == 0 && requests() == 0 {
                if idle_since.get_or_insert_with(Instant::now).elapsed() >= LAST_BYTES {
                    break;
                }
            } else {
                idle_since = None;
            }
            sleep(LOOK).await;
        }
        let cut = requests();
        // A server that is dropped closes what is left.
        self.ended.abort();
        while engine.unfinished() > 0 && Instant::now() < deadline {
            sleep(LOOK).await;
        }
        Cut { requests: cut, works: engine.unfinished() }
    }
}
