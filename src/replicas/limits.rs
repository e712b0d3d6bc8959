//! The buckets of `access::limiter` in Redis, so that all replicas together let through what one may.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use redis::aio::ConnectionManager;
use redis::{RedisResult, Script};
use sha2::{Digest as _, Sha256};

use crate::access::{Payment, SharedLimits};

/// Milliseconds for which Redis is not asked after it did not answer: nobody's sign-in waits for it twice.
const LEFT_ALONE: u64 = 2000;
/// By the clock of Redis, so that those of the replicas need not agree: refuses with the time to wait when a bucket is full, else pays into each.
const PAY: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local paid = {}
for i, key in ipairs(KEYS) do
    local failures, step = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local full_until = math.max(tonumber(redis.call('GET', key) or '0') or 0, now)
    local over = full_until + step - now - failures * step
    if over > 0 then return over end
    paid[i] = full_until + step
end
for i, key in ipairs(KEYS) do redis.call('SET', key, string.format('%.0f', paid[i]), 'PX', string.format('%.0f', paid[i] - now)) end
return 0";
/// Gives back what is still there.
const REFUND: &str = r"
for i, key in ipairs(KEYS) do
    if redis.call('EXISTS', key) == 1 then redis.call('DECRBY', key, ARGV[2 * i]) end
end
return 0";

/// The buckets in Redis.
pub(super) struct RedisLimits {
    connection: ConnectionManager,
    prefix: String,
    pay: Script,
    refund: Script,
    since: Instant,
    /// Until when Redis is left alone, in milliseconds after `since`.
    left_alone_until: AtomicU64,
}

impl RedisLimits {
    pub(super) fn new(connection: ConnectionManager, common: &str) -> Self {
        let prefix = format!("entrepot:{common}:limit");
        Self { connection, prefix, pay: Script::new(PAY), refund: Script::new(REFUND), since: Instant::now(), left_alone_until: AtomicU64::new(0) }
    }

    /// Neither names nor addresses stand in Redis: people type passwords into the wrong field.
    fn key(&self, payment: &Payment) -> String {
        let digest = Sha256::new().chain_update(&self.prefix).chain_update(&payment.bucket).finalize();
        format!("{}:{}", self.prefix, hex::encode(digest.get(..16).unwrap_or_default()))
    }

    async fn run(&self, script: &Script, payments: &[Payment]) -> Option<i64> {
        let elapsed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        if elapsed < self.left_alone_until.load(Ordering::Acquire) {
            return None;
        }
        let mut invocation = script.prepare_invoke();
        for payment in payments {
            invocation.key(self.key(payment)).arg(payment.failures).arg(payment.forget_one_after);
        }
        let mut connection = self.connection.clone();
        let answer: Result<RedisResult<i64>, _> = tokio::time::timeout(super::PATIENCE, invocation.invoke_async(&mut connection)).await;
        match answer {
            Ok(Ok(number)) => Some(number),
            other => {
                let kind = other.ok().and_then(Result::err).map(|error| error.kind());
                tracing::debug!(?kind, "Redis was not there for a limit");
                self.left_alone_until.store(elapsed.saturating_add(LEFT_ALONE), Ordering::Release);
                None
            }
        }
    }
}

#[async_trait::async_trait]
impl SharedLimits for RedisLimits {
    async fn pay(&self, payments: &[Payment]) -> Result<(), u32> {
        match self.run(&self.pay, payments).await {
            Some(over @ 1..) => Err(u32::try_from(over / 1000 + 1).unwrap_or(u32::MAX)),
            // Without Redis each replica has its own limit alone.
            Some(_) | None => Ok(()),
        }
    }

    async fn refund(&self, payments: &[Payment]) {
        self.run(&self.refund, payments).await;
    }
}
