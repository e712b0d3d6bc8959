//! Systems and repositories that the configuration file declares, brought into the catalog at start.

use std::collections::BTreeSet;
use std::sync::Arc;

use entrepot_kit::accounts::Tags;
use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::{Address, Error, Format, Kind, Result, SystemName, Timestamp};
use http::StatusCode;
use serde_json::{Map, Value};

use crate::registry::artifactapi::{ARTIFACTAPI, Remote};
use crate::registry::paths::{PATHS, Paths};
use crate::registry::patterns::Patterns;
use crate::registry::purge::{PURGE, Purge};
use crate::registry::quota::{QUOTA, quota};
use crate::registry::retention::{RETENTION, Retention};
use crate::registry::rules::Rules;
use crate::registry::table::{NAMESPACE, REDIRECT_DOWNLOADS, check_namespace, members, towards, upstream_settings};
use crate::store::catalog::Catalog;
use crate::store::model::NewRepository;

/// How often others may be quicker.
const OTHERS: usize = 50;

/// A system as the configuration declares it.
pub struct DeclaredSystem {
    /// Its name.
    pub name: SystemName,
    /// Its tags.
    pub tags: Tags,
    /// Most bytes that its hosted repositories have together.
    pub quota_bytes: Option<u64>,
}

/// A repository as the configuration declares it, or the API asks for it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its address.
    pub address: Address,
    /// What it speaks.
    pub format: String,
    /// Hosted, proxy or group.
    pub kind: Kind,
    /// Its tags.
    pub tags: Tags,
    /// Its settings, `upstream` and `members` among them.
    pub settings: Map<String, Value>,
}

/// Checks what can be checked without the catalog: the format, its own settings, name rules, upstream and members.
///
/// # Errors
/// 400 saying what is wrong and where.
pub fn check(wanted: &Wanted, formats: &[Arc<dyn Format>]) -> Result<()> {
    let named = |error: Error| Error::bad_request(format!("{}: {}", wanted.address, error.message()));
    let known = || formats.iter().map(|format| format.id()).collect::<Vec<_>>().join(", ");
    let format = formats.iter().find(|format| format.id() == wanted.format);
    let format = format.ok_or_else(|| Error::bad_request(format!("{}: the format {:?} is not one of: {}", wanted.address, wanted.format, known())))?;
    let settings = Value::Object(wanted.settings.clone());
    Rules::from_settings(&settings).map_err(named)?;
    let misplaced = |field: &str, kind: &str| named(Error::bad_request(format!("{field} belongs to a {kind} repository")));
    match wanted.kind {
        Kind::Proxy => {
            let upstream = upstream_settings(&settings).map_err(named)?;
            towards(Arc::clone(format), &settings).map_err(named)?;
            if let Some(spoken) = upstream.preset_format().filter(|spoken| *spoken != wanted.format) {
                return Err(named(Error::bad_request(format!("upstream.preset: that registry speaks {spoken}, not {}", wanted.format))));
            }
            Patterns::from_settings(&settings).map_err(named)?;
            Paths::from_settings(&settings).map_err(named)?;
        }
        _ if settings.get("patterns").is_some() => return Err(misplaced("patterns", "proxy")),
        _ if settings.get(PATHS).is_some() => return Err(misplaced(PATHS, "proxy")),
        _ if settings.get("upstream").is_some() => return Err(misplaced("upstream", "proxy")),
        _ => {}
    }
    match wanted.kind {
        Kind::Group if members(&settings).map_err(named)?.is_empty() => {
            return Err(named(Error::bad_request("a group needs members = [\"system/repository\", …]")));
        }
        Kind::Group => {}
        _ if settings.get("members").is_some() || settings.get("publish_to").is_some() => return Err(misplaced("members and publish_to", "group")),
        _ => {}
    }
    if settings.get(REDIRECT_DOWNLOADS).is_some_and(|setting| !setting.is_boolean()) {
        return Err(named(Error::bad_request(format!("{REDIRECT_DOWNLOADS} is true or false"))));
    }
    Retention::from_settings(&settings, wanted.kind, &**format).map_err(named)?;
    if quota(&settings).map_err(named)?.is_some() && wanted.kind != Kind::Hosted {
        return Err(misplaced(QUOTA, "hosted"));
    }
    Purge::from_settings(&settings).map_err(named)?;
    check_namespace(&settings).map_err(named)?;
    Remote::from_settings(&settings).map_err(named)?;
    let own: Map<String, Value> = wanted
        .settings
        .iter()
        .filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "upstream" | "members" | "rules" | "publish_to" | "patterns" | PATHS | ARTIFACTAPI | NAMESPACE | REDIRECT_DOWNLOADS | RETENTION | QUOTA | PURGE
            )
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    format.check_settings(&Value::Object(own)).map_err(named)
}

