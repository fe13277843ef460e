//! Limits over the table.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::bucket::{Draft, Look, NoRoom, Room, Slots, in_bucket};
use super::lock::Held;
use super::table::{BLOCKS, Field, Place, TOKENS, Table};
use super::wide::Wide;
use crate::backend::memory::LimitStats;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{
    Algorithmic, Ask, Asked, Concurrency, Decision, Fingerprint, Judgement, KeyHash, Limits, OneLimit, Op, Packed, Quota, Reason,
    Rule, Standing, Verdict, apply, check_asks, each_rule, instant, judge, verdict,
};
use crate::types::{Millis, Tenant};

/// Keys that a new table has room for, unless it is said otherwise.
const DEFAULT_KEYS: usize = 100_000;

/// Limits that all processes of one host share, exact over all of them, without a server: see the
/// [module](super).
///
/// A call takes a fraction of a microsecond. It waits only for a call on the same bucket in another thread
/// or process, at most 150 ms (`limits.busy`) for one that was stopped in the middle of it; one that died
/// there is not waited for.
///
/// Cloning it shares it.
#[derive(Clone, Debug)]
pub struct ShmLimits {
    table: Arc<Table>,
}

/// One limit's name and quota, made ready for many keys. Belongs to the limiter that made it.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    rule: Rule,
    capacity: i64,
    class: usize,
    usage: KeyHash,
    block: KeyHash,
}

/// One ask on its way.
struct Pending {
    prepared: Prepared,
    asked: Asked,
    key: Fingerprint,
    place: Place,
    /// Its slot, once it has one.
    slot: Option<usize>,
    /// The key of its block and where that is, if blocks matter.
    block: Option<(Fingerprint, Place)>,
}

/// The class of the keys of a rule; `None` if its state can become too long for any.
fn class_of(rule: &Rule) -> Option<usize> {
    let words = match rule {
        Rule::Gcra(_) => return Some(TOKENS),
        Rule::FixedWindow(_) | Rule::SlidingWindow(_) => 2,
        // Calls of a millisecond share a word. Penalties bring twice the limit, a clock that was set back
        // twice the period.
        Rule::SlidingLog(log) | Rule::Concurrency(Concurrency(log)) => {
            usize::try_from(2 * log.limit.min(log.period) + 2).unwrap_or(usize::MAX)
        }
    };
    Table::class_for(words)
}

