//! The use of files: noted in memory when they are sent, and written down behind, in batches. A crash loses a minute of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use entrepot_kit::{Result, Timestamp};
use parking_lot::Mutex;

use crate::registry::Engine;
use crate::store::facts::{PathPulls, Pulls};

/// How often it is written down.
const INTERVAL: Duration = Duration::from_secs(60);
/// Paths that are noted between two writes; what is used beyond these is not noted.
const MOST: usize = 100_000;
/// Rows of one transaction.
const BATCH: usize = 500;

/// One use of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Whose it is: in a group, the member's number.
    pub repository: i64,
    /// Its path.
    pub path: String,
    /// Whether it was downloaded, in contrast to looked at.
    pub downloaded: bool,
}

/// What was noted and not yet written down.
#[derive(Default)]
pub(crate) struct Notes(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    repositories: HashMap<i64, HashMap<String, Pulls>>,
    paths: usize,
}

impl Notes {
    /// Notes that a path was asked for, and whether its file was downloaded.
    pub(crate) fn note(&self, repository: i64, path: &str, now: Timestamp, downloaded: bool) {
        self.add(repository, path, Pulls { last: now, downloads: u64::from(downloaded) });
    }

    fn add(&self, repository: i64, path: &str, pulls: Pulls) {
        let mut noted = self.0.lock();
        let Noted { repositories, paths } = &mut *noted;
        let of_repository = repositories.entry(repository).or_default();
        if let Some(known) = of_repository.get_mut(path) {
            *known = known.and(pulls);
        } else if *paths < MOST {
            of_repository.insert(path.to_owned(), pulls);
            *paths += 1;
        }
    }

    /// Takes everything, ordered.
    fn take(&self) -> Vec<PathPulls> {
        let repositories = std::mem::take(&mut *self.0.lock()).repositories;
        let rows = |(repository, paths): (i64, HashMap<String, Pulls>)| paths.into_iter().map(move |(path, pulls)| PathPulls { repository, path, pulls });
        let mut rows: Vec<_> = repositories.into_iter().flat_map(rows).collect();
        rows.sort_unstable_by(|one, other| (one.repository, &one.path).cmp(&(other.repository, &other.path)));
        rows
    }
}

impl Engine {
    /// Notes that a file was used.
    pub(crate) fn note_use(&self, used: &Use) {
        self.notes.note(used.repository, &used.path, self.now(), used.downloaded);
    }

    /// Writes down what was noted. What cannot be written now is noted again.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn write_notes(&self) -> Result<()> {
        let mut rows = self.notes.take();
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(BATCH));
            if let Err(error) = self.catalog.add_pulls(rows.clone()).await {
                for PathPulls { repository, path, pulls } in rows.into_iter().chain(rest) {
                    self.notes.add(repository, &path, pulls);
                }
                return Err(error.into());
            }
            rows = rest;
        }
        Ok(())
    }

    /// Writes down, until the process ends, what was noted.
    pub async fn keep_notes(self: Arc<Self>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(error) = self.write_notes().await {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "the use of files could not be written down; it is at the next time");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Notes};
    use entrepot_kit::Timestamp;

    #[test]
    fn what_is_noted_is_bounded_and_comes_in_order() {
        let notes = Notes::default();
        for number in 0..MOST + 10 {
            notes.note(1 + i64::from(number % 2 == 0), &format!("p{number:07}"), Timestamp(5), true);
        }
        notes.note(2, "p0000000", Timestamp(9), false);
        notes.note(2, "p0000000", Timestamp(7), true);
        let rows = notes.take();
        assert_eq!(rows.len(), MOST);
        assert!(rows.is_sorted_by_key(|row| (row.repository, row.path.clone())));
        let first = rows.iter().find(|row| row.path == "p0000000").expect("a row");
        assert_eq!((first.pulls.last, first.pulls.downloads), (Timestamp(9), 2));
        assert!(notes.take().is_empty());
    }
}
