//! `archetype-catalog.xml`: what is here, and in a group what the first of its proxies knows besides.

use std::collections::HashMap;
use std::sync::Arc;

use entrepot_kit::{Action, Document, Error, Kind, Listing, ListingItem, Read, Repository, Resource, Result, blocking};
use futures::StreamExt as _;

use crate::archetype;
use crate::coordinates::{ARCHETYPES, CATALOG};
use crate::index::XML;
use crate::metadata::LARGEST;

/// Marks that are read at once, and at most.
const PAGE: usize = 1000;
const MOST: usize = 50_000;

/// The list of a hosted repository or a group.
///
/// # Errors
/// Failures of the store.
pub(crate) async fn document(repository: &Repository<Read>) -> Result<Arc<Document>> {
    let items = items(repository).await?;
    // One that cannot be had keeps nobody from ours.
    let upstream = if repository.kind() == Kind::Group { upstream(repository).await.unwrap_or_default() } else { None };
    blocking(move || {
        let text = match upstream {
            Some(upstream) => archetype::joined(&items, &upstream),
            None => archetype::document(&items),
        };
        Ok(Arc::new(Document::new(text.into_bytes(), XML, None)))
    })
    .await
}

/// What is here and may be seen.
async fn items(repository: &Repository<Read>) -> Result<String> {
    let mut items = String::new();
    let mut seen: HashMap<String, bool> = HashMap::new();
    let (mut after, mut count) = (None, 0);
    loop {
        let page = repository.entries(&Listing { prefix: ARCHETYPES.to_owned(), after, limit: PAGE, recursive: true }).await?;
        after = page.items.last().map(|item| item.path().to_owned());
        count += page.items.len();
        for item in page.items {
            let ListingItem::File(entry) = item else { continue };
            let Some((package, version)) = archetype::marked(&entry.path) else { continue };
            let is_seen = match seen.get(package) {
                Some(is_seen) => *is_seen,
                None => {
                    let is_seen = repository.allows(Action::Read, &Resource::Package(package.to_owned())).await?;
                    seen.insert(package.to_owned(), is_seen);
                    is_seen
                }
            };
            if is_seen {
                archetype::add(&mut items, package, version, &entry.data);
            }
        }
        if !page.more || after.is_none() || count >= MOST {
            return Ok(items);
        }
    }
}

/// The document of the first proxy that has one.
async fn upstream(repository: &Repository<Read>) -> Result<Option<String>> {
    let Some(file) = repository.entry(CATALOG).await? else { return Ok(None) };
    let mut stream = file.content.stream(None).await?;
    let mut text = Vec::new();
    while let Some(bytes) = stream.next().await {
        text.extend_from_slice(&bytes?);
        if text.len() > LARGEST {
            return Err(Error::bad_gateway("the upstream's list of archetypes is too large"));
        }
    }
    Ok(String::from_utf8(text).ok())
}
