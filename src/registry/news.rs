//! What replicas tell each other: hints that make them look into the catalog sooner than they would have.
//!
//! Nothing depends on news. They may be lost, late, told twice or be wrong: whoever hears one forgets something that it can read again, or asks
//! the catalog, which alone says what is. How they travel is not known here.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::metrics::Metrics;

/// Repositories whose heads one look asks for: more than are told between two looks.
const MOST_HEARD: usize = 1000;

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A repository, by its number, has a newer revision.
    Head(i64),
    /// Systems, repositories, principals, tokens or policies: their counter.
    Epoch(u64),
    /// What is known of a path of a repository's upstream.
    Upstream(i64, String),
}

/// Where they are told and heard. One per engine.
#[derive(Default)]
pub struct Board {
    teller: OnceLock<mpsc::Sender<News>>,
    /// The highest epoch that was told or heard, so that nobody repeats what it heard.
    epoch: AtomicU64,
    /// Repositories that somebody else changed.
    heard: Mutex<HashSet<i64>>,
    wake: Notify,
}

impl Board {
    /// Tells everything to somebody who carries it on, from now on.
    pub(crate) fn tell_to(&self, teller: mpsc::Sender<News>) {
        // Once per process.
        let _ = self.teller.set(teller);
    }

    /// Tells, unless nobody listens or too much waits to be told.
    pub(crate) fn tell(&self, metrics: &Metrics, news: News) {
        let Some(teller) = self.teller.get() else { return };
        if let News::Epoch(epoch) = news
            && self.epoch.fetch_max(epoch, Ordering::AcqRel) >= epoch
        {
            return;
        }
        let told = teller.try_send(news).is_ok();
        metrics.news(if told { "told" } else { "dropped" });
    }

    /// Notes that a repository changed, and has the catalog asked for it.
    pub(crate) fn hear_of(&self, repository: i64) {
        let mut heard = self.heard.lock();
        if heard.len() < MOST_HEARD {
            heard.insert(repository);
        }
        drop(heard);
        self.wake.notify_one();
    }

    /// Notes that the counter moved; `known` is where it stands here.
    pub(crate) fn hear_epoch(&self, epoch: u64, known: u64) {
        // A number out of thin air must not keep us from telling the next true ones.
        if epoch == known + 1 {
            self.epoch.fetch_max(epoch, Ordering::AcqRel);
        }
        if epoch > known {
            self.wake.notify_one();
        }
    }

    /// Waits until something was heard, or what was heard is not yet looked at.
    pub(crate) async fn news(&self) {
        self.wake.notified().await;
    }

    /// The repositories that were heard of since the last call.
    pub(crate) fn take_heard(&self) -> Vec<i64> {
        self.heard.lock().drain().collect()
    }
}

impl super::Engine {
    /// The newest revision of a repository, which this process just committed.
    pub fn committed(&self, repo: &super::Repo, revision: u64) {
        repo.advance(revision);
        self.board.tell(&self.metrics, News::Head(repo.id()));
        self.purge(repo, revision);
    }

    /// Takes news from another replica, as a hint.
    pub fn hear(&self, news: News) {
        self.metrics.news("heard");
        match news {
            News::Head(repository) => self.board.hear_of(repository),
            News::Epoch(epoch) => self.board.hear_epoch(epoch, self.table_epoch.load(Ordering::Acquire)),
            News::Upstream(repository, path) => self.cache.upstream.invalidate(&(repository, path)),
        }
    }

    /// Has everything told that this replica changes.
    pub fn tell_to(&self, teller: mpsc::Sender<News>) {
        self.board.tell_to(teller);
    }

    /// Looks which revisions the repositories have that were heard of. The catalog says it, not the news.
    pub(super) async fn look_at_heard(&self) -> entrepot_kit::Result<()> {
        let heard = self.board.take_heard();
        if heard.is_empty() {
            return Ok(());
        }
        let table = self.table();
        let (_, heads) = self.catalog.heads(heard).await?;
        for (id, head) in heads {
            if let Some(repo) = table.iter().find(|repo| repo.id() == id)
                && repo.head() < head
            {
                repo.advance(head);
                self.metrics.news("early");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::{Board, MOST_HEARD, News};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn what_was_heard_is_not_told_again_and_nothing_grows_without_bounds() {
        let (board, metrics) = (Board::default(), Metrics::new(entrepot_kit::Timestamp(0)));
        board.tell(&metrics, News::Head(1));
        let (sender, mut told) = mpsc::channel(2);
        board.tell_to(sender);
        board.hear_epoch(7, 6);
        for epoch in [6, 7, 8, 8] {
            board.tell(&metrics, News::Epoch(epoch));
        }
        for number in 0..3 {
            board.tell(&metrics, News::Head(number));
        }
        assert_eq!((told.recv().await, told.recv().await), (Some(News::Epoch(8)), Some(News::Head(0))), "the rest found no room");
        assert!(told.try_recv().is_err());
        board.hear_epoch(u64::MAX, 8);
        board.tell(&metrics, News::Epoch(9));
        assert_eq!(told.recv().await, Some(News::Epoch(9)));
        (0..2 * MOST_HEARD as i64).for_each(|number| board.hear_of(number));
        board.news().await;
        assert_eq!(board.take_heard().len(), MOST_HEARD);
        assert!(board.take_heard().is_empty());
    }
}
