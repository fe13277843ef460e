//! A bucket: a lock, and the slots of the keys that belong to it.
//!
//! ```text
//! word 0        the lock
//! word 1        for each slot a bit: which of its two copies counts
//! words 8..16   for each slot a byte: 0 if it is vacant, else 0x80 and 7 bits of its key's fingerprint
//! from word 16  the slots: the fingerprint (2 words), copy 0, copy 1
//! copy          the head (spent: bit 63, block: bit 62, number of words: 48..62, idle at: 0..48), the words
//! ```
//!
//! Whoever holds the lock writes into the copy that does not count, or into a vacant slot, and then makes
//! it count with one store. A holder that dies at any instruction leaves a bucket in which every key stands
//! as before its call or as after it, so whoever takes the lock over has nothing to repair.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::lock::Word;
use crate::limits::{Algorithmic, Asked, Fingerprint, Packed, Verdict, apply, judge, verdict};

/// The most slots of a bucket.
pub(super) const MAX_WAYS: usize = 62;
const LIVE: usize = 1;
const TAGS: usize = 8;
/// Words before the first slot.
pub(super) const HEAD: usize = 16;
const IDLE_BITS: u32 = 48;
const COUNT: u64 = 0x3fff;
const SPENT: u64 = 1 << 63;
const BLOCK: u64 = 1 << 62;

/// How the buckets of a part of the table look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Slots of a bucket.
    pub(super) ways: usize,
    /// Words of a copy, its head included. Four times something, less one: then slots begin on cache lines.
    pub(super) width: usize,
}

impl Shape {
    const fn slot(self) -> usize {
        2 + 2 * self.width
    }

    /// Words of a bucket.
    pub(super) const fn words(self) -> usize {
        HEAD + self.ways * self.slot()
    }
}

/// What a slot tells without its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) block: bool,
    pub(super) spent: bool,
    /// When it stops to matter; of a block, when it ends.
    pub(super) idle_at: i64,
    count: usize,
}

impl Look {
    fn of(head: u64) -> Self {
        Look {
            block: head & BLOCK != 0,
            spent: head & SPENT != 0,
            idle_at: (head & ((1 << IDLE_BITS) - 1)).cast_signed(),
            count: usize::try_from(head >> IDLE_BITS & COUNT).unwrap_or(0),
        }
    }

    fn head(self) -> u64 {
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        flag(self.spent, SPENT)
            | flag(self.block, BLOCK)
            | (self.count as u64 & COUNT) << IDLE_BITS
            | self.idle_at.clamp(0, (1 << IDLE_BITS) - 1).cast_unsigned()
    }
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

/// The words of a bucket. All but the lock itself is for who holds the lock.
pub(super) struct Bucket<'a, W> {
    pub(super) words: &'a [W],
    pub(super) shape: Shape,
}

/// What is written and waits to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draft {
    /// In the other copy of a slot.
    Other(usize),
    /// In a vacant slot, for this key.
    New(usize, Fingerprint),
    /// The key goes.
    Gone(usize),
}

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

fn tag_of(key: Fingerprint) -> u64 {
    0x80 | key.0[0] & 0x7f
}

/// Where among the eight words of tags a key's search begins.
fn start_of(key: Fingerprint) -> usize {
    usize::try_from(key.0[0] >> 8 & 7).unwrap_or(0)
}

