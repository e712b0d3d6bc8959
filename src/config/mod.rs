//! Configuration: default < file < environment < flag, and every value remembers where it came from.
//!
//! This is the only place that reads the environment. Reading never stops at the first mistake: [`load`] reports every
//! problem that it finds, with the line of the file where there is one.

mod check;
mod declared;
mod environment;
mod reader;
mod remotes;
mod services;
mod show;
mod value;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

pub use check::{Checks, ReadPublisher};
pub use declared::{Host, Publisher, Repository, System};
pub use environment::Environment;
pub use reader::{Origin, Problem, Shown};
pub use remotes::Artifactapi;
pub use services::Services;
pub use value::{BlobKind, DatabaseUrl, LogFormat};

use reader::{Given, Reader};

/// The file that is read when neither a flag nor the environment names one.
pub const DEFAULT_FILE: &str = "config.toml";

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--remotes`
    pub remotes: Option<PathBuf>,
}

/// Everything that an operator can say, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// `[server]`
    pub server: Server,
    /// `[database]`
    pub database: Database,
    /// `[blobs]`
    pub blobs: Blobs,
    /// `[access]`
    pub access: Access,
    /// `[tls]`; `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[limits]`
    pub limits: Limits,
    /// `[cache]`
    pub cache: Cache,
    /// `[gc]`
    pub gc: Gc,
    /// `[redis]`
    pub redis: Redis,
    /// `[log]`
    pub log: Log,
    /// `[artifactapi]`
    pub artifactapi: Artifactapi,
    /// `[[system]]`, in the order of the file.
    pub systems: Vec<System>,
    /// `[[repository]]`, in the order of the file, and the remotes of `[artifactapi]`.
    pub repositories: Vec<Repository>,
    /// `[[host]]`, in the order of the file.
    pub hosts: Vec<Host>,
    /// `[[publisher]]`, in the order of the file.
    pub publishers: Vec<Publisher>,
    /// The password of the user `admin` on the first start. From the environment only.
    pub admin_password: Option<SecretString>,
    /// Every single-valued setting as `config show` prints it.
    pub settings: Vec<Shown>,
}

/// How the server is reached.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The URL in documents and redirects, without trailing slash; `None`: taken from each request.
    pub public_url: Option<String>,
    /// Networks whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The data directory.
    pub data: PathBuf,
    /// Request threads; 0 for one per processor.
    pub workers: u64,
    /// What seals the keys in the catalog, in hexadecimal; `None`: the file in the data directory.
    pub master_key: Option<SecretString>,
}

/// Where records live.
#[derive(Debug, Clone)]
pub struct Database {
    /// Empty: SQLite in the data directory.
    pub url: DatabaseUrl,
}

/// Where bytes live.
#[derive(Debug, Clone)]
pub struct Blobs {
    /// Local files or S3.
    pub kind: BlobKind,
    /// The bucket.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The URL of the S3 server; `None`: AWS.
    pub endpoint: Option<String>,
    /// The URL by which clients reach the S3 server, where it is another.
    pub public_endpoint: Option<String>,
    /// Whether the bucket stands in the path of URLs.
    pub path_style: bool,
    /// The access key; empty for the standard chain.
    pub access_key: String,
    /// Its secret.
    pub secret_key: Option<SecretString>,
    /// Certificates of the authorities that are trusted in place of the system's, read from the file that `ca_file` names.
    pub authorities: Option<String>,
    /// What the keys of all objects begin with.
    pub prefix: String,
}

/// Who may do what.
#[derive(Debug, Clone)]
pub struct Access {
    /// The default policies as text, read from the file that `policies` names; `None`: the built-in ones.
    pub policies: Option<String>,
    /// How long a token lives whose maker names no time, in seconds; 0: until it is revoked.
    pub token_default_seconds: u64,
    /// The longest that a token may live, in seconds; 0: no limit.
    pub token_max_seconds: u64,
    /// For whom identity tokens are made out: what the file says, or else the host of `server.public_url`; `None` without either.
    pub audience: Option<String>,
}

/// The files for TLS. Relative paths started at the folder of the configuration file.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate and those that lead to its authority, in PEM form.
    pub certificate: PathBuf,
    /// Its private key in PEM form.
    pub key: PathBuf,
}

/// Who may see figures.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Networks that may read `/metrics` without signing in.
    pub networks: Vec<IpNet>,
}

/// What one request or connection may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body of a publish.
    pub max_upload_bytes: u64,
    /// Seconds that a client has for a request's head.
    pub header_timeout: u64,
    /// Seconds without any byte after which a body in either direction is given up.
    pub idle_timeout: u64,
    /// Seconds that an idle connection is kept.
    pub keep_alive: u64,
    /// Connections at the same time.
    pub max_connections: u64,
    /// Seconds that running requests and fills get when the server is asked to end.
    pub shutdown_timeout: u64,
}

/// What is kept in memory.
#[derive(Debug, Clone, Copy)]
pub struct Cache {
    /// Bytes of index documents.
    pub index_bytes: u64,
}

/// When garbage is removed.
#[derive(Debug, Clone, Copy)]
pub struct Gc {
    /// Seconds between two runs in the server; 0: never.
    pub interval: u64,
    /// Seconds that what nothing names is kept.
    pub grace: u64,
}

/// What replicas tell each other by.
#[derive(Debug, Clone)]
pub struct Redis {
    /// A Redis server, with its password; `None`: replicas only have the database.
    pub url: Option<SecretString>,
}

/// What is written to standard error.
#[derive(Debug, Clone)]
pub struct Log {
    /// Lines for people or JSON objects.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,entrepot::upstream=debug`.
    pub level: String,
    /// Milliseconds that a line may wait to be written together with others; 0: none waits.
    pub delay: u64,
}

