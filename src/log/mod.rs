//! Log lines go to standard error, for people or for machines: what happens through [`tracing`], and one [`line`](request) for each
//! request, which is rendered here because there are so many of them.

mod request;
mod sink;

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

pub(crate) use request::{Request, TARGET, write};
use sink::{Sink, Writer};

/// Where lines go, and how they look.
struct Output {
    sink: Sink,
    format: LogFormat,
    /// Somebody looks at them: with colours.
    colours: bool,
}

static OUTPUT: OnceLock<Output> = OnceLock::new();

/// Writes, when it goes, what was not written yet.
#[must_use]
pub(crate) struct Flush(());

impl Drop for Flush {
    fn drop(&mut self) {
        if let Some(output) = OUTPUT.get() {
            output.sink.flush();
        }
    }
}

/// Starts logging. A second call in one process changes nothing.
pub(crate) fn start(log: &Log) -> Flush {
    let colours = std::io::stderr().is_terminal();
    let output = OUTPUT.get_or_init(|| Output { sink: Sink::start(Duration::from_millis(log.delay)), format: log.format, colours });
    let filter = EnvFilter::new(&log.level);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Writer(&output.sink)).with_ansi(colours);
    let started = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(cause) = started {
        tracing::debug!(%cause, "logging was started before");
    }
    Flush(())
}
