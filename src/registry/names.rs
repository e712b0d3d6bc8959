//! Lists of all packages: an index whose records are names, or names with versions.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use entrepot_kit::{ALL_PACKAGES, Action, Kind, Records, Result, VersionRecord, split_listed};

use crate::registry::group::{Admitted, admitted};
use crate::registry::reader::Reader;
use crate::registry::table::Leaf;
use crate::registry::{Engine, Repo};

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
            let mut decided = None;
            for record in &names.versions {
                let (package, _) = split_listed(&record.version);
                // Versions of one package stand together.
                if decided.replace(package) != Some(package)
                    && !self.engine.access.decide(&self.caller, Action::Read, &member.target(Some(package))).await?.allowed
                {
                    hidden.insert(package.to_owned());
                }
            }
        }
        if hidden.is_empty() {
            return Ok(records);
        }
        let mut seen = Records::clone(&records);
        seen.versions.retain(|record| !hidden.contains(split_listed(&record.version).0));
        Ok(Arc::new(seen))
    }
}

/// Of a list of packages those that may come from a member.
pub(crate) fn names_of(group: &Repo, member: &Repo, records: &Arc<Records>) -> Arc<Records> {
    let leaves: Vec<_> = group.leaves.iter().filter(|leaf| leaf.repo.id() == member.id()).collect();
    let admits = |record: &str| {
        let (name, _) = split_listed(record);
        group.rules.admits(name) && leaves.iter().any(|leaf| leaf.rules.iter().all(|rules| rules.admits(name)))
    };
    if records.versions.iter().all(|record| admits(&record.version)) {
        return Arc::clone(records);
    }
    let mut admitted = Records::clone(records);
    admitted.versions.retain(|record| admits(&record.version));
    Arc::new(admitted)
}

impl Engine {
    /// Of lists of packages with their versions what the group answers for: a member lists no versions of a package that it would not be
    /// asked for ([`Engine::candidates`]).
    pub(crate) async fn only_candidates(&self, group: &Arc<Repo>, parts: Vec<(Arc<Repo>, Arc<Records>)>) -> Result<Vec<Arc<Records>>> {
        let hosted: BTreeSet<i64> = group.leaves.iter().map(|leaf| &leaf.repo).filter(|repo| repo.kind() == Kind::Hosted).map(|repo| repo.id()).collect();
        let mut known: HashMap<i64, HashSet<String>> = HashMap::new();
        for repository in hosted {
            known.insert(repository, self.catalog.known_packages(repository).await?.into_iter().collect());
        }
        Ok(parts.into_iter().map(|(member, records)| candidates_of(group, &known, &member, records)).collect())
    }
}

/// What a member lists of the packages that it would be asked for. `known` are those of the hosted members.
fn candidates_of(group: &Repo, known: &HashMap<i64, HashSet<String>>, member: &Repo, records: Arc<Records>) -> Arc<Records> {
    let is_hosted = |leaf: &Leaf| leaf.repo.kind() == Kind::Hosted;
    let owns = |leaf: &Leaf, name: &str| known.get(&leaf.repo.id()).is_some_and(|names| names.contains(name));
    let answers = |name: &str| {
        let Admitted { leaves, decided } = admitted(group, name, true);
        let is_owned = !decided && leaves.iter().any(|leaf| owns(leaf, name));
        leaves.iter().any(|leaf| leaf.repo.id() == member.id() && (!is_owned || is_hosted(leaf)))
    };
    let mut answered: Vec<bool> = Vec::with_capacity(records.versions.len());
    let mut last: Option<&str> = None;
    for record in &records.versions {
        let (name, _) = split_listed(&record.version);
        // Versions of one package stand together.
        let before = answered.last().copied().filter(|_| last == Some(name));
        answered.push(before.unwrap_or_else(|| answers(name)));
        last = Some(name);
    }
    if !answered.contains(&false) {
        return records;
    }
    let mut fewer = Records::clone(&records);
    let mut answered = answered.into_iter();
    fewer.versions.retain(|_| answered.next().unwrap_or(false));
    Arc::new(fewer)
}
