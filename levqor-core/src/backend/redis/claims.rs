//! Claims over Redis: one script per call.
//!
//! A key holds `h:until:token` while it is held and `s:until:token:outcome` once it is settled.

use std::sync::LazyLock;

use async_trait::async_trait;
use serde_json::Value;

use super::link::{Lost, RedisLink, Script, TimeSource};
use crate::claims::{Claim, Claims};
use crate::claims::{lost, token};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::instant;
use crate::types::{Millis, Tenant};

/// KEYS: the claim. ARGV: operation, now (empty for Redis' own clock), slack, span, token, outcome.
/// Answer: `won`, `held` and until, `settled` and the outcome, `ok`, or `lost`.
const SOURCE: &str = r"
local now
if ARGV[2] == '' then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
else
  now = tonumber(ARGV[2])
end
local span, token = tonumber(ARGV[4]), ARGV[5]
local state, till, owner, outcome
local v = redis.call('GET', KEYS[1])
if v then
  state, till, owner, outcome = string.match(v, '^(%a):(%d+):(%w+):?(.*)$')
  if tonumber(till) <= now then state = nil end
end
local function save(letter, rest)
  local ends = string.format('%.0f', now + span)
  redis.call('SET', KEYS[1], letter .. ':' .. ends .. ':' .. token .. rest, 'PX', string.format('%.0f', math.max(span, 0) + tonumber(ARGV[3])))
end
if ARGV[1] == 'claim' then
  if state == 'h' then return {'held', till} end
  if state == 's' then return {'settled', outcome} end
  save('h', '')
  return {'won', ''}
end
if state and owner ~= token then return {'lost', ''} end
if ARGV[1] == 'settle' then
  save('s', ':' .. ARGV[6])
elseif state == 's' then
  return {'lost', ''}
elseif state then
  redis.call('DEL', KEYS[1])
end
return {'ok', ''}
";
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));

/// Claims shared by every process that uses the same Redis. There is no fallback: while Redis does not
/// answer, claims are errors, within 150 ms.
#[derive(Debug)]
pub struct RedisClaims {
    link: RedisLink,
    time: TimeSource,
}

impl RedisClaims {
    /// Claims over a link.
    pub fn new(link: RedisLink) -> Self {
        RedisClaims {
            link,
            time: TimeSource::default(),
        }
    }

    /// Whose clock decides.
    #[must_use]
    pub fn time(mut self, source: TimeSource) -> Self {
        self.time = source;
        self
    }

    async fn run(
        &self,
        op: &str,
        (tenant, key): (&Tenant, &str),
        span: Millis,
        token: &str,
        outcome: &str,
        now: Millis,
    ) -> Result<(String, String)> {
        let mut call = SCRIPT.call(1);
        call.arg(format!("levqor:{{{tenant}}}:claim:{key}"))
            .arg(op)
            .arg(self.time.argument(instant(now)))
            .arg(self.time.slack());
        // A span beyond all calendars would not be exact in a script.
        call.arg(span.0.clamp(0, 4_000_000_000_000)).arg(token).arg(outcome);
        self.link.script(&call).await.map_err(Lost::into_error)
    }
}

fn odd(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "claims.corrupt",
        format!("Redis holds a claim that cannot be read: {what}"),
    )
}

#[async_trait]
impl Claims for RedisClaims {
    async fn claim(&self, tenant: &Tenant, key: &str, ttl: Millis, now: Millis) -> Result<Claim> {
        let token = token();
        let (answer, value) = self.run("claim", (tenant, key), ttl, &token, "", now).await?;
        match answer.as_str() {
            "won" => Ok(Claim::Won { token }),
            "held" => Ok(Claim::Held {
                until: Millis(value.parse().map_err(|_| odd("its end is no number"))?),
            }),
            "settled" => serde_json::from_str(&value)
                .map(Claim::Settled)
                .map_err(|_| odd("its outcome is no JSON")),
            _ => Err(odd("its state is unknown")),
        }
    }

    async fn settle(&self, tenant: &Tenant, key: &str, token: &str, outcome: Value, keep: Millis, now: Millis) -> Result<()> {
        let outcome = outcome.to_string();
        match self
            .run("settle", (tenant, key), keep, token, &outcome, now)
            .await?
            .0
            .as_str()
        {
            "ok" => Ok(()),
            _ => Err(lost(key)),
        }
    }

    async fn release(&self, tenant: &Tenant, key: &str, token: &str, now: Millis) -> Result<()> {
        match self
            .run("release", (tenant, key), Millis::ZERO, token, "", now)
            .await?
            .0
            .as_str()
        {
            "ok" => Ok(()),
            _ => Err(lost(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::backend::memory::claims_behaviour as behaviour;
    use crate::testkit::services::Service;

    #[tokio::test]
    async fn claims_over_redis_behave() {
        let redis = Service::redis();
        let c = RedisClaims::new(RedisLink::new(&redis.url()).unwrap()).time(TimeSource::Caller);
        behaviour::one_wins_and_the_others_learn_the_outcome(&c).await;
        behaviour::a_claim_that_ran_out_is_lost_to_who_won_it_next(&c).await;
        behaviour::a_released_claim_is_free(&c).await;
    }

    #[tokio::test]
    async fn of_many_that_claim_at_once_one_wins_by_redis_own_clock() {
        let redis = Service::redis();
        let url = redis.url();
        let t = Tenant::default();
        let mut tasks = Vec::new();
        for _ in 0..50 {
            let c = RedisClaims::new(RedisLink::new(&url).unwrap());
            let t = t.clone();
            // The callers' own clocks are far off, which must not matter.
            tasks.push(tokio::spawn(
                async move { c.claim(&t, "job", Millis::mins(1), Millis(0)).await },
            ));
        }
        let mut won = Vec::new();
        for task in tasks {
            // A link of its own for each: some may not get through in time on a busy machine.
            if let Ok(Claim::Won { token }) = task.await.unwrap() {
                won.push(token);
            }
        }
        assert_eq!(won.len(), 1);
        let c = RedisClaims::new(RedisLink::new(&url).unwrap());
        c.settle(&t, "job", &won[0], json!("done"), Millis::mins(1), Millis(0))
            .await
            .unwrap();
        assert_eq!(
            c.claim(&t, "job", Millis(1), Millis(0)).await.unwrap(),
            Claim::Settled(json!("done"))
        );
    }

    #[tokio::test]
    async fn a_dead_redis_is_an_error_at_once() {
        let mut redis = Service::redis();
        let c = RedisClaims::new(RedisLink::new(&redis.url()).unwrap());
        redis.kill();
        let e = c.claim(&Tenant::default(), "k", Millis(1), Millis(0)).await.unwrap_err();
        assert_eq!((e.code(), e.retryable()), ("redis.unavailable", true));
    }
}