/// What is declared and what was made through the API may not make a name below `/v2/` ambiguous.
///
/// # Errors
/// 400 naming the system and the repository of the default system that share a name.
fn check_names(systems: &[SystemName], repositories: &[Address]) -> Result<()> {
    let shared = |address: &&Address| address.system.as_str() == DEFAULT_SYSTEM && systems.iter().any(|system| system.as_str() == address.repository.as_str());
    match repositories.iter().find(shared) {
        None => Ok(()),
        Some(address) => Err(Error::bad_request(format!(
            "the repository {address} and the system {} have one name: a system and a repository of {DEFAULT_SYSTEM} may not share a name; take another",
            address.repository
        ))),
    }
}

/// Creates what is declared and missing, updates what is declared and there, and frees what is no longer declared for changes
/// through the API: nothing is deleted because a line left a file.
///
/// # Errors
/// 400 for a declared repository whose format or kind is not the stored one's, and failures of the catalog.
pub async fn reconcile(catalog: &Catalog, systems: &[DeclaredSystem], repositories: &[Wanted], now: Timestamp) -> Result<()> {
    for _ in 0..OTHERS {
        match reconcile_once(catalog, systems, repositories, now).await {
            // Another replica that starts at the same time was quicker with something: look again.
            Err(error) if error.status() == StatusCode::CONFLICT => {}
            other => return other,
        }
    }
    reconcile_once(catalog, systems, repositories, now).await
}

async fn reconcile_once(catalog: &Catalog, systems: &[DeclaredSystem], repositories: &[Wanted], now: Timestamp) -> Result<()> {
    let stored: Vec<_> = catalog.systems().await?;
    let all_systems: Vec<_> = stored.iter().map(|row| row.name.clone()).chain(systems.iter().map(|system| system.name.clone())).collect();
    let stored_addresses = catalog.repositories().await?.into_iter().map(|row| row.address);
    check_names(&all_systems, &stored_addresses.chain(repositories.iter().map(|wanted| wanted.address.clone())).collect::<Vec<_>>())?;
    for system in systems {
        match stored.iter().find(|row| row.name == system.name) {
            None => {
                catalog.create_system(system.name.clone(), system.tags.clone(), true, now).await?;
            }
            Some(row) if row.tags != system.tags || !row.declared => catalog.update_system(system.name.clone(), system.tags.clone(), true).await?,
            Some(_) => {}
        }
        if stored.iter().find(|row| row.name == system.name).and_then(|row| row.quota_bytes) != system.quota_bytes {
            catalog.set_system_quota(system.name.clone(), system.quota_bytes).await?;
        }
    }
    for row in stored.iter().filter(|row| row.declared && !systems.iter().any(|system| system.name == row.name)) {
        catalog.update_system(row.name.clone(), row.tags.clone(), false).await?;
    }
    let stored = catalog.repositories().await?;
    let declared: BTreeSet<_> = repositories.iter().map(|wanted| &wanted.address).collect();
    for wanted in repositories {
        let settings = Value::Object(wanted.settings.clone());
        match stored.iter().find(|row| row.address == wanted.address) {
            None => {
                let new = NewRepository {
                    address: wanted.address.clone(),
                    format: wanted.format.clone(),
                    kind: wanted.kind,
                    tags: wanted.tags.clone(),
                    settings,
                    declared: true,
                };
                drop(catalog.create_repository(new, now).await?);
            }
            Some(row) if row.format != wanted.format || row.kind != wanted.kind => {
                return Err(Error::bad_request(format!(
                    "{}: it is stored as a {:?} {} repository; a repository cannot change its format or kind: declare a new name",
                    wanted.address, row.kind, row.format
                )));
            }
            Some(row) if row.tags != wanted.tags || row.settings != settings || !row.declared => {
                catalog.update_repository(row.id, wanted.tags.clone(), settings, true).await?;
            }
            Some(_) => {}
        }
    }
    for row in stored.iter().filter(|row| row.declared && !declared.contains(&row.address)) {
        tracing::warn!(repository = %row.address, "no longer declared in the configuration: kept, and from now on managed through the API");
        catalog.update_repository(row.id, row.tags.clone(), row.settings.clone(), false).await?;
    }
    Ok(())
}
