//! `/v2/_catalog`: the images that the caller may read, in the order of their names' bytes.

use std::sync::Arc;

use actix_web::http::header::{HeaderValue, LINK};
use actix_web::{HttpRequest, HttpResponse};
use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::path::encode_segment;
use entrepot_kit::{Action, Error, Kind, Query, Result};
use serde_json::json;

use super::document;
use crate::access::{Caller, RegistryScope};
use crate::http::Server;
use crate::http::client::Client;
use crate::http::observe::tell;
use crate::http::place::{Asked, speaks_registry};
use crate::registry::{Engine, Repo};

/// Names of an answer that says no number, and most of any.
const PAGE: (usize, usize) = (100, 1000);
/// Names that one request looks at: it may see few of them.
const MOST_LOOKED_AT: usize = 4000;
/// Names that are read at once.
const SLICE: usize = 500;
/// What the mark of a place in the list is sealed for.
const MARK: &str = "catalog";

pub(super) async fn serve(request: &HttpRequest, server: &Server, client: Client, asked: &Asked<'_>) -> Result<HttpResponse> {
    let (_, context) = client.sign_in(request, server, None).await?;
    tell(request, |told| told.principal = context.caller.name());
    let caller = &context.caller;
    match caller.asked() {
        None if caller.is_anonymous() => return Err(Error::unauthorized("sign in, or ask for a token without a name, to list images")),
        Some(asked) if !asked.iter().any(RegistryScope::lists) => return Err(Error::unauthorized("the token in use is not for lists of images")),
        _ => {}
    }
    let wanted = number(asked.query)?;
    let engine = &server.engine;
    let last = asked.query.get("last").filter(|last| !last.is_empty()).map(|last| place(engine, last)).transpose()?;
    let page = List { engine, caller: caller.listing() }.page(places(engine, asked), last, wanted).await?;
    let mut response = document(json!({ "repositories": page.names }).to_string());
    if let Some(next) = page.next
        && let Ok(link) = HeaderValue::from_str(&format!("</v2/_catalog?n={wanted}&last={}>; rel=\"next\"", encode_segment(&next)))
    {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

fn number(query: &Query) -> Result<usize> {
    let Some(text) = query.get("n") else { return Ok(PAGE.0) };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let shown: String = text.chars().take(40).collect();
        return Err(Error::bad_request(format!("n is the most items of a page, not {shown:?}")).with_code("PAGINATION_NUMBER_INVALID"));
    }
    // What is too large for a number is more than any page has.
    Ok(text.parse().unwrap_or(PAGE.1).min(PAGE.1))
}

/// Where a page begins: behind a name, or at a mark of ours. A page that was cut short may end at a name that its reader must not learn.
fn place(engine: &Engine, last: &str) -> Result<String> {
    match last.strip_prefix('~') {
        None => Ok(last.to_owned()),
        Some(mark) => engine.keys.open_text(MARK, mark).ok_or_else(|| Error::bad_request("last is neither a name nor a mark that this server made")),
    }
}

/// The repositories with what comes before the names of their images, in the order of that: so are all names.
fn places(engine: &Engine, asked: &Asked<'_>) -> Vec<(String, Arc<Repo>)> {
    let table = engine.table();
    let prefix = |repo: &Repo| match (asked.bound, repo.address()) {
        (Some(_), _) => String::new(),
        (None, address) if address.system.as_str() == DEFAULT_SYSTEM => format!("{}/", address.repository),
        (None, address) => format!("{address}/"),
    };
    let here = |repo: &&Arc<Repo>| speaks_registry(&*repo.format) && asked.bound.is_none_or(|bound| bound == repo.address());
    let mut places: Vec<_> = table.iter().filter(here).map(|repo| (prefix(repo), Arc::clone(repo))).collect();
    places.sort_by(|(one, _), (other, _)| one.cmp(other));
    places
}

#[derive(Default)]
struct Page {
    names: Vec<String>,
    /// Where the next page begins; `None` at the end.
    next: Option<String>,
}

struct List<'a> {
    engine: &'a Arc<Engine>,
    caller: Caller,
}

impl List<'_> {
    async fn page(&self, places: Vec<(String, Arc<Repo>)>, last: Option<String>, wanted: usize) -> Result<Page> {
        let mut page = Page::default();
        if wanted == 0 {
            return Ok(page);
        }
        let mut looked_at = 0;
        for (prefix, repo) in places {
            let mut after = match &last {
                Some(last) if last.starts_with(&prefix) => last.strip_prefix(&prefix).map(str::to_owned),
                Some(last) if prefix < *last => continue,
                _ => None,
            };
            loop {
                let slice = self.slice(&repo, after.clone()).await?;
                let whole = slice.len() < SLICE;
                for image in slice {
                    if page.names.len() == wanted {
                        page.next = page.names.last().cloned();
                        return Ok(page);
                    }
                    let name = format!("{prefix}{image}");
                    looked_at += 1;
                    if self.may_read(&repo, &image).await? {
                        page.names.push(name);
                    } else if looked_at >= MOST_LOOKED_AT {
                        page.next = Some(format!("~{}", self.engine.keys.seal_text(MARK, &name)?));
                        return Ok(page);
                    }
                    after = Some(image);
                }
                if whole {
                    break;
                }
            }
        }
        Ok(page)
    }

    /// The next images of a repository, or of all members of a group.
    async fn slice(&self, repo: &Arc<Repo>, after: Option<String>) -> Result<Vec<String>> {
        let one = |repo: Arc<Repo>| {
            let after = after.clone();
            async move { Ok::<_, Error>(self.engine.catalog.packages(repo.id(), after, SLICE, None).await?.into_iter().map(|package| package.name)) }
        };
        if repo.kind() != Kind::Group {
            return Ok(one(Arc::clone(repo)).await?.collect());
        }
        let mut names = Vec::new();
        for leaf in &repo.leaves {
            names.extend(one(Arc::clone(&leaf.repo)).await?);
        }
        names.sort_unstable();
        names.dedup();
        names.truncate(SLICE);
        Ok(names)
    }

    /// Whether the caller may read the image here; through a group, from some member that answers for it.
    async fn may_read(&self, repo: &Arc<Repo>, image: &str) -> Result<bool> {
        let readable = async |repo: &Repo| Ok::<_, Error>(self.engine.access.decide(&self.caller, Action::Read, &repo.target(Some(image))).await?.allowed);
        if !readable(repo).await? {
            return Ok(false);
        }
        if repo.kind() != Kind::Group {
            return Ok(true);
        }
        'leaves: for leaf in self.engine.candidates(repo, image, true).await? {
            if self.engine.catalog.package(leaf.repo.id(), image, None).await?.is_none() {
                continue;
            }
            for repo in leaf.through.iter().chain([&leaf.repo]) {
                if !readable(repo).await? {
                    continue 'leaves;
                }
            }
            return Ok(true);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::number;
    use entrepot_kit::Query;

    #[test]
    fn numbers_are_numbers() {
        for (query, wanted) in [("", Some(100)), ("n=0", Some(0)), ("n=7", Some(7)), ("n=1000000000", Some(1000)), ("n=99999999999999999999999", Some(1000))] {
            assert_eq!(number(&Query::parse(query)).ok(), wanted, "{query}");
        }
        for bad in ["n=", "n=-1", "n=x", "n=1.5", "n=%00"] {
            assert_eq!(number(&Query::parse(bad)).unwrap_err().status(), 400, "{bad}");
        }
    }
}
