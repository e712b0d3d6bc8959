//! Groups: the ordered union of what the caller may read of the members.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use entrepot_kit::{ALL_PACKAGES, Action, Error, File, Kind, Listing, ListingPage, Records, Result};
use futures::future::join_all;

use crate::registry::names::names_of;
use crate::registry::reader::Reader;
use crate::registry::table::Leaf;
use crate::registry::{Engine, Repo};

impl Engine {
    /// Whether a hosted repository owns a name: it has it, or once had it, so that a deletion opens no door to a stranger's
    /// package of the same name.
    async fn owns(&self, repo: &Arc<Repo>, name: &str, is_package: bool) -> Result<bool> {
        if is_package { Ok(self.catalog.package_known(repo.id(), name).await?) } else { Ok(self.stored(repo, name, None).await?.is_some()) }
    }

    /// The members that may answer for a name, before anybody's rights are looked at: those whose rules admit it; only those that
    /// reserve it where some do; only hosted ones where one of these owns it, unless a rule says `merge`.
    pub(crate) async fn candidates<'a>(&self, group: &'a Repo, name: &str, is_package: bool) -> Result<Vec<&'a Leaf>> {
        let Admitted { leaves, decided } = admitted(group, name, is_package);
        if !decided {
            for leaf in leaves.iter().filter(|leaf| leaf.repo.kind() == Kind::Hosted) {
                if self.owns(&leaf.repo, name, is_package).await? {
                    return Ok(leaves.into_iter().filter(|leaf| leaf.repo.kind() == Kind::Hosted).collect());
                }
            }
        }
        Ok(leaves)
    }
}

/// The members that the rules admit for a name.
pub(crate) struct Admitted<'a> {
    pub(crate) leaves: Vec<&'a Leaf>,
    /// Whether it is they, whoever owns the name.
    pub(crate) decided: bool,
}

/// The members that the rules admit for a name: only those that reserve it where some do.
pub(crate) fn admitted<'a>(group: &'a Repo, name: &str, is_package: bool) -> Admitted<'a> {
    if !group.rules.admits(name) {
        return Admitted { leaves: Vec::new(), decided: true };
    }
    let reserved: Vec<_> = group.leaves.iter().filter(|leaf| leaf.rules.iter().any(|rules| rules.reserves(name))).collect();
    let admits = |leaf: &&Leaf| {
        let mirrored = if is_package { leaf.repo.patterns.admits(&leaf.repo.full_name(name)) } else { leaf.repo.patterns.admits(name) };
        mirrored && leaf.rules.iter().all(|rules| rules.admits(name))
    };
    if !reserved.is_empty() {
        return Admitted { leaves: reserved.into_iter().filter(admits).collect(), decided: true };
    }
    let leaves: Vec<_> = group.leaves.iter().filter(admits).collect();
    let merges = group.rules.merges(name) || leaves.iter().any(|leaf| leaf.rules.iter().any(|rules| rules.merges(name)));
    Admitted { leaves, decided: merges }
}

impl Reader {
    /// The members of a group, or the repository itself, that the caller may read (the package of).
    pub(crate) async fn readable(&self, repo: &Arc<Repo>, package: Option<&str>) -> Result<Vec<Arc<Repo>>> {
        if repo.kind() != Kind::Group {
            return Ok(vec![Arc::clone(repo)]);
        }
        self.allowed(repo.leaves.iter(), package).await
    }

