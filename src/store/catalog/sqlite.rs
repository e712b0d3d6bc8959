//! The catalog on SQLite: one writer thread that commits whatever waits together, and a pool of connections that can only read.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use diesel::connection::{AnsiTransactionManager, SimpleConnection as _, TransactionManager as _};
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use tokio::sync::{mpsc, oneshot};

use super::Load;
use super::failure::{QueryError, QueryResult};
use super::reading::{LONG, Readers, connections, living};
use super::tables::Table;
use crate::store::model::CatalogError;

#[path = "queries/mod.rs"]
pub(super) mod queries;

pub(super) type Conn = SqliteConnection;
pub(super) type Backend = diesel::sqlite::Sqlite;

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Writes that may wait. Whoever comes then waits for a place.
const QUEUE: usize = 1024;
/// Writes that share one COMMIT.
const BATCH: usize = 128;
/// How long a write waits for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(15);
/// Locks a repository against other writers: nothing to do, there is one writer.
macro_rules! for_change {
    ($query:expr) => {
        $query
    };
}
pub(super) use for_change;

/// What a transaction says that reads everything as of one moment. Nothing: its first look fixes the moment.
pub(super) const SNAPSHOT: &str = "SELECT 1";
/// How text is put into the order of bytes: it always is.
pub(super) const BYTEWISE: &str = "";

/// The highest number that a table ever gave a row.
pub(super) fn highest(connection: &mut Conn, table: &Table) -> QueryResult<i64> {
    let query = diesel::sql_query("SELECT seq AS number FROM sqlite_sequence WHERE name = $1").bind::<diesel::sql_types::Text, _>(table.name);
    let row: Option<Number> = query.get_result(connection).optional()?;
    Ok(row.map_or(0, |row| row.number))
}

/// Numbers the next rows of a table behind this.
pub(super) fn continue_behind(connection: &mut Conn, table: &Table, number: i64) -> QueryResult<()> {
    use diesel::sql_types::{BigInt, Text};
    let update = diesel::sql_query("UPDATE sqlite_sequence SET seq = max(seq, $1) WHERE name = $2");
    if update.bind::<BigInt, _>(number).bind::<Text, _>(table.name).execute(connection)? == 0 {
        let insert = diesel::sql_query("INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)");
        insert.bind::<Text, _>(table.name).bind::<BigInt, _>(number).execute(connection)?;
    }
    Ok(())
}

/// References that lead nowhere.
pub(super) fn broken_references(connection: &mut Conn) -> QueryResult<u64> {
    let row: Number = diesel::sql_query("SELECT count(*) AS number FROM pragma_foreign_key_check").get_result(connection)?;
    Ok(super::convert::from_column(row.number))
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    number: i64,
}

/// A change on its way, whatever it gives back.
trait Write: Send {
    /// Runs it and keeps its outcome.
    fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), CatalogError>;
    /// Sends the outcome, or why there is none.
    fn answer(self: Box<Self>, failure: Option<&CatalogError>);
}

struct Pending<T, F> {
    change: F,
    outcome: Option<Result<T, CatalogError>>,
    sender: oneshot::Sender<Result<T, CatalogError>>,
}

impl<T: Send, F: Fn(&mut Conn) -> QueryResult<T> + Send> Write for Pending<T, F> {
    fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), CatalogError> {
        let outcome = self.outcome.insert((self.change)(connection).map_err(CatalogError::from));
        outcome.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn answer(self: Box<Self>, failure: Option<&CatalogError>) {
        let outcome = match failure {
            Some(failure) => Err(failure.clone()),
            None => self.outcome.unwrap_or_else(|| Err(writer_failed())),
        };
        // Nobody listens any more when the caller went away; the change happened all the same.
        let _ = self.sender.send(outcome);
    }
}

enum Job {
    /// Part of a batch.
    Write(Box<dyn Write>),
    /// `PRAGMA data_version` of the writer's connection: it changes when others write, and only then.
    DataVersion(oneshot::Sender<diesel::QueryResult<i64>>),
}

/// The database.
pub(super) struct Database {
    readers: Readers<ConnectionManager<Conn>>,
    writer: mpsc::Sender<Job>,
}

impl Database {
    /// Opens or makes the file, brings its schema up to date and starts the writer.
    pub(super) fn open(file: &Path) -> Result<Self, CatalogError> {
        let url = file.to_str().ok_or_else(|| CatalogError::internal(format!("the path {} is not UTF-8", file.display())))?.to_owned();
        let mut connection = connect(&url).map_err(|error| CatalogError::unavailable(format!("{}: {error}", file.display())))?;
        connection
            .immediate_transaction(|connection| connection.run_pending_migrations(MIGRATIONS).map(|_| ()).map_err(|cause| Failure(cause.to_string())))
            .map_err(|Failure(cause)| CatalogError::internal(format!("the schema of {} cannot be brought up to date: {cause}", file.display())))?;
        let pool = Pool::builder()
            .max_size(connections())
            .min_idle(Some(1))
            .test_on_check_out(false)
            .connection_timeout(Duration::from_secs(10))
            .connection_customizer(Box::new(ReadOnly))
            .build(ConnectionManager::new(&url))
            .map_err(CatalogError::unavailable)?;
        let (writer, jobs) = mpsc::channel(QUEUE);
        std::thread::Builder::new().name(String::from("catalog-writer")).spawn(move || write_all(connection, &url, jobs)).map_err(CatalogError::unavailable)?;
        Ok(Self { readers: Readers::new(pool), writer })
    }

