//! `serve`: from the configuration to a running server, and to its end.

use std::io::Write as _;
use std::time::Duration;

use super::Failure;
use crate::access::DEFAULT_POLICIES;
use crate::config::{self, Blobs, Config, Repository};
use crate::registry::reconcile::{DeclaredSystem, Wanted};
use crate::server::{Options, start, storage};
use crate::{clock, formats, http};

/// Serves until the process is asked to end.
///
/// # Errors
/// What keeps the server from starting, or ended it.
pub(super) async fn serve(config: Config) -> Result<(), Failure> {
    let kept = kept(&config);
    let options = options(config);
    let running = start(options).await.map_err(|error| Failure::Other(error.to_string()))?;
    let address = running.listening.address;
    tracing::info!("{kept}");
    match &running.password_file {
        Some(file) => tracing::info!("sign in as \"admin\"; the password is in {}", file.display()),
        None => tracing::info!("sign in as \"admin\" with the password that was set on the first start (entrepot admin user password admin sets another)"),
    }
    {
        // The one line that other programs wait for.
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "listening on http://{address}").and_then(|()| out.flush());
    }
    let ended = running.listening.ended.await.map_err(|cause| Failure::Other(cause.to_string()))?;
    running.engine.access.audit().flush().await;
    ended.map_err(|cause| Failure::Other(format!("the server ended: {cause}")))
}

/// Where things are kept, for the log.
fn kept(config: &Config) -> String {
    match &config.blobs {
        _ if config.database.url.is_sqlite() => format!("data in {}", config.server.data.display()),
        Blobs { bucket, endpoint: Some(endpoint), .. } => format!("records in PostgreSQL, blobs in the bucket {bucket:?} at {endpoint}"),
        Blobs { bucket, region, .. } => format!("records in PostgreSQL, blobs in the bucket {bucket:?} at AWS in {region}"),
    }
}

fn options(config: Config) -> Options {
    let storage = storage::Settings::from_config(&config);
    let access = access(&config.access);
    let repositories = config.repositories.iter().map(wanted).collect();
    Options {
        storage,
        http: http::Settings {
            listen: config.server.listen,
            public_url: config.server.public_url,
            trusted_proxies: config.server.trusted_proxies,
            workers: usize::try_from(config.server.workers).unwrap_or(0),
            header_timeout: Duration::from_secs(config.limits.header_timeout),
            idle_timeout: Duration::from_secs(config.limits.idle_timeout),
            keep_alive: Duration::from_secs(config.limits.keep_alive),
            max_connections: usize::try_from(config.limits.max_connections).unwrap_or(usize::MAX),
            shutdown_timeout: config.limits.shutdown_timeout,
        },
        access,
        cache_bytes: config.cache.index_bytes,
        max_upload: config.limits.max_upload_bytes,
        admin_password: config.admin_password,
        systems: config.systems.into_iter().map(|system| DeclaredSystem { name: system.name, tags: system.tags }).collect(),
        repositories,
        formats: formats::all(),
        clock: clock::system(),
    }
}

/// How access is decided.
pub(super) fn access(settings: &config::Access) -> crate::access::Settings {
    crate::access::Settings {
        default_policies: settings.policies.clone().unwrap_or_else(|| DEFAULT_POLICIES.to_owned()),
        token_default_seconds: settings.token_default_seconds,
        token_max_seconds: settings.token_max_seconds,
        ..crate::access::Settings::default()
    }
}

/// The engine keeps all settings of a repository together.
pub(super) fn wanted(repository: &Repository) -> Wanted {
    Wanted {
        address: repository.address(),
        format: repository.format.clone(),
        kind: repository.kind,
        tags: repository.tags.clone(),
        settings: repository.all_settings(),
    }
}
