//! Limits over Redis: one script decides all asks of a call in one round trip.

use std::io::Write as _;
use std::sync::LazyLock;

use async_trait::async_trait;
use aws_lc_rs::digest;

use super::link::{Lost, RedisLink, Script, TimeSource};
use crate::backend::memory::MemoryLimits;
use crate::error::{Error, Result};
use crate::limits::{
    Ask, Concurrency, Decision, Judgement, Limits, Op, Reason, Rule, Standing, Verdict, check_asks, instant, verdict,
};
use crate::types::{Millis, Tenant};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("limits.lua")));
/// The same for calls that only take from token buckets.
static BUCKETS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("buckets.lua")));

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
        let rules: Vec<Rule> = asks.iter().filter_map(|ask| ask.quota.rule().ok()).collect();
        let takes = |(ask, rule): (&Ask, &Rule)| ask.op == Op::Take && matches!(rule, Rule::Gcra(_));
        let plain = asks.iter().zip(&rules).all(takes);
        let sums = rules.iter().filter(|rule| has_sum(rule)).count();
        let mut call = if plain { &BUCKETS } else { &SCRIPT }.call(2 * asks.len() + sums);
        let mut key = Vec::with_capacity(128);
        for (ask, rule) in asks.iter().zip(&rules) {
            write_key(&mut key, tenant, ask, Some(&ask.quota.shape()));
            call.arg(key.as_slice());
            let state = has_sum(rule).then(|| key.clone());
            write_key(&mut key, tenant, ask, None);
            call.arg(key.as_slice());
            if let Some(mut sum) = state {
                sum.extend_from_slice(b":n");
                call.arg(sum);
            }
        }
        let answer: Vec<i64> = if plain {
            let mut packed = Vec::with_capacity(40 * asks.len() + 16);
            packed.extend(exact(self.time.number(instant(now))));
            packed.extend(exact(self.time.slack()));
            for (ask, rule) in asks.iter().zip(&rules) {
                packed.extend(exact(i64::from(ask.cost)));
                packed.extend(numbers(rule).1.into_iter().flat_map(exact));
            }
            call.arg(packed);
            let answer: Vec<u8> = self.link.script(&call).await?;
            answer.as_chunks().0.iter().map(|n| whole(*n)).collect()
        } else {
            call.arg(self.time.argument(instant(now))).arg(self.time.slack());
            for (ask, rule) in asks.iter().zip(&rules) {
                let (op, instant) = operation(ask.op);
                let (kind, numbers) = numbers(rule);
                call.arg(op).arg(ask.cost).arg(instant).arg(kind).arg(&numbers);
            }
            self.link.script(&call).await?
        };
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

/// An operation's name for the script, and the instant or span that belongs to it.
fn operation(op: Op) -> (&'static str, i64) {
    match op {
        Op::Take => ("take", 0),
        Op::Peek => ("peek", 0),
        Op::Refund => ("refund", 0),
        Op::Penalty => ("penalty", 0),
        Op::Reset => ("reset", 0),
        Op::Block(until) => ("block", instant(until)),
        Op::Queue(patience) => ("queue", instant(patience)),
        Op::Release(at) => ("release", instant(at)),
        Op::Renew(at) => ("renew", instant(at)),
    }
}

/// A number as a script reads it. Quotas keep theirs below 2^53.
#[allow(clippy::cast_precision_loss, reason = "quotas with larger numbers are refused")]
fn exact(n: i64) -> [u8; 8] {
    (n as f64).to_le_bytes()
}

/// A number as a script writes it.
#[allow(clippy::cast_possible_truncation, reason = "scripts answer whole numbers below 2^53")]
fn whole(n: [u8; 8]) -> i64 {
    f64::from_le_bytes(n) as i64
}

/// An algorithm's letter for the script, and its numbers.
fn numbers(rule: &Rule) -> (&'static str, [i64; 4]) {
    match rule {
        Rule::Gcra(g) => ("g", [g.interval, g.per_ms, g.capacity, g.bound]),
        Rule::FixedWindow(w) => ("f", [w.limit, w.period, 0, 0]),
        Rule::SlidingWindow(w) => ("s", [w.limit, w.period, 0, 0]),
        Rule::SlidingLog(w) => ("l", [w.limit, w.period, 0, 0]),
        Rule::Concurrency(Concurrency(w)) => ("c", [w.limit, w.period, 0, 0]),
    }
}

/// Whether a rule keeps the sum of its entries beside them.
fn has_sum(rule: &Rule) -> bool {
    matches!(rule, Rule::SlidingLog(_) | Rule::Concurrency(_))
}

/// Writes the name of a key in Redis. Each part stands behind its length, so that no two pairs of name and
/// key share one; a long key is told by its SHA-256.
fn write_key(to: &mut Vec<u8>, tenant: &Tenant, ask: &Ask, shape: Option<&[u8; 16]>) {
    to.clear();
    let kind = if shape.is_some() { "limit" } else { "block" };
    // Writing to memory does not fail.
    let _ = write!(to, "levqor:{{{tenant}}}:{kind}:{}:{}:", ask.name.len(), ask.name);
    if let Some(shape) = shape {
        // Letter, limit, period: the shape's own fields, readable.
        to.push(shape[0]);
        let _ = write!(to, "{}/{}:", ask.quota.limit(), ask.quota.period().0);
    }
    if ask.key.len() <= 128 {
        to.push(b'=');
        to.extend_from_slice(&ask.key);
    } else {
        to.push(b'#');
        to.extend_from_slice(digest::digest(&digest::SHA256, &ask.key).as_ref());
    }
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
