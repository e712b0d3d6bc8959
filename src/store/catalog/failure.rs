//! What can go wrong inside a query, before it is known what that means for the caller.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::store::model::CatalogError;

pub(super) type QueryResult<T> = Result<T, QueryError>;

/// The outcome of a query that did not do what it should.
#[derive(Debug)]
pub(super) enum QueryError {
    /// A verdict, to be passed on as it is.
    Verdict(CatalogError),
    /// What the database said.
    Database(DieselError),
}

impl QueryError {
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::Verdict(CatalogError::Conflict(message.into()))
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::Verdict(CatalogError::NotFound(message.into()))
    }

    /// A stored value that cannot be read back.
    pub(super) fn damaged(what: &str, cause: impl std::fmt::Display) -> Self {
        Self::Verdict(CatalogError::internal(format!("the catalog holds a malformed {what}: {cause}")))
    }

    /// Whether the same transaction is expected to succeed when it is run again.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Database(DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _)) => true,
            Self::Database(DieselError::DatabaseError(_, information)) => information.message().contains("deadlock detected"),
            _ => false,
        }
    }

    /// Whether the connection is gone: nothing of the transaction was applied, unless it broke while it was being committed.
    pub(super) fn is_disconnected(&self) -> bool {
        matches!(self, Self::Database(error) if disconnected(error))
    }
}

fn disconnected(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _) | DieselError::BrokenTransactionManager => true,
        DieselError::DatabaseError(_, information) => says(information.message(), &GONE),
        DieselError::RollbackErrorOnCommit { commit_error, .. } => disconnected(commit_error),
        _ => false,
    }
}

/// What a database says whose connection is gone, or that is about to end it.
const GONE: [&str; 4] = ["connection closed", "terminating connection", "error communicating with the server", "is shutting down"];
/// What a database says that can do it later: busy, starting, or no longer the one that takes changes.
const BUSY: [&str; 8] = [
    "database is locked",
    "disk I/O error",
    "statement timeout",
    "lock timeout",
    "too many connections",
    "is starting up",
    "in recovery mode",
    "in a read-only transaction",
];
/// What a database says whose disk is full.
const FULL: [&str; 2] = ["database or disk is full", "No space left on device"];

fn says(text: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| text.contains(part))
}

impl From<DieselError> for QueryError {
    fn from(error: DieselError) -> Self {
        Self::Database(error)
    }
}

impl From<QueryError> for CatalogError {
    fn from(error: QueryError) -> Self {
        let passing = error.is_transient() || error.is_disconnected();
        match error {
            QueryError::Verdict(verdict) => verdict,
            QueryError::Database(error) => {
                let text = error.to_string();
                // PostgreSQL takes no NUL in a text, which SQLite takes for a text like any other: nothing that is stored has one.
                if text.contains("invalid byte sequence") {
                    return Self::NotFound(String::from("there is nothing with a NUL character in its name"));
                }
                if says(&text, &FULL) {
                    Self::full(error)
                } else if passing || says(&text, &BUSY) {
                    Self::unavailable(error)
                } else {
                    Self::internal(error)
                }
            }
        }
    }
}

/// Turns a violated unique index into a verdict.
pub(super) fn taken<T>(result: diesel::QueryResult<T>, message: impl FnOnce() -> String) -> QueryResult<T> {
    match result {
        Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Err(QueryError::conflict(message())),
        other => Ok(other?),
    }
}
