//! Buckets for states of several words: windows, logs, and blocks.
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

use super::bucket::{Draft, Look, Slots};
use super::lock::Word;
use crate::limits::{Algorithmic, Fingerprint, Packed};

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

/// The first word of a copy.
#[derive(Clone, Copy)]
struct Head(u64);

impl Head {
    fn new(look: Look, count: usize) -> Self {
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let idle_at = look.idle_at.clamp(0, (1 << IDLE_BITS) - 1).cast_unsigned();
        Head(flag(look.spent, SPENT) | flag(look.block, BLOCK) | (count as u64 & COUNT) << IDLE_BITS | idle_at)
    }

    fn look(self) -> Look {
        Look {
            block: self.0 & BLOCK != 0,
            spent: self.0 & SPENT != 0,
            idle_at: (self.0 & ((1 << IDLE_BITS) - 1)).cast_signed(),
        }
    }

    fn count(self) -> usize {
        usize::try_from(self.0 >> IDLE_BITS & COUNT).unwrap_or(0)
    }
}

/// A bucket and how it looks.
pub(super) struct Wide<'a, W> {
    pub(super) words: &'a [W],
    pub(super) shape: Shape,
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

impl<W: Word> Wide<'_, W> {
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

    /// Writes a block.
    pub(super) fn write_block(&self, draft: Draft, until: i64) {
        let look = Look {
            block: true,
            spent: false,
            idle_at: until,
        };
        self.write_head(draft, Head::new(look, 0));
    }

    fn write_head(&self, draft: Draft, head: Head) -> usize {
        let slot = draft.slot();
        if let Draft::New(_, key) = draft {
            self.words[self.at(slot)].store(key.0[0], Relaxed);
            self.words[self.at(slot) + 1].store(key.0[1], Relaxed);
        }
        // What a vacant slot says counts as little in the one copy as in the other.
        let at = self.copy(slot, !matches!(draft, Draft::New(..)));
        self.words[at].store(head.0, Relaxed);
        at
    }

    fn set_tag(&self, slot: usize, tag: u64) {
        let (word, shift) = (&self.words[TAGS + slot / 8], slot % 8 * 8);
        let others = word.load(Relaxed) & !(0xff << shift);
        word.store(others | tag << shift, Release);
    }

    fn is_taken(&self, slot: usize) -> bool {
        self.words[TAGS + slot / 8].load(Acquire) >> (slot % 8 * 8) & 0x80 != 0
    }
}

impl<W: Word> Slots for Wide<'_, W> {
    #[inline]
    fn find(&self, key: Fingerprint) -> Option<usize> {
        let (tag, start) = (tag_of(key) * LOW_BITS, start_of(key));
        for k in 0..8 {
            let w = (start + k) & 7;
            let differing = self.words[TAGS + w].load(Acquire) ^ tag;
            // Bytes that are zero, and now and then one above them.
            let mut zero = differing.wrapping_sub(LOW_BITS) & !differing & HIGH_BITS;
            while zero != 0 {
                let slot = w * 8 + zero.trailing_zeros() as usize / 8;
                if slot < self.shape.ways && self.key(slot) == key {
                    return Some(slot);
                }
                zero &= zero - 1;
            }
        }
        None
    }

    fn look(&self, slot: usize) -> Look {
        Head(self.words[self.copy(slot, false)].load(Relaxed)).look()
    }

    #[inline]
    fn read<A: Algorithmic>(&self, slot: usize) -> A::State
    where
        A::State: Packed,
    {
        let at = self.copy(slot, false);
        let head = Head(self.words[at].load(Relaxed));
        let words = &self.words[at + 1..at + 1 + head.count().min(self.shape.width - 1)];
        let look = head.look();
        A::State::unpack(look.idle_at, look.spent, words.iter().map(|w| w.load(Relaxed)))
    }

    #[inline]
    fn write<A: Algorithmic>(&self, draft: Draft, state: &A::State) -> Option<Draft>
    where
        A::State: Packed,
    {
        let count = state.words();
        if count >= self.shape.width {
            return None;
        }
        let look = Look {
            block: false,
            spent: A::spent(state),
            idle_at: A::idle_at(state),
        };
        let mut at = self.write_head(draft, Head::new(look, count));
        state.pack(|word| {
            at += 1;
            self.words[at].store(word, Relaxed);
        });
        Some(draft)
    }

    #[inline]
    fn commit(&self, draft: Draft) {
        // Released, so that whoever sees that it counts also sees what: even who takes over from the dead.
        match draft {
            Draft::Other(slot) => {
                let live = self.words[LIVE].load(Relaxed);
                self.words[LIVE].store(live ^ 1 << slot, Release);
            }
            Draft::New(slot, key) => self.set_tag(slot, tag_of(key)),
            Draft::Gone(slot) => self.set_tag(slot, 0),
            // Not of this kind of bucket.
            Draft::Word(..) => {}
        }
    }

    fn vacant(&self, key: Fingerprint) -> impl Iterator<Item = usize> {
        let start = start_of(key) * 8;
        (0..64)
            .map(move |k| (start + k) & 63)
            .filter(|slot| *slot < self.shape.ways && !self.is_taken(*slot))
    }

    fn taken(&self) -> impl Iterator<Item = usize> {
        (0..self.shape.ways).filter(|slot| self.is_taken(*slot))
    }
}
