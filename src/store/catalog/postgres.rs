//! The catalog on PostgreSQL: every change in a transaction of its own, behind the lock of its repository's row.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, ManageConnection, Pool};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::Load;
use super::failure::{QueryError, QueryResult};
use super::patience::{Patient, left};
use super::reading::{LONG, Readers, connections, living};
use super::tables::Table;
use crate::store::model::CatalogError;

#[path = "queries/mod.rs"]
pub(super) mod queries;

/// A synchronous face of a connection that speaks PostgreSQL's protocol itself (no libpq) and that never waits for ever.
pub(super) type Conn = AsyncConnectionWrapper<AsyncPgConnection, Patient>;
/// The same, with all the time that a change of the schema may take.
type MigratingConn = AsyncConnectionWrapper<AsyncPgConnection>;
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
    connections: Readers<Connector>,
}

impl Database {
    /// Connects and brings the schema up to date. Blocks, and must run where that is allowed.
    pub(super) fn open(url: &str) -> Result<Self, CatalogError> {
        let url = with_defaults(url);
        let mut connection = MigratingConn::establish(&url).map_err(CatalogError::unavailable)?;
        connection
            .transaction(|connection| {
                // Replicas that start together take turns.
                diesel::sql_query("SELECT pg_advisory_xact_lock($1)").bind::<diesel::sql_types::BigInt, _>(MIGRATION_LOCK).execute(connection)?;
                connection.run_pending_migrations(MIGRATIONS).map(|_| ()).map_err(|cause| Failure(cause.to_string()))
            })
            .map_err(|Failure(cause)| CatalogError::internal(format!("the schema of the database cannot be brought up to date: {cause}")))?;
        let pool = Pool::builder()
            .max_size(connections())
            .min_idle(Some(1))
            .test_on_check_out(false)
            .connection_timeout(Duration::from_secs(10))
            .connection_customizer(Box::new(Limits))
            .build_unchecked(Connector(ConnectionManager::new(url)));
        Ok(Self { connections: Readers::new(pool) })
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

    /// Runs a long question in one transaction.
    pub(super) async fn read_at_once<T: Send + 'static>(&self, query: impl FnOnce(&mut Conn) -> QueryResult<T> + Send + 'static) -> Result<T, CatalogError> {
        self.connections.with_time(LONG, move |pool| Ok((*living(pool)?).transaction(query)?)).await
    }

    /// Runs a change in a transaction, again when another transaction stood in its way or the connection broke before it was
    /// committed. It happens even when the caller no longer waits.
    pub(super) async fn write<T: Send + 'static>(&self, change: impl Fn(&mut Conn) -> QueryResult<T> + Send + 'static) -> Result<T, CatalogError> {
        self.connections
            .with(move |pool| {
                let mut attempt = 1;
                loop {
                    let mut done = None;
                    let result = living(pool)?.transaction(|connection| {
                        let value = change(connection)?;
                        // What to ask for when the answer to the COMMIT is lost.
                        let number = diesel::select(diesel::dsl::sql::<Nullable<BigInt>>("txid_current_if_assigned()")).get_result(connection)?;
                        done = Some((value, number));
                        Ok::<_, QueryError>(())
                    });
                    let error = match (result, done) {
                        (Ok(()), Some((value, _))) => return Ok(value),
                        (Ok(()), None) => return Err(CatalogError::internal("a transaction ended without a result")),
                        (Err(error), Some((value, Some(number)))) if error.is_disconnected() => match outcome(pool, number)? {
                            Outcome::Committed => return Ok(value),
                            Outcome::Aborted => error,
                            Outcome::Unknown => return Err(error.into()),
                        },
                        (Err(error), _) => error,
                    };
                    if attempt >= ATTEMPTS || left().is_zero() || !(error.is_transient() || error.is_disconnected()) {
                        return Err(error.into());
                    }
                    std::thread::sleep(Duration::from_millis(3 * attempt));
                    attempt += 1;
                }
            })
            .await
    }
}

/// What became of a transaction.
enum Outcome {
    Committed,
    Aborted,
    /// The server does not know any more, or not in time.
    Unknown,
}

/// Asks for a transaction whose COMMIT got no answer, as long as there is time.
fn outcome(pool: &Pool<Connector>, number: i64) -> Result<Outcome, CatalogError> {
    let mut pause = Duration::from_millis(10);
    while !left().is_zero() {
        let question = diesel::select(diesel::dsl::sql::<Nullable<Text>>("txid_status(").bind::<BigInt, _>(number).sql(")"));
        let answer: Result<Option<String>, QueryError> = question.get_result(&mut *living(pool)?).map_err(QueryError::from);
        match answer {
            Ok(Some(status)) if status == "committed" => return Ok(Outcome::Committed),
            Ok(Some(status)) if status == "aborted" => return Ok(Outcome::Aborted),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Outcome::Unknown),
            Err(error) if error.is_disconnected() => {}
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(pause.min(left()));
        pause = (pause * 2).min(Duration::from_millis(500));
    }
    Ok(Outcome::Unknown)
}

/// Makes the pool's connections. A panic in the making of one (no more files can be opened) must not take its place in the pool for ever.
struct Connector(ConnectionManager<Conn>);

impl ManageConnection for Connector {
    type Connection = Conn;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Conn, Self::Error> {
        std::panic::catch_unwind(AssertUnwindSafe(|| self.0.connect())).unwrap_or_else(|_| {
            let reason = String::from("a connection to the database could not be made");
            Err(diesel::r2d2::Error::ConnectionError(diesel::ConnectionError::BadConnection(reason)))
        })
    }

    fn is_valid(&self, connection: &mut Conn) -> Result<(), Self::Error> {
        self.0.is_valid(connection)
    }

    fn has_broken(&self, connection: &mut Conn) -> bool {
        self.0.has_broken(connection)
    }
}

/// Adds to a connection's address what finds out that the network or the server is gone, unless it says something else itself.
fn with_defaults(url: &str) -> String {
    const DEFAULTS: [(&str, &str); 5] =
        [("connect_timeout", "5"), ("tcp_user_timeout", "20"), ("keepalives_idle", "15"), ("keepalives_interval", "5"), ("keepalives_retries", "3")];
    let mut whole = url.to_owned();
    for (name, value) in DEFAULTS {
        let separator = match (url.contains("://"), whole.contains('?')) {
            (true, true) => '&',
            (true, false) => '?',
            (false, _) => ' ',
        };
        if !url.contains(&format!("{name}=")) {
            whole.push(separator);
            whole.push_str(&format!("{name}={value}"));
        }
    }
    whole
}

/// An error of the migrations as a plain one.
struct Failure(String);

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Self(error.to_string())
    }
}

/// Bounds what a statement may cost, whatever the server's own settings say: a little less than we wait, so that the server gives up first
/// and says why.
#[derive(Debug)]
struct Limits;

impl CustomizeConnection<Conn, diesel::r2d2::Error> for Limits {
    fn on_acquire(&self, connection: &mut Conn) -> Result<(), diesel::r2d2::Error> {
        connection
            .batch_execute("SET statement_timeout = '25s'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '30s'")
            .map_err(diesel::r2d2::Error::QueryError)
    }
}
