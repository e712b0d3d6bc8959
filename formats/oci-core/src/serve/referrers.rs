//! What refers to a manifest: signatures, attestations, bills of materials.

use std::collections::BTreeMap;

use entrepot_kit::path::encode_segment;
use entrepot_kit::{Body, Error, Kind, Listing, ListingItem, Read, Repository, Request, Response, Result, Timestamp};
use http::header::LINK;
use http::{HeaderName, StatusCode};
use serde_json::Value;

use super::{image, page_size};
use crate::layout;
use crate::{Digest, media, referrer};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// Most referrers of one answer.
const MOST: usize = 1000;
/// Most bytes of their descriptors in one answer.
const MOST_BYTES: usize = 3 << 20;
/// Most referrers that are looked at for one answer, where only those of one type are wanted.
const MOST_LOOKED_AT: usize = 20_000;

/// `GET …/referrers/{digest}?artifactType=`. Always a list; of a subject that nobody knows an empty one.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn list(repository: Repository<Read>, request: Request) -> Result<Response> {
    let image = image(&request)?;
    let subject = Digest::demand(request.captures.get("digest"))?.to_string();
    let wanted = request.query.get("artifactType").filter(|wanted| !wanted.is_empty());
    let size = page_size(&request)?.unwrap_or(MOST).clamp(1, MOST);
    let last = request.query.get("last").unwrap_or_default();
    let mut found = stored(&repository, &layout::referrers(&image, &subject), last, wanted, size).await?;
    if repository.kind() != Kind::Hosted {
        for (place, descriptor) in elsewhere(&repository, &image, &subject).await?.into_iter().enumerate() {
            let digest = descriptor.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
            if digest.as_str() > last && is_wanted(&descriptor, wanted) {
                found.descriptors.entry(digest).or_insert(Referrer { age: Age::Elsewhere(place), descriptor });
            }
        }
    }
    let next = found.cut(size);
    let index = referrer::index(&found.by_age());
    let body = serde_json::to_vec(&index).map_err(Error::internal)?;
    let mut response = Response::bytes(StatusCode::OK, media::INDEX, body);
    if wanted.is_some() {
        response = response.with_header(FILTERS_APPLIED, "artifactType");
    }
    if let Some(next) = next {
        let filter = wanted.map(|wanted| format!("&artifactType={}", encode_segment(wanted))).unwrap_or_default();
        let path = format!("{}/{image}/referrers/{subject}", request.base.path);
        response = response.with_header(LINK, &format!("<{path}?n={size}&last={}{filter}>; rel=\"next\"", encode_segment(&next)));
    }
    Ok(response)
}

/// How old a referrer is. What an upstream lists stays in its order, before what was pushed here.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Elsewhere(usize),
    Pushed(Timestamp),
}

struct Referrer {
    age: Age,
    descriptor: Value,
}

/// Referrers by digest, which is the order of the pages.
#[derive(Default)]
struct Found {
    descriptors: BTreeMap<String, Referrer>,
    /// Where the look stopped, if there may be more behind.
    stopped: Option<String>,
}

impl Found {
    /// Cuts the list to one page; the digest behind which the next one begins.
    fn cut(&mut self, size: usize) -> Option<String> {
        let (mut bytes, mut last, mut kept) = (0, None, 0);
        for (digest, referrer) in &self.descriptors {
            bytes += referrer.descriptor.to_string().len();
            if kept == size || (kept > 0 && bytes > MOST_BYTES) || self.stopped.as_ref().is_some_and(|stopped| digest > stopped) {
                break;
            }
            kept += 1;
            last = Some(digest.clone());
        }
        if kept == self.descriptors.len() {
            return self.stopped.clone();
        }
        let last = last?;
        self.descriptors.retain(|digest, _| *digest <= last);
        Some(last)
    }

    /// The page with the newest last: a client that wants one of several signatures (cosign) takes the last of the list.
    fn by_age(self) -> Vec<Value> {
        let mut referrers: Vec<Referrer> = self.descriptors.into_values().collect();
        referrers.sort_by(|one, other| one.age.cmp(&other.age));
        referrers.into_iter().map(|referrer| referrer.descriptor).collect()
    }
}

fn is_wanted(descriptor: &Value, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| descriptor.get("artifactType").and_then(Value::as_str) == Some(wanted))
}

/// What was pushed here.
async fn stored(repository: &Repository<Read>, folder: &str, last: &str, wanted: Option<&str>, size: usize) -> Result<Found> {
    let mut found = Found::default();
    let mut after = (!last.is_empty()).then(|| format!("{folder}{last}"));
    let mut looked_at = 0;
    loop {
        let page = repository.entries(&Listing { prefix: folder.to_owned(), after: after.clone(), limit: MOST, recursive: true }).await?;
        for item in &page.items {
            let ListingItem::File(entry) = item else { continue };
            let Some(digest) = entry.path.strip_prefix(folder).filter(|digest| Digest::parse(digest).is_some()) else { continue };
            if let Ok(descriptor) = serde_json::from_str::<Value>(&entry.data)
                && is_wanted(&descriptor, wanted)
            {
                found.descriptors.insert(digest.to_owned(), Referrer { age: Age::Pushed(entry.created), descriptor });
            }
        }
        looked_at += page.items.len();
        after = page.items.last().map(|item| item.path().to_owned());
        if !page.more {
            return Ok(found);
        }
        if found.descriptors.len() > size || looked_at >= MOST_LOOKED_AT {
            found.stopped = after.and_then(|path| path.strip_prefix(folder).map(str::to_owned));
            return Ok(found);
        }
    }
}

/// What an upstream knows: by its referrers API, or under the tag of clients whose registry has none.
///
/// # Errors
/// Those of the protocol, and failures of the store.
pub async fn elsewhere(repository: &Repository<Read>, image: &str, subject: &str) -> Result<Vec<Value>> {
    let by_api = repository.entry(&format!("{image}/referrers/{subject}")).await?;
    let found = match by_api {
        Some(file) => Some(file),
        None => match Digest::parse(subject) {
            Some(digest) => repository.entry(&layout::manifest(image, &digest.fallback_tag())).await?,
            None => None,
        },
    };
    let Some(file) = found else { return Ok(Vec::new()) };
    let body = Body::new(file.content.stream(None).await?, file.content.size()).collect(crate::manifest::MAX_MANIFEST).await?;
    let index: Value = serde_json::from_slice(&body).map_err(|_| Error::bad_gateway("the upstream's list of referrers is not JSON"))?;
    Ok(index.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default())
}
