//! Questions to the catalog: on threads that may block, no more at once than there are connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::r2d2::{ManageConnection, Pool, PooledConnection, R2D2Connection};
use tokio::sync::Semaphore;

use super::failure::QueryResult;
use super::patience::{left, within};
use crate::store::model::CatalogError;

/// How long a question waits for a connection.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the work with a connection may take, everything that is tried again included.
const WORK: Duration = Duration::from_secs(30);
/// How long a look at everything there is may take: a backup goes at the pace of what it is written to.
pub(super) const LONG: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a connection may take to show that it lives.
const PING: Duration = Duration::from_secs(3);

/// A pool of connections, and as many places on blocking threads.
pub(super) struct Readers<M: ManageConnection> {
    /// Taken when it is dropped.
    pool: Option<Pool<M>>,
    places: Arc<Semaphore>,
    size: usize,
    waiting: AtomicUsize,
}

/// A connection may own a runtime, which must not end within another: the last handle goes on a thread of its own.
impl<M: ManageConnection> Drop for Readers<M> {
    fn drop(&mut self) {
        let pool = self.pool.take();
        std::thread::spawn(move || drop(pool));
    }
}

/// Connections that are worth having on this machine.
pub(super) fn connections() -> u32 {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    u32::try_from(processors).unwrap_or(8).clamp(4, 16)
}

impl<M: ManageConnection<Connection: R2D2Connection>> Readers<M> {
    pub(super) fn new(pool: Pool<M>) -> Self {
        let places = usize::try_from(pool.max_size()).unwrap_or(1);
        Self { pool: Some(pool), places: Arc::new(Semaphore::new(places)), size: places, waiting: AtomicUsize::new(0) }
    }

    /// How many connections there may be, how many are in use, and how many questions wait for one.
    pub(super) fn load(&self) -> (usize, usize, usize) {
        (self.size, self.size.saturating_sub(self.places.available_permits()), self.waiting.load(Ordering::Relaxed))
    }

    /// Runs `work` with a connection where blocking is allowed. It ends even when the caller no longer waits.
    pub(super) async fn with<T: Send + 'static>(&self, work: impl FnOnce(&Pool<M>) -> Result<T, CatalogError> + Send + 'static) -> Result<T, CatalogError> {
        self.with_time(WORK, work).await
    }

    /// The same for work that may take another time.
    pub(super) async fn with_time<T: Send + 'static>(
        &self,
        time: Duration,
        work: impl FnOnce(&Pool<M>) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let waiting = Waiting::new(&self.waiting);
        let place = tokio::time::timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| CatalogError::unavailable("all connections to the catalog are busy"))?.map_err(CatalogError::internal)?;
        drop(waiting);
        let pool = self.pool.clone().ok_or_else(|| CatalogError::unavailable("the catalog is closed"))?;
        let work = tokio::task::spawn_blocking(move || {
            let result = within(time, || work(&pool));
            drop(place);
            result
        });
        work.await.map_err(CatalogError::internal)?
    }

    /// Runs a question; once more when its connection turns out to be gone.
    pub(super) async fn run<T: Send + 'static>(&self, query: impl Fn(&mut M::Connection) -> QueryResult<T> + Send + 'static) -> Result<T, CatalogError> {
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
pub(super) fn living<M: ManageConnection<Connection: R2D2Connection>>(pool: &Pool<M>) -> Result<PooledConnection<M>, CatalogError> {
    for _ in 0..=2 * pool.max_size() {
        if left().is_zero() {
            break;
        }
        let mut connection = pool.get_timeout(left().min(pool.connection_timeout())).map_err(CatalogError::unavailable)?;
        if within(PING, || connection.ping()).is_ok() {
            return Ok(connection);
        }
    }
    Err(CatalogError::unavailable("no connection to the catalog answers"))
}
