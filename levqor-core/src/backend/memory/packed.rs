//! A table of sixteen bytes per key: what a token bucket needs, and no more.
//!
//! Open addressing in the order of the hashes. A key's home is its hash's part of the table, and runs that
//! overflow their homes stay sorted, so a search ends at the first hash that is not smaller, found or not,
//! and growing or sweeping the table is one pass in order. Celis, Larson and Munro, "Robin Hood Hashing"
//! (1985), with the hash itself instead of the distance; Amble and Knuth, "Ordered Hash Tables" (1974).

use crate::limits::Tat;

/// No key has this hash, and every key's is smaller.
const EMPTY: u64 = u64::MAX;
/// Places behind the last home, for runs that end there. The last place is always empty.
const TAIL: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u64,
    tat: Tat,
}

const FREE: Slot = Slot {
    hash: EMPTY,
    tat: Tat::UNSEEN,
};

/// States of token buckets by the 64 bits of a hash.
#[derive(Debug, Default)]
pub(super) struct Packed {
    slots: Vec<Slot>,
    /// How many homes there are; the rest of the slots is tail.
    homes: usize,
    len: usize,
}

/// A hash that is not the mark of an empty place.
#[inline]
fn known(hash: u64) -> u64 {
    hash.min(EMPTY - 1)
}

/// Where a hash is at home among so many.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the product's upper half is below `homes`")]
fn home(hash: u64, homes: usize) -> usize {
    ((u128::from(hash) * homes as u128) >> 64) as usize
}

impl Packed {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where the hash is or would be, and whether it is there. There must be a slot.
    #[inline]
    fn search(&self, hash: u64) -> (usize, bool) {
        let mut at = home(hash, self.homes);
        while self.slots[at].hash < hash {
            at += 1;
        }
        (at, self.slots[at].hash == hash)
    }

    #[inline]
    pub(super) fn get(&self, hash: u64) -> Option<&Tat> {
        if self.slots.is_empty() {
            return None;
        }
        let (at, found) = self.search(known(hash));
        found.then(|| &self.slots[at].tat)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, hash: u64) -> Option<&mut Tat> {
        if self.slots.is_empty() {
            return None;
        }
        let (at, found) = self.search(known(hash));
        found.then(|| &mut self.slots[at].tat)
    }

    /// The state of a key, which is put in if it is not there.
    pub(super) fn or_default(&mut self, hash: u64) -> &mut Tat {
        let hash = known(hash);
        if self.slots.is_empty() {
            self.grow();
        }
        let (mut at, found) = self.search(hash);
        if !found {
            // At most seven of eight homes are taken; more, and searches get long.
            if (self.len + 1) * 8 > self.homes * 7 {
                self.grow();
                at = self.search(hash).0;
            }
            let mut free = at;
            while self.slots[free].hash != EMPTY {
                free += 1;
            }
            if free + 1 == self.slots.len() {
                self.lengthen();
            }
            self.slots.copy_within(at..free, at + 1);
            self.slots[at] = Slot { hash, ..FREE };
            self.len += 1;
        }
        &mut self.slots[at].tat
    }

    pub(super) fn remove(&mut self, hash: u64) {
        if self.slots.is_empty() {
            return;
        }
        let (at, found) = self.search(known(hash));
        if !found {
            return;
        }
        // The rest of the run moves up, as far as it was not at home.
        let mut end = at + 1;
        while self.slots[end].hash != EMPTY && home(self.slots[end].hash, self.homes) < end {
            end += 1;
        }
        self.slots.copy_within(at + 1..end, at);
        self.slots[end - 1] = FREE;
        self.len -= 1;
    }

    /// Keeps what `keep` says.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Tat) -> bool) {
        let mut next = 0;
        for at in 0..self.slots.len() {
            let slot = std::mem::replace(&mut self.slots[at], FREE);
            if slot.hash == EMPTY {
                continue;
            }
            if keep(&slot.tat) {
                // With fewer before it, nothing comes to stand further back than it stood.
                next = home(slot.hash, self.homes).max(next);
                self.slots[next] = slot;
                next += 1;
            } else {
                self.len -= 1;
            }
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Tat> {
        self.slots.iter().filter(|s| s.hash != EMPTY).map(|s| &s.tat)
    }

    /// A table larger by an eighth, so that none is ever much larger than it must be.
    #[cold]
    fn grow(&mut self) {
        self.homes += self.homes / 8 + 16;
        let old = std::mem::replace(&mut self.slots, vec![FREE; self.homes + TAIL]);
        let mut next = 0;
        for slot in old.into_iter().filter(|s| s.hash != EMPTY) {
            next = home(slot.hash, self.homes).max(next);
            if next + 1 >= self.slots.len() {
                self.lengthen();
            }
            self.slots[next] = slot;
            next += 1;
        }
    }

    #[cold]
    fn lengthen(&mut self) {
        self.slots.reserve_exact(TAIL);
        self.slots.extend([FREE; TAIL]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::limits::{Algorithmic, Quota, Rule};

    fn tat(n: u64) -> Tat {
        let Rule::Gcra(g) = Quota::per_hour(1_000_000).rule().unwrap() else {
            panic!("no token bucket")
        };
        let mut state = Tat::default();
        g.charge(&mut state, i64::try_from(n % 1_000_000).unwrap(), 1_700_000_000_000);
        state
    }

    fn same(table: &Packed, model: &BTreeMap<u64, Tat>) -> Result<(), TestCaseError> {
        prop_assert_eq!(table.len(), model.len());
        // In the order of the hashes, each at home or right behind another.
        prop_assert_eq!(
            table.values().copied().collect::<Vec<_>>(),
            model.values().copied().collect::<Vec<_>>()
        );
        for (hash, tat) in model {
            prop_assert_eq!(table.get(*hash), Some(tat));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn it_is_a_map(
            // Few leading bits make long runs; the largest hashes make runs into the tail.
            steps in prop::collection::vec((prop_oneof![0_u64..40, (0_u64..600).prop_map(|n| n << 54), (0_u64..99).prop_map(|n| u64::MAX - n)], 0_u8..10), 1..600),
        ) {
            let (mut table, mut model) = (Packed::default(), BTreeMap::new());
            for (n, (hash, what)) in steps.into_iter().enumerate() {
                let hash = known(hash);
                match what {
                    0 | 1 => {
                        table.remove(hash);
                        model.remove(&hash);
                    }
                    2 if n % 7 == 0 => {
                        table.retain(|t| *t < tat(300));
                        model.retain(|_, t| *t < tat(300));
                    }
                    3 => {
                        prop_assert_eq!(table.get_mut(hash).copied(), model.get(&hash).copied());
                    }
                    _ => {
                        let state = tat(n as u64);
                        *table.or_default(hash) = state;
                        model.insert(hash, state);
                    }
                }
                if n % 16 == 0 {
                    same(&table, &model)?;
                }
            }
            same(&table, &model)?;
        }
    }

    #[test]
    fn a_key_costs_little_whatever_their_number() {
        let mut table = Packed::default();
        for n in 1..200_000_u64 {
            *table.or_default(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) = tat(n);
            if n > 1_000 {
                let bytes = table.slots.capacity() * size_of::<Slot>();
                assert!(bytes as u64 <= n * 22, "{bytes} bytes for {n} keys");
            }
        }
    }
}
