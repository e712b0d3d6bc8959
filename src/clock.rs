//! The clock: read once per request, and replaceable in tests.

use std::sync::Arc;

use entrepot_kit::Timestamp;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's clock.
#[must_use]
pub fn system() -> Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    Arc::new(|| Timestamp::from(std::time::SystemTime::now()))
}
