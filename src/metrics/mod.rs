//! What the server counts, and how `/metrics` shows it.
//!
//! Labels are words that the code knows (a format, an action, an outcome) and status codes: never a path, never the name of a repository or of a
//! caller. So there are few series however many clients come, and nothing in them is a secret. Counting is a look-up by such words
//! and an atomic addition: nothing is allocated once a series is there.

mod process;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use entrepot_kit::{Error, Result, Timestamp};
use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::registry::Engine;
use crate::upstream::{Fetched, UpstreamError};

/// The media type of what [`Metrics::render`] gives.
pub use prometheus_text::CONTENT_TYPE;

/// Upper bounds of the histograms, in seconds: from a cached answer to an upload that takes a minute.
const SECONDS: [f64; 16] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// What a request was about, in words that the code knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct About {
    /// The format of the repository; `api`, `pages` and `operations` for the server's own addresses; `none` where no repository was found.
    pub(crate) format: &'static str,
    /// What the route demands; `none` where there was none.
    pub(crate) action: &'static str,
}

impl Default for About {
    fn default() -> Self {
        Self { format: "none", action: "none" }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    format: &'static str,
    action: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFormat {
    format: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRegistry {
    registry: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// Everything that is counted. One per engine.
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    request_seconds: Family<About, Histogram, fn() -> Histogram>,
    received: Family<OfFormat, Counter>,
    sent: Family<OfFormat, Counter>,
    upstream_calls: Family<Outcome, Counter>,
    upstream_seconds: Histogram,
    upstream_allowance: Family<OfRegistry, Gauge>,
    upstream_allowance_left: Family<OfRegistry, Gauge>,
    news: Family<Outcome, Counter>,
    purges: Family<Outcome, Counter>,
    /// Answers that were given again as they were.
    pub(crate) repeated: Counter,
    /// Index documents that were in memory.
    pub(crate) document_hits: Counter,
    /// Index documents that had to be made.
    pub(crate) document_misses: Counter,
    /// Those of them that were amended by what had changed.
    pub(crate) documents_amended: Counter,
    /// Requests that are being answered.
    pub(crate) running: Gauge,
    /// Connections that are open.
    pub(crate) connections: Gauge,
    levels: Levels,
}

/// What is not counted but looked at when somebody asks.
#[derive(Default)]
struct Levels {
    fills: Gauge,
    uploads: Gauge,
    pool_size: Gauge,
    pool_used: Gauge,
    pool_waiting: Gauge,
    writes_waiting: Gauge,
    memory: Gauge,
    files: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Nothing counted yet; `started` is when the process began.
    #[must_use]
    pub fn new(started: Timestamp) -> Arc<Self> {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(histogram),
            received: Family::default(),
            sent: Family::default(),
            upstream_calls: Family::default(),
            upstream_seconds: histogram(),
            upstream_allowance: Family::default(),
            upstream_allowance_left: Family::default(),
            news: Family::default(),
            purges: Family::default(),
            repeated: Counter::default(),
            document_hits: Counter::default(),
            document_misses: Counter::default(),
            documents_amended: Counter::default(),
            running: Gauge::default(),
            connections: Gauge::default(),
            levels: Levels::default(),
        };
        // What did not happen yet is 0, not absent: a first failure shows as a rise.
        for outcome in OUTCOMES {
            let _ = metrics.upstream_calls.get_or_create(&Outcome { outcome });
        }
        for outcome in NEWS {
            let _ = metrics.news.get_or_create(&Outcome { outcome });
        }
        let mut registry = Registry::default();
        metrics.register(&mut registry, started);
        metrics.registry = registry;
        Arc::new(metrics)
    }

    fn register(&self, registry: &mut Registry, started: Timestamp) {
        let began = Gauge::<i64>::default();
        began.set(started.0 / 1000);
        registry.register("process_start_time_seconds", "When the server started, in seconds since 1970", began);
        registry.register("process_resident_memory_bytes", "Memory of the process", self.levels.memory.clone());
        registry.register("process_open_fds", "Open files and connections of the process", self.levels.files.clone());
        let own = registry.sub_registry_with_prefix("entrepot");
        own.register("build", "The version that runs", Info::new(Build { version: env!("CARGO_PKG_VERSION") }));
        own.register("http_requests", "Requests by what they were about and how they were answered", self.requests.clone());
        own.register("http_request_seconds", "From the head of a request to the head of its answer", self.request_seconds.clone());
        own.register("http_received_bytes", "Bytes of request bodies", self.received.clone());
        own.register("http_sent_bytes", "Bytes of answers' bodies", self.sent.clone());
        own.register("http_requests_running", "Requests whose answer is not sent to its end yet", self.running.clone());
        own.register("http_connections", "Connections that are open", self.connections.clone());
        own.register("http_repeated_answers", "Answers that were given again as they were a moment before", self.repeated.clone());
        own.register("document_cache_hits", "Index documents that were in memory", self.document_hits.clone());
        own.register("document_cache_misses", "Index documents that had to be made", self.document_misses.clone());
        own.register("documents_amended", "Index documents that were made of the one before and what had changed", self.documents_amended.clone());
        own.register(
            "upstream_calls",
            "Questions to upstreams, further tries and redirects included in one, by what came of them",
            self.upstream_calls.clone(),
        );
        own.register("upstream_seconds", "From a question to an upstream to the head of its answer", self.upstream_seconds.clone());
        own.register(
            "upstream_ratelimit_limit",
            "Requests that an upstream allows in its window, as it last said; by the preset's name",
            self.upstream_allowance.clone(),
        );
        own.register("upstream_ratelimit_remaining", "Requests that are left of it", self.upstream_allowance_left.clone());
        own.register(
            "replica_news",
            "News between replicas by way of Redis: told, heard, early where the catalog had not been asked yet, dropped",
            self.news.clone(),
        );
        own.register("cache_purges", "Calls to caches in front of repositories, further tries included in one, by what came of them", self.purges.clone());
        own.register("fills_running", "Downloads from upstreams that run", self.levels.fills.clone());
        own.register("uploads_staged", "Bodies that are being taken in or wait for their commit", self.levels.uploads.clone());
        own.register("catalog_connections", "Connections to the catalog that there may be", self.levels.pool_size.clone());
        own.register("catalog_connections_used", "Connections to the catalog that are in use", self.levels.pool_used.clone());
        own.register("catalog_connections_waiting", "Questions that wait for a connection to the catalog", self.levels.pool_waiting.clone());
        own.register("catalog_writes_waiting", "Changes that wait for SQLite's one writer; 0 on PostgreSQL", self.levels.writes_waiting.clone());
    }

    /// Counts an answer whose head is ready.
    pub(crate) fn answered(&self, about: About, status: u16, after: Duration) {
        self.requests.get_or_create(&Answered { format: about.format, action: about.action, status }).inc();
        self.request_seconds.get_or_create(&about).observe(after.as_secs_f64());
    }

    /// Counts the bytes of a request's body.
    pub(crate) fn received(&self, about: About, bytes: u64) {
        if bytes > 0 {
            self.received.get_or_create(&OfFormat { format: about.format }).inc_by(bytes);
        }
    }

    /// What the bytes of an answer are added to while they go out.
    pub(crate) fn sent(&self, about: About) -> Counter {
        self.sent.get_or_create_owned(&OfFormat { format: about.format })
    }

    /// Counts a question to an upstream.
    pub(crate) fn asked(&self, outcome: &Result<Fetched, UpstreamError>, after: Duration) {
        self.upstream_calls.get_or_create(&Outcome { outcome: outcome_of(outcome) }).inc();
        self.upstream_seconds.observe(after.as_secs_f64());
    }

    /// Notes what an upstream says of its rate limit: how much it allows, and how much is left.
    pub(crate) fn allowance(&self, registry: Option<&'static str>, [limit, left]: [i64; 2]) {
        let registry = OfRegistry { registry: registry.unwrap_or("other") };
        self.upstream_allowance.get_or_create(&registry).set(limit);
        self.upstream_allowance_left.get_or_create(&registry).set(left);
    }

    /// Counts a call to a cache in front of a repository.
    pub(crate) fn purged(&self, outcome: &'static str) {
        self.purges.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts news between replicas: one of the words in `NEWS`.
    pub(crate) fn news(&self, outcome: &'static str) {
        self.news.get_or_create(&Outcome { outcome }).inc();
    }

    /// All figures, as Prometheus reads them.
    ///
    /// # Errors
    /// 500 when they cannot be written down.
    pub async fn render(&self, engine: &Engine) -> Result<String> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (levels, catalog) = (&self.levels, engine.catalog.load());
        levels.fills.set(number(engine.running_fills()));
        levels.uploads.set(crate::store::blobs::bodies());
        levels.pool_size.set(number(catalog.connections));
        levels.pool_used.set(number(catalog.used));
        levels.pool_waiting.set(number(catalog.waiting));
        levels.writes_waiting.set(number(catalog.writes_waiting));
        let process = entrepot_kit::blocking(|| Ok(process::look())).await?;
        levels.memory.set(process.memory);
        levels.files.set(process.files);
        let mut text = String::with_capacity(8 * 1024);
        prometheus_text::encode(&mut text, &self.registry).map_err(Error::internal)?;
        Ok(text)
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

const NEWS: [&str; 4] = ["told", "heard", "early", "dropped"];
const OUTCOMES: [&str; 6] = ["found", "unchanged", "missing", "refused", "bad-answer", "unreachable"];

fn outcome_of(outcome: &Result<Fetched, UpstreamError>) -> &'static str {
    match outcome {
        Ok(fetched) => match fetched.status {
            StatusCode::NOT_MODIFIED => "unchanged",
            StatusCode::NOT_FOUND | StatusCode::GONE => "missing",
            status if status.is_success() => "found",
            _ => "bad-answer",
        },
        Err(UpstreamError::Refused(_)) => "refused",
        Err(UpstreamError::BadAnswer(_)) => "bad-answer",
        Err(UpstreamError::Unreachable { .. }) => "unreachable",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use entrepot_kit::Timestamp;
    use prometheus_client::encoding::prometheus_text;

    use super::{About, Metrics};

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::new(Timestamp(1_700_000_000_500));
        let about = About { format: "npm", action: "read" };
        metrics.answered(about, 200, Duration::from_millis(3));
        metrics.answered(about, 200, Duration::from_millis(300));
        metrics.answered(About::default(), 404, Duration::ZERO);
        metrics.received(about, 0);
        metrics.received(about, 7);
        metrics.sent(about).inc_by(9);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &metrics.registry).unwrap();
        for line in [
            "# TYPE entrepot_http_requests_total counter",
            "entrepot_http_requests_total{format=\"npm\",action=\"read\",status=\"200\"} 2",
            "entrepot_http_requests_total{format=\"none\",action=\"none\",status=\"404\"} 1",
            "entrepot_http_request_seconds_bucket{format=\"npm\",action=\"read\",le=\"0.005\"} 1",
            "entrepot_http_request_seconds_count{format=\"npm\",action=\"read\"} 2",
            "entrepot_http_received_bytes_total{format=\"npm\"} 7",
            "entrepot_http_sent_bytes_total{format=\"npm\"} 9",
            "entrepot_upstream_calls_total{outcome=\"unreachable\"} 0",
            "process_start_time_seconds 1700000000",
            concat!("entrepot_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }
}