impl ShmLimits {
    /// Opens the table in a file, and makes it if there is none: with room for 100,000 keys, 47 MB.
    ///
    /// Processes that open the same file share the limits.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(ShmLimits {
            table: Arc::new(Table::open(path.as_ref(), None, DEFAULT_KEYS)?),
        })
    }

    /// The same with room for so many keys. A file that has another capacity is refused
    /// (`limits.shm_layout`).
    pub fn with_capacity(path: impl AsRef<Path>, keys: usize) -> Result<Self> {
        Ok(ShmLimits {
            table: Arc::new(Table::open(path.as_ref(), Some(keys), keys)?),
        })
    }

    /// Keys it has room for.
    pub fn capacity(&self) -> usize {
        self.table.keys
    }

    /// Makes a limit ready. Name and quota are checked as in [`Ask`].
    pub fn prepare(&self, tenant: &Tenant, name: &str, quota: Quota) -> Result<Prepared> {
        check_asks(&[Ask::new(name, "", quota)])?;
        self.prepared(tenant, name, quota)
    }

    fn prepared(&self, tenant: &Tenant, name: &str, quota: Quota) -> Result<Prepared> {
        let rule = quota.rule()?;
        let class = class_of(&rule).ok_or_else(|| too_long(&quota))?;
        let name = self.table.names.after(tenant.as_str().as_bytes()).after(name.as_bytes());
        Ok(Prepared {
            rule,
            capacity: rule.capacity(),
            class,
            usage: self.table.hash.tweaked(name.of(&quota.shape())),
            block: self.table.hash.tweaked(name.of(b"")),
        })
    }

    /// Takes from a prepared limit. The key is used as it is, however long.
    pub fn take_one(&self, prepared: &Prepared, key: &[u8], cost: u32, now: Millis) -> Result<Verdict> {
        let now = instant(now);
        let asked = Asked {
            op: Op::Take,
            cost: i64::from(cost),
            blocked_until: 0,
            now,
        };
        if self.may_be_blocked(now) {
            let mut pending = [self.pending(*prepared, key, asked, true)];
            let mut verdicts = self.step(&mut pending, now)?;
            return verdicts.pop().ok_or_else(|| Error::internal("an ask has no verdict"));
        }
        let key = prepared.usage.of(key);
        let place = self.table.place(prepared.class, key);
        let bucket = self.table.bucket(place);
        let _held = self.table.lock(place)?;
        let taken = in_bucket!(&bucket, |b| each_rule!(&prepared.rule, |a| b.take(
            a,
            key,
            prepared.capacity,
            asked
        )));
        match taken {
            Ok((verdict, None)) => Ok(verdict),
            Ok((verdict, Some(evicted))) => {
                self.count(evicted, now);
                Ok(verdict)
            }
            Err(e) => Err(no_room(e)),
        }
    }

    /// Decides several asks in one step, as [`Limits::take`] does, without a future.
    pub fn decide(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Result<Decision> {
        check_asks(asks)?;
        if let [ask] = asks
            && ask.op == Op::Take
        {
            let prepared = self.prepared(tenant, &ask.name, ask.quota)?;
            let verdict = self.take_one(&prepared, &ask.key, ask.cost, now)?;
            return Ok(Decision::new(asks, [verdict], now));
        }
        let (at, now) = (now, instant(now));
        let blocks = self.may_be_blocked(now) || asks.iter().any(|a| matches!(a.op, Op::Block(_)));
        let mut pending = asks
            .iter()
            .map(|ask| {
                let asked = Asked {
                    op: ask.op,
                    cost: i64::from(ask.cost),
                    blocked_until: 0,
                    now,
                };
                Ok(self.pending(self.prepared(tenant, &ask.name, ask.quota)?, &ask.key, asked, blocks))
            })
            .collect::<Result<Vec<_>>>()?;
        let verdicts = self.step(&mut pending, now)?;
        Ok(Decision::new(asks, verdicts, at))
    }

    /// Whether any key can be blocked at an instant.
    fn may_be_blocked(&self, now: i64) -> bool {
        self.table.field(Field::BlockedUntil).load(Ordering::Acquire).cast_signed() > now
    }

    fn pending(&self, prepared: Prepared, key: &[u8], asked: Asked, blocks: bool) -> Pending {
        let usage = prepared.usage.of(key);
        let block = blocks.then(|| {
            let block = prepared.block.of(key);
            (block, self.table.place(BLOCKS, block))
        });
        Pending {
            prepared,
            asked,
            key: usage,
            place: self.table.place(prepared.class, usage),
            slot: None,
            block,
        }
    }

    /// All asks in one atomic step.
    fn step(&self, pending: &mut [Pending], now: i64) -> Result<Vec<Verdict>> {
        let _held = self.lock_all(pending)?;
        for p in pending.iter_mut() {
            p.slot = in_bucket!(self.table.bucket(p.place), |b| b.find(p.key));
            if let Some((key, place)) = p.block {
                let until = in_bucket!(self.table.bucket(place), |b| b
                    .find(key)
                    .map_or(0, |slot| b.look(slot).idle_at));
                p.asked.blocked_until = if until > now { until } else { 0 };
            }
        }
        let judgements: Vec<Judgement> = pending.iter().map(|p| self.judge(p)).collect();
        if judgements.iter().any(|j| j.reason.is_some()) {
            let stand = |p: &Pending| each_rule!(&p.prepared.rule, |a| self.look(a, p));
            return Ok(pending.iter().zip(judgements).map(|(p, j)| verdict(j, stand(p))).collect());
        }
        // All is written down first and made to count last, so that an error changes nothing.
        let mut drafts: Vec<(Place, Draft)> = Vec::with_capacity(pending.len());
        for p in pending.iter() {
            self.draft_block(p, &mut drafts, pending)?;
        }
        let mut standings = Vec::with_capacity(pending.len());
        for p in pending.iter() {
            let bucket = self.table.bucket(p.place);
            standings.push(in_bucket!(&bucket, |b| {
                each_rule!(&p.prepared.rule, |a| self.draft(a, b, p, &mut drafts, pending))
            })?);
        }
        if let Some(until) = pending.iter().filter_map(|p| block_of(p.asked.op, now)).max() {
            // Before the block itself, so that nobody overlooks it.
            self.table
                .field(Field::BlockedUntil)
                .fetch_max(until.cast_unsigned(), Ordering::AcqRel);
        }
        for (place, draft) in drafts {
            in_bucket!(self.table.bucket(place), |b| b.commit(draft));
        }
        Ok(judgements.into_iter().zip(standings).map(|(j, s)| verdict(j, s)).collect())
    }

    /// Locks every bucket of the asks once, in the order of their places, so that no two calls wait for each
    /// other.
    fn lock_all(&self, pending: &[Pending]) -> Result<Vec<Held<'_, AtomicU64>>> {
        let blocks = pending.iter().filter_map(|p| p.block.map(|(_, place)| place));
        let mut places: Vec<Place> = pending.iter().map(|p| p.place).chain(blocks).collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|place| self.table.lock(place)).collect()
    }

    fn judge(&self, p: &Pending) -> Judgement {
        each_rule!(&p.prepared.rule, |a| judge(
            a,
            p.prepared.capacity,
            &self.state(a, p),
            p.asked
        ))
    }

    fn state<A: Algorithmic>(&self, _: &A, p: &Pending) -> A::State
    where
        A::State: Packed,
    {
        let Some(slot) = p.slot else { return A::State::default() };
        in_bucket!(self.table.bucket(p.place), |b| b.read::<A>(slot))
    }

    fn look<A: Algorithmic>(&self, a: &A, p: &Pending) -> Standing
    where
        A::State: Packed,
    {
        a.look(&self.state(a, p), p.asked.now)
    }

    /// Writes down what was asked, and tells how the key will stand.
    fn draft<A: Algorithmic>(
        &self,
        a: &A,
        bucket: &impl Slots,
        p: &Pending,
        drafts: &mut Vec<(Place, Draft)>,
        all: &[Pending],
    ) -> Result<Standing>
    where
        A::State: Packed,
    {
        let mut state = self.state(a, p);
        apply(a, &mut state, p.asked);
        let standing = a.look(&state, p.asked.now);
        let draft = match (p.slot, p.asked.op) {
            (Some(slot), Op::Reset) => Some(Draft::Gone(slot)),
            _ if p.asked.cost == 0 => None,
            // Nothing is left to know.
            (Some(slot), Op::Refund | Op::Release(_)) if A::idle_at(&state) <= p.asked.now => Some(Draft::Gone(slot)),
            (Some(slot), Op::Refund | Op::Release(_)) => Some(Draft::Other(slot)),
            (Some(slot), op) if op.can_charge() => Some(Draft::Other(slot)),
            (None, op) if op.can_charge() => {
                let kept = |slot| keeps(all, drafts, p.place, slot);
                Some(Draft::New(self.room(bucket, p.key, p.asked.now, kept)?, p.key))
            }
            _ => None,
        };
        match draft {
            None => {}
            Some(gone @ Draft::Gone(_)) => drafts.push((p.place, gone)),
            Some(draft) => {
                let written = bucket.write::<A>(draft, &state);
                drafts.push((p.place, written.ok_or_else(|| no_room(NoRoom::TooLarge))?));
            }
        }
        Ok(standing)
    }

    /// Writes down the block that is set or lifted.
    fn draft_block(&self, p: &Pending, drafts: &mut Vec<(Place, Draft)>, all: &[Pending]) -> Result<()> {
        let Some((key, place)) = p.block else { return Ok(()) };
        // Two quotas of one name and key share a block, and the last word counts.
        let Some(bucket) = self.table.blocks(place) else {
            return Err(Error::internal("a bucket of blocks is of the other kind"));
        };
        let earlier = drafts
            .iter()
            .position(|(at, d)| *at == place && drafted_key(&bucket, *d) == key);
        let slot = bucket.find(key);
        let draft = match p.asked.op {
            Op::Block(until) if instant(until) > p.asked.now => {
                let draft = match (earlier.map(|i| drafts[i].1), slot) {
                    (Some(Draft::New(slot, _)), _) => Draft::New(slot, key),
                    (_, Some(slot)) => Draft::Other(slot),
                    (_, None) => {
                        let kept = |slot| keeps(all, drafts, place, slot);
                        Draft::New(self.room(&bucket, key, p.asked.now, kept)?, key)
                    }
                };
                bucket.write_block(draft, instant(until));
                Some(draft)
            }
            Op::Block(_) | Op::Reset => slot.map(Draft::Gone),
            _ => return Ok(()),
        };
        if let Some(i) = earlier {
            drafts.remove(i);
        }
        drafts.extend(draft.map(|d| (place, d)));
        Ok(())
    }

    /// A slot for a new key.
    fn room(&self, bucket: &impl Slots, key: Fingerprint, now: i64, kept: impl Fn(usize) -> bool) -> Result<usize> {
        match bucket.room(key, now, kept) {
            Room::Vacant(slot) => Ok(slot),
            Room::Evicted(slot, look) => {
                self.count(look, now);
                Ok(slot)
            }
            Room::Full => Err(no_room(NoRoom::AllBlocked)),
        }
    }

    /// Counts a key that made way.
    #[cold]
    fn count(&self, look: Look, now: i64) {
        let field = match look {
            Look { idle_at, .. } if idle_at <= now => Field::EvictedIdle,
            Look { spent: false, .. } => Field::EvictedUsed,
            Look { .. } => Field::EvictedSpent,
        };
        self.table.field(field).fetch_add(1, Ordering::Relaxed);
    }

    /// Holds the lock of a key's bucket.
    #[cfg(test)]
    pub(super) fn lock_of(&self, tenant: &Tenant, name: &str, quota: Quota, key: &[u8]) -> Held<'_, AtomicU64> {
        let prepared = self.prepare(tenant, name, quota);
        let place = prepared.map(|p| self.table.place(p.class, p.usage.of(key)));
        place
            .and_then(|place| self.table.lock(place))
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// What the table holds and what all processes together had to let go since it was made. Looks at every
    /// bucket, one after another.
    pub fn stats(&self) -> Result<LimitStats> {
        let mut stats = LimitStats::default();
        for place in self.table.places() {
            let bucket = self.table.bucket(place);
            let _held = self.table.lock(place)?;
            for look in bucket.keys() {
                stats.keys += usize::from(!look.block);
                stats.blocked += usize::from(look.block);
            }
        }
        let count = |f| self.table.field(f).load(Ordering::Relaxed);
        stats.evicted_idle = count(Field::EvictedIdle);
        stats.evicted_used = count(Field::EvictedUsed);
        stats.evicted_spent = count(Field::EvictedSpent);
        Ok(stats)
    }
}

