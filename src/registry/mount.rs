//! Mounts: bytes that one package has, given to another without being sent again.
//!
//! Whoever mounts must be allowed to read what has the bytes; that there is something else with the same bytes must not show.

use std::sync::Arc;

use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::{Action, Address, Algorithm, Kind, Mount, MountFrom, Result};

use crate::registry::quota::Admission;
use crate::registry::{Context, Engine, Repo, Table};
use crate::store::model::{CatalogError, NewBlob, NewRow};

/// Most places that are looked at for a mount that names none.
const MOST_PLACES: usize = 64;

impl Table {
    /// The repository and the package of a name below the registry's root: `{system}/{repository}/{package}` where there is such a system,
    /// else `{repository}/{package}` of the default one. Rights do not count.
    #[must_use]
    pub fn named<'a>(&self, name: &'a str) -> Option<(&Arc<Repo>, &'a str)> {
        let (first, rest) = name.split_once('/')?;
        let (address, package) = if self.systems.contains_key(first) {
            let (second, package) = rest.split_once('/')?;
            (Address::new(first, second).ok()?, package)
        } else {
            (Address::new(DEFAULT_SYSTEM, first).ok()?, rest)
        };
        Some((self.get(&address)?, package))
    }

    fn by_id(&self, id: i64) -> Option<&Arc<Repo>> {
        self.iter().find(|repo| repo.id() == id)
    }
}

/// The digest at the end of a path.
fn named_digest(tail: &str) -> Option<(Algorithm, Vec<u8>)> {
    let (name, digits) = tail.rsplit('/').next()?.split_once(':')?;
    let algorithm = Algorithm::parse(name).filter(|algorithm| matches!(algorithm, Algorithm::Sha256 | Algorithm::Sha512))?;
    let digest = hex::decode(digits).ok().filter(|digest| digest.len() == algorithm.length())?;
    Some((algorithm, digest))
}

/// Where bytes may be taken from.
struct Place {
    repo: Arc<Repo>,
    package: String,
    path: String,
}

impl Engine {
    /// Gives a package of `target` the bytes that another one has.
    pub(crate) async fn mount(self: &Arc<Self>, context: &Context, target: &Arc<Repo>, mount: Mount) -> Result<bool> {
        for place in self.places(target, &mount).await? {
            // One that may not be read is passed over like one that is not there.
            let readable = self.access.decide(&context.caller, Action::Read, &place.repo.target(Some(&place.package))).await?.allowed;
            if readable && self.take(context, target, &place, &mount).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn places(&self, target: &Arc<Repo>, mount: &Mount) -> Result<Vec<Place>> {
        let path = |package: &str| format!("{package}{}", mount.tail);
        let table = self.table();
        Ok(match &mount.from {
            Some(MountFrom::Package(package)) => vec![Place { repo: Arc::clone(target), package: package.clone(), path: path(package) }],
            Some(MountFrom::Name(name)) => {
                let Some((repo, package)) = table.named(name) else { return Ok(Vec::new()) };
                vec![Place { repo: Arc::clone(repo), package: package.to_owned(), path: path(package) }]
            }
            None => {
                let Some((algorithm, digest)) = named_digest(&mount.tail) else { return Ok(Vec::new()) };
                let holders = self.catalog.holders(algorithm, digest, MOST_PLACES).await?;
                let place = |(id, package, path): (i64, String, String)| Some(Place { repo: Arc::clone(table.by_id(id)?), package, path });
                holders.into_iter().filter(|(_, package, holder)| *holder == path(package)).filter_map(place).collect()
            }
        })
    }

    async fn take(self: &Arc<Self>, context: &Context, target: &Arc<Repo>, place: &Place, mount: &Mount) -> Result<bool> {
        // A group has no files of its own, and whose its members' are is for each of them to say.
        if place.repo.kind() == Kind::Group {
            return Ok(false);
        }
        let Some(stored) = self.stored(&place.repo, &place.path, None).await?.filter(|stored| !stored.damaged) else { return Ok(false) };
        let Some(digest) = stored.entry.digest else { return Ok(false) };
        let Some(facts) = self.catalog.blob(digest).await? else { return Ok(false) };
        let row = NewRow::Entry {
            path: format!("{}{}", mount.package, mount.tail),
            package: Some(mount.package.clone()),
            version: None,
            blob: NewBlob::Known(facts),
            content_type: stored.entry.content_type.clone(),
            data: String::new(),
        };
        let admission = self.admit(target, vec![(digest, stored.entry.size.unwrap_or(0))]).await?;
        match self.catalog.keep(target.id(), row, context.now).await {
            Err(CatalogError::BlobGone(_)) => Ok(false),
            other => {
                other?;
                admission.into_iter().for_each(Admission::taken);
                Ok(true)
            }
        }
    }
}
