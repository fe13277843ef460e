//! States as words: how stores that keep bytes keep what an algorithm remembers.
//!
//! When a state stops to matter and whether it is spent is known of every state, whatever its algorithm, so
//! a store keeps those two beside the words and hands them back with them.

use super::gcra::Tat;
use super::windows::{Fixed, Log, Sliding};

/// Bits of a log's word that hold how many units came at an instant; the others hold the instant. No log
/// holds more than twice [`MAX_LOGGED`](super::MAX_LOGGED) units.
const UNIT_BITS: u32 = 20;

/// A state that can be written down in words.
pub(crate) trait Packed: Sized {
    /// How many words it has.
    fn words(&self) -> usize;

    /// Gives the words one after another.
    fn pack(&self, put: impl FnMut(u64));

    /// The state of these words. Words that nobody packed make some state, never a panic.
    fn unpack(idle_at: i64, spent: bool, words: impl Iterator<Item = u64>) -> Self;
}

/// Does something with a rule's algorithm, whichever it is.
macro_rules! each_rule {
    ($rule:expr, |$a:ident| $body:expr) => {
        match $rule {
            $crate::limits::Rule::Gcra($a) => $body,
            $crate::limits::Rule::FixedWindow($a) => $body,
            $crate::limits::Rule::SlidingWindow($a) => $body,
            $crate::limits::Rule::SlidingLog($a) => $body,
            $crate::limits::Rule::Concurrency($a) => $body,
        }
    };
}
pub(crate) use each_rule;

fn low(word: u64) -> u32 {
    // The mask leaves what fits.
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0)
}

impl Packed for Tat {
    fn words(&self) -> usize {
        1
    }

    fn pack(&self, mut put: impl FnMut(u64)) {
        put(self.0);
    }

    fn unpack(_idle_at: i64, _spent: bool, mut words: impl Iterator<Item = u64>) -> Self {
        Tat(words.next().unwrap_or(0))
    }
}

impl Packed for Fixed {
    fn words(&self) -> usize {
        1
    }

    fn pack(&self, mut put: impl FnMut(u64)) {
        put(u64::from(self.used));
    }

    fn unpack(idle_at: i64, spent: bool, mut words: impl Iterator<Item = u64>) -> Self {
        Fixed {
            ends: idle_at,
            used: low(words.next().unwrap_or(0)),
            spent,
        }
    }
}

impl Packed for Sliding {
    fn words(&self) -> usize {
        2
    }

    fn pack(&self, mut put: impl FnMut(u64)) {
        put(self.start.cast_unsigned());
        put(u64::from(self.used) | u64::from(self.before) << 32);
    }

    fn unpack(idle_at: i64, spent: bool, mut words: impl Iterator<Item = u64>) -> Self {
        let start = words.next().unwrap_or(0).cast_signed();
        let counts = words.next().unwrap_or(0);
        Sliding {
            start,
            idle_at,
            used: low(counts),
            before: low(counts >> 32),
            spent,
        }
    }
}

impl Packed for Log {
    fn words(&self) -> usize {
        self.entries.len()
    }

    fn pack(&self, mut put: impl FnMut(u64)) {
        for (at, units) in &self.entries {
            put(at.cast_unsigned() << UNIT_BITS | units.cast_unsigned());
        }
    }

    fn unpack(idle_at: i64, spent: bool, words: impl Iterator<Item = u64>) -> Self {
        let entry = |word: u64| {
            let (at, units) = (word >> UNIT_BITS, word & ((1 << UNIT_BITS) - 1));
            (at.cast_signed(), units.cast_signed())
        };
        let mut log = Log {
            entries: words.map(entry).collect(),
            idle_at,
            spent,
            used: 0,
        };
        log.used = log.entries.iter().map(|(_, units)| units).sum();
        log
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{Algorithmic, Concurrency, FixedWindow, Gcra, Quota, Rule, SlidingLog, SlidingWindow};

    fn comes_back<A: Algorithmic>(a: &A, steps: &[(i64, i64)]) -> Result<(), TestCaseError>
    where
        A::State: Packed + PartialEq + std::fmt::Debug,
    {
        let (mut state, mut now) = (A::State::default(), 1_700_000_000_000);
        for (gap, units) in steps {
            now += gap;
            a.charge(&mut state, *units, now);
            let mut words = Vec::new();
            state.pack(|w| words.push(w));
            prop_assert_eq!(words.len(), state.words());
            let back = A::State::unpack(A::idle_at(&state), A::spent(&state), words.into_iter());
            prop_assert_eq!(&back, &state);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn every_state_comes_back(
            limit in 1_i64..100_000, period in 1_i64..100_000,
            steps in prop::collection::vec((-50_i64..5_000, -20_i64..200_000), 1..60),
        ) {
            let quota = Quota::new(u32::try_from(limit).unwrap(), crate::types::Millis(period));
            if let Ok(Rule::Gcra(gcra)) = quota.rule() {
                comes_back::<Gcra>(&gcra, &steps)?;
            }
            comes_back(&FixedWindow { limit, period }, &steps)?;
            comes_back(&SlidingWindow { limit, period }, &steps)?;
            comes_back(&SlidingLog { limit, period }, &steps)?;
            comes_back(&Concurrency(SlidingLog { limit, period }), &steps)?;
        }
    }
}
