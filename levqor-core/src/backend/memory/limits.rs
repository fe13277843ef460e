//! Limits of one process: tables in shards, each behind its lock.
//!
//! A key is a keyed fingerprint, so long keys cost no memory and chosen ones do no harm: 128 bits of it, or
//! 70 for token buckets, where two of a million keys meet in one of two billion tables. An entry holds only
//! the algorithm's state, which tells by itself when it stops to matter; what matters no longer is thrown
//! out first when the tables are full. Blocks are kept apart and never thrown out.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;

use super::limiter::Limiter;
use super::tables::{Evicted, Hashed, Table, Tables, each};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{
    Algorithmic, Ask, Asked, Decision, Fingerprint, Fingerprinter, Judgement, KeyHash, Limits, OneLimit, Op, Quota, Rule,
    Verdict, apply, check_asks, instant, judge, verdict,
};
use crate::types::{Millis, Tenant};

const SHARDS: usize = 64;

/// A cache line (two, for the prefetcher) of its own, so that neighbours do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Tables>);

/// What the tables hold and what they had to let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitStats {
    /// Keys that are remembered.
    pub keys: usize,
    /// Keys that are blocked.
    pub blocked: usize,
    /// Keys forgotten because they stood as if never seen. Nothing is lost by that.
    pub evicted_idle: u64,
    /// Keys forgotten though part of their quota was used, to make room. They got that part back.
    pub evicted_used: u64,
    /// Keys forgotten though their quota was used up: every key was, and there was no room. More than zero
    /// means that the cap is too low for the traffic.
    pub evicted_spent: u64,
}

/// Limits in memory: exact over the threads of this process, and bounded. Clones share their counts.
///
/// Never waits: [`decide`](MemoryLimits::decide) is for synchronous callers, and the future of the port's
/// `take` is ready at its first poll.
#[derive(Clone, Debug)]
pub struct MemoryLimits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    shards: Box<[Shard]>,
    names: Fingerprinter,
    keys: KeyHash,
    /// Most keys of one shard.
    cap: usize,
    blocks: RwLock<Hashed<i64>>,
    /// How many blocks there are, so that nobody looks for one where there is none.
    blocked: AtomicUsize,
    evicted: [AtomicU64; 3],
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// One limit's name and quota, made ready for many keys: the fastest way to ask. Belongs to the limiter that
/// made it; with another it counts apart and sees none of its blocks.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    rule: Rule,
    capacity: i64,
    usage: KeyHash,
    block: KeyHash,
}

/// An ask on its way.
struct Pending<'a> {
    ask: &'a Ask,
    prepared: Prepared,
    usage: Fingerprint,
    shard: usize,
}

impl MemoryLimits {
    /// With room for a million keys: about 21 MB when full of token buckets, 50 MB of windows.
    pub fn new() -> Self {
        Self::with_capacity(1_000_000)
    }

    /// With room for so many keys, rounded up to a multiple of the number of shards. Memory is taken as
    /// keys come, not before.
    pub fn with_capacity(keys: usize) -> Self {
        MemoryLimits(Arc::new(Shared {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            names: Fingerprinter::new(),
            keys: KeyHash::new(),
            cap: keys.div_ceil(SHARDS).max(1),
            blocks: RwLock::default(),
            blocked: AtomicUsize::new(0),
            evicted: [const { AtomicU64::new(0) }; 3],
        }))
    }

    /// Makes a limit ready. Name and quota are checked as in [`Ask`].
    pub fn prepare(&self, tenant: &Tenant, name: &str, quota: Quota) -> Result<Prepared> {
        check_asks(&[Ask::new(name, "", quota)])?;
        self.prepared(tenant, name, quota)
    }

    fn prepared(&self, tenant: &Tenant, name: &str, quota: Quota) -> Result<Prepared> {
        let rule = quota.rule()?;
        let name = self.0.names.after(tenant.as_str().as_bytes()).after(name.as_bytes());
        Ok(Prepared {
            rule,
            capacity: rule.capacity(),
            usage: self.0.keys.tweaked(name.after(&quota.shape()).of(b"")),
            block: self.0.keys.tweaked(name.of(b"")),
        })
    }

