//! The index of everything at an upstream that has none: put together of the indexes of packages that the operator named.

use std::sync::Arc;

use entrepot_kit::{ALL_PACKAGES, Records, Result, VersionRecord, listed};
use futures::future::join_all;

use super::stamp_of;
use crate::registry::Repo;
use crate::registry::group::first_error_unless_found;
use crate::registry::reader::Reader;

/// Indexes that are asked for at the same time.
const AT_ONCE: usize = 8;

/// Whether this is such an index.
pub(super) fn is_put_together(repo: &Repo, package: &str) -> bool {
    package == ALL_PACKAGES && !repo.format.index_parts().is_empty()
}

impl Reader {
    /// The parts that there are, each with its state.
    async fn parts(&self, repo: &Arc<Repo>) -> Result<Vec<(String, Arc<str>)>> {
        let mut answers = Vec::new();
        for some in repo.format.index_parts().chunks(AT_ONCE) {
            let asked = some.iter().map(|part| async move {
                let index = self.index(repo, part).await?;
                Ok(index.and_then(|index| stamp_of(repo, &index)).map(|stamp| (part.clone(), stamp)))
            });
            answers.extend(join_all(asked).await);
        }
        // One that fails is left out for now: the others are there.
        first_error_unless_found(answers)
    }

    pub(super) async fn stamp_of_parts(&self, repo: &Arc<Repo>) -> Result<Option<Arc<str>>> {
        let parts = self.parts(repo).await?;
        let stamps: Vec<_> = parts.iter().map(|(_, stamp)| stamp.as_ref()).collect();
        Ok((!stamps.is_empty()).then(|| stamps.join("+").into()))
    }

    pub(super) async fn records_of_parts(&self, repo: &Arc<Repo>, kind: &'static str) -> Result<Option<Records>> {
        let parts = self.parts(repo).await?;
        if parts.is_empty() {
            return Ok(None);
        }
        let mut all = Records { package: ALL_PACKAGES.to_owned(), ..Records::default() };
        for (part, stamp) in parts {
            all.stamp.push_str(&stamp);
            let Some(records) = Box::pin(self.records_at(repo, &part, kind, stamp)).await? else { continue };
            let of_part = |record: &VersionRecord| VersionRecord { version: listed(&part, &record.version), ..record.clone() };
            all.versions.extend(records.versions.iter().map(of_part));
        }
        Ok(Some(all))
    }
}
