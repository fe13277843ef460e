//! What one shard holds: a table per algorithm, and which keys go when it is full.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::packed::Packed;
use crate::limits::{
    Algorithmic, Asked, Fingerprint, Fixed, FixedWindow, Gcra, Judgement, Log, Op, Rule, Sliding, SlidingLog, SlidingWindow,
    Standing, Tat, apply, judge,
};

/// Takes the hash that a fingerprint already is.
#[derive(Default)]
pub(super) struct AsItIs(u64);

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

/// A table by the whole fingerprint.
pub(super) type Hashed<S> = HashMap<Fingerprint, S, BuildHasherDefault<AsItIs>>;

/// What the tables have in common.
pub(super) trait Table<S> {
    fn find(&self, key: Fingerprint) -> Option<&S>;
    fn find_mut(&mut self, key: Fingerprint) -> Option<&mut S>;
    fn find_or_new(&mut self, key: Fingerprint) -> &mut S;
    fn forget(&mut self, key: Fingerprint);
    fn keep(&mut self, which: impl FnMut(&S) -> bool);
    fn each(&self, f: impl FnMut(&S));
}

impl<S: Default> Table<S> for Hashed<S> {
    fn find(&self, key: Fingerprint) -> Option<&S> {
        self.get(&key)
    }
    #[inline]
    fn find_mut(&mut self, key: Fingerprint) -> Option<&mut S> {
        self.get_mut(&key)
    }
    fn find_or_new(&mut self, key: Fingerprint) -> &mut S {
        self.entry(key).or_default()
    }
    fn forget(&mut self, key: Fingerprint) {
        self.remove(&key);
    }
    fn keep(&mut self, mut which: impl FnMut(&S) -> bool) {
        self.retain(|_, s| which(s));
    }
    fn each(&self, f: impl FnMut(&S)) {
        self.values().for_each(f);
    }
}

impl Table<Tat> for Packed {
    fn find(&self, key: Fingerprint) -> Option<&Tat> {
        self.get(key.0[0])
    }
    #[inline]
    fn find_mut(&mut self, key: Fingerprint) -> Option<&mut Tat> {
        self.get_mut(key.0[0])
    }
    fn find_or_new(&mut self, key: Fingerprint) -> &mut Tat {
        self.or_default(key.0[0])
    }
    fn forget(&mut self, key: Fingerprint) {
        self.remove(key.0[0]);
    }
    fn keep(&mut self, which: impl FnMut(&Tat) -> bool) {
        self.retain(which);
    }
    fn each(&self, f: impl FnMut(&Tat)) {
        self.values().for_each(f);
    }
}

/// An algorithm whose states are boxed in their table: logs, since most tables hold none.
pub(super) struct Boxed<'a, A>(pub(super) &'a A);

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

/// Keys forgotten to make room, by how they stood.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evicted {
    pub(super) idle: usize,
    pub(super) used: usize,
    pub(super) spent: usize,
}

/// One shard's tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) gcra: Packed,
    pub(super) fixed: Hashed<Fixed>,
    pub(super) sliding: Hashed<Sliding>,
    pub(super) log: Hashed<Box<Log>>,
}

/// Runs an expression with a rule's algorithm and its table.
macro_rules! each {
    ($tables:expr, $rule:expr, |$a:ident, $t:ident| $body:expr) => {
        match ($rule, $tables) {
            (Rule::Gcra($a), crate::backend::memory::tables::Tables { gcra: $t, .. }) => $body,
            (Rule::FixedWindow($a), crate::backend::memory::tables::Tables { fixed: $t, .. }) => $body,
            (Rule::SlidingWindow($a), crate::backend::memory::tables::Tables { sliding: $t, .. }) => $body,
            (Rule::SlidingLog(log), crate::backend::memory::tables::Tables { log: $t, .. }) => {
                let $a = &crate::backend::memory::tables::Boxed(log);
                $body
            }
            (Rule::Concurrency(log), crate::backend::memory::tables::Tables { log: $t, .. }) => {
                let $a = &crate::backend::memory::tables::Boxed(log);
                $body
            }
        }
    };
}
pub(super) use each;

impl Tables {
    pub(super) fn len(&self) -> usize {
        self.gcra.len() + self.fixed.len() + self.sliding.len() + self.log.len()
    }

    pub(super) fn knows(&self, rule: &Rule, key: Fingerprint) -> bool {
        each!(self, rule, |_a, t| t.find(key).is_some())
    }