/// Whether a slot belongs to another ask of the same call, or is about to.
fn keeps(all: &[Pending], drafts: &[(Place, Draft)], place: Place, slot: usize) -> bool {
    all.iter().any(|p| p.place == place && p.slot == Some(slot)) || drafts.iter().any(|(at, d)| *at == place && d.slot() == slot)
}

fn block_of(op: Op, now: i64) -> Option<i64> {
    match op {
        Op::Block(until) => Some(instant(until)).filter(|until| *until > now),
        _ => None,
    }
}

/// Whose slot a draft of a block writes.
fn drafted_key(bucket: &Wide<'_, AtomicU64>, draft: Draft) -> Fingerprint {
    match draft {
        Draft::New(_, key) => key,
        draft => bucket.key(draft.slot()),
    }
}

#[cold]
fn no_room(why: NoRoom) -> Error {
    match why {
        NoRoom::AllBlocked => Error::new(
            ErrorKind::Unavailable,
            "limits.full",
            "there is no room for another key among those that are blocked",
        )
        .hint("open the table with room for more keys, or block for a shorter time"),
        NoRoom::TooLarge => Error::internal("the state of a limit has outgrown its slot"),
    }
}

fn too_long(quota: &Quota) -> Error {
    let most = (Table::most_words() - 2) / 2;
    Error::new(
        ErrorKind::Unsupported,
        "limits.log_too_long",
        format!("shared memory keeps sliding logs of up to {most} units (or milliseconds of period), not `{quota}`"),
    )
    .hint("use `gcra` or `sliding` for so high a limit, or keep limits in the database or in Redis")
}

