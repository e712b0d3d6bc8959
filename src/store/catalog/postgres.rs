//! The catalog on PostgreSQL: every change in a transaction of its own, behind the lock of its repository's row.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::Load;
use super::failure::QueryResult;
use super::reading::{Readers, living};
use crate::store::model::CatalogError;

#[path = "queries/mod.rs"]
pub(super) mod queries;

/// A synchronous face of a connection that speaks PostgreSQL's protocol itself: no libpq.
pub(super) type Conn = AsyncConnectionWrapper<AsyncPgConnection>;
pub(super) type Backend = diesel::pg::Pg;

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Runs of a change whose transaction lost against another one.
const ATTEMPTS: u64 = 8;
/// The key of the advisory lock under which one replica changes the schema.
const MIGRATION_LOCK: i64 = 0x656e_7472_6570_6f74;

/// Locks the rows of a query against other writers; references to them stay possible.
macro_rules! for_change {
    ($query:expr) => {
        $query.for_no_key_update()
    };
}
pub(super) use for_change;

/// The database.
pub(super) struct Database {
    connections: Readers<Conn>,
}

impl Database {
    /// Connects and brings the schema up to date. Blocks, and must run where that is allowed.
    pub(super) fn open(url: &str) -> Result<Self, CatalogError> {
        let mut connection = Conn::establish(url).map_err(CatalogError::unavailable)?;
        connection
            .transaction(|connection| {
                // Replicas that start together take turns.
                diesel::sql_query("SELECT pg_advisory_xact_lock($1)").bind::<diesel::sql_types::BigInt, _>(MIGRATION_LOCK).execute(connection)?;
                connection.run_pending_migrations(MIGRATIONS).map(|_| ()).map_err(|cause| Failure(cause.to_string()))
            })
            .map_err(|Failure(cause)| CatalogError::internal(format!("the schema of the database cannot be brought up to date: {cause}")))?;
        let size = Readers::<Conn>::size();
        let pool = Pool::builder()
            .max_size(size)
            .min_idle(Some(1))
            .test_on_check_out(false)
            .connection_timeout(Duration::from_secs(10))
            .connection_customizer(Box::new(Limits))
            .build_unchecked(ConnectionManager::new(url));
        Ok(Self { connections: Readers::new(pool, size) })
    }

    /// What it has to do at the moment.
    pub(super) fn load(&self) -> Load {
        let (connections, used, waiting) = self.connections.load();
        Load { connections, used, waiting, writes_waiting: 0 }
    }

    /// Runs a question.
    pub(super) async fn read<T: Send + 'static>(&self, query: impl Fn(&mut Conn) -> QueryResult<T> + Send + 'static) -> Result<T, CatalogError> {
        self.connections.run(query).await
    }

    /// Runs a change in a transaction, again when another transaction stood in its way. It happens even when the caller no
    /// longer waits.
    pub(super) async fn write<T: Send + 'static>(&self, change: impl Fn(&mut Conn) -> QueryResult<T> + Send + 'static) -> Result<T, CatalogError> {
        self.connections
            .with(move |pool| {
                let mut attempt = 1;
                loop {
                    // A change is not run again when its connection breaks half-way: it might have been committed.
                    let result = living(pool)?.transaction(|connection| change(connection));
                    match result {
                        Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                            std::thread::sleep(Duration::from_millis(3 * attempt));
                            attempt += 1;
                        }
                        other => return Ok(other?),
                    }
                }
            })
            .await
    }
}

/// An error of the migrations as a plain one.
struct Failure(String);

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Self(error.to_string())
    }
}

/// Bounds what a statement may cost, whatever the server's own settings say.
#[derive(Debug)]
struct Limits;

impl CustomizeConnection<Conn, diesel::r2d2::Error> for Limits {
    fn on_acquire(&self, connection: &mut Conn) -> Result<(), diesel::r2d2::Error> {
        connection
            .batch_execute("SET statement_timeout = '60s'; SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '60s'")
            .map_err(diesel::r2d2::Error::QueryError)
    }
}
