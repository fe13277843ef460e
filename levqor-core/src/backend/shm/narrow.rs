//! Buckets for states of one word: token buckets, which most limits are.
//!
//! ```text
//! word 0       the lock
//! word 1       nothing
//! from word 2  the slots: half of the fingerprint (0: never used, 1: vacant again), the state
//! ```
//!
//! The other half of the fingerprint chooses the bucket and where in it the search begins, so that together
//! 70 bits and more tell a key, as in memory: two of a million meet in one of billions of tables. A key is
//! found in the first cache line or two, a new one ends at the first slot that was never used.
//!
//! A state changes, a key comes and goes by one store, so a holder of the lock that dies at any instruction
//! leaves nothing to repair.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::bucket::{Draft, Look, Slots};
use super::lock::Word;
use crate::limits::{Algorithmic, Fingerprint, Gcra, Packed, Tat};

/// Slots of a bucket.
pub(super) const WAYS: usize = 63;
const HEAD: usize = 2;
/// Words of a bucket: a kilobyte.
pub(super) const WORDS: usize = HEAD + 2 * WAYS;
const UNUSED: u64 = 0;
const VACANT: u64 = 1;

/// The words of a bucket.
pub(super) struct Narrow<'a, W>(pub(super) &'a [W]);

/// What a slot holds of a key. Four values of 2^64 share two.
fn mark_of(key: Fingerprint) -> u64 {
    if key.0[0] <= VACANT { key.0[0] + 2 } else { key.0[0] }
}

/// Slots in the order of a key's search.
#[inline]
fn path(key: Fingerprint) -> impl Iterator<Item = usize> {
    // The lowest bits; the highest chose the bucket.
    let start = usize::try_from(key.0[1] & 0xff).unwrap_or(0) * WAYS / 256;
    (start..WAYS).chain(0..start)
}

impl<W: Word> Narrow<'_, W> {
    fn mark(&self, slot: usize) -> &W {
        &self.0[HEAD + 2 * slot]
    }

    fn state(&self, slot: usize) -> &W {
        &self.0[HEAD + 2 * slot + 1]
    }
}

impl<W: Word> Slots for Narrow<'_, W> {
    #[inline]
    fn find(&self, key: Fingerprint) -> Option<usize> {
        let mark = mark_of(key);
        path(key)
            .map(|slot| (slot, self.mark(slot).load(Acquire)))
            .find(|(_, found)| *found == mark || *found == UNUSED)
            .filter(|(_, found)| *found == mark)
            .map(|(slot, _)| slot)
    }

    fn look(&self, slot: usize) -> Look {
        let state: Tat = self.read::<Gcra>(slot);
        Look {
            block: false,
            spent: Gcra::spent(&state),
            idle_at: Gcra::idle_at(&state),
        }
    }

    #[inline]
    fn read<A: Algorithmic>(&self, slot: usize) -> A::State
    where
        A::State: Packed,
    {
        A::State::unpack(0, false, std::iter::once(self.state(slot).load(Relaxed)))
    }

    #[inline]
    fn write<A: Algorithmic>(&self, draft: Draft, state: &A::State) -> Option<Draft>
    where
        A::State: Packed,
    {
        if state.words() != 1 {
            return None;
        }
        let mut packed = 0;
        state.pack(|word| packed = word);
        match draft {
            Draft::New(slot, _) => {
                self.state(slot).store(packed, Relaxed);
                Some(draft)
            }
            Draft::Other(slot) | Draft::Word(slot, _) => Some(Draft::Word(slot, packed)),
            Draft::Gone(_) => Some(draft),
        }
    }

    #[inline]
    fn commit(&self, draft: Draft) {
        match draft {
            Draft::Word(slot, word) => self.state(slot).store(word, Release),
            // Released, so that whoever sees the key also sees its state.
            Draft::New(slot, key) => self.mark(slot).store(mark_of(key), Release),
            Draft::Gone(slot) => self.mark(slot).store(VACANT, Release),
            // Becomes a word when it is written.
            Draft::Other(_) => {}
        }
    }

    fn vacant(&self, key: Fingerprint) -> impl Iterator<Item = usize> {
        path(key).filter(|slot| self.mark(*slot).load(Acquire) <= VACANT)
    }

    fn taken(&self) -> impl Iterator<Item = usize> {
        (0..WAYS).filter(|slot| self.mark(*slot).load(Acquire) > VACANT)
    }
}
