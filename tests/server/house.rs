//! A server in this process, and the conformance suite's way to use it.
#![cfg(test)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use entrepot::access::{NewUser, Settings as AccessSettings};
use entrepot::jobs::Schedule;
use entrepot::registry::Engine;
use entrepot::registry::reconcile::{DeclaredSystem, Wanted};
use entrepot::server::{Options, Running, start};
use entrepot::store::blobs::S3Settings;
use entrepot_kit::accounts::Tags;
use entrepot_kit::conformance::{Ask, NewRepository, Reply, Subject, Who};
use entrepot_kit::{Address, Kind, SystemName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::raw::{self, Call};
use crate::relay::Relay;
use crate::support::balancer::Balancer;
use crate::support::storage::{self, Shared};
use crate::toy::Toy;

/// The system that tests make their repositories in.
pub(crate) const SYSTEM: &str = "alpha";
/// The password of every user of a test.
pub(crate) const PASSWORD: &str = "a long enough secret";

/// A server with its own data, and what a test knows of it: one engine, or two replicas behind a balancer.
pub(crate) struct House {
    running: Vec<Running>,
    pub(crate) host: String,
    relays: Mutex<HashMap<String, Relay>>,
    pair: Option<Pair>,
    folder: TempDir,
}

/// What makes two engines one server.
struct Pair {
    balancer: Balancer,
    shared: Shared,
}

/// Tags from `key=value` pairs.
pub(crate) fn tags(pairs: &[(&str, &str)]) -> Tags {
    let mut tags = Tags::new();
    for (key, value) in pairs {
        tags.entry((*key).to_owned()).or_default().insert((*value).to_owned());
    }
    tags
}

impl House {
    /// A server with the systems `alpha` and `beta`, and in each an owner (`alpha-owner`, `beta-owner`).
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same with other options.
    pub(crate) async fn start_with(change: impl Fn(&mut Options)) -> Self {
        Self::start_on(storage::wants_replicas(), change).await
    }

    /// One engine on a data directory of its own, on whatever storage the other tests run.
    pub(crate) async fn alone_with(change: impl Fn(&mut Options)) -> Self {
        Self::start_on(false, change).await
    }

    /// The same on the storage of replicas, or alone.
    pub(crate) async fn start_on(replicas: bool, change: impl Fn(&mut Options)) -> Self {
        let folder = TempDir::new().expect("a folder");
        let pair = replicas.then(|| tokio::task::block_in_place(|| Pair { balancer: Balancer::start(), shared: Shared::new() }));
        let mut house = Self { running: Vec::new(), host: String::new(), relays: Mutex::default(), pair, folder };
        house.open(change).await;
        for system in [SYSTEM, "beta"] {
            house.user(&format!("{system}-owner"), &[("system", system), ("role", "publisher"), ("role", "owner")]).await;
        }
        house
    }

    /// Its listener.
    pub(crate) fn listening(&self) -> &entrepot::http::Listening {
        &self.running.first().expect("a running server").listening
    }

    async fn open(&mut self, change: impl Fn(&mut Options)) {
        let starts = self.each_data().into_iter().map(|data| {
            let mut wanted = options(data);
            if let Some(pair) = &self.pair {
                share(&mut wanted, &pair.shared);
            }
            change(&mut wanted);
            start(wanted)
        });
        self.running = futures::future::try_join_all(starts).await.expect("the server starts");
        let addresses: Vec<_> = self.running.iter().map(|running| running.listening.address).collect();
        self.host = match &self.pair {
            None => addresses[0].to_string(),
            Some(pair) => {
                pair.balancer.send_to(addresses);
                pair.balancer.address().to_string()
            }
        };
    }

    /// The engine, or that of the first replica.
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.running.first().expect("a running server").engine
    }

    /// Ends the server and starts it again on the same data.
    pub(crate) async fn restart(&mut self) {
        self.restart_with(|_| {}).await;
    }

    /// The same with other options.
    pub(crate) async fn restart_with(&mut self, change: impl Fn(&mut Options)) {
        for old in self.running.drain(..) {
            old.listening.handle.stop(true).await;
            old.engine.access.audit().flush().await;
            old.engine.write_notes().await.expect("written");
        }
        self.open(change).await;
    }

    /// Writes down what the engines have in memory only.
    pub(crate) async fn settle(&self) {
        for running in &self.running {
            running.engine.write_notes().await.expect("written");
        }
    }

    /// A figure of `/metrics`, of the first engine where there are several.
    pub(crate) async fn figure(&self, name: &str) -> u64 {
        let metrics = self.call(Call::get("/metrics")).await.text();
        metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).expect("the figure")
    }

    /// How many engines may each do for themselves what one engine does once.
    pub(crate) fn engines(&self) -> usize {
        self.running.len()
    }

    /// The data directory, or the folder with those of all replicas.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The data directory of each engine.
    pub(crate) fn each_data(&self) -> Vec<PathBuf> {
        match self.pair {
            None => vec![self.data()],
            Some(_) => (1..=storage::REPLICAS).map(|number| self.data().join(format!("replica-{number}"))).collect(),
        }
    }

    /// Makes a user with [`PASSWORD`].
    pub(crate) async fn user(&self, name: &str, pairs: &[(&str, &str)]) {
        let new = NewUser { name: name.to_owned(), password: Some(PASSWORD.into()), tags: tags(pairs) };
        self.engine().access.operator().create_user(new).await.expect("a user");
    }

    /// Makes a repository at `system/name`.
    pub(crate) async fn repository(&self, address: &str, format: &str, kind: Kind, public: bool, settings: Value) {
        let new = entrepot::store::model::NewRepository {
            address: Address::parse(address).expect("an address"),
            format: format.to_owned(),
            kind,
            tags: if public { tags(&[("visibility", "public")]) } else { Tags::new() },
            settings,
            declared: false,
        };
        self.engine().catalog.create_repository(new, self.engine().now()).await.expect("a repository");
        self.engine().reload().await.expect("reloaded");
    }

    /// Sends a request as it is.
    pub(crate) async fn call(&self, call: Call) -> raw::Reply {
        raw::send(&self.host, &call).await.unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Sends a request as a user with [`PASSWORD`].
    pub(crate) async fn call_as(&self, user: &str, call: Call) -> raw::Reply {
        self.call(call.signed(user, PASSWORD)).await
    }

    /// The newest revision of a repository.
    pub(crate) fn head(&self, address: &str) -> u64 {
        let address = Address::parse(address).expect("an address");
        // A replica that was not asked may not have looked yet.
        self.running.iter().filter_map(|running| running.engine.repo(&address)).map(|repo| repo.head()).max().expect("the repository")
    }
}

