//! Work that ends, whoever asked for it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use entrepot_kit::{Error, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::runtime::Handle;

use super::Engine;

impl Engine {
    /// Runs `work` to its end even when the caller goes away.
    ///
    /// # Errors
    /// Those of `work`; 500 when it panicked.
    pub(crate) async fn detached<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let counted = Counted::new(&self.detached);
        let work = AssertUnwindSafe(async move {
            let _counted = counted;
            work.await
        });
        let work = work.catch_unwind().map(|outcome| outcome.unwrap_or_else(|_| Err(Error::internal("work that others wait for panicked"))));
        Detached { work: Some(work.boxed()), runtime: self.runtime.clone() }.await
    }

    /// Commits and fills that run, whoever asked for them: what the end of the process has to wait for.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.detached.load(Ordering::Acquire) + self.running_fills()
    }
}

/// Work that its caller drives as long as there is one, which saves the ways to another thread and back; then the runtime takes it over. What
/// it begins (timers, connections, tasks) belongs to that runtime from the beginning: the caller's may end with the caller.
struct Detached<T: Send + 'static> {
    work: Option<BoxFuture<'static, Result<T>>>,
    runtime: Handle,
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let _entered = this.runtime.enter();
        let outcome = match &mut this.work {
            Some(work) => std::task::ready!(work.as_mut().poll(context)),
            None => Err(Error::internal("work was asked for its outcome twice")),
        };
        this.work = None;
        Poll::Ready(outcome)
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.runtime.spawn(work);
        }
    }
}

/// Something that is counted as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::Detached;
    use futures::FutureExt as _;
    use std::time::Duration;
    use tokio::runtime::Builder;

    #[test]
    fn work_outlives_its_caller_and_the_runtime_of_that() {
        let (lasting, passing) = (Builder::new_multi_thread().worker_threads(1).enable_all().build(), Builder::new_current_thread().enable_all().build());
        let (lasting, passing) = (lasting.expect("a runtime"), passing.expect("a runtime"));
        let (ended, end) = std::sync::mpsc::channel();
        passing.block_on(async {
            let work = async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                tokio::spawn(async {}).await.expect("a task of the lasting runtime");
                ended.send(()).expect("somebody waits");
                Ok(())
            };
            let mut detached = Detached { work: Some(work.boxed()), runtime: lasting.handle().clone() };
            assert!(futures::poll!(&mut detached).is_pending());
        });
        drop(passing);
        assert_eq!(end.recv_timeout(Duration::from_secs(60)), Ok(()));
    }
}