    pub(super) fn judge(&self, rule: &Rule, capacity: i64, key: Fingerprint, asked: Asked) -> Judgement {
        fn with<A: Algorithmic>(a: &A, state: Option<&A::State>, capacity: i64, asked: Asked) -> Judgement {
            match state {
                Some(state) => judge(a, capacity, state, asked),
                None => judge(a, capacity, &A::State::default(), asked),
            }
        }
        each!(self, rule, |a, t| with(a, t.find(key), capacity, asked))
    }

    pub(super) fn look(&self, rule: &Rule, key: Fingerprint, now: i64) -> Standing {
        fn with<A: Algorithmic>(a: &A, state: Option<&A::State>, now: i64) -> Standing {
            match state {
                Some(state) => a.look(state, now),
                None => a.look(&A::State::default(), now),
            }
        }
        each!(self, rule, |a, t| with(a, t.find(key), now))
    }

    /// Does what was asked to a key that may not be known yet, and forgets it if nothing is left to know.
    pub(super) fn apply(&mut self, rule: &Rule, key: Fingerprint, asked: Asked) {
        fn to<A: Algorithmic>(a: &A, table: &mut impl Table<A::State>, key: Fingerprint, asked: Asked) {
            match asked.op {
                op if op.can_charge() && asked.cost > 0 => apply(a, table.find_or_new(key), asked),
                Op::Refund | Op::Release(_) if asked.cost > 0 => {
                    if let Some(state) = table.find_mut(key) {
                        apply(a, state, asked);
                        if A::idle_at(state) <= asked.now {
                            table.forget(key);
                        }
                    }
                }
                Op::Reset => table.forget(key),
                _ => {}
            }
        }
        each!(self, rule, |a, t| to(a, t, key, asked));
    }

    /// Makes room in tables that hold `cap` keys: throws out every key that stands as if never seen. If
    /// those are few, also of the rest an eighth, the soonest to be whole again first, and keys whose quota
    /// is used up only after all others. A sweep costs the size of the tables and frees a sixteenth of it at
    /// least, so a new key pays for sixteen at most.
    #[cold]
    pub(super) fn make_room(&mut self, cap: usize, now: i64) -> Evicted {
        fn sweep<A: Algorithmic>(table: &mut impl Table<A::State>, now: i64) {
            table.keep(|s| A::idle_at(s) > now);
        }
        fn soonest<A: Algorithmic>(table: &impl Table<A::State>, all: &mut Vec<(bool, i64)>) {
            table.each(|s| all.push((A::spent(s), A::idle_at(s))));
        }
        fn evict<A: Algorithmic>(table: &mut impl Table<A::State>, upto: (bool, i64), quota: &mut usize, evicted: &mut Evicted) {
            table.keep(|s| {
                let goes = *quota > 0 && (A::spent(s), A::idle_at(s)) <= upto;
                *quota -= usize::from(goes);
                evicted.spent += usize::from(goes && A::spent(s));
                evicted.used += usize::from(goes && !A::spent(s));
                !goes
            });
        }
        type Logs<'a> = Boxed<'a, SlidingLog>;
        let before = self.len();
        sweep::<Gcra>(&mut self.gcra, now);
        sweep::<FixedWindow>(&mut self.fixed, now);
        sweep::<SlidingWindow>(&mut self.sliding, now);
        sweep::<Logs<'_>>(&mut self.log, now);
        let mut evicted = Evicted {
            idle: before - self.len(),
            ..Evicted::default()
        };
        if self.len() + cap / 16 < cap {
            return evicted;
        }
        let mut all = Vec::with_capacity(self.len());
        soonest::<Gcra>(&self.gcra, &mut all);
        soonest::<FixedWindow>(&self.fixed, &mut all);
        soonest::<SlidingWindow>(&self.sliding, &mut all);
        soonest::<Logs<'_>>(&self.log, &mut all);
        let Some(last) = all.len().checked_sub(1) else {
            return evicted;
        };
        let mut quota = (cap / 8).max(1).min(all.len());
        let (_, upto, _) = all.select_nth_unstable((quota - 1).min(last));
        let upto = *upto;
        evict::<Gcra>(&mut self.gcra, upto, &mut quota, &mut evicted);
        evict::<FixedWindow>(&mut self.fixed, upto, &mut quota, &mut evicted);
        evict::<SlidingWindow>(&mut self.sliding, upto, &mut quota, &mut evicted);
        evict::<Logs<'_>>(&mut self.log, upto, &mut quota, &mut evicted);
        evicted
    }
}