    /// Takes from a prepared limit. The key is used as it is, however long.
    ///
    /// ```
    /// use levqor_core::backend::memory::MemoryLimits;
    /// use levqor_core::limits::Quota;
    /// use levqor_core::types::{Millis, Tenant};
    ///
    /// let limits = MemoryLimits::new();
    /// let login = limits.prepare(&Tenant::default(), "login", Quota::per_minute(5)).unwrap();
    /// let now = Millis(1_700_000_000_000);
    /// assert_eq!((0..9).filter(|_| limits.take_one(&login, b"user-1", 1, now).admitted).count(), 5);
    /// ```
    #[inline]
    pub fn take_one(&self, prepared: &Prepared, key: &[u8], cost: u32, now: Millis) -> Verdict {
        let now = instant(now);
        let usage = prepared.usage.of(key);
        let mut tables = self.lock(shard_of(usage));
        let blocked_until = match self.0.blocked.load(Ordering::Acquire) {
            0 => 0,
            _ => self.blocked_until(prepared.block.of(key), now),
        };
        let asked = Asked {
            op: Op::Take,
            cost: i64::from(cost),
            blocked_until,
            now,
        };
        let found = each!(&mut *tables, &prepared.rule, |a, t| {
            take_found(a, t.find_mut(usage), prepared.capacity, asked)
        });
        found.unwrap_or_else(|| self.take_unseen(&mut tables, prepared, usage, asked))
    }

    /// Takes for a key that is not in the tables.
    #[cold]
    #[inline(never)]
    fn take_unseen(&self, tables: &mut Tables, p: &Prepared, usage: Fingerprint, asked: Asked) -> Verdict {
        let judgement = tables.judge(&p.rule, p.capacity, usage, asked);
        if judgement.reason.is_none() {
            self.make_room_for(tables, p, usage, asked);
            tables.apply(&p.rule, usage, asked);
        }
        verdict(judgement, tables.look(&p.rule, usage, asked.now))
    }

