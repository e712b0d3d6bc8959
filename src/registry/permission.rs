//! Where the engine asks the one place that decides.

use std::sync::Arc;

use entrepot_kit::{Action, Result};

use crate::access::Target;
use crate::registry::{Context, Engine, Repo};

impl Repo {
    /// The repository, or a package of it, as policies see it.
    #[must_use]
    pub fn target<'a>(&'a self, package: Option<&'a str>) -> Target<'a> {
        Target {
            system: self.row.address.system.as_str(),
            system_tags: &self.system_tags,
            repository: Some((self.row.address.repository.as_str(), &self.row.tags, &self.row.format, self.row.kind)),
            package,
        }
    }
}

impl Engine {
    /// Lets the caller do it, or says no in the way that gives nothing away; a refusal is audited.
    ///
    /// # Errors
    /// 401, 403 or 404.
    pub async fn allow(&self, context: &Context, action: Action, repo: &Arc<Repo>, package: Option<&str>) -> Result<()> {
        self.access.check(&context.caller, action, &repo.target(package), &context.facts).await
    }
}