fn options(data: PathBuf) -> Options {
    let mut formats = entrepot::formats::all();
    formats.push(Arc::new(Toy));
    let system = |name: &str| DeclaredSystem { name: SystemName::parse(name).expect("a name"), tags: Tags::new(), quota_bytes: None };
    Options {
        storage: entrepot::server::storage::Settings::embedded(data),
        http: entrepot::http::Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            public_url: None,
            trusted_proxies: Vec::new(),
            hosts: std::collections::BTreeMap::new(),
            tls: None,
            metrics_networks: vec!["127.0.0.0/8".parse().expect("a network")],
            workers: 2,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(30),
            max_connections: 1000,
            shutdown_timeout: 1,
        },
        access: AccessSettings { argon2_memory_kib: 64, ..AccessSettings::default() },
        cache_bytes: 32 << 20,
        max_upload: 1 << 30,
        gc: Schedule { interval: Duration::ZERO, grace: Duration::from_secs(86_400) },
        redis: None,
        admin_password: Some(PASSWORD.into()),
        systems: vec![system("main"), system(SYSTEM), system("beta")],
        repositories: Vec::<Wanted>::new(),
        remotes: None,
        publishers: Vec::new(),
        formats,
        clock: entrepot::clock::system(),
    }
}

/// Where a repository of the suite is, whose name begins with its format's: what container clients speak to is below `/v2`.
fn path_of(repository: &str) -> String {
    let mount = if repository.starts_with("oci-") { "/v2" } else { "" };
    format!("{mount}/{SYSTEM}/{repository}")
}

#[async_trait]
impl Subject for House {
    fn system(&self) -> &str {
        SYSTEM
    }

    async fn create(&self, new: NewRepository) -> Result<(), String> {
        let mut settings = new.settings;
        // The suite's upstreams are on this machine.
        if let Some(upstream) = settings.get_mut("upstream").and_then(Value::as_object_mut) {
            upstream.insert(String::from("allow_private"), json!(true));
        }
        self.repository(&format!("{SYSTEM}/{}", new.name), new.format, new.kind, new.public, settings).await;
        Ok(())
    }

    async fn send(&self, repository: &str, ask: Ask) -> Result<Reply, String> {
        let call = Call { method: ask.method, target: format!("{}/{}", path_of(repository), ask.path), headers: ask.headers, body: ask.body };
        let call = match ask.who {
            Who::Owner => call.signed("alpha-owner", PASSWORD),
            Who::Anonymous => call,
        };
        let reply = raw::send(&self.host, &call).await?;
        Ok(Reply { status: reply.status, headers: reply.headers, body: reply.body })
    }

    fn url(&self, repository: &str) -> String {
        format!("http://{}{}", self.host, path_of(repository))
    }

    async fn revision(&self, repository: &str) -> Result<u64, String> {
        Ok(self.head(&format!("{SYSTEM}/{repository}")))
    }

    async fn upstream(&self, repository: &str) -> Result<String, String> {
        let relay = Relay::at("127.0.0.1", self.host.parse().map_err(|_| "an address")?).await.map_err(|error| error.to_string())?;
        // Of these an upstream is an index, not the repository that it is in.
        let index = if repository.starts_with("pypi-") { "simple/" } else { "" };
        let url = format!("http://{}{}/{index}", relay.address, path_of(repository));
        self.relays.lock().await.insert(repository.to_owned(), relay);
        Ok(url)
    }

    async fn cut(&self, repository: &str) -> Result<(), String> {
        let relay = self.relays.lock().await.remove(repository).ok_or("no such upstream")?;
        relay.cut().await;
        Ok(())
    }
}

/// What all replicas must have in common.
fn share(options: &mut Options, shared: &Shared) {
    let blobs = shared.blobs();
    let text = |name: &str| blobs[name].as_str().expect("a text").to_owned();
    options.storage.master_key = Some(shared.master_key().into());
    options.storage.shared = Some(entrepot::server::storage::Shared {
        database_url: shared.database_url().into(),
        blobs: S3Settings {
            bucket: text("bucket"),
            region: text("region"),
            endpoint: Some(text("endpoint")),
            public_endpoint: None,
            path_style: true,
            credentials: Some((text("access_key"), text("secret_key").into())),
            authorities: None,
            prefix: String::new(),
        },
    });
}
