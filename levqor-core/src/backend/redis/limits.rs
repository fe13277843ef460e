//! Limits over Redis: one script decides all asks of a call in one round trip.

use std::sync::LazyLock;

use async_trait::async_trait;
use aws_lc_rs::digest;
use redis::Script;

use super::link::{Lost, Parts, RedisLink, TimeSource};
use crate::backend::memory::MemoryLimits;
use crate::error::{Error, Result};
use crate::limits::{
    Ask, Concurrency, Decision, Judgement, Limits, Op, Reason, Rule, Standing, Verdict, check_asks, instant, verdict,
};
use crate::types::{Millis, Tenant};

const SOURCE: &str = include_str!("limits.lua");
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));

/// What to do while Redis does not answer. Whatever it is, the decision says `degraded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDown {
    /// Count in this process, with a share of every quota: as many processes as share the limits together
    /// admit about as much as before.
    Local {
        /// How many processes share the limits.
        shares: u32,
    },
    /// Admit everything.
    Open,
    /// Refuse everything.
    Closed,
}

impl Default for OnDown {
    /// Counts locally, as if this process were alone.
    fn default() -> Self {
        OnDown::Local { shares: 1 }
    }
}

/// Limits shared by every process that uses the same Redis.
///
/// Answers within 150 ms whatever Redis does; see [`OnDown`]. A call that timed out may have been counted
/// all the same once Redis goes on: such a limit errs on the side of refusing. Setting and lifting blocks
/// and resets are errors while Redis is down, since they would be lost.
#[derive(Debug)]
pub struct RedisLimits {
    link: RedisLink,
    time: TimeSource,
    on_down: OnDown,
    local: MemoryLimits,
}

impl RedisLimits {
    /// Limits over a link.
    pub fn new(link: RedisLink) -> Self {
        RedisLimits {
            link,
            time: TimeSource::default(),
            on_down: OnDown::default(),
            local: MemoryLimits::new(),
        }
    }

    /// What to do while Redis does not answer.
    #[must_use]
    pub fn on_down(mut self, policy: OnDown) -> Self {
        self.on_down = policy;
        self
    }

    /// Whose clock decides.
    #[must_use]
    pub fn time(mut self, source: TimeSource) -> Self {
        self.time = source;
        self
    }

