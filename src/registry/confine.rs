//! Holds changes to what the caller's token was given for.
//!
//! Most tokens are held to repositories and actions, which are known before a handler runs. One that was given for an identity token is held to
//! packages besides, and some formats say only in the body, or in the change itself, which these are. So each change is looked at as well, whatever
//! its format asked for before.

use std::sync::Arc;

use entrepot_kit::{Birth, Change, Death, Result};

use crate::registry::facade::{Context, Session};
use crate::registry::{Engine, Repo};

impl Context {
    /// Refuses a change of a package, or of a file that belongs to none, which the token in use is not for.
    pub(crate) fn confine(&self, engine: &Engine, repo: &Arc<Repo>, name: &str) -> Result<()> {
        engine.access.confine(&self.caller, &repo.target(None), name, &self.facts)
    }
}

impl Session {
    /// Refuses a change that names something which the token in use is not for.
    pub(super) async fn confine(&self, change: &Change) -> Result<()> {
        let (engine, context, repo) = (self.engine(), self.context(), self.repo());
        if !context.caller.is_workload() {
            return Ok(());
        }
        for birth in &change.births {
            match birth {
                Birth::Package { package, .. } | Birth::Version { package, .. } => context.confine(engine, repo, package)?,
                // What belongs to no package may be about one all the same.
                Birth::Entry { path, package, .. } => {
                    let package = package.clone().or_else(|| repo.format.package_of(path));
                    context.confine(engine, repo, package.as_deref().unwrap_or(path))?;
                }
                Birth::Again(path) => self.confine_path(path).await?,
            }
        }
        for death in &change.deaths {
            match death {
                Death::Package(package) | Death::Version { package, .. } | Death::Blob { package, .. } => context.confine(engine, repo, package)?,
                Death::Entry(path) => self.confine_path(path).await?,
                // All that may be below: a pattern must take every such path.
                Death::Folder(prefix) => context.confine(engine, repo, &format!("{prefix}*"))?,
            }
        }
        Ok(())
    }

    /// The same for a path that may lead to a file of a package.
    async fn confine_path(&self, path: &str) -> Result<()> {
        let stored = self.engine().catalog.entry(self.repo().id(), path, None).await?;
        let package = stored.and_then(|stored| stored.entry.package).or_else(|| self.repo().format.package_of(path));
        self.context().confine(self.engine(), self.repo(), package.as_deref().unwrap_or(path))
    }
}
