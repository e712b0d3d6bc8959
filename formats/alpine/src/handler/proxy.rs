//! Proxies: the upstream's indexes as they are, and packages that are what an index promised.

use entrepot_kit::{Digests, Error, File, Listing, ListingItem, Located, Read, Repository, Result, blocking};

use super::get::typed;
use crate::index::{self, Promise};
use crate::place::{Folder, NOARCH};

/// Architectures that are looked at for a package that fits all.
const MOST_ARCHITECTURES: usize = 32;

/// The upstream's index of a folder.
pub(super) async fn index(repository: &Repository<Read>, folder: &Folder) -> Result<Option<File>> {
    Ok(repository.entry(&folder.index()).await?.map(typed))
}

/// A package: kept, or fetched and held against the index that names it.
pub(super) async fn package(repository: &Repository<Read>, folder: &Folder, file: &str) -> Result<Option<File>> {
    let path = folder.path() + file;
    // What is kept needs no index: an installation goes on while the upstream is gone.
    if let Some(kept) = repository.entry(&path).await? {
        return Ok(Some(kept));
    }
    for naming in naming(repository, folder).await? {
        let Some(text) = text(repository, &naming).await? else { continue };
        let wanted = file.to_owned();
        let found = blocking(move || Ok(index::find(&text, &wanted).map(|record| (record.promise(), record.field('A') == NOARCH)))).await?;
        let (promise, is_general) = match found {
            Some((Some(promise), is_general)) => (promise, is_general),
            Some((None, _)) => return Err(Error::bad_gateway(format!("the upstream's index does not say what {file:?} has to be: it was not fetched"))),
            None => continue,
        };
        if naming != *folder && !is_general {
            continue;
        }
        let url = if naming == *folder { file.to_owned() } else { format!("../{}/{file}", folder.arch) };
        let located = Located { promise: Some(promise.to_text()), ..Located::at(url, Digests::new(), None) };
        return repository.located(&path, &naming.index(), located).await;
    }
    Ok(None)
}

/// The folders whose indexes may name a file: the one where it lies; and of packages that fit all architectures those of these, where they
/// are listed.
async fn naming(repository: &Repository<Read>, folder: &Folder) -> Result<Vec<Folder>> {
    let mut found = vec![folder.clone()];
    if folder.arch == NOARCH {
        let listing = Listing { prefix: format!("{}/{}/", folder.branch, folder.repository), after: None, limit: MOST_ARCHITECTURES, recursive: false };
        for item in repository.entries(&listing).await?.items {
            let ListingItem::Folder(path) = item else { continue };
            let arch = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            found.extend(Folder::new(&folder.branch, &folder.repository, arch).ok().filter(|other| other != folder));
        }
    }
    Ok(found)
}

/// The records of an upstream's index.
pub(super) async fn text(repository: &Repository<Read>, folder: &Folder) -> Result<Option<String>> {
    let Some(file) = repository.entry(&folder.index()).await? else { return Ok(None) };
    let reader = file.content.reader().await?;
    blocking(move || index::read(reader)).await.map(Some)
}

/// Holds a file that was fetched against what was promised of it.
pub(crate) fn check(promise: &str, file: &mut dyn entrepot_kit::ReadSeek, size: u64) -> Result<()> {
    let promise = Promise::parse(promise).ok_or_else(|| Error::internal("a promise that cannot be read"))?;
    if size != promise.size {
        return Err(Error::bad_gateway(format!("the upstream's package has {size} bytes, and its index says {}; it was not kept", promise.size)));
    }
    let package =
        crate::package::Package::read(file, size).map_err(|error| Error::bad_gateway(format!("the upstream's package was not kept: {}", error.message())))?;
    if package.identity != promise.identity {
        return Err(Error::bad_gateway("the upstream's package is not the one that its index names; it was not kept"));
    }
    Ok(())
}
