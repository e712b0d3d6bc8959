//! What replicas tell each other by: a Redis server, which carries news of changes and the limits for guessed passwords.
//!
//! Nothing needs it. While it is away, replicas learn of changes from the catalog as they do without it, and each keeps to the limits by itself.

mod limits;
mod message;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, PubSub};
use redis::{Client, RedisResult};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::registry::Engine;
use crate::registry::news::News;
use limits::RedisLimits;

/// How long Redis may take to answer, before we go on without it.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(2);
/// News that wait to be told; more are dropped.
const WAITING: usize = 1024;
/// Pauses between attempts to reach Redis again.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a silent connection is tried.
const PING: Duration = Duration::from_secs(15);

/// Redis, and what all replicas of one server have in common there.
pub struct Meeting {
    client: Client,
    /// Where news are told. Made of the master key: nobody else knows it, and two servers can share one Redis.
    channel: String,
    limits: Arc<RedisLimits>,
}

impl Meeting {
    /// Prepares it; nothing is connected yet, and Redis need not be there. `master_key` is what the replicas of one server have in common.
    ///
    /// # Errors
    /// What is wrong with the URL, without it.
    pub fn new(url: &SecretString, master_key: &SecretString) -> Result<Self, String> {
        let client = Client::open(url.expose_secret()).map_err(|_| String::from("redis.url cannot be used: expected redis://:password@host:6379/0"))?;
        let common = Sha256::new().chain_update("what replicas share in Redis").chain_update(master_key.expose_secret()).finalize();
        let common = hex::encode(common.get(..16).unwrap_or_default());
        let limits = Arc::new(RedisLimits::new(Self::manager(&client)?, &common));
        Ok(Self { client, channel: format!("entrepot:{common}:news"), limits })
    }

    fn manager(client: &Client) -> Result<ConnectionManager, String> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(PATIENCE))
            .set_connection_timeout(Some(CONNECT))
            .set_number_of_retries(1)
            .set_max_delay(PAUSE);
        ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(|error| format!("Redis: {error}"))
    }

    /// Begins to tell and to hear, in the background.
    ///
    /// # Errors
    /// When no connection can even be prepared.
    pub fn join(&self, engine: &Arc<Engine>) -> Result<(), String> {
        let origin = format!("{:016x}", fastrand::u64(..));
        let (teller, news) = mpsc::channel(WAITING);
        engine.access.share_limits(Arc::clone(&self.limits) as _);
        tokio::spawn(tell(Self::manager(&self.client)?, self.channel.clone(), origin.clone(), news));
        tokio::spawn(hear(self.client.clone(), self.channel.clone(), origin, Arc::downgrade(engine)));
        engine.tell_to(teller);
        Ok(())
    }
}

/// Tells what changed here. What cannot be told is not kept: by then everybody has seen it in the catalog.
async fn tell(mut connection: ConnectionManager, channel: String, origin: String, mut news: mpsc::Receiver<News>) {
    while let Some(item) = news.recv().await {
        let told: RedisResult<()> = redis::cmd("PUBLISH").arg(&channel).arg(message::write(&origin, &item)).query_async(&mut connection).await;
        if let Err(error) = told {
            tracing::debug!(kind = ?error.kind(), "Redis could not be told of a change");
        }
    }
}

/// Hears what changed elsewhere, until the engine is gone.
async fn hear(client: Client, channel: String, origin: String, engine: std::sync::Weak<Engine>) {
    let (mut pause, mut is_away) = (PAUSE, false);
    loop {
        if let Some(mut subscription) = subscribe(&client, &channel).await {
            tracing::info!("Redis carries news between replicas");
            (pause, is_away) = (PAUSE, false);
            listen(&mut subscription, &origin, &engine).await;
        }
        if engine.strong_count() == 0 {
            return;
        }
        if !is_away {
            is_away = true;
            tracing::warn!(
                "Redis (redis.url) cannot be reached: replicas learn of changes from the database alone, and limit guessed passwords each by itself"
            );
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn subscribe(client: &Client, channel: &str) -> Option<PubSub> {
    let connected = async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        Ok::<_, redis::RedisError>(subscription)
    };
    match tokio::time::timeout(CONNECT, connected).await {
        Ok(Ok(subscription)) => Some(subscription),
        // Its text may hold an address, not the password.
        Ok(Err(error)) => {
            tracing::debug!(kind = ?error.kind(), "Redis");
            None
        }
        Err(_) => None,
    }
}

/// Until the connection ends, or nobody is on its other side.
async fn listen(subscription: &mut PubSub, origin: &str, engine: &std::sync::Weak<Engine>) {
    loop {
        let heard = tokio::time::timeout(PING, subscription.on_message().next()).await;
        match heard {
            Ok(Some(text)) => {
                let Some(engine) = engine.upgrade() else { return };
                if let Some(news) = message::read(origin, text.get_payload_bytes()) {
                    engine.hear(news);
                }
            }
            Ok(None) => return,
            Err(_) => {
                let alive = tokio::time::timeout(CONNECT, subscription.ping::<redis::Value>()).await;
                if !matches!(alive, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}
