//! What formats note about what they gave a moment ago, for themselves on every replica. No note is a promise: one that is lost costs a client another try.

use std::sync::Arc;

use entrepot_kit::{Result, Timestamp};
use http::StatusCode;

use crate::registry::{Engine, Repo};
use crate::store::model::UpstreamState;

/// Where notes lie among what is known of paths: no path of a client begins with a slash.
const NOTES: &str = "/noted/";
/// The same is not noted again for so many milliseconds.
const SETTLED: i64 = 1000;

impl Engine {
    /// Notes a text under a name.
    pub(crate) async fn note(&self, repo: &Repo, name: &str, text: &str, now: Timestamp) -> Result<()> {
        let path = (repo.id(), format!("{NOTES}{name}"));
        let known = self.cache.upstream.get(&path);
        if known.is_some_and(|known| known.etag.as_deref() == Some(text) && now.0.saturating_sub(known.checked.0) < SETTLED) {
            return Ok(());
        }
        let status = i32::from(StatusCode::OK.as_u16());
        let state = UpstreamState { key: path.1.clone(), url: String::new(), etag: Some(text.to_owned()), last_modified: None, checked: now, status };
        if self.catalog.is_shared() {
            self.catalog.put_upstream_state(repo.id(), state.clone()).await?;
        }
        self.cache.upstream.insert(path, Arc::new(state));
        Ok(())
    }

    /// What was noted last under a name, and when.
    pub(crate) async fn noted(&self, repo: &Repo, name: &str) -> Result<Option<(String, Timestamp)>> {
        let path = (repo.id(), format!("{NOTES}{name}"));
        let state =
            if self.catalog.is_shared() { self.catalog.upstream_state(repo.id(), &path.1).await?.map(Arc::new) } else { self.cache.upstream.get(&path) };
        Ok(state.and_then(|state| Some((state.etag.clone()?, state.checked))))
    }
}
