//! The file of `[artifactapi]` while the server runs: a changed one is taken over, a broken one is not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use entrepot_kit::{Error, Result};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::registry::Engine;
use crate::registry::reconcile::{DeclaredSystem, Wanted, reconcile};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Reads all declared repositories anew, the remotes of the file among them.
pub type Read = dyn Fn() -> Result<Vec<Wanted>, Vec<String>> + Send + Sync;

/// The file, and how it is read.
pub struct Remotes {
    /// Where it is.
    pub file: PathBuf,
    /// Reads it. Runs where blocking is allowed.
    pub read: Box<Read>,
}

/// What tells that it changed: its length and time.
type Look = Option<(u64, SystemTime)>;

/// Watches the file.
pub struct Watch {
    remotes: Remotes,
    engine: Arc<Engine>,
    systems: Vec<DeclaredSystem>,
    seen: Mutex<Look>,
    asked: Notify,
}

impl Remotes {
    /// How the file looks now. It is looked at before it is read: what changes meanwhile is read once more.
    #[must_use]
    pub fn look(&self) -> Look {
        let found = std::fs::metadata(&self.file).ok()?;
        Some((found.len(), found.modified().ok()?))
    }
}

impl Watch {
    pub(super) fn new(remotes: Remotes, seen: Look, engine: Arc<Engine>, systems: Vec<DeclaredSystem>) -> Arc<Self> {
        Arc::new(Self { remotes, engine, systems, seen: Mutex::new(seen), asked: Notify::new() })
    }

    /// Has the file read again, changed or not.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    /// Looks at the file every two seconds. Runs until the process ends.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let asked = tokio::time::timeout(LOOK, self.asked.notified()).await.is_ok();
            let watch = Arc::clone(&self);
            let file = self.remotes.file.display();
            match tokio::task::spawn_blocking(move || watch.read_again(asked)).await {
                Ok(None) => {}
                Ok(Some(Err(problems))) => {
                    for problem in problems {
                        tracing::error!(problem, "the file of remotes was changed and cannot be used: what it said before still counts");
                    }
                }
                Ok(Some(Ok(repositories))) => match self.take_over(&repositories).await {
                    Ok(()) => tracing::info!(%file, repositories = repositories.len(), "the file of remotes was read again and counts from now on"),
                    Err(error) => {
                        tracing::error!(%error, cause = ?std::error::Error::source(&error), "the file of remotes was changed and could not be taken over");
                        if error.status().is_server_error() {
                            // The catalog may be there again next time.
                            *self.seen.lock() = None;
                        }
                    }
                },
                Err(cause) => tracing::error!(%cause, "the file of remotes could not be looked at"),
            }
        }
    }

    fn read_again(&self, asked: bool) -> Option<Result<Vec<Wanted>, Vec<String>>> {
        let look = self.remotes.look();
        if std::mem::replace(&mut *self.seen.lock(), look) == look && !asked {
            return None;
        }
        Some((self.remotes.read)())
    }

    async fn take_over(&self, repositories: &[Wanted]) -> Result<(), Error> {
        reconcile(&self.engine.catalog, &self.systems, repositories, self.engine.now()).await?;
        self.engine.reload().await?;
        self.engine.access.refresh().await
    }
}
