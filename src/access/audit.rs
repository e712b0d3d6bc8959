//! The audit log, written in batches.
//!
//! Denials and failed sign-ins come as fast as a scanner can ask: they never wait, equal ones of a second are counted
//! instead of repeated, and what does not fit the channel is counted too. Changes are rare and must not be lost: their author waits for a place.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::store::catalog::Catalog;
use crate::store::model::AuditRow;

/// Lines that may wait.
const MOST_WAITING: usize = 2048;
/// Lines of one write.
const MOST_AT_ONCE: usize = 512;
/// How long lines are collected.
const COLLECT: Duration = Duration::from_secs(1);
/// Longest text in a column; names that clients make up can be long.
const LONGEST: usize = 512;

enum Message {
    Row(AuditRow),
    Flush(oneshot::Sender<()>),
}

/// Takes lines for the audit log.
#[derive(Clone)]
pub struct Audit {
    sender: mpsc::Sender<Message>,
    lost: Arc<AtomicU64>,
}

impl Audit {
    /// Starts the task that writes. It ends, after writing what is left, when the last clone is gone.
    pub(super) fn start(catalog: Catalog, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        tokio::spawn(write(catalog, clock, receiver, Arc::clone(&lost)));
        Self { sender, lost }
    }

    /// Records a denial or failure. Never waits; when too many come at once they are counted.
    pub fn record(&self, row: AuditRow) {
        if self.sender.try_send(Message::Row(shortened(row))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records a change, waiting for a place when many lines come.
    pub async fn record_change(&self, row: AuditRow) {
        if self.sender.send(Message::Row(shortened(row))).await.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns once everything that was recorded before is in the catalog: for a shutdown, and for whoever reads the log next.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.sender.send(Message::Flush(done)).await.is_ok() {
            // An error means that the writer ended, and it writes what it has before.
            let _ = wait.await;
        }
    }
}

async fn write(catalog: Catalog, clock: Clock, mut receiver: mpsc::Receiver<Message>, lost: Arc<AtomicU64>) {
    let mut open = true;
    while open {
        let mut rows = Vec::new();
        let mut flushed = Vec::new();
        let mut deadline = None;
        while rows.len() < MOST_AT_ONCE && flushed.is_empty() {
            let message = match deadline {
                None => receiver.recv().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, receiver.recv()).await {
                    Ok(message) => message,
                    Err(_elapsed) => break,
                },
            };
            deadline.get_or_insert_with(|| tokio::time::Instant::now() + COLLECT);
            match message {
                Some(Message::Row(row)) => rows.push(row),
                Some(Message::Flush(done)) => flushed.push(done),
                None => {
                    open = false;
                    break;
                }
            }
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            rows.push(lost_row(count, &clock));
        }
        if !rows.is_empty() {
            let rows = merged(rows);
            let count = rows.len();
            if let Err(cause) = catalog.audit(rows).await {
                tracing::error!(error = %cause, lines = count, "the audit log could not be written");
            }
        }
        for done in flushed {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
    }
}

fn lost_row(count: u64, clock: &Clock) -> AuditRow {
    AuditRow {
        time: clock(),
        principal: String::new(),
        action: String::from("audit"),
        resource: String::new(),
        outcome: String::from("failed"),
        detail: format!("{count} lines came too fast and are not recorded"),
        request_id: String::new(),
        remote: String::new(),
    }
}

/// Joins equal denials and failures into the first of them, with their number.
fn merged(rows: Vec<AuditRow>) -> Vec<AuditRow> {
    let mut kept: Vec<(AuditRow, u64)> = Vec::with_capacity(rows.len());
    let mut places = HashMap::new();
    for row in rows {
        if row.outcome == "changed" {
            kept.push((row, 1));
            continue;
        }
        let key = (row.principal.clone(), row.action.clone(), row.resource.clone(), row.outcome.clone(), row.detail.clone(), row.remote.clone());
        let place = *places.entry(key).or_insert(kept.len());
        match kept.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => kept.push((row, 1)),
        }
    }
    let counted = |(mut row, count): (AuditRow, u64)| {
        if count > 1 {
            row.detail = format!("{} ({count} times)", row.detail);
        }
        row
    };
    kept.into_iter().map(counted).collect()
}

/// A line that every catalog takes.
fn shortened(mut row: AuditRow) -> AuditRow {
    for text in [&mut row.principal, &mut row.action, &mut row.resource, &mut row.detail, &mut row.request_id, &mut row.remote] {
        if text.len() > LONGEST {
            let end = text.floor_char_boundary(LONGEST);
            text.truncate(end);
        }
        // Not every database takes it, and the other lines of the batch would be lost with this one.
        if text.contains('\0') {
            *text = text.replace('\0', "\u{fffd}");
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::{AuditRow, merged, shortened};
    use entrepot_kit::Timestamp;

    fn row(outcome: &str, resource: &str) -> AuditRow {
        let text = |text: &str| text.to_owned();
        AuditRow {
            time: Timestamp(1),
            principal: text("user:bob"),
            action: text("read"),
            resource: text(resource),
            outcome: text(outcome),
            detail: text("no rule"),
            request_id: text("1"),
            remote: text(""),
        }
    }

    #[test]
    fn equal_denials_become_one_line_and_changes_never_do() {
        let rows = merged(vec![row("denied", "a/b"), row("changed", "x"), row("denied", "a/c"), row("denied", "a/b"), row("changed", "x")]);
        let lines: Vec<_> = rows.iter().map(|row| format!("{} {} {}", row.outcome, row.resource, row.detail)).collect();
        assert_eq!(lines, ["denied a/b no rule (2 times)", "changed x no rule", "denied a/c no rule", "changed x no rule"]);
    }

    #[test]
    fn made_up_names_are_cut_between_letters() {
        assert_eq!(shortened(row("denied", &"é".repeat(1000))).resource.len(), 512);
        assert_eq!(shortened(row("denied", &format!("x{}", "é".repeat(1000)))).resource.len(), 511);
    }
}
