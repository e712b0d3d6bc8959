//! A connection without TLS, and how the kernel sends parts of files over it: not a byte of them passes through this process.
//!
//! The web framework knows bodies as bytes in memory. A body that is part of a file lays it into the connection's [`Outlet`] and waits; the
//! framework writes what it has (the head) and flushes, and in that flush the part goes out by `sendfile`. So the order of what is sent is the
//! framework's own.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

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

/// A connection, and its outlet.
pub(super) struct Socket {
    stream: TcpStream,
    outlet: Rc<Outlet>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        // The end of an answer that takes several writes must not wait until the client has acknowledged what it has.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection may be slow");
        }
        Self { stream, outlet: Rc::default() }
    }

    /// Writes what a part follows: both leave together.
    fn poll_begin(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
            match self.stream.try_io(Interest::WRITABLE, || Ok(rustix::net::send(&self.stream, bytes, flags)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    /// Who is on the other side.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// Where bodies lay what the kernel is to send.
    pub(super) fn outlet(&self) -> Rc<Outlet> {
        Rc::clone(&self.outlet)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // What is written now comes before a part that is there: its body waits, and nothing follows it until it is gone.
        if this.outlet.is_broken() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.outlet.has_part() {
            return this.poll_begin(context, bytes);
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.outlet.poll_send(&this.stream, context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
