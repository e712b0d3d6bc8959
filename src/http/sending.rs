//! Bodies that are parts of files: in windows that the kernel has in memory, so that no request thread waits for a disk.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

use crate::http::socket::Outlet;

/// Bytes that are sent before anything else gets its turn.
const WINDOW: u64 = 1 << 20;
/// The last bytes, sent apart: whoever has them must find all else done.
const LAST: u64 = 256 << 10;
/// Bodies below this are as cheap from memory.
pub(crate) const SMALLEST: u64 = 16 << 10;
/// Bytes between those that are looked at. The kernel takes files into memory and drops them in runs of pages.
const STEP: usize = 16 << 10;
/// Bytes per read from a disk.
const CHUNK: u64 = 256 << 10;

/// A part of a file that is a whole body.
#[derive(Clone)]
pub(crate) struct FilePart {
    file: Arc<File>,
    range: Range<u64>,
    /// It was sent a moment ago: the kernel has it in memory.
    is_hot: bool,
}

impl FilePart {
    /// Part of a file that is never changed.
    pub(crate) fn new(file: Arc<File>, range: Range<u64>) -> Self {
        Self { file, range, is_hot: false }
    }

    /// The same, of which the kernel needs not be asked whether it is in memory: it was sent a moment ago.
    pub(crate) fn hot(file: Arc<File>, range: Range<u64>) -> Self {
        Self { file, range, is_hot: true }
    }

    /// Whether the kernel surely has it in memory.
    pub(crate) fn is_hot(&self) -> bool {
        self.is_hot
    }

    /// The file, and where in it.
    pub(crate) fn into_parts(self) -> (Arc<File>, Range<u64>) {
        (self.file, self.range)
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }
}

/// A part on its way through a connection's outlet.
pub(crate) struct Sending {
    part: FilePart,
    outlet: Rc<Outlet>,
    loading: Option<JoinHandle<io::Result<()>>>,
    /// The window in hand is in memory.
    is_loaded: bool,
}

impl Sending {
    pub(crate) fn new(part: FilePart, outlet: Rc<Outlet>) -> Self {
        Self { part, outlet, loading: None, is_loaded: false }
    }

    /// Bytes that went since this was last asked.
    pub(crate) fn take_sent(&self) -> u64 {
        self.outlet.take_sent()
    }

    /// Waits until what was given to the connection is sent and the next window can be; tells how many bytes are left from it on.
    pub(crate) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        ready!(self.outlet.poll_gone(context));
        let window = self.window();
        while !self.is_loaded && !window.is_empty() {
            if let Some(loading) = &mut self.loading {
                let loaded = ready!(Pin::new(loading).poll(context));
                self.loading = None;
                loaded.map_err(io::Error::other)??;
                self.is_loaded = true;
            } else if self.part.is_hot || is_in_memory(&self.part.file, &window) {
                self.is_loaded = true;
            } else {
                let (file, window, next) = (Arc::clone(&self.part.file), window.clone(), window.end..self.part.range.end.min(window.end + WINDOW));
                self.loading = Some(tokio::task::spawn_blocking(move || load(&file, window, &next)));
            }
        }
        Poll::Ready(Ok(self.part.length()))
    }

    /// Gives the next window to the connection.
    pub(crate) fn send(&mut self, context: &Context<'_>) {
        let window = self.window();
        self.outlet.lay(Arc::clone(&self.part.file), window.start, window.end - window.start, context);
        self.part.range.start = window.end;
        self.is_loaded = false;
    }

    /// Whether the next window is the last.
    pub(crate) fn is_last(&self) -> bool {
        self.window().end == self.part.range.end
    }

    fn window(&self) -> Range<u64> {
        let Range { start, end } = self.part.range;
        let left = end.saturating_sub(start);
        let length = if left > 2 * LAST { WINDOW.min(left - LAST) } else { left };
        start..start + length
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.outlet.give_up();
    }
}

/// Whether the kernel has a part of a file in memory, as far as samples tell. File systems that cannot tell have nothing there.
fn is_in_memory(file: &File, part: &Range<u64>) -> bool {
    let has = |at| {
        let mut byte = [0];
        rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT).is_ok_and(|read| read == 1)
    };
    part.clone().step_by(STEP).chain(part.end.checked_sub(1)).all(has)
}

/// Takes a part of a file into the kernel's memory, and begins with the one that will be next.
fn load(file: &File, part: Range<u64>, next: &Range<u64>) -> io::Result<()> {
    if let Some(length) = std::num::NonZeroU64::new(next.end.saturating_sub(next.start)) {
        // Only a hint: where it is not taken, the next part is waited for like this one.
        let _ = rustix::fs::fadvise(file, next.start, Some(length), Advice::WillNeed);
    }
    let mut buffer = vec![0; usize::try_from(CHUNK.min(part.end.saturating_sub(part.start))).unwrap_or(0)];
    let mut at = part.start;
    while at < part.end {
        let length = usize::try_from(part.end - at).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact_at(buffer.get_mut(..length).unwrap_or_default(), at)?;
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{FilePart, LAST, Sending, WINDOW, is_in_memory, load};

    #[test]
    fn windows_cover_the_part_and_the_last_is_small() {
        for (start, end) in [(0, 1), (7, 7 + 2 * LAST), (7, 8 + 2 * LAST), (3, 3 + WINDOW + LAST), (0, 5 * WINDOW + 1)] {
            let part = FilePart { file: std::sync::Arc::new(tempfile::tempfile().unwrap()), range: start..end, is_hot: false };
            let mut sending = Sending::new(part, std::rc::Rc::default());
            let mut at = start;
            loop {
                let window = sending.window();
                assert_eq!(window.start, at);
                assert!(!window.is_empty() && window.end - window.start <= WINDOW);
                at = window.end;
                if sending.is_last() {
                    assert!(window.end - window.start <= 2 * LAST);
                    break;
                }
                sending.part.range.start = at;
            }
            assert_eq!(at, end);
        }
    }

    #[test]
    fn what_is_loaded_is_in_memory_and_a_short_file_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 300_000]).unwrap();
        load(&file, 0..300_000, &(0..0)).unwrap();
        assert!(!is_in_memory(&file, &(0..300_001)));
        assert!(load(&file, 0..300_001, &(0..0)).is_err());
    }
}
