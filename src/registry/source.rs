//! One upstream for all files of a release: of several proxies in a group, the one that gave the first of them.
//!
//! Which one that is, is seen by what it keeps, so that nothing else has to be stored; it is remembered besides, for the time in which the
//! first file is on its way. (Two replicas that are asked for different files of a release in that very moment may differ.)

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use entrepot_kit::{Kind, Listing, Result};
use tokio::sync::OwnedMutexGuard;

use crate::registry::reader::Reader;
use crate::registry::{Engine, Repo};

/// A group and the members of it that a caller may read, and the folder of a release.
pub(crate) type SourceKey = (i64, u64, String);

/// A release of which nobody has given a file yet. Whoever else wants one waits.
pub(crate) struct Undecided {
    engine: Arc<Engine>,
    key: SourceKey,
    _alone: OwnedMutexGuard<()>,
}

impl Undecided {
    /// This member gave the first.
    pub(crate) fn is(self, member: &Repo) {
        self.engine.cache.sources.insert(self.key, member.id());
    }
}

impl Reader {
    /// Takes the proxies from the members that shall not be asked for a path: all but the one that has files of its release, and all of
    /// them where a hosted member has. While none has any, the caller decides by what it finds first.
    pub(crate) async fn one_source(&self, group: &Arc<Repo>, path: &str, members: &mut Vec<Arc<Repo>>) -> Result<Option<Undecided>> {
        if members.iter().filter(|member| member.kind() == Kind::Proxy).count() < 2 {
            return Ok(None);
        }
        let Some(folder) = group.format.one_source(path) else { return Ok(None) };
        let mut hasher = DefaultHasher::new();
        members.iter().for_each(|member| member.id().hash(&mut hasher));
        let key = (group.id(), hasher.finish(), folder);
        let mut undecided = None;
        let mut source = self.engine.cache.sources.get(&key);
        if source.is_none() {
            let alone = self.engine.locks.lock(&format!("source/{}/{}/{}", key.0, key.1, key.2)).await;
            source = match self.engine.cache.sources.get(&key) {
                Some(source) => Some(source),
                None => self.first_with(&key.2, members).await?,
            };
            match source {
                Some(source) => self.engine.cache.sources.insert(key, source),
                None => undecided = Some(Undecided { engine: Arc::clone(&self.engine), key, _alone: alone }),
            }
        }
        if let Some(source) = source {
            members.retain(|member| member.kind() != Kind::Proxy || member.id() == source);
        }
        Ok(undecided)
    }

    /// The first member that has a file below a folder.
    async fn first_with(&self, folder: &str, members: &[Arc<Repo>]) -> Result<Option<i64>> {
        let listing = Listing { prefix: format!("{folder}/"), after: None, limit: 1, recursive: true };
        for member in members {
            if !self.stored_entries(member, &listing).await?.items.is_empty() {
                return Ok(Some(member.id()));
            }
        }
        Ok(None)
    }
}
