//! What the two kinds of buckets have in common: a lock, and slots for keys.

use super::lock::Word;
use super::narrow::Narrow;
use super::wide::Wide;
use crate::limits::{Algorithmic, Asked, Fingerprint, Packed, Verdict, apply, judge, verdict};

/// What a slot tells without its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) block: bool,
    pub(super) spent: bool,
    /// When it stops to matter; of a block, when it ends.
    pub(super) idle_at: i64,
}

/// What came of making room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is a vacant slot.
    Vacant(usize),
    /// A key was forgotten for it.
    Evicted(usize, Look),
    /// Every slot is blocked, or belongs to the same call.
    Full,
}

/// Why a key could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// Every slot of its bucket is blocked.
    AllBlocked,
    /// Its state has more words than the slot.
    TooLarge,
}

/// What is to be written, or is written and waits to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draft {
    /// Another state for a key that has a slot.
    Other(usize),
    /// The same, where the whole state is this word.
    Word(usize, u64),
    /// A key in a vacant slot.
    New(usize, Fingerprint),
    /// The key goes.
    Gone(usize),
}

impl Draft {
    pub(super) fn slot(self) -> usize {
        match self {
            Draft::Other(slot) | Draft::Word(slot, _) | Draft::New(slot, _) | Draft::Gone(slot) => slot,
        }
    }
}

/// The slots of a bucket, for who holds its lock.
pub(super) trait Slots {
    /// The slot of a key.
    fn find(&self, key: Fingerprint) -> Option<usize>;

    /// What a slot tells of itself.
    fn look(&self, slot: usize) -> Look;

    /// The state in a slot.
    fn read<A: Algorithmic>(&self, slot: usize) -> A::State
    where
        A::State: Packed;

    /// Writes a state where it does not count yet. `None` if there is not enough room for it.
    fn write<A: Algorithmic>(&self, draft: Draft, state: &A::State) -> Option<Draft>
    where
        A::State: Packed;

    /// Makes a draft count, with one store.
    fn commit(&self, draft: Draft);

    /// Vacant slots, best first for this key.
    fn vacant(&self, key: Fingerprint) -> impl Iterator<Item = usize>;

    /// Slots with a key in them.
    fn taken(&self) -> impl Iterator<Item = usize>;

    /// A slot for a new key. If none is vacant, the key that matters least makes way: one that stands as if
    /// never seen; else the one that will soonest, and those whose quota is used up after all others. Blocks
    /// stay until they end, and so do slots that are `kept`.
    fn room(&self, key: Fingerprint, now: i64, kept: impl Fn(usize) -> bool) -> Room {
        if let Some(slot) = self.vacant(key).find(|slot| !kept(*slot)) {
            return Room::Vacant(slot);
        }
        let least = self
            .taken()
            .filter(|slot| !kept(*slot))
            .map(|slot| (slot, self.look(slot)))
            .filter(|(_, look)| !look.block || look.idle_at <= now)
            .min_by_key(|(_, look)| (look.idle_at > now && look.spent, look.idle_at));
        match least {
            None => Room::Full,
            Some((slot, look)) => {
                self.commit(Draft::Gone(slot));
                Room::Evicted(slot, look)
            }
        }
    }

    /// One take of one key. Also tells who made way for it, if it is new and somebody had to.
    #[inline]
    fn take<A: Algorithmic>(
        &self,
        a: &A,
        key: Fingerprint,
        capacity: i64,
        asked: Asked,
    ) -> Result<(Verdict, Option<Look>), NoRoom>
    where
        A::State: Packed,
    {
        let slot = self.find(key);
        let mut state = slot.map_or_else(A::State::default, |slot| self.read::<A>(slot));
        let judgement = judge(a, capacity, &state, asked);
        let mut evicted = None;
        if judgement.reason.is_none() && asked.cost > 0 {
            apply(a, &mut state, asked);
            let draft = match slot {
                Some(slot) => Draft::Other(slot),
                None => match self.room(key, asked.now, |_| false) {
                    Room::Vacant(slot) => Draft::New(slot, key),
                    Room::Evicted(slot, look) => {
                        evicted = Some(look);
                        Draft::New(slot, key)
                    }
                    Room::Full => return Err(NoRoom::AllBlocked),
                },
            };
            let draft = self.write::<A>(draft, &state).ok_or(NoRoom::TooLarge)?;
            self.commit(draft);
        }
        Ok((verdict(judgement, a.look(&state, asked.now)), evicted))
    }
}

/// A bucket of either kind.
pub(super) enum Bucket<'a, W> {
    Narrow(Narrow<'a, W>),
    Wide(Wide<'a, W>),
}

/// Does something with a bucket, whichever it is.
macro_rules! in_bucket {
    ($bucket:expr, |$b:ident| $body:expr) => {
        match $bucket {
            $crate::backend::shm::bucket::Bucket::Narrow($b) => $body,
            $crate::backend::shm::bucket::Bucket::Wide($b) => $body,
        }
    };
}
pub(super) use in_bucket;

impl<W: Word> Bucket<'_, W> {
    /// What every key in it tells of itself.
    pub(super) fn keys(&self) -> Vec<Look> {
        in_bucket!(self, |b| b.taken().map(|slot| b.look(slot)).collect())
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod model;