    /// Decides several asks in one step, as [`Limits::take`] does, without a future.
    pub fn decide(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Result<Decision> {
        check_asks(asks)?;
        if let [ask] = asks
            && ask.op == Op::Take
        {
            let prepared = self.prepared(tenant, &ask.name, ask.quota)?;
            let verdict = self.take_one(&prepared, &ask.key, ask.cost, now);
            return Ok(Decision::new(asks, [verdict], now));
        }
        let at = now;
        let now = instant(now);
        let any_blocked = self.0.blocked.load(Ordering::Acquire) > 0;
        let pending = asks
            .iter()
            .map(|ask| {
                let prepared = self.prepared(tenant, &ask.name, ask.quota)?;
                let usage = prepared.usage.of(&ask.key);
                Ok(Pending {
                    ask,
                    prepared,
                    usage,
                    shard: shard_of(usage),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        // Shards are locked in the order of their index, each once, so that no two calls wait for each other.
        let mut order: Vec<usize> = pending.iter().map(|p| p.shard).collect();
        order.sort_unstable();
        order.dedup();
        let mut locked: Vec<MutexGuard<'_, Tables>> = order.iter().map(|i| self.lock(*i)).collect();
        let place = |p: &Pending<'_>| order.binary_search(&p.shard).unwrap_or(0);
        let asked: Vec<Asked> = pending
            .iter()
            .map(|p| Asked {
                op: p.ask.op,
                cost: i64::from(p.ask.cost),
                blocked_until: if any_blocked {
                    self.blocked_until(p.prepared.block.of(&p.ask.key), now)
                } else {
                    0
                },
                now,
            })
            .collect();
        let judgements: Vec<Judgement> = pending
            .iter()
            .zip(&asked)
            .map(|(p, asked)| locked[place(p)].judge(&p.prepared.rule, p.prepared.capacity, p.usage, *asked))
            .collect();
        if judgements.iter().all(|j| j.reason.is_none()) {
            self.set_blocks(&pending, now)?;
            // All room is made before the first charge, so that no ask makes way for another of its call.
            for (p, asked) in pending.iter().zip(&asked) {
                self.make_room_for(&mut locked[place(p)], &p.prepared, p.usage, *asked);
            }
            for (p, asked) in pending.iter().zip(&asked) {
                locked[place(p)].apply(&p.prepared.rule, p.usage, *asked);
            }
        }
        let verdicts = pending
            .iter()
            .zip(judgements)
            .map(|(p, j)| verdict(j, locked[place(p)].look(&p.prepared.rule, p.usage, now)));
        Ok(Decision::new(asks, verdicts, at))
    }

    /// What the tables hold and had to let go.
    pub fn stats(&self) -> LimitStats {
        LimitStats {
            keys: (0..SHARDS).map(|i| self.lock(i).len()).sum(),
            blocked: self.0.blocked.load(Ordering::Relaxed),
            evicted_idle: self.0.evicted[0].load(Ordering::Relaxed),
            evicted_used: self.0.evicted[1].load(Ordering::Relaxed),
            evicted_spent: self.0.evicted[2].load(Ordering::Relaxed),
        }
    }

    #[inline]
    fn lock(&self, shard: usize) -> MutexGuard<'_, Tables> {
        self.0.shards[shard].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blocked_until(&self, key: Fingerprint, now: i64) -> i64 {
        let blocks = self.0.blocks.read().unwrap_or_else(PoisonError::into_inner);
        blocks.get(&key).copied().filter(|until| *until > now).unwrap_or(0)
    }

    /// Sets and lifts the blocks that were asked for. Blocks have the cap of all keys together; one more
    /// is an error, since neither it nor an older one may be dropped.
    fn set_blocks(&self, pending: &[Pending<'_>], now: i64) -> Result<()> {
        let changes = pending.iter().any(|p| matches!(p.ask.op, Op::Block(_) | Op::Reset));
        if !changes {
            return Ok(());
        }
        let mut blocks = self.0.blocks.write().unwrap_or_else(PoisonError::into_inner);
        let new = pending.iter().filter(|p| matches!(p.ask.op, Op::Block(_))).count();
        if blocks.len() + new > self.0.cap * SHARDS {
            blocks.retain(|_, until| *until > now);
            if blocks.len() + new > self.0.cap * SHARDS {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "limits.full",
                    "there is no room for another blocked key",
                )
                .hint("raise the cap of the limiter, or block for a shorter time"));
            }
        }
        for p in pending {
            let key = p.prepared.block.of(&p.ask.key);
            match p.ask.op {
                Op::Block(until) if instant(until) > now => {
                    blocks.insert(key, instant(until));
                }
                Op::Block(_) | Op::Reset => {
                    blocks.remove(&key);
                }
                _ => {}
            }
        }
        self.0.blocked.store(blocks.len(), Ordering::Release);
        Ok(())
    }

    /// Makes room for a key that will be new to a full shard.
    fn make_room_for(&self, tables: &mut Tables, p: &Prepared, key: Fingerprint, asked: Asked) {
        if tables.len() < self.0.cap || !asked.op.can_charge() || tables.knows(&p.rule, key) {
            return;
        }
        let Evicted { idle, used, spent } = tables.make_room(self.0.cap, asked.now);
        for (count, n) in self.0.evicted.iter().zip([idle, used, spent]) {
            count.fetch_add(n as u64, Ordering::Relaxed);
        }
    }
}

/// The shard of a key: bits that the tables do not use.
#[inline]
fn shard_of(key: Fingerprint) -> usize {
    usize::try_from(key.0[1] % SHARDS as u64).unwrap_or(0)
}

/// Takes for a key that is in its table.
#[inline]
fn take_found<A: Algorithmic>(a: &A, state: Option<&mut A::State>, capacity: i64, asked: Asked) -> Option<Verdict> {
    let state = state?;
    let judgement = judge(a, capacity, state, asked);
    if judgement.reason.is_none() {
        apply(a, state, asked);
    }
    Some(verdict(judgement, a.look(state, asked.now)))
}

#[async_trait]
impl Limits for MemoryLimits {
    async fn take(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Result<Decision> {
        self.decide(tenant, asks, now)
    }

    fn take_now(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Option<Result<Decision>> {
        Some(self.decide(tenant, asks, now))
    }

    fn prepare(&self, tenant: &Tenant, name: &str, quota: Quota) -> Result<Option<Arc<dyn OneLimit>>> {
        Ok(Some(Arc::new(Limiter::of(self.clone(), tenant, name, quota)?)))
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
