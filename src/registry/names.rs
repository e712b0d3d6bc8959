//! Lists of all packages: an index whose records are names.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{ALL_PACKAGES, Action, Kind, Records, Result, VersionRecord};

use crate::registry::Repo;
use crate::registry::reader::Reader;

/// Names of packages that are read at once.
const NAMES: usize = 10_000;

impl Reader {
    /// The names of all packages.
    pub(crate) async fn hosted_names(&self, repo: &Arc<Repo>, at: Option<u64>) -> Result<Records> {
        let mut names = Records { package: ALL_PACKAGES.to_owned(), ..Records::default() };
        let mut after = None;
        loop {
            let page = self.engine.catalog.packages(repo.id(), after, NAMES, at).await?;
            let is_last = page.len() < NAMES;
            after = page.last().map(|package| package.name.clone());
            names.versions.extend(page.into_iter().map(|package| VersionRecord { version: package.name, published: None, bytes: Bytes::new() }));
            if is_last {
                return Ok(names);
            }
        }
    }

    /// A list of packages as the caller may see it: without those of hosted repositories that are hidden from it. What an upstream lists is
    /// no secret of ours.
    pub(crate) async fn without_hidden(&self, repo: &Arc<Repo>, records: Arc<Records>, kind: &'static str) -> Result<Arc<Records>> {
        let mut hidden = HashSet::new();
        for member in self.readable(repo, None).await?.into_iter().filter(|member| member.kind() == Kind::Hosted) {
            let Some(stamp) = self.hosted_stamp(&member, ALL_PACKAGES).await? else { continue };
            let Some(names) = Box::pin(self.records_at(&member, ALL_PACKAGES, kind, stamp)).await? else { continue };
            for record in &names.versions {
                if !self.engine.access.decide(&self.caller, Action::Read, &member.target(Some(&record.version))).await?.allowed {
                    hidden.insert(record.version.clone());
                }
            }
        }
        if hidden.is_empty() {
            return Ok(records);
        }
        let mut seen = Records::clone(&records);
        seen.versions.retain(|record| !hidden.contains(&record.version));
        Ok(Arc::new(seen))
    }
}

/// Of a list of packages those that may come from a member.
pub(crate) fn names_of(group: &Repo, member: &Repo, records: &Arc<Records>) -> Arc<Records> {
    let leaves: Vec<_> = group.leaves.iter().filter(|leaf| leaf.repo.id() == member.id()).collect();
    let admits = |name: &str| group.rules.admits(name) && leaves.iter().any(|leaf| leaf.rules.iter().all(|rules| rules.admits(name)));
    if records.versions.iter().all(|record| admits(&record.version)) {
        return Arc::clone(records);
    }
    let mut admitted = Records::clone(records);
    admitted.versions.retain(|record| admits(&record.version));
    Arc::new(admitted)
}