impl<W: Word> Bucket<'_, W> {
    /// The slot of a key.
    #[inline]
    pub(super) fn find(&self, key: Fingerprint) -> Option<usize> {
        let (tag, start) = (tag_of(key) * LOW_BITS, start_of(key));
        for k in 0..8 {
            let w = (start + k) & 7;
            let differing = self.words[TAGS + w].load(Acquire) ^ tag;
            // Bytes that are zero, and now and then one above them.
            let mut zero = differing.wrapping_sub(LOW_BITS) & !differing & HIGH_BITS;
            while zero != 0 {
                let slot = w * 8 + zero.trailing_zeros() as usize / 8;
                if slot < self.shape.ways {
                    let at = self.at(slot);
                    if self.words[at].load(Relaxed) == key.0[0] && self.words[at + 1].load(Relaxed) == key.0[1] {
                        return Some(slot);
                    }
                }
                zero &= zero - 1;
            }
        }
        None
    }

    fn at(&self, slot: usize) -> usize {
        HEAD + slot * self.shape.slot()
    }

    /// Where the copy that counts begins, or the other one.
    fn copy(&self, slot: usize, other: bool) -> usize {
        let second = (self.words[LIVE].load(Acquire) >> slot & 1 != 0) != other;
        self.at(slot) + 2 + if second { self.shape.width } else { 0 }
    }

    /// The key in a slot.
    pub(super) fn key(&self, slot: usize) -> Fingerprint {
        let at = self.at(slot);
        Fingerprint([self.words[at].load(Relaxed), self.words[at + 1].load(Relaxed)])
    }

    /// What a slot tells of itself.
    pub(super) fn look(&self, slot: usize) -> Look {
        Look::of(self.words[self.copy(slot, false)].load(Relaxed))
    }

    /// The state in a slot.
    #[inline]
    pub(super) fn read<A: Algorithmic>(&self, slot: usize) -> A::State
    where
        A::State: Packed,
    {
        let at = self.copy(slot, false);
        let look = Look::of(self.words[at].load(Relaxed));
        let words = &self.words[at + 1..at + 1 + look.count.min(self.shape.width - 1)];
        A::State::unpack(look.idle_at, look.spent, words.iter().map(|w| w.load(Relaxed)))
    }

    /// Writes a state beside the one that counts, or into a vacant slot. `false` if it has more words than
    /// there is room for.
    #[inline]
    pub(super) fn write<A: Algorithmic>(&self, draft: Draft, state: &A::State) -> bool
    where
        A::State: Packed,
    {
        let count = state.words();
        if count >= self.shape.width {
            return false;
        }
        let look = Look {
            block: false,
            spent: A::spent(state),
            idle_at: A::idle_at(state),
            count,
        };
        let mut at = self.write_head(draft, look);
        state.pack(|word| {
            at += 1;
            self.words[at].store(word, Relaxed);
        });
        true
    }

    /// Writes a block.
    pub(super) fn write_block(&self, draft: Draft, until: i64) {
        let look = Look {
            block: true,
            spent: false,
            idle_at: until,
            count: 0,
        };
        self.write_head(draft, look);
    }

    fn write_head(&self, draft: Draft, look: Look) -> usize {
        let (slot, other) = match draft {
            Draft::Other(slot) => (slot, true),
            Draft::New(slot, key) => {
                self.words[self.at(slot)].store(key.0[0], Relaxed);
                self.words[self.at(slot) + 1].store(key.0[1], Relaxed);
                (slot, false)
            }
            Draft::Gone(slot) => (slot, true),
        };
        let at = self.copy(slot, other);
        self.words[at].store(look.head(), Relaxed);
        at
    }

    /// Makes a draft count.
    #[inline]
    pub(super) fn commit(&self, draft: Draft) {
        // Released, so that whoever sees that it counts also sees what: even who takes over from the dead.
        match draft {
            Draft::Other(slot) => {
                let live = self.words[LIVE].load(Relaxed);
                self.words[LIVE].store(live ^ 1 << slot, Release);
            }
            Draft::New(slot, key) => self.set_tag(slot, tag_of(key)),
            Draft::Gone(slot) => self.set_tag(slot, 0),
        }
    }

    fn set_tag(&self, slot: usize, tag: u64) {
        let (word, shift) = (&self.words[TAGS + slot / 8], slot % 8 * 8);
        let others = word.load(Relaxed) & !(0xff << shift);
        word.store(others | tag << shift, Release);
    }

    /// One take of one key, in a bucket whose lock is held. `Err` if there is no room for a new key; also
    /// tells who made way for it.
    #[inline]
    pub(super) fn take<A: Algorithmic>(
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
            if !self.write::<A>(draft, &state) {
                return Err(NoRoom::TooLarge);
            }
            self.commit(draft);
        }
        Ok((verdict(judgement, a.look(&state, asked.now)), evicted))
    }

    /// A vacant slot for a key, near where its search begins. If there is none, the key that matters least
    /// makes way: one that stands as if never seen; else the one that will soonest, and those whose quota is
    /// used up after all others. Blocks stay until they end, and so do slots that are `kept`.
    pub(super) fn room(&self, key: Fingerprint, now: i64, kept: impl Fn(usize) -> bool) -> Room {
        let start = start_of(key);
        for k in 0..8 {
            let w = (start + k) & 7;
            let mut vacant = !self.words[TAGS + w].load(Acquire) & HIGH_BITS;
            while vacant != 0 {
                let slot = w * 8 + vacant.trailing_zeros() as usize / 8;
                if slot < self.shape.ways && !kept(slot) {
                    return Room::Vacant(slot);
                }
                vacant &= vacant - 1;
            }
        }
        let least = (0..self.shape.ways)
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

    /// What every key in it tells of itself.
    pub(super) fn keys(&self) -> impl Iterator<Item = Look> {
        (0..self.shape.ways)
            .filter(|slot| self.words[TAGS + slot / 8].load(Acquire) >> (slot % 8 * 8) & 0x80 != 0)
            .map(|slot| self.look(slot))
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod model;