    /// Runs a question on a connection that can only read.
    pub(super) async fn read<T: Send + 'static>(&self, query: impl Fn(&mut Conn) -> QueryResult<T> + Send + 'static) -> Result<T, CatalogError> {
        self.readers.run(query).await
    }

    /// Runs a long question in one transaction.
    pub(super) async fn read_at_once<T: Send + 'static>(&self, query: impl FnOnce(&mut Conn) -> QueryResult<T> + Send + 'static) -> Result<T, CatalogError> {
        self.readers.with_time(LONG, move |pool| Ok((*living(pool)?).transaction(query)?)).await
    }

    /// Runs a change on the writer. It happens even when the caller no longer waits.
    pub(super) async fn write<T: Send + 'static>(&self, change: impl Fn(&mut Conn) -> QueryResult<T> + Send + 'static) -> Result<T, CatalogError> {
        let (sender, receiver) = oneshot::channel();
        self.enqueue(Job::Write(Box::new(Pending { change, outcome: None, sender }))).await?;
        receiver.await.map_err(|_| writer_failed())?
    }

    /// A number that changes when another process writes to the file.
    pub(super) async fn data_version(&self) -> Result<i64, CatalogError> {
        let (sender, receiver) = oneshot::channel();
        self.enqueue(Job::DataVersion(sender)).await?;
        receiver.await.map_err(|_| writer_failed())?.map_err(|error| QueryError::from(error).into())
    }

    /// What it has to do at the moment.
    pub(super) fn load(&self) -> Load {
        let (connections, used, waiting) = self.readers.load();
        Load { connections, used, waiting, writes_waiting: self.writer.max_capacity() - self.writer.capacity() }
    }

    async fn enqueue(&self, job: Job) -> Result<(), CatalogError> {
        match self.writer.send_timeout(job, PATIENCE).await {
            Ok(()) => Ok(()),
            Err(_) => Err(CatalogError::unavailable("too many writes wait for the disk")),
        }
    }
}

/// An error of the migrations as a plain one.
struct Failure(String);

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Self(error.to_string())
    }
}

fn writer_failed() -> CatalogError {
    CatalogError::internal("a write to the catalog was aborted")
}

/// A connection that may write. Acknowledged commits survive a power failure: `synchronous = FULL`.
fn connect(url: &str) -> Result<SqliteConnection, Box<dyn std::error::Error + Send + Sync>> {
    let mut connection = SqliteConnection::establish(url)?;
    connection.batch_execute(
        "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -8192;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

/// Makes a pooled connection unable to write: a request that is aborted can never leave a write lock behind.
#[derive(Debug)]
struct ReadOnly;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for ReadOnly {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        connection
            .batch_execute("PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;")
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

/// The writer's thread: takes what waits, runs it in one transaction, answers after the COMMIT.
fn write_all(mut connection: SqliteConnection, url: &str, mut jobs: mpsc::Receiver<Job>) {
    let mut waiting = Vec::with_capacity(BATCH);
    while jobs.blocking_recv_many(&mut waiting, BATCH) > 0 {
        let batch = std::mem::take(&mut waiting);
        // A panic in a query must not end all writing: the transaction dies with its connection, and the callers learn it.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| write_batch(&mut connection, batch)));
        if outcome.is_err() || AnsiTransactionManager::is_broken_transaction_manager(&mut connection) {
            tracing::error!(panicked = outcome.is_err(), "a write to the catalog broke its transaction; the writer begins anew");
            match connect(url) {
                Ok(fresh) => connection = fresh,
                Err(error) => tracing::error!(error, "the catalog's writer cannot open its file again"),
            }
        }
    }
}

fn write_batch(connection: &mut SqliteConnection, batch: Vec<Job>) {
    let mut writes = Vec::with_capacity(batch.len());
    for job in batch {
        match job {
            Job::Write(work) => writes.push(work),
            Job::DataVersion(answer) => {
                let query = diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>("(SELECT data_version FROM pragma_data_version)"));
                let _ = answer.send(query.get_result(connection));
            }
        }
    }
    if writes.is_empty() {
        return;
    }
    let failure = run_together(connection, &mut writes).err();
    for write in writes {
        write.answer(failure.as_ref());
    }
}

/// Runs changes in one transaction. Where that cannot even begin (the file is locked, the disk is full), or not end, nobody's change happened.
fn run_together(connection: &mut SqliteConnection, writes: &mut [Box<dyn Write>]) -> Result<(), CatalogError> {
    begin(connection)?;
    // A change that fails must take nothing of its neighbours with it. That is what savepoints are for, but within one SQLite keeps a copy of
    // every page before it changes it: so all are run without, and only when one fails all are undone and run again, each by itself.
    if let Some(failure) = writes.iter_mut().find_map(|write| write.run(connection).err()) {
        // After some errors SQLite has undone everything already, and says so.
        if AnsiTransactionManager::rollback_transaction(connection).is_err() {
            return Err(failure);
        }
        if writes.len() == 1 {
            return Ok(());
        }
        begin(connection)?;
        for write in writes {
            match connection.transaction(|connection| write.run(connection).map_err(|_| diesel::result::Error::RollbackTransaction)) {
                Ok(()) | Err(diesel::result::Error::RollbackTransaction) => {}
                Err(error) => {
                    // It may be undone already, here too; a connection that is in doubt is not used again.
                    let _ = AnsiTransactionManager::rollback_transaction(connection);
                    return Err(QueryError::from(error).into());
                }
            }
        }
    }
    AnsiTransactionManager::commit_transaction(connection).map_err(|error| QueryError::from(error).into())
}

fn begin(connection: &mut SqliteConnection) -> Result<(), CatalogError> {
    AnsiTransactionManager::begin_transaction_sql(connection, "BEGIN IMMEDIATE").map_err(|error| QueryError::from(error).into())
}
