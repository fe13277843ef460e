//! Limits of one process: tables in shards, each behind its lock.
//!
//! A key is a keyed fingerprint of 128 bits, so long keys cost no memory and chosen ones do no harm. An
//! entry holds only the algorithm's state, which tells by itself when it stops to matter; what matters no
//! longer is thrown out first when the tables are full. Blocks are kept apart and never thrown out.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{
    Algorithmic, Ask, Asked, Decision, Fingerprint, Fingerprinter, Fixed, Judgement, Limits, Log, Op, Quota, Rule, Sliding,
    Standing, Tat, Verdict, apply, check_asks, instant, judge, verdict,
};
use crate::types::{Millis, Tenant};

const SHARDS: usize = 64;

/// Takes the hash that a fingerprint already is.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        // Fingerprints hash as one word; this is for completeness only.
        for b in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*b);
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

type Table<S> = HashMap<Fingerprint, S, BuildHasherDefault<AsItIs>>;

/// A cache line (two, for the prefetcher) of its own, so that neighbours do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    gcra: Table<Tat>,
    fixed: Table<Fixed>,
    sliding: Table<Sliding>,
    log: Table<Box<Log>>,
}

impl Tables {
    fn len(&self) -> usize {
        self.gcra.len() + self.fixed.len() + self.sliding.len() + self.log.len()
    }
}

/// An algorithm whose states are boxed in their table: logs, since most tables hold none.
struct Boxed<'a, A>(&'a A);

impl<A: Algorithmic<State = Log>> Algorithmic for Boxed<'_, A> {
    type State = Box<Log>;
    fn wait(&self, state: &Box<Log>, cost: i64, now: i64) -> i64 {
        self.0.wait(state, cost, now)
    }
    fn charge(&self, state: &mut Box<Log>, units: i64, now: i64) {
        self.0.charge(state, units, now);
    }
    fn release(&self, state: &mut Box<Log>, units: i64, at: i64, now: i64) {
        self.0.release(state, units, at, now);
    }
    fn look(&self, state: &Box<Log>, now: i64) -> Standing {
        self.0.look(state, now)
    }
    fn idle_at(state: &Box<Log>) -> i64 {
        A::idle_at(state)
    }
    fn spent(state: &Box<Log>) -> bool {
        A::spent(state)
    }
}

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

/// Limits in memory: exact over the threads of this process, and bounded.
///
/// Never waits: [`decide`](MemoryLimits::decide) is for synchronous callers, and the future of the port's
/// `take` is ready at its first poll.
#[derive(Debug)]
pub struct MemoryLimits {
    shards: Box<[Shard]>,
    fingerprints: Fingerprinter,
    /// Most keys of one shard.
    cap: usize,
    blocks: RwLock<Table<i64>>,
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
    usage: Fingerprinter,
    block: Fingerprinter,
}

/// An ask on its way.
struct Pending<'a> {
    ask: &'a Ask,
    prepared: Prepared,
    usage: Fingerprint,
    shard: usize,
}

impl MemoryLimits {
    /// With room for a million keys, about 50 MB when full.
    pub fn new() -> Self {
        Self::with_capacity(1_000_000)
    }

    /// With room for so many keys, rounded up to a multiple of the number of shards. Memory is taken as
    /// keys come, not before.
    pub fn with_capacity(keys: usize) -> Self {
        MemoryLimits {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            fingerprints: Fingerprinter::new(),
            cap: keys.div_ceil(SHARDS).max(1),
            blocks: RwLock::default(),
            blocked: AtomicUsize::new(0),
            evicted: [const { AtomicU64::new(0) }; 3],
        }
    }

    /// Makes a limit ready. Name and quota are checked as in [`Ask`].
    pub fn prepare(&self, tenant: &Tenant, name: &str, quota: Quota) -> Result<Prepared> {
        check_asks(&[Ask::new(name, "", quota)])?;
        self.prepared(tenant, name, quota)
    }

