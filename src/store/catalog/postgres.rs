//! The catalog on PostgreSQL: every change in a transaction of its own, behind the lock of its repository's row.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::failure::QueryResult;
use super::reading::{Readers, living};
use super::tables::Table;
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

/// What a transaction says that reads everything as of one moment, however long that takes.
pub(super) const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0";
/// How text is put into the order of bytes.
pub(super) const BYTEWISE: &str = " COLLATE \"C\"";

/// The highest number that a table ever gave a row.
pub(super) fn highest(connection: &mut Conn, table: &Table) -> QueryResult<i64> {
    let query = diesel::sql_query("SELECT COALESCE(pg_sequence_last_value(pg_get_serial_sequence($1, 'id')::regclass), 0) AS number");
    Ok(query.bind::<diesel::sql_types::Text, _>(table.name).get_result::<Number>(connection)?.number)
}

/// Numbers the next rows of a table behind this, and behind the rows that it has.
pub(super) fn continue_behind(connection: &mut Conn, table: &Table, number: i64) -> QueryResult<()> {
    use diesel::sql_types::{BigInt, Text};
    let text = format!(
        "SELECT setval(pg_get_serial_sequence($1, 'id'), GREATEST(high, 1), high > 0) AS number FROM
         (SELECT GREATEST($2, (SELECT max(id) FROM \"{}\")) AS high) AS highest",
        table.name
    );
    let _: Number = diesel::sql_query(text).bind::<Text, _>(table.name).bind::<BigInt, _>(number).get_result(connection)?;
    Ok(())
}

/// References that lead nowhere: the database never lets one in.
#[expect(clippy::unnecessary_wraps, reason = "its twin for SQLite asks")]
pub(super) fn broken_references(_: &mut Conn) -> QueryResult<u64> {
    Ok(0)
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    number: i64,
}

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

    /// Runs a question.
    pub(super) async fn read<T: Send + 'static>(&self, query: impl Fn(&mut Conn) -> QueryResult<T> + Send + 'static) -> Result<T, CatalogError> {
        self.connections.run(query).await
    }

    /// Runs a long question in one transaction.
    pub(super) async fn read_at_once<T: Send + 'static>(&self, query: impl FnOnce(&mut Conn) -> QueryResult<T> + Send + 'static) -> Result<T, CatalogError> {
        self.connections.with(move |pool| Ok((*living(pool)?).transaction(query)?)).await
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
