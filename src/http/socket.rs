//! A connection without TLS, and how the kernel sends parts of files over it: not a byte of them passes through this process.
//!
//! The web framework knows bodies as bytes in memory. A body that is part of a file lays it into the connection's [`Outlet`] and waits; the
//! framework writes what it has (the head) and flushes, and in that flush the part goes out by `sendfile`. So the order of what is sent is the
//! framework's own.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::http::door::{Coming, Door};
use crate::http::ready::Ready;
use crate::http::sending::FilePart;

/// What is to leave a connection besides what is written to it.
#[derive(Default)]
pub(crate) struct Outlet(RefCell<State>);

#[derive(Default)]
struct State {
    part: Option<Part>,
    /// Bytes that went since they were last asked for.
    sent: u64,
    /// Who laid the part there.
    waker: Option<Waker>,
    /// A part was given up in the middle: nothing that follows would be understood.
    is_broken: bool,
    /// All of the answer in hand was handed over.
    has_ended: bool,
}

struct Part {
    file: Arc<File>,
    next: u64,
    left: u64,
}

impl Outlet {
    /// Lays a part of a file there, `length` bytes from `from` on. It goes with the next flush; whoever is polled with `context` is woken then.
    pub(crate) fn lay(&self, file: Arc<File>, from: u64, length: u64, context: &Context<'_>) {
        let mut state = self.0.borrow_mut();
        state.part = Some(Part { file, next: from, left: length });
        state.waker = Some(context.waker().clone());
    }

    /// Waits until what was laid there is gone.
    pub(crate) fn poll_gone(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        if state.part.is_none() {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Bytes that went since this was last asked.
    pub(crate) fn take_sent(&self) -> u64 {
        std::mem::take(&mut self.0.borrow_mut().sent)
    }

    /// Gives up what is left. After that the connection is good for nothing.
    pub(crate) fn give_up(&self) {
        let mut state = self.0.borrow_mut();
        state.is_broken |= state.part.take().is_some();
    }

    /// Notes that a question is the framework's.
    pub(crate) fn begin(&self) {
        self.0.borrow_mut().has_ended = false;
    }

    /// Notes that all of its answer was handed over.
    pub(crate) fn end(&self) {
        self.0.borrow_mut().has_ended = true;
    }

    /// Whether all of the answer in hand was handed over, and nothing of it waits here.
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.0.borrow();
        state.has_ended && state.part.is_none() && !state.is_broken
    }

    fn has_part(&self) -> bool {
        self.0.borrow().part.is_some()
    }

    fn is_broken(&self) -> bool {
        self.0.borrow().is_broken
    }

    /// Sends what was laid there.
    fn poll_send(&self, stream: &TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        if state.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Some(part) = &mut state.part else { return Poll::Ready(Ok(())) };
        while part.left > 0 {
            ready!(stream.poll_write_ready(context))?;
            let count = usize::try_from(part.left).unwrap_or(usize::MAX);
            let sent = stream.try_io(Interest::WRITABLE, || Ok(rustix::fs::sendfile(stream, &part.file, Some(&mut part.next), count)?));
            match sent {
                Ok(0) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was"))),
                Ok(sent) => {
                    part.left = part.left.saturating_sub(sent as u64);
                    state.sent += sent as u64;
                }
                // Asked again, it tells when there is room.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        state.part = None;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }
}

/// A connection, its outlet and its door.
pub(super) struct Socket {
    stream: TcpStream,
    outlet: Rc<Outlet>,
    door: Door,
    /// What has not left yet of an answer that was given at the door.
    leaving: Option<Leaving>,
}

/// Bytes on their way out, after which the outlet's part follows.
#[derive(Default)]
struct Leaving {
    head: Vec<u8>,
    body: Bytes,
}

thread_local! {
    /// The head that is being written.
    static HEAD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Socket {
    pub(super) fn new(stream: TcpStream, door: Door) -> Self {
        // The end of an answer that takes several writes must not wait until the client has acknowledged what it has.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection may be slow");
        }
        Self { stream, outlet: Rc::default(), door, leaving: None }
    }

    /// Gives an answer at the door. What does not leave at once leaves before anything else.
    fn answer(&mut self, ready: &Ready, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut leaving = Leaving { head: HEAD.take(), body: ready.body() };
        self.door.begin(ready, &mut leaving.head);
        if let Some((file, range)) = self.door.part(ready).map(FilePart::into_parts) {
            leaving.body = Bytes::new();
            self.outlet.0.borrow_mut().part = Some(Part { file, next: range.start, left: range.end.saturating_sub(range.start) });
        }
        self.leaving = Some(leaving);
        self.poll_leave(context)
    }

    /// Writes what has not left yet.
    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(leaving) = &mut self.leaving {
            let (head, body) = (leaving.head.len(), leaving.body.len());
            if head + body == 0 {
                ready!(self.outlet.poll_send(&self.stream, context))?;
                // It was counted before it left.
                self.outlet.take_sent();
                HEAD.set(self.leaving.take().unwrap_or_default().head);
                break;
            }
            let sent = if body > 0 {
                ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &[IoSlice::new(&leaving.head), IoSlice::new(&leaving.body)]))?
            } else if self.outlet.has_part() {
                ready!(begin(&self.stream, context, &leaving.head))?
            } else {
                ready!(Pin::new(&mut self.stream).poll_write(context, &leaving.head))?
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            leaving.head.drain(..sent.min(head));
            leaving.body.advance(sent.saturating_sub(head));
        }
        Poll::Ready(Ok(()))
    }

    /// Where bodies lay what the kernel is to send.
    pub(super) fn outlet(&self) -> Rc<Outlet> {
        Rc::clone(&self.outlet)
    }
}

/// Writes what a part follows: both leave together.
fn begin(stream: &TcpStream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(context))?;
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        match stream.try_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, bytes, flags)?)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return Poll::Ready(sent),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        loop {
            // Who does not read its answer is not read from.
            ready!(this.poll_leave(context))?;
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let bytes = buffer.filled().get(before..).unwrap_or_default();
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match this.door.comes(bytes, &this.outlet) {
                Coming::Passed => return Poll::Ready(Ok(())),
                Coming::Known(ready) => {
                    buffer.set_filled(before);
                    ready!(this.answer(&ready, context))?;
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_leave(context))?;
        // What is written now comes before a part that is there: its body waits, and nothing follows it until it is gone.
        if this.outlet.is_broken() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.outlet.has_part() {
            return begin(&this.stream, context, bytes);
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_leave(context))?;
        ready!(this.outlet.poll_send(&this.stream, context))?;
        ready!(Pin::new(&mut this.stream).poll_flush(context))?;
        this.door.flushed(&this.outlet);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_leave(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}
