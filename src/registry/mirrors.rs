//! Which repository stands for which registry elsewhere.

use std::sync::Arc;

use entrepot_kit::Kind;
use entrepot_kit::name::DEFAULT_SYSTEM;

use crate::registry::{Repo, Table};

impl Repo {
    /// Whether what a registry elsewhere has is found here: in a proxy of it, or in a group with one.
    #[must_use]
    pub fn mirrors(&self, namespace: &str) -> bool {
        self.namespace() == Some(namespace) || self.leaves.iter().any(|leaf| leaf.repo.namespace() == Some(namespace))
    }
}

impl Table {
    /// The proxies that stand for registries elsewhere: those of the default system before others, or else by address. Of several for one
    /// registry the first counts.
    pub fn mirrors(&self) -> impl Iterator<Item = (&Arc<Repo>, &str)> {
        // That container clients speak to a repository does not mean that its upstream is a registry.
        let speaks = |repo: &&Arc<Repo>| repo.kind() == Kind::Proxy && !repo.format.registry_routes().0.is_empty() && !repo.format.upstream_prefix().is_empty();
        let of = |default: bool| self.iter().filter(move |repo| (repo.address().system.as_str() == DEFAULT_SYSTEM) == default);
        of(true).chain(of(false)).filter(speaks).filter_map(|repo| Some((repo, repo.namespace()?)))
    }

    /// The proxy that is asked for what a registry elsewhere has; `None`: this server does not mirror that.
    #[must_use]
    pub fn mirror(&self, namespace: &str) -> Option<&Arc<Repo>> {
        self.mirrors().find(|(_, own)| *own == namespace).map(|(repo, _)| repo)
    }
}