#[async_trait]
impl Limits for ShmLimits {
    async fn take(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Result<Decision> {
        self.decide(tenant, asks, now)
    }

    fn take_now(&self, tenant: &Tenant, asks: &[Ask], now: Millis) -> Option<Result<Decision>> {
        Some(self.decide(tenant, asks, now))
    }

    fn prepare(&self, tenant: &Tenant, name: &str, quota: Quota) -> Result<Option<Arc<dyn OneLimit>>> {
        let limits = self.clone();
        let prepared = ShmLimits::prepare(self, tenant, name, quota)?;
        Ok(Some(Arc::new(One { limits, prepared })))
    }
}

struct One {
    limits: ShmLimits,
    prepared: Prepared,
}

impl OneLimit for One {
    /// A table that cannot answer (see [`ShmLimits`]) refuses.
    fn take(&self, key: &[u8], cost: u32, now: Millis) -> Verdict {
        self.limits
            .take_one(&self.prepared, key, cost, now)
            .unwrap_or_else(|e| Verdict {
                admitted: false,
                remaining: 0,
                reset_after: Millis::ZERO,
                retry_after: Some(e.retry_after().unwrap_or(Millis::secs(1))),
                ready_after: Millis::ZERO,
                reason: Some(Reason::Unavailable),
            })
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