    async fn ask_redis(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Result<Decision, Lost> {
        let mut parts = Parts::new(SOURCE);
        parts
            .argument(self.time.argument(instant(now)))
            .argument(self.time.slack().to_string());
        for ask in asks {
            parts.key(key_of(tenant, ask, Some(&ask.quota.shape())));
            parts.key(key_of(tenant, ask, None));
            let (op, until) = match ask.op {
                Op::Take => ("take", 0),
                Op::Peek => ("peek", 0),
                Op::Refund => ("refund", 0),
                Op::Penalty => ("penalty", 0),
                Op::Reset => ("reset", 0),
                Op::Block(until) => ("block", instant(until)),
                Op::Queue(patience) => ("queue", instant(patience)),
                Op::Release(at) => ("release", instant(at)),
                Op::Renew(at) => ("renew", instant(at)),
            };
            let rule = ask.quota.rule().map_err(|_| Lost::Down)?;
            let (kind, numbers) = match rule {
                Rule::Gcra(g) => ("g", [g.interval, g.per_ms, g.capacity, g.bound]),
                Rule::FixedWindow(w) => ("f", [w.limit, w.period, 0, 0]),
                Rule::SlidingWindow(w) => ("s", [w.limit, w.period, 0, 0]),
                Rule::SlidingLog(w) | Rule::Concurrency(Concurrency(w)) => {
                    let mut sum = key_of(tenant, ask, Some(&ask.quota.shape()));
                    sum.extend_from_slice(b":n");
                    parts.key(sum);
                    let kind = if matches!(rule, Rule::SlidingLog(_)) { "l" } else { "c" };
                    (kind, [w.limit, w.period, 0, 0])
                }
            };
            parts
                .argument(op)
                .argument(ask.cost.to_string())
                .argument(until.to_string())
                .argument(kind);
            for n in numbers {
                parts.argument(n.to_string());
            }
        }
        let answer: Vec<i64> = self.link.script(&SCRIPT, &parts).await?;
        let (at, rest) = match answer.split_first() {
            Some((at, rest)) if rest.len() == asks.len() * 4 => (*at, rest),
            _ => return Err(Lost::Down),
        };
        let verdicts = rest.chunks_exact(4).map(|n| {
            let reason = match n[1] {
                0 => None,
                1 => Some(Reason::Exceeded),
                2 => Some(Reason::TooCostly),
                _ => Some(Reason::Blocked),
            };
            verdict(
                Judgement { wait: n[0], reason },
                Standing {
                    remaining: n[2],
                    reset_after: n[3],
                },
            )
        });
        let at = if self.time == TimeSource::Caller { now } else { Millis(at) };
        Ok(Decision::new(asks, verdicts, at))
    }

    fn without_redis(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Result<Decision> {
        if asks.iter().any(|a| matches!(a.op, Op::Block(_) | Op::Reset)) {
            return Err(
                Error::unavailable("limits.unavailable", "blocks and resets need Redis, which does not answer")
                    .after(Millis::secs(1)),
            );
        }
        let all = |v: fn(&Ask) -> Verdict| Decision::new(asks, asks.iter().map(v), now);
        let mut decision = match self.on_down {
            OnDown::Local { shares } => {
                let mut part = asks.to_vec();
                for ask in &mut part {
                    ask.quota = ask.quota.share(shares);
                }
                self.local.decide(tenant, &part, now)?
            }
            OnDown::Open => all(|a| Verdict {
                admitted: true,
                remaining: a.quota.capacity(),
                reset_after: Millis::ZERO,
                retry_after: None,
                ready_after: Millis::ZERO,
                reason: None,
            }),
            OnDown::Closed => all(|_| Verdict {
                admitted: false,
                remaining: 0,
                reset_after: Millis::secs(1),
                retry_after: Some(Millis::secs(1)),
                ready_after: Millis::ZERO,
                reason: Some(Reason::Unavailable),
            }),
        };
        decision.degraded = true;
        Ok(decision)
    }
}

/// The name of a key in Redis. Each part stands behind its length, so that no two pairs of name and key
/// share one; a long key is told by its SHA-256.
fn key_of(tenant: &Tenant, ask: &Ask, shape: Option<&[u8; 16]>) -> Vec<u8> {
    let mut key = format!(
        "levqor:{{{tenant}}}:{}:{}:{}:",
        if shape.is_some() { "limit" } else { "block" },
        ask.name.len(),
        ask.name
    )
    .into_bytes();
    if let Some(shape) = shape {
        // Letter, limit, period: the shape's own fields, readable.
        key.push(shape[0]);
        key.extend_from_slice(format!("{}/{}:", ask.quota.limit(), ask.quota.period().0).as_bytes());
    }
    if ask.key.len() <= 128 {
        key.push(b'=');
        key.extend_from_slice(&ask.key);
    } else {
        key.push(b'#');
        key.extend_from_slice(digest::digest(&digest::SHA256, &ask.key).as_ref());
    }
    key
}

#[async_trait]
impl Limits for RedisLimits {
    async fn take(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Result<Decision> {
        check_asks(asks)?;
        if asks.is_empty() {
            return Ok(Decision::new(asks, [], now));
        }
        match self.ask_redis(tenant, asks, now).await {
            Ok(decision) => Ok(decision),
            Err(Lost::Down) => self.without_redis(tenant, asks, now),
            Err(Lost::Refused(e)) => {
                tracing::warn!(category = e.category(), "Redis refused the limits script");
                self.without_redis(tenant, asks, now)
            }
        }
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
