//! Questions to the catalog: on threads that may block, no more at once than there are connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::r2d2::{ConnectionManager, Pool, PooledConnection, R2D2Connection};
use tokio::sync::Semaphore;

use super::failure::QueryResult;
use crate::store::model::CatalogError;

/// How long a question waits for a connection.
const PATIENCE: Duration = Duration::from_secs(15);

/// A pool of connections, and as many places on blocking threads.
pub(super) struct Readers<C: R2D2Connection + 'static> {
    /// Taken when it is dropped.
    pool: Option<Pool<ConnectionManager<C>>>,
    places: Arc<Semaphore>,
    size: usize,
    waiting: AtomicUsize,
}

/// A connection may own a runtime, which must not end within another: the last handle goes on a thread of its own.
impl<C: R2D2Connection + 'static> Drop for Readers<C> {
    fn drop(&mut self) {
        let pool = self.pool.take();
        std::thread::spawn(move || drop(pool));
    }
}

impl<C: R2D2Connection + 'static> Readers<C> {
    pub(super) fn new(pool: Pool<ConnectionManager<C>>, size: u32) -> Self {
        let size = usize::try_from(size).unwrap_or(1);
        Self { pool: Some(pool), places: Arc::new(Semaphore::new(size)), size, waiting: AtomicUsize::new(0) }
    }

    /// Connections that are worth having on this machine.
    pub(super) fn size() -> u32 {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        u32::try_from(processors).unwrap_or(8).clamp(4, 16)
    }

    /// How many connections there may be, how many are in use, and how many questions wait for one.
    pub(super) fn load(&self) -> (usize, usize, usize) {
        (self.size, self.size.saturating_sub(self.places.available_permits()), self.waiting.load(Ordering::Relaxed))
    }

    /// Runs `work` with a connection where blocking is allowed. It ends even when the caller no longer waits.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Pool<ConnectionManager<C>>) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let waiting = Waiting::new(&self.waiting);
        let place = tokio::time::timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| CatalogError::unavailable("all connections to the catalog are busy"))?.map_err(CatalogError::internal)?;
        drop(waiting);
        let pool = self.pool.clone().ok_or_else(|| CatalogError::unavailable("the catalog is closed"))?;
        let work = tokio::task::spawn_blocking(move || {
            let result = work(&pool);
            drop(place);
            result
        });
        work.await.map_err(CatalogError::internal)?
    }

    /// Runs a question; once more when its connection turns out to be gone.
    pub(super) async fn run<T: Send + 'static>(&self, query: impl Fn(&mut C) -> QueryResult<T> + Send + 'static) -> Result<T, CatalogError> {
        self.with(move |pool| {
            // The first connection goes back before a second is taken: there are only as many as there are places.
            let first = query(&mut *pool.get().map_err(CatalogError::unavailable)?);
            match first {
                Err(error) if error.is_disconnected() => Ok(query(&mut *living(pool)?)?),
                other => Ok(other?),
            }
        })
        .await
    }
}

/// A question that waits for a connection, counted until it has one or is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that answers. That the server closed one meanwhile is only found out by asking, and after a restart of the server
/// all are closed: each may fail twice, once with the news and once for being closed, before the pool drops it.
pub(super) fn living<C: R2D2Connection + 'static>(pool: &Pool<ConnectionManager<C>>) -> Result<PooledConnection<ConnectionManager<C>>, CatalogError> {
    for _ in 0..2 * pool.max_size() {
        let mut connection = pool.get().map_err(CatalogError::unavailable)?;
        if connection.ping().is_ok() {
            return Ok(connection);
        }
    }
    pool.get().map_err(CatalogError::unavailable)
}
