//! The line of a request, in the form that [`tracing_subscriber`] gives to all others.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::Serialize;
use tracing::Level;

use crate::config::LogFormat;
use crate::log::{OUTPUT, Output};

/// What these lines are called in the log, and in its directives.
pub(crate) const TARGET: &str = "entrepot::http";

/// A request that has ended.
#[derive(Serialize)]
pub(crate) struct Request<'a> {
    /// Its id.
    pub(crate) request_id: &'a str,
    /// Its method.
    pub(crate) method: &'a str,
    /// Its path, without what is secret.
    pub(crate) path: &'a str,
    /// The name of its route.
    pub(crate) route: &'a str,
    /// The status of its answer.
    pub(crate) status: u16,
    /// Bytes of the answer's body that were sent.
    pub(crate) bytes: u64,
    /// Bytes of its own body.
    pub(crate) received: u64,
    /// How long it took.
    pub(crate) milliseconds: u64,
    /// Who asked.
    pub(crate) principal: &'a str,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<IpAddr>,
    /// Where the answer came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<&'a str>,
    /// Whether all of the answer was sent.
    pub(crate) whole: bool,
}

/// The same in a JSON object with what every line has.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    level: &'a str,
    #[serde(flatten)]
    request: &'a Request<'a>,
    target: &'a str,
}

thread_local! {
    static PENCIL: RefCell<Pencil> = RefCell::default();
}

/// What one thread writes its lines with.
#[derive(Default)]
struct Pencil {
    /// The second that `time` tells.
    second: u64,
    /// `2026-11-26T03:16:54`.
    time: String,
    line: Vec<u8>,
}

/// Writes the line of a request, if the log is started and its level is wanted: to be asked of [`tracing`] at the place that calls this.
pub(crate) fn write(level: Level, request: &Request<'_>) {
    let Some(output) = OUTPUT.get() else { return };
    #[expect(clippy::disallowed_methods, reason = "a line tells when it was written")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    PENCIL.with_borrow_mut(|pencil| {
        if pencil.time.is_empty() || pencil.second != now.as_secs() {
            pencil.second = now.as_secs();
            pencil.time.clear();
            let time = Timestamp::from_second(i64::try_from(now.as_secs()).unwrap_or(0)).unwrap_or_default();
            // Writing to a string does not fail.
            let _ = write!(pencil.time, "{}", time.strftime("%Y-%m-%dT%H:%M:%S"));
        }
        pencil.line.clear();
        pencil.render(output, now.subsec_micros(), level, request);
        output.sink.add(&pencil.line);
    });
}

impl Pencil {
    fn render(&mut self, output: &Output, microseconds: u32, level: Level, request: &Request<'_>) {
        let Self { time, line, .. } = self;
        if output.format == LogFormat::Json {
            let timestamp = format!("{time}.{microseconds:06}Z");
            // Plain fields, into memory: neither can fail.
            let _ = serde_json::to_writer(&mut *line, &Line { timestamp: &timestamp, level: level.as_str(), request, target: TARGET });
            line.push(b'\n');
            return;
        }
        let [dim, colour, italic, plain] = if output.colours { ["\x1b[2m", "\x1b[32m", "\x1b[3m", "\x1b[0m"] } else { [""; 4] };
        // Piece by piece: `fmt` takes as long for a line as all else together.
        let digits = 1_000_000 + u64::from(microseconds % 1_000_000);
        let mut begin = |pieces: &[&str]| pieces.iter().for_each(|piece| line.extend_from_slice(piece.as_bytes()));
        begin(&[dim, time, "."]);
        begin(&[itoa::Buffer::new().format(digits).get(1..).unwrap_or_default(), "Z", plain, " ", colour]);
        begin(&["     ".get(level.as_str().len()..).unwrap_or_default(), level.as_str(), plain, " ", dim, TARGET, ":", plain]);
        let mut field = |name: &str, value: &dyn Fn(&mut Vec<u8>)| {
            line.push(b' ');
            line.extend_from_slice(italic.as_bytes());
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(plain.as_bytes());
            line.push(b'=');
            value(line);
        };
        field("request_id", &|line| quote(line, request.request_id));
        field("method", &|line| line.extend_from_slice(request.method.as_bytes()));
        field("path", &|line| quote(line, request.path));
        field("route", &|line| quote(line, request.route));
        field("status", &|line| number(line, request.status.into()));
        field("bytes", &|line| number(line, request.bytes));
        field("received", &|line| number(line, request.received));
        field("milliseconds", &|line| number(line, request.milliseconds));
        field("principal", &|line| quote(line, request.principal));
        if let Some(remote) = request.remote {
            field("remote", &|line| address(line, remote));
        }
        if let Some(source) = request.source {
            field("source", &|line| quote(line, source));
        }
        field("whole", &|line| line.extend_from_slice(if request.whole { b"true" } else { b"false" }));
        line.push(b'\n');
    }
}

/// A text in quotes. What could end them, or the line, is escaped.
fn quote(line: &mut Vec<u8>, text: &str) {
    // Without an early end, so that many bytes are looked at at once.
    if text.bytes().fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\')) {
        line.push(b'"');
        line.extend_from_slice(text.as_bytes());
        line.push(b'"');
    } else {
        let _ = write!(line, "{text:?}");
    }
}

fn address(line: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, part) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    line.push(b'.');
                }
                number(line, part.into());
            }
        }
        // Writing to memory does not fail.
        IpAddr::V6(address) => drop(write!(line, "{address}")),
    }
}

fn number(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{number, quote};

    #[test]
    fn no_text_leaves_its_quotes() {
        let mut line = Vec::new();
        for text in ["plain/path", "a\"b", "a\\b", "a\nb", "ü"] {
            quote(&mut line, text);
            line.push(b' ');
        }
        number(&mut line, 42);
        assert_eq!(String::from_utf8(line).unwrap(), "\"plain/path\" \"a\\\"b\" \"a\\\\b\" \"a\\nb\" \"ü\" 42");
    }
}