/// Reads and checks the configuration.
///
/// # Errors
/// All problems, in the order of the file.
pub fn load(flags: &Flags, environment: &Environment, checks: &Checks<'_>) -> Result<Config, Vec<Problem>> {
    let file = match (&flags.config, &environment.config) {
        (Some(path), _) | (None, Some(path)) => Some(path.clone()),
        (None, None) => Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()),
    };
    let text = match &file {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path).map_err(|cause| vec![Problem::new(None, format!("cannot read {}: {cause}", path.display()))])?,
    };
    read(file.as_deref(), &text, flags, environment, checks)
}

/// A setting that the environment can change, not a flag.
fn variable<'a>(name: &'static str, value: Option<&'a str>) -> Given<'a> {
    Given { flag: ("", None), environment: (name, value) }
}

fn secret(value: Option<&SecretString>) -> Option<&str> {
    value.map(ExposeSecret::expose_secret)
}

/// Reads and checks the configuration from a text; `file` is its name in messages, and paths in it are relative to its folder.
///
/// # Errors
/// All problems, in the order of the file.
pub fn read(file: Option<&Path>, text: &str, flags: &Flags, environment: &Environment, checks: &Checks<'_>) -> Result<Config, Vec<Problem>> {
    let name = file.map_or_else(|| DEFAULT_FILE.to_owned(), |path| path.display().to_string());
    let document = reader::parse(&name, text)?;
    let mut reader = Reader::new(&name, text, document.get_ref());

    let listen_text = flags.listen.as_deref();
    let data_flag = flags.data.as_ref().map(|path| path.display().to_string());
    let data_environment = environment.data.as_ref().map(|path| path.display().to_string());

    let mut section = reader.section("server");
    let server = Server {
        listen: section.given(
            "listen",
            SocketAddr::from(([127, 0, 0, 1], 8080)),
            Given { flag: ("--listen", listen_text), environment: ("ENTREPOT_LISTEN", environment.listen.as_deref()) },
        ),
        public_url: section.setting("public_url", value::PublicUrl::default()).0,
        trusted_proxies: section.setting("trusted_proxies", Vec::new()),
        data: section.given(
            "data",
            PathBuf::from("data"),
            Given { flag: ("--data", data_flag.as_deref()), environment: ("ENTREPOT_DATA", data_environment.as_deref()) },
        ),
        workers: section.number("workers", 0, 0..=1024),
        master_key: section.given("master_key", value::MasterKey::default(), variable("ENTREPOT_MASTER_KEY", secret(environment.master_key.as_ref()))).0,
    };
    let master_key_origin = section.origin_of("master_key");
    section.finish();

    let problems_before = reader.problem_count();
    let described_database = environment.services.database_url(&mut reader, environment.database_url.is_some());
    let own_key = environment.s3_access_key.as_ref().map(|_| "ENTREPOT_S3_ACCESS_KEY");
    let own_key = own_key.or(environment.s3_secret_key.as_ref().map(|_| "ENTREPOT_S3_SECRET_KEY"));
    let described = environment.services.objects(&mut reader, own_key);
    let described = described.as_ref();
    let services_are_whole = reader.problem_count() == problems_before;

    let mut section = reader.section("database");
    let given = match &described_database {
        Some(url) => variable("DBHOST", Some(url.expose_secret())),
        None => variable("ENTREPOT_DATABASE_URL", environment.database_url.as_deref()),
    };
    let database = Database { url: section.given("url", DatabaseUrl::default(), given) };
    let database_origin = section.origin_of("url");
    section.finish();

    let access_key = match described {
        Some(objects) => variable("MINIO_ACCESS_KEY", Some(&objects.access_key)),
        None => variable("ENTREPOT_S3_ACCESS_KEY", environment.s3_access_key.as_deref()),
    };
    let secret_key = match described {
        Some(objects) => variable("MINIO_SECRET_KEY", Some(objects.secret_key.expose_secret())),
        None => variable("ENTREPOT_S3_SECRET_KEY", secret(environment.s3_secret_key.as_ref())),
    };
    let mut section = reader.section("blobs");
    let mut blobs = Blobs {
        kind: section.given("kind", BlobKind::Files, variable("MINIO_ENDPOINT", described.map(|_| "s3"))),
        bucket: section.given("bucket", String::new(), variable("MINIO_BUCKET", described.map(|objects| objects.bucket.as_str()))),
        region: section.setting("region", String::from("us-east-1")),
        endpoint: section.given("endpoint", value::Endpoint::default(), variable("MINIO_ENDPOINT", described.map(|objects| objects.endpoint.as_str()))).0,
        public_endpoint: section.setting("public_endpoint", value::Endpoint::default()).0,
        // A server that is named by its host alone has no names of hosts for its buckets.
        path_style: section.given("path_style", false, variable("MINIO_ENDPOINT", described.map(|_| "true"))),
        access_key: section.given("access_key", String::new(), access_key),
        secret_key: section.given("secret_key", value::Secret::default(), secret_key).0,
        authorities: None,
        prefix: section.setting("prefix", String::new()),
    };
    let ca_file: String = section.setting("ca_file", String::new());
    let ca_file_origin = section.origin_of("ca_file");
    let origins = check::StorageOrigins {
        url: database_origin,
        kind: section.origin_of("kind"),
        bucket: section.origin_of("bucket"),
        access_key: section.origin_of("access_key"),
        prefix: section.origin_of("prefix"),
        master_key: master_key_origin,
    };
    section.finish();

    let mut section = reader.section("access");
    let policies: String = section.setting("policies", String::new());
    let policies_origin = section.origin_of("policies");
    let token_default_seconds = section.number("token_default_seconds", 0, 0..=u64::MAX);
    let token_max_seconds = section.number("token_max_seconds", 0, 0..=u64::MAX);
    let audience: String = section.setting("audience", String::new());
    let audience_origin = section.origin_of("audience");
    section.finish();

    let mut section = reader.section("tls");
    let (certificate, key): (String, String) = (section.setting("certificate", String::new()), section.setting("key", String::new()));
    let (certificate_origin, key_origin) = (section.origin_of("certificate"), section.origin_of("key"));
    section.finish();

    let mut section = reader.section("metrics");
    let metrics = Metrics { networks: section.setting("networks", value::own_networks()) };
    section.finish();

    let mut section = reader.section("limits");
    let limits = Limits {
        max_upload_bytes: section.number("max_upload_bytes", 20 << 30, 1 << 16..=1 << 50),
        header_timeout: section.number("header_timeout", 30, 1..=3600),
        idle_timeout: section.number("idle_timeout", 60, 1..=3600),
        keep_alive: section.number("keep_alive", 75, 1..=3600),
        max_connections: section.number("max_connections", 10_000, 1..=1_000_000),
        shutdown_timeout: section.number("shutdown_timeout", 30, 0..=3600),
    };
    section.finish();

    let mut section = reader.section("cache");
    let cache = Cache { index_bytes: section.number("index_bytes", 64 << 20, 1 << 20..=1 << 40) };
    section.finish();

    let mut section = reader.section("gc");
    let gc = Gc { interval: section.number("interval", 86_400, 0..=365 * 86_400), grace: section.number("grace", 86_400, 0..=3650 * 86_400) };
    section.finish();

    let mut section = reader.section("redis");
    let given = variable("REDIS_URL", secret(environment.redis_url.as_ref()));
    let redis = Redis { url: section.given("url", value::RedisUrl::default(), given).0 };
    section.finish();

    let mut section = reader.section("log");
    let log = Log {
        format: section.setting("format", LogFormat::Text),
        level: section.setting("level", String::from("info")),
        delay: section.number("delay", 5, 0..=1000),
    };
    let log_origin = section.origin_of("level");
    section.finish();

    let remotes_flag = flags.remotes.as_ref().map(|path| path.display().to_string());
    let remotes_environment = environment.remotes.as_ref().map(|path| path.display().to_string());
    let mut section = reader.section("artifactapi");
    let given = Given { flag: ("--remotes", remotes_flag.as_deref()), environment: ("ENTREPOT_REMOTES", remotes_environment.as_deref()) };
    let remotes: String = section.given("remotes", String::new(), given);
    let remotes_origin = section.origin_of("remotes");
    section.finish();

    let systems = declared::systems(&mut reader);
    let (mut repositories, are_defaults) = declared::repositories(&mut reader, file, checks);
    let artifactapi = Artifactapi {
        remotes: remotes::place(&remotes, &remotes_origin, file),
        systems: systems.iter().map(|(system, _)| system.name.clone()).collect(),
        repositories: repositories.iter().map(|(repository, _)| repository.clone()).collect(),
        are_defaults,
    };
    let found = artifactapi.add(&mut repositories, checks);
    let hosts = declared::hosts(&mut reader);
    if audience.len() > 256 || !audience.bytes().all(|byte| byte.is_ascii_graphic()) {
        reader.problem_at(&audience_origin, String::from("access.audience: expected a name without spaces, such as \"packages.example.com\""));
    }
    let host = || server.public_url.as_deref().and_then(|url| Some(url.split_once("://")?.1.split('/').next()?.to_owned()));
    let audience = Some(audience).filter(|audience| !audience.is_empty()).or_else(host);
    let publishers = declared::publishers(&mut reader, audience.as_deref(), checks);
    reader.finish();
    found.into_iter().for_each(|problem| reader.report(problem));

    // What half of a family says would only confuse.
    if services_are_whole {
        check::storage(&mut reader, &database.url, &blobs, server.master_key.is_some(), &origins);
    }
    blobs.authorities = check::file(&mut reader, file, "blobs.ca_file", (&ca_file, &ca_file_origin), &|_| Ok(()));
    if tracing_subscriber::EnvFilter::try_new(&log.level).is_err() {
        reader.problem_at(
            &log_origin,
            format!("log.level: {:?} is not a level; use error, warn, info, debug, trace or directives such as \"info,entrepot::upstream=debug\"", log.level),
        );
    }
    let policies = check::file(&mut reader, file, "access.policies", (&policies, &policies_origin), checks.policies);
    let tls = check::tls(&mut reader, file, (&certificate, &certificate_origin), (&key, &key_origin), checks);
    check::declared(&mut reader, &systems, &repositories, checks);
    check::hosts(&mut reader, &hosts, &repositories);
    check::publishers(&mut reader, &publishers, &repositories);

    let environment_origin = Origin::Environment("ENTREPOT_ADMIN_PASSWORD");
    if let Some(password) = &environment.admin_password
        && password.expose_secret().chars().count() < 8
    {
        reader.problem_at(&environment_origin, String::from("ENTREPOT_ADMIN_PASSWORD: a password has at least 8 characters"));
    }
    let (settings, problems) = reader.into_parts();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Config {
        file: file.map(Path::to_path_buf),
        server,
        database,
        blobs,
        access: Access { policies, token_default_seconds, token_max_seconds, audience },
        tls,
        metrics,
        limits,
        cache,
        gc,
        redis,
        log,
        artifactapi,
        systems: systems.into_iter().map(|(system, _)| system).collect(),
        repositories: repositories.into_iter().map(|(repository, _)| repository).collect(),
        hosts: hosts.into_iter().map(|(host, _)| host).collect(),
        publishers: publishers.into_iter().map(|(publisher, _)| publisher).collect(),
        admin_password: environment.admin_password.clone(),
        settings,
    })
}

#[cfg(test)]
mod tests;
