//! Waiting for a database across a network, but not for ever.
//!
//! A network that swallows packets gives no error: whoever waits for an answer waits until the operating system gives up, which takes many
//! minutes. So each piece of work has a time, and a connection that does not answer within it is broken off: what waits for it then fails
//! like after any other loss of the connection.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use diesel_async::async_connection_wrapper::BlockOn;
use tokio::runtime::{Builder, Runtime};

/// How long work waits that was given no time: the making of a connection, with its handshake.
const CONNECTING: Duration = Duration::from_secs(10);

thread_local! {
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Runs `work` on this thread; what it asks of a database must be answered within `time`, and within the time of the work around it.
pub(super) fn within<T>(time: Duration, work: impl FnOnce() -> T) -> T {
    struct Before(Option<Instant>);
    impl Drop for Before {
        fn drop(&mut self) {
            UNTIL.set(self.0);
        }
    }
    let (before, until) = (Before(UNTIL.get()), Instant::now() + time);
    UNTIL.set(Some(before.0.map_or(until, |outer| outer.min(until))));
    work()
}

/// The time that is left to the work on this thread.
pub(super) fn left() -> Duration {
    UNTIL.get().map_or(CONNECTING, |until| until.saturating_duration_since(Instant::now()))
}

/// Drives one connection on the thread that waits for it, as long as that thread has time.
pub(super) struct Patient(RefCell<Option<Runtime>>);

impl BlockOn for Patient {
    fn block_on<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        if let Some(runtime) = &*self.0.borrow()
            && let Ok(output) = runtime.block_on(async { tokio::time::timeout(left(), work.as_mut()).await })
        {
            return output;
        }
        // The task that reads and writes the socket ends with its runtime. What waits for it learns that the connection is closed.
        drop(self.0.borrow_mut().take());
        finish(work)
    }

    fn get_runtime() -> Self {
        // Without one (no more files can be opened) connecting fails.
        Self(RefCell::new(Builder::new_current_thread().enable_all().build().ok()))
    }
}

/// Polls to its end what waits for no socket any more.
fn finish<F: Future>(mut work: Pin<&mut F>) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
