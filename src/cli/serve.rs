//! `serve`: from the configuration to a running server, and to its end.

use std::io::Write as _;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use crate::access::{DEFAULT_POLICIES, DeclaredPublisher};
use crate::config::{self, Artifactapi, Blobs, Config, Repository};
use crate::http::tls::TlsFiles;
use crate::jobs::Schedule;
use crate::registry::Engine;
use crate::registry::reconcile::{DeclaredSystem, Wanted};
use crate::server::remotes::Remotes;
use crate::server::{Options, start, storage};
use crate::{clock, formats, http};

/// Serves until the process is asked to end.
///
/// # Errors
/// What keeps the server from starting, or ended it.
pub(super) async fn serve(config: Config) -> Result<(), Failure> {
    let kept = kept(&config);
    let options = options(config);
    // Before anybody can know that the server runs: a signal that comes at once must not kill it.
    let mut signals = Signals::listen().map_err(|cause| Failure::Other(format!("cannot listen for signals: {cause}")))?;
    let mut running = start(options).await.map_err(|error| Failure::Other(error.to_string()))?;
    let address = running.listening.address;
    let scheme = if running.listening.certificate.is_some() { "https" } else { "http" };
    tracing::info!("{kept}");
    match &running.password_file {
        Some(file) => tracing::info!("sign in as \"admin\"; the password is in {}", file.display()),
        None => tracing::info!("sign in as \"admin\" with the password that was set on the first start (entrepot admin user password admin sets another)"),
    }
    {
        // The one line that other programs wait for.
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "listening on {scheme}://{address}").and_then(|()| out.flush());
    }
    loop {
        tokio::select! {
            outcome = &mut running.listening.ended => {
                settle(&running.engine).await;
                let outcome = outcome.map_err(|cause| Failure::Other(cause.to_string()))?;
                return outcome.map_err(|cause| Failure::Other(format!("the server ended: {cause}")));
            }
            asked = signals.next() => match asked {
                Asked::End => break,
                Asked::Reload => {
                    running.listening.certificate.iter().for_each(|certificate| certificate.reload());
                    running.remotes.iter().for_each(|remotes| remotes.reload());
                }
            },
        }
    }
    tracing::info!("asked to end: no new connections; what runs is finished");
    let (listening, engine) = (running.listening, running.engine);
    let again = async { while !matches!(signals.next().await, Asked::End) {} };
    let finished = async {
        let cut = listening.finish(&engine).await;
        settle(&engine).await;
        cut
    };
    tokio::select! {
        cut = finished => {
            if cut.is_nothing() {
                tracing::info!("everything was finished");
            } else {
                tracing::warn!(requests = cut.requests, works = cut.works, "limits.shutdown_timeout is over: what still ran is cut off");
            }
            Ok(())
        }
        () = again => Err(Failure::Other(String::from("asked to end a second time: what still ran is cut off"))),
    }
}

/// Writes down what is only in memory.
async fn settle(engine: &Engine) {
    engine.access.audit().flush().await;
    if let Err(error) = engine.write_notes().await {
        tracing::warn!(%error, "the use of files in the last minute could not be written down");
    }
}

/// The signals that mean something to a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, hangup: signal(SignalKind::hangup())? })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

/// What a signal asks for.
enum Asked {
    /// `SIGTERM` or `SIGINT`.
    End,
    /// `SIGHUP`.
    Reload,
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
    let publishers = config.publishers.into_iter().map(|publisher| DeclaredPublisher { name: publisher.name, rule: publisher.rule }).collect();
    Options {
        storage,
        http: http::Settings {
            listen: config.server.listen,
            public_url: config.server.public_url,
            trusted_proxies: config.server.trusted_proxies,
            hosts: config.hosts.into_iter().map(|host| (host.name, host.repository)).collect(),
            tls: config.tls.as_ref().map(tls),
            metrics_networks: config.metrics.networks,
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
        gc: Schedule { interval: Duration::from_secs(config.gc.interval), grace: Duration::from_secs(config.gc.grace) },
        redis: config.redis.url,
        admin_password: config.admin_password,
        systems: config.systems.into_iter().map(|system| DeclaredSystem { name: system.name, tags: system.tags, quota_bytes: system.quota_bytes }).collect(),
        repositories,
        remotes: remotes(config.artifactapi),
        publishers,
        formats: formats::all(),
        clock: clock::system(),
    }
}

/// The file of remotes, as it is read again when it changed.
fn remotes(artifactapi: Artifactapi) -> Option<Remotes> {
    let file = artifactapi.remotes.clone()?;
    let read = move || match super::check::remotes(&artifactapi) {
        Ok(repositories) => Ok(repositories.iter().map(wanted).collect()),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    };
    Some(Remotes { file, read: Box::new(read) })
}

/// The files for TLS.
pub(super) fn tls(files: &config::Tls) -> TlsFiles {
    TlsFiles { certificate: files.certificate.clone(), key: files.key.clone() }
}

/// How access is decided.
pub(super) fn access(settings: &config::Access) -> crate::access::Settings {
    crate::access::Settings {
        default_policies: settings.policies.clone().unwrap_or_else(|| DEFAULT_POLICIES.to_owned()),
        token_default_seconds: settings.token_default_seconds,
        token_max_seconds: settings.token_max_seconds,
        audience: settings.audience.clone(),
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