    async fn allowed<'a>(&self, leaves: impl Iterator<Item = &'a Leaf>, package: Option<&str>) -> Result<Vec<Arc<Repo>>> {
        let mut allowed = Vec::new();
        'leaves: for leaf in leaves {
            for repo in leaf.through.iter().chain([&leaf.repo]) {
                let package = package.map(|package| repo.full_name(package));
                if !self.engine.access.decide(&self.caller, Action::Read, &repo.target(package.as_deref())).await?.allowed {
                    continue 'leaves;
                }
            }
            allowed.push(Arc::clone(&leaf.repo));
        }
        Ok(allowed)
    }

    async fn members(&self, group: &Arc<Repo>, name: &str, is_package: bool) -> Result<Vec<Arc<Repo>>> {
        if is_package && name == ALL_PACKAGES {
            return self.readable(group, None).await;
        }
        let candidates = self.engine.candidates(group, name, is_package).await?;
        self.allowed(candidates.into_iter(), is_package.then_some(name)).await
    }

    /// The members of a group that answer for a package, or for all of it, and that the caller may read; or the repository itself.
    pub(crate) async fn answering(&self, repo: &Arc<Repo>, package: Option<&str>) -> Result<Vec<Arc<Repo>>> {
        match package {
            Some(package) if repo.kind() == Kind::Group => self.members(repo, package, true).await,
            _ => self.readable(repo, None).await,
        }
    }

    /// Stands for the set of members that the caller may read of a package: part of the key of cached documents.
    pub(crate) async fn group_scope(&self, group: &Arc<Repo>, package: &str) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        for member in self.members(group, package, true).await? {
            member.id().hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    pub(crate) async fn group_stamp(&self, group: &Arc<Repo>, package: &str) -> Result<Option<Arc<str>>> {
        let members = self.members(group, package, true).await?;
        let mut stamps = first_error_unless_found(join_all(members.iter().map(|member| self.leaf_stamp(member, package))).await)?;
        if package == ALL_PACKAGES && group.format.lists_versions().is_some() && !stamps.is_empty() {
            // What upstreams have is listed by what hosted members own, whether the caller may read those or not.
            let hosted = group.leaves.iter().filter(|leaf| leaf.repo.kind() == Kind::Hosted);
            stamps.extend(hosted.map(|leaf| Arc::from(format!("{}^{}", leaf.repo.id(), leaf.repo.head()))));
        }
        Ok((!stamps.is_empty()).then(|| stamps.iter().map(|stamp| stamp.as_ref()).collect::<Vec<_>>().join(";").into()))
    }

    async fn leaf_stamp(&self, member: &Arc<Repo>, package: &str) -> Result<Option<Arc<str>>> {
        match member.kind() {
            Kind::Hosted => self.hosted_stamp(member, package).await,
            _ => self.proxy_stamp(member, package).await,
        }
    }

    pub(crate) async fn group_records(&self, group: &Arc<Repo>, package: &str, kind: &'static str) -> Result<Option<Records>> {
        let members = self.members(group, package, true).await?;
        let parts = members.iter().map(|member| async move {
            let Some(stamp) = self.leaf_stamp(member, package).await? else { return Ok(None) };
            let records = Box::pin(self.records_at(member, package, kind, stamp)).await?;
            let records = if package == ALL_PACKAGES { records.map(|records| names_of(group, member, &records)) } else { records };
            Ok(records.map(|records| (Arc::clone(member), records)))
        });
        let parts = first_error_unless_found(join_all(parts).await)?;
        if parts.is_empty() {
            return Ok(None);
        }
        let parts: Vec<_> = match package == ALL_PACKAGES && group.format.lists_versions().is_some() {
            true => self.engine.only_candidates(group, parts).await?,
            false => parts.into_iter().map(|(_, records)| records).collect(),
        };
        let format = Arc::clone(&group.format);
        entrepot_kit::blocking(move || Ok(Some(format.merge(&parts)))).await
    }

    pub(crate) async fn group_entry(&self, group: &Arc<Repo>, path: &str) -> Result<Option<File>> {
        Ok(self.group_found(group, path).await?.map(|(_, file)| file))
    }

    /// The file of the first member that has it.
    pub(crate) async fn group_found(&self, group: &Arc<Repo>, path: &str) -> Result<Option<(Arc<Repo>, File)>> {
        let package = group.format.package_of(path);
        let mut members = self.members(group, package.as_deref().unwrap_or(path), package.is_some()).await?;
        let source = self.one_source(group, path, &mut members).await?;
        let mut failure = None;
        for member in members {
            match self.leaf_entry(&member, path).await {
                Ok(Some(file)) => {
                    if let Some(source) = source {
                        source.is(&member);
                    }
                    return Ok(Some((member, file)));
                }
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), |error| Err(as_unavailable(error)))
    }

    async fn leaf_entry(&self, member: &Arc<Repo>, path: &str) -> Result<Option<File>> {
        match member.kind() {
            Kind::Hosted => self.hosted_entry(member, path).await,
            _ => self.proxy_entry(member, path).await,
        }
    }

    /// The files of all members that have one.
    pub(crate) async fn group_each(&self, group: &Arc<Repo>, path: &str) -> Result<Vec<File>> {
        let package = group.format.package_of(path);
        let members = self.members(group, package.as_deref().unwrap_or(path), package.is_some()).await?;
        first_error_unless_found(join_all(members.iter().map(|member| self.leaf_entry(member, path))).await)
    }

    pub(crate) async fn group_entries(&self, group: &Arc<Repo>, listing: &Listing) -> Result<ListingPage> {
        let mut joined = ListingPage::default();
        let mut seen = BTreeSet::new();
        // Behind the end of a page that was cut, other members' items would come too early.
        let mut complete_until: Option<String> = None;
        for member in self.readable(group, None).await? {
            let page = self.stored_entries(&member, listing).await?;
            if let Some(last) = page.items.last().filter(|_| page.more) {
                joined.more = true;
                complete_until = Some(complete_until.map_or_else(|| last.path().to_owned(), |until| until.min(last.path().to_owned())));
            }
            let leaves: Vec<_> = group.leaves.iter().filter(|leaf| leaf.repo.id() == member.id()).collect();
            for item in page.items {
                let name = group.format.package_of(item.path()).unwrap_or_else(|| item.path().to_owned());
                let admitted = group.rules.admits(&name) && leaves.iter().any(|leaf| leaf.rules.iter().all(|rules| rules.admits(&name)));
                if admitted && seen.insert(item.path().to_owned()) {
                    joined.items.push(item);
                }
            }
        }
        if let Some(until) = complete_until {
            joined.items.retain(|item| item.path() <= until.as_str());
        }
        joined.items.sort_by(|one, other| one.path().cmp(other.path()));
        joined.more |= joined.items.len() > listing.limit;
        joined.items.truncate(listing.limit);
        Ok(joined)
    }
}

/// What was found. Nothing found while a member failed is that failure: a 404 would make clients remember that the package does not exist.
pub(crate) fn first_error_unless_found<T>(outcomes: Vec<Result<Option<T>>>) -> Result<Vec<T>> {
    let mut found = Vec::new();
    let mut failure = None;
    for outcome in outcomes {
        match outcome {
            Ok(Some(value)) => found.push(value),
            Ok(None) => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) if found.is_empty() => Err(as_unavailable(error)),
        _ => Ok(found),
    }
}

fn as_unavailable(error: Error) -> Error {
    let seconds = error.retry_after().unwrap_or(5);
    Error::unavailable(format!("a member of this group failed: {}", error.message()), seconds).with_source(error)
}
