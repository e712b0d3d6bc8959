//! Where all lines go: standard error, several lines at a time.
//!
//! A line alone is written as soon as a thread of its own gets to it. Lines that come while others are being written, or within the delay
//! after them, are written together: a busy server calls the kernel hundreds of times a second for its log, not for each request. What was
//! not yet written is lost with the process when that is killed: what must not be lost is in the audit log, not here.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Bytes that wait at most. Whoever writes more waits for the reader of standard error, as without a buffer.
const MOST: usize = 1 << 20;
/// Memory that is kept for the next lines.
const KEPT: usize = 256 << 10;

/// Lines on their way to standard error.
#[derive(Clone)]
pub(super) struct Sink(Arc<Waiting>);

struct Waiting {
    lines: Mutex<Lines>,
    /// Lines came.
    came: Condvar,
    /// Lines were written.
    written: Condvar,
    delay: Duration,
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Others are being written.
    busy: bool,
}

impl Sink {
    /// A sink whose lines wait for others at most `delay`; without any, each is written by who has it.
    pub(super) fn start(delay: Duration) -> Self {
        let sink = Self(Arc::new(Waiting { lines: Mutex::default(), came: Condvar::new(), written: Condvar::new(), delay }));
        let writer = sink.clone();
        // Without a thread for it lines are written at once.
        let started = !delay.is_zero() && std::thread::Builder::new().name(String::from("log")).spawn(move || writer.run()).is_ok();
        if started { sink } else { Self(Arc::new(Waiting { lines: Mutex::default(), came: Condvar::new(), written: Condvar::new(), delay: Duration::ZERO })) }
    }

    /// Adds a whole line.
    pub(super) fn add(&self, line: &[u8]) {
        let mut lines = self.0.lines.lock();
        if self.0.delay.is_zero() {
            write(line);
            return;
        }
        self.0.written.wait_while(&mut lines, |lines| lines.bytes.len() > MOST);
        lines.bytes.extend_from_slice(line);
        // Whoever writes looks again when it is done.
        if !lines.busy {
            lines.busy = true;
            self.0.came.notify_one();
        }
    }

    /// Waits until all that was added is written.
    pub(super) fn flush(&self) {
        let mut lines = self.0.lines.lock();
        self.0.written.wait_while(&mut lines, |lines| lines.busy);
    }

    fn run(&self) {
        let mut taken = Vec::new();
        let mut lines = self.0.lines.lock();
        loop {
            if lines.bytes.is_empty() {
                lines.busy = false;
                self.0.written.notify_all();
                self.0.came.wait_while(&mut lines, |lines| !lines.busy);
                continue;
            }
            std::mem::swap(&mut lines.bytes, &mut taken);
            self.0.written.notify_all();
            parking_lot::MutexGuard::unlocked(&mut lines, || {
                let began = Instant::now();
                write(&taken);
                taken.clear();
                taken.shrink_to(KEPT);
                std::thread::sleep(self.0.delay.saturating_sub(began.elapsed()));
            });
        }
    }
}

/// A closed standard error leaves nobody to tell.
fn write(lines: &[u8]) {
    let _ = io::stderr().lock().write_all(lines);
}

/// Takes the lines of [`tracing_subscriber`], which writes each in one piece.
pub(super) struct Writer<'a>(pub(super) &'a Sink);

impl Write for Writer<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