    fn prepared(&self, tenant: &Tenant, name: &str, quota: Quota) -> Result<Prepared> {
        let rule = quota.rule()?;
        let block = self.fingerprints.after(tenant.as_str().as_bytes()).after(name.as_bytes());
        let usage = block.after(&quota.shape());
        Ok(Prepared {
            rule,
            capacity: rule.capacity(),
            usage,
            block,
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
    pub fn take_one(&self, prepared: &Prepared, key: &[u8], cost: u32, now: Millis) -> Verdict {
        let now = instant(now);
        let usage = prepared.usage.of(key);
        let mut tables = self.lock(shard_of(usage));
        let blocked_until = match self.blocked.load(Ordering::Acquire) {
            0 => 0,
            _ => self.blocked_until(prepared.block.of(key), now),
        };
        let asked = Asked {
            op: Op::Take,
            cost: i64::from(cost),
            blocked_until,
            now,
        };
        let capacity = prepared.capacity;
        let found = match &prepared.rule {
            Rule::Gcra(a) => take_found(a, tables.gcra.get_mut(&usage), capacity, asked),
            Rule::FixedWindow(a) => take_found(a, tables.fixed.get_mut(&usage), capacity, asked),
            Rule::SlidingWindow(a) => take_found(a, tables.sliding.get_mut(&usage), capacity, asked),
            Rule::SlidingLog(a) => take_found(&Boxed(a), tables.log.get_mut(&usage), capacity, asked),
            Rule::Concurrency(a) => take_found(&Boxed(a), tables.log.get_mut(&usage), capacity, asked),
        };
        found.unwrap_or_else(|| self.take_unseen(&mut tables, prepared, usage, asked))
    }

    /// Takes for a key that is not in the tables.
    #[cold]
    #[inline(never)]
    fn take_unseen(&self, tables: &mut Tables, p: &Prepared, usage: Fingerprint, asked: Asked) -> Verdict {
        let judgement = judge_in(tables, p, usage, asked);
        if judgement.reason.is_none() {
            self.make_room_for(tables, p, usage, asked);
            apply_in(tables, p, usage, asked);
        }
        verdict(judgement, look_in(tables, p, usage, asked.now))
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
        let any_blocked = self.blocked.load(Ordering::Acquire) > 0;
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
            .map(|(p, asked)| judge_in(&locked[place(p)], &p.prepared, p.usage, *asked))
            .collect();
        if judgements.iter().all(|j| j.reason.is_none()) {
            self.set_blocks(&pending, now)?;
            // All room is made before the first charge, so that no ask makes way for another of its call.
            for (p, asked) in pending.iter().zip(&asked) {
                self.make_room_for(&mut locked[place(p)], &p.prepared, p.usage, *asked);
            }
            for (p, asked) in pending.iter().zip(&asked) {
                apply_in(&mut locked[place(p)], &p.prepared, p.usage, *asked);
            }
        }
        let verdicts = pending
            .iter()
            .zip(judgements)
            .map(|(p, j)| verdict(j, look_in(&locked[place(p)], &p.prepared, p.usage, now)));
        Ok(Decision::new(asks, verdicts, at))
    }

    /// What the tables hold and had to let go.
    pub fn stats(&self) -> LimitStats {
        LimitStats {
            keys: (0..SHARDS).map(|i| self.lock(i).len()).sum(),
            blocked: self.blocked.load(Ordering::Relaxed),
            evicted_idle: self.evicted[0].load(Ordering::Relaxed),
            evicted_used: self.evicted[1].load(Ordering::Relaxed),
            evicted_spent: self.evicted[2].load(Ordering::Relaxed),
        }
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Tables> {
        self.shards[shard].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blocked_until(&self, key: Fingerprint, now: i64) -> i64 {
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        blocks.get(&key).copied().filter(|until| *until > now).unwrap_or(0)
    }

    /// Sets and lifts the blocks that were asked for. Blocks have the cap of all keys together; one more
    /// is an error, since neither it nor an older one may be dropped.
    fn set_blocks(&self, pending: &[Pending<'_>], now: i64) -> Result<()> {
        let changes = pending.iter().any(|p| matches!(p.ask.op, Op::Block(_) | Op::Reset));
        if !changes {
            return Ok(());
        }
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        let new = pending.iter().filter(|p| matches!(p.ask.op, Op::Block(_))).count();
        if blocks.len() + new > self.cap * SHARDS {
            blocks.retain(|_, until| *until > now);
            if blocks.len() + new > self.cap * SHARDS {
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
        self.blocked.store(blocks.len(), Ordering::Release);
        Ok(())
    }

    /// Makes room for a key that will be new to a full shard.
    fn make_room_for(&self, tables: &mut Tables, p: &Prepared, key: Fingerprint, asked: Asked) {
        if tables.len() < self.cap || !asked.op.can_charge() {
            return;
        }
        let known = match &p.rule {
            Rule::Gcra(_) => tables.gcra.contains_key(&key),
            Rule::FixedWindow(_) => tables.fixed.contains_key(&key),
            Rule::SlidingWindow(_) => tables.sliding.contains_key(&key),
            Rule::SlidingLog(_) | Rule::Concurrency(_) => tables.log.contains_key(&key),
        };
        if !known {
            self.make_room(tables, asked.now);
        }
    }

    /// Makes room in a full shard: throws out every key that stands as if never seen. If those are few,
    /// also of the rest an eighth, the soonest to be whole again first, and keys whose quota is used up
    /// only after all others. A sweep costs the size of the shard and frees a sixteenth of it at least, so
    /// a new key pays for sixteen at most.
    #[cold]
    fn make_room(&self, tables: &mut Tables, now: i64) {
        fn sweep<A: Algorithmic>(table: &mut Table<A::State>, now: i64) {
            table.retain(|_, s| A::idle_at(s) > now);
        }
        fn soonest<A: Algorithmic>(table: &Table<A::State>, all: &mut Vec<(bool, i64)>) {
            all.extend(table.values().map(|s| (A::spent(s), A::idle_at(s))));
        }
        fn evict<A: Algorithmic>(table: &mut Table<A::State>, upto: (bool, i64), quota: &mut usize, spent: &mut u64) {
            table.retain(|_, s| {
                let goes = *quota > 0 && (A::spent(s), A::idle_at(s)) <= upto;
                *quota -= usize::from(goes);
                *spent += u64::from(goes && A::spent(s));
                !goes
            });
        }
        use crate::limits::{FixedWindow, Gcra, SlidingLog, SlidingWindow};
        let before = tables.len();
        sweep::<Gcra>(&mut tables.gcra, now);
        sweep::<FixedWindow>(&mut tables.fixed, now);
        sweep::<SlidingWindow>(&mut tables.sliding, now);
        sweep::<Boxed<'_, SlidingLog>>(&mut tables.log, now);
        let idle = before - tables.len();
        self.evicted[0].fetch_add(idle as u64, Ordering::Relaxed);
        if tables.len() + self.cap / 16 < self.cap {
            return;
        }
        let mut all = Vec::with_capacity(tables.len());
        soonest::<Gcra>(&tables.gcra, &mut all);
        soonest::<FixedWindow>(&tables.fixed, &mut all);
        soonest::<SlidingWindow>(&tables.sliding, &mut all);
        soonest::<Boxed<'_, SlidingLog>>(&tables.log, &mut all);
        let Some(last) = all.len().checked_sub(1) else { return };
        let mut quota = (self.cap / 8).max(1).min(all.len());
        let (_, upto, _) = all.select_nth_unstable((quota - 1).min(last));
        let (upto, goes, mut spent) = (*upto, quota as u64, 0);
        evict::<Gcra>(&mut tables.gcra, upto, &mut quota, &mut spent);
        evict::<FixedWindow>(&mut tables.fixed, upto, &mut quota, &mut spent);
        evict::<SlidingWindow>(&mut tables.sliding, upto, &mut quota, &mut spent);
        evict::<Boxed<'_, SlidingLog>>(&mut tables.log, upto, &mut quota, &mut spent);
        self.evicted[1].fetch_add(goes - spent, Ordering::Relaxed);
        self.evicted[2].fetch_add(spent, Ordering::Relaxed);
    }
}

/// The shard of a key: bits that the tables do not use.
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

fn judge_in(tables: &Tables, p: &Prepared, key: Fingerprint, asked: Asked) -> Judgement {
    fn with<A: Algorithmic>(a: &A, state: Option<&A::State>, capacity: i64, asked: Asked) -> Judgement {
        match state {
            Some(state) => judge(a, capacity, state, asked),
            None => judge(a, capacity, &A::State::default(), asked),
        }
    }
    match &p.rule {
        Rule::Gcra(a) => with(a, tables.gcra.get(&key), p.capacity, asked),
        Rule::FixedWindow(a) => with(a, tables.fixed.get(&key), p.capacity, asked),
        Rule::SlidingWindow(a) => with(a, tables.sliding.get(&key), p.capacity, asked),
        Rule::SlidingLog(a) => with(&Boxed(a), tables.log.get(&key), p.capacity, asked),
        Rule::Concurrency(a) => with(&Boxed(a), tables.log.get(&key), p.capacity, asked),
    }
}

fn look_in(tables: &Tables, p: &Prepared, key: Fingerprint, now: i64) -> Standing {
    fn with<A: Algorithmic>(a: &A, state: Option<&A::State>, now: i64) -> Standing {
        match state {
            Some(state) => a.look(state, now),
            None => a.look(&A::State::default(), now),
        }
    }
    match &p.rule {
        Rule::Gcra(a) => with(a, tables.gcra.get(&key), now),
        Rule::FixedWindow(a) => with(a, tables.fixed.get(&key), now),
        Rule::SlidingWindow(a) => with(a, tables.sliding.get(&key), now),
        Rule::SlidingLog(a) => with(&Boxed(a), tables.log.get(&key), now),
        Rule::Concurrency(a) => with(&Boxed(a), tables.log.get(&key), now),
    }
}

fn apply_in(tables: &mut Tables, p: &Prepared, key: Fingerprint, asked: Asked) {
    match &p.rule {
        Rule::Gcra(a) => apply_to(a, &mut tables.gcra, key, asked),
        Rule::FixedWindow(a) => apply_to(a, &mut tables.fixed, key, asked),
        Rule::SlidingWindow(a) => apply_to(a, &mut tables.sliding, key, asked),
        Rule::SlidingLog(a) => apply_to(&Boxed(a), &mut tables.log, key, asked),
        Rule::Concurrency(a) => apply_to(&Boxed(a), &mut tables.log, key, asked),
    }
}

/// Does what was asked to a key that may not be in its table yet, and drops it if nothing is left to know.
fn apply_to<A: Algorithmic>(a: &A, table: &mut Table<A::State>, key: Fingerprint, asked: Asked) {
    match asked.op {
        op if op.can_charge() && asked.cost > 0 => apply(a, table.entry(key).or_default(), asked),
        Op::Refund | Op::Release(_) if asked.cost > 0 => {
            if let Some(state) = table.get_mut(&key) {
                apply(a, state, asked);
                if A::idle_at(state) <= asked.now {
                    table.remove(&key);
                }
            }
        }
        Op::Reset => drop(table.remove(&key)),
        _ => {}
    }
}

#[async_trait]
impl Limits for MemoryLimits {
    async fn take(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Result<Decision> {
        self.decide(tenant, asks, now)
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
